/* Wants of memory: every allocation of Lua's fails once, by itself and with all that follow it,
 * while handlers, joins, requests, routes of the end and reloads go on. Each may end in an error;
 * none may abort, leak, or leave an ack unanswered. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app_fixture.h"
#include "script/state.h"

/* Stands between Lua and its allocator. Lua collects garbage after a failure and asks once more, so
 * that only two failures in a row are one. */
struct wants {
    lua_Alloc alloc;
    void *data;
    size_t count; /* of allocations, and of blocks that grow */
    size_t first; /* the ones that fail */
    size_t last;
};

static void *alloc_or_not(void *data, void *old, size_t old_size, size_t new_size) {
    struct wants *wants = data;
    if (new_size > (old ? old_size : 0)) {
        wants->count++;
        if (wants->count >= wants->first && wants->count <= wants->last) {
            return NULL;
        }
    }
    return wants->alloc(wants->data, old, old_size, new_size);
}

static void begin_wants(struct app_fixture *f, struct wants *wants, size_t first, size_t last) {
    *wants = (struct wants){.first = first, .last = last};
    wants->alloc = lua_getallocf(f->script->L, &wants->data);
    lua_setallocf(f->script->L, alloc_or_not, wants);
}

static void end_wants(struct app_fixture *f, struct wants *wants) {
    lua_setallocf(f->script->L, wants->alloc, wants->data);
}

static const char app[] = HEAD
    "app.rooms['*'] = { history = { size = 3 } }\n"
    "function app.on_auth(request)\n"
    "  return { id = request.auth.token, path = request.path, agent = request.headers.host }\n"
    "end\n"
    "function app.on_connect(client)\n"
    "  client.data.seen = { client.params, client.request.query }\n"
    "  client:join('all')\n"
    "  client:emit('welcome', { you = client.user, rooms = mw.array() })\n"
    "end\n"
    "function app.on_event(client, event, ...)\n"
    "  client.data.last = { event, ... }\n"
    "  if event == 'ask' then client:timeout(60):request('may I') end\n"
    "end\n"
    "function app.on_emit(to, event, ...)\n"
    "  mw.user('nobody'):emit('emitted', tostring(to), event, ...)\n"
    "end\n"
    "function app.events.say(client, text)\n"
    "  mw.room('all'):except('r', { client, 'q' }):emit('but')\n"
    "  for name, room in pairs(client.rooms) do room:emit('said', { name = name }, text) end\n"
    "  client:to('all'):volatile():emit('other', text)\n"
    "  mw.rooms { 'all', 'r' }:except(client):emit('both')\n"
    "  mw.namespace('/other'):emit('unheard')\n"
    "  mw.namespace('/'):send('frame')\n"
    "  mw.user(client.user.id):emit('mine', mw.null)\n"
    "  mw.spawn(function(...) mw.log.info('spawned', { n = select('#', ...) }) end, 1, nil, 3)\n"
    "  return mw.room('all'):members(), (mw.room('all'):history { limit = 2 })\n"
    "end\n"
    "function app.events.ask(client)\n"
    "  local co = coroutine.wrap(function() return client:timeout(60):request('q', {}) end)\n"
    "  local ok, answer = pcall(co)\n"
    "  local all, silent = mw.room('all'):timeout(60):request('q')\n"
    "  return ok, answer, #all, #silent\n"
    "end\n"
    "function app.events.bad() return { 0 / 0 } end\n"
    "function app.events.bug() error({ code = 'bug' }) end\n"
    "function app.on_join(client, room, options)\n"
    "  client:timeout(60):request('gate')\n"
    "  return { options, room:count() }\n"
    "end\n"
    "function app.on_leave(client, room, reason) room:emit('left', reason) end\n"
    "function app.on_disconnect(client, reason)\n"
    "  mw.state('gone', {})[1] = { client.id, client.user.id, #client.rooms, reason }\n"
    "end\n"
    "return { app, { namespace = '/other', static = '.' } }";

static void answer_all(struct app_client *c) {
    const char *at = app_sent(c);
    while ((at = strstr(at, "\"id\":"))) {
        at += 5;
        app_answer(c, strtoull(at, NULL, 10), "1,{\"a\":[]}");
    }
}

/* One life of a client; what it does must come to an end whatever fails. */
static void live(struct app_fixture *f) {
    struct app_ack say, ask, bad, bug, join, leave;
    struct app_client *c = app_connect(f, "/?token=ann&x=%41");
    if (!c->allowed) {
        app_client_free(c);
        return;
    }
    app_event(c, "say", "\"hello\"", &say);
    assert_int_equal(say.answers, 1);
    app_event(c, "bad", "[[1,{\"a\":2}]]", &bad);
    app_event(c, "bug", "", &bug);
    assert_int_equal(bad.answers + bug.answers, 2);
    app_event(c, "ask", "", &ask);
    app_join(c, "r", "{\"after\":1}", &join);
    for (int i = 0; i < 4; i++) {
        answer_all(c);
    }
    assert_int_equal(ask.answers, 1);
    assert_int_equal(join.answers, 1);
    assert_int_equal(join.code[0] == '\0', hub_is_member(&c->client, SPAN("r")));
    app_ack_init(&leave);
    f->app->on_leave(f->app, &c->client, SPAN("r"), &leave.ack);
    assert_int_equal(leave.answers, 1);
    app_close(c, "gone");
    assert_true(c->freed);
    app_client_free(c);
}

/* Runs it with each of its allocations failing in turn: `run` of them in a row. */
static void with_every_want(struct app_fixture *f, size_t run, size_t step,
                            void (*scene)(struct app_fixture *f)) {
    struct wants wants;
    begin_wants(f, &wants, 0, 0);
    scene(f);
    end_wants(f, &wants);
    size_t total = wants.count;
    assert_true(total > 100);
    for (size_t first = 1; first <= total; first += step) {
        begin_wants(f, &wants, first, first + run - 1);
        scene(f);
        end_wants(f, &wants);
        app_turn(f);
    }
    scene(f);
}

static void every_handler_may_want(void **state) {
    struct app_fixture *f = *state;
    f->log.level = LOG_ERROR + 1;
    app_serve(f, app);
    with_every_want(f, 2, 1, live);
    with_every_want(f, 1000000, 3, live);
    assert_int_equal(ns_count(hub_ns(f->hub, SPAN("/"), true)), 0);
    assert_int_equal(f->metrics.queued_events, 0);
}

/* In service or not: what was there serves on. */
static void reload(struct app_fixture *f) {
    unsigned version = script_version(f->script);
    int result = app_load(f, app);
    assert_int_equal(script_version(f->script), result == 0 ? version + 1 : version);
    assert_true(result == 0 || writer_len(&f->error) > 1);
    app_turn(f);
}

static void every_load_may_want(void **state) {
    struct app_fixture *f = *state;
    struct wants wants;
    f->log.level = LOG_ERROR + 1;
    begin_wants(f, &wants, 1, 1000000); /* not even a coroutine for the file to run in */
    assert_int_equal(app_load(f, app), UV_EINVAL);
    end_wants(f, &wants);
    assert_non_null(strstr(writer_span(&f->error).at, "not enough memory"));
    app_serve(f, app);
    with_every_want(f, 2, 13, reload);
    with_every_want(f, 1000000, 17, reload);
    live(f);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, app_set_up, app_tear_down)
    const struct CMUnitTest tests[] = {
        T(every_handler_may_want),
        T(every_load_may_want),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
