/* Slow readers: what is dropped, what is parked and in which order it comes out, what is told, and
 * what is never held back; over a wire made of memory whose reader stops and reads on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "hub/offset.h"
#include "hub/replay.h"

#define HIGH 100
#define HARD 3000

/* A reader: while it is stopped, what it is sent waits. */
struct reader {
    struct client client;
    struct writer heard;
    size_t queued;
    bool stopped; /* the socket refuses bytes */
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
    struct room_policy policies[4];
    struct deferred_list closed;
    struct reader readers[16];
    int count;
    int encodings;
};

static struct house house;

static struct reader *of(const struct client *c) {
    return (struct reader *)(uintptr_t)c;
}

/* "event(data)id#offset ", with "!" before a reply. */
static struct slice encode(const struct client *c, struct arena *arena, const struct message *m) {
    struct writer text = {0};
    (void)c;
    house.encodings++;
    writer_puts(&text, m->kind == MESSAGE_REPLY ? "!" : "");
    writer_put_span(&text, m->event);
    writer_putc(&text, '(');
    writer_put_span(&text, m->data);
    writer_putc(&text, ')');
    writer_put_span(&text, m->id);
    if (m->offset.len) {
        writer_putc(&text, '#');
        writer_put_span(&text, (struct span){m->offset.at + 13, m->offset.len - 13});
    }
    writer_putc(&text, ' ');
    size_t len = writer_len(&text);
    memcpy(arena_reserve(arena, len), writer_span(&text).at, len);
    writer_deinit(&text);
    return arena_commit(arena, len);
}

static ssize_t send_bytes(struct client *c, const struct message *m, const struct slice *encoded) {
    struct reader *r = of(c);
    (void)m;
    assert_null(c->closing);
    if (r->stopped && r->queued + encoded->len > HARD) {
        return UV_ENOBUFS;
    }
    writer_put(&r->heard, slice_bytes(encoded), encoded->len);
    r->queued += r->stopped ? encoded->len : 0;
    return (ssize_t)r->queued;
}

static bool is_blocked(const struct client *c) {
    return of(c)->stopped;
}

static size_t count_queued(const struct client *c) {
    return of(c)->queued;
}

static void close_reader(struct client *c, int code, const char *reason) {
    (void)c;
    (void)reason;
    assert_int_equal(code, 0);
}

static void free_reader(struct client *c) {
    of(c)->freed = true;
}

/* Two wires, as a session that is upgraded has them. */
static const struct client_ops polling = {
    .wire = WIRE_SIO_POLLING,
    .encode = encode,
    .send = send_bytes,
    .blocked = is_blocked,
    .queued = count_queued,
    .close = close_reader,
    .free = free_reader,
};
static const struct client_ops frames = {
    .wire = WIRE_SIO_WS,
    .encode = encode,
    .send = send_bytes,
    .blocked = is_blocked,
    .queued = count_queued,
    .close = close_reader,
    .free = free_reader,
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

static void on_close(struct app *app, struct client *c, const char *reason) {
    (void)app;
    (void)reason;
    client_release(c);
}

static int setup(void **state) {
    static char symbol[] = "id";
    (void)state;
    memset(&house, 0, sizeof house);
    config_init(&house.config);
    house.config.high_mark = HIGH;
    house.config.hard_limit = HARD;
    arena_init(&house.arena);
    STAILQ_INIT(&house.closed);
    house.app.on_close = on_close;
    house.hub = hub_new(&house.config, &house.metrics, &house.arena, &house.app, defer, NULL);
    house.policies[0] = (struct room_policy){.pattern = "close", .slow = {SLOW_CLOSE, NULL}};
    house.policies[1] =
        (struct room_policy){.pattern = "drop*", .history_size = 50, .slow = {SLOW_DROP, NULL}};
    house.policies[2] = (struct room_policy){.pattern = "last", .slow = {SLOW_LATEST, NULL}};
    house.policies[3] = (struct room_policy){
        .pattern = "ticker*", .history_size = 50, .slow = {SLOW_LATEST, symbol}};
    house.settings.rooms = house.policies;
    house.settings.room_count = 4;
    hub_set_now(house.hub, 1000);
    house.ns = ns_ref(hub_ns(house.hub, SPAN("/"), true));
    ns_configure(house.ns, &house.settings);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < house.count; i++) {
        client_closed(&house.readers[i].client, "end");
    }
    end_turn();
    assert_int_equal(house.metrics.slow_clients, 0);
    for (int i = 0; i < house.count; i++) {
        assert_true(house.readers[i].freed);
        writer_deinit(&house.readers[i].heard);
    }
    ns_unref(house.ns);
    hub_free(house.hub);
    arena_deinit(&house.arena);
    config_deinit(&house.config);
    return 0;
}

static struct reader *join(const char *room) {
    struct reader *r = &house.readers[house.count++];
    r->client.ops = &polling;
    client_open(&r->client, house.ns, NULL);
    if (room) {
        assert_int_equal(hub_join(&r->client, span_of(room)), 0);
    }
    return r;
}

static void init_event(struct message *m, const char *event, const char *data) {
    message_init(m, MESSAGE_EVENT);
    m->event = span_of(event);
    m->data = span_of(data);
    m->argc = 1;
}

static void say(const char *room, const char *event, const char *data) {
    struct message m;
    char offset[64];
    init_event(&m, event, data);
    hub_publish(house.ns, span_of(room), &m, NULL, offset);
    message_deinit(&m);
}

/* Until the reader is above the mark. */
static void fill(struct reader *r, const char *room) {
    r->stopped = true;
    while (r->queued <= HIGH && !r->client.closing) {
        say(room, "f", "0");
    }
    writer_clear(&r->heard);
}

static void read_on(struct reader *r) {
    r->stopped = false;
    r->queued = 0;
    client_drained(&r->client);
}

#define assert_heard(reader, text)                                                                 \
    do {                                                                                           \
        writer_putc(&(reader)->heard, '\0');                                                       \
        assert_string_equal(writer_len(&(reader)->heard) ? (reader)->heard.buf->bytes : "", text); \
        writer_clear(&(reader)->heard);                                                            \
    } while (0)

/* --- close ---------------------------------------------------------------------------------- */

static void close_is_the_default(void **state) {
    (void)state;
    struct reader *a = join("anything");
    struct reader *b = join("anything");
    fill(a, "anything");
    assert_string_equal(a->client.closing->reason, "slow consumer");
    assert_null(b->client.closing);
    assert_int_equal(house.metrics.closed_slow, 1);
    ns_configure(house.ns, NULL); /* whose policies are to be had from nowhere */
    fill(b, "anything");
    assert_non_null(b->client.closing);
}

/* --- drop ----------------------------------------------------------------------------------- */

static void drop_leaves_one_gap_and_says_so_there(void **state) {
    (void)state;
    struct reader *slow = join("drop");
    struct reader *fast = join("drop");
    fill(slow, "drop");
    assert_int_equal(house.metrics.slow_clients, 1);
    writer_clear(&fast->heard);
    say("drop", "a", "1");
    slow->queued = 1; /* It has read, but not everything: the gap is not over. */
    say("drop", "b", "2");
    assert_heard(slow, "");
    read_on(slow);
    assert_int_equal(house.metrics.slow_clients, 0);
    say("drop", "c", "3");
    const char *expected = "dropped({\"count\":2,\"rooms\":{\"drop\":2}}) c(3)#";
    assert_memory_equal(slow->heard.buf->bytes, expected, strlen(expected));
    assert_int_equal(house.metrics.dropped[DROPPED_SLOW], 2);
    /* The one after the gap has the offset that everybody saw. */
    writer_putc(&slow->heard, '\0');
    writer_putc(&fast->heard, '\0');
    assert_string_equal(strrchr(slow->heard.buf->bytes, '#'), strrchr(fast->heard.buf->bytes, '#'));
}

static void each_gap_is_told_once(void **state) {
    (void)state;
    struct reader *r = join("drop");
    fill(r, "drop");
    read_on(r);
    assert_heard(r, ""); /* Nothing had been dropped. */
    for (int gap = 0; gap < 2; gap++) {
        fill(r, "drop");
        say("drop", "a", "1");
        read_on(r);
        client_drained(&r->client);
        assert_heard(r, "dropped({\"count\":1,\"rooms\":{\"drop\":1}}) ");
    }
}

static void dropped_names_a_bounded_number_of_rooms(void **state) {
    (void)state;
    struct reader *r = join("drop");
    char name[16];
    fill(r, "drop");
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "drop%d", i % 50);
        assert_int_equal(hub_join(&r->client, span_of(name)), 0);
        say(name, "a", "1");
    }
    house.settings.slow.policy = SLOW_DROP;
    struct message m;
    init_event(&m, "mine", "1");
    assert_int_equal(hub_publish_client(&r->client, &m), 0);
    message_deinit(&m);
    read_on(r);
    writer_putc(&r->heard, '\0');
    const char *text = r->heard.buf->bytes;
    assert_non_null(strstr(text, "{\"count\":101,\"rooms\":{"));
    assert_non_null(strstr(text, "\"drop31\":2"));
    assert_null(strstr(text, "\"drop32\":2"));
}

static void what_is_owed_is_never_dropped(void **state) {
    (void)state;
    struct reader *r = join("drop");
    fill(r, "drop");
    struct message m;
    message_init(&m, MESSAGE_REPLY);
    m.id = SPAN("7");
    assert_int_equal(client_send(&r->client, &m), 0);
    message_deinit(&m);
    init_event(&m, "asked", "1");
    m.id = SPAN("8");
    assert_int_equal(client_send(&r->client, &m), 0);
    message_deinit(&m);
    assert_heard(r, "!()7 asked(1)8 ");
    assert_null(r->client.closing);
}

static void the_policy_is_that_of_the_messages_room(void **state) {
    (void)state;
    struct reader *r = join("drop");
    assert_int_equal(hub_join(&r->client, SPAN("close")), 0);
    fill(r, "drop");
    say("drop", "a", "1");
    assert_null(r->client.closing);
    say("close", "b", "2");
    assert_string_equal(r->client.closing->reason, "slow consumer");
    say("drop", "c", "3");
    client_drained(&r->client);
    assert_heard(r, "b(2) ");
    /* In several rooms at once, it is the first named one that it is in. */
    struct reader *other = join("drop");
    assert_int_equal(hub_join(&other->client, SPAN("close")), 0);
    fill(other, "drop");
    struct message m;
    init_event(&m, "both", "1");
    hub_publish_rooms(house.ns, (struct span[]){SPAN("drop"), SPAN("close")}, 2, &m, NULL);
    message_deinit(&m);
    assert_null(other->client.closing);
}

static void users_namespaces_and_clients_have_the_namespaces_policy(void **state) {
    (void)state;
    house.settings.slow.policy = SLOW_DROP;
    struct reader *r = join("elsewhere");
    char id[CLIENT_ID_LEN + 1];
    client_id(&r->client, id);
    fill(r, "elsewhere");
    struct message m;
    init_event(&m, "m", "1");
    hub_publish_user(house.ns, span_of(id), &m, NULL);
    hub_publish_ns(house.ns, &m, NULL);
    assert_int_equal(hub_publish_client(&r->client, &m), 0);
    message_deinit(&m);
    say("elsewhere", "n", "2");
    read_on(r);
    assert_heard(r, "dropped({\"count\":4,\"rooms\":{\"elsewhere\":1}}) ");
}

static void close_leaves_what_is_said_to_one_to_the_hard_limit(void **state) {
    (void)state;
    struct reader *r = join(NULL);
    struct message m;
    int error = 0;
    r->stopped = true;
    while (!error) {
        assert_null(r->client.closing);
        init_event(&m, "m", "1");
        error = hub_publish_client(&r->client, &m);
        message_deinit(&m);
    }
    assert_int_equal(error, UV_ENOBUFS);
    assert_true(r->queued + 10 > HARD);
    assert_non_null(r->client.closing);
    init_event(&m, "m", "1");
    assert_int_equal(hub_publish_client(&r->client, &m), UV_ECANCELED);
    message_deinit(&m);
}

/* --- latest --------------------------------------------------------------------------------- */

static void latest_keeps_the_newest_of_each_key(void **state) {
    (void)state;
    struct reader *slow = join("ticker");
    struct reader *fast = join("ticker");
    slow->stopped = true; /* Nothing is queued, but the socket takes no more. */
    say("ticker", "p", "{\"id\":\"A\",\"n\":1}");
    say("ticker", "p", "{\"n\":2,\"id\":\"B\"}");
    say("ticker", "p", "{\"id\":\"A\",\"n\":3}");
    assert_heard(slow, "");
    assert_int_equal(house.metrics.slow_clients, 1);
    assert_int_equal(house.encodings, 3);
    read_on(slow);
    /* In the order in which they were said: offsets only go up. */
    assert_heard(slow, "p({\"n\":2,\"id\":\"B\"})#2 p({\"id\":\"A\",\"n\":3})#3 ");
    assert_int_equal(house.metrics.dropped[DROPPED_REPLACED], 1);
    assert_int_equal(house.metrics.slow_clients, 0);
    say("ticker", "p", "{\"id\":\"A\",\"n\":4}");
    assert_heard(slow, "p({\"id\":\"A\",\"n\":4})#4 ");
    assert_heard(fast, "p({\"id\":\"A\",\"n\":1})#1 p({\"n\":2,\"id\":\"B\"})#2 "
                       "p({\"id\":\"A\",\"n\":3})#3 p({\"id\":\"A\",\"n\":4})#4 ");
}

static void a_row_is_a_room_an_event_and_a_value(void **state) {
    (void)state;
    static const struct {
        const char *room;
        const char *event;
        const char *data;
    } different[] = {
        {"ticker", "p", "{\"id\":1}"},    {"ticker", "p", "{\"id\":\"1\"}"},
        {"ticker", "p", "{\"id\":true}"}, {"ticker", "q", "{\"id\":1}"},
        {"ticker2", "p", "{\"id\":1}"},   {"ticker", "p", "{\"other\":1}"},
        {"ticker", "p2", "{}"},           {"last", "p", "{\"id\":1}"},
    };
    size_t count = sizeof different / sizeof *different;
    struct reader *r = join("ticker");
    assert_int_equal(hub_join(&r->client, SPAN("ticker2")), 0);
    assert_int_equal(hub_join(&r->client, SPAN("last")), 0);
    r->stopped = true;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < count; i++) {
            say(different[i].room, different[i].event, different[i].data);
        }
        assert_int_equal(house.metrics.dropped[DROPPED_REPLACED], (size_t)round * count);
    }
    read_on(r);
    size_t heard = 0;
    for (size_t i = 0; i < writer_len(&r->heard); i++) {
        heard += r->heard.buf->bytes[i] == '(';
    }
    assert_int_equal(heard, count);
}

static void without_the_field_it_is_the_event(void **state) {
    (void)state;
    static const char *const same[] = {"1",           "[1]",           "{}",
                                       "{\"i\":1}",   "{\"id\":null}", "{\"id\":{\"id\":1}}",
                                       "{\"id\":[]}", "\"id\"",        ""};
    size_t count = sizeof same / sizeof *same;
    struct reader *r = join("ticker");
    r->stopped = true;
    for (size_t i = 0; i < count; i++) {
        say("ticker", "p", same[i]);
    }
    read_on(r);
    assert_heard(r, "p()#9 ");
    r->stopped = true;
    say("ticker", "p", "{\"x\":{\"id\":5},\"a\\nb\":[\"id\"],\"id\":5}");
    say("ticker", "p", "{\"\\u0069d\":5},{\"id\":6}"); /* the same name, and a second argument */
    read_on(r);
    assert_heard(r, "p({\"\\u0069d\":5},{\"id\":6})#11 ");
}

static void raw_frames_are_rows_by_their_kind(void **state) {
    (void)state;
    struct reader *r = join("ticker");
    r->stopped = true;
    for (int i = 0; i < 4; i++) {
        struct message m;
        char offset[64];
        message_init(&m, i % 2 ? MESSAGE_TEXT : MESSAGE_BINARY);
        m.data = span_of(i < 2 ? "{\"id\":1}" : "{\"id\":2}");
        hub_publish(house.ns, SPAN("ticker"), &m, NULL, offset);
        message_deinit(&m);
    }
    read_on(r);
    assert_heard(r, "({\"id\":2})#3 ({\"id\":2})#4 ");
}

static void above_the_mark_parks_too(void **state) {
    (void)state;
    struct reader *r = join("last");
    r->queued = HIGH + 1; /* as when a poll has come, whose answer is not written yet */
    struct message m;
    init_event(&m, "owed", "1");
    assert_int_equal(client_send(&r->client, &m), 0);
    message_deinit(&m);
    assert_heard(r, "owed(1) ");
    say("last", "x", "1");
    assert_heard(r, "x(1) "); /* Nothing is parked, and the socket takes bytes: */
    say("last", "x", "2");    /* but now it is above the mark. */
    assert_heard(r, "");
    client_drained(&r->client); /* Its queue is still too long. */
    assert_heard(r, "");
    say("last", "x", "3");
    read_on(r);
    assert_heard(r, "x(3) ");
}

static void others_overtake_what_is_parked(void **state) {
    (void)state;
    struct reader *r = join("last");
    assert_int_equal(hub_join(&r->client, SPAN("close")), 0);
    assert_int_equal(hub_join(&r->client, SPAN("drop")), 0);
    r->stopped = true;
    say("last", "a", "1");
    say("close", "b", "2");
    say("last", "c", "3");
    assert_heard(r, "b(2) ");
    read_on(r);
    assert_heard(r, "a(1) c(3) ");
}

static void volatile_messages_stay_as_they_are(void **state) {
    (void)state;
    struct reader *r = join("last");
    struct message m;
    char offset[64];
    for (int i = 0; i < 2; i++) {
        init_event(&m, "v", "1");
        m.flags = MESSAGE_VOLATILE;
        hub_publish(house.ns, SPAN("last"), &m, NULL, offset);
        message_deinit(&m);
        assert_heard(r, i ? "" : "v(1) ");
        r->stopped = true;
        say("last", "a", "1");
    }
    assert_int_equal(house.metrics.dropped[DROPPED_VOLATILE], 1);
    assert_int_equal(house.metrics.dropped[DROPPED_REPLACED], 1);
}

static void what_is_parked_counts_towards_the_hard_limit(void **state) {
    (void)state;
    struct reader *r = join("ticker");
    char data[64];
    r->stopped = true;
    for (int i = 0; i < 1000; i++) { /* one row for ever */
        say("ticker", "p", "{\"id\":0}");
    }
    assert_null(r->client.closing);
    for (int i = 1; i < 1000 && !r->client.closing; i++) {
        snprintf(data, sizeof data, "{\"id\":%d}", i);
        say("ticker", "p", data);
    }
    assert_string_equal(r->client.closing->reason, "slow consumer");
    assert_int_equal(house.metrics.slow_clients, 0); /* nothing is kept for who closes */
    assert_int_equal(house.metrics.closed_slow, 1);
    client_drained(&r->client);
    assert_heard(r, "");
}

static void a_flush_stops_where_the_socket_does(void **state) {
    (void)state;
    struct reader *r = join("ticker");
    r->stopped = true;
    say("ticker", "p", "{\"id\":1}");
    say("ticker", "p", "{\"id\":2}");
    client_drained(&r->client); /* but the socket is blocked again already */
    assert_heard(r, "");
    assert_int_equal(house.metrics.slow_clients, 1);
    say("ticker", "p", "{\"id\":1}");
    read_on(r);
    assert_heard(r, "p({\"id\":2})#2 p({\"id\":1})#3 ");
}

static void who_leaves_hears_nothing_more_of_the_room(void **state) {
    (void)state;
    struct reader *r = join("ticker");
    assert_int_equal(hub_join(&r->client, SPAN("last")), 0);
    r->stopped = true;
    say("ticker", "p", "{\"id\":1}");
    say("last", "l", "1");
    say("ticker", "p", "{\"id\":2}");
    assert_true(hub_leave(&r->client, SPAN("ticker")));
    read_on(r);
    assert_heard(r, "l(1) ");
    assert_int_equal(hub_join(&r->client, SPAN("ticker")), 0);
    r->stopped = true;
    say("ticker", "p", "{\"id\":1}");
    assert_true(hub_leave(&r->client, SPAN("ticker")));
    assert_int_equal(house.metrics.slow_clients, 0);
}

static void what_is_parked_has_not_been_seen_yet(void **state) {
    (void)state;
    struct reader *r = join("ticker");
    struct writer position = {0};
    struct message m;
    char offset[64];
    assert_int_equal(hub_join(&r->client, SPAN("drop")), 0);
    say("ticker", "p", "{\"id\":1}");
    r->stopped = true;
    say("ticker", "p", "{\"id\":1}");
    say("ticker", "p", "{\"id\":2}");
    say("ticker", "p", "{\"id\":1}");
    init_event(&m, "d", "1");
    hub_publish(house.ns, SPAN("drop"), &m, NULL, offset);
    assert_true(replay_position(&r->client, m.offset, &position));
    message_deinit(&m);
    /* Who comes back with this gets both again. */
    char text[OFFSET_MAX];
    struct span seen = history_offset(room_history(house.ns, SPAN("ticker")), 2, text);
    struct span list = writer_span(&position);
    struct span entry;
    bool found = false;
    while (offset_next(&list, &entry)) {
        found = found || span_equal(entry, seen);
    }
    assert_true(found);
    writer_deinit(&position);
}

static void parked_messages_go_out_on_the_wire_of_the_moment(void **state) {
    (void)state;
    struct reader *r = join("last");
    r->stopped = true;
    say("last", "a", "1");
    house.metrics.clients[WIRE_SIO_POLLING]--;
    house.metrics.clients[WIRE_SIO_WS]++;
    r->client.ops = &frames;
    read_on(r);
    assert_heard(r, "a(1) ");
    assert_int_equal(house.metrics.deliveries[WIRE_SIO_WS], 1);
}

static void any_number_may_be_slow_at_once(void **state) {
    (void)state;
    struct reader *all[12];
    for (int i = 0; i < 12; i++) {
        all[i] = join("last");
        all[i]->stopped = true;
    }
    say("last", "a", "1");
    assert_int_equal(house.metrics.slow_clients, 12);
    for (int i = 0; i < 12; i += 2) { /* their places move */
        read_on(all[i]);
    }
    client_closed(&all[1]->client, "x");
    say("last", "a", "2");
    for (int i = 2; i < 12; i++) {
        read_on(all[i]);
        assert_heard(all[i], i % 2 ? "a(2) " : "a(1) a(2) ");
    }
    assert_heard(all[0], "a(1) a(2) ");
    assert_heard(all[1], "");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(close_is_the_default),
        TEST(drop_leaves_one_gap_and_says_so_there),
        TEST(each_gap_is_told_once),
        TEST(dropped_names_a_bounded_number_of_rooms),
        TEST(what_is_owed_is_never_dropped),
        TEST(the_policy_is_that_of_the_messages_room),
        TEST(users_namespaces_and_clients_have_the_namespaces_policy),
        TEST(close_leaves_what_is_said_to_one_to_the_hard_limit),
        TEST(latest_keeps_the_newest_of_each_key),
        TEST(a_row_is_a_room_an_event_and_a_value),
        TEST(without_the_field_it_is_the_event),
        TEST(raw_frames_are_rows_by_their_kind),
        TEST(above_the_mark_parks_too),
        TEST(others_overtake_what_is_parked),
        TEST(volatile_messages_stay_as_they_are),
        TEST(what_is_parked_counts_towards_the_hard_limit),
        TEST(a_flush_stops_where_the_socket_does),
        TEST(who_leaves_hears_nothing_more_of_the_room),
        TEST(what_is_parked_has_not_been_seen_yet),
        TEST(parked_messages_go_out_on_the_wire_of_the_moment),
        TEST(any_number_may_be_slow_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
