/* Versions: a file and its modules run in an environment of their own, and go when nobody needs
 * them any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script/version.h"
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

/* Loads app.lua; what is wrong with it, or NULL and it is in service. */
static const char *reload(void) {
    static char text[1024];
    struct writer error = {NULL};
    struct version *v;
    int r = version_load(&f.script, &v, &error);
    if (r == 0) {
        version_commit(&f.script, v);
    } else {
        struct span span = writer_span(&error);
        assert_int_equal(r, UV_EINVAL);
        snprintf(text, sizeof(text), "%.*s", (int)span.len, span.at);
    }
    version_unref(v);
    writer_deinit(&error);
    return r == 0 ? NULL : text;
}

static void assert_app_says(const char *expected) {
    struct piece piece;
    assert_string_equal(run_to_end(&f, &piece, "return app()"), expected);
}

static void runs_a_file_in_fresh_globals(void **state) {
    (void)state;
    fixture_write(&f, "app.lua",
                  "assert(count == nil) count = 1 app = function() return 'one' end");
    assert_null(reload());
    assert_int_equal(f.script.version->number, 1);
    assert_app_says("one");
    assert_null(reload());
    assert_int_equal(f.script.version->number, 2);
}

static void modules_are_fresh_and_remembered(void **state) {
    (void)state;
    char path[128];
    fixture_write(&f, "part.lua", "local n = 0 return function() n = n + 1 return n end");
    fixture_write(&f, "app.lua",
                  "local part = require 'part' assert(part == require 'part') app = part");
    assert_null(reload());
    assert_app_says("1");
    assert_app_says("2");
    assert_int_equal(f.script.version->file_count, 2);
    snprintf(path, sizeof(path), "%s/part.lua", f.dir);
    assert_string_equal(f.script.version->files[0], f.path);
    assert_string_equal(f.script.version->files[1], path);
    assert_null(reload());
    assert_app_says("1");
}

static void a_broken_file_changes_nothing(void **state) {
    (void)state;
    fixture_write(&f, "app.lua",
                  "app = function() return ('x'):twice() end "
                  "function string.twice(s) return s .. s end");
    assert_null(reload());
    fixture_write(
        &f, "app.lua",
        "function string.twice() return 'other' end\nlocal function inner() error('boom') "
        "end\ninner()");
    const char *error = reload();
    assert_non_null(error);
    assert_non_null(strstr(error, "app.lua:2: boom\n  at "));
    assert_non_null(strstr(error, "app.lua:2 in local 'inner'"));
    assert_non_null(strstr(error, "app.lua:3 in the main chunk"));
    assert_int_equal(f.script.version->number, 1);
    assert_app_says("xx");
}

static void says_what_does_not_parse(void **state) {
    (void)state;
    fixture_write(&f, "app.lua", "local x =\n= 2");
    assert_non_null(strstr(reload(), "app.lua:2: unexpected symbol near '='"));
    fixture_write(&f, "app.lua", "require 'part'");
    fixture_write(&f, "part.lua", "x x");
    assert_non_null(strstr(reload(), "part.lua:1: syntax error near 'x'"));
    fixture_write(&f, "app.lua", "require 'nowhere'");
    assert_non_null(strstr(reload(), "module 'nowhere' not found"));
}

/* The files of an attempt are known, so that a watcher sees them mended. */
static void a_failed_version_knows_its_files(void **state) {
    (void)state;
    struct writer error = {NULL};
    struct version *v;
    fixture_write(&f, "app.lua", "require 'part'");
    fixture_write(&f, "part.lua", "error 'boom'");
    assert_int_equal(version_load(&f.script, &v, &error), UV_EINVAL);
    assert_int_equal(v->file_count, 2);
    version_unref(v);
    writer_deinit(&error);
}

static void a_missing_file_is_said(void **state) {
    (void)state;
    assert_non_null(strstr(reload(), "app.lua"));
    assert_null(f.script.version);
}

static void nothing_waits_while_loading(void **state) {
    (void)state;
    fixture_write(&f, "app.lua", "require 'moonwire'.sleep(1)");
    assert_non_null(strstr(
        reload(), "app.lua:1: mw.sleep: nothing can wait while a file loads; wait in a hook"));
    fixture_write(&f, "app.lua", "require 'part'");
    fixture_write(&f, "part.lua", "coroutine.wrap(function() require 'moonwire'.sleep(1) end)()");
    assert_non_null(strstr(reload(), "nothing can wait while a file loads"));
    assert_int_equal(tasks_waiting(&f.script), 0);
}

/* However many tasks are ready, and none of them takes what it does for loading. */
static void loading_goes_before_what_is_ready(void **state) {
    (void)state;
    struct piece piece;
    run_piece(&f, &piece,
              "local mw = require 'moonwire'\n"
              "for i = 1, 3000 do mw.spawn(mw.sleep, 0) end\n");
    fixture_write(&f, "app.lua", "");
    assert_null(reload());
    while (tasks_waiting(&f.script) > 0 || f.metrics.handler_calls[HOOK_SPAWN] < 3000) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    assert_int_equal(f.metrics.handler_errors[HOOK_SPAWN], 0);
}

static void loading_has_a_budget(void **state) {
    (void)state;
    script_fixture_close(&f);
    script_fixture_open(&f, 30, 0);
    fixture_write(&f, "app.lua", "while true do pcall(function() while true do end end) end");
    assert_non_null(strstr(reload(), "longer than 0.03 s"));
    fixture_write(&f, "app.lua", "require 'part'");
    fixture_write(&f, "part.lua", "while true do pcall(function() while true do end end) end");
    assert_non_null(strstr(reload(), "longer than 0.03 s"));
}

/* What is spawned by a file begins when its version is in service, and never if it is not. */
static void spawns_begin_at_the_commit(void **state) {
    (void)state;
    struct writer error = {NULL};
    struct version *v;
    fixture_write(
        &f, "app.lua",
        "local mw = require 'moonwire' mw.spawn(function(x) app = function() return x end "
        "end, 'spawned')");
    assert_int_equal(version_load(&f.script, &v, &error), 0);
    version_unref(v); /* discarded */
    assert_int_equal(version_load(&f.script, &v, &error), 0);
    assert_int_equal(f.metrics.handler_calls[HOOK_SPAWN], 0);
    version_commit(&f.script, v);
    version_unref(v);
    assert_int_equal(f.metrics.handler_calls[HOOK_SPAWN], 1);
    assert_app_says("spawned");
    writer_deinit(&error);
}

static void state_survives(void **state) {
    (void)state;
    fixture_write(&f, "app.lua",
                  "local s = require 'moonwire'.state('kept', {n = 0}) s.n = s.n + 1 "
                  "app = function() return s.n end");
    assert_null(reload());
    assert_null(reload());
    assert_app_says("2");
}

/* A handler that waits over a reload finishes on the version it began on, `require` included. */
static void the_old_version_finishes(void **state) {
    (void)state;
    struct piece piece;
    fixture_write(&f, "part.lua", "return 'old part'");
    fixture_write(&f, "app.lua",
                  "name = 'old' local mw = require 'moonwire' "
                  "app = function() mw.sleep(0.01) return name .. ' ' .. require 'part' end");
    assert_null(reload());
    struct version *old = version_ref(f.script.version);
    run_piece(&f, &piece, "return app()");
    assert_int_equal(old->refs, 3);
    fixture_write(&f, "app.lua",
                  "name = 'new' part = require 'part' app = function() return name end");
    fixture_write(&f, "part.lua", "return 'new part'");
    assert_null(reload());
    assert_app_says("new");
    fixture_write(&f, "part.lua", "return 'old part, late'");
    while (piece.runs == 0) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    assert_string_equal(piece.result, "old old part, late");
    assert_int_equal(old->refs, 1);
    version_unref(old);
}

static size_t memory_now(void) {
    lua_gc(f.script.L, LUA_GCCOLLECT);
    lua_gc(f.script.L, LUA_GCCOLLECT);
    return script_memory(&f.script);
}

static void fifty_reloads_leave_memory_where_it_was(void **state) {
    (void)state;
    fixture_write(&f, "part.lua", "local t = {} for i = 1, 1000 do t[i] = {i} end return t");
    fixture_write(&f, "app.lua",
                  "local mw = require 'moonwire' local t = require 'part' "
                  "function string.count(s) return #t end "
                  "app = function() return ('x'):count() end");
    for (int i = 0; i < 5; i++) {
        assert_null(reload());
    }
    size_t before = memory_now();
    for (int i = 0; i < 50; i++) {
        fixture_write(&f, "part.lua",
                      i % 5 == 4 ? "error 'no'"
                                 : "local t = {} for i = 1, 1000 do t[i] = {i} end return t");
        assert_true((reload() != NULL) == (i % 5 == 4));
    }
    assert_app_says("1000");
    assert_in_range(memory_now(), 0, before + 2048);
}

static void log_lines_carry_the_version(void **state) {
    (void)state;
    struct piece piece;
    fixture_write(&f, "app.lua",
                  "app = function() print('hello', 1) "
                  "require 'moonwire'.log.warn('careful', {b = 2, a = {1}, [7] = 'seven'}) end");
    assert_null(reload());
    run_to_end(&f, &piece, "return app()");
    const char *log = fixture_log(&f).at;
    assert_non_null(strstr(log, "version=1"));
    assert_non_null(strstr(log, "a=[1]"));
    assert_non_null(strstr(log, "7=seven"));
    assert_true(strstr(log, "a=[1]") < strstr(log, "b=2"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_lua, close_lua)
    const struct CMUnitTest tests[] = {
        TEST(runs_a_file_in_fresh_globals),
        TEST(modules_are_fresh_and_remembered),
        TEST(a_broken_file_changes_nothing),
        TEST(says_what_does_not_parse),
        TEST(a_failed_version_knows_its_files),
        TEST(a_missing_file_is_said),
        TEST(nothing_waits_while_loading),
        TEST(loading_goes_before_what_is_ready),
        TEST(loading_has_a_budget),
        TEST(spawns_begin_at_the_commit),
        TEST(state_survives),
        TEST(the_old_version_finishes),
        TEST(fifty_reloads_leave_memory_where_it_was),
        TEST(log_lines_carry_the_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
