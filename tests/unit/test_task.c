/* Tasks: running, waiting, errors and the end, with real coroutines and a real loop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script_fixture.h"

static struct script_fixture f;

static int open_lua(void **state) {
    (void)state;
    script_fixture_open(&f, 1000, 0);
    return 0;
}

static int close_lua(void **state) {
    (void)state;
    script_fixture_close(&f);
    return 0;
}

static void returns_its_results(void **state) {
    (void)state;
    struct piece piece;
    run_piece(&f, &piece, "return 'hello', 2");
    assert_int_equal(piece.runs, 1);
    assert_int_equal(piece.how, TASK_RETURNED);
    assert_string_equal(piece.result, "hello");
    assert_int_equal(f.metrics.handler_calls[HOOK_ROUTE], 1);
    assert_int_equal(f.metrics.handler_errors[HOOK_ROUTE], 0);
}

static void tells_the_lines_of_an_error(void **state) {
    (void)state;
    struct piece piece;
    run_piece(&f, &piece,
              "local function inner(t)\n return t.a.b\nend\n\nlocal x = inner{}\nreturn x");
    assert_int_equal(piece.how, TASK_FAILED);
    assert_string_equal(piece.message, "piece:2: attempt to index a nil value (field 'a')");
    assert_string_equal(piece.lines, "piece:2 in local 'inner' < piece:5 in the main chunk");
    assert_int_equal(f.metrics.handler_errors[HOOK_ROUTE], 1);
}

static void shows_errors_that_are_no_text(void **state) {
    (void)state;
    struct piece piece;
    assert_string_equal(run_to_end(&f, &piece, "error({code = 'x'})"), "{\"code\":\"x\"}");
    assert_string_equal(run_to_end(&f, &piece, "error()"), "nil");
    assert_string_equal(
        run_to_end(&f, &piece,
                   "error(setmetatable({}, {__tostring = function() return 'mine' end}))"),
        "mine");
    assert_string_equal(
        run_to_end(&f, &piece, "error(setmetatable({}, {__tostring = function() error 'no' end}))"),
        "an error value that cannot be shown");
}

/* The metamethods of an error run when its handler has failed: with a budget, and a place to spawn
 * from, but where nothing can wait. */
static void metamethods_of_errors_are_kept_in_check(void **state) {
    (void)state;
    struct piece piece;
    script_fixture_close(&f);
    script_fixture_open(&f, 30, 0);
    run_to_end(&f, &piece,
               "error(setmetatable({}, {__tostring = function() while true do end end}))");
    assert_string_equal(piece.message, "an error value that cannot be shown");
    run_to_end(&f, &piece,
               "error(setmetatable({}, {__tostring = function()\n"
               "  local ok, e = pcall(require 'moonwire'.sleep, 1) return e end}))");
    assert_non_null(strstr(piece.message, "mw.sleep cannot wait inside a metamethod"));
    run_to_end(&f, &piece,
               "local spawn = require 'moonwire'.spawn\n"
               "ran = 0\n"
               "local function more() spawn(function() ran = ran + 1 end) return 'spawned' end\n"
               "local x <close> = setmetatable({}, {__close = more})\n"
               "error(setmetatable({}, {__tostring = more}))");
    assert_string_equal(piece.message, "spawned");
    assert_string_equal(run_to_end(&f, &piece, "return ran"), "2");
}

static int is_in_order(const char *log, const char *a, const char *b) {
    const char *first = strstr(log, a);
    return first != NULL && strstr(first, b) != NULL;
}

/* One line of the log for one error: with the hook, what went wrong and where. */
static int begin_failing(lua_State *L, void *data) {
    (void)data;
    luaL_loadstring(L, "error('boom', 0)");
    return 0;
}

static void describe_failing(const void *data, struct log_line *line) {
    (void)data;
    log_field(line, "event", SPAN("say"));
}

static void logs_an_error_once(void **state) {
    (void)state;
    static const struct task_kind failing = {
        .hook = HOOK_EVENT, .begin = begin_failing, .describe = describe_failing};
    task_run(&f.script, &failing, NULL, NULL, NULL);
    const char *log = fixture_log(&f).at;
    assert_true(is_in_order(log, "handler failed", "event=say"));
    assert_true(is_in_order(log, "hook=", "error=boom"));
    assert_null(strchr(strchr(log, '\n') + 1, '\n'));
}

static void uses_a_coroutine_again(void **state) {
    (void)state;
    struct piece piece;
    run_piece(&f, &piece, "return coroutine.running()");
    char first[64];
    strcpy(first, piece.result);
    run_piece(&f, &piece, "return coroutine.running()");
    assert_string_equal(piece.result, first);
    run_piece(&f, &piece, "error 'boom'");
    assert_string_equal(run_to_end(&f, &piece, "return 'well'"), "well");
}

static void costs_no_memory_of_its_own(void **state) {
    (void)state;
    struct piece piece;
    for (int i = 0; i < 10; i++) {
        run_to_end(&f, &piece, "collectgarbage() return 1");
    }
    size_t before = script_memory(&f.script);
    for (int i = 0; i < 1000; i++) {
        run_piece(&f, &piece, "return true");
    }
    run_to_end(&f, &piece, "collectgarbage() return 1");
    assert_in_range(script_memory(&f.script), 0, before + 256);
}

static void waits_and_goes_on(void **state) {
    (void)state;
    struct piece piece;
    run_piece(&f, &piece, "local mw = require 'moonwire.core' mw.sleep(0.01) return 'later'");
    assert_int_equal(piece.runs, 0);
    assert_int_equal(tasks_waiting(&f.script), 1);
    while (piece.runs == 0) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    assert_string_equal(piece.result, "later");
    assert_int_equal(tasks_waiting(&f.script), 0);
}

static void waits_inside_pcall_and_coroutines(void **state) {
    (void)state;
    struct piece piece;
    assert_string_equal(
        run_to_end(&f, &piece,
                   "local sleep = require 'moonwire.core'.sleep\n"
                   "local out = {}\n"
                   "local co = coroutine.wrap(function(a)\n"
                   "  out[#out + 1] = a\n"
                   "  local ok, e = pcall(function() sleep(0.001) error('in', 0) end)\n"
                   "  out[#out + 1] = e\n"
                   "  local inner = coroutine.create(function() sleep(0.001) return 'deep' end)\n"
                   "  local _, deep = coroutine.resume(inner)\n"
                   "  out[#out + 1] = deep .. coroutine.status(inner)\n"
                   "  out[#out + 1] = coroutine.yield('yielded')\n"
                   "  sleep(0.001)\n"
                   "  return 'end'\n"
                   "end)\n"
                   "local a = co('start')\n"
                   "local b = co('again')\n"
                   "return table.concat(out, ' ') .. ', ' .. a .. ' ' .. b"),
        "start in deepdead again, yielded end");
}

static void a_waiting_coroutine_is_nobody_elses(void **state) {
    (void)state;
    struct piece first;
    struct piece second;
    run_piece(&f, &first,
              "local sleep = require 'moonwire.core'.sleep\n"
              "co = coroutine.create(function() sleep(0.01) return 'mine' end)\n"
              "return select(2, coroutine.resume(co))");
    assert_string_equal(run_to_end(&f, &second, "return select(2, coroutine.resume(co))"),
                        "cannot resume a coroutine that waits (in mw.sleep or the like)");
    assert_string_equal(run_to_end(&f, &second,
                                   "return coroutine.status(co) .. "
                                   "select(2, pcall(coroutine.close, co))"),
                        "normalcannot close a normal coroutine");
    while (first.runs == 0) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    assert_string_equal(first.result, "mine");
}

static void says_where_it_cannot_wait(void **state) {
    (void)state;
    struct piece piece;
    assert_non_null(
        strstr(run_to_end(&f, &piece,
                          "local sleep = require 'moonwire.core'.sleep\n"
                          "table.sort({2, 1}, function(a, b) sleep(1) return a < b end)"),
               "piece:2: mw.sleep cannot wait inside 'sort'"));
    assert_non_null(strstr(
        run_to_end(
            &f, &piece,
            "local sleep = require 'moonwire.core'.sleep\n"
            "string.gsub('a', '.', function() coroutine.wrap(function() sleep(1) end)() end)"),
        "mw.sleep cannot wait inside 'gsub'"));
    assert_int_equal(tasks_waiting(&f.script), 0);
}

static void a_handlers_coroutine_is_the_main_one(void **state) {
    (void)state;
    struct piece piece;
    assert_string_equal(run_to_end(&f, &piece, "return select(2, coroutine.running())"), "true");
    assert_string_equal(run_to_end(&f, &piece, "return coroutine.isyieldable()"), "false");
    assert_non_null(strstr(run_to_end(&f, &piece, "coroutine.yield()"),
                           "attempt to yield from outside a coroutine"));
    assert_string_equal(run_to_end(&f, &piece,
                                   "local co = coroutine.wrap(function() "
                                   "return select(2, coroutine.running()), "
                                   "coroutine.isyieldable() end) "
                                   "local a, b = co() return tostring(a) .. tostring(b)"),
                        "falsetrue");
}

static void resuming_oneself_is_an_error(void **state) {
    (void)state;
    struct piece piece;
    assert_string_equal(
        run_to_end(&f, &piece,
                   "local ok, e = coroutine.resume(coroutine.running()) return tostring(ok) .. e"),
        "falsecannot resume non-suspended coroutine");
}

static void closes_what_an_error_leaves_open(void **state) {
    (void)state;
    struct piece piece;
    run_to_end(&f, &piece,
               "local x <close> = setmetatable({}, {__close = function(_, e) closed = e end})\n"
               "error('boom', 0)");
    assert_string_equal(run_to_end(&f, &piece, "return closed"), "boom");
    assert_non_null(strstr(run_to_end(&f, &piece,
                                      "local sleep = require 'moonwire.core'.sleep\n"
                                      "local ok, e = coroutine.close(coroutine.create(print))\n"
                                      "local co = coroutine.create(function()\n"
                                      " local x <close> = setmetatable({}, {__close = "
                                      "function() sleep(1) end}) coroutine.yield() end)\n"
                                      "coroutine.resume(co)\n"
                                      "return select(2, coroutine.close(co))"),
                           "mw.sleep cannot wait inside a metamethod"));
}

/* What becomes ready while Lua runs waits until that has returned. */
static void spawned_runs_after_its_maker(void **state) {
    (void)state;
    struct piece piece;
    run_to_end(&f, &piece,
               "order = {}\n"
               "local core = require 'moonwire.core'\n"
               "core.spawn(function(x) order[#order + 1] = x end, 'spawned')\n"
               "order[#order + 1] = 'maker'");
    assert_string_equal(run_to_end(&f, &piece, "return table.concat(order, ' ')"), "maker spawned");
}

static void spawned_gets_every_argument(void **state) {
    (void)state;
    struct piece piece;
    run_to_end(&f, &piece,
               "require 'moonwire'.spawn(function(...)\n"
               "  got = select('#', ...) .. tostring((select(3, ...))) end, nil, nil, 'x', nil)");
    assert_string_equal(run_to_end(&f, &piece, "return got"), "4x");
}

/* Tasks that spawn tasks for ever leave the loop its turns. */
static void does_not_starve_the_loop(void **state) {
    (void)state;
    struct piece piece;
    struct piece waiting;
    run_piece(&f, &waiting, "require 'moonwire.core'.sleep(0.001) done = true return 'awake'");
    run_piece(&f, &piece,
              "local core = require 'moonwire.core'\n"
              "local function again() if not done then core.spawn(again) end end\n"
              "again()");
    while (waiting.runs == 0) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    assert_string_equal(waiting.result, "awake");
}

static void wants_of_memory_are_an_error(void **state) {
    (void)state;
    struct piece piece;
    script_fixture_close(&f);
    script_fixture_open(&f, 0, 4 << 20);
    assert_string_equal(run_to_end(&f, &piece, "return ('x'):rep(8 << 20)"), "not enough memory");
    assert_string_equal(run_to_end(&f, &piece, "local t = {} while true do t[#t + 1] = {} end"),
                        "not enough memory");
    assert_string_equal(run_to_end(&f, &piece, "kept = {} while true do kept[#kept + 1] = {} end"),
                        "not enough memory");
    /* What is full stays full until somebody lets go. */
    lua_pushnil(f.script.L);
    lua_setglobal(f.script.L, "kept");
    assert_string_equal(run_to_end(&f, &piece, "return ('x'):rep(1000):len()"), "1000");
}

static void abandons_what_waits_at_the_end(void **state) {
    (void)state;
    static struct piece piece;
    run_piece(&f, &piece, "local core = require 'moonwire.core' core.sleep(3600)");
    script_fixture_close(&f);
    assert_int_equal(piece.runs, 1);
    assert_int_equal(piece.how, TASK_ABANDONED);
    script_fixture_open(&f, 1000, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_lua, close_lua)
    const struct CMUnitTest tests[] = {
        TEST(returns_its_results),
        TEST(tells_the_lines_of_an_error),
        TEST(shows_errors_that_are_no_text),
        TEST(metamethods_of_errors_are_kept_in_check),
        TEST(logs_an_error_once),
        TEST(uses_a_coroutine_again),
        TEST(costs_no_memory_of_its_own),
        TEST(waits_and_goes_on),
        TEST(waits_inside_pcall_and_coroutines),
        TEST(a_waiting_coroutine_is_nobody_elses),
        TEST(says_where_it_cannot_wait),
        TEST(a_handlers_coroutine_is_the_main_one),
        TEST(resuming_oneself_is_an_error),
        TEST(closes_what_an_error_leaves_open),
        TEST(spawned_runs_after_its_maker),
        TEST(spawned_gets_every_argument),
        TEST(does_not_starve_the_loop),
        TEST(wants_of_memory_are_an_error),
        TEST(abandons_what_waits_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
