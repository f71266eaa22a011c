/* Delivery: from one message to each recipient once, encoded at most once per wire. Nothing is
 * closed or freed within a fan-out: who cannot take it is marked, and goes at the end of the turn.
 */
#include "hub/durable.h"
#include "hub/recovery_internal.h"
#include "hub/slow.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#define STAMP_OF_NOBODY UINT64_MAX

/* Queues the message, whatever waits. The bytes that then do, or UV_E*. */
static ssize_t queue(struct hub *hub, struct client *c, struct message *m) {
    const struct client_ops *ops = c->ops;
    struct slice *encoded = &m->encoded[ops->wire];
    if (!(m->encoded_mask & (1u << ops->wire))) {
        *encoded = ops->encode(c, hub->arena, m);
        m->encoded_mask |= 1u << ops->wire;
    }
    if (!encoded->buf) {
        return 0;
    }
    ssize_t waiting = ops->send(c, m, encoded);
    if (waiting == UV_ENOBUFS) {
        slow_close(c);
    } else if (waiting >= 0) {
        hub->metrics->deliveries[ops->wire]++;
    }
    return waiting;
}

/* The bytes that then wait for this client, or UV_E*. */
static ssize_t deliver(struct hub *hub, struct client *c, struct delivery *d) {
    if (c->apart || (d->yields && c->ops->blocked(c))) {
        if (c->closing) {
            return UV_ECANCELED;
        }
        if (slow_takes(d, c)) {
            return c->closing ? UV_ENOBUFS : 0;
        }
    }
    return queue(hub, c, d->message);
}

static void stamp_members(const struct room *room, uint64_t stamp) {
    for (uint32_t i = 0; i < room->count; i++) {
        room->members[i]->stamp = stamp;
    }
}

/* Each publication has a stamp of its own, so that nobody who is not left out can bear it. */
uint64_t hub_leave_out(struct ns *ns, const struct except *except) {
    uint64_t stamp = ++ns->hub->stamp;
    for (size_t i = 0; except && i < except->client_count; i++) {
        except->clients[i]->stamp = stamp;
    }
    for (size_t i = 0; except && i < except->room_count; i++) {
        const struct room *room = room_find(ns->rooms, except->rooms[i]);
        if (room) {
            stamp_members(room, stamp);
        }
    }
    return stamp;
}

/* The stamp of those who are not to be told now: who is left out, and who will get there in what
 * it is being told of the time before. */
static uint64_t stamp_others(struct ns *ns, const struct except *except) {
    uint64_t stamp = hub_leave_out(ns, except);
    if (ns->recovery) {
        recovery_hold(ns, stamp);
    }
    return stamp;
}

/* To all who do not bear the stamp; as deliver, of the last. Deliveries of every kind go through
 * this loop, so that it is the one place into which what a recipient costs is compiled. */
static ssize_t fan_out(struct hub *hub, struct client *const *clients, uint32_t count,
                       struct message *m, uint64_t stamp, const struct slow_rule *rule) {
    struct delivery d;
    ssize_t high = (ssize_t)hub->config->high_mark;
    ssize_t waiting = 0;
    delivery_init(&d, m, rule);
    for (uint32_t i = 0; i < count; i++) {
        struct client *c = clients[i];
        if (c->stamp != stamp && (waiting = deliver(hub, c, &d)) > high) {
            slow_above_mark(&d, c);
        }
    }
    delivery_deinit(&d);
    return waiting;
}

static int send_to(struct client *c, struct message *m, const struct slow_rule *rule) {
    ssize_t waiting = fan_out(c->ns->hub, &c, 1, m, STAMP_OF_NOBODY, rule);
    return waiting < 0 ? (int)waiting : 0;
}

int client_send(struct client *c, struct message *m) {
    if (c->kept && !m->position && m->kind != MESSAGE_REPLY && !m->id.len) {
        m->position = recovery_position(c);
    }
    return send_to(c, m, NULL);
}

/* It is kept, for the client to be told when it comes back. True: or when it gets there in what it
 * is being told already. */
static bool note_for_client(struct client *c, struct message *m) {
    char id[CLIENT_ID_LEN + 1];
    struct span name = {id, CLIENT_ID_LEN};
    client_id(c, id);
    recovery_note(c->ns, m, PACKET_CLIENT, &name, 1, NULL);
    return (m->flags & MESSAGE_HELD) || recovery_is_behind(c);
}

int hub_publish_client(struct client *c, struct message *m) {
    const struct slow_rule *rule = slow_rule_of_ns(c->ns);
    if (c->kept && !c->closing && note_for_client(c, m)) {
        return 0;
    }
    return send_to(c, m, rule->policy == SLOW_CLOSE ? NULL : rule);
}

/* Those who may come back are told what is in the log only once that is on disk. */
static void hold_back(struct client *const *clients, uint32_t count, const struct message *m,
                      uint64_t stamp) {
    for (uint32_t i = 0; (m->flags & MESSAGE_HELD) && i < count; i++) {
        if (clients[i]->kept) {
            clients[i]->stamp = stamp;
        }
    }
}

/* To the members of a room, all but those who bear the stamp. */
static void fan_out_room(struct room *room, struct message *m, uint64_t stamp) {
    hold_back(room->members, room->count, m, stamp);
    if (!LIST_EMPTY(&room->replays)) {
        replay_hold(room, m, stamp);
    }
    fan_out(room->ns->hub, room->members, room->count, m, stamp, slow_rule_of_room(room));
}

/* For those who are away, whether the room is there or not. */
static void note_rooms(struct ns *ns, const struct span *names, size_t count, struct message *m,
                       const struct except *except) {
    if (ns->recovery) {
        recovery_note(ns, m, PACKET_ROOMS, names, count, except);
    }
}

void publish_to_room(struct room *room, struct message *m, const struct except *except) {
    struct span name = room_name(room);
    note_rooms(room->ns, &name, 1, m, except);
    fan_out_room(room, m, stamp_others(room->ns, except));
}

/* Finds the room, or makes it if it keeps a history. *out NULL: nobody is there and nothing is
 * kept. 0, or UV_E*: its history is to be on disk and cannot be. */
static int find_room(struct ns *ns, struct span name, struct room **out) {
    struct room *room = room_find(ns->rooms, name);
    if (!room) {
        room = room_get(ns, &ns->rooms, name);
    }
    int status = room_need_disk(room);
    if (!room->history && room->held == 0) {
        room_free(room);
        room = NULL;
    }
    *out = room;
    return status;
}

/* Lets the history of a room in memory give the message its offset. Live delivery follows the log.
 */
static void enter(struct room *room, struct span name, struct message *m, char *offset_text) {
    m->room = name;
    m->offset = (struct span){0};
    if (room->history) {
        history_append(room->history, m, offset_text);
        room_log_used(room);
    }
}

int hub_publish(struct ns *ns, struct span name, struct message *m, const struct except *except,
                char *offset_text) {
    struct room *room;
    int status = find_room(ns, name, &room);
    if (status || !room) {
        if (!status) {
            note_rooms(ns, &name, 1, m, except);
        }
        return status;
    }
    if (room->durable) {
        m->room = name;
        return durable_publish(room, m, except, offset_text, NULL);
    }
    enter(room, name, m, offset_text);
    publish_to_room(room, m, except);
    return 0;
}

int hub_publish_durable(struct ns *ns, struct span name, struct message *m,
                        const struct except *except, char *offset_text, struct commit *commit) {
    struct room *room;
    if (!room_is_durable(ns, name)) {
        return UV_ENOTSUP;
    }
    int status = find_room(ns, name, &room);
    m->room = name;
    return status ? status : durable_publish(room, m, except, offset_text, commit);
}

/* Of one of several rooms: whoever is left out, and who is in one of the rooms before it. To be
 * freed: its rooms. */
static struct except except_before(const struct span *before, size_t before_count,
                                   const struct except *except) {
    static const struct except none;
    struct except all = except ? *except : none;
    struct span *rooms = memory_array(all.room_count + before_count + 1, sizeof *rooms);
    for (size_t i = 0; i < all.room_count; i++) {
        rooms[i] = all.rooms[i];
    }
    for (size_t i = 0; i < before_count; i++) {
        rooms[all.room_count + i] = before[i];
    }
    all.rooms = rooms;
    all.room_count += before_count;
    return all;
}

/* One of several rooms, to be delivered later: by then nobody knows any more who was told in the
 * rooms before it. */
static int publish_later(struct room *room, struct message *m, const struct span *before,
                         size_t before_count, const struct except *except) {
    char offset_text[OFFSET_MAX];
    struct except all = except_before(before, before_count, except);
    int status = durable_publish(room, m, &all, offset_text, NULL);
    free((void *)all.rooms);
    return status;
}

/* One of several rooms, some of which are told later. */
static void note_one(struct ns *ns, const struct span *names, size_t index, struct message *m,
                     const struct except *except) {
    struct except all = except_before(names, index, except);
    note_rooms(ns, &names[index], 1, m, &all);
    free((void *)all.rooms);
}

/* One is that as long as a commit is awaited, whatever the settings say by now. */
static bool is_any_durable(const struct ns *ns, const struct span *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const struct room *room = room_find(ns->rooms, names[i]);
        if ((room && room->durable) || room_is_durable(ns, names[i])) {
            return true;
        }
    }
    return false;
}

int hub_publish_rooms(struct ns *ns, const struct span *names, size_t count, struct message *m,
                      const struct except *except) {
    bool one_by_one = ns->recovery && is_any_durable(ns, names, count);
    int result = 0;
    if (!one_by_one) {
        note_rooms(ns, names, count, m, except);
    }
    uint64_t stamp = stamp_others(ns, except);
    for (size_t i = 0; i < count; i++) {
        char offset_text[OFFSET_MAX];
        struct message own =
            *m; /* one message per room: its name and offset are part of the bytes */
        own.encoded_mask = 0;
        own.room = names[i];
        struct room *room;
        int status = find_room(ns, names[i], &room);
        if (room && room->durable) {
            status = publish_later(room, &own, names, i, except);
            stamp_members(room, stamp);
            result = result ? result : status;
            continue;
        }
        if (one_by_one && !status) {
            note_one(ns, names, i, &own, except);
        }
        if (room && !status) {
            enter(room, names[i], &own, offset_text);
            fan_out_room(room, &own, stamp);
            stamp_members(room, stamp);
        }
        result = result ? result : status;
        message_deinit(&own);
    }
    return result;
}

void hub_publish_ns(struct ns *ns, struct message *m, const struct except *except) {
    if (ns->recovery) {
        recovery_note(ns, m, PACKET_NAMESPACE, NULL, 0, except);
    }
    uint64_t stamp = stamp_others(ns, except);
    hold_back(ns->clients, ns->count, m, stamp);
    fan_out(ns->hub, ns->clients, ns->count, m, stamp, slow_rule_of_ns(ns));
}

/* A user without an on_auth of its own is the client with that id. */
static struct client *lone_user(struct ns *ns, struct span user) {
    struct client *c = hub_client(ns->hub, user);
    return c && c->ns == ns && !c->user ? c : NULL;
}

void hub_publish_user(struct ns *ns, struct span user, struct message *m,
                      const struct except *except) {
    const struct room *connections = room_find(ns->users, user);
    const struct slow_rule *rule = slow_rule_of_ns(ns);
    struct client *lone = connections ? NULL : lone_user(ns, user);
    if (ns->recovery) {
        recovery_note(ns, m, PACKET_USER, &user, 1, except);
    }
    uint64_t stamp = stamp_others(ns, except);
    if (connections) {
        hold_back(connections->members, connections->count, m, stamp);
        fan_out(ns->hub, connections->members, connections->count, m, stamp, rule);
    } else if (lone) {
        hold_back(&lone, 1, m, stamp);
        fan_out(ns->hub, &lone, 1, m, stamp, rule);
    }
}

/* --- what has been held back ----------------------------------------------------------------- */

static void tell_kept(struct client *const *clients, uint32_t count, struct message *m,
                      uint64_t stamp, const struct slow_rule *rule) {
    for (uint32_t i = 0; i < count; i++) {
        if (clients[i]->kept) {
            fan_out(clients[i]->ns->hub, &clients[i], 1, m, stamp, rule);
        }
    }
}

static uint64_t stamp_listed(struct ns *ns, const struct packet *p) {
    uint64_t stamp = stamp_others(ns, NULL);
    struct packet_list ids = p->except_ids, rooms = p->except_rooms;
    struct span text;
    while (packet_list_next(&ids, &text)) {
        struct client *c = hub_client(ns->hub, text);
        if (c) {
            c->stamp = stamp;
        }
    }
    while (packet_list_next(&rooms, &text)) {
        const struct room *room = room_find(ns->rooms, text);
        if (room) {
            stamp_members(room, stamp);
        }
    }
    return stamp;
}

static void tell_named(struct ns *ns, const struct packet *p, struct span name, struct message *m,
                       uint64_t stamp) {
    bool by_room = p->target == PACKET_ROOMS;
    const struct room *room = room_find(by_room ? ns->rooms : ns->users, name);
    if (room) {
        tell_kept(room->members, room->count, m, stamp,
                  by_room ? slow_rule_of_room(room) : slow_rule_of_ns(ns));
        stamp_members(room, stamp);
    } else if (!by_room) { /* a client, or a user that is one */
        struct client *c = hub_client(ns->hub, name);
        if (c && c->ns == ns) {
            tell_kept(&c, 1, m, stamp, slow_rule_of_ns(ns));
        }
    }
}

void publish_committed(struct ns *ns, struct packet *p, uint64_t position) {
    uint64_t stamp = stamp_listed(ns, p);
    struct message *m = &p->message;
    struct packet_list names = p->names;
    struct span name;
    m->position = position;
    if (p->target == PACKET_NAMESPACE) {
        tell_kept(ns->clients, ns->count, m, stamp, slow_rule_of_ns(ns));
    }
    while (packet_list_next(&names, &name)) {
        tell_named(ns, p, name, m, stamp);
    }
    message_deinit(m);
}

size_t hub_each_of_user(struct ns *ns, struct span user,
                        void (*visit)(struct client *c, void *data), void *data) {
    const struct room *connections = room_find(ns->users, user);
    struct client *lone = connections ? NULL : lone_user(ns, user);
    uint32_t count = connections ? connections->count : 0;
    for (uint32_t i = 0; i < count; i++) {
        visit(connections->members[i], data);
    }
    if (lone) {
        visit(lone, data);
        count = 1;
    }
    return count;
}
