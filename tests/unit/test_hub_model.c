/* The hub as a whole against a model of what it promises, in random steps: rooms in memory, on disk
 * and without history, under each slow policy; clients whose sockets stop and go on, who leave, are
 * cut off and come back with the position they had; exceptions, several rooms at once, reloads that
 * move histories, restarts. The store is a real one; its commits come when a step says so, so that
 * MOONWIRE_SEED=n repeats a run.
 *
 * The model: in every room there is an observer whom nothing stops. What it hears is what has been
 * delivered, and to each other member it is due from then on; whatever a client hears must be the
 * next that it is due, except for what its room's policy lets go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/memory.h"
#include "hub/replay.h"
#include "hub/store.h"

#define ROOMS 8
#define EVERYBODY ROOMS /* a room of the model, for what is said to the whole namespace */
#define GUESTS 10
#define SLOTS (ROOMS + GUESTS) /* the first are observers, each of its room */
#define STEPS 3000
#define SAID_MAX (STEPS * 8)
#define MARK 800
#define EVENTS 2
#define KEYS 3

static const char *const names[ROOMS] = {"disk:a", "disk:b", "last:a", "drop:a",
                                         "mem:a",  "park:a", "plain",  "loss:a"};
static const enum slow_policy slow[ROOMS + 1] = {SLOW_CLOSE, SLOW_CLOSE, SLOW_LATEST,
                                                 SLOW_DROP,  SLOW_CLOSE, SLOW_LATEST,
                                                 SLOW_CLOSE, SLOW_DROP,  SLOW_CLOSE};

#define LATEST \
    { SLOW_LATEST, (char *)"k" }
#define DROP \
    { SLOW_DROP, NULL }
/* What three versions of the file say. */
static const struct room_policy policies[3][6] = {
    {{(char *)"disk:*", 12, 0, {SLOW_CLOSE, NULL}, true},
     {(char *)"last:*", 9, 0, LATEST, true},
     {(char *)"drop:*", 20, 0, DROP, true},
     {(char *)"mem:*", 10, 0, {SLOW_CLOSE, NULL}, false},
     {(char *)"park:*", 8, 0, LATEST, false},
     {(char *)"loss:*", 15, 0, DROP, false}},
    {{(char *)"disk:*", 9, 0, {SLOW_CLOSE, NULL}, false},
     {(char *)"last:*", 5, 0, LATEST, true},
     {(char *)"drop:*", 30, 0, DROP, true},
     {(char *)"mem:*", 7, 0, {SLOW_CLOSE, NULL}, true},
     {(char *)"park:*", 0, 0, LATEST, false},
     {(char *)"loss:*", 15, 0, DROP, true}},
    {{(char *)"disk:*", 0, 0, {SLOW_CLOSE, NULL}, false},
     {(char *)"last:*", 9, 0, LATEST, false},
     {(char *)"drop:*", 3, 0, DROP, false},
     {(char *)"mem:*", 10, 0, {SLOW_CLOSE, NULL}, true},
     {(char *)"park:*", 8, 0, LATEST, true},
     {(char *)"loss:*", 0, 0, DROP, false}}};

/* A wire of memory: what is sent is heard at once, and counted while its socket is stopped. One
 * that polls takes everything while a poll is open, which ends with the turn. */
struct fake {
    struct client client;
    int slot;
    bool polls;
    bool stopped;
    size_t queued;
};

/* One message, by its number. */
struct said {
    int room;
    uint8_t event;
    uint8_t key;
    bool is_volatile;
    bool delivered;
    struct client *but[2]; /* whom it leaves out; NULL once they go, */
    unsigned but_rooms;    /* and these rooms */
    char epoch[EPOCH_LEN + 1];
    uint64_t sequence; /* 0: it has no offset */
};

/* A client in a room. */
struct view {
    bool member;
    int *due; /* numbers of messages, in their order */
    int count;
    int cap;
    int next;                  /* those before are done with */
    int heard;                 /* the last number; 0: none yet */
    bool was_member;           /* when its connection broke */
    char position[OFFSET_MAX]; /* that a WebSocket client comes back with */
};

struct slot {
    struct fake *fake; /* NULL: nobody is connected here */
    bool stream;       /* it knows where it stands by the ids of a stream */
    char position[POSITION_MAX + 1];
    struct view views[ROOMS + 1];
};

static struct world {
    uv_loop_t loop;
    struct config config;
    struct metrics metrics;
    struct log log;
    struct arena arena;
    struct app app;
    struct hub *hub;
    struct store *store;
    struct ns *ns;
    struct ns_settings settings[3];
    struct deferred_list later;
    struct slot slots[SLOTS];
    struct said said[SAID_MAX];
    int said_count;
    int last_delivered[ROOMS]; /* number */
    char epoch[ROOMS][EPOCH_LEN + 1];
    uint64_t last[ROOMS]; /* delivered, in this epoch */
    int commits;          /* waited for */
    bool disk_failed;
    int replayed;
    int given_up;
    uint64_t now;
    uint32_t random;
    bool trace;
    char dir[64];
} w;

static uint32_t pick(uint32_t below) {
    w.random ^= w.random << 13;
    w.random ^= w.random >> 17;
    w.random ^= w.random << 5;
    return w.random % below;
}

/* MOONWIRE_TRACE=1 says what happens. */
#define trace(...) (w.trace ? (void)print_message(__VA_ARGS__) : (void)0)

static bool is_here(const struct slot *s) {
    return s->fake && !s->fake->client.closing;
}

/* --- what is due ---------------------------------------------------------------------------- */

static void forget_due(struct view *v) {
    v->count = v->next = 0;
}

static void owe(struct view *v, int number) {
    if (v->count == v->cap) {
        v->cap = v->cap ? v->cap * 2 : 16;
        v->due = memory_resize(v->due, (size_t)v->cap * sizeof *v->due);
    }
    v->due[v->count++] = number;
}

static bool same_row(const struct said *a, const struct said *b) {
    return a->event == b->event && a->key == b->key;
}

/* May this client do without the message at this place? */
static bool may_miss(const struct view *v, int place, int room) {
    const struct said *m = &w.said[v->due[place]];
    if (m->is_volatile || slow[room] != SLOW_LATEST) {
        return m->is_volatile;
    }
    for (int i = place + 1; i < v->count; i++) {
        if (!w.said[v->due[i]].is_volatile && same_row(m, &w.said[v->due[i]])) {
            return true;
        }
    }
    return false;
}

static bool leaves_out(const struct said *m, const struct slot *s) {
    for (int i = 0; i < 2; i++) {
        if (m->but[i] == &s->fake->client) {
            return true;
        }
    }
    for (int r = 0; r < ROOMS; r++) {
        if ((m->but_rooms >> r & 1) && s->views[r].member) {
            return true;
        }
    }
    return false;
}

static void split(struct said *m, struct span offset) {
    struct offset o;
    m->sequence = 0;
    if (offset.len) {
        assert_true(offset_read(&o, offset));
        memcpy(m->epoch, o.epoch.at, EPOCH_LEN);
        m->sequence = o.sequence;
    }
}

/* The observer has heard it: it is on its way to everybody. */
static void deliver(int number, int room, struct span offset) {
    struct said *m = &w.said[number];
    struct said seen = *m;
    assert_false(m->delivered);
    assert_int_equal(m->room, room);
    if (number <= w.last_delivered[room]) {
        fail_msg("%d in %s is overtaken by %d", number, names[room], w.last_delivered[room]);
    }
    w.last_delivered[room] = number;
    split(&seen, offset);
    if (m->sequence && seen.sequence) { /* It was told when it was said. */
        assert_memory_equal(&m->epoch, &seen.epoch, EPOCH_LEN);
        assert_true(m->sequence == seen.sequence);
    }
    *m = seen;
    m->delivered = true;
    trace("%d is delivered in %s\n", number, names[room]);
    if (m->sequence) {
        bool same = memcmp(w.epoch[room], m->epoch, EPOCH_LEN) == 0;
        assert_true(!same || m->sequence > w.last[room]);
        memcpy(w.epoch[room], m->epoch, EPOCH_LEN);
        w.last[room] = m->sequence;
    }
    for (int i = ROOMS; i < SLOTS; i++) {
        struct slot *s = &w.slots[i];
        if (is_here(s) && s->views[room].member && !leaves_out(m, s)) {
            owe(&s->views[room], number);
        }
    }
}

/* A stream's last id says where it stands: everything up to there has been heard or may be
 * missed, and nothing after it has been heard. */
static void check_position(const struct slot *s) {
    struct span list = span_of(s->position);
    struct span entry;
    struct offset o;
    while (s->stream && offset_next(&list, &entry)) {
        assert_true(offset_read(&o, entry));
        for (int r = 0; r < ROOMS; r++) {
            const struct view *v = &s->views[r];
            const struct history *h = room_history(w.ns, span_of(names[r]));
            if (!v->member || !h || !history_has_epoch(h, entry)) {
                continue;
            }
            const struct said *heard = &w.said[v->heard];
            if (memcmp(heard->epoch, o.epoch.at, EPOCH_LEN) == 0 && heard->sequence > o.sequence) {
                fail_msg("client %d in %s has heard %d, and stands at %s", (int)(s - w.slots),
                         names[r], v->heard, s->position);
            }
            for (int i = v->next; i < v->count && slow[r] != SLOW_DROP; i++) {
                const struct said *m = &w.said[v->due[i]];
                bool same = memcmp(m->epoch, o.epoch.at, EPOCH_LEN) == 0;
                if (m->sequence && same && m->sequence <= o.sequence && !may_miss(v, i, r)) {
                    fail_msg("client %d in %s has not heard %d, and stands at %s",
                             (int)(s - w.slots), names[r], v->due[i], s->position);
                }
            }
        }
    }
}

static void note_position(struct slot *s, struct view *v, struct span offset) {
    struct writer list = {0};
    snprintf(v->position, sizeof v->position, "%.*s", (int)offset.len, offset.at);
    if (replay_position(&s->fake->client, offset, &list)) {
        offset = writer_span(&list);
    }
    snprintf(s->position, sizeof s->position, "%.*s", (int)offset.len, offset.at);
    writer_deinit(&list);
}

/* --- hearing -------------------------------------------------------------------------------- */

static void hear(struct slot *s, int number, int room, struct span offset) {
    struct view *v = &s->views[room];
    const struct said *m = &w.said[number];
    trace("%d hears %d in %s at %.*s\n", (int)(s - w.slots), number,
          room < ROOMS ? names[room] : "all", (int)offset.len, offset.at);
    assert_true(v->member);
    while (v->next < v->count && v->due[v->next] != number) {
        if (!may_miss(v, v->next, room)) {
            fail_msg("client %d in %s hears %d, not %d", (int)(s - w.slots), names[room], number,
                     v->due[v->next]);
        }
        v->next++;
    }
    if (v->next == v->count) {
        fail_msg("client %d in %s hears %d, which is not due", (int)(s - w.slots),
                 room < ROOMS ? names[room] : "all", number);
    }
    v->next++;
    assert_int_equal(m->sequence == 0, offset.len == 0);
    if (offset.len) {
        struct said seen = {0};
        split(&seen, offset);
        assert_true(seen.sequence == m->sequence);
        v->heard = number;
        note_position(s, v, offset);
        check_position(s);
    }
}

static int room_of(struct span name) {
    for (int i = 0; i < ROOMS; i++) {
        if (span_is(name, names[i])) {
            return i;
        }
    }
    return EVERYBODY;
}

/* It has been told of what it does not get. */
static void hear_dropped(struct slot *s, const char *data) {
    trace("%d hears dropped %s\n", (int)(s - w.slots), data);
    long total = 0;
    for (int r = 0; r < ROOMS; r++) {
        struct view *v = &s->views[r];
        char key[32];
        snprintf(key, sizeof key, "\"%s\":", names[r]);
        const char *at = strstr(data, key);
        if (at) {
            long count = atol(at + strlen(key));
            int sure = 0;
            for (int i = v->next; i < v->count; i++) {
                sure += !w.said[v->due[i]].is_volatile;
            }
            assert_int_equal(slow[r], SLOW_DROP);
            assert_in_range(count, sure, v->count - v->next);
            forget_due(v);
            total += count;
        }
    }
    assert_int_equal(total, atol(strchr(data, ':') + 1));
}

static void hear_unrecovered(struct slot *s, int room, const char *data) {
    struct view *v = &s->views[room];
    trace("%d hears unrecovered %s\n", (int)(s - w.slots), data);
    assert_true(v->member && v->next < v->count);
    const struct history *h = room_history(w.ns, span_of(names[room]));
    assert_true(strstr(data, "epoch") || w.said[v->due[v->next]].sequence <= history_gone(h));
    w.given_up++;
    forget_due(v);
}

/* What is said in several rooms at once has one number in its bytes, that of the first. */
static int number_in(const char *data, int room) {
    int number = atoi(strstr(data, "\"n\":") + 4);
    while (w.said[number].room != room) {
        number++;
    }
    return number;
}

/* --- the wire ------------------------------------------------------------------------------- */

static struct slice encode(const struct client *c, struct arena *arena, const struct message *m) {
    (void)c;
    char *at = arena_reserve(arena, 512);
    int len =
        snprintf(at, 512, "%.*s|%.*s|%.*s|%.*s|", (int)m->room.len, m->room.at, (int)m->offset.len,
                 m->offset.at, (int)m->event.len, m->event.at, (int)m->data.len, m->data.at);
    return arena_commit(arena, (size_t)len);
}

static struct span cut(const char **at) {
    const char *end = strchr(*at, '|');
    struct span part = {*at, (size_t)(end - *at)};
    *at = end + 1;
    return part;
}

static ssize_t send_bytes(struct client *c, const struct message *m, const struct slice *encoded) {
    struct fake *fake = (struct fake *)c;
    struct slot *s = &w.slots[fake->slot];
    char text[512];
    const char *at = text;
    (void)m;
    assert_null(c->closing);
    if ((fake->stopped || fake->polls) && fake->queued + 100 > w.config.hard_limit) {
        return UV_ENOBUFS;
    }
    fake->queued += fake->stopped || fake->polls ? 100 : 0;
    snprintf(text, sizeof text, "%.*s", (int)encoded->len, slice_bytes(encoded));
    int room = room_of(cut(&at));
    struct span offset = cut(&at);
    struct span event = cut(&at);
    if (span_is(event, "dropped")) {
        hear_dropped(s, at);
    } else if (span_is(event, "unrecovered")) {
        hear_unrecovered(s, room, at);
    } else if (fake->slot < ROOMS && room < ROOMS) {
        assert_int_equal(room, fake->slot);
        deliver(number_in(at, room), room, offset);
    } else if (fake->slot >= ROOMS) {
        hear(s, number_in(at, room), room, offset);
    }
    return (ssize_t)fake->queued;
}

static bool is_blocked(const struct client *c) {
    const struct fake *fake = (const struct fake *)c;
    return fake->stopped && (fake->polls || fake->queued);
}

static size_t queued(const struct client *c) {
    return ((const struct fake *)c)->queued;
}

static void close_client(struct client *c, int code, const char *reason) {
    const struct fake *fake = (const struct fake *)c;
    (void)reason;
    assert_true(code || fake->stopped || fake->polls);
}

static void free_client(struct client *c) {
    struct fake *fake = (struct fake *)c;
    for (int i = 0; i < w.said_count; i++) {
        for (int k = 0; k < 2; k++) {
            w.said[i].but[k] = w.said[i].but[k] == c ? NULL : w.said[i].but[k];
        }
    }
    free(fake);
}

static const struct client_ops ops = {.wire = WIRE_WS,
                                      .encode = encode,
                                      .send = send_bytes,
                                      .blocked = is_blocked,
                                      .queued = queued,
                                      .close = close_client,
                                      .free = free_client};

static void on_close(struct app *app, struct client *c, const char *reason) {
    (void)app;
    (void)reason;
    struct slot *s = &w.slots[((struct fake *)c)->slot];
    if (s->fake == (struct fake *)c) {
        trace("%d goes: %s\n", (int)(s - w.slots), reason);
        check_position(s);
        s->fake = NULL;
        for (int r = 0; r <= ROOMS; r++) {
            forget_due(&s->views[r]);
            s->views[r].was_member = s->views[r].member;
            s->views[r].member = false;
        }
    }
    client_release(c);
}

static void defer(void *io, struct deferred *deferred) {
    (void)io;
    if (!deferred->queued) {
        deferred->queued = true;
        STAILQ_INSERT_TAIL(&w.later, deferred, link);
    }
}

static void answer_polls(void) {
    for (int i = ROOMS; i < SLOTS; i++) {
        struct fake *fake = w.slots[i].fake;
        if (fake && fake->polls && fake->queued) {
            fake->stopped = true;
            fake->queued = 0;
        }
    }
}

static void end_turn(void) {
    struct deferred *deferred;
    answer_polls();
    while ((deferred = STAILQ_FIRST(&w.later))) {
        STAILQ_REMOVE_HEAD(&w.later, link);
        deferred->queued = false;
        deferred->run(deferred);
        answer_polls();
    }
}

static void commit_all(void) {
    while (w.metrics.store_queue > 0) {
        uv_run(&w.loop, UV_RUN_ONCE);
    }
}

/* --- saying --------------------------------------------------------------------------------- */

static int next_message(struct message *m, int room, char data[64]) {
    int number = w.said_count++;
    struct said *said = &w.said[number];
    static const char *const events[EVENTS] = {"x", "y"};
    assert_true(number < SAID_MAX);
    *said = (struct said){.room = room,
                          .event = (uint8_t)pick(EVENTS),
                          .key = (uint8_t)pick(KEYS),
                          .is_volatile = pick(10) == 0};
    message_init(m, MESSAGE_EVENT);
    m->event = span_of(events[said->event]);
    snprintf(data, 64, "{\"k\":%d,\"n\":%d}", said->key, number);
    m->data = span_of(data);
    m->argc = 1;
    m->flags = said->is_volatile ? MESSAGE_VOLATILE : 0;
    return number;
}

/* Whom it leaves out: up to two clients and a room that is not its own. */
static void choose_except(struct said *said, struct client *clients[2], struct span *room,
                          struct except *except) {
    *except = (struct except){.clients = clients, .rooms = room};
    for (int i = 0; i < 2 && pick(4) == 0; i++) {
        struct slot *s = &w.slots[ROOMS + pick(GUESTS)];
        if (is_here(s)) {
            clients[except->client_count++] = said->but[i] = &s->fake->client;
        }
    }
    int other = (int)pick(ROOMS);
    if (other != said->room && pick(6) == 0) {
        *room = span_of(names[other]);
        except->room_count = 1;
        said->but_rooms = 1u << other;
    }
}

static void on_committed(struct commit *commit, int status) {
    assert_true(status == 0 || w.disk_failed);
    w.commits--;
    free(commit);
}

static void say(int room) {
    struct message m;
    char data[64];
    char offset[OFFSET_MAX];
    struct client *clients[2];
    struct span left_out_room;
    struct except except;
    int number = next_message(&m, room, data);
    choose_except(&w.said[number], clients, &left_out_room, &except);
    struct span name = span_of(names[room]);
    if (pick(4) == 0 && room_is_durable(w.ns, name)) {
        struct commit *commit = calloc(1, sizeof *commit);
        commit->done = on_committed;
        w.commits++;
        assert_int_equal(hub_publish_durable(w.ns, name, &m, &except, offset, commit), 0);
        if (pick(3) == 0) {
            commit_cancel(commit);
            w.commits--;
            free(commit);
        }
    } else {
        assert_int_equal(hub_publish(w.ns, name, &m, &except, offset), 0);
    }
    struct said told = w.said[number];
    split(&told, m.offset);
    assert_true(!w.said[number].delivered || told.sequence == w.said[number].sequence);
    w.said[number] = told;
    message_deinit(&m);
}

static void say_in_rooms(void) {
    struct message m;
    char data[64];
    struct span rooms[3];
    size_t count = 2 + pick(2);
    int room = (int)pick(ROOMS);
    unsigned before = 0;
    struct client *clients[2];
    struct span left_out_room;
    struct except except;
    int first = next_message(&m, room, data);
    choose_except(&w.said[first], clients, &left_out_room, &except);
    except.room_count = 0;
    for (size_t i = 0; i < count; i++) {
        int number = i ? w.said_count++ : first;
        w.said[number] = w.said[first];
        w.said[number].delivered = false;
        w.said[number].room = room;
        w.said[number].but_rooms = before;
        rooms[i] = span_of(names[room]);
        before |= 1u << room;
        room = (room + 1 + (int)pick(2)) % ROOMS;
    }
    assert_int_equal(hub_publish_rooms(w.ns, rooms, count, &m, &except), 0);
    message_deinit(&m);
}

static void say_to_all(void) {
    struct message m;
    char data[64];
    int number = next_message(&m, EVERYBODY, data);
    for (int i = ROOMS; i < SLOTS; i++) {
        if (is_here(&w.slots[i])) {
            owe(&w.slots[i].views[EVERYBODY], number);
        }
    }
    hub_publish_ns(w.ns, &m, NULL);
    message_deinit(&m);
}

/* --- coming and going ----------------------------------------------------------------------- */

static void come(int index) {
    struct slot *s = &w.slots[index];
    struct fake *fake = calloc(1, sizeof *fake);
    fake->client.ops = &ops;
    fake->slot = index;
    fake->polls = index >= ROOMS && index % 3 == 0;
    s->fake = fake;
    s->stream = index % 2;
    s->views[EVERYBODY].member = true;
    client_open(&fake->client, w.ns, NULL);
    if (index < ROOMS) {
        assert_int_equal(hub_join(&fake->client, span_of(names[index])), 0);
    } else if (s->stream) {
        replay_offer(&fake->client, span_of(s->position));
    }
}

/* Everything after this that has been said and is kept. */
static void owe_after(struct view *v, int room, struct span after) {
    struct said from = {0};
    split(&from, after);
    forget_due(v);
    for (int i = 0; i < w.said_count && from.sequence + 1; i++) {
        const struct said *m = &w.said[i];
        if (m->delivered && m->room == room && m->sequence > from.sequence &&
            memcmp(m->epoch, from.epoch, EPOCH_LEN) == 0) {
            owe(v, i);
        }
    }
}

/* Was there anything between what the client has seen and the beginning of the log? */
static void check_result(int room, const char *after, const struct joined *j) {
    struct said seen = {0};
    const struct history *h = room_history(w.ns, span_of(names[room]));
    int lost = 0;
    split(&seen, span_of(after));
    for (int i = 0; i < w.said_count; i++) {
        const struct said *m = &w.said[i];
        lost += m->delivered && m->room == room && m->sequence > seen.sequence &&
                m->sequence <= history_gone(h) && memcmp(m->epoch, seen.epoch, EPOCH_LEN) == 0;
    }
    if (j->result == REPLAY_DONE) {
        assert_int_equal(lost, 0);
        struct said at = {0}; /* what is on its way to the disk is still to come */
        split(&at, j->offset);
        assert_true(at.sequence == seen.sequence ||
                    (at.sequence < seen.sequence && at.sequence == w.last[room]));
        w.replayed++;
    } else if (j->result == REPLAY_TRIMMED || j->result == REPLAY_EXPIRED) {
        assert_true(lost > 0);
    }
}

static void copy_offset(char out[OFFSET_MAX], struct span offset) {
    snprintf(out, OFFSET_MAX, "%.*s", (int)offset.len, offset.at);
}

/* Where a client that joins says that it stands. */
static void choose_after(const struct slot *s, int room, char out[OFFSET_MAX]) {
    out[0] = '\0';
    switch (pick(4)) {
    case 0:
        snprintf(out, OFFSET_MAX, "%.12s:%u", w.epoch[room][0] ? w.epoch[room] : "nonsense",
                 pick((uint32_t)w.last[room] + 3));
        break;
    case 1:
        break;
    default:
        strcpy(out, s->views[room].position);
    }
}

/* As item.c: the application is asked, and meanwhile something may be said. */
static void join(struct slot *s, int room) {
    struct view *v = &s->views[room];
    struct client *c = &s->fake->client;
    struct span name = span_of(names[room]);
    struct span meant;
    struct joined j = {0};
    char own[OFFSET_MAX];
    char after[OFFSET_MAX];
    bool was_member = v->member;
    choose_after(s, room, own);
    if (s->stream && pick(2)) {
        own[0] = '\0';
    }
    bool asked = pick(2);
    if (asked) {
        (void)replay_ask(c, name, span_of(own), &meant);
        copy_offset(after, meant);
        for (uint32_t i = pick(4); i > 0; i--) {
            say(room);
        }
        if (pick(3) == 0) {
            commit_all();
        }
    } else {
        strcpy(after, own);
    }
    v->member = true;
    int error = replay_join(c, name, asked, asked ? (struct span){0} : span_of(own), &j);
    if (error) {
        assert_non_null(c->closing);
        v->member = was_member;
    } else if (!was_member) {
        forget_due(v);
        v->heard = 0;
        if (j.offset.len) {
            owe_after(v, room, j.offset);
            note_position(s, v, j.offset);
        }
        if (j.result != REPLAY_NONE && j.result != REPLAY_NO_HISTORY && j.result < REPLAY_EPOCH) {
            check_result(room, after, &j);
        }
        if (j.offset.len && j.result != REPLAY_DONE) {
            assert_true(v->count == 0);
        }
    }
    trace("%d joins %s after %s: %d at %s\n", (int)(s - w.slots), names[room], after, j.result,
          error ? "error" : j.text);
    replay_forget(c);
    replay_start(c);
}

/* And joins the rooms that it was in, mostly with what it has seen there. */
static void come_back(int index) {
    struct slot *s = &w.slots[index];
    come(index);
    s->fake->stopped = pick(3) == 0;
    for (int r = 0; r < ROOMS; r++) {
        if (s->views[r].was_member) {
            join(s, r);
        }
    }
}

static void leave(struct slot *s, int room) {
    if (s->views[room].member && (slow[room] != SLOW_DROP || !s->fake->stopped)) {
        check_position(s);
        trace("%d leaves %s\n", (int)(s - w.slots), names[room]);
        assert_true(hub_leave(&s->fake->client, span_of(names[room])));
        s->views[room].member = false;
        forget_due(&s->views[room]);
    }
}

static void drain(struct slot *s) {
    trace("%d drains\n", (int)(s - w.slots));
    s->fake->stopped = false;
    s->fake->queued = 0;
    client_drained(&s->fake->client);
}

/* --- the server ----------------------------------------------------------------------------- */

static void reload(void) {
    int version = pick(2) ? 0 : 1 + (int)pick(2);
    trace("reload %d\n", version);
    ns_configure(w.ns, &w.settings[version]);
}

static void everybody_goes(int from) {
    for (int i = from; i < SLOTS; i++) {
        if (is_here(&w.slots[i])) {
            client_disconnect(&w.slots[i].fake->client, 1000, "over");
        }
    }
    end_turn();
}

static void observers_come(void) {
    for (int i = 0; i < ROOMS; i++) {
        come(i);
    }
}

static void build(void) {
    struct writer error = {0};
    w.hub = hub_new(&w.config, &w.metrics, &w.arena, &w.app, defer, NULL);
    hub_set_now(w.hub, w.now);
    assert_int_equal(store_open(&w.store, &w.loop, w.dir, &w.log, &w.metrics, &error), 0);
    hub_set_store(w.hub, w.store);
    w.ns = ns_ref(hub_ns(w.hub, SPAN("/"), true));
    ns_configure(w.ns, &w.settings[0]);
    observers_come();
}

static void tear(void) {
    store_stop(w.store);
    everybody_goes(0);
    ns_unref(w.ns);
    hub_free(w.hub);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    store_free(w.store);
    assert_int_equal(w.commits, 0);
}

/* Nobody is there for so long that rooms leave memory. */
static void be_quiet(uint64_t ms) {
    commit_all();
    everybody_goes(0);
    w.now += ms;
    hub_set_now(w.hub, w.now);
    hub_sweep(w.hub);
    hub_sweep(w.hub);
    observers_come();
}

/* Some are only where being slow does not close them. */
static int room_for(int index) {
    static const int dropping[] = {3, 7};
    static const int parking[] = {2, 5};
    switch (index % 4) {
    case 0:
        return dropping[pick(2)];
    case 1:
        return parking[pick(2)];
    default:
        return (int)pick(ROOMS);
    }
}

/* What is said meanwhile in a durable room is heard by nobody. */
static void fill_disk(void) {
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit tight = {1, before.rlim_max};
    commit_all();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    trace("the disk is full\n");
    w.disk_failed = true;
    for (uint32_t i = pick(12); i > 0; i--) {
        say((int)pick(ROOMS));
    }
    commit_all();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void step(void) {
    int index = ROOMS + (int)pick(GUESTS);
    struct slot *s = &w.slots[index];
    int room = (int)pick(ROOMS);
    uint32_t what = pick(1000);
    if (what < 450) {
        say(room);
    } else if (what < 500) {
        say_in_rooms();
    } else if (what < 505) {
        say_to_all();
    } else if (what < 600) {
        commit_all();
    } else if (what < 720) {
        end_turn();
    } else if (what < 725) {
        reload();
    } else if (what < 727) {
        be_quiet(pick(4) ? 31000 : 3 * 3600 * 1000);
    } else if (what < 729) {
        fill_disk();
    } else if (what < 730) {
        tear();
        build();
    } else if (!s->fake) {
        come_back(index);
    } else if (!is_here(s)) {
        end_turn();
    } else if (what < 820) {
        join(s, room_for(index));
    } else if (what < 840) {
        leave(s, room);
    } else if (what < 920) {
        trace("%d stops\n", index);
        s->fake->stopped = true;
    } else if (what < 970) {
        drain(s);
    } else {
        client_disconnect(&s->fake->client, 1000, "gone");
    }
}

/* Everybody reads on: nothing that is due stays away. */
static void settle(void) {
    commit_all();
    end_turn();
    for (int i = ROOMS; i < SLOTS; i++) {
        struct slot *s = &w.slots[i];
        do {
            if (is_here(s)) {
                drain(s);
                end_turn();
            }
        } while (is_here(s) && s->fake->polls && s->fake->stopped);
        for (int r = 0; is_here(s) && r <= ROOMS; r++) {
            struct view *v = &s->views[r];
            while (v->next < v->count && may_miss(v, v->next, r)) {
                v->next++;
            }
            assert_int_equal(v->next, v->count);
        }
    }
}

static void keeps_what_it_promises(void **state) {
    (void)state;
    for (int i = 0; i < STEPS; i++) {
        step();
        if (i % 500 == 499) {
            settle();
        }
    }
    settle();
    /* A run that shows nothing would be a mistake of its steps. */
    trace("replayed %d, given up %d\n", w.replayed, w.given_up);
    assert_true(w.replayed > 30);
    assert_true(w.metrics.dropped[DROPPED_SLOW] > 10);
    assert_true(w.metrics.dropped[DROPPED_REPLACED] > 10);
}

static int set_up(void **state) {
    (void)state;
    const char *seed = getenv("MOONWIRE_SEED");
    memset(&w, 0, sizeof w);
    w.random = seed ? (uint32_t)strtoul(seed, NULL, 10) : (uint32_t)uv_hrtime() | 1;
    print_message("MOONWIRE_SEED=%u\n", w.random);
    w.trace = getenv("MOONWIRE_TRACE") != NULL;
    config_init(&w.config);
    w.config.high_mark = MARK;
    w.config.hard_limit = 5 * MARK;
    arena_init(&w.arena);
    STAILQ_INIT(&w.later);
    w.log = (struct log){LOG_ERROR, false, open("/dev/null", O_WRONLY)};
    signal(SIGXFSZ, SIG_IGN);
    w.app.on_close = on_close;
    w.now = 1000;
    w.said_count = 1;
    for (int i = 0; i < 3; i++) {
        w.settings[i].rooms = (struct room_policy *)policies[i];
        w.settings[i].room_count = 6;
    }
    strcpy(w.dir, "/tmp/moonwire-model-XXXXXX");
    assert_non_null(mkdtemp(w.dir));
    assert_int_equal(uv_loop_init(&w.loop), 0);
    build();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    tear();
    for (int i = 0; i < SLOTS; i++) {
        for (int r = 0; r <= ROOMS; r++) {
            free(w.slots[i].views[r].due);
        }
    }
    assert_int_equal(uv_loop_close(&w.loop), 0);
    arena_deinit(&w.arena);
    config_deinit(&w.config);
    close(w.log.fd);
    snprintf(command, sizeof command, "rm -rf '%s'", w.dir);
    assert_int_equal(system(command), 0);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_it_promises, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
