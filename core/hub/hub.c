/* The hub itself: its namespaces and their lists of clients. Rooms are in room.c, delivery in
 * publish.c, the life of a client in client.c. */
#include "base/memory.h"
#include "hub/hub_internal.h"
#include "hub/recovery.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(WIRE_COUNT <= METRICS_WIRES && WIRE_COUNT <= 32, "a mask and counters by wire");
_Static_assert(HOOK_COUNT <= METRICS_HOOKS, "counters by hook");
_Static_assert(REPLAY_COUNT <= METRICS_REPLAYS, "counters by result");
_Static_assert((int)RECOVERY_BUSY <= METRICS_RETURNS, "counters by result");

struct hub *hub_new(const struct config *config, struct metrics *metrics, struct arena *arena,
                    struct app *app, void (*defer)(void *io, struct deferred *deferred), void *io) {
    struct hub *hub = memory_zalloc(sizeof *hub);
    hub->config = config;
    hub->metrics = metrics;
    hub->arena = arena;
    hub->app = app;
    hub->defer = defer;
    hub->io = io;
    TAILQ_INIT(&hub->logs);
    return hub;
}

static void ns_free(struct ns *ns) {
    struct room *room;
    recovery_free(ns);
    while ((room = ns->rooms)) {
        room_free(room);
    }
    HASH_DELETE(hh, ns->hub->namespaces, ns);
    free(ns->clients);
    free(ns);
}

void hub_free(struct hub *hub) {
    struct ns *ns;
    while ((ns = hub->namespaces)) {
        ns_free(ns);
    }
    membership_set_deinit(&hub->memberships);
    slots_deinit(&hub->clients);
    slots_deinit(&hub->slow);
    free(hub);
}

void hub_set_store(struct hub *hub, struct store *store) {
    hub->store = store;
}

size_t hub_count(const struct hub *hub) {
    return slots_count(&hub->clients);
}

void hub_set_now(struct hub *hub, uint64_t now_ms) {
    hub->now = now_ms;
}

void hub_sweep(struct hub *hub) {
    rooms_expire(hub);
    struct ns *next;
    for (struct ns *ns = hub->namespaces; ns; ns = next) {
        next = ns->hh.next;
        if (ns->recovery) {
            recovery_expire(ns);
        }
        if (ns->refs == 0 && ns->count == 0 && !ns->rooms) {
            ns_free(ns);
        }
    }
}

struct ns *hub_ns(struct hub *hub, struct span name, bool create) {
    struct ns *ns;
    HASH_FIND(hh, hub->namespaces, name.at, name.len, ns);
    if (ns || !create) {
        return ns;
    }
    ns = memory_zalloc(sizeof *ns + name.len + 1);
    ns->hub = hub;
    ns->name_len = (uint32_t)name.len;
    memcpy(ns->name, name.at, name.len);
    HASH_ADD_KEYPTR(hh, hub->namespaces, ns->name, ns->name_len, ns);
    return ns;
}

struct ns *ns_ref(struct ns *ns) {
    ns->refs++;
    return ns;
}

void ns_unref(struct ns *ns) {
    ns->refs--;
}

struct span ns_name(const struct ns *ns) {
    return (struct span){ns->name, ns->name_len};
}

struct hub *ns_hub(const struct ns *ns) {
    return ns->hub;
}

const struct ns_settings *ns_settings(const struct ns *ns) {
    return ns->settings;
}

size_t ns_count(const struct ns *ns) {
    return ns->count;
}

struct client *ns_client(const struct ns *ns, size_t index) {
    return index < ns->count ? ns->clients[index] : NULL;
}

void hub_each_ns(struct hub *hub, void (*visit)(struct ns *ns, void *data), void *data) {
    struct ns *next;
    for (struct ns *ns = hub->namespaces; ns; ns = next) {
        next = ns->hh.next;
        visit(ns, data);
    }
}

void clients_push(struct client ***array, uint32_t *count, uint32_t *cap, struct client *c) {
    if (*count == *cap) {
        uint32_t grown = *cap ? *cap * 2 : 4;
        struct client **moved = memory_resize(*array, grown * sizeof *moved);
        *array = moved;
        *cap = grown;
    }
    (*array)[(*count)++] = c;
}
