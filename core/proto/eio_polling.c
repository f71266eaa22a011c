/* Long-polling: a GET that waits for packets, POSTs that bring them, and the queue in between. What
 * was queued within a turn goes out at its end, in one answer. Called by proto/eio_serve with the
 * requests of a session. */
#include "base/memory.h"
#include "base/utf8.h"
#include "http/response.h"
#include "proto/eio_gzip.h"
#include "proto/eio_internal.h"

#include <stdlib.h>
#include <string.h>

#define CHECK_INTERVAL 100 /* ms that a poll may wait while a probe is on */

static void answer(struct exchange *x, int status, struct span type, struct buf *body) {
    struct response r;
    response_init(&r, status);
    if (body) {
        (void)!response_header(&r, SPAN("Content-Type"), type);
        (void)!response_header(&r, SPAN("Cache-Control"), SPAN("no-store"));
    }
    r.body = body;
    response_send(x, &r);
}

/* --- the poll ------------------------------------------------------------------------------- */

void eio_polling_put(struct eio_polling *p, struct span packets) {
    if (writer_len(&p->queue)) {
        writer_putc(&p->queue, EIO_SEPARATOR);
    }
    writer_put_span(&p->queue, packets);
    if (p->get) {
        io_defer_closed(p->io, &p->flush);
    }
}

/* Packed if it is long and the client takes that; Vary says so to caches in between. */
static void answer_packets(struct eio_server *server, struct exchange *x, struct buf *body) {
    size_t least = server->config->socketio_gzip;
    if (least && body->len >= least) {
        struct writer *extra = exchange_extra_headers(x);
        struct span accepted = request_header(exchange_request(x), "accept-encoding");
        struct buf *packed = NULL;
        writer_puts(extra, "Vary: Accept-Encoding\r\n");
        if (eio_gzip_accepted(accepted)) {
            packed = eio_gzip_pack(&server->gzip, (struct span){body->bytes, body->len});
        }
        if (packed) {
            writer_puts(extra, "Content-Encoding: gzip\r\n");
            buf_unref(body);
            body = packed;
        }
    }
    answer(x, 200, SPAN("text/plain; charset=UTF-8"), body);
}

void eio_polling_answer(struct eio_polling *p, const char *last) {
    struct exchange *x = p->get;
    if (!x) {
        return;
    }
    p->get = NULL;
    if (last) {
        if (writer_len(&p->queue)) {
            writer_putc(&p->queue, EIO_SEPARATOR);
        }
        writer_puts(&p->queue, last);
    }
    exchange_on_abort(x, NULL, NULL);
    answer_packets(p->session->server, x, writer_take(&p->queue));
    exchange_unref(x);
}

static void run_flush(struct deferred *deferred) {
    struct eio_polling *p =
        (struct eio_polling *)((char *)deferred - offsetof(struct eio_polling, flush));
    struct eio *e = p->session;
    if (e && p->get && e->state == EIO_OPENED) {
        e->handler->on_drain(e);
    }
    if (p->session && writer_len(&p->queue)) {
        eio_polling_answer(p, NULL);
    }
}

/* While a probe is on, the client waits for its poll to end before it moves over. */
static void on_check(struct timeout *timeout) {
    struct eio_polling *p =
        (struct eio_polling *)((char *)timeout - offsetof(struct eio_polling, check));
    if (p->get && !writer_len(&p->queue)) {
        eio_polling_answer(p, "6");
    }
    timeout_start(p->io, &p->check, CHECK_INTERVAL);
}

static void on_upgrade_timeout(struct timeout *timeout) {
    eio_ws_drop_probe(
        (struct eio_polling *)((char *)timeout - offsetof(struct eio_polling, upgrade)));
}

/* Nobody is there any more who could poll again for what he has not received. */
static void on_abort(struct exchange *x, void *data) {
    struct eio *e = data;
    struct eio_polling *p = e->polling;
    struct exchange **mine = x == p->get ? &p->get : &p->post;
    *mine = NULL;
    p->rest = (struct span){0};
    eio_finish(e, "transport error", "1");
    exchange_unref(x);
}

static void on_get(struct eio *e, struct exchange *x) {
    struct eio_polling *p = e->polling;
    if (p->get) {
        eio_finish(e, "transport error", "1");
        answer(x, 400, (struct span){0}, NULL);
        return;
    }
    p->get = exchange_ref(x);
    exchange_on_abort(x, on_abort, e);
    exchange_abort_at_end(x);
    if (e->state == EIO_CLOSING) {
        eio_finish(e, "forced close", "1");
    } else {
        io_defer_closed(p->io, &p->flush);
    }
}

/* --- the POST ------------------------------------------------------------------------------- */

void eio_polling_end_post(struct eio_polling *p) {
    struct exchange *x = p->post;
    if (!x) {
        return;
    }
    p->post = NULL;
    p->rest = (struct span){0};
    exchange_on_abort(x, NULL, NULL);
    answer(x, 200, SPAN("text/html"), buf_copy("ok", 2));
    exchange_unref(x);
}

/* The next packet of the body; false: no more now, or it was the last. */
static bool take_one(struct eio *e, struct eio_polling *p, struct writer *scratch) {
    struct span text;
    struct eio_packet packet;
    if (e->state != EIO_OPENED || e->full || !eio_payload_next(&p->rest, &text)) {
        return false;
    }
    if (!eio_packet_read(&packet, text, scratch)) {
        eio_finish(e, "parse error", "1");
        return false;
    }
    return eio_receive(e, &packet);
}

static void pump(struct eio_polling *p) {
    struct eio *e = p->session;
    struct exchange *x = p->post;
    if (!x) {
        return;
    }
    struct writer scratch = {0};
    exchange_ref(x); /* the packets lie in its body, even if the POST is answered meanwhile */
    while (take_one(e, p, &scratch)) {
    }
    if (e->state == EIO_OPENED && !e->full) {
        eio_polling_end_post(p);
        if (p->upgrade_waits) {
            eio_ws_complete(e);
        }
    }
    exchange_unref(x);
    writer_deinit(&scratch);
}

static void run_pump(struct deferred *deferred) {
    struct eio_polling *p =
        (struct eio_polling *)((char *)deferred - offsetof(struct eio_polling, pump));
    if (p->session) {
        pump(p);
    }
}

/* Not at once, for the app has just come from a handler. */
void eio_polling_resume(struct eio_polling *p) {
    io_defer_closed(p->io, &p->pump);
}

static void on_post(struct eio *e, struct exchange *x) {
    const struct request *r = exchange_request(x);
    struct span body = request_body(r);
    struct eio_polling *p = e->polling;
    bool text = !span_is(request_header(r, "content-type"), "application/octet-stream") &&
                utf8_valid(body.at, body.len);
    if (e->state != EIO_OPENED) {
        answer(x, 200, SPAN("text/html"), buf_copy("ok", 2));
    } else if (body.len > e->server->config->socketio_payload) {
        answer(x, 413, (struct span){0}, NULL);
    } else if (p->post || !text) {
        eio_finish(e, "transport error", "1");
        answer(x, 400, (struct span){0}, NULL);
    } else {
        p->post = exchange_ref(x);
        p->rest = body.len ? body : SPAN("");
        exchange_on_abort(x, on_abort, e);
        pump(p);
    }
}

void eio_polling_serve(struct eio *e, struct exchange *x) {
    struct span method = request_method(exchange_request(x));
    if (span_is(method, "GET")) {
        on_get(e, x);
    } else if (span_is(method, "POST")) {
        on_post(e, x);
    } else {
        eio_refuse(x, EIO_BAD_REQUEST);
    }
}

/* --- life ----------------------------------------------------------------------------------- */

struct eio_polling *eio_polling_new(struct eio *e) {
    struct eio_polling *p = memory_zalloc(sizeof *p);
    p->session = e;
    p->io = e->server->shared.io;
    p->flush.run = run_flush;
    p->pump.run = run_pump;
    p->check.expired = on_check;
    p->upgrade.expired = on_upgrade_timeout;
    e->polling = p;
    return p;
}

void eio_polling_open(struct eio *e, struct exchange *x) {
    struct eio_polling *p = e->polling;
    eio_put_open(e, &p->queue);
    eio_put_cookie(e, exchange_extra_headers(x));
    p->get = exchange_ref(x);
    eio_polling_answer(p, NULL);
}

static void run_free(struct deferred *deferred) {
    struct eio_polling *p =
        (struct eio_polling *)((char *)deferred - offsetof(struct eio_polling, late));
    if (p->flush.queued || p->pump.queued) { /* they run first */
        io_defer_closed(p->io, deferred);
        return;
    }
    writer_deinit(&p->queue);
    free(p);
}

void eio_polling_free(struct eio_polling *p) {
    eio_ws_drop_probe(p);
    p->session->polling = NULL;
    p->session = NULL;
    p->late.run = run_free;
    io_defer_closed(p->io, &p->late);
}
