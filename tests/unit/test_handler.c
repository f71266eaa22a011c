/* Handler tables compiled into C: what the settings, routes and namespaces of a version become.
 * What is refused, and in which words, is in tests/lua/validate_spec.lua. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "script/handler.h"
#include "script/pattern.h"
#include "script_fixture.h"

static struct handlers *compile(struct script_fixture *f, struct version **version,
                                struct writer *error, const char *source) {
    fixture_write(f, "app.lua", source);
    assert_int_equal(version_load(&f->script, version, error), 0);
    return handlers_compile(*version, error) == 0 ? (*version)->handlers : NULL;
}

static void tables_become_settings(void **state) {
    (void)state;
    struct script_fixture f;
    struct version *version;
    struct writer error = {NULL};
    script_fixture_open(&f, 1000, 0);
    struct handlers *set =
        compile(&f, &version, &error,
                "return {\n"
                "  { namespace = '/a', on_message = print, limits = { rate = 5, burst = 9 },\n"
                "    rooms = { ['r:*'] = { history = { size = 7, ttl = 2.5 } }, r = {} },\n"
                "    subprotocols = { 'x', 'y' }, origins = 'https://o.example', static = '.' },\n"
                "  { namespace = '/t/:id', limits = { max_payload = 10 }, events = { e = print },\n"
                "    routes = { ['GET /u/:id'] = print },\n"
                "    timers = { t = { every = 0.25, run = print } } },\n"
                "}");
    assert_non_null(set);
    assert_int_equal(set->count, 2);
    const struct ns_settings *a = &set->items[0].settings;
    assert_false(a->events);
    assert_int_equal(a->rate, 5);
    assert_int_equal(a->burst, 9);
    assert_int_equal(a->max_payload, f.config.max_payload);
    assert_int_equal(a->room_count, 2);
    assert_string_equal(a->rooms[0].pattern, "r");
    assert_string_equal(a->rooms[1].pattern, "r:*");
    assert_int_equal(a->rooms[1].history_size, 7);
    assert_int_equal(a->rooms[1].history_ttl, 2500);
    assert_int_equal(a->subprotocol_count, 2);
    assert_string_equal(a->subprotocols[1], "y");
    assert_string_equal(set->items[0].origins.allowed[0], "https://o.example");
    assert_int_equal(set->mount_count, 1);
    assert_string_equal(set->mounts[0].folder, f.dir);
    assert_true(set->items[0].plain);

    assert_true(set->items[1].settings.events);
    assert_false(set->items[1].plain);
    assert_int_equal(set->items[1].settings.max_payload, 10);
    assert_int_equal(set->route_count, 1);
    assert_ptr_equal(set->routes[0].handler, &set->items[1]);
    assert_string_equal(set->routes[0].method, "GET");
    assert_int_equal(set->timer_count, 1);
    assert_int_equal(set->timers[0].every, 250);
    assert_ptr_equal(handlers_find(set, SPAN("/a")), &set->items[0]);
    assert_ptr_equal(handlers_find(set, SPAN("/t/42")), &set->items[1]);
    assert_null(handlers_find(set, SPAN("/t")));
    assert_null(handlers_find(set, SPAN("/")));
    version_unref(version);
    writer_deinit(&error);
    script_fixture_close(&f);
}

static void the_plain_namespace_wins_over_the_pattern(void **state) {
    (void)state;
    struct script_fixture f;
    struct version *version;
    struct writer error = {NULL};
    script_fixture_open(&f, 1000, 0);
    struct handlers *set = compile(&f, &version, &error,
                                   "return { { namespace = '/t/:id' }, { namespace = '/t/new' } }");
    assert_non_null(set);
    assert_ptr_equal(handlers_find(set, SPAN("/t/new")), &set->items[1]);
    assert_ptr_equal(handlers_find(set, SPAN("/t/old")), &set->items[0]);
    version_unref(version);
    writer_deinit(&error);
    script_fixture_close(&f);
}

static void problems_name_the_file(void **state) {
    (void)state;
    struct script_fixture f;
    struct version *version;
    struct writer error = {NULL};
    script_fixture_open(&f, 1000, 0);
    assert_null(compile(&f, &version, &error, "return { on_conect = 1, static = 'nowhere' }"));
    writer_putc(&error, '\0');
    const char *text = writer_span(&error).at;
    assert_non_null(strstr(text, "/app.lua: on_conect: unknown key; did you mean \"on_connect\"?"));
    assert_non_null(strstr(text, "static: cannot open the folder"));
    version_unref(version);
    writer_clear(&error);

    assert_null(compile(&f, &version, &error,
                        "return { static = { ['/c'] = 'node_modules/socket.io-client/dist' } }"));
    writer_putc(&error, '\0');
    assert_non_null(
        strstr(writer_span(&error).at, "No such file or directory (`npm ci` makes it)"));
    version_unref(version);
    writer_clear(&error);

    /* A metamethod of the user's table raises: that is a problem like any other. */
    assert_null(compile(&f, &version, &error,
                        "return setmetatable({}, { __index = function() error('mine') end })"));
    writer_putc(&error, '\0');
    assert_non_null(strstr(writer_span(&error).at, "mine"));
    version_unref(version);
    writer_deinit(&error);
    script_fixture_close(&f);
}

static void assert_refused(struct script_fixture *f, const char *source, const char *problem) {
    struct version *version;
    struct writer error = {NULL};
    assert_null(compile(f, &version, &error, source));
    writer_putc(&error, '\0');
    assert_non_null(strstr(writer_span(&error).at, problem));
    writer_deinit(&error);
    version_unref(version);
}

/* The tables' metamethods run while no handler does: with a budget, and without a task. */
static void metamethods_of_tables_are_kept_in_check(void **state) {
    (void)state;
    struct script_fixture f;
    script_fixture_open(&f, 30, 0);
    assert_refused(&f,
                   "local spawn = require 'moonwire'.spawn\n"
                   "return setmetatable({}, {__index = function() spawn(print) end})",
                   "mw.spawn: nothing begins while a handler table is read");
    assert_refused(&f,
                   "local sleep = require 'moonwire'.sleep\n"
                   "return setmetatable({}, {__index = function() sleep(1) end})",
                   "mw.sleep cannot wait inside a metamethod");
    assert_refused(&f,
                   "return setmetatable({}, {__index = function()\n"
                   "  while true do pcall(function() while true do end end) end end})",
                   "the handler ran longer than 0.03 s");
    script_fixture_close(&f);
}

static void patterns_match_whole_paths(void **state) {
    (void)state;
    struct pattern p, root;
    pattern_init(&p, 3);
    pattern_set(&p, 0, SPAN("a"));
    pattern_set(&p, 1, SPAN(":x"));
    pattern_set(&p, 2, SPAN("c"));
    assert_true(pattern_matches(&p, SPAN("/a/b/c")));
    static const char *const others[] = {"",        "/",        "/a/b",  "/a//c",
                                         "/a/b/c/", "/a/b/c/d", "a/b/c", "/A/b/c"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        assert_false(pattern_matches(&p, span_of(others[i])));
    }
    assert_true(span_is(pattern_value(SPAN("/a/b/c"), 1), "b"));
    assert_false(pattern_is_plain(&p));
    pattern_init(&root, 0);
    assert_true(pattern_matches(&root, SPAN("/")));
    assert_false(pattern_matches(&root, SPAN("/a")));
    assert_true(pattern_is_plain(&root));
    pattern_deinit(&root);
    pattern_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_become_settings),
        cmocka_unit_test(the_plain_namespace_wins_over_the_pattern),
        cmocka_unit_test(problems_name_the_file),
        cmocka_unit_test(metamethods_of_tables_are_kept_in_check),
        cmocka_unit_test(patterns_match_whole_paths),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
