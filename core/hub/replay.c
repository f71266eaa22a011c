/* Replays: from a room's log to one client that has missed the end of it. A client that is behind
 * in a room hears nothing live there; it reads the log, as fast as its socket takes the bytes,
 * until it has caught up. So there is no gap and no double between the two, and nothing is
 * buffered. Called by the app's side of a join, by room.c and publish.c, and when a client's output
 * has drained. */
#include "hub/replay.h"

#include "base/json.h"
#include "hub/slow.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK (64 << 10) /* bytes queued before others have their turn */
#define OVERHEAD 64      /* of a message: its frame, names, offset */

/* A client that is behind in a room. */
struct replay {
    LIST_ENTRY(replay) of_room;
    LIST_ENTRY(replay) of_client;
    struct replayer *state;
    struct room *room;
    uint64_t cursor;    /* it has everything up to this sequence */
    uint64_t *left_out; /* sequences after the cursor that were not for it, ascending */
    uint32_t left_out_count;
    uint32_t left_out_cap;
};

/* Of a client that has something to recover; there is none for all others. */
struct replayer {
    UT_hash_handle hh;
    struct client *client; /* NULL: gone, and freed when `next` runs */
    struct hub *hub;
    struct deferred next; /* goes on sending, after a flush */
    struct buf *offered;
    bool asked;         /* a join is under way: */
    struct buf *wanted; /* its offsets; NULL: none */
    bool read;          /* the app has read the log: */
    char position[OFFSET_MAX];
    enum history_status read_status;
    LIST_HEAD(, replay) replays;
};

static struct span buf_span(const struct buf *buf) {
    return buf ? (struct span){buf->bytes, buf->len} : (struct span){0};
}

/* --- the clients that have something to recover --------------------------------------------- */

static struct replayer *find(const struct client *c) {
    struct replayer *state;
    HASH_FIND_PTR(c->ns->hub->replayers, &c, state);
    return state;
}

static void send_more(struct deferred *deferred);

static struct replayer *need(struct client *c) {
    struct hub *hub = c->ns->hub;
    struct replayer *state = find(c);
    if (!state) {
        state = memory_zalloc(sizeof *state);
        state->client = c;
        state->hub = hub;
        state->next.run = send_more;
        LIST_INIT(&state->replays);
        HASH_ADD_PTR(hub->replayers, client, state);
    }
    return state;
}

static void drop(struct buf **buf) {
    buf_unref(*buf);
    *buf = NULL;
}

static void release(struct replayer *state) {
    HASH_DEL(state->hub->replayers, state);
    drop(&state->offered);
    drop(&state->wanted);
    state->client = NULL;
    if (!state->next.queued) {
        free(state);
    }
}

static void release_if_over(struct replayer *state) {
    if (!state->offered && !state->asked && LIST_EMPTY(&state->replays)) {
        release(state);
    }
}

static void end_replay(struct replay *r) {
    LIST_REMOVE(r, of_room);
    LIST_REMOVE(r, of_client);
    free(r->left_out);
    free(r);
}

static struct replay *replay_in(const struct replayer *state, const struct room *room) {
    struct replay *r = NULL;
    if (state) {
        LIST_FOREACH (r, &state->replays, of_client) {
            if (r->room == room) {
                break;
            }
        }
    }
    return r;
}

/* --- what a client has seen ----------------------------------------------------------------- */

void replay_offer(struct client *c, struct span offsets) {
    if (offsets.len && !c->closing) {
        struct replayer *state = need(c);
        drop(&state->offered);
        state->offered = buf_copy(offsets.at, offsets.len);
    }
}

void replay_withdraw(struct client *c) {
    struct replayer *state = find(c);
    if (state) {
        drop(&state->offered);
        release_if_over(state);
    }
}

/* The entry of the list that is an offset of this log. */
static struct span entry_of(struct span list, const struct history *h) {
    struct span entry;
    while (offset_next(&list, &entry)) {
        if (history_has_epoch(h, entry)) {
            return entry;
        }
    }
    return (struct span){0};
}

/* The room's entry has had its join, and so has an older one of the same log. */
static void take_offered(struct replayer *state, const struct history *h) {
    struct span list = buf_span(state->offered);
    struct writer rest = {0};
    struct span entry;
    while (offset_next(&list, &entry)) {
        if (!history_has_epoch(h, entry)) {
            writer_puts(&rest, writer_len(&rest) ? "," : "");
            writer_put_span(&rest, entry);
        }
    }
    drop(&state->offered);
    if (writer_len(&rest)) {
        state->offered = writer_take(&rest);
    }
    writer_deinit(&rest);
}

static enum replay_result result_of(enum history_status status) {
    static const enum replay_result all[] = {[HISTORY_OK] = REPLAY_DONE,
                                             [HISTORY_TRIMMED] = REPLAY_TRIMMED,
                                             [HISTORY_EXPIRED] = REPLAY_EXPIRED,
                                             [HISTORY_EPOCH] = REPLAY_EPOCH,
                                             [HISTORY_INVALID] = REPLAY_INVALID};
    return all[status];
}

/* What a client that is not in this room can recover there, having seen everything up to `after`,
 * and the sequence from which. */
static enum replay_result judge(const struct history *h, struct span after, uint64_t *from) {
    if (!after.len) {
        return REPLAY_NONE;
    }
    return h ? result_of(history_after(h, after, from)) : REPLAY_NO_HISTORY;
}

/* --- a join that has yet to be allowed ------------------------------------------------------ */

enum replay_result replay_ask(struct client *c, struct span name, struct span own,
                              struct span *after) {
    struct replayer *state = find(c);
    *after = (struct span){0};
    if (c->closing || (!own.len && !state)) {
        return REPLAY_NONE;
    }
    const struct history *h = room_history(c->ns, name);
    bool kept = h || room_is_remembered(c->ns, name);
    bool offered = !own.len && kept; /* Of a room without history no offset can be meant. */
    struct span list = offered ? buf_span(state->offered) : own;
    if (!list.len) {
        return REPLAY_NONE;
    }
    state = need(c);
    state->asked = true;
    state->wanted = buf_copy(list.at, list.len);
    struct span entry = h ? entry_of(buf_span(state->wanted), h) : (struct span){0};
    *after = entry.len ? entry : buf_span(state->wanted);
    uint64_t from;
    if (!h && kept) { /* Nothing has been said there since the server has started. */
        return result_of(history_after(NULL, *after, &from));
    }
    return hub_is_member(c, name) ? REPLAY_JOINED : judge(h, *after, &from);
}

void replay_note_read(struct client *c, struct span position, enum history_status status,
                      bool after) {
    struct replayer *state = c->closing ? NULL : need(c);
    if (!state || (state->wanted && !after)) {
        return; /* It has not been told what the client has seen, so this is no part of it. */
    }
    state->asked = true;
    state->read_status = state->read && state->read_status != HISTORY_OK ? state->read_status
                         : after                                         ? status
                                                                         : HISTORY_OK;
    state->read = true;
    memcpy(state->position, position.at, position.len);
    state->position[position.len] = '\0';
}

void replay_forget(struct client *c) {
    struct replayer *state = find(c);
    if (state && state->asked) {
        state->asked = state->read = false;
        drop(&state->wanted);
        release_if_over(state);
    }
}

/* --- joining -------------------------------------------------------------------------------- */

static void begin_replay(struct client *c, struct room *room, uint64_t from) {
    struct replayer *state = need(c);
    struct replay *r = memory_zalloc(sizeof *r);
    r->state = state;
    r->room = room;
    r->cursor = from;
    LIST_INSERT_HEAD(&room->replays, r, of_room);
    LIST_INSERT_HEAD(&state->replays, r, of_client);
}

/* The app has read the log itself: what came after its reading is still missing. */
static enum replay_result judge_read(const struct replayer *state, const struct history *h,
                                     uint64_t *from) {
    enum replay_result rest = judge(h, span_of(state->position), from);
    if (rest != REPLAY_DONE) {
        *from = history_last(h);
    } else if (state->wanted) {
        return result_of(state->read_status);
    }
    return rest == REPLAY_DONE ? REPLAY_NONE : rest;
}

/* What the new member of this room gets; begins the replay. */
static enum replay_result recover(struct client *c, struct room *room, bool asked,
                                  struct span own) {
    const struct history *h = room->history;
    struct replayer *state = asked ? find(c) : NULL;
    enum replay_result result;
    uint64_t from = h ? history_last(h) : 0;
    if (h && state && state->read) {
        result = judge_read(state, h, &from);
    } else {
        result = judge(h, state ? buf_span(state->wanted) : own, &from);
        from = h && result != REPLAY_DONE ? history_last(h) : from;
    }
    state = find(c);
    if (h && state) {
        take_offered(state, h);
    }
    if (h && from < history_last(h)) {
        begin_replay(c, room, from);
    }
    return result;
}

int replay_join(struct client *c, struct span name, bool asked, struct span own, struct joined *j) {
    bool member = hub_is_member(c, name);
    int error = hub_join(c, name);
    *j = (struct joined){.result = REPLAY_NONE};
    if (error) {
        return error;
    }
    struct room *room = room_find(c->ns->rooms, name);
    const struct replayer *state = asked ? find(c) : NULL;
    if (!member) {
        j->result = recover(c, room, asked, own);
    } else if (state ? state->wanted != NULL : own.len > 0) {
        j->result = REPLAY_JOINED;
    }
    c->ns->hub->metrics->replays[j->result]++;
    if (room->history) {
        const struct replay *r = replay_in(find(c), room);
        uint64_t position = r ? r->cursor : history_last(room->history);
        j->offset = history_offset(room->history, position, j->text);
    }
    return 0;
}

/* --- sending -------------------------------------------------------------------------------- */

void replay_tell(struct client *c, struct span room, enum replay_result result) {
    struct history *h = room_history(c->ns, room);
    struct writer data = {0};
    struct message m;
    char text[OFFSET_MAX];
    writer_puts(&data, "{\"room\":");
    if (json_put_string(&data, room)) {
        writer_puts(&data, "null");
    }
    writer_printf(&data, ",\"recovered\":false,\"reason\":\"%s\"}", replay_reason(result));
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("unrecovered");
    m.data = writer_span(&data);
    m.argc = 1;
    m.room = room;
    if (h) {
        m.offset = history_offset(h, history_last(h), text);
    }
    (void)client_send(c, &m);
    message_deinit(&m);
    writer_deinit(&data);
}

void replay_tell_position(struct client *c, struct span offset) {
    struct message m;
    message_init(&m, MESSAGE_REPLY);
    m.offset = offset;
    (void)client_send(c, &m);
    message_deinit(&m);
}

/* The log has lost what the client still had to get: it hears that, and is in the present. */
static void give_up(struct client *c, struct replay *r, enum replay_result result) {
    struct span name = {r->room->name, r->room->name_len};
    end_replay(r);
    c->ns->hub->metrics->replays[result]++;
    replay_tell(c, name, result);
}

/* Was the message with this sequence, the next one, not for this client? */
static bool is_left_out(struct replay *r, uint64_t sequence) {
    bool found = r->left_out_count && r->left_out[0] == sequence;
    if (found) {
        r->left_out_count--;
        memmove(r->left_out, r->left_out + 1, r->left_out_count * sizeof *r->left_out);
    }
    return found;
}

/* The bytes it took, about. */
static size_t send_kept(struct client *c, const struct message *kept) {
    struct message m;
    message_lend(&m, kept);
    m.flags &=
        (uint8_t)~MESSAGE_VOLATILE; /* It has waited already, so it may wait for the socket. */
    (void)client_send(c, &m);
    message_deinit(&m);
    return kept->data.len + kept->event.len + kept->attachments.len + kept->room.len + OVERHEAD;
}

/* False: the client cannot take more at the moment. */
static bool advance(struct client *c, struct replay *r, size_t *budget) {
    const struct history *h = r->room->history;
    while (r->cursor < history_last(h)) {
        if (c->closing || c->ops->blocked(c) || !*budget) {
            return false;
        }
        if (r->cursor < history_gone(h)) {
            char text[OFFSET_MAX];
            uint64_t sequence;
            struct span after = history_offset(h, r->cursor, text);
            give_up(c, r, result_of(history_after(h, after, &sequence)));
            return true;
        }
        const struct message *m = history_next(h, &r->cursor);
        if (!m) {
            break; /* sequences that nothing has, up to the last */
        }
        if (!is_left_out(r, r->cursor)) {
            size_t bytes = send_kept(c, m);
            *budget -= bytes < *budget ? bytes : *budget;
        }
    }
    end_replay(r);
    return true;
}

/* A chunk, which is far below the mark at which a reader counts as slow. Then others have their
 * turn; on a socket that refuses bytes it goes on when that has drained. */
static void pump(struct replayer *state) {
    struct client *c = state->client;
    size_t half = state->hub->config->high_mark / 2;
    size_t budget = half < CHUNK ? half : CHUNK;
    struct replay *r;
    while ((r = LIST_FIRST(&state->replays)) && advance(c, r, &budget)) {
    }
    if (!r) {
        release_if_over(state);
    } else if (!c->closing && !c->ops->blocked(c)) {
        state->hub->defer(state->hub->io, &state->next);
    }
}

static void send_more(struct deferred *deferred) {
    struct replayer *state =
        (struct replayer *)((char *)deferred - offsetof(struct replayer, next));
    if (state->client) {
        pump(state);
    } else {
        free(state);
    }
}

void replay_start(struct client *c) {
    struct replayer *state = find(c);
    if (state && !state->next.queued) {
        pump(state);
    }
}

/* --- the hub's side ------------------------------------------------------------------------- */

static void leave_out(struct replay *r, uint64_t sequence) {
    if (r->left_out_count == r->left_out_cap) {
        r->left_out_cap = r->left_out_cap ? r->left_out_cap * 2 : 4;
        r->left_out = memory_resize(r->left_out, r->left_out_cap * sizeof *r->left_out);
    }
    r->left_out[r->left_out_count++] = sequence;
}

void replay_hold(struct room *room, const struct message *m, uint64_t stamp) {
    struct replay *r;
    struct offset o;
    LIST_FOREACH (r, &room->replays, of_room) {
        struct client *c = r->state->client;
        bool is_lost = r->cursor < history_gone(room->history); /* and it will be given up */
        if (c->stamp != stamp) {
            c->stamp = stamp;
        } else if (!is_lost && offset_read(&o, m->offset)) {
            leave_out(r, o.sequence);
        }
    }
}

void replay_lost(struct room *room) {
    struct replay *r;
    while ((r = LIST_FIRST(&room->replays))) {
        struct replayer *state = r->state;
        give_up(state->client, r, REPLAY_EPOCH);
        release_if_over(state);
    }
}

void replay_left(struct client *c, const struct room *room) {
    struct replayer *state = find(c);
    struct replay *r = replay_in(state, room);
    if (r) {
        end_replay(r);
        release_if_over(state);
    }
}

bool replay_is_behind(const struct client *c) {
    const struct replayer *state = c->ns->hub->replayers ? find(c) : NULL;
    return state && !LIST_EMPTY(&state->replays);
}

void replay_drop_client(struct client *c) {
    struct replayer *state = find(c);
    struct replay *r;
    while (state && (r = LIST_FIRST(&state->replays))) {
        end_replay(r);
    }
    if (state) {
        release(state);
    }
}

/* --- positions ------------------------------------------------------------------------------ */

static void put_entry(struct writer *out, struct span entry) {
    if (writer_len(out) + entry.len < POSITION_MAX) {
        writer_puts(out, writer_len(out) ? "," : "");
        writer_put_span(out, entry);
    }
}

static bool has_epoch(struct span list, struct span epoch) {
    struct span entry;
    while (offset_next(&list, &entry)) {
        if (entry.len > epoch.len && memcmp(entry.at, epoch.at, epoch.len) == 0) {
            return true;
        }
    }
    return false;
}

/* In one room: what has been said, but for what is still to be replayed or is parked because the
 * client is slow, and not beyond the message that is being sent. */
static uint64_t position_in(const struct client *c, const struct replayer *state,
                            const struct room *room, struct span offset) {
    const struct replay *r = replay_in(state, room);
    uint64_t position = r ? r->cursor : history_last(room->history);
    struct span parked = slow_first_parked(c, room);
    struct offset o;
    if (history_has_epoch(room->history, offset) && offset_read(&o, offset) &&
        o.sequence < position) {
        position = o.sequence;
    }
    if (offset_read(&o, parked) && o.sequence <= position) {
        position = o.sequence - 1;
    }
    return position;
}

bool replay_position(const struct client *c, struct span offset, struct writer *out) {
    const struct replayer *state = find(c);
    if (c->room_count == 1 && !state) {
        return false;
    }
    const struct membership *m;
    LIST_FOREACH (m, &c->rooms, link) {
        if (m->room->history) {
            char text[OFFSET_MAX];
            uint64_t position = position_in(c, state, m->room, offset);
            put_entry(out, history_offset(m->room->history, position, text));
        }
    }
    struct span offered = state ? buf_span(state->offered) : (struct span){0};
    struct span entry;
    struct offset o;
    while (offset_next(&offered, &entry)) {
        if (offset_read(&o, entry) && !has_epoch(writer_span(out), o.epoch)) {
            put_entry(out, entry);
        }
    }
    return writer_len(out) > 0 && !span_equal(writer_span(out), offset);
}
