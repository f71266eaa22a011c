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
#include "script/task.h"

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

static void count_handle(uv_handle_t *handle, void *data) {
    (void)handle;
    ++*(int *)data;
}

static int handles(struct app_fixture *f) {
    int count = 0;
    uv_walk(&f->loop, count_handle, &count);
    return count;
}

#define MANY                                                                      \
    HEAD "app.timers.t = { every = 60, run = function() end }\n"                  \
         "app.routes = { ['GET /x/:id'] = function() end }\n"                     \
         "function app.on_connect(c) c.data.x = {} end\n"                         \
         "function app.on_reload() error('not well') end\n"                       \
         "function app.events.gc() collectgarbage() collectgarbage() end\n"       \
         "function app.events.wait(c) return c:timeout(60):request('gate') end\n" \
         "mw.spawn(function() mw.sleep(0) end)\n"

/* The files in turn: as they are, with a timer that changes, with an error, without a timer. */
static const char *const turns[] = {
    MANY "return app",
    MANY "app.timers.t.every = 61 app.timers.more = { every = 9, run = print } return app",
    MANY "app.unknown = 1 return app",
    MANY "error 'while it loads'",
    MANY "app.timers = nil return { app, { namespace = '/second', events = { x = print } } }",
};

/* Memory and handles when the first file serves and nothing waits. */
static size_t memory_at_rest(struct app_fixture *f, struct app_client *c) {
    struct app_ack ack;
    assert_int_equal(app_load(f, "return"), UV_EINVAL); /* the attempt that is kept */
    app_serve(f, turns[0]);
    while (tasks_waiting(f->script) > 0) { /* what the versions have spawned, which keeps them */
        app_turn(f);
    }
    for (int i = 0; i < 3; i++) {
        app_turn(f);
        app_event(c, "gc", "", &ack);
    }
    return script_memory(f->script);
}

static void fifty_reloads_leave_memory_and_handles_where_they_were(void **state) {
    struct app_fixture *f = *state;
    struct app_ack wait;
    app_serve(f, turns[0]);
    struct app_client *c = app_connect(f, "/");
    size_t memory = 0;
    int open = 0;
    for (int i = 0; i < 80; i++) {
        if (i == 30) {
            memory = memory_at_rest(f, c);
            open = handles(f);
        }
        app_event(c, "wait", "", &wait);
        (void)app_load(f, turns[i % 5]);
        app_turn(f);
        app_answer(c, app_asked(c), "1"); /* which the version before hears */
        assert_string_equal(wait.args, "1");
    }
    assert_in_range(memory_at_rest(f, c), 0, memory + memory / 50);
    assert_int_equal(handles(f), open);
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
        T(fifty_reloads_leave_memory_and_handles_where_they_were),
        T(timers_run_and_follow_a_reload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
