/* The life of a client within the hub: its id, its place in namespace and user, its rate, its
 * closing. What it says and hears goes elsewhere: to the app by its transport, and through
 * publish.c. */
#include "base/memory.h"
#include "base/random.h"
#include "hub/recovery.h"
#include "hub/replay.h"
#include "hub/slow.h"

#include <stdlib.h>
#include <string.h>

/* Takes the client out of everybody's way. Only from the end of a turn: no fan-out is under way
 * then. */
static void detach(struct client *c) {
    struct ns *ns = c->ns;
    struct membership *m;
    replay_drop_client(c);
    LIST_FOREACH (m, &c->rooms, link) {
        room_detach(m);
    }
    if (c->user) {
        room_detach(c->user);
    }
    struct client *last = ns->clients[--ns->count];
    ns->clients[c->ns_index] = last;
    last->ns_index = c->ns_index;
    ns->hub->metrics->clients[c->ops->wire]--;
}

static void run_closing_hooks(struct deferred *deferred) {
    struct client_closing *closing = (struct client_closing *)deferred;
    struct client *c = closing->client;
    struct app *app = c->ns->hub->app;
    detach(c);
    app->on_close(app, c, closing->reason);
}

void client_open(struct client *c, struct ns *ns, const char *user_id) {
    struct hub *hub = ns->hub;
    c->ns = ns_ref(ns);
    LIST_INIT(&c->rooms);
    c->closing = NULL;
    c->apart = 0;
    c->room_count = 0;
    c->renamed = c->kept = false;
    c->recovery = RECOVERY_NONE;
    c->stamp = 0;
    c->rate_tokens = ns->settings ? ns->settings->burst * 1000 : 0;
    c->rate_time = (uint32_t)hub->now;
    random_bytes(&c->nonce, sizeof c->nonce);
    c->slot = slots_add(&hub->clients, c);
    c->ns_index = ns->count;
    clients_push(&ns->clients, &ns->count, &ns->cap, c);
    c->user = user_id ? room_add(room_get(ns, &ns->users, span_of(user_id)), c) : NULL;
    hub->metrics->clients[c->ops->wire]++;
    hub->metrics->clients_total[c->ops->wire]++;
}

void client_closed(struct client *c, const char *reason) {
    if (c->closing) {
        return;
    }
    size_t size = strlen(reason) + 1;
    struct client_closing *closing = memory_alloc(sizeof *closing + size);
    closing->hooks = (struct deferred){.run = run_closing_hooks};
    closing->client = c;
    memcpy(closing->reason, reason, size);
    if (c->kept) {
        recovery_closing(c);
    }
    slow_forget(c);
    c->apart = APART_CLOSING;
    c->closing = closing;
    c->ns->hub->defer(c->ns->hub->io, &closing->hooks);
}

void client_disconnect(struct client *c, int code, const char *reason) {
    if (c->closing) {
        return;
    }
    if (code) {
        recovery_forget(c);
    }
    client_closed(c, reason);
    c->ops->close(c, code, reason);
}

void client_go_away(struct client *c, uint32_t retry_ms) {
    if (c->closing) {
        return;
    }
    client_closed(c, c->ops->shutdown ? c->ops->shutdown : "shutdown");
    c->ops->go_away(c, retry_ms);
}

void client_drained(struct client *c) {
    if (c->apart) {
        slow_drained(c);
    }
    if (c->ns->hub->replayers && !c->closing) {
        replay_start(c);
    }
    if (c->kept && !c->closing) {
        recovery_drained(c);
    }
}

void client_end_connection(struct client *c, int code, const char *reason) {
    if (c->ops->close_connection && !c->closing) {
        c->ops->close_connection(c, code, reason);
    } else {
        client_disconnect(c, code, reason);
    }
}

/* The entry of a client whose id names another slot than its own, by the nonce, which both have. */
struct renamed {
    UT_hash_handle hh;
    uint64_t nonce;
    uint32_t slot; /* in the id */
    struct client *client;
};

static struct renamed *find_renamed(const struct hub *hub, uint64_t nonce) {
    struct renamed *renamed;
    HASH_FIND(hh, hub->renamed, &nonce, sizeof nonce, renamed);
    return renamed;
}

static void forget_name(struct client *c) {
    struct renamed *renamed = c->renamed ? find_renamed(c->ns->hub, c->nonce) : NULL;
    if (renamed) {
        HASH_DEL(c->ns->hub->renamed, renamed);
        free(renamed);
    }
}

void client_release(struct client *c) {
    struct ns *ns = c->ns;
    struct membership *m;
    if (c->kept) {
        recovery_released(c);
    }
    while ((m = LIST_FIRST(&c->rooms))) {
        LIST_REMOVE(m, link);
        room_release(m);
    }
    if (c->user) {
        room_release(c->user);
    }
    forget_name(c);
    slots_remove(&ns->hub->clients, c->slot);
    free(c->closing);
    c->ops->free(c);
    ns_unref(ns);
}

struct span client_user(const struct client *c) {
    const struct room *user = c->user ? c->user->room : NULL;
    return user ? (struct span){user->name, user->name_len} : (struct span){NULL, 0};
}

/* The id is the slot, by which it is found, and the nonce, by which it is nobody else's. */
struct id_bytes {
    uint32_t slot;
    uint64_t nonce;
} __attribute__((packed));

void client_id(const struct client *c, char out[CLIENT_ID_LEN + 1]) {
    uint32_t slot = c->renamed ? find_renamed(c->ns->hub, c->nonce)->slot : c->slot;
    struct id_bytes id = {.slot = slot, .nonce = c->nonce};
    base64url_encode(out, &id, sizeof id);
    out[CLIENT_ID_LEN] = '\0';
}

void client_rename(struct client *c, struct span text) {
    struct hub *hub = c->ns->hub;
    struct id_bytes id;
    if (text.len != CLIENT_ID_LEN || base64_decode(&id, text) != (long)sizeof id) {
        return;
    }
    c->nonce = id.nonce;
    c->renamed = c->slot != id.slot;
    if (c->renamed) {
        struct renamed *renamed = memory_zalloc(sizeof *renamed);
        renamed->nonce = id.nonce;
        renamed->slot = id.slot;
        renamed->client = c;
        HASH_ADD(hh, hub->renamed, nonce, sizeof renamed->nonce, renamed);
    }
}

/* By its slot, or as one that goes by the id of an earlier one. */
static struct client *find_client(const struct hub *hub, const struct id_bytes *id) {
    struct client *c = slots_get(&hub->clients, id->slot);
    if (c && c->nonce == id->nonce && !c->renamed) {
        return c;
    }
    const struct renamed *renamed = hub->renamed ? find_renamed(hub, id->nonce) : NULL;
    return renamed && renamed->slot == id->slot ? renamed->client : NULL;
}

struct client *hub_client(struct hub *hub, struct span text) {
    struct id_bytes id;
    if (text.len != CLIENT_ID_LEN || base64_decode(&id, text) != (long)sizeof id) {
        return NULL;
    }
    struct client *c = find_client(hub, &id);
    return c && !c->closing ? c : NULL;
}

uint32_t hub_slot_count(const struct hub *hub) {
    return hub->clients.end;
}

struct client *hub_client_at(const struct hub *hub, uint32_t slot) {
    struct client *c = slots_get(&hub->clients, slot);
    return c && c->ops->go_away && !c->closing ? c : NULL;
}

bool client_admit(struct client *c, uint64_t now_ms) {
    const struct ns_settings *settings = c->ns->settings;
    if (!settings || settings->rate == 0) {
        return true;
    }
    /* A token bucket in thousandths: `rate` a second is `rate` thousandths a millisecond. */
    uint64_t passed = (uint32_t)((uint32_t)now_ms - c->rate_time);
    uint64_t full = (uint64_t)settings->burst * 1000;
    uint64_t tokens = c->rate_tokens + passed * settings->rate;
    c->rate_tokens = (uint32_t)(tokens > full ? full : tokens);
    c->rate_time = (uint32_t)now_ms;
    if (c->rate_tokens < 1000) {
        return false;
    }
    c->rate_tokens -= 1000;
    return true;
}
