/* What was for whom, and when; keeping it as it is said, and sending it to a client that has come
 * back, as fast as it reads. Called by publish.c, by room.c, and with a session's wire. */
#include "hub/recovery_internal.h"
#include "hub/slow.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK (64 << 10) /* bytes of a replay before others have their turn */
#define OVERHEAD 64      /* of a packet: its frame, its offset */

/* --- rooms ----------------------------------------------------------------------------------- */

void recovery_drop_stays(struct recovery_session *s, uint64_t before) {
    struct stay **at = &s->stays;
    while (*at) {
        struct stay *stay = *at;
        if (stay->to < before || stay->from == stay->to) {
            *at = stay->next;
            free(stay);
        } else {
            at = &stay->next;
        }
    }
}

static struct span stay_name(const struct stay *stay) {
    return (struct span){stay->name, stay->len};
}

struct stay *recovery_add_stay(struct recovery_session *s, struct span room, uint64_t from,
                               uint64_t to) {
    struct stay *stay = memory_alloc(sizeof *stay + room.len);
    *stay = (struct stay){.next = s->stays, .from = from, .to = to, .len = (uint32_t)room.len};
    memcpy(stay->name, room.at, room.len);
    s->stays = stay;
    return stay;
}

void recovery_joined(struct client *c, struct span room) {
    struct recovery_session *s = recovery_session_of(c);
    recovery_add_stay(s, room, s->recovery->log.visible, STILL);
    recovery_disk_save(s, false);
}

/* What is older than the log is nobody's any more. */
void recovery_left(struct client *c, struct span room) {
    struct recovery_session *s = recovery_session_of(c);
    const struct recovery_log *log = &s->recovery->log;
    for (struct stay *stay = s->stays; stay; stay = stay->next) {
        if (stay->to == STILL && span_equal(stay_name(stay), room)) {
            stay->to = log->visible;
        }
    }
    recovery_drop_stays(s, log->gone);
    recovery_disk_save(s, false);
}

static bool was_in(const struct recovery_session *s, struct packet_list rooms, uint64_t position) {
    for (const struct stay *stay = rooms.packed.len ? s->stays : NULL; stay; stay = stay->next) {
        if (stay->from < position && position <= stay->to &&
            packet_list_has(rooms, stay_name(stay))) {
            return true;
        }
    }
    return false;
}

static bool is_for(const struct recovery_session *s, const struct packet *p, uint64_t position) {
    bool meant = false;
    switch (p->target) {
    case PACKET_NAMESPACE:
        meant = true;
        break;
    case PACKET_ROOMS:
        meant = was_in(s, p->names, position);
        break;
    case PACKET_USER:
        meant = packet_list_has(p->names, span_of(s->user ? s->user : s->id));
        break;
    default:
        meant = packet_list_has(p->names, span_of(s->id));
    }
    return meant && !packet_list_has(p->except_ids, span_of(s->id)) &&
           !was_in(s, p->except_rooms, position);
}

/* --- the log --------------------------------------------------------------------------------- */

static void put_except(struct writer *out, const struct except *except) {
    size_t list = packet_list_begin(out);
    for (size_t i = 0; except && i < except->client_count; i++) {
        char id[CLIENT_ID_LEN + 1];
        if (except->clients[i]->kept) {
            client_id(except->clients[i], id);
            packet_list_add(out, list, span_of(id));
        }
    }
    for (size_t i = 0; except && i < except->id_count; i++) {
        packet_list_add(out, list, except->ids[i]);
    }
    list = packet_list_begin(out);
    for (size_t i = 0; except && i < except->room_count; i++) {
        packet_list_add(out, list, except->rooms[i]);
    }
}

/* False: nobody could ever ask for it. */
static bool is_wanted(const struct recovery *r, const struct message *m) {
    return !(m->flags & MESSAGE_VOLATILE) && (r->sessions || r->disk);
}

void recovery_note(struct ns *ns, struct message *m, enum packet_target target,
                   const struct span *names, size_t count, const struct except *except) {
    struct recovery *r = ns->recovery;
    m->position = r->log.visible;
    if (is_wanted(r, m)) {
        struct writer out = {0};
        packet_put(&out, m, target);
        size_t list = packet_list_begin(&out);
        for (size_t i = 0; i < count; i++) {
            packet_list_add(&out, list, names[i]);
        }
        put_except(&out, except);
        struct span bytes = writer_span(&out);
        m->position = r->log.last + 1;
        recovery_log_append(&r->log, m->position, buf_copy(bytes.at, bytes.len), ns->hub->now);
        if (recovery_disk_append(r, bytes)) {
            m->flags |= MESSAGE_HELD;
        } else {
            r->log.visible = m->position;
        }
        writer_deinit(&out);
    }
}

void recovery_hold(struct ns *ns, uint64_t stamp) {
    struct recovery_session *s;
    LIST_FOREACH (s, &ns->recovery->behind, behind) {
        s->client->stamp = stamp;
    }
}

bool recovery_is_behind(const struct client *c) {
    return recovery_session_of(c)->is_behind;
}

uint64_t recovery_position(const struct client *c) {
    const struct recovery_session *s = recovery_session_of(c);
    return s->is_behind ? s->cursor : s->recovery->log.visible;
}

/* --- the replay ------------------------------------------------------------------------------ */

static size_t send_packet(struct client *c, struct packet *p, uint64_t position) {
    struct message *m = &p->message;
    m->position = position;
    (void)client_send(c, m);
    message_deinit(m);
    return m->data.len + m->event.len + m->attachments.len + OVERHEAD;
}

/* As much as the client takes, but for so many bytes. False: there is more. */
static bool advance(struct recovery_session *s, size_t budget) {
    struct client *c = s->client;
    const struct recovery_log *log = &s->recovery->log;
    while (s->cursor < log->visible) {
        struct packet p;
        if (c->closing || c->ops->blocked(c) || !budget) {
            return false;
        }
        if (s->cursor < log->gone) { /* It reads so slowly that the log has gone by: */
            slow_close(c);           /* it may begin anew. */
            return false;
        }
        struct span bytes = recovery_log_next(log, &s->cursor);
        if (!bytes.at) {
            s->cursor = log->visible;
        } else if (packet_read(&p, bytes) && is_for(s, &p, s->cursor)) {
            size_t used = send_packet(c, &p, s->cursor);
            budget -= used < budget ? used : budget;
        }
    }
    return true;
}

void recovery_end_behind(struct recovery_session *s) {
    if (s->is_behind) {
        LIST_REMOVE(s, behind);
        s->is_behind = false;
    }
}

static void pump(struct recovery_session *s) {
    struct client *c = s->client;
    struct hub *hub = s->recovery->ns->hub;
    size_t half = hub->config->high_mark / 2;
    if (advance(s, half < CHUNK ? half : CHUNK)) {
        recovery_end_behind(s);
    } else if (!c->closing && !c->ops->blocked(c) && !s->next.queued) {
        hub->defer(hub->io, &s->next);
    }
}

void recovery_go_on(struct deferred *deferred) {
    struct recovery_session *s =
        (struct recovery_session *)((char *)deferred - offsetof(struct recovery_session, next));
    if (!s->recovery) {
        free(s);
    } else if (s->is_behind) {
        pump(s);
    }
}

void recovery_replay(struct client *c) {
    pump(recovery_session_of(c));
}

void recovery_drained(struct client *c) {
    struct recovery_session *s = recovery_session_of(c);
    if (s->is_behind && !s->next.queued) {
        pump(s);
    }
}
