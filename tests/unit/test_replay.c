/* Replays over a wire made of memory, whose socket refuses bytes when the test says so: what a
 * client that comes back hears, in which order, and what it is told when that cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "hub/replay.h"

/* A client that hears "1 2 3 ". */
struct fake {
    struct client client;
    struct writer heard;
    int room_for; /* messages, until its socket is blocked; -1: without end */
    bool freed;
};

static struct house {
    struct config config;
    struct metrics metrics;
    struct arena arena;
    struct app app;
    struct hub *hub;
    struct ns *ns;
    struct ns_settings settings;
    struct room_policy policy;
    struct deferred_list closed;
    struct fake fakes[4];
    int count;
    int rounds; /* of work put off */
} house;

static struct slice fake_encode(const struct client *c, struct arena *arena,
                                const struct message *m) {
    (void)c;
    char *at = arena_reserve(arena, 200);
    struct span word = m->data.len < 100 && m->event.len > 1 ? m->data : m->event;
    int len = snprintf(at, 200, "%.*s ", (int)word.len, word.at);
    return arena_commit(arena, (size_t)len);
}

static ssize_t fake_send(struct client *c, const struct message *m, const struct slice *encoded) {
    struct fake *fake = (struct fake *)c;
    (void)m;
    writer_put(&fake->heard, slice_bytes(encoded), encoded->len);
    fake->room_for -= fake->room_for > 0;
    return 0;
}

static bool fake_blocked(const struct client *c) {
    return ((const struct fake *)c)->room_for == 0;
}

static size_t fake_queued(const struct client *c) {
    (void)c;
    return 0;
}

static void fake_close(struct client *c, int code, const char *reason) {
    (void)c;
    (void)code;
    (void)reason;
}

static void fake_free(struct client *c) {
    ((struct fake *)c)->freed = true;
}

static const struct client_ops ops = {
    .wire = WIRE_WS,
    .encode = fake_encode,
    .send = fake_send,
    .blocked = fake_blocked,
    .queued = fake_queued,
    .close = fake_close,
    .free = fake_free,
};

static void defer(void *io, struct deferred *deferred) {
    (void)io;
    if (!deferred->queued) {
        deferred->queued = true;
        STAILQ_INSERT_TAIL(&house.closed, deferred, link);
    }
}

static void end_turn(void) {
    struct deferred *deferred;
    while ((deferred = STAILQ_FIRST(&house.closed))) {
        STAILQ_REMOVE_HEAD(&house.closed, link);
        deferred->queued = false;
        house.rounds++;
        deferred->run(deferred);
    }
}

static void app_on_close(struct app *app, struct client *c, const char *reason) {
    (void)app;
    (void)reason;
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
    house.policy = (struct room_policy){.pattern = "log*", .history_size = 9};
    house.settings.rooms = &house.policy;
    house.settings.room_count = 1;
    house.ns = ns_ref(hub_ns(house.hub, SPAN("/"), true));
    ns_configure(house.ns, &house.settings);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < house.count; i++) {
        client_closed(&house.fakes[i].client, "end");
    }
    end_turn();
    for (int i = 0; i < house.count; i++) {
        assert_true(house.fakes[i].freed);
        writer_deinit(&house.fakes[i].heard);
    }
    hub_free(house.hub);
    arena_deinit(&house.arena);
    config_deinit(&house.config);
    return 0;
}

static struct fake *come(int room_for) {
    struct fake *fake = &house.fakes[house.count++];
    fake->client.ops = &ops;
    fake->room_for = room_for;
    client_open(&fake->client, house.ns, NULL);
    return fake;
}

/* What it has heard since the last time. */
static void assert_heard(struct fake *fake, const char *expected) {
    writer_putc(&fake->heard, '\0');
    assert_string_equal(writer_span(&fake->heard).at, expected);
    writer_clear(&fake->heard);
}

/* Says the events first to last, single letters. */
static void say(const char *room, char first, char last, struct client *except) {
    for (char c = first; c <= last; c++) {
        struct message m;
        char offset[OFFSET_MAX];
        struct except left_out = {.clients = &except, .client_count = except ? 1 : 0};
        message_init(&m, MESSAGE_EVENT);
        m.event = (struct span){&c, 1};
        (void)hub_publish(house.ns, span_of(room), &m, &left_out, offset);
        message_deinit(&m);
    }
}

static struct span at(const char *room, uint64_t sequence, char text[OFFSET_MAX]) {
    return history_offset(room_history(house.ns, span_of(room)), sequence, text);
}

/* Joins behind this message of the log. */
static struct joined join(struct fake *fake, const char *room, uint64_t after) {
    struct joined j;
    char text[OFFSET_MAX];
    int error = replay_join(&fake->client, span_of(room), false, at(room, after, text), &j);
    assert_int_equal(error, 0);
    replay_start(&fake->client);
    return j;
}

static void drain(struct fake *fake, int room_for) {
    fake->room_for = room_for;
    client_drained(&fake->client);
}

static void assert_position(struct fake *fake, const char *room, uint64_t sequence,
                            const char *expected) {
    struct writer out = {0};
    char text[OFFSET_MAX];
    char all[400] = "";
    bool other = replay_position(&fake->client, at(room, sequence, text), &out);
    struct span list = writer_span(&out);
    struct span entry;
    while (other && offset_next(&list, &entry)) {
        strncat(all, entry.at + EPOCH_LEN + 1, entry.len - EPOCH_LEN - 1);
        strcat(all, " ");
    }
    assert_string_equal(all, expected);
    writer_deinit(&out);
}

static void what_was_missed_comes_first_and_once(void **state) {
    (void)state;
    say("log", 'a', 'e', NULL);
    struct fake *fake = come(-1);
    struct joined j = join(fake, "log", 2);
    assert_int_equal(j.result, REPLAY_DONE);
    assert_int_equal(j.text[EPOCH_LEN + 1], '2');
    say("log", 'f', 'g', NULL);
    assert_heard(fake, "c d e f g ");
}

static void a_blocked_socket_is_waited_for(void **state) {
    (void)state;
    say("log", 'a', 'e', NULL);
    struct fake *fake = come(2);
    struct fake *live = come(-1);
    assert_int_equal(hub_join(&live->client, SPAN("log")), 0);
    join(fake, "log", 0);
    assert_heard(fake, "a b ");
    say("log", 'f', 'g', NULL);
    assert_heard(live, "f g ");
    assert_heard(fake, "");
    drain(fake, 3);
    assert_heard(fake, "c d e ");
    say("log", 'h', 'h', NULL);
    drain(fake, 3);
    assert_heard(fake, "f g h ");
    say("log", 'i', 'i', NULL);
    drain(fake, -1);
    say("log", 'j', 'j', NULL);
    assert_heard(fake, "i j ");
    drain(fake, -1);
    assert_heard(fake, "");
}

static void what_was_not_for_the_client_is_no_part_of_it(void **state) {
    (void)state;
    say("log", 'a', 'b', NULL);
    struct fake *fake = come(1);
    join(fake, "log", 0);
    say("log", 'c', 'd', &fake->client);
    say("log", 'e', 'e', NULL);
    say("log", 'f', 'f', &fake->client);
    assert_heard(fake, "a ");
    drain(fake, -1);
    assert_heard(fake, "b e ");
}

/* In several rooms it is for the first that the client is in, behind or not. */
static void several_rooms_are_told_once(void **state) {
    (void)state;
    struct span both[] = {SPAN("log"), SPAN("log2")};
    struct message m;
    say("log", 'a', 'b', NULL);
    say("log2", 'A', 'B', NULL);
    struct fake *first = come(1);
    struct fake *second = come(1);
    assert_int_equal(hub_join(&first->client, SPAN("log2")), 0);
    join(first, "log", 0);
    assert_int_equal(hub_join(&second->client, SPAN("log")), 0);
    join(second, "log2", 0);
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("x");
    (void)hub_publish_rooms(house.ns, both, 2, &m, NULL);
    message_deinit(&m);
    assert_heard(first, "a ");
    assert_heard(second, "A x ");
    drain(first, -1);
    drain(second, -1);
    assert_heard(first, "b x ");
    assert_heard(second, "B ");
}

static void the_log_may_be_faster_than_the_client(void **state) {
    (void)state;
    say("log", 'a', 'e', NULL);
    struct fake *fake = come(1);
    join(fake, "log", 0);
    assert_heard(fake, "a ");
    say("log", 'f', 'j', NULL); /* nine are kept: from b */
    drain(fake, 1);
    assert_heard(fake, "b ");
    say("log", 'k', 'l', NULL); /* from d */
    drain(fake, -1);
    assert_heard(fake, "{\"room\":\"log\",\"recovered\":false,\"reason\":\"trimmed\"} ");
    say("log", 'm', 'm', NULL);
    assert_heard(fake, "m ");
}

static void a_log_that_goes_ends_its_replays(void **state) {
    (void)state;
    say("log", 'a', 'c', NULL);
    struct fake *fake = come(1);
    join(fake, "log", 0);
    house.settings.room_count = 0;
    ns_configure(house.ns, &house.settings);
    assert_heard(fake, "a {\"room\":\"log\",\"recovered\":false,\"reason\":\"epoch\"} ");
    say("log", 'd', 'd', NULL);
    assert_heard(fake, "d ");
}

static void who_leaves_or_goes_hears_nothing_more(void **state) {
    (void)state;
    say("log", 'a', 'c', NULL);
    struct fake *leaver = come(1);
    struct fake *goner = come(1);
    join(leaver, "log", 0);
    join(goner, "log", 0);
    assert_true(hub_leave(&leaver->client, SPAN("log")));
    client_closed(&goner->client, "gone");
    drain(leaver, -1);
    drain(goner, -1);
    end_turn();
    say("log", 'd', 'd', NULL);
    assert_heard(leaver, "a ");
    assert_heard(goner, "a ");
    assert_int_equal(join(leaver, "log", 3).result, REPLAY_DONE);
    assert_heard(leaver, "d ");
}

/* A long log is sent in chunks, with the others' turn and a flush between them. */
static void a_chunk_at_a_time(void **state) {
    (void)state;
    static const char kilobytes[40 << 10];
    for (char c = 'a'; c <= 'e'; c++) {
        struct message m;
        char offset[OFFSET_MAX];
        message_init(&m, MESSAGE_EVENT);
        m.event = (struct span){&c, 1};
        m.data = (struct span){kilobytes, sizeof kilobytes};
        (void)hub_publish(house.ns, SPAN("log"), &m, NULL, offset);
        message_deinit(&m);
    }
    struct fake *fake = come(-1);
    join(fake, "log", 0);
    assert_heard(fake, "a b ");
    drain(fake, -1); /* it has its turn already, and once */
    assert_heard(fake, "");
    end_turn();
    assert_heard(fake, "c d e ");
    assert_int_equal(house.rounds, 2);
    /* A client that goes meanwhile. */
    struct fake *goner = come(-1);
    join(goner, "log", 0);
    client_closed(&goner->client, "gone");
    end_turn();
    assert_heard(goner, "a b ");
}

static void results_have_reasons(void **state) {
    (void)state;
    char text[OFFSET_MAX];
    struct joined j;
    say("log", 'a', 'z', NULL);
    say("log2", 'a', 'a', NULL);
    struct fake *fake = come(-1);
    assert_int_equal(join(fake, "log", 3).result, REPLAY_TRIMMED);
    assert_int_equal(join(fake, "log", 26).result, REPLAY_JOINED);
    hub_leave(&fake->client, SPAN("log"));
    assert_int_equal(join(fake, "log", 27).result, REPLAY_INVALID);
    hub_leave(&fake->client, SPAN("log"));
    assert_int_equal(replay_join(&fake->client, SPAN("log"), false, at("log2", 1, text), &j), 0);
    assert_int_equal(j.result, REPLAY_EPOCH);
    assert_int_equal(replay_join(&fake->client, SPAN("plain"), false, at("log2", 1, text), &j), 0);
    assert_int_equal(j.result, REPLAY_NO_HISTORY);
    assert_int_equal(j.offset.len, 0);
    assert_int_equal(replay_join(&fake->client, SPAN(""), false, at("log2", 1, text), &j),
                     UV_EINVAL);
    assert_heard(fake, "");
}

/* What a client brings is for one join of the room that it is of. */
static void what_is_offered_is_used_once(void **state) {
    (void)state;
    char text[2][OFFSET_MAX];
    char list[2 * OFFSET_MAX + 10];
    struct span after;
    struct joined j;
    say("log", 'a', 'c', NULL);
    say("log2", 'A', 'C', NULL);
    struct fake *fake = come(-1);
    struct client *c = &fake->client;
    snprintf(list, sizeof list, "junk,%s,%s", at("log", 1, text[0]).at, at("log2", 2, text[1]).at);
    assert_int_equal(replay_ask(c, SPAN("log2"), (struct span){0}, &after), REPLAY_NONE);
    replay_offer(c, span_of(list));
    assert_int_equal(replay_ask(c, SPAN("plain"), (struct span){0}, &after), REPLAY_NONE);
    assert_int_equal(replay_ask(c, SPAN("log2"), (struct span){0}, &after), REPLAY_DONE);
    assert_true(span_is(after, text[1]));
    assert_int_equal(replay_join(c, SPAN("log2"), true, (struct span){0}, &j), 0);
    replay_forget(c);
    assert_position(fake, "log2", 3, "2 1 "); /* the offer for "log" still stands */
    replay_start(c);
    assert_heard(fake, "C ");
    assert_position(fake, "log2", 3, "3 1 ");
    hub_leave(c, SPAN("log2"));
    assert_int_equal(replay_ask(c, SPAN("log2"), (struct span){0}, &after), REPLAY_EPOCH);
    replay_forget(c);
    /* An offset in the join goes before. */
    assert_int_equal(replay_ask(c, SPAN("log"), at("log", 2, text[1]), &after), REPLAY_DONE);
    assert_int_equal(replay_join(c, SPAN("log"), true, (struct span){0}, &j), 0);
    replay_forget(c);
    replay_start(c);
    assert_heard(fake, "c ");
    replay_withdraw(c);
    assert_position(fake, "log", 3, "");
}

static void what_the_app_has_read_is_not_replayed(void **state) {
    (void)state;
    char text[OFFSET_MAX];
    struct span after;
    struct joined j;
    say("log", 'a', 'e', NULL);
    struct fake *fake = come(-1);
    struct client *c = &fake->client;
    assert_int_equal(replay_ask(c, SPAN("log"), at("log", 1, text), &after), REPLAY_DONE);
    replay_note_read(c, at("log", 5, text), HISTORY_OK, false); /* not behind what was asked */
    replay_note_read(c, at("log", 3, text), HISTORY_OK, true);
    say("log", 'f', 'f', NULL);
    assert_int_equal(replay_join(c, SPAN("log"), true, (struct span){0}, &j), 0);
    assert_int_equal(j.result, REPLAY_DONE);
    replay_forget(c);
    replay_start(c);
    assert_heard(fake, "d e f ");
    hub_leave(c, SPAN("log"));
    /* Nothing was asked for, and the log has lost what came after the reading. */
    assert_int_equal(replay_ask(c, SPAN("log"), (struct span){0}, &after), REPLAY_NONE);
    replay_note_read(c, at("log", 6, text), HISTORY_OK, false);
    say("log", 'g', 'z', NULL);
    assert_int_equal(replay_join(c, SPAN("log"), true, (struct span){0}, &j), 0);
    assert_int_equal(j.result, REPLAY_TRIMMED);
    replay_forget(c);
    replay_start(c);
    assert_heard(fake, "");
}

static void a_position_is_of_all_rooms(void **state) {
    (void)state;
    say("log", 'a', 'c', NULL);
    say("log2", 'a', 'b', NULL);
    struct fake *fake = come(1);
    assert_int_equal(hub_join(&fake->client, SPAN("plain")), 0);
    assert_int_equal(hub_join(&fake->client, SPAN("log")), 0);
    assert_position(fake, "log", 3, "");
    join(fake, "log2", 0);
    assert_position(fake, "log2", 1, "1 3 ");
    assert_position(fake, "log", 3, "1 3 ");
    assert_position(fake, "log", 2, "1 2 "); /* a message that comes later than others */
    drain(fake, -1);
    assert_position(fake, "log2", 2, "2 3 ");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_missed_comes_first_and_once),
        TEST(a_blocked_socket_is_waited_for),
        TEST(what_was_not_for_the_client_is_no_part_of_it),
        TEST(several_rooms_are_told_once),
        TEST(the_log_may_be_faster_than_the_client),
        TEST(a_log_that_goes_ends_its_replays),
        TEST(who_leaves_or_goes_hears_nothing_more),
        TEST(a_chunk_at_a_time),
        TEST(results_have_reasons),
        TEST(what_is_offered_is_used_once),
        TEST(what_the_app_has_read_is_not_replayed),
        TEST(a_position_is_of_all_rooms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
