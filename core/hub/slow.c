/* What a reader costs that has fallen behind. A client is slow from the message that took its
 * unread output over the high mark until that output has drained, and while something is parked for
 * it; only then there is memory for it here. Called by publish.c, and by the transports through
 * client_drained.
 *
 * "drop": from then on messages are counted and forgotten, so that the client hears everything up
 * to the gap, then the event "dropped" in the place of what is missing, then everything again.
 *
 * "latest": while the socket refuses bytes, messages are parked, the newest in the place of an
 * older one with the same room, event and key. They go out in the order in which they were said:
 * what the client hears is what everybody hears, with some left out. Messages of other policies,
 * and what is owed to the client, go into its queue at once and may so overtake what is parked. */
#include "hub/slow.h"

#include "base/json.h"
#include "base/table.h"

#include <stddef.h>
#include <string.h>

#define ROOMS_MAX 32 /* rooms in one "dropped"; those beyond are in the total only */

/* A message that waits for room, shared by all clients that it waits for: the bytes of every wire
 * are made from it when it goes out. */
struct slow_row {
    uint32_t refs;
    unsigned hash; /* of the identity */
    struct message *message;
    size_t cost; /* bytes that it counts for each client */
    size_t len;
    char identity[]; /* room, event, value of the key: a newer message with the same replaces it */
};

/* A row in one client's table, which keeps the order in which rows were added. */
struct parked {
    UT_hash_handle hh;
    struct slow_row *row;
};

struct dropped_room {
    struct dropped_room *next;
    uint64_t count;
    size_t len;
    char name[];
};

struct slow {
    struct client *client;
    bool behind;    /* above the mark, and not drained since */
    uint64_t count; /* dropped since then */
    uint64_t gap;   /* the position of the first that was dropped or parked since it kept up */
    struct dropped_room *rooms;
    uint32_t room_count;
    struct parked *parked;
    size_t parked_bytes;
};

/* --- the rule of a message ------------------------------------------------------------------ */

const struct slow_rule *slow_rule_of_ns(const struct ns *ns) {
    static const struct slow_rule by_default = {SLOW_CLOSE, NULL};
    return ns->settings ? &ns->settings->slow : &by_default;
}

const struct slow_rule *slow_rule_of_room(const struct room *room) {
    return room->policy ? &room->policy->slow : slow_rule_of_ns(room->ns);
}

static void row_unref(struct slow_row *row) {
    if (--row->refs == 0) {
        message_free(row->message);
        free(row);
    }
}

void delivery_init(struct delivery *d, struct message *m, const struct slow_rule *rule) {
    d->message = m;
    d->rule = rule;
    d->row = NULL;
    d->yields = (m->flags & MESSAGE_VOLATILE) || (rule && rule->policy == SLOW_LATEST);
}

void delivery_deinit(struct delivery *d) {
    if (d->row) {
        row_unref(d->row);
    }
}

/* --- who is slow ---------------------------------------------------------------------------- */

/* NULL: it is not. */
static struct slow *slow_of(const struct client *c) {
    return slots_get(&c->ns->hub->slow, c->apart - 1);
}

static struct slow *slow_begin(struct client *c) {
    struct hub *hub = c->ns->hub;
    if (c->apart) {
        return slow_of(c); /* Nothing is said to a client that closes. */
    }
    struct slow *slow = memory_zalloc(sizeof *slow);
    slow->client = c;
    c->apart = slots_add(&hub->slow, slow) + 1;
    hub->metrics->slow_clients++;
    return slow;
}

static void forget_rooms(struct dropped_room *rooms) {
    while (rooms) {
        struct dropped_room *next = rooms->next;
        free(rooms);
        rooms = next;
    }
}

static void unpark(struct slow *slow, struct parked *parked) {
    HASH_DEL(slow->parked, parked);
    slow->parked_bytes -= parked->row->cost;
    row_unref(parked->row);
    free(parked);
}

static void slow_end(struct slow *slow) {
    struct client *c = slow->client;
    struct hub *hub = c->ns->hub;
    while (slow->parked) {
        unpark(slow, slow->parked);
    }
    forget_rooms(slow->rooms);
    slots_remove(&hub->slow, c->apart - 1);
    c->apart = 0;
    hub->metrics->slow_clients--;
    free(slow);
}

void slow_forget(struct client *c) {
    struct slow *slow = slow_of(c);
    if (slow) {
        slow_end(slow);
    }
}

void slow_close(struct client *c) {
    c->ns->hub->metrics->closed_slow++;
    client_disconnect(c, 0, "slow consumer");
}

void slow_above_mark(const struct delivery *d, struct client *c) {
    if (d->rule && d->rule->policy == SLOW_CLOSE) {
        slow_close(c);
    } else if (d->rule) {
        slow_begin(c)->behind = true;
    }
}

/* --- dropping ------------------------------------------------------------------------------- */

static void count_room(struct slow *slow, struct span name) {
    struct dropped_room *room = slow->rooms;
    while (room && !span_equal((struct span){room->name, room->len}, name)) {
        room = room->next;
    }
    if (!room && slow->room_count < ROOMS_MAX) {
        room = memory_alloc(sizeof *room + name.len);
        *room = (struct dropped_room){.next = slow->rooms, .len = name.len};
        memcpy(room->name, name.at, name.len);
        slow->rooms = room;
        slow->room_count++;
    }
    if (room) {
        room->count++;
    }
}

static void drop(struct slow *slow, const struct message *m) {
    slow->client->ns->hub->metrics->dropped[DROPPED_SLOW]++;
    slow->count++;
    if (m->room.len) {
        count_room(slow, m->room);
    }
}

/* {"count":12,"rooms":{"room:1":12}} */
static void write_dropped(struct writer *out, uint64_t count, const struct dropped_room *rooms) {
    writer_printf(out, "{\"count\":%llu,\"rooms\":{", (unsigned long long)count);
    for (const struct dropped_room *room = rooms; room; room = room->next) {
        /* A room's name is UTF-8, for hub_join lets in no other. */
        (void)!json_put_string(out, (struct span){room->name, room->len});
        writer_printf(out, ":%llu%s", (unsigned long long)room->count, room->next ? "," : "");
    }
    writer_puts(out, "}}");
}

/* May close the client, which ends `slow`. */
static void tell_dropped(struct slow *slow) {
    struct client *c = slow->client;
    struct writer data = {0};
    struct message m;
    write_dropped(&data, slow->count, slow->rooms);
    forget_rooms(slow->rooms);
    slow->rooms = NULL;
    slow->count = slow->room_count = 0;
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("dropped");
    m.data = writer_span(&data);
    m.argc = 1;
    (void)client_send(c, &m);
    message_deinit(&m);
    writer_deinit(&data);
}

/* --- parking -------------------------------------------------------------------------------- */

/* The JSON text of this member of the first argument: of a string, a number or a boolean. Empty
 * where there is none, so that such messages are all of one row. */
static struct span value_of(const struct message *m, const char *key) {
    struct span found = {0};
    struct json_reader r;
    json_reader_init_list(&r, m->data.at, m->data.len);
    bool good = json_next(&r) == JSON_OBJECT;
    while (good && json_next(&r) == JSON_KEY) {
        bool wanted = span_is(r.text, key);
        struct span value;
        enum json_token token = json_skip(&r, &value);
        good = token != JSON_ERROR;
        if (wanted) {
            bool plain = token == JSON_STRING || token == JSON_NUMBER || token == JSON_TRUE ||
                         token == JSON_FALSE;
            found = plain ? value : (struct span){0};
        }
    }
    json_reader_deinit(&r);
    return found;
}

static struct slow_row *row_new(const struct message *m, const struct slow_rule *rule) {
    bool keyed = rule->key && m->kind == MESSAGE_EVENT;
    struct span value = keyed ? value_of(m, rule->key) : (struct span){0};
    struct writer identity = {0};
    uint32_t lengths[] = {(uint32_t)m->room.len, (uint32_t)m->event.len, m->kind};
    writer_put(&identity, lengths, sizeof lengths);
    writer_put_span(&identity, m->room);
    writer_put_span(&identity, m->event);
    writer_put_span(&identity, value);
    size_t len = writer_len(&identity);
    struct slow_row *row = memory_alloc(sizeof *row + len);
    row->refs = 1;
    row->message = message_keep(m);
    row->len = len;
    memcpy(row->identity, writer_span(&identity).at, len);
    HASH_VALUE(row->identity, len, row->hash);
    row->cost = sizeof(struct parked) + sizeof *row + len + offsetof(struct message, encoded) +
                m->data.len + m->attachments.len;
    writer_deinit(&identity);
    return row;
}

/* The newest message of a row goes to the end, so that what is flushed is in the order in which it
 * was said, and offsets only go up. */
static void park(struct slow *slow, struct slow_row *row) {
    struct client *c = slow->client;
    struct hub *hub = c->ns->hub;
    struct parked *parked;
    HASH_FIND_BYHASHVALUE(hh, slow->parked, row->identity, row->len, row->hash, parked);
    if (parked) {
        hub->metrics->dropped[DROPPED_REPLACED]++;
        unpark(slow, parked);
    }
    parked = memory_zalloc(sizeof *parked);
    parked->row = row;
    row->refs++;
    slow->parked_bytes += row->cost;
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, slow->parked, row->identity, row->len, row->hash, parked);
    if (slow->parked_bytes + c->ops->queued(c) > hub->config->hard_limit) {
        slow_close(c);
    }
}

uint64_t slow_gap(const struct client *c) {
    const struct slow *slow = c->apart && !c->closing ? slow_of(c) : NULL;
    return slow ? slow->gap : 0;
}

static void note_gap(struct slow *slow, const struct message *m) {
    slow->gap = slow->gap ? slow->gap : m->position;
}

bool slow_takes(struct delivery *d, struct client *c) {
    const struct message *m = d->message;
    struct slow *slow = slow_of(c);
    if (m->flags & MESSAGE_VOLATILE) {
        /* Nor does it go before what is parked, or into the middle of what is dropped. */
        bool waits = slow || c->ops->blocked(c);
        c->ns->hub->metrics->dropped[DROPPED_VOLATILE] += waits;
        return waits;
    }
    if (!d->rule || d->rule->policy == SLOW_CLOSE) {
        return false;
    }
    if (d->rule->policy == SLOW_DROP) {
        if (slow && slow->behind) {
            note_gap(slow, m);
            drop(slow, m);
            return true;
        }
        return false;
    }
    /* Behind what is parked already, for its order. */
    if ((slow && (slow->behind || slow->parked)) || c->ops->blocked(c)) {
        d->row = d->row ? d->row : row_new(m, d->rule);
        slow = slow_begin(c);
        note_gap(slow, m);
        park(slow, d->row);
        return true;
    }
    return false;
}

/* --- reading on ----------------------------------------------------------------------------- */

/* Sends what is parked, the first first, as long as there is room. */
static void flush(struct client *c) {
    struct slow *slow;
    while ((slow = slow_of(c)) && slow->parked && !c->ops->blocked(c) &&
           c->ops->queued(c) <= c->ns->hub->config->high_mark) {
        struct message m;
        struct slow_row *row = slow->parked->row;
        row->refs++;
        unpark(slow, slow->parked);
        message_lend(&m, row->message);
        (void)client_send(c, &m);
        message_deinit(&m);
        row_unref(row);
    }
}

static void end_if_over(struct client *c) {
    struct slow *slow = slow_of(c);
    if (slow && !slow->behind && !slow->parked) {
        slow_end(slow); /* And the gap with it. */
    }
}

void slow_drained(struct client *c) {
    struct slow *slow = slow_of(c);
    if (!slow) {
        return;
    }
    slow->behind = false;
    if (slow->count) {
        tell_dropped(slow);
    }
    flush(c);
    end_if_over(c);
}

struct span slow_first_parked(const struct client *c, const struct room *room) {
    const struct slow *slow = slow_of(c);
    struct span name = {room->name, room->name_len};
    for (struct parked *p = slow ? slow->parked : NULL; p; p = p->hh.next) {
        const struct message *m = p->row->message;
        if (span_equal(m->room, name) && history_has_epoch(room->history, m->offset)) {
            return m->offset;
        }
    }
    return (struct span){0};
}

void slow_left(struct client *c, struct span room) {
    struct slow *slow = slow_of(c);
    struct parked *parked, *next;
    for (parked = slow ? slow->parked : NULL; parked; parked = next) {
        next = parked->hh.next;
        if (span_equal(parked->row->message->room, room)) {
            unpark(slow, parked);
        }
    }
    end_if_over(c);
}
