/* What one member costs: a delivery to each of many in a room, on each wire, and coming and going.
 * A delivery's share of reading the message and of Lua, which happen once for all members, is in
 * it. */
#include "service.h"

#include "script/state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MEMBERS 100
#define JOINS 16

#define ROOM                                                                           \
    "local mw = require 'moonwire'\n"                                                  \
    "return { protocol = 'events', rooms = { kept = { history = { size = 100 } } },\n" \
    "  on_connect = function(client) client:join('room') client:join('kept') end,\n"   \
    "  events = {\n"                                                                   \
    "    say = function(client, data) mw.room('room'):emit('said', data) end,\n"       \
    "    keep = function(client, data) mw.room('kept'):emit('said', data) end } }"

#define NAMES                                             \
    "local names = {}\n"                                  \
    "for i = 1, 16 do names[i] = 'room:' .. i end\n"      \
    "return { on_message = function(client)\n"            \
    "  for i = 1, #names do client:join(names[i]) end\n"  \
    "  for i = 1, #names do client:leave(names[i]) end\n" \
    "  client:send('done') end }"

struct members {
    struct service s;
    struct guest speaker; /* a member too */
    struct guest all[MEMBERS];
};

static void members_open(struct members *m, void (*come)(struct guest *, struct service *)) {
    service_open(&m->s, ROOM);
    guest_websocket(&m->speaker, &m->s, "/", "");
    for (size_t i = 0; i < MEMBERS; i++) {
        come(&m->all[i], &m->s);
    }
    assert_int_equal(room_count(hub_ns(m->s.app.hub, SPAN("/"), false), SPAN("room")), MEMBERS + 1);
    /* Whether garbage is collected once more or once less would decide among so few messages. */
    lua_gc(m->s.app.script->L, LUA_GCSTOP);
}

static void members_close(struct members *m) {
    guest_close(&m->speaker);
    for (size_t i = 0; i < MEMBERS; i++) {
        guest_close(&m->all[i]);
    }
    service_close(&m->s);
}

static void deliver(struct run *run, void (*come)(struct guest *, struct service *),
                    const char *event) {
    struct members m;
    char text[256];
    snprintf(text, sizeof text,
             "{\"event\":\"%s\",\"data\":{\"from\":\"ann\",\"text\":\"good morning\"}}", event);
    members_open(&m, come);
    guest_send_text(&m.speaker, text);
    service_turn(&m.s, run);
    while (run_next(run)) {
        guest_send_text(&m.speaker, text);
        service_turn(&m.s, run);
        for (size_t i = 0; i < MEMBERS; i++) {
            guest_take(&m.all[i], SPAN("\"text\":\"good morning\""));
        }
        guest_take(&m.speaker, SPAN("\"text\":\"good morning\""));
    }
    members_close(&m);
}

static void come_websocket(struct guest *p, struct service *s) {
    guest_websocket(p, s, "/", "");
}

static void come_stream(struct guest *p, struct service *s) {
    guest_stream(p, s, "/");
}

static void deliver_websocket(struct run *run) {
    deliver(run, come_websocket, "say");
}

static void deliver_stream(struct run *run) {
    deliver(run, come_stream, "say");
}

static void deliver_socketio(struct run *run) {
    deliver(run, guest_socketio, "say");
}

static void deliver_history(struct run *run) {
    deliver(run, come_websocket, "keep");
}

/* --- coming and going ----------------------------------------------------------------------- */

/* All of them in turn, in the hub alone: where one stands in a hash table of addresses is chance.
 */
static void join_and_leave(struct run *run) {
    struct members m;
    members_open(&m, come_websocket);
    while (run_next(run)) {
        for (uint32_t i = 0; i < MEMBERS; i++) {
            struct client *c = hub_client_at(m.s.app.hub, i);
            assert_non_null(c);
            count_on(run);
            bool left = hub_leave(c, SPAN("room"));
            int joined = hub_join(c, SPAN("room"));
            count_off(run);
            assert_true(left);
            assert_int_equal(joined, 0);
        }
    }
    members_close(&m);
}

/* Asked by a handler, JOINS rooms one after another. */
static void join_and_leave_lua(struct run *run) {
    struct service s;
    struct guest p;
    service_open(&s, NAMES);
    guest_websocket(&p, &s, "/", "");
    guest_send_text(&p, "go");
    service_turn(&s, run);
    while (run_next(run)) {
        guest_send_text(&p, "go");
        service_turn(&s, run);
        guest_take(&p, SPAN("done"));
    }
    guest_close(&p);
    service_close(&s);
}

const struct bench room_benches[] = {
    {"websocket-delivery", deliver_websocket, 100, MEMBERS + 1},
    {"websocket-delivery-with-history", deliver_history, 100, MEMBERS + 1},
    {"stream-delivery", deliver_stream, 100, MEMBERS + 1},
    {"socketio-delivery", deliver_socketio, 100, MEMBERS + 1},
    {"join-and-leave", join_and_leave, 40, MEMBERS},
    {"join-and-leave-lua", join_and_leave_lua, 400, JOINS},
    {NULL, NULL, 0, 0},
};
