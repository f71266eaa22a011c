/* WebSockets of Engine.IO: one that opens a session, or one that is offered to a polling session,
 * probed, and takes it over. Nothing is lost or overtaken then: the client sends "5" once its last
 * POST is answered, and what is still queued for a poll goes out as frames before anything newer.
 * Called by proto/eio_serve. */
#include "base/memory.h"
#include "proto/eio_internal.h"
#include "proto/ws.h"
#include "proto/ws_handshake.h"

#include <stdlib.h>
#include <string.h>

static struct eio_ws *of_conn(const struct ws_conn *w) {
    return (struct eio_ws *)((char *)(uintptr_t)w - offsetof(struct eio_ws, ws));
}

static struct eio_server *server_of(const struct ws_conn *w) {
    return (struct eio_server *)((char *)w->shared - offsetof(struct eio_server, shared));
}

/* --- sending -------------------------------------------------------------------------------- */

static void put_frame(struct eio_ws *w, enum ws_opcode opcode, struct span payload) {
    struct arena *arena = &w->ws.shared->io->arena;
    char *frame = arena_reserve(arena, WS_OUT_HEADER_MAX + payload.len);
    size_t len = ws_header_write(frame, opcode, false, payload.len);
    if (payload.len) {
        memcpy(frame + len, payload.at, payload.len);
    }
    struct slice slice = arena_commit(arena, len + payload.len);
    /* An error means that the conn is closing by itself, which on_closing will hear. */
    (void)ws_conn_send(&w->ws, &slice);
    slice_release(&slice);
}

void eio_ws_put(struct eio_ws *w, struct span packet) {
    put_frame(w, WS_TEXT, packet);
}

void eio_ws_detach(struct eio_ws *w, int code, const char *reason) {
    w->session = NULL;
    ws_conn_close(&w->ws, code, reason);
}

/* --- the probe ------------------------------------------------------------------------------ */

void eio_ws_drop_probe(struct eio_polling *p) {
    struct eio_ws *w = p->probe;
    timeout_stop(&p->upgrade);
    timeout_stop(&p->check);
    p->probe = NULL;
    p->probed = false;
    p->upgrade_waits = false;
    if (w) {
        eio_ws_detach(w, WS_CODE_NONE, NULL);
    }
}

/* What was queued for the next poll, as frames. */
static void move_queue(struct eio_polling *p, struct eio_ws *w) {
    struct buf *queue = writer_take(&p->queue);
    struct span rest = {queue->len ? queue->bytes : NULL, queue->len};
    struct span text;
    struct writer scratch = {0};
    while (eio_payload_next(&rest, &text)) {
        struct eio_packet packet;
        if (eio_packet_read(&packet, text, &scratch)) {
            put_frame(w, packet.binary ? WS_BINARY : WS_TEXT, packet.binary ? packet.data : text);
        }
    }
    writer_deinit(&scratch);
    buf_unref(queue);
}

void eio_ws_complete(struct eio *e) {
    struct eio_polling *p = e->polling;
    struct eio_ws *w = p->probe;
    bool waited = p->upgrade_waits;
    p->probe = NULL;
    e->ws = w;
    move_queue(p, w);
    eio_polling_answer(p, "6");
    eio_polling_free(p);
    e->handler->on_upgrade(e);
    if (!ws_conn_blocked(&w->ws)) {
        e->handler->on_drain(e);
    }
    if (waited && !e->full) {
        ws_conn_resume(&w->ws);
    }
}

/* "2probe" is answered, "5" takes over, all else ends the attempt. False: wait. */
static bool on_probe(struct eio *e, const struct eio_packet *packet) {
    struct eio_polling *p = e->polling;
    if (packet->type == EIO_PING && span_is(packet->data, "probe")) {
        eio_ws_put(p->probe, SPAN("3probe"));
        p->probed = true;
        p->check.expired(&p->check);
        return true;
    }
    if (packet->type != EIO_UPGRADE || !p->probed || e->state != EIO_OPENED) {
        eio_ws_drop_probe(p);
        return true;
    }
    if (p->post) { /* a client that did not wait: its POST came first */
        p->upgrade_waits = true;
        return false;
    }
    eio_ws_complete(e);
    return true;
}

/* --- the WebSocket's events ----------------------------------------------------------------- */

static size_t max_payload(const struct ws_conn *ws) {
    return server_of(ws)->config->socketio_payload;
}

static bool on_message(struct ws_conn *ws, struct span bytes, bool binary) {
    struct eio_ws *w = of_conn(ws);
    struct eio *e = w->session;
    struct eio_packet packet = {EIO_MESSAGE, true, bytes};
    struct writer scratch = {0};
    bool more = true;
    if (!e) {
        return true;
    }
    bool good = binary || eio_packet_read(&packet, bytes, &scratch);
    if (e->ws != w) {
        packet.type = good ? packet.type : EIO_NOOP; /* which ends a probe */
        more = on_probe(e, &packet);
    } else if (good) {
        more = eio_receive(e, &packet);
    } else {
        eio_finish(e, "parse error", "1");
    }
    writer_deinit(&scratch);
    return more;
}

static void on_drain(struct ws_conn *ws) {
    struct eio *e = of_conn(ws)->session;
    if (e && e->ws == of_conn(ws)) {
        e->handler->on_drain(e);
    }
}

static void on_closing(struct ws_conn *ws, const char *reason) {
    struct eio_ws *w = of_conn(ws);
    struct eio *e = w->session;
    if (!e) {
        return;
    }
    if (e->ws != w) {
        eio_ws_drop_probe(e->polling);
        return;
    }
    eio_finish(e, strcmp(reason, "client closed") == 0 ? "transport close" : "transport error",
               "1");
}

static void on_gone(struct ws_conn *ws) {
    server_of(ws)->sockets--;
    free(of_conn(ws));
}

const struct ws_conn_handler eio_ws_events = {.silent = true,
                                              .max_payload = max_payload,
                                              .on_message = on_message,
                                              .on_drain = on_drain,
                                              .on_closing = on_closing,
                                              .on_gone = on_gone};

/* --- handshakes ----------------------------------------------------------------------------- */

/* Answers 101. NULL: nobody is there any more. */
static struct eio_ws *accept_ws(struct eio_server *server, struct eio *e, struct exchange *x,
                                struct span *rest) {
    struct writer *head = &server->scratch;
    struct ws_agreement agreement = {0};
    writer_clear(head);
    ws_handshake_answer(head, exchange_request(x), &agreement,
                        writer_span(exchange_extra_headers(x)));
    struct conn *conn = exchange_upgrade(x, rest);
    struct eio_ws *w = NULL;
    if (conn) {
        w = memory_zalloc(sizeof *w);
        w->session = e;
        server->sockets++;
        ws_conn_start(&w->ws, &server->shared, conn, 0);
        (void)conn_write_bytes(conn, writer_span(head).at, writer_len(head));
    }
    return w;
}

/* The bytes lie in the worker's read buffer, or in what was kept of it. */
static void feed(struct eio_ws *w, struct span rest) {
    if (rest.len) {
        ws_conn_feed(&w->ws, (char *)(uintptr_t)rest.at, rest.len);
    }
}

void eio_ws_open(struct eio_server *server, const struct eio_handler *handler, void *data,
                 struct exchange *x) {
    struct span rest;
    if (!exchange_open(x)) {
        return;
    }
    struct eio *e = eio_new(server, handler, exchange_request(x));
    eio_put_cookie(e, exchange_extra_headers(x));
    struct eio_ws *w = accept_ws(server, e, x, &rest);
    struct writer *open = &server->scratch;
    e->ws = w;
    writer_clear(open);
    eio_put_open(e, open);
    eio_ws_put(w, writer_span(open));
    eio_opened(e, data);
    feed(w, rest);
}

void eio_ws_upgrade(struct eio *e, struct exchange *x) {
    struct eio_polling *p = e->polling;
    struct span rest;
    bool welcome = p && !p->probe && e->state == EIO_OPENED;
    struct eio_ws *w = accept_ws(e->server, welcome ? e : NULL, x, &rest);
    if (!w) {
        return;
    }
    if (!welcome) { /* It has one already, or there is one on trial. */
        eio_ws_detach(w, WS_CODE_NONE, NULL);
        return;
    }
    p->probe = w;
    timeout_start(e->server->shared.io, &p->upgrade, e->server->config->upgrade_timeout);
    feed(w, rest);
}
