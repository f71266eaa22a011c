/* The hub over real rooms and a wire made of memory: who hears what, once, encoded once, and what a
 * closing client still sees. The transports have their own tests over sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "hub/history.h"
#include "hub/hub.h"

/* A transport that keeps what it is sent. */
struct fake {
    struct client client;
    struct writer heard;
    int sent;
    ssize_t waiting; /* what send answers */
    bool is_blocked;
    int closed_with;
    bool freed;
};

struct house {
    struct config config;
    struct metrics metrics;
    struct arena arena;
    struct app app;
    struct hub *hub;
    struct ns *ns;
    struct ns_settings settings;
    struct room_policy policies[2];
    struct deferred_list closed;
    struct fake clients[200];
    int count;
    int encodings;
    struct writer closes; /* "reason:rooms;" of each on_close */
};

static struct house house;

static struct slice fake_encode(const struct client *c, struct arena *arena,
                                const struct message *m) {
    (void)c;
    house.encodings++;
    char *at = arena_reserve(arena, 1024);
    int len = snprintf(at, 1024, "%.*s@%.*s%s%.*s;", (int)m->event.len, m->event.at,
                       (int)m->room.len, m->room.len ? m->room.at : "", m->offset.len ? "#" : "",
                       m->offset.len ? (int)(m->offset.len - 13) : 0,
                       m->offset.len ? m->offset.at + 13 : "");
    return arena_commit(arena, (size_t)len);
}

static ssize_t fake_send(struct client *c, const struct message *m, const struct slice *encoded) {
    struct fake *fake = (struct fake *)c;
    (void)m;
    if (fake->waiting >= 0) {
        writer_put(&fake->heard, slice_bytes(encoded), encoded->len);
        fake->sent++;
    }
    return fake->waiting;
}

static bool fake_blocked(const struct client *c) {
    return ((const struct fake *)c)->is_blocked;
}

static size_t fake_queued(const struct client *c) {
    return (size_t)((const struct fake *)c)->waiting;
}

static void fake_close(struct client *c, int code, const char *reason) {
    (void)reason;
    ((struct fake *)c)->closed_with = code;
}

static void fake_free(struct client *c) {
    ((struct fake *)c)->freed = true;
}

static const struct client_ops ops_ws = {
    .wire = WIRE_WS,
    .encode = fake_encode,
    .send = fake_send,
    .blocked = fake_blocked,
    .queued = fake_queued,
    .close = fake_close,
    .free = fake_free,
};
static const struct client_ops ops_sse = {
    .wire = WIRE_SSE,
    .encode = fake_encode,
    .send = fake_send,
    .blocked = fake_blocked,
    .queued = fake_queued,
    .close = fake_close,
    .free = fake_free,
};

static void defer(void *io, struct deferred *deferred) {
    (void)io;
    STAILQ_INSERT_TAIL(&house.closed, deferred, link);
}

static void end_turn(void) {
    struct deferred *deferred;
    while ((deferred = STAILQ_FIRST(&house.closed))) {
        STAILQ_REMOVE_HEAD(&house.closed, link);
        deferred->run(deferred);
    }
}

static void note_room(struct span name, void *data) {
    writer_put_span(data, name);
    writer_putc(data, ' ');
}

static void app_on_close(struct app *app, struct client *c, const char *reason) {
    (void)app;
    writer_printf(&house.closes, "%s:", reason);
    client_each_room(c, note_room, &house.closes);
    writer_putc(&house.closes, ';');
    client_release(c);
}

static int setup(void **state) {
    (void)state;
    memset(&house, 0, sizeof house);
    config_init(&house.config);
    arena_init(&house.arena);
    STAILQ_INIT(&house.closed);
    house.app.on_close = app_on_close;
    house.hub = hub_new(&house.config, &house.metrics, &house.arena, &house.app, defer, NULL);
    house.policies[0] = (struct room_policy){.pattern = "log:big", .history_size = 10};
    house.policies[1] = (struct room_policy){.pattern = "log:*", .history_size = 3};
    house.settings.rooms = house.policies;
    house.settings.room_count = 2;
    hub_set_now(house.hub, 1000);
    house.ns = ns_ref(hub_ns(house.hub, SPAN("/"), true));
    ns_configure(house.ns, &house.settings);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < house.count; i++) {
        if (!house.clients[i].freed) {
            client_closed(&house.clients[i].client, "end");
        }
    }
    end_turn();
    for (int i = 0; i < house.count; i++) {
        assert_true(house.clients[i].freed);
        writer_deinit(&house.clients[i].heard);
    }
    writer_deinit(&house.closes);
    hub_free(house.hub);
    arena_deinit(&house.arena);
    config_deinit(&house.config);
    return 0;
}

static struct fake *join_as(const struct client_ops *ops, const char *user, const char *room) {
    struct fake *fake = &house.clients[house.count++];
    fake->client.ops = ops;
    client_open(&fake->client, house.ns, user);
    if (room) {
        assert_int_equal(hub_join(&fake->client, span_of(room)), 0);
    }
    return fake;
}

static void assert_heard(struct fake *fake, const char *expected) {
    struct span heard = writer_span(&fake->heard);
    char text[4096];
    snprintf(text, sizeof text, "%.*s", (int)heard.len, heard.len ? heard.at : "");
    assert_string_equal(text, expected);
}

static void publish(const char *room, const char *event, struct client *left_out) {
    struct except one = {.clients = &left_out, .client_count = 1};
    const struct except *except = left_out ? &one : NULL;
    struct message m;
    char offset[OFFSET_MAX];
    message_init(&m, MESSAGE_EVENT);
    m.event = span_of(event);
    hub_publish(house.ns, span_of(room), &m, except, offset);
    message_deinit(&m);
}

static void a_room_hears_once_per_wire_encoded(void **state) {
    (void)state;
    struct fake *a = join_as(&ops_ws, NULL, "r");
    struct fake *b = join_as(&ops_ws, NULL, "r");
    struct fake *c = join_as(&ops_sse, NULL, "r");
    struct fake *d = join_as(&ops_sse, NULL, "other");
    publish("r", "hi", &b->client);
    assert_heard(a, "hi@r;");
    assert_heard(b, "");
    assert_heard(c, "hi@r;");
    assert_heard(d, "");
    assert_int_equal(house.encodings, 2);
    assert_int_equal(house.metrics.deliveries[WIRE_WS], 1);
    assert_int_equal(house.metrics.deliveries[WIRE_SSE], 1);
    publish("nobody", "hi", NULL);
    assert_int_equal(room_count(house.ns, SPAN("nobody")), 0);
}

static void several_rooms_reach_each_once_with_the_first(void **state) {
    (void)state;
    struct fake *both = join_as(&ops_ws, NULL, "a");
    struct fake *only_b = join_as(&ops_ws, NULL, "b");
    struct fake *sender = join_as(&ops_ws, NULL, "b");
    assert_int_equal(hub_join(&both->client, SPAN("b")), 0);
    struct span names[] = {SPAN("none"), SPAN("a"), SPAN("b")};
    struct message m;
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("e");
    struct client *left_out[] = {&sender->client};
    struct except except = {.clients = left_out, .client_count = 1};
    hub_publish_rooms(house.ns, names, 3, &m, &except);
    hub_publish_rooms(house.ns, names, 3, &m, NULL);
    message_deinit(&m);
    assert_heard(both, "e@a;e@a;");
    assert_heard(only_b, "e@b;e@b;");
    assert_heard(sender, "e@b;");
}

/* Members of excepted rooms and excepted clients hear nothing, whatever the publication is to, and
 * a publication without exceptions reaches them again. */
static void whom_a_publication_leaves_out(void **state) {
    (void)state;
    struct fake *plain = join_as(&ops_ws, "u", "log:r");
    struct fake *muted = join_as(&ops_ws, "u", "log:r");
    struct fake *sender = join_as(&ops_ws, "u", "log:r");
    assert_int_equal(hub_join(&muted->client, SPAN("muted")), 0);
    struct client *clients[] = {&sender->client};
    struct span rooms[] = {SPAN("nobody"), SPAN("muted")};
    const struct except except = {
        .clients = clients, .client_count = 1, .rooms = rooms, .room_count = 2};
    const struct except *const each[] = {&except, NULL};
    for (size_t i = 0; i < 2; i++) {
        struct span names[] = {SPAN("muted"), SPAN("log:r")};
        char offset[OFFSET_MAX];
        struct message m;
        message_init(&m, MESSAGE_EVENT);
        m.event = SPAN("room");
        hub_publish(house.ns, SPAN("log:r"), &m, each[i], offset);
        assert_true(m.offset.len > 0);
        message_deinit(&m);
        message_init(&m, MESSAGE_EVENT);
        m.event = SPAN("rooms");
        hub_publish_rooms(house.ns, names, 2, &m, each[i]);
        message_init(&m, MESSAGE_EVENT);
        m.event = SPAN("user");
        hub_publish_user(house.ns, SPAN("u"), &m, each[i]);
        message_deinit(&m);
        message_init(&m, MESSAGE_EVENT);
        m.event = SPAN("ns");
        hub_publish_ns(house.ns, &m, each[i]);
        message_deinit(&m);
    }
    assert_int_equal(plain->sent, 8);
    assert_heard(sender, "room@log:r#3;rooms@log:r#4;user@;ns@;");
    assert_heard(muted, "room@log:r#3;rooms@muted;user@;ns@;");
}

static void a_user_is_all_its_connections(void **state) {
    (void)state;
    struct fake *one = join_as(&ops_ws, "ann", NULL);
    struct fake *two = join_as(&ops_sse, "ann", NULL);
    struct fake *other = join_as(&ops_ws, "bob", NULL);
    struct fake *lone = join_as(&ops_ws, NULL, NULL);
    struct message m;
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("n");
    hub_publish_user(house.ns, SPAN("ann"), &m, NULL);
    char id[CLIENT_ID_LEN + 1];
    client_id(&lone->client, id);
    hub_publish_user(house.ns, span_of(id), &m, NULL);
    client_id(&other->client, id); /* has a user: its own id is not one */
    hub_publish_user(house.ns, span_of(id), &m, NULL);
    message_deinit(&m);
    assert_heard(one, "n@;");
    assert_heard(two, "n@;");
    assert_heard(other, "");
    assert_heard(lone, "n@;");
    client_closed(&one->client, "gone");
    client_closed(&two->client, "gone");
    end_turn();
    message_init(&m, MESSAGE_EVENT);
    hub_publish_user(house.ns, SPAN("ann"), &m, NULL);
    message_deinit(&m);
    assert_heard(one, "n@;");
}

static void a_closing_client_keeps_its_rooms_for_its_hooks(void **state) {
    (void)state;
    struct fake *a = join_as(&ops_ws, NULL, "r");
    struct fake *b = join_as(&ops_ws, NULL, "r");
    hub_join(&a->client, SPAN("s"));
    char id[CLIENT_ID_LEN + 1];
    client_id(&a->client, id);
    assert_ptr_equal(hub_client(house.hub, span_of(id)), &a->client);
    client_disconnect(&a->client, 1000, "bye");
    assert_null(hub_client(house.hub, span_of(id)));
    assert_int_equal(a->closed_with, 1000);
    client_closed(&a->client, "too late");
    publish("r", "x", NULL);
    assert_heard(a, "");
    assert_heard(b, "x@r;");
    assert_int_equal(hub_join(&a->client, SPAN("t")), UV_ECANCELED);
    end_turn();
    struct span closes = writer_span(&house.closes);
    assert_int_equal(closes.len, strlen("bye:s r ;"));
    assert_memory_equal(closes.at, "bye:s r ;", closes.len);
    assert_true(a->freed);
    assert_int_equal(room_count(house.ns, SPAN("r")), 1);
    assert_int_equal(ns_count(house.ns), 1);
}

static void joins_have_limits(void **state) {
    (void)state;
    struct fake *a = join_as(&ops_ws, NULL, NULL);
    char name[300];
    memset(name, 'n', sizeof name);
    assert_int_equal(hub_join(&a->client, SPAN("")), UV_EINVAL);
    assert_int_equal(hub_join(&a->client, (struct span){name, 257}), UV_EINVAL);
    assert_int_equal(hub_join(&a->client, (struct span){name, 256}), 0);
    assert_int_equal(hub_join(&a->client, SPAN("\xff")), UV_EINVAL);
    for (int i = 1; i < 1000; i++) {
        snprintf(name, sizeof name, "r%d", i);
        assert_int_equal(hub_join(&a->client, span_of(name)), 0);
    }
    assert_int_equal(hub_join(&a->client, SPAN("r999")), 0); /* it is in already */
    assert_int_equal(hub_join(&a->client, SPAN("one more")), UV_ENOSPC);
    assert_true(hub_leave(&a->client, SPAN("r5")));
    assert_false(hub_leave(&a->client, SPAN("r5")));
    assert_int_equal(hub_join(&a->client, SPAN("one more")), 0);
}

/* Many joins and leaves in an order that is not theirs, against a plain table of who should be
 * where. */
static void membership_survives_any_order(void **state) {
    (void)state;
    enum { CLIENTS = 50, ROOMS = 20 };
    bool in[CLIENTS][ROOMS] = {{false}};
    unsigned seed = 7;
    for (int i = 0; i < CLIENTS; i++) {
        join_as(&ops_ws, NULL, NULL);
    }
    for (int step = 0; step < 20000; step++) {
        seed = seed * 1103515245u + 12345u;
        int c = (int)(seed >> 16) % CLIENTS;
        seed = seed * 1103515245u + 12345u;
        int r = (int)(seed >> 16) % ROOMS;
        char name[16];
        snprintf(name, sizeof name, "r%d", r);
        struct client *client = &house.clients[c].client;
        assert_int_equal(hub_is_member(client, span_of(name)), in[c][r]);
        if (in[c][r]) {
            assert_true(hub_leave(client, span_of(name)));
        } else {
            assert_int_equal(hub_join(client, span_of(name)), 0);
        }
        in[c][r] = !in[c][r];
    }
    for (int r = 0; r < ROOMS; r++) {
        char name[16];
        size_t expected = 0;
        snprintf(name, sizeof name, "r%d", r);
        for (int c = 0; c < CLIENTS; c++) {
            expected += in[c][r];
        }
        assert_int_equal(room_count(house.ns, span_of(name)), expected);
        for (size_t i = 0; i < expected; i++) {
            struct client *member = room_member(house.ns, span_of(name), i);
            assert_true(in[(struct fake *)member - house.clients][r]);
        }
    }
}

static void slow_and_volatile(void **state) {
    (void)state;
    struct fake *a = join_as(&ops_ws, NULL, "r");
    struct fake *slow = join_as(&ops_ws, NULL, "r");
    struct fake *hard = join_as(&ops_ws, NULL, "r");
    slow->waiting = (ssize_t)house.config.high_mark;
    publish("r", "x", NULL);
    assert_null(slow->client.closing);
    slow->waiting++;
    hard->waiting = UV_ENOBUFS;
    publish("r", "y", NULL);
    assert_string_equal(slow->client.closing->reason, "slow consumer");
    assert_string_equal(hard->client.closing->reason, "slow consumer");
    assert_int_equal(house.metrics.closed_slow, 2);
    a->is_blocked = true;
    struct message m;
    char offset[OFFSET_MAX];
    message_init(&m, MESSAGE_EVENT);
    m.flags = MESSAGE_VOLATILE;
    m.event = SPAN("v");
    hub_publish(house.ns, SPAN("r"), &m, NULL, offset);
    message_deinit(&m);
    assert_heard(a, "x@r;y@r;");
    assert_int_equal(house.metrics.dropped[DROPPED_VOLATILE], 1);
}

static void note_event(const struct message *m, void *data) {
    writer_put_span(data, m->event);
}

static void read_log(const char *room, struct span after, uint32_t limit, const char *expected,
                     enum history_status expected_status) {
    struct writer out = {0};
    enum history_status status = history_read(room_history(house.ns, span_of(room)), after,
                                              (struct span){0}, limit, note_event, &out);
    assert_int_equal(writer_len(&out), strlen(expected));
    if (expected[0]) {
        assert_memory_equal(writer_span(&out).at, expected, strlen(expected));
    }
    assert_int_equal(status, expected_status);
    writer_deinit(&out);
}

static void a_log_has_offsets_and_a_bound(void **state) {
    (void)state;
    struct message m;
    char offsets[5][OFFSET_MAX];
    for (int i = 0; i < 5; i++) {
        char event[2] = {(char)('a' + i), '\0'};
        message_init(&m, MESSAGE_EVENT);
        m.event = span_of(event);
        hub_publish(house.ns, SPAN("log:1"), &m, NULL, offsets[i]);
        message_deinit(&m);
    }
    read_log("log:1", (struct span){0}, 100, "cde", HISTORY_OK);
    read_log("log:1", (struct span){0}, 2, "de", HISTORY_OK);
    read_log("log:1", span_of(offsets[2]), 100, "de", HISTORY_OK);
    read_log("log:1", span_of(offsets[2]), 1, "d", HISTORY_OK);
    read_log("log:1", span_of(offsets[1]), 100, "cde", HISTORY_OK);
    read_log("log:1", span_of(offsets[0]), 100, "cde", HISTORY_TRIMMED);
    read_log("log:1", span_of(offsets[4]), 100, "", HISTORY_OK);
    read_log("log:1", SPAN("other:3"), 100, "cde", HISTORY_INVALID);
    read_log("log:1", (struct span){0}, 0, "", HISTORY_OK);
    struct fake *a = join_as(&ops_ws, NULL, "log:1");
    publish("log:1", "f", NULL);
    assert_heard(a, "f@log:1#6;");
}

static void logs_follow_a_new_policy(void **state) {
    (void)state;
    for (int i = 0; i < 12; i++) {
        char event[2] = {(char)('a' + i), '\0'};
        publish("log:big", event, NULL);
        publish("log:1", event, NULL);
    }
    read_log("log:big", (struct span){0}, 100, "cdefghijkl", HISTORY_OK);
    house.settings.rooms = house.policies + 1; /* log:big now is one of log:* */
    house.settings.room_count = 1;
    ns_configure(house.ns, &house.settings);
    read_log("log:big", (struct span){0}, 100, "jkl", HISTORY_OK);
    publish("log:big", "m", NULL);
    read_log("log:big", (struct span){0}, 100, "klm", HISTORY_OK);
    house.settings.room_count = 0;
    ns_configure(house.ns, &house.settings);
    assert_null(room_history(house.ns, SPAN("log:big")));
}

static void logs_and_namespaces_go_when_their_time_is_over(void **state) {
    (void)state;
    publish("log:1", "a", NULL);
    struct fake *member = join_as(&ops_ws, NULL, "log:2");
    publish("log:2", "a", NULL);
    hub_ns(house.hub, SPAN("/passing"), true);
    hub_set_now(house.hub, 1000 + 3600 * 1000 - 1);
    hub_sweep(house.hub);
    assert_null(hub_ns(house.hub, SPAN("/passing"), false));
    read_log("log:1", (struct span){0}, 10, "a", HISTORY_OK);
    hub_set_now(house.hub, 1000 + 3600 * 1000);
    hub_sweep(house.hub);
    read_log("log:1", (struct span){0}, 10, "", HISTORY_OK);
    read_log("log:2", (struct span){0}, 10, "", HISTORY_OK);
    publish("log:2", "b", NULL);
    assert_heard(member, "a@log:2#1;b@log:2#2;");
    hub_set_now(house.hub, 1000 + 2 * 3600 * 1000);
    hub_sweep(house.hub);
    assert_null(room_history(house.ns, SPAN("log:1")));
    assert_non_null(room_history(house.ns, SPAN("log:2")));
}

/* Says n messages; their offsets. */
static void say(const char *room, int n, char offsets[][OFFSET_MAX]) {
    for (int i = 0; i < n; i++) {
        struct message m;
        message_init(&m, MESSAGE_EVENT);
        m.event = SPAN("e");
        hub_publish(house.ns, span_of(room), &m, NULL, offsets[i]);
        message_deinit(&m);
    }
}

static void assert_after(const char *room, struct span after, enum history_status expected,
                         uint64_t sequence) {
    uint64_t found = 0;
    assert_int_equal(history_after(room_history(house.ns, span_of(room)), after, &found), expected);
    assert_int_equal(found, sequence);
}

static void a_reader_hears_why_something_is_gone(void **state) {
    (void)state;
    char offsets[5][OFFSET_MAX];
    char other[1][OFFSET_MAX];
    char text[OFFSET_MAX];
    char list[200];
    say("log:1", 5, offsets);
    say("log:2", 1, other);
    const struct history *h = room_history(house.ns, SPAN("log:1"));
    assert_int_equal(history_last(h), 5);
    uint64_t sequence = 1; /* 2 is gone as well */
    assert_true(span_is(history_next(h, &sequence)->offset, offsets[2]));
    assert_int_equal(sequence, 3);
    sequence = 5;
    assert_null(history_next(h, &sequence));
    assert_after("log:1", span_of(offsets[4]), HISTORY_OK, 5);
    assert_after("log:1", span_of(offsets[1]), HISTORY_OK, 2);
    assert_after("log:1", span_of(offsets[0]), HISTORY_TRIMMED, 1);
    assert_after("log:1", history_offset(h, 0, text), HISTORY_TRIMMED, 0);
    assert_after("log:1", history_offset(h, 6, text), HISTORY_INVALID, 6);
    assert_after("log:1", history_offset(h, UINT64_MAX, text), HISTORY_INVALID, UINT64_MAX);
    assert_after("log:1", span_of(other[0]), HISTORY_EPOCH, 0);
    assert_after("log:1", SPAN("garbage"), HISTORY_INVALID, 0);
    snprintf(list, sizeof list, "x,%s, %s ,", other[0], offsets[3]);
    assert_after("log:1", span_of(list), HISTORY_OK, 4);
    snprintf(list, sizeof list, "%s,garbage", other[0]);
    assert_after("log:1", span_of(list), HISTORY_EPOCH, 0);
    hub_set_now(house.hub, 1000 + 3600 * 1000);
    hub_sweep(house.hub);
    assert_after("log:1", span_of(offsets[4]), HISTORY_OK, 5);
    assert_after("log:1", span_of(offsets[3]), HISTORY_EXPIRED, 4);
    hub_sweep(house.hub);
    say("log:1", 4, offsets);
    assert_after("log:1", span_of(offsets[0]), HISTORY_OK, 6);
    assert_after("log:1", history_offset(h, 5, text), HISTORY_TRIMMED, 5);
    assert_after("log:1", history_offset(h, 4, text), HISTORY_EXPIRED, 4);
}

static void a_rate_is_a_token_bucket(void **state) {
    (void)state;
    house.settings.rate = 10;
    house.settings.burst = 3;
    struct fake *a = join_as(&ops_ws, NULL, NULL);
    assert_true(client_admit(&a->client, 1000));
    assert_true(client_admit(&a->client, 1000));
    assert_true(client_admit(&a->client, 1000));
    assert_false(client_admit(&a->client, 1000));
    assert_false(client_admit(&a->client, 1099));
    assert_true(client_admit(&a->client, 1100));
    assert_false(client_admit(&a->client, 1100));
    for (int i = 0; i < 3; i++) {
        assert_true(client_admit(&a->client, 100000));
    }
    assert_false(client_admit(&a->client, 100000));
}

static void ids_name_one_client(void **state) {
    (void)state;
    struct fake *a = join_as(&ops_ws, NULL, NULL);
    char id[CLIENT_ID_LEN + 1];
    client_id(&a->client, id);
    client_closed(&a->client, "x");
    end_turn();
    struct fake *b = join_as(&ops_ws, NULL, NULL); /* has the same slot */
    assert_int_equal(a->client.slot, b->client.slot);
    assert_null(hub_client(house.hub, span_of(id)));
    assert_null(hub_client(house.hub, SPAN("")));
    assert_null(hub_client(house.hub, SPAN("AAAAAAAAAAAAAAAA")));
    assert_null(hub_client(house.hub, SPAN("________________")));
    client_id(&b->client, id);
    assert_ptr_equal(hub_client(house.hub, span_of(id)), &b->client);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_room_hears_once_per_wire_encoded),
        TEST(several_rooms_reach_each_once_with_the_first),
        TEST(whom_a_publication_leaves_out),
        TEST(a_user_is_all_its_connections),
        TEST(a_closing_client_keeps_its_rooms_for_its_hooks),
        TEST(joins_have_limits),
        TEST(membership_survives_any_order),
        TEST(slow_and_volatile),
        TEST(a_log_has_offsets_and_a_bound),
        TEST(logs_follow_a_new_policy),
        TEST(logs_and_namespaces_go_when_their_time_is_over),
        TEST(a_reader_hears_why_something_is_gone),
        TEST(a_rate_is_a_token_bucket),
        TEST(ids_name_one_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
