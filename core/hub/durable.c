/* Rooms whose history is on disk (durable.h): between the hub and the store. */
#include "hub/durable.h"

#include "base/memory.h"
#include "hub/record.h"
#include "hub/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* After so many ms without use a room without members leaves memory; one in which nothing was ever
 * said sooner, for clients may ask for any name. */
#define IDLE 30000
#define IDLE_EMPTY 1000

struct durable {
    struct store_log *log;
    uint64_t used;      /* loop time, ms */
    uint64_t unwritten; /* up to here some are in memory and not on disk */
    uint32_t pending;   /* messages; each holds the room, too */
    bool unfounded;     /* there is no such log on disk yet */
};

/* Whom a message leaves out, by id: they may have gone when it is committed. */
struct left_out {
    struct except except; /* filled in when it is used */
    char (*ids)[CLIENT_ID_LEN + 1];
    size_t id_count;
};

/* A message that waits for its commit. */
struct pending {
    struct store_wait wait; /* first */
    struct room *room;
    struct message *message;
    uint64_t sequence;
    struct left_out *left_out; /* NULL: nobody */
    struct commit *commit;     /* NULL: nobody waits (any more) */
};

/* --- opening and closing --- */

/* In the store everything has its name; the length keeps two names apart. */
static struct writer log_name(const struct room *room) {
    struct writer name = {0};
    struct span ns = ns_name(room->ns);
    writer_printf(&name, "room:%zu:", ns.len);
    writer_put_span(&name, ns);
    writer_put(&name, room->name, room->name_len);
    return name;
}

struct loading {
    struct room *room;
    struct history *history;
    struct store_state state;
    uint32_t size;
    uint32_t unreadable;
};

static void take_record(uint64_t sequence, struct span bytes, void *data) {
    struct loading *loading = data;
    struct message m;
    char text[OFFSET_MAX];
    if (!loading->history) {
        loading->history = history_restore(loading->size, loading->state.epoch,
                                           loading->state.trimmed, loading->state.expired);
    }
    if (!record_read(&m, bytes)) {
        loading->unreadable++;
        return;
    }
    m.room = room_name(loading->room);
    m.offset = history_offset(loading->history, sequence, text);
    history_take(loading->history, message_keep(&m), sequence);
}

static void finish_loading(struct loading *loading) {
    struct room *room = loading->room;
    const struct store_state *state = &loading->state;
    struct hub *hub = room->ns->hub;
    if (!state->epoch[0]) {
        loading->history = history_new(loading->size);
        room->durable->unfounded = true;
    } else if (!loading->history) {
        loading->history =
            history_restore(loading->size, state->epoch, state->trimmed, state->expired);
    }
    if (state->epoch[0]) {
        history_skip(loading->history, state->last);
    }
    room_keep_log(room, loading->history);
    room->last_publish = hub->now - state->age; /* wraps, as the difference to it does */
    if (loading->unreadable) {
        log_printf(store_logger(hub->store), LOG_ERROR,
                   "%u messages of a room's history could not be read", loading->unreadable);
    }
}

static int write_record(struct room *room, const struct message *m, uint64_t sequence, bool patient,
                        struct store_wait *wait) {
    struct writer bytes = {0};
    const struct durable *d = room->durable;
    uint64_t gone = history_gone(room->history);
    record_write(&bytes, m);
    struct store_record record = {
        .sequence = sequence,
        .bytes = writer_span(&bytes),
        .trimmed = d->unwritten > gone ? d->unwritten : gone,
        .expired = history_expired(room->history),
        .ttl = room_ttl(room),
        .patient = patient,
    };
    int status = store_append(d->log, &record, wait);
    writer_deinit(&bytes);
    return status;
}

/* What has been in memory until now. Should there be more than the store takes at once, the oldest
 * are what stays in memory only. */
static void write_all(struct room *room) {
    const struct message *m;
    uint64_t sequence = 0;
    store_log_begin(room->durable->log, history_epoch(room->history), room_ttl(room));
    while ((m = history_next(room->history, &sequence))) {
        if (write_record(room, m, sequence, true, NULL) != 0) {
            room->durable->unwritten = history_last(room->history);
            return;
        }
    }
}

int durable_begin(struct room *room, uint32_t size) {
    struct hub *hub = room->ns->hub;
    struct loading loading = {.room = room, .size = size};
    struct store_log *log;
    if (!hub->store) {
        return UV_ENOTSUP;
    }
    /* One record more than there is room for: the history then knows where its beginning is. */
    struct writer name = log_name(room);
    int status = store_log_open(&log, hub->store, writer_span(&name), room->history ? 0 : size + 1,
                                &loading.state, take_record, &loading);
    writer_deinit(&name);
    if (status) {
        if (loading.history) {
            history_free(loading.history);
        }
        return status;
    }
    room->durable = memory_zalloc(sizeof *room->durable);
    room->durable->log = log;
    if (room->history) {
        write_all(room);
    } else {
        finish_loading(&loading);
    }
    durable_touch(room);
    return 0;
}

void durable_free(struct room *room) {
    store_log_close(room->durable->log);
    free(room->durable);
    room->durable = NULL;
}

bool durable_is_pending(const struct room *room) {
    return room->durable->pending > 0;
}

/* From now on memory gives sequences that the disk does not hear of, so the log there must not be
 * taken up again. */
void durable_end(struct room *room) {
    if (room->history && !room->durable->unfounded) {
        store_log_begin(room->durable->log, "", 0);
    }
    durable_free(room);
}

void durable_found(struct room *room) {
    if (room->durable->unfounded) {
        room->durable->unfounded = false;
        store_log_begin(room->durable->log, history_epoch(room->history), room_ttl(room));
    }
}

void durable_touch(struct room *room) {
    room->durable->used = room->ns->hub->now;
}

bool durable_is_idle(const struct room *room) {
    const struct durable *d = room->durable;
    bool empty = history_last(room->history) == 0;
    uint64_t idle = room->ns->hub->now - d->used;
    return !store_log_busy(d->log) && idle >= (empty ? IDLE_EMPTY : IDLE);
}

/* --- whom a message leaves out --- */

static struct left_out *keep_left_out(const struct except *except) {
    if (!except || except->client_count + except->id_count + except->room_count == 0) {
        return NULL;
    }
    size_t bytes = 0;
    for (size_t i = 0; i < except->room_count; i++) {
        bytes += except->rooms[i].len;
    }
    struct left_out *kept = memory_zalloc(sizeof *kept);
    struct span *rooms = memory_zalloc(except->room_count * sizeof *rooms + bytes + 1);
    char *text = (char *)(rooms + except->room_count);
    kept->id_count = except->client_count + except->id_count;
    kept->ids = memory_zalloc(kept->id_count * sizeof *kept->ids + 1);
    for (size_t i = 0; i < except->client_count; i++) {
        client_id(except->clients[i], kept->ids[i]);
    }
    for (size_t i = 0; i < except->id_count; i++) {
        memcpy(kept->ids[except->client_count + i], except->ids[i].at, CLIENT_ID_LEN);
    }
    for (size_t i = 0; i < except->room_count; i++) {
        rooms[i] = (struct span){text, except->rooms[i].len};
        memcpy(text, except->rooms[i].at, rooms[i].len);
        text += rooms[i].len;
    }
    kept->except.rooms = rooms;
    kept->except.room_count = except->room_count;
    return kept;
}

static void left_out_free(struct left_out *kept) {
    if (kept) {
        free((void *)kept->except.rooms);
        free((void *)kept->except.clients);
        free((void *)kept->except.ids);
        free(kept->ids);
        free(kept);
    }
}

/* Those of them who are still there, and the ids of those who may come back. */
static const struct except *find_left_out(struct left_out *kept, struct hub *hub) {
    if (!kept) {
        return NULL;
    }
    struct client **clients = memory_zalloc((kept->id_count + 1) * sizeof(struct client *));
    struct span *ids = memory_zalloc((kept->id_count + 1) * sizeof *ids);
    kept->except.clients = clients;
    kept->except.ids = ids;
    for (size_t i = 0; i < kept->id_count; i++) {
        struct client *c = hub_client(hub, span_of(kept->ids[i]));
        if (c) {
            clients[kept->except.client_count++] = c;
        } else {
            ids[kept->except.id_count++] = span_of(kept->ids[i]);
        }
    }
    return &kept->except;
}

/* --- publishing --- */

/* It is in the history before anybody hears of it, so that who reads the history and then becomes
 * a member meets it once. */
static void make_visible(struct pending *p) {
    struct room *room = p->room;
    struct message m;
    message_lend(&m, p->message);
    history_take(room->history, p->message, p->sequence);
    room_log_used(room);
    publish_to_room(room, &m, find_left_out(p->left_out, room->ns->hub));
    message_deinit(&m);
}

static void release_room(struct room *room) {
    room->durable->pending--;
    room->held--;
    if (!room_wants_disk(room)) {
        room_apply_policy(room);
    }
    room_unuse(room);
}

static void on_committed(struct store_wait *wait, int status) {
    struct pending *p = (struct pending *)wait;
    struct commit *commit = p->commit;
    if (status == 0) {
        make_visible(p);
    } else {
        message_free(p->message);
    }
    release_room(p->room);
    left_out_free(p->left_out);
    free(p);
    if (commit) {
        commit->pending = NULL;
        commit->done(commit, status);
    }
}

void commit_cancel(struct commit *commit) {
    if (commit->pending) {
        commit->pending->commit = NULL;
        commit->pending = NULL;
    }
}

int durable_publish(struct room *room, struct message *m, const struct except *except,
                    char *offset_text, struct commit *commit) {
    struct pending *p = memory_zalloc(sizeof *p);
    durable_found(room);
    p->wait.done = on_committed;
    p->sequence = history_give(room->history, m, offset_text);
    int status = write_record(room, m, p->sequence, commit != NULL, &p->wait);
    if (status) {
        m->offset = (struct span){0};
        free(p);
        return status;
    }
    p->room = room;
    p->message = message_keep(m);
    p->left_out = keep_left_out(except);
    p->commit = commit;
    if (commit) {
        commit->pending = p;
    }
    room->held++;
    room->durable->pending++;
    durable_touch(room);
    return 0;
}
