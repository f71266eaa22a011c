/* The model (hub_model.h): what is due to whom, what is heard, and the wire. */
#include "hub_model.h"

#include "base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const model_rooms[ROOMS] = {"disk:a", "disk:b", "last:a", "drop:a",
                                        "mem:a",  "park:a", "plain",  "loss:a"};
const enum slow_policy model_slow[ROOMS + 1] = {SLOW_CLOSE, SLOW_CLOSE, SLOW_LATEST,
                                                SLOW_DROP,  SLOW_CLOSE, SLOW_LATEST,
                                                SLOW_CLOSE, SLOW_DROP,  SLOW_CLOSE};

struct world model;

uint32_t model_pick(uint32_t below) {
    model.random ^= model.random << 13;
    model.random ^= model.random >> 17;
    model.random ^= model.random << 5;
    return model.random % below;
}

bool model_is_here(const struct slot *s) {
    return s->fake && !s->fake->client.closing;
}

/* --- what is due ---------------------------------------------------------------------------- */

void model_forget_due(struct view *v) {
    v->count = v->next = 0;
}

void model_owe(struct view *v, int number) {
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
bool model_may_miss(const struct view *v, int place, int room) {
    const struct said *m = &model.said[v->due[place]];
    if (m->is_volatile || model_slow[room] != SLOW_LATEST) {
        return m->is_volatile;
    }
    for (int i = place + 1; i < v->count; i++) {
        if (!model.said[v->due[i]].is_volatile && same_row(m, &model.said[v->due[i]])) {
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

void model_split(struct said *m, struct span offset) {
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
    struct said *m = &model.said[number];
    struct said seen = *m;
    assert_false(m->delivered);
    assert_int_equal(m->room, room);
    if (number <= model.last_delivered[room]) {
        fail_msg("%d in %s is overtaken by %d", number, model_rooms[room],
                 model.last_delivered[room]);
    }
    model.last_delivered[room] = number;
    model_split(&seen, offset);
    if (m->sequence && seen.sequence) { /* It was told when it was said. */
        assert_memory_equal(&m->epoch, &seen.epoch, EPOCH_LEN);
        assert_true(m->sequence == seen.sequence);
    }
    *m = seen;
    m->delivered = true;
    model_trace("%d is delivered in %s\n", number, model_rooms[room]);
    if (m->sequence) {
        bool same = memcmp(model.epoch[room], m->epoch, EPOCH_LEN) == 0;
        assert_true(!same || m->sequence > model.last[room]);
        memcpy(model.epoch[room], m->epoch, EPOCH_LEN);
        model.last[room] = m->sequence;
    }
    for (int i = ROOMS; i < SLOTS; i++) {
        struct slot *s = &model.slots[i];
        if (model_is_here(s) && s->views[room].member && !leaves_out(m, s)) {
            model_owe(&s->views[room], number);
        }
    }
}

/* A stream's last id says where it stands: everything up to there has been heard or may be
 * missed, and nothing after it has been heard. */
void model_check_position(const struct slot *s) {
    struct span list = span_of(s->position);
    struct span entry;
    struct offset o;
    while (s->stream && offset_next(&list, &entry)) {
        assert_true(offset_read(&o, entry));
        for (int r = 0; r < ROOMS; r++) {
            const struct view *v = &s->views[r];
            const struct history *h = room_history(model.ns, span_of(model_rooms[r]));
            if (!v->member || !h || !history_has_epoch(h, entry)) {
                continue;
            }
            const struct said *heard = &model.said[v->heard];
            if (memcmp(heard->epoch, o.epoch.at, EPOCH_LEN) == 0 && heard->sequence > o.sequence) {
                fail_msg("client %d in %s has heard %d, and stands at %s", (int)(s - model.slots),
                         model_rooms[r], v->heard, s->position);
            }
            for (int i = v->next; i < v->count && model_slow[r] != SLOW_DROP; i++) {
                const struct said *m = &model.said[v->due[i]];
                bool same = memcmp(m->epoch, o.epoch.at, EPOCH_LEN) == 0;
                if (m->sequence && same && m->sequence <= o.sequence && !model_may_miss(v, i, r)) {
                    fail_msg("client %d in %s has not heard %d, and stands at %s",
                             (int)(s - model.slots), model_rooms[r], v->due[i], s->position);
                }
            }
        }
    }
}

void model_note_position(struct slot *s, struct view *v, struct span offset) {
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
    const struct said *m = &model.said[number];
    model_trace("%d hears %d in %s at %.*s\n", (int)(s - model.slots), number,
                room < ROOMS ? model_rooms[room] : "all", (int)offset.len, offset.at);
    assert_true(v->member);
    while (v->next < v->count && v->due[v->next] != number) {
        if (!model_may_miss(v, v->next, room)) {
            fail_msg("client %d in %s hears %d, not %d", (int)(s - model.slots), model_rooms[room],
                     number, v->due[v->next]);
        }
        v->next++;
    }
    if (v->next == v->count) {
        fail_msg("client %d in %s hears %d, which is not due", (int)(s - model.slots),
                 room < ROOMS ? model_rooms[room] : "all", number);
    }
    v->next++;
    assert_int_equal(m->sequence == 0, offset.len == 0);
    if (offset.len) {
        struct said seen = {0};
        model_split(&seen, offset);
        assert_true(seen.sequence == m->sequence);
        v->heard = number;
        model_note_position(s, v, offset);
        model_check_position(s);
    }
}

static int room_of(struct span name) {
    for (int i = 0; i < ROOMS; i++) {
        if (span_is(name, model_rooms[i])) {
            return i;
        }
    }
    return EVERYBODY;
}

/* It has been told of what it does not get. */
static void hear_dropped(struct slot *s, const char *data) {
    model_trace("%d hears dropped %s\n", (int)(s - model.slots), data);
    long total = 0;
    for (int r = 0; r < ROOMS; r++) {
        struct view *v = &s->views[r];
        char key[32];
        snprintf(key, sizeof key, "\"%s\":", model_rooms[r]);
        const char *at = strstr(data, key);
        if (at) {
            long count = atol(at + strlen(key));
            int sure = 0;
            for (int i = v->next; i < v->count; i++) {
                sure += !model.said[v->due[i]].is_volatile;
            }
            assert_int_equal(model_slow[r], SLOW_DROP);
            assert_in_range(count, sure, v->count - v->next);
            model_forget_due(v);
            total += count;
        }
    }
    assert_int_equal(total, atol(strchr(data, ':') + 1));
}

static void hear_unrecovered(struct slot *s, int room, const char *data) {
    struct view *v = &s->views[room];
    model_trace("%d hears unrecovered %s\n", (int)(s - model.slots), data);
    assert_true(v->member && v->next < v->count);
    const struct history *h = room_history(model.ns, span_of(model_rooms[room]));
    assert_true(strstr(data, "epoch") || model.said[v->due[v->next]].sequence <= history_gone(h));
    model.given_up++;
    model_forget_due(v);
}

/* What is said in several rooms at once has one number in its bytes, that of the first. */
static int number_in(const char *data, int room) {
    int number = atoi(strstr(data, "\"n\":") + 4);
    while (model.said[number].room != room) {
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
    struct slot *s = &model.slots[fake->slot];
    char text[512];
    const char *at = text;
    (void)m;
    assert_null(c->closing);
    if ((fake->stopped || fake->polls) && fake->queued + 100 > model.config.hard_limit) {
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
    for (int i = 0; i < model.said_count; i++) {
        for (int k = 0; k < 2; k++) {
            model.said[i].but[k] = model.said[i].but[k] == c ? NULL : model.said[i].but[k];
        }
    }
    free(fake);
}

const struct client_ops model_wire = {.wire = WIRE_WS,
                                      .encode = encode,
                                      .send = send_bytes,
                                      .blocked = is_blocked,
                                      .queued = queued,
                                      .close = close_client,
                                      .free = free_client};

void model_on_close(struct app *app, struct client *c, const char *reason) {
    (void)app;
    (void)reason;
    struct slot *s = &model.slots[((struct fake *)c)->slot];
    if (s->fake == (struct fake *)c) {
        model_trace("%d goes: %s\n", (int)(s - model.slots), reason);
        model_check_position(s);
        s->fake = NULL;
        for (int r = 0; r <= ROOMS; r++) {
            model_forget_due(&s->views[r]);
            s->views[r].was_member = s->views[r].member;
            s->views[r].member = false;
        }
    }
    client_release(c);
}

void model_defer(void *io, struct deferred *deferred) {
    (void)io;
    if (!deferred->queued) {
        deferred->queued = true;
        STAILQ_INSERT_TAIL(&model.later, deferred, link);
    }
}

static void answer_polls(void) {
    for (int i = ROOMS; i < SLOTS; i++) {
        struct fake *fake = model.slots[i].fake;
        if (fake && fake->polls && fake->queued) {
            fake->stopped = true;
            fake->queued = 0;
        }
    }
}

void model_end_turn(void) {
    struct deferred *deferred;
    answer_polls();
    while ((deferred = STAILQ_FIRST(&model.later))) {
        STAILQ_REMOVE_HEAD(&model.later, link);
        deferred->queued = false;
        deferred->run(deferred);
        answer_polls();
    }
}

void model_commit_all(void) {
    while (model.metrics.store_queue > 0) {
        uv_run(&model.loop, UV_RUN_ONCE);
    }
}
