/* A crowd of clients that do anything in any order: each question is answered once, and each client
 * goes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app_fixture.h"

#define CROWD 6
#define STEPS 3000

static uint32_t next_random(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Answers the request that the client was sent last, if there is one. */
static void answer_last(struct app_client *c) {
    const char *at = app_sent(c), *last = NULL;
    while ((at = strstr(at, "\"id\":"))) {
        last = at += 5;
    }
    if (last) {
        app_answer(c, strtoull(last, NULL, 10), "1");
    }
}

static void step(struct app_fixture *f, struct app_client **crowd, struct app_ack *ack,
                 uint32_t *seed) {
    struct app_client **place = &crowd[next_random(seed) % CROWD];
    struct app_client *c = *place;
    static const char *const rooms[] = {"\"a\"", "\"b\"", "\"c\""};
    uint32_t which = next_random(seed);
    if (!c) {
        *place = app_connect(f, "/");
        return;
    }
    if (c->freed) {
        app_client_free(c);
        *place = NULL;
        return;
    }
    if (c->client.closing) {
        io_end_turn(&f->io);
        return;
    }
    switch (which % 9) {
    case 0:
        (void)app_event(c, "note", "1", ack);
        break;
    case 1:
        (void)app_event(c, "wait", "1", ack);
        break;
    case 2:
        (void)app_join(c, "a", "", ack);
        break;
    case 3:
        (void)app_event(c, "leave", rooms[which % 3], ack);
        break;
    case 4:
        client_closed(&c->client, "closed");
        break;
    case 5:
        (void)app_event(c, which & 64 ? "quit" : "all", "", ack);
        break;
    case 6:
        app_turn(f);
        break;
    default:
        answer_last(c);
    }
}

/* Whatever comes in whatever order: each ack is answered once, each client is released. */
static void every_ack_is_answered_once_whatever_happens(void **state) {
    struct app_fixture *f = *state;
    struct app_client *crowd[CROWD] = {NULL};
    struct app_ack *acks = calloc(STEPS, sizeof *acks);
    uint32_t seed = 7;
    app_serve(f,
              HEAD "function app.events.note(client, n) return n end\n"
                   "function app.events.wait(client) return client:timeout(60):request('q') end\n"
                   "function app.events.leave(client, room) return client:leave(room) end\n"
                   "function app.events.quit(client) client:disconnect() end\n"
                   "function app.events.all(client)\n"
                   "  client:join('b')\n"
                   "  local answers, silent = mw.room('a'):timeout(60):request('q')\n"
                   "  mw.namespace():emit('asked', #answers, #silent)\n"
                   "  return #answers\n"
                   "end\n"
                   "function app.on_connect(client) client:join('c') end\n"
                   "function app.on_join(client) return (client:timeout(60):request('q')) end\n"
                   "function app.on_leave(client, room, reason)\n"
                   "  room:emit('left', reason)\n"
                   "  for _, other in ipairs(room:clients()) do other:leave(room.name) end\n"
                   "end\n"
                   "return app");
    for (int i = 0; i < STEPS; i++) {
        step(f, crowd, &acks[i], &seed);
    }
    /* One may wait for another's answer: all are closed before any is over. */
    for (int i = 0; i < CROWD; i++) {
        if (crowd[i] && !crowd[i]->freed) {
            client_closed(&crowd[i]->client, "over");
        }
    }
    io_end_turn(&f->io);
    for (int i = 0; i < CROWD; i++) {
        if (crowd[i]) {
            app_client_free(crowd[i]);
        }
    }
    int asked = 0;
    for (int i = 0; i < STEPS; i++) {
        asked += acks[i].ack.answer ? 1 : 0;
        assert_int_equal(acks[i].answers, acks[i].ack.answer ? 1 : 0);
    }
    assert_true(asked > STEPS / 4);
    assert_int_equal(f->metrics.queued_events, 0);
    assert_null(strstr(app_log(f), "handler failed"));
    free(acks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_ack_is_answered_once_whatever_happens, app_set_up,
                                        app_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
