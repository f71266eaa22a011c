/* A message of 1 KiB of JSON made into the bytes of each wire, by the operation that the hub calls
 * once per message and wire. */
#include "service.h"

#include "sample.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void encode(struct run *run, struct service *s, enum wire wire) {
    struct arena *arena = &s->app.io.arena;
    struct client *c = hub_client_at(s->app.hub, 0);
    assert_non_null(c);
    assert_int_equal(c->ops->wire, wire);
    struct message m;
    message_init(&m, MESSAGE_EVENT);
    m.room = SPAN("room:1");
    m.event = SPAN("said");
    m.data = sample_json();
    m.argc = 1;
    while (run_next(run)) {
        count_on(run);
        struct slice bytes = c->ops->encode(c, arena, &m);
        count_off(run);
        assert_non_null(bytes.buf);
        slice_release(&bytes);
        arena_rewind(arena);
    }
}

static void encode_websocket(struct run *run, const char *fields, enum wire wire) {
    struct service s;
    struct guest p;
    service_open(&s, "return { protocol = 'events' }");
    guest_websocket(&p, &s, "/", fields);
    encode(run, &s, wire);
    guest_close(&p);
    service_close(&s);
}

static void websocket(struct run *run) {
    encode_websocket(run, "", WIRE_WS);
}

static void deflated(struct run *run) {
    encode_websocket(run, "Sec-WebSocket-Extensions: permessage-deflate\r\n", WIRE_WS_DEFLATE_15);
}

static void encode_other(struct run *run, void (*come)(struct guest *, struct service *),
                         enum wire wire) {
    struct service s;
    struct guest p;
    service_open(&s, "return { protocol = 'events' }");
    come(&p, &s);
    encode(run, &s, wire);
    guest_close(&p);
    service_close(&s);
}

static void come_stream(struct guest *p, struct service *s) {
    guest_stream(p, s, "/");
}

static void stream(struct run *run) {
    encode_other(run, come_stream, WIRE_SSE);
}

static void socketio(struct run *run) {
    encode_other(run, guest_socketio, WIRE_SIO_WS);
}

static void polling(struct run *run) {
    encode_other(run, guest_polling, WIRE_SIO_POLLING);
}

const struct bench encode_benches[] = {
    {"encode-websocket", websocket, 2000, 1},
    {"encode-websocket-deflated", deflated, 200, 1},
    {"encode-stream", stream, 2000, 1},
    {"encode-socketio", socketio, 2000, 1},
    {"encode-socketio-polling", polling, 2000, 1},
    {NULL, NULL, 0, 0},
};
