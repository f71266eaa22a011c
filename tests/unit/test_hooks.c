/* The hooks that concern clients: events, order, answers, and what a client knows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app_fixture.h"

/* --- events and answers --- */

static void events_reach_their_handlers_and_answer(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, HEAD
              "function app.on_connect(client) client:emit('welcome', { id = client.id }) end\n"
              "function app.events.sum(client, a, b) return a + b, 'ok' end\n"
              "function app.events.empty() return end\n"
              "function app.events.null() return nil end\n"
              "function app.events.refuse() return nil, 'too_late', { by = 3 } end\n"
              "function app.events.bug() local x = nil; return x.y end\n"
              "function app.events.nan() return { a = { 0/0 } } end\n"
              "return app");
    struct app_client *c = app_connect(f, "/");
    assert_non_null(strstr(app_sent(c), "\"event\":\"welcome\",\"data\":{\"id\":\""));

    app_event(c, "sum", "1,2", &ack);
    assert_int_equal(ack.answers, 1);
    assert_int_equal(ack.argc, 2);
    assert_string_equal(ack.args, "3,\"ok\"");
    app_event(c, "empty", "", &ack);
    assert_int_equal(ack.answers, 1);
    assert_int_equal(ack.argc, 0);
    app_event(c, "null", "", &ack);
    assert_string_equal(ack.args, "null");
    app_event(c, "refuse", "", &ack);
    assert_string_equal(ack.code, "too_late");
    assert_string_equal(ack.detail, "{\"by\":3}");
    app_event(c, "bug", "", &ack);
    assert_string_equal(ack.code, "internal_error");
    assert_non_null(strstr(app_log(f), "app.lua:8"));
    app_event(c, "nan", "", &ack);
    assert_string_equal(ack.code, "internal_error");
    assert_non_null(strstr(app_log(f), "answer.a[1]"));
    assert_int_equal(f->metrics.handler_errors[HOOK_EVENT], 2);
    app_event(c, "nobody", "", &ack);
    assert_string_equal(ack.code, "not_found");
    app_event(c, "sum", "1,", &ack);
    assert_string_equal(ack.code, "bad_message");
    app_event(c, "sum", "{", NULL);
    assert_string_equal(app_sent(c), "{\"error\":{\"code\":\"bad_message\"}}\n");
    app_client_free(c);
}

/* The log says which event it was, whether its handler has waited or not. */
static void errors_name_their_event_or_room(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, HEAD "function app.events.soon() error('at once', 0) end\n"
                      "function app.events.late(client)\n"
                      "  error((client:timeout(60):request('gate')), 0) end\n"
                      "function app.on_join() error('no entry', 0) end\n"
                      "return app");
    struct app_client *c = app_connect(f, "/");
    app_event(c, "soon", "", &ack);
    assert_non_null(strstr(app_log(f), "hook=event event=soon client="));
    app_join(c, "lobby", "", &ack);
    assert_non_null(strstr(app_log(f), "room=lobby client="));
    app_event(c, "late", "[1,2,3]", &ack);
    app_event(c, "soon", "", NULL);
    app_answer(c, app_asked(c), "\"later\"");
    assert_non_null(strstr(app_log(f), "event=late"));
    assert_non_null(strstr(app_log(f), "error=later"));
    assert_string_equal(ack.code, "internal_error");
    app_client_free(c);
}

static void unknown_events_go_to_the_star(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, HEAD "app.events['*'] = function(client, event, a) return event .. a end\n"
                      "return app");
    struct app_client *c = app_connect(f, "/");
    app_event(c, "x", "1", &ack);
    assert_string_equal(ack.args, "\"x1\"");
    app_event(c, "*", "2", &ack);
    assert_string_equal(ack.args, "\"*2\"");
    app_client_free(c);
}

static void raw_frames_reach_on_message(void **state) {
    struct app_fixture *f = *state;
    app_serve(f,
              "return { on_message = function(client, data, kind) client:send(kind .. data) end }");
    struct app_client *c = app_connect(f, "/");
    assert_false(ns_settings(c->client.ns)->events);
    assert_true(f->app->on_message(f->app, &c->client, SPAN("hello"), false));
    assert_true(f->app->on_message(f->app, &c->client, SPAN("hello"), true));
    assert_string_equal(app_sent(c), "texthello\nbinaryhello\n");
    app_client_free(c);
}

/* --- the line --- */

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

static void two_handlers_of_one_client_never_interleave(void **state) {
    struct app_fixture *f = *state;
    struct app_ack wait, notes[3], other, log;
    app_serve(f, WAITING "return app");
    struct app_client *a = app_connect(f, "/"), *b = app_connect(f, "/");
    app_event(a, "wait", "1", &wait);
    uint64_t id = app_asked(a);
    for (int i = 0; i < 3; i++) {
        app_event(a, "note", i == 0 ? "10" : i == 1 ? "11" : "12", &notes[i]);
    }
    assert_int_equal(f->metrics.queued_events, 3);
    app_event(b, "note", "20", &other); /* nobody waits for somebody else */
    assert_int_equal(other.answers, 1);
    assert_int_equal(wait.answers + notes[0].answers, 0);
    app_answer(a, id, "\"yes\",2");
    assert_string_equal(wait.args, "1");
    assert_int_equal(notes[2].answers, 1);
    assert_int_equal(f->metrics.queued_events, 0);
    app_event(b, "log", "", &log);
    assert_string_equal(log.args, "\"begin 1, 20, end 1 yes 2, 10, 11, 12\"");
    app_client_free(a);
    app_client_free(b);
}

static void a_full_line_stops_reading_until_it_drains(void **state) {
    struct app_fixture *f = *state;
    struct app_ack wait, acks[64];
    /* The handler waits for another client, so that its own line has the plain bound. */
    app_serve(f, WAITING "function app.events.other(client, id)\n"
                         "  return (mw.client(id):timeout(60):request('gate'))\n"
                         "end\n"
                         "function app.on_connect(client) client:emit('id', client.id) end\n"
                         "return app");
    struct app_client *a = app_connect(f, "/"), *b = app_connect(f, "/");
    char id[64], *quote;
    strcpy(id, strstr(app_sent(b), "\"data\":") + 7);
    quote = strchr(id + 1, '"');
    quote[1] = '\0';
    assert_true(app_event(a, "other", id, &wait));
    assert_true(app_event(a, "note", "1", &acks[0]));
    assert_true(app_event(a, "note", "2", &acks[1]));
    assert_true(app_event(a, "note", "3", &acks[2]));
    assert_false(app_event(a, "note", "4", &acks[3])); /* max_queue is 4 in this fixture */
    assert_int_equal(a->resumed, 0);
    app_answer(b, app_asked(b), "true");
    assert_string_equal(wait.args, "true");
    assert_int_equal(acks[3].answers, 1);
    assert_int_equal(a->resumed, 1);
    app_client_free(a);
    app_client_free(b);
}

static void waiting_for_ones_own_client_reads_on_to_the_hard_bound(void **state) {
    struct app_fixture *f = *state;
    struct app_ack wait, acks[64], log;
    app_serve(f, WAITING "return app");
    struct app_client *a = app_connect(f, "/"), *b = app_connect(f, "/");
    app_event(a, "wait", "1", &wait);
    for (int i = 0; i < 15; i++) {
        assert_true(app_event(a, "note", "5", &acks[i]));
    }
    /* Beyond four times the bound the handler hears of it, goes on, and everything runs. */
    app_event(a, "note", "6", &acks[15]);
    assert_int_equal(wait.answers, 1);
    assert_int_equal(acks[15].answers, 1);
    app_event(b, "log", "", &log);
    assert_non_null(strstr(log.args, "begin 1, end 1 nil backpressure, 5,"));
    app_client_free(a);
    app_client_free(b);
}

static void requests_time_out_and_end_with_the_client(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, HEAD "function app.events.ask(client)\n"
                      "  local a, b = client:timeout(0.001):request('gate')\n"
                      "  return a == nil, b\n"
                      "end\n"
                      "function app.events.room(client)\n"
                      "  client:join('r')\n"
                      "  local answers, silent = mw.room('r'):timeout(60):request('who')\n"
                      "  return #answers, answers[1] and answers[1][1], #silent\n"
                      "end\n"
                      "return app");
    struct app_client *c = app_connect(f, "/");
    app_event(c, "ask", "", &ack);
    while (ack.answers == 0) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_string_equal(ack.args, "true,\"timeout\"");
    app_sent(c);
    app_event(c, "room", "", &ack);
    app_answer(c, app_asked(c), "\"me\"");
    assert_string_equal(ack.args, "1,\"me\",0");
    app_event(c, "room", "", &ack);
    app_close(c, "gone");
    assert_int_equal(ack.answers, 1);
    assert_string_equal(ack.args, "0,null,1");
    assert_true(c->freed);
    app_client_free(c);
}

static void queued_events_run_before_the_end(void **state) {
    struct app_fixture *f = *state;
    struct app_ack wait, note, log;
    app_serve(f,
              WAITING "function app.on_disconnect(client) log[#log + 1] = 'over' end\nreturn app");
    struct app_client *a = app_connect(f, "/"), *b = app_connect(f, "/");
    app_event(a, "wait", "1", &wait);
    app_event(a, "note", "2", &note);
    app_close(a, "gone");
    assert_true(a->freed);
    app_event(b, "log", "", &log);
    assert_string_equal(log.args, "\"begin 1, end 1 nil closed, 2, over\"");
    assert_int_equal(note.answers, 1);
    app_client_free(a);
    app_client_free(b);
}

/* --- on_auth, and what a client knows --- */

static void on_auth_names_the_user_or_refuses(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, HEAD
              "app.namespace = '/tenant/:id'\n"
              "function app.on_auth(request)\n"
              "  local token = request.auth.token\n"
              "  if token == 'bad' then return nil, 'forbidden', 'go away' end\n"
              "  if token == 'bug' then error('oops') end\n"
              "  if token then return { id = 7, name = token } end\n"
              "end\n"
              "function app.events.who(client)\n"
              "  client.data.seen = (client.data.seen or 0) + 1\n"
              "  return client.user.name, client.params.id, client.namespace, client.wire,\n"
              "    client.request.query.token, client.data.seen, client.connected\n"
              "end\n"
              "function app.events.members(client)\n"
              "  client:join('r')\n"
              "  local room = mw.room('r')\n"
              "  return room:members(), #room:clients(), room:count(), #mw.user('7'):clients()\n"
              "end\n"
              "return app");
    struct app_client *c = app_connect(f, "/tenant/42?token=ann");
    assert_true(c->allowed);
    app_event(c, "who", "", &ack);
    app_event(c, "who", "", &ack);
    assert_string_equal(ack.args, "\"ann\",\"42\",\"/tenant/42\",\"websocket\",\"ann\",2,true");
    struct app_client *d = app_connect(f, "/tenant/42?token=bob");
    app_event(d, "members", "", &ack);
    app_event(c, "members", "", &ack);
    /* Two connections of one user are one member. */
    assert_non_null(strstr(ack.args, "],2,2,2"));
    assert_non_null(strstr(ack.args, "\"id\":7"));
    assert_null(strchr(strchr(ack.args, '{') + 1, '{'));

    struct app_client *bad = app_connect(f, "/tenant/42?token=bad");
    assert_string_equal(bad->code, "forbidden");
    struct app_client *bug = app_connect(f, "/tenant/42?token=bug");
    assert_string_equal(bug->code, "internal_error");
    struct app_client *none = app_connect(f, "/tenant/42");
    assert_string_equal(none->code, "unauthorized");
    assert_null(strstr(app_log(f), "token=bug"));
    app_client_free(bad);
    app_client_free(bug);
    app_client_free(none);
    app_client_free(d);
    app_client_free(c);
}

static void audiences_reach_whom_they_name(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, HEAD "function app.on_connect(client) client:join('all') end\n"
                      "function app.events.go(client)\n"
                      "  mw.room('all'):except(client):emit('room')\n"
                      "  client:to('all'):emit('to', 1, 2)\n"
                      "  client:broadcast('broadcast')\n"
                      "  mw.rooms { 'all', 'none' }:emit('rooms')\n"
                      "  mw.namespace():except(client):send('raw')\n"
                      "  mw.namespace('/'):room('all'):volatile():emit('volatile')\n"
                      "  client:volatile():emit('me')\n"
                      "  return tostring(mw.room('all')), mw.room('all').name\n"
                      "end\n"
                      "function app.events.wrong(client) return client.nmae end\n"
                      "return app");
    struct app_client *a = app_connect(f, "/"), *b = app_connect(f, "/");
    app_event(a, "go", "", &ack);
    assert_string_equal(ack.args, "\"a room: all\",\"all\"");
    const char *got = app_sent(b);
    assert_non_null(strstr(got, "{\"event\":\"room\""));
    assert_non_null(strstr(got, "{\"event\":\"to\",\"args\":[1,2]"));
    assert_non_null(strstr(got, "{\"event\":\"broadcast\""));
    assert_non_null(strstr(got, "{\"event\":\"rooms\""));
    assert_non_null(strstr(got, "raw\n"));
    assert_non_null(strstr(got, "{\"event\":\"volatile\""));
    got = app_sent(a);
    assert_null(strstr(got, "\"to\""));
    assert_null(strstr(got, "broadcast"));
    assert_null(strstr(got, "raw\n"));
    assert_non_null(strstr(got, "{\"event\":\"me\"}\n"));
    app_event(a, "wrong", "", &ack);
    assert_string_equal(ack.code, "internal_error");
    assert_non_null(strstr(app_log(f), "a client has no 'nmae'"));
    app_client_free(a);
    app_client_free(b);
}

static void history_is_read_as_it_was_said(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, HEAD
              "app.rooms['log:*'] = { history = { size = 2 } }\n"
              "function app.events.go(client)\n"
              "  local room = mw.room('log:1')\n"
              "  local first = room:emit('said', 1)\n"
              "  room:emit('said', 'x', 'y')\n"
              "  local last = room:emit('said', { n = 3 })\n"
              "  local all, complete = room:history()\n"
              "  local tail = room:history { after = all[1].offset }\n"
              "  local old, whole = room:history { after = first }\n"
              "  return #all, all[1].args, all[2].data.n, all[2].offset == last, complete, #tail,\n"
              "    #old, whole, mw.room('other'):history()\n"
              "end\n"
              "return app");
    struct app_client *c = app_connect(f, "/");
    app_event(c, "go", "", &ack);
    assert_string_equal(ack.args, "2,[\"x\",\"y\"],3,true,true,1,2,true,[],true");
    app_client_free(c);
}

static void a_client_that_is_over_answers_closed(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, HEAD
              "local kept = mw.state('kept', {})\n"
              "function app.on_connect(client)\n"
              "  kept[#kept + 1] = client\n"
              "  client.data.x = 1\n"
              "end\n"
              "function app.events.look()\n"
              "  local c = kept[1]\n"
              "  local sent, code = c:emit('x')\n"
              "  local joined, why = c:join('r')\n"
              "  return #c.id, c.user.id == c.id, c.data.x, c.connected, sent, code, joined, why,\n"
              "    c.rooms.r, #c.rooms, c.wire, mw.client(c.id), c == kept[1],\n"
              "    (c:timeout(1):request('x'))\n"
              "end\n"
              "function app.events.same(client) return mw.client(client.id) == client end\n"
              "return app");
    struct app_client *a = app_connect(f, "/"), *b = app_connect(f, "/");
    app_event(b, "same", "", &ack);
    assert_string_equal(ack.args, "true");
    app_close(a, "gone");
    assert_true(a->freed);
    app_client_free(a);
    app_event(b, "look", "", &ack);
    assert_string_equal(ack.args,
                        "16,true,1,false,null,\"closed\",null,\"closed\",null,0,null,null,"
                        "true,null");
    app_client_free(b);
}

/* The objects of clients that Lua has seen once and does not hold are garbage, and nothing is lost
 * with them. */
static void objects_of_idle_clients_are_collected(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f,
              HEAD "local met, held, count = setmetatable({}, { __mode = 'k' }), nil, 0\n"
                   "function app.on_connect(client)\n"
                   "  count = count + 1\n"
                   "  met[client] = true\n"
                   "  if count == 1 then client.data.note = 'kept' end\n"
                   "  if count == 2 then client.user.name = 'Ann' end\n"
                   "  if count == 3 then held = client end\n"
                   "end\n"
                   "function app.on_disconnect(client) assert(#client.id == 16) end\n"
                   "function app.events.left(client)\n"
                   "  collectgarbage() collectgarbage()\n"
                   "  local n = 0\n"
                   "  for _ in pairs(met) do n = n + 1 end\n"
                   "  return n\n"
                   "end\n"
                   "function app.events.note(client) return client.data.note end\n"
                   "function app.events.name(client) return client.user.name end\n"
                   "function app.events.same(client) return client == held end\n"
                   "function app.events.over() return held.user.id == held.id, held.connected end\n"
                   "return app");
    struct app_client *with_data = app_connect(f, "/");
    struct app_client *with_user = app_connect(f, "/");
    struct app_client *with_holder = app_connect(f, "/");
    struct app_client *idle = app_connect(f, "/");
    struct app_client *asks = app_connect(f, "/");
    app_event(asks, "left", "", &ack);
    assert_string_equal(ack.args, "3"); /* that of the data, the held one, and the asking one */
    app_event(with_data, "note", "", &ack);
    assert_string_equal(ack.args, "\"kept\"");
    app_event(with_user, "name", "", &ack);
    assert_string_equal(ack.args, "\"Ann\"");
    app_event(with_holder, "same", "", &ack);
    assert_string_equal(ack.args, "true");
    app_close(idle, "client closed");
    app_close(with_holder, "client closed");
    app_turn(f);
    assert_true(idle->freed);
    app_event(asks, "over", "", &ack);
    assert_string_equal(ack.args, "true,false");
    struct app_client *all[] = {with_data, with_user, with_holder, idle, asks};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        app_client_free(all[i]);
    }
}

static void what_is_spawned_keeps_the_namespace(void **state) {
    struct app_fixture *f = *state;
    app_serve(f, HEAD "app.namespace = '/t/:id'\n"
                      "function app.on_connect(client)\n"
                      "  client:join('r')\n"
                      "  mw.spawn(function() mw.sleep(0.001) mw.room('r'):emit('later') end)\n"
                      "end\n"
                      "return app");
    struct app_client *a = app_connect(f, "/t/1"), *b = app_connect(f, "/t/2");
    app_close(a, "gone");
    while (!strstr(app_sent(b), "later")) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    app_client_free(a);
    app_client_free(b);
}

static void stopping_abandons_what_waits_and_answers(void **state) {
    struct app_fixture *f = *state;
    struct app_ack wait, note, join, late;
    app_serve(f, WAITING "function app.on_join() end\n"
                         "function app.on_disconnect() error('not any more') end\nreturn app");
    struct app_client *c = app_connect(f, "/");
    app_event(c, "wait", "1", &wait);
    app_event(c, "note", "2", &note);
    app_join(c, "r", "", &join);
    app_stop(f);
    assert_string_equal(wait.code, "unavailable");
    assert_string_equal(note.code, "unavailable");
    assert_string_equal(join.code, "unavailable");
    app_event(c, "note", "3", &late);
    assert_string_equal(late.code, "unavailable");
    app_close(c, "shutdown");
    assert_true(c->freed);
    assert_null(strstr(app_log(f), "not any more"));
    app_client_free(c);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, app_set_up, app_tear_down)
    const struct CMUnitTest tests[] = {
        T(events_reach_their_handlers_and_answer),
        T(errors_name_their_event_or_room),
        T(unknown_events_go_to_the_star),
        T(raw_frames_reach_on_message),
        T(two_handlers_of_one_client_never_interleave),
        T(a_full_line_stops_reading_until_it_drains),
        T(waiting_for_ones_own_client_reads_on_to_the_hard_bound),
        T(requests_time_out_and_end_with_the_client),
        T(queued_events_run_before_the_end),
        T(on_auth_names_the_user_or_refuses),
        T(audiences_reach_whom_they_name),
        T(history_is_read_as_it_was_said),
        T(a_client_that_is_over_answers_closed),
        T(objects_of_idle_clients_are_collected),
        T(what_is_spawned_keeps_the_namespace),
        T(stopping_abandons_what_waits_and_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
