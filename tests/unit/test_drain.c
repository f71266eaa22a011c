/* How clients are asked to go when the server ends: the arithmetic for itself, and the asking over
 * a hub whose clients are on a wire that notes what it is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <uv.h>

#include "drain.h"

#define CLIENTS 200
#define PARTS 8

struct guest {
    struct client client;
    uint32_t retry; /* 0: not asked */
    bool busy;
    bool freed;
};

struct house {
    struct config config;
    struct metrics metrics;
    struct arena arena;
    struct app app;
    struct hub *hub;
    struct ns *ns;
    struct deferred_list closed;
    struct guest guests[CLIENTS];
    uint32_t count;
    uint32_t asked;
    uint32_t order[CLIENTS]; /* in which they were asked */
};

static struct house house;

/* --- the wire ------------------------------------------------------------------------------- */

static void go_away(struct client *c, uint32_t retry_ms) {
    struct guest *guest = (struct guest *)c;
    assert_int_equal(guest->retry, 0);
    guest->retry = retry_ms;
    house.order[house.asked++] = (uint32_t)(guest - house.guests);
}

static void mark_freed(struct client *c) {
    ((struct guest *)c)->freed = true;
}

static const struct client_ops ops = {.wire = WIRE_WS, .go_away = go_away, .free = mark_freed};
static const struct client_ops one_shot = {.wire = WIRE_POST, .free = mark_freed};

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
    assert_string_equal(reason, "shutdown");
    client_release(c);
}

static bool is_busy(struct app *app, const struct client *c) {
    (void)app;
    return ((const struct guest *)c)->busy;
}

static struct guest *enter(const struct client_ops *with) {
    struct guest *guest = &house.guests[house.count++];
    guest->client.ops = with;
    client_open(&guest->client, house.ns, NULL);
    return guest;
}

static int set_up(void **state) {
    (void)state;
    memset(&house, 0, sizeof house);
    config_init(&house.config);
    arena_init(&house.arena);
    STAILQ_INIT(&house.closed);
    house.app.on_close = on_close;
    house.app.is_busy = is_busy;
    house.hub = hub_new(&house.config, &house.metrics, &house.arena, &house.app, defer, NULL);
    house.ns = ns_ref(hub_ns(house.hub, SPAN("/"), true));
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    for (uint32_t i = 0; i < house.count; i++) {
        if (!house.guests[i].freed) {
            client_closed(&house.guests[i].client, "shutdown");
        }
    }
    end_turn();
    for (uint32_t i = 0; i < house.count; i++) {
        assert_true(house.guests[i].freed);
    }
    hub_free(house.hub);
    arena_deinit(&house.arena);
    config_deinit(&house.config);
    return 0;
}

/* A long end, that begins at 1000. */
static struct drain *begin(uint64_t longest) {
    struct drain_plan plan = {.now = 1000, .longest = longest, .deadline = 81000};
    return drain_new(house.hub, &house.app, &plan);
}

/* --- the arithmetic ------------------------------------------------------------------------- */

static void test_the_window_is_short_for_few(void **state) {
    (void)state;
    assert_int_equal(drain_window_for(0, 5000, 10000), 0);
    assert_true(drain_window_for(3, 5000, 10000) <= 3);
    assert_int_equal(drain_window_for(2000, 5000, 10000), 2000);
    assert_int_equal(drain_window_for(1000000, 5000, 10000), 5000);
    assert_int_equal(drain_window_for(2000, 0, 10000), 0);
}

static void test_the_window_leaves_time_for_what_follows(void **state) {
    (void)state;
    assert_int_equal(drain_window_for(1000000, 60000, 8000), 6000);
    assert_int_equal(drain_window_for(1000000, 60000, 0), 0);
}

static void test_everybody_is_due_at_the_end_and_nobody_before_the_beginning(void **state) {
    (void)state;
    assert_int_equal(drain_due(2000, 0, 2000), 0);
    assert_int_equal(drain_due(2000, 2000, 2000), 2000);
    assert_int_equal(drain_due(2000, 9999, 2000), 2000);
    assert_int_equal(drain_due(7, 0, 0), 7);
    assert_int_equal(drain_due(0, 0, 0), 0);
    assert_int_equal(drain_due(100000000, 1800000, 3600000), 50000000);
}

static void test_no_part_of_the_window_has_more_than_its_share(void **state) {
    (void)state;
    size_t before = 0;
    for (uint64_t passed = 10; passed <= 5000; passed += 10) {
        size_t due = drain_due(12345, passed, 5000);
        assert_in_range(due - before, 24, 25);
        before = due;
    }
    assert_int_equal(before, 12345);
}

/* Whenever they are asked: nobody is back before the window is over, and they come over as long a
 * time as they were asked in. */
static void test_who_comes_back_comes_after_the_window(void **state) {
    (void)state;
    for (uint64_t passed = 0; passed <= 4000; passed += 100) {
        assert_int_equal(passed + drain_retry(passed, 4000, 0), 4500);
        assert_int_equal(passed + drain_retry(passed, 4000, UINT32_MAX / 2 + 1), 6500);
        assert_int_equal(passed + drain_retry(passed, 4000, UINT32_MAX), 8499);
    }
    assert_int_equal(drain_retry(9999, 4000, 0), 500);
}

static void test_even_few_do_not_come_at_once_nor_together(void **state) {
    (void)state;
    assert_int_equal(drain_retry(0, 0, 0), 500);
    assert_int_equal(drain_retry(0, 0, UINT32_MAX), 1499);
}

/* --- asking --------------------------------------------------------------------------------- */

static void test_all_are_asked_evenly(void **state) {
    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        enter(&ops);
    }
    struct drain *drain = begin(60000);
    assert_int_equal(drain_window(drain), CLIENTS);
    for (uint32_t passed = 0; passed < CLIENTS; passed += 10) {
        assert_false(drain_step(drain, 1000 + passed, false));
        assert_int_equal(house.asked, passed);
    }
    assert_true(drain_step(drain, 1000 + CLIENTS, false));
    assert_int_equal(house.asked, CLIENTS);
    assert_true(drain_step(drain, 1000 + CLIENTS, false));
    drain_free(drain);
}

/* So that no room is emptied before others are touched: the neighbours in the table, who came
 * together, are not neighbours in the order. By chance two of them in it happen often, twenty in
 * 200 hardly ever. */
static void test_the_order_is_random(void **state) {
    (void)state;
    uint32_t neighbours = 0;
    for (int i = 0; i < CLIENTS; i++) {
        enter(&ops);
    }
    struct drain *drain = begin(0);
    assert_true(drain_step(drain, 1000, false));
    for (uint32_t i = 1; i < CLIENTS; i++) {
        neighbours += house.order[i] == house.order[i - 1] + 1;
    }
    assert_true(neighbours < 20);
    drain_free(drain);
}

/* Each part of the time over which they may come back gets its share of the hints: 25 on average,
 * and fewer than 3 never in a lifetime of runs. */
static void test_the_hints_are_spread(void **state) {
    (void)state;
    uint32_t parts[PARTS] = {0};
    for (int i = 0; i < CLIENTS; i++) {
        enter(&ops);
    }
    struct drain *drain = begin(0);
    assert_true(drain_step(drain, 1000, false));
    for (int i = 0; i < CLIENTS; i++) {
        assert_in_range(house.guests[i].retry, 500, 1499);
        parts[(house.guests[i].retry - 500) * PARTS / 1000]++;
    }
    for (int i = 0; i < PARTS; i++) {
        assert_true(parts[i] >= 3);
    }
    drain_free(drain);
}

static void test_with_nobody_there_is_nothing_to_do(void **state) {
    (void)state;
    struct drain *drain = begin(60000);
    assert_true(drain_step(drain, 1000, false));
    drain_free(drain);
    drain_free(NULL);
}

static void test_who_waits_for_a_reply_is_asked_after_it(void **state) {
    (void)state;
    struct guest *first = enter(&ops), *second = enter(&ops), *idle = enter(&ops);
    first->busy = second->busy = true;
    struct drain *drain = begin(60000);
    assert_false(drain_step(drain, 2000, false));
    assert_true(idle->retry && !first->retry && !second->retry);
    second->busy = false;
    assert_false(drain_step(drain, 3000, false));
    assert_true(second->retry && !first->retry);
    first->busy = false;
    assert_true(drain_step(drain, 4000, false));
    assert_true(first->retry);
    drain_free(drain);
}

static void test_the_wait_for_replies_ends_before_the_deadline(void **state) {
    (void)state;
    struct guest *guest = enter(&ops);
    guest->busy = true;
    struct drain *drain = begin(60000);
    assert_false(drain_step(drain, 70999, false));
    assert_int_equal(guest->retry, 0);
    assert_true(drain_step(drain, 71000, false));
    assert_true(guest->retry);
    drain_free(drain);
}

static void test_all_can_be_asked_at_once(void **state) {
    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        enter(&ops)->busy = i % 2;
    }
    struct drain *drain = begin(60000);
    assert_false(drain_step(drain, 1100, false));
    assert_in_range(house.asked, 1, CLIENTS / 2); /* of whom about half are busy */
    assert_true(drain_step(drain, 1100, true));
    assert_int_equal(house.asked, CLIENTS);
    drain_free(drain);
}

static void test_who_has_gone_is_not_asked(void **state) {
    (void)state;
    struct guest *leaver = enter(&ops), *stayer = enter(&ops), *poster = enter(&one_shot);
    struct drain *drain = begin(60000);
    client_closed(&leaver->client, "shutdown");
    end_turn();
    assert_true(drain_step(drain, 2000, false));
    assert_true(stayer->retry && !leaver->retry && !poster->retry);
    drain_free(drain);
}

static void test_where_all_have_gone_nobody_is_waited_for(void **state) {
    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        enter(&ops);
    }
    struct drain *drain = begin(60000);
    assert_false(drain_step(drain, 1010, false));
    for (int i = 0; i < CLIENTS; i++) {
        client_closed(&house.guests[i].client, "shutdown");
    }
    end_turn();
    assert_true(drain_step(drain, 1020, false));
    assert_int_equal(house.asked, 10);
    drain_free(drain);
}

/* Another namespace over a connection of Socket.IO that was there already. */
static void test_who_comes_meanwhile_is_asked_too(void **state) {
    (void)state;
    enter(&ops);
    struct drain *drain = begin(60000);
    struct guest *late = enter(&ops);
    bool done = false;
    for (uint64_t now = 2000; !done && now < 2100; now += 10) {
        done = drain_step(drain, now, false);
        end_turn();
    }
    assert_true(done && late->retry);
    drain_free(drain);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_window_is_short_for_few),
        cmocka_unit_test(test_the_window_leaves_time_for_what_follows),
        cmocka_unit_test(test_everybody_is_due_at_the_end_and_nobody_before_the_beginning),
        cmocka_unit_test(test_no_part_of_the_window_has_more_than_its_share),
        cmocka_unit_test(test_who_comes_back_comes_after_the_window),
        cmocka_unit_test(test_even_few_do_not_come_at_once_nor_together),
        TEST(test_all_are_asked_evenly),
        TEST(test_the_order_is_random),
        TEST(test_the_hints_are_spread),
        TEST(test_with_nobody_there_is_nothing_to_do),
        TEST(test_who_waits_for_a_reply_is_asked_after_it),
        TEST(test_the_wait_for_replies_ends_before_the_deadline),
        TEST(test_all_can_be_asked_at_once),
        TEST(test_who_has_gone_is_not_asked),
        TEST(test_where_all_have_gone_nobody_is_waited_for),
        TEST(test_who_comes_meanwhile_is_asked_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
