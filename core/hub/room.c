/* Rooms and who is in them. A room's members stand in a dense array, from which one is removed by
 * putting the last in its place; the membership of the one that moved is found through the set.
 * Delivery is in publish.c. */
#include "base/memory.h"
#include "base/utf8.h"
#include "hub/durable.h"
#include "hub/recovery.h"
#include "hub/slow.h"
#include "hub/store.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define DEFAULT_TTL (3600 * 1000)

static bool pattern_matches(const char *pattern, struct span name) {
    size_t len = strlen(pattern);
    if (len > 0 && pattern[len - 1] == '*') {
        return name.len >= len - 1 && memcmp(name.at, pattern, len - 1) == 0;
    }
    return span_is(name, pattern);
}

static const struct room_policy *policy_of(const struct ns *ns, struct span name) {
    const struct ns_settings *settings = ns->settings;
    for (size_t i = 0; settings && i < settings->room_count; i++) {
        if (pattern_matches(settings->rooms[i].pattern, name)) {
            return &settings->rooms[i];
        }
    }
    return NULL;
}

struct span room_name(const struct room *room) {
    return (struct span){room->name, room->name_len};
}

void room_keep_log(struct room *room, struct history *h) {
    struct hub *hub = room->ns->hub;
    room->history = h;
    room->last_publish = hub->now;
    TAILQ_INSERT_TAIL(&hub->logs, room, log_link);
}

void room_log_used(struct room *room) {
    struct hub *hub = room->ns->hub;
    room->last_publish = hub->now;
    TAILQ_REMOVE(&hub->logs, room, log_link);
    TAILQ_INSERT_TAIL(&hub->logs, room, log_link);
}

static uint32_t history_size(const struct room *room) {
    return room->policy ? room->policy->history_size : 0;
}

bool room_wants_disk(const struct room *room) {
    return history_size(room) && room->policy->durable;
}

int room_need_disk(struct room *room) {
    return room_wants_disk(room) && !room->durable ? durable_begin(room, history_size(room)) : 0;
}

void room_apply_policy(struct room *room) {
    if (room->table == &room->ns->users) {
        return;
    }
    room->policy = policy_of(room->ns, room_name(room));
    uint32_t size = history_size(room);
    if (room->durable && !room_wants_disk(room) && durable_is_pending(room)) {
        return; /* What is said waits for its turn behind that; the last commit calls again. */
    }
    if (size && room->history) {
        history_resize(room->history, size);
    } else if (size && !room_wants_disk(room)) {
        room_keep_log(room, history_new(size));
    } else if (room->history) {
        replay_lost(room);
        TAILQ_REMOVE(&room->ns->hub->logs, room, log_link);
        history_free(room->history);
        room->history = NULL;
    }
    if (room->durable && !room_wants_disk(room)) {
        durable_end(room);
    }
    (void)!room_need_disk(room); /* logged; who says something there hears of it */
}

struct room *room_find(struct room *table, struct span name) {
    struct room *room;
    HASH_FIND(hh, table, name.at, name.len, room);
    return room;
}

struct room *room_get(struct ns *ns, struct room **table, struct span name) {
    struct room *room = room_find(*table, name);
    if (room) {
        return room;
    }
    room = memory_zalloc(sizeof *room + name.len + 1);
    room->ns = ns;
    room->table = table;
    room->name_len = (uint32_t)name.len;
    memcpy(room->name, name.at, name.len);
    HASH_ADD_KEYPTR(hh, *table, room->name, room->name_len, room);
    room_apply_policy(room);
    return room;
}

void room_free(struct room *room) {
    if (room->history) {
        TAILQ_REMOVE(&room->ns->hub->logs, room, log_link);
        history_free(room->history);
    }
    if (room->durable) {
        durable_free(room);
    }
    HASH_DELETE(hh, *room->table, room);
    free(room->members);
    free(room);
}

void room_unuse(struct room *room) {
    if (room->held == 0 && !room->history) {
        room_free(room);
    }
}

struct membership *room_add(struct room *room, struct client *c) {
    struct membership *m = memory_zalloc(sizeof *m);
    m->client = c;
    m->room = room;
    m->index = room->count;
    clients_push(&room->members, &room->count, &room->cap, c);
    room->held++;
    membership_set_add(&room->ns->hub->memberships, m);
    return m;
}

void room_detach(struct membership *m) {
    struct room *room = m->room;
    if (m->index == DETACHED) {
        return;
    }
    struct client *last = room->members[--room->count];
    if (last != m->client) {
        room->members[m->index] = last;
        membership_set_find(&room->ns->hub->memberships, last, room)->index = m->index;
    }
    m->index = DETACHED;
    if (room->count == 0) {
        free(room->members);
        room->members = NULL;
        room->cap = 0;
    }
}

void room_release(struct membership *m) {
    struct room *room = m->room;
    room_detach(m);
    membership_set_remove(&room->ns->hub->memberships, m);
    free(m);
    room->held--;
    room_unuse(room);
}

static struct membership *membership_of(const struct client *c, struct span name) {
    const struct room *room = room_find(c->ns->rooms, name);
    return room ? membership_set_find(&c->ns->hub->memberships, c, room) : NULL;
}

int hub_join(struct client *c, struct span name) {
    const struct config *config = c->ns->hub->config;
    if (c->closing) {
        return UV_ECANCELED;
    }
    if (name.len == 0 || name.len > (size_t)config->max_room_name ||
        !utf8_valid(name.at, name.len)) {
        return UV_EINVAL;
    }
    if (membership_of(c, name)) {
        return 0;
    }
    if (c->room_count >= (uint32_t)config->max_rooms) {
        return UV_ENOSPC;
    }
    struct room *room = room_get(c->ns, &c->ns->rooms, name);
    struct membership *m = room_add(room, c);
    if (room->durable) {
        durable_found(room);
    }
    LIST_INSERT_HEAD(&c->rooms, m, link);
    c->room_count++;
    if (c->kept) {
        recovery_joined(c, name);
    }
    return 0;
}

bool hub_leave(struct client *c, struct span name) {
    struct membership *m = membership_of(c, name);
    if (!m) {
        return false;
    }
    LIST_REMOVE(m, link);
    c->room_count--;
    slow_left(c, name);
    replay_left(c, m->room);
    if (c->kept) {
        recovery_left(c, name);
    }
    room_release(m);
    return true;
}

bool hub_is_member(const struct client *c, struct span name) {
    return membership_of(c, name) != NULL;
}

void ns_each_room(struct ns *ns, void (*visit)(struct span name, void *data), void *data) {
    for (const struct room *room = ns->rooms; room; room = room->hh.next) {
        if (room->count) {
            visit(room_name(room), data);
        }
    }
}

size_t room_count(struct ns *ns, struct span name) {
    const struct room *room = room_find(ns->rooms, name);
    return room ? room->count : 0;
}

struct client *room_member(struct ns *ns, struct span name, size_t index) {
    const struct room *room = room_find(ns->rooms, name);
    return room && index < room->count ? room->members[index] : NULL;
}

void client_each_room(const struct client *c, void (*visit)(struct span name, void *data),
                      void *data) {
    struct membership *m;
    struct membership *next;
    for (m = LIST_FIRST(&c->rooms); m; m = next) {
        next = LIST_NEXT(m, link); /* visit may leave this room */
        visit(room_name(m->room), data);
    }
}

bool room_is_durable(const struct ns *ns, struct span name) {
    const struct room_policy *policy = policy_of(ns, name);
    return policy && policy->history_size && policy->durable;
}

bool room_is_remembered(const struct ns *ns, struct span name) {
    const struct room_policy *policy = policy_of(ns, name);
    return policy && policy->history_size && !policy->durable;
}

struct history *room_history(struct ns *ns, struct span name) {
    struct room *room = room_find(ns->rooms, name);
    if (!room && room_is_durable(ns, name)) {
        room = room_get(ns, &ns->rooms, name);
        if (!room->history) {
            room_free(room);
            return NULL;
        }
    }
    if (room && room_need_disk(room) == 0 && room->durable) {
        durable_touch(room);
    }
    return room ? room->history : NULL;
}

/* Says what a reload means for what was said before it. */
static void tell_moves(const struct ns *ns, unsigned to_disk, unsigned to_memory) {
    if (to_disk) {
        log_printf(store_logger(ns->hub->store), LOG_INFO,
                   "namespace %s: the history of %u rooms is on disk from now on", ns->name,
                   to_disk);
    }
    if (to_memory) {
        log_printf(store_logger(ns->hub->store), LOG_INFO,
                   "namespace %s: the history of %u rooms is in memory only from now on", ns->name,
                   to_memory);
    }
}

static void reconsider(const struct ns *ns, struct room **table) {
    struct room *room;
    struct room *next;
    unsigned to_disk = 0;
    unsigned to_memory = 0;
    for (room = *table; room; room = next) {
        next = room->hh.next;
        bool was_on_disk = room->durable != NULL;
        bool was_in_memory = room->history && !was_on_disk;
        room_apply_policy(room);
        to_disk += was_in_memory && room->durable;
        to_memory += was_on_disk && room->history && !room_wants_disk(room);
        room_unuse(room);
    }
    tell_moves(ns, to_disk, to_memory);
}

void ns_configure(struct ns *ns, const struct ns_settings *settings) {
    ns->settings = settings;
    recovery_configure(ns);
    reconsider(ns, &ns->rooms);
}

uint64_t room_ttl(const struct room *room) {
    uint64_t ttl = room->policy ? room->policy->history_ttl : 0;
    return ttl ? ttl : DEFAULT_TTL;
}

/* An empty log stays for as long again, so that who comes back hears that its time was over, or
 * that nothing was missed. One that is on disk only leaves memory: the store removes it in its
 * time. */
void rooms_expire(struct hub *hub) {
    struct room *room;
    struct room *next;
    for (room = TAILQ_FIRST(&hub->logs); room; room = next) {
        next = TAILQ_NEXT(room, log_link);
        uint64_t idle = hub->now - room->last_publish;
        bool over = room->durable ? durable_is_idle(room) : idle / 2 >= room_ttl(room);
        if (room->held == 0 && over) {
            room_free(room);
        } else if (idle >= room_ttl(room)) {
            history_clear(room->history);
        }
    }
}
