/* The whole way of a message: a frame comes in, a handler in Lua hears it, a frame goes out. One
 * round is one turn of the server's loop, as under load: it writes the answers to the round before,
 * reads, and calls Lua. */
#include "service.h"
#include "ws_frames.h"

#include <stdlib.h>
#include <string.h>

#define RAW "return { on_message = function(client, data, kind) client:send(data, kind) end }"
#define EVENTS                                                                       \
    "return { protocol = 'events', events = {\n"                                     \
    "  say = function(client, message) message.text = 'heard' return message end,\n" \
    "  m = function(client, data) client:emit('m', data) end } }"

/* Asks `count` times per round, and hears as many answers in the next one. */
static void ask_and_hear(struct run *run, struct service *s, struct guest *p, const char *text,
                         struct span answer, unsigned count) {
    struct writer frames = {NULL};
    for (unsigned i = 0; i < count; i++) {
        put_frame(&frames, FIN | 1, span_of(text));
    }
    guest_send(p, writer_span(&frames));
    service_turn(s, run);
    while (run_next(run)) {
        guest_send(p, writer_span(&frames));
        service_turn(s, run);
        for (unsigned i = 0; i < count; i++) {
            guest_take(p, answer);
        }
    }
    writer_deinit(&frames);
}

static void echo(struct run *run, size_t len, unsigned count) {
    struct service s;
    struct guest p;
    char *text = malloc(len + 1);
    memset(text, 'x', len);
    text[0] = '<';
    text[len - 1] = '>';
    text[len] = '\0';
    service_open(&s, RAW);
    guest_websocket(&p, &s, "/", "");
    ask_and_hear(run, &s, &p, text, (struct span){text, len}, count);
    guest_close(&p);
    service_close(&s);
    free(text);
}

static void echo_64(struct run *run) {
    echo(run, 64, 1);
}

static void echo_64_16_in_flight(struct run *run) {
    echo(run, 64, 16);
}

static void echo_16k(struct run *run) {
    echo(run, 16384, 1);
}

static void event_and_reply(struct run *run) {
    struct service s;
    struct guest p;
    service_open(&s, EVENTS);
    guest_websocket(&p, &s, "/", "");
    ask_and_hear(
        run, &s, &p,
        "{\"event\":\"say\",\"data\":{\"room\":\"room:1\",\"text\":\"hello\",\"n\":1},\"id\":7}",
        SPAN("\"text\":\"heard\""), 1);
    guest_close(&p);
    service_close(&s);
}

static void socketio(struct run *run, unsigned count) {
    struct service s;
    struct guest p;
    service_open(&s, EVENTS);
    guest_socketio(&p, &s);
    ask_and_hear(run, &s, &p, "42[\"m\",{\"room\":\"room:1\",\"text\":\"hello\",\"n\":1}]",
                 SPAN("42[\"m\",{"), count);
    guest_close(&p);
    service_close(&s);
}

static void socketio_echo(struct run *run) {
    socketio(run, 1);
}

static void socketio_echo_16_in_flight(struct run *run) {
    socketio(run, 16);
}

const struct bench path_benches[] = {
    {"websocket-echo", echo_64, 8000, 1},
    {"websocket-echo-16-in-flight", echo_64_16_in_flight, 500, 16},
    {"websocket-echo-16k", echo_16k, 800, 1},
    {"websocket-event-and-reply", event_and_reply, 3000, 1},
    {"socketio-echo", socketio_echo, 3000, 1},
    {"socketio-echo-16-in-flight", socketio_echo_16_in_flight, 250, 16},
    {NULL, NULL, 0, 0},
};
