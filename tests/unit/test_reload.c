/* What a reload does to clients that are connected, to timers and to memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app_fixture.h"

#define WAITING                                                                        \
    HEAD "local log = mw.state('log', {})\n"                                           \
         "function app.events.wait(client, n)\n"                                       \
         "  log[#log + 1] = 'begin ' .. n\n"                                           \
         "  local a, b = client:timeout(60):request('gate', n)\n"                      \
         "  log[#log + 1] = 'end ' .. n .. ' ' .. tostring(a) .. ' ' .. tostring(b)\n" \
         "  return n\n"                                                                \
         "end\n"                                                                       \
         "function app.events.note(client, n) log[#log + 1] = n; return n end\n"       \
         "function app.events.log() local t = table.concat(log, ', '); log = {}; return t end\n"

static void a_reload_changes_handlers_and_keeps_clients(void **state) {
    struct app_fixture *f = *state;
    struct app_ack wait, ack;
    app_serve(f, WAITING "function app.events.v() return 1 end\nreturn app");
    struct app_client *c = app_connect(f, "/"), *d = app_connect(f, "/");
    app_event(c, "wait", "1", &wait);
    uint64_t id = app_asked(c);
    app_serve(f,
              WAITING "function app.events.v() return 2 end\n"
                      "function app.on_reload() mw.namespace():emit('reloaded') end\nreturn app");
    assert_int_equal(script_version(f->script), 2);
    assert_string_equal(app_sent(d), "{\"event\":\"reloaded\"}\n");
    app_event(d, "v", "", &ack);
    assert_string_equal(ack.args, "2");
    app_answer(c, id, "1"); /* what waits finishes on the old version */
    assert_string_equal(wait.args, "1");
    app_event(c, "v", "", &ack);
    assert_string_equal(ack.args, "2");

    assert_int_not_equal(app_load(f, "return { on_conect = 1 }"), 0);
    assert_non_null(strstr(writer_span(&f->error).at, "did you mean \"on_connect\"?"));
    assert_non_null(strstr(writer_span(&f->error).at, "app.lua"));
    assert_int_not_equal(app_load(f, "return {"), 0);
    assert_int_equal(script_version(f->script), 2);
    app_event(c, "v", "", &ack);
    assert_string_equal(ack.args, "2");

    /* A table that goes leaves its clients connected and answers them with not_found. */
    app_serve(f, "return { namespace = '/other' }");
    app_event(c, "v", "", &ack);
    assert_string_equal(ack.code, "not_found");
    app_serve(f, HEAD "function app.events.v() return 4 end\nreturn app");
    app_event(c, "v", "", &ack);
    assert_string_equal(ack.args, "4");
    app_client_free(c);
    app_client_free(d);
}

static void fifty_reloads_leave_memory_where_it_was(void **state) {
    struct app_fixture *f = *state;
    static const char source[] = HEAD "app.timers.t = { every = 60, run = function() end }\n"
                                      "app.routes = { ['GET /x/:id'] = function() end }\n"
                                      "function app.on_connect(c) c.data.x = {} end\n"
                                      "return app";
    app_serve(f, source);
    struct app_client *c = app_connect(f, "/");
    size_t before = 0;
    for (int i = 0; i < 60; i++) {
        app_serve(f, source);
        if (i == 9) {
            before = script_memory(f->script);
        }
        app_turn(f);
    }
    /* Garbage of a few versions may be waiting for its collection. */
    assert_true(script_memory(f->script) < before * 3);
    app_client_free(c);
}

static void timers_run_and_follow_a_reload(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, HEAD "app.timers.tick = { every = 0.001, run = function()\n"
                      "  mw.state('n', { 0 })[1] = mw.state('n', { 0 })[1] + 1\n"
                      "  mw.namespace():emit('tick')\n"
                      "end }\n"
                      "function app.events.n() return mw.state('n', { 0 })[1] end\n"
                      "return app");
    struct app_client *c = app_connect(f, "/");
    while (!strstr(app_sent(c), "tick")) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    app_event(c, "n", "", &ack);
    assert_true(atoi(ack.args) >= 1);
    app_serve(f, HEAD "return app");
    app_turn(f);
    app_sent(c);
    app_serve(f, HEAD "app.timers.tock = { every = 0.001, run = function()\n"
                      "  mw.namespace():emit('tock') end }\nreturn app");
    const char *text;
    while (!strstr(text = app_sent(c), "tock")) {
        assert_null(strstr(text, "tick"));
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    app_client_free(c);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, app_set_up, app_tear_down)
    const struct CMUnitTest tests[] = {
        T(a_reload_changes_handlers_and_keeps_clients),
        T(fifty_reloads_leave_memory_where_it_was),
        T(timers_run_and_follow_a_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
