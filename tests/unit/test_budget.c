/* The watchdog: calls that do not end are ended, whatever they try, and no others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

static struct script_fixture f;
static const char over[] = "the handler ran longer than 0.03 s without waiting";

static int open_lua(void **state) {
    (void)state;
    script_fixture_open(&f, 30, 0);
    return 0;
}

static int close_lua(void **state) {
    (void)state;
    script_fixture_close(&f);
    return 0;
}

/* Ends, or the test program never does. */
static void assert_stopped(const char *code, const char *lines) {
    struct piece piece;
    assert_non_null(strstr(run_to_end(&f, &piece, code), over));
    assert_int_equal(piece.how, TASK_FAILED);
    if (lines != NULL) {
        assert_string_equal(piece.lines, lines);
    }
    assert_string_equal(
        run_to_end(&f, &piece, "local n = 0 for i = 1, 1000 do n = n + i end return n"), "500500");
}

static void stops_a_loop(void **state) {
    (void)state;
    assert_stopped("local function spin()\n while true do end\nend\nspin()",
                   "piece:2 in local 'spin' < piece:4 in the main chunk");
}

static void stops_a_loop_of_pcalls(void **state) {
    (void)state;
    assert_stopped("while true do pcall(function() while true do end end) end", NULL);
    assert_stopped("while true do pcall(error) end", NULL);
    assert_stopped("while true do xpcall(function() while true do end end, "
                   "function() while true do end end) end",
                   NULL);
}

static void stops_inside_coroutines(void **state) {
    (void)state;
    assert_stopped("local co = coroutine.wrap(function()\n"
                   "  local inner = coroutine.create(function()\n"
                   "    while true do pcall(function() while true do end end) end\n"
                   "  end)\n"
                   "  while true do pcall(coroutine.resume, inner) end\n"
                   "end)\n"
                   "while true do pcall(co) end",
                   NULL);
    assert_stopped("while true do coroutine.wrap(function() coroutine.yield() end)() end", NULL);
}

static void stops_where_nothing_can_yield(void **state) {
    (void)state;
    assert_stopped("table.sort({1, 2, 3}, function() while true do end end)", NULL);
    assert_stopped("while true do string.gsub('a', 'a', function()\n"
                   " while true do pcall(function() while true do end end) end end) end",
                   NULL);
    assert_stopped("string.gsub('a', 'a', function()\n"
                   " while true do coroutine.wrap(function() while true do end end)() end end)",
                   NULL);
    assert_stopped(
        "return tostring(setmetatable({}, {__tostring = function() while true do end end}))", NULL);
}

static void stops_what_closes(void **state) {
    (void)state;
    struct piece piece;
    assert_stopped(
        "local x <close> = setmetatable({}, {__close = function() while true do end end})\n"
        "while true do end",
        NULL);
    run_to_end(&f, &piece,
               "local x <close> = setmetatable({}, {__close = function() while true do end end})\n"
               "error('boom', 0)");
    assert_string_equal(piece.message, "boom");
}

static void waiting_is_not_counted(void **state) {
    (void)state;
    struct piece piece;
    assert_string_equal(run_to_end(&f, &piece,
                                   "local mw = require 'moonwire'\n"
                                   "for i = 1, 10 do mw.sleep(0.01) end\n"
                                   "return 'well'"),
                        "well");
}

/* The signal may come when a call is about to wait, with no instruction of Lua's left to stop at: a
 * long conversion is all that happens here. The call has waited then, and goes on. */
static void a_call_that_waits_at_last_is_left_alone(void **state) {
    (void)state;
    struct piece piece;
    const size_t size = (size_t)64 << 20;
    char *text = malloc(size);
    memset(text, ' ', size);
    text[size - 1] = '0';
    lua_pushlstring(f.script.L, text, size);
    lua_setglobal(f.script.L, "text");
    free(text);
    assert_string_equal(run_to_end(&f, &piece,
                                   "local co = coroutine.create(require 'moonwire.core'.sleep)\n"
                                   "local ok = coroutine.resume(co, text)\n"
                                   "return tostring(ok) .. coroutine.status(co)"),
                        "truedead");
}

/* C that writes for long looks at the budget itself. */
static void stops_json_that_never_ends(void **state) {
    (void)state;
    assert_stopped("local t = 'x' for i = 1, 60 do t = {t, t} end\n"
                   "while true do pcall(require 'moonwire'.json.encode, t) end",
                   NULL);
}

/* What an earlier call has left armed does not stop a later one. */
static void a_coroutine_that_was_stopped_in_may_be_used(void **state) {
    (void)state;
    struct piece piece;
    run_to_end(
        &f, &piece,
        "kept = coroutine.wrap(function()\n"
        "  local ok\n"
        "  string.gsub('a', 'a', function() ok = pcall(function() while true do end end) end)\n"
        "  coroutine.yield(1)\n"
        "  return 2\n"
        "end)\n"
        "return kept()");
    assert_non_null(strstr(piece.message, over));
    assert_string_equal(
        run_to_end(&f, &piece, "local n = 0 for i = 1, 100000 do n = n + 1 end return n"),
        "100000");
}

/* Many calls, each about as long as the budget, so that signals arrive at their ends too: each call
 * that is stopped says so, and none of the short ones in between ever is. */
static void never_stops_the_next_call(void **state) {
    (void)state;
    struct piece piece;
    script_fixture_close(&f);
    script_fixture_open(&f, 2, 0);
    for (int i = 0; i < 200; i++) {
        run_to_end(
            &f, &piece,
            "local clock, from = os.clock, os.clock() while clock() - from < 0.00205 do end");
        assert_true(piece.how == TASK_RETURNED || strstr(piece.message, "longer than") != NULL);
        run_to_end(&f, &piece, "return 'short'");
        assert_string_equal(piece.result, "short");
    }
}

static void without_a_budget_nothing_is_stopped(void **state) {
    (void)state;
    struct piece piece;
    script_fixture_close(&f);
    script_fixture_open(&f, 0, 0);
    assert_string_equal(run_to_end(&f, &piece,
                                   "local from = os.clock() while os.clock() - from < 0.1 do end "
                                   "return 'well'"),
                        "well");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_lua, close_lua)
    const struct CMUnitTest tests[] = {
        TEST(stops_a_loop),
        TEST(stops_a_loop_of_pcalls),
        TEST(stops_inside_coroutines),
        TEST(stops_where_nothing_can_yield),
        TEST(stops_what_closes),
        TEST(stops_json_that_never_ends),
        TEST(waiting_is_not_counted),
        TEST(a_call_that_waits_at_last_is_left_alone),
        TEST(a_coroutine_that_was_stopped_in_may_be_used),
        TEST(never_stops_the_next_call),
        TEST(without_a_budget_nothing_is_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
