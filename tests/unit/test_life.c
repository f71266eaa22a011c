/* Joining, leaving, and the end of a client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app_fixture.h"

#define ROOMS                                                                               \
    HEAD "local log = mw.state('log', {})\n"                                                \
         "local function note(...) log[#log + 1] = table.concat({ ... }, ' ') end\n"        \
         "function app.events.log() local t = table.concat(log, ', '); return t end\n"      \
         "function app.events.leave(client, room) return client:leave(room) end\n"          \
         "function app.events.say(client, room, text)\n"                                    \
         "  if not client.rooms[room] then return nil, 'not_in_room' end\n"                 \
         "  return mw.room(room):emit('said', text)\n"                                      \
         "end\n"                                                                            \
         "function app.on_leave(client, room, reason)\n"                                    \
         "  local names = {}\n"                                                             \
         "  for name in pairs(client.rooms) do names[#names + 1] = name end\n"              \
         "  table.sort(names)\n"                                                            \
         "  note('leave', room.name, reason, client.connected and 'on' or 'off', #names)\n" \
         "end\n"                                                                            \
         "function app.on_disconnect(client, reason)\n"                                     \
         "  note('disconnect', reason, #client.rooms, tostring(client:emit('late')))\n"     \
         "end\n"

static void joins_are_asked_and_take_effect_with_the_reply(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, ROOMS "function app.on_join(client, room, options)\n"
                       "  if room.name == 'secret' then return nil, 'forbidden', 'no' end\n"
                       "  if room.name == 'false' then return false end\n"
                       "  return { count = room:count(), after = options.after }\n"
                       "end\n"
                       "return app");
    struct app_client *c = app_connect(f, "/");
    app_join(c, "a", "{\"join\":\"a\",\"after\":7}", &ack);
    assert_non_null(strstr(ack.args, "\"count\":0"));
    assert_non_null(strstr(ack.args, "\"after\":7"));
    assert_true(hub_is_member(&c->client, SPAN("a")));
    app_join(c, "secret", "", &ack);
    assert_string_equal(ack.code, "forbidden");
    assert_string_equal(ack.detail, "\"no\"");
    app_join(c, "false", "", &ack);
    assert_string_equal(ack.code, "forbidden");
    app_join(c, "", "", &ack);
    assert_string_equal(ack.code, "bad_room");
    assert_int_equal(c->client.room_count, 1);
    app_event(c, "say", "\"a\",\"hi\"", &ack);
    assert_string_equal(ack.args, "true");
    assert_string_equal(app_sent(c), "{\"event\":\"said\",\"data\":\"hi\",\"room\":\"a\"}\n");
    app_event(c, "say", "\"b\",\"hi\"", &ack);
    assert_string_equal(ack.code, "not_in_room");
    app_client_free(c);
}

static void without_on_join_joining_is_forbidden(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    app_serve(f, "return { on_connect = function() end }");
    struct app_client *c = app_connect(f, "/");
    app_join(c, "a", "", &ack);
    assert_string_equal(ack.code, "forbidden");
    app_client_free(c);
}

static void a_client_that_goes_during_on_join_leaves_no_ghost(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack, log;
    app_serve(f, ROOMS "function app.on_join(client)\n"
                       "  local other = mw.state('other', {})[1]\n"
                       "  other:timeout(60):request('gate')\n"
                       "end\n"
                       "function app.events.me(client) mw.state('other', {})[1] = client end\n"
                       "return app");
    struct app_client *a = app_connect(f, "/"), *b = app_connect(f, "/");
    app_event(b, "me", "", NULL);
    app_join(a, "r", "", &ack);
    uint64_t id = app_asked(b);
    app_close(a, "gone");
    assert_false(a->freed);
    app_answer(b, id, "");
    assert_int_equal(ack.answers, 1);
    assert_string_equal(ack.code, "closed");
    assert_int_equal(room_count(b->client.ns, SPAN("r")), 0);
    assert_true(a->freed);
    app_event(b, "log", "", &log);
    assert_string_equal(log.args, "\"disconnect gone 0 nil\"");
    app_client_free(a);
    app_client_free(b);
}

static void closing_runs_on_leave_for_each_room_then_on_disconnect(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack, log;
    app_serve(f, ROOMS "function app.on_join() end\nreturn app");
    struct app_client *a = app_connect(f, "/"), *b = app_connect(f, "/");
    app_join(a, "x", "", &ack);
    app_join(a, "y", "", &ack);
    app_join(a, "z", "", &ack);
    app_event(a, "leave", "\"z\"", &ack);
    assert_string_equal(ack.args, "true");
    assert_true(f->app->on_leave(f->app, &a->client, SPAN("y"), NULL));
    app_join(a, "w", "", &ack);
    app_close(a, "transport close");
    assert_true(a->freed);
    app_event(b, "log", "", &log);
    assert_non_null(strstr(log.args, "\"leave z left on 2, leave y left on 1, leave "));
    assert_non_null(strstr(log.args, "leave w transport close off 2"));
    assert_non_null(strstr(log.args, "leave x transport close off 2"));
    assert_non_null(strstr(log.args, ", disconnect transport close 2 nil\""));
    app_client_free(a);
    app_client_free(b);
}

/* Leaving is one of the events that still run after the end; the room is left once all the same. */
static void a_leave_that_waited_for_the_end_is_told_once(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack, wait, log;
    app_serve(f, ROOMS "function app.on_join() end\n"
                       "function app.events.wait(client)\n"
                       "  return client:timeout(60):request('gate') end\n"
                       "return app");
    struct app_client *a = app_connect(f, "/"), *b = app_connect(f, "/");
    app_join(a, "x", "", &ack);
    app_event(a, "wait", "", &wait);
    app_ack_init(&ack);
    assert_true(f->app->on_leave(f->app, &a->client, SPAN("x"), &ack.ack));
    app_close(a, "gone");
    assert_true(a->freed);
    assert_string_equal(ack.code, "closed");
    app_event(b, "log", "", &log);
    assert_string_equal(log.args, "\"leave x gone off 1, disconnect gone 1 nil\"");
    app_client_free(a);
    app_client_free(b);
}

static void disconnecting_from_lua_ends_as_any_other(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack, log;
    app_serve(f, ROOMS "function app.on_join() end\n"
                       "function app.events.quit(client) client:disconnect('bye') return 1 end\n"
                       "function app.events.kick(client) return mw.user(client.id):count() end\n"
                       "return app");
    struct app_client *a = app_connect(f, "/"), *b = app_connect(f, "/");
    app_join(a, "x", "", &ack);
    app_event(a, "quit", "", &ack);
    assert_string_equal(ack.args, "1");
    io_end_turn(&f->io);
    assert_true(a->freed);
    app_event(b, "log", "", &log);
    assert_string_equal(log.args, "\"leave x bye off 1, disconnect bye 1 nil\"");
    app_client_free(a);
    app_client_free(b);
}

/* Whoever is in a room, is a user, or is connected at all is moved and sent away together. */
static void an_audience_joins_leaves_and_is_sent_away(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack, log;
    f->config.max_rooms = 3;
    app_serve(
        f, ROOMS
        "function app.on_auth(request) return { id = request.query.name } end\n"
        "function app.events.enter(client, room) return client:join(room) end\n"
        "function app.events.gather(client)\n"
        "  return mw.namespace():join('all'), mw.room('a'):join('b'),\n"
        "    mw.user('bob'):except(client):join('c'), mw.room('none'):join('d')\n"
        "end\n"
        "function app.events.part(client)\n"
        "  return mw.namespace('/'):except(client):leave('all'), mw.user('ann'):leave('b'),\n"
        "    mw.room('a'):leave('c'), mw.room('b'):leave('b')\n"
        "end\n"
        "function app.events.many() return mw.room('a'):join('x'), mw.room('a'):join('y') end\n"
        "function app.events.bad() return mw.room('a'):join('') end\n"
        "function app.events.away(client)\n"
        "  return mw.room('a'):except(client):disconnect('bye'), mw.namespace():disconnect()\n"
        "end\n"
        "return app");
    struct app_client *ann = app_connect(f, "/?name=ann"), *bob = app_connect(f, "/?name=bob");
    app_event(ann, "enter", "\"a\"", &ack);
    app_event(bob, "enter", "\"a\"", &ack);
    app_event(bob, "leave", "\"a\"", &ack);

    app_event(ann, "gather", "", &ack);
    assert_string_equal(ack.args, "2,1,1,0");
    assert_true(hub_is_member(&ann->client, SPAN("all")));
    assert_true(hub_is_member(&ann->client, SPAN("b")));
    assert_true(hub_is_member(&bob->client, SPAN("all")));
    assert_true(hub_is_member(&bob->client, SPAN("c")));
    assert_int_equal(bob->client.room_count, 2);

    app_event(ann, "part", "", &ack);
    assert_string_equal(ack.args, "1,1,0,0");
    assert_true(hub_is_member(&ann->client, SPAN("all")));
    assert_false(hub_is_member(&ann->client, SPAN("b")));
    assert_false(hub_is_member(&bob->client, SPAN("all")));
    app_event(ann, "log", "", &log);
    assert_string_equal(log.args, "\"leave a left on 0, leave all left on 1, leave b left on 2\"");

    app_event(ann, "many", "", &ack); /* She is in a and all, and may be in three. */
    assert_string_equal(ack.args, "1,0");
    app_event(ann, "bad", "", &ack);
    assert_string_equal(ack.code, "internal_error");
    app_event(bob, "enter", "\"a\"", &ack);
    app_event(ann, "away", "", &ack);
    assert_string_equal(ack.args, "1,1");
    io_end_turn(&f->io);
    assert_true(ann->freed);
    assert_true(bob->freed);
    app_client_free(ann);
    app_client_free(bob);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, app_set_up, app_tear_down)
    const struct CMUnitTest tests[] = {
        T(joins_are_asked_and_take_effect_with_the_reply),
        T(without_on_join_joining_is_forbidden),
        T(a_client_that_goes_during_on_join_leaves_no_ghost),
        T(closing_runs_on_leave_for_each_room_then_on_disconnect),
        T(a_leave_that_waited_for_the_end_is_told_once),
        T(disconnecting_from_lua_ends_as_any_other),
        T(an_audience_joins_leaves_and_is_sent_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
