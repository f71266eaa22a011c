/* Timeouts and the end of a turn. */
#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct timed {
    struct timeout timeout;
    struct fixture *f;
    uint64_t at;
    int times;
    int again; /* how often to restart itself */
};

static void on_expired(struct timeout *timeout) {
    struct timed *t = (struct timed *)timeout;
    t->at = uv_now(&t->f->loop);
    t->times++;
    if (t->again-- > 0)
        timeout_start(&t->f->io, timeout, 3);
}

static void timed_init(struct timed *t, struct fixture *f) {
    *t = (struct timed){.f = f, .timeout.expired = on_expired};
}

static void test_timeouts_expire_in_order_of_their_due(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    struct timed late, soon, stopped;
    timed_init(&late, &f);
    timed_init(&soon, &f);
    timed_init(&stopped, &f);
    uint64_t start = uv_now(&f.loop);
    timeout_start(&f.io, &late.timeout, 30);
    timeout_start(&f.io, &soon.timeout, 5);
    timeout_start(&f.io, &stopped.timeout, 5);
    timeout_stop(&stopped.timeout);
    timeout_stop(&stopped.timeout);
    RUN_UNTIL(&f, soon.times == 1);
    assert_int_equal(late.times, 0);
    assert_true(soon.at - start >= 5);
    RUN_UNTIL(&f, late.times == 1);
    assert_true(late.at - start >= 30);
    assert_true(late.at >= soon.at);
    assert_int_equal(stopped.times, 0);
    fixture_deinit(&f);
}

static void test_timeout_restarted_while_it_runs_counts_from_then(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    struct timed first, second;
    timed_init(&first, &f);
    timed_init(&second, &f);
    timeout_start(&f.io, &first.timeout, 10);
    timeout_start(&f.io, &second.timeout, 10);
    timeout_start(&f.io, &first.timeout, 10); /* Now stands behind the second. */
    assert_ptr_equal(second.timeout.next, &first.timeout);
    RUN_UNTIL(&f, first.times && second.times);
    assert_int_equal(first.times, 1);
    fixture_deinit(&f);
}

static void test_timeout_may_start_itself_and_zero_does_not_spin(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    struct timed t;
    timed_init(&t, &f);
    t.again = 4;
    timeout_start(&f.io, &t.timeout, 0);
    RUN_UNTIL(&f, t.times == 5);
    assert_false(timeout_running(&t.timeout));
    fixture_deinit(&f);
}

/* The classes do not multiply with the number of durations that have ever been used. */
static void test_empty_classes_are_used_again(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    struct timed t;
    timed_init(&t, &f);
    timeout_start(&f.io, &t.timeout, 999);
    const struct timeout *head = t.timeout.next; /* of the ring in which it is alone */
    for (uint64_t duration = 1; duration <= 1000; duration++) {
        timeout_start(&f.io, &t.timeout, duration * 1000);
        assert_ptr_equal(t.timeout.next, head);
    }
    timeout_stop(&t.timeout);
    fixture_deinit(&f);
}

struct late {
    struct deferred deferred;
    struct io *io;
    int *log;
    int *count;
    int value;
    struct deferred *then; /* put off by this one when it runs */
};

static void on_late(struct deferred *deferred) {
    struct late *late = (struct late *)deferred;
    late->log[(*late->count)++] = late->value;
    if (late->then)
        io_defer_closed(late->io, late->then);
}

static void test_a_turn_ends_when_no_late_work_is_left(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    int log[8];
    int count = 0;
    struct late last = {{.run = on_late}, &f.io, log, &count, 3, NULL};
    struct late second = {{.run = on_late}, &f.io, log, &count, 2, &last.deferred};
    struct late first = {{.run = on_late}, &f.io, log, &count, 1, NULL};
    io_defer_closed(&f.io, &first.deferred);
    io_defer_closed(&f.io, &second.deferred);
    io_defer_closed(&f.io, &first.deferred); /* Queued at most once. */
    fixture_turn(&f);
    assert_int_equal(count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(log[i], i + 1);
    assert_false(uv_is_active((uv_handle_t *)&f.io.idle));
    fixture_deinit(&f);
}

/* Work that always makes more work must not keep the loop from polling. */
static void test_endless_late_work_is_bounded_per_turn(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    int log[100];
    int count = 0;
    struct late endless = {{.run = on_late}, &f.io, log, &count, 1, NULL};
    endless.then = &endless.deferred;
    io_defer_closed(&f.io, &endless.deferred);
    fixture_turn(&f);
    assert_true(count > 0 && count < 100);
    assert_true(uv_is_active((uv_handle_t *)&f.io.idle)); /* It goes on in the next turn. */
    endless.then = NULL;
    fixture_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timeouts_expire_in_order_of_their_due),
        cmocka_unit_test(test_timeout_restarted_while_it_runs_counts_from_then),
        cmocka_unit_test(test_timeout_may_start_itself_and_zero_does_not_spin),
        cmocka_unit_test(test_empty_classes_are_used_again),
        cmocka_unit_test(test_a_turn_ends_when_no_late_work_is_left),
        cmocka_unit_test(test_endless_late_work_is_bounded_per_turn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
