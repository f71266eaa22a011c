/* Sessions of Engine.IO: their table, their heartbeat, their end, and what is common to both
 * transports. Requests are proto/eio_serve's business, polling and WebSockets proto/eio_polling's
 * and proto/eio_ws's. */
#include "base/memory.h"
#include "base/random.h"
#include "proto/eio_gzip.h"
#include "proto/eio_internal.h"

#include <stdlib.h>
#include <string.h>

void eio_server_init(struct eio_server *server, struct io *io, const struct config *config) {
    *server = (struct eio_server){.config = config};
    ws_shared_init(&server->shared, io, &eio_ws_events);
}

void eio_server_deinit(struct eio_server *server) {
    ws_shared_deinit(&server->shared);
    eio_gzip_free(server->gzip);
    slots_deinit(&server->sessions);
    writer_deinit(&server->scratch);
}

void eio_server_drain(struct eio_server *server) {
    server->draining = true;
    for (uint32_t slot = 0; slot < server->sessions.end; slot++) {
        struct eio *e = slots_get(&server->sessions, slot);
        if (!e) {
            continue;
        }
        if (e->state == EIO_CLOSING) {
            eio_finish(e, "forced close", "1");
        } else {
            eio_close(e, WS_CODE_RESTART, "server restart");
        }
    }
}

size_t eio_server_count(const struct eio_server *server) {
    return slots_count(&server->sessions) + server->sockets;
}

struct eio *eio_find(const struct eio_server *server, struct span sid) {
    struct eio_sid wanted;
    if (sid.len != EIO_SID_LEN || base64_decode(&wanted, sid) != (long)sizeof wanted) {
        return NULL;
    }
    struct eio *e = slots_get(&server->sessions, wanted.slot);
    return e && memcmp(&e->sid, &wanted, sizeof wanted) == 0 ? e : NULL;
}

/* --- the heartbeat -------------------------------------------------------------------------- */

static struct io *io_of(const struct eio *e) {
    return e->server->shared.io;
}

static void put_packet(struct eio *e, struct span packet) {
    if (e->ws) {
        eio_ws_put(e->ws, packet);
    } else {
        eio_polling_put(e->polling, packet);
    }
}

static void heard(struct eio *e) {
    e->pinged = false;
    timeout_start(io_of(e), &e->heartbeat, e->server->config->ping_interval);
}

static void on_heartbeat(struct timeout *timeout) {
    struct eio *e = (struct eio *)((char *)timeout - offsetof(struct eio, heartbeat));
    if (e->state == EIO_CLOSING) {
        eio_finish(e, "forced close", "1");
    } else if (e->pinged) {
        eio_finish(e, "ping timeout", "1");
    } else {
        e->pinged = true;
        e->refreshed = false;
        timeout_start(io_of(e), &e->heartbeat, e->server->config->ping_timeout);
        put_packet(e, SPAN("2"));
    }
}

/* --- opening -------------------------------------------------------------------------------- */

struct eio *eio_new(struct eio_server *server, const struct eio_handler *handler,
                    const struct request *r) {
    struct eio *e = memory_zalloc(handler->size);
    e->server = server;
    e->handler = handler;
    e->request = request_keep(r);
    e->heartbeat.expired = on_heartbeat;
    random_bytes(e->sid.secret, sizeof e->sid.secret);
    e->sid.slot = slots_add(&server->sessions, e);
    return e;
}

static void sid_text(const struct eio *e, char out[EIO_SID_LEN + 1]) {
    base64url_encode(out, &e->sid, sizeof e->sid);
    out[EIO_SID_LEN] = '\0';
}

void eio_put_open(const struct eio *e, struct writer *out) {
    const struct config *config = e->server->config;
    bool upgrades = !e->ws && config->socketio_upgrades && config->socketio_transports &&
                    strstr(config->socketio_transports, "websocket");
    char sid[EIO_SID_LEN + 1];
    sid_text(e, sid);
    writer_printf(out,
                  "0{\"sid\":\"%s\",\"upgrades\":[%s],\"pingInterval\":%llu,\"pingTimeout\":%llu,"
                  "\"maxPayload\":%zu}",
                  sid, upgrades ? "\"websocket\"" : "", (unsigned long long)config->ping_interval,
                  (unsigned long long)config->ping_timeout, config->socketio_payload);
}

void eio_put_cookie(const struct eio *e, struct writer *fields) {
    const char *name = e->server->config->socketio_cookie;
    if (name) {
        char sid[EIO_SID_LEN + 1];
        sid_text(e, sid);
        writer_printf(fields, "Set-Cookie: %s=%s; Path=/; HttpOnly; SameSite=Lax\r\n", name, sid);
    }
}

void eio_opened(struct eio *e, void *data) {
    heard(e);
    e->handler->on_open(e, data);
}

/* --- receiving ------------------------------------------------------------------------------ */

bool eio_receive(struct eio *e, const struct eio_packet *p) {
    /* Who speaks is there, and its answer may stand behind much else. But only once: messages are
     * no answer. */
    if (e->pinged && !e->refreshed && p->type != EIO_PONG && e->state == EIO_OPENED) {
        e->refreshed = true;
        timeout_start(io_of(e), &e->heartbeat, e->server->config->ping_timeout);
    }
    switch (p->type) {
    case EIO_MESSAGE:
        if (!e->handler->on_message(e, p->data, p->binary) && e->state == EIO_OPENED) {
            /* The answer to a ping would stand behind what is not read now. */
            e->full = true;
            timeout_stop(&e->heartbeat);
        }
        return !e->full;
    case EIO_PONG:
        heard(e);
        return true;
    case EIO_CLOSE:
        eio_finish(e, "transport close", "6");
        return true;
    case EIO_PING: /* It is the server that asks. */
        eio_finish(e, "transport error", "1");
        return true;
    default:
        return true;
    }
}

void eio_resume(struct eio *e) {
    if (!e->full) {
        return;
    }
    e->full = false;
    if (e->state != EIO_OPENED) {
        return;
    }
    heard(e);
    if (e->polling) {
        eio_polling_resume(e->polling);
    }
    if (e->ws && !e->full) {
        ws_conn_resume(&e->ws->ws);
    }
}

/* --- sending -------------------------------------------------------------------------------- */

ssize_t eio_send(struct eio *e, const struct slice *encoded) {
    if (e->state != EIO_OPENED) {
        return UV_ECANCELED;
    }
    if (e->ws) {
        return ws_conn_send(&e->ws->ws, encoded);
    }
    if (writer_len(&e->polling->queue) + encoded->len > e->server->config->hard_limit) {
        return UV_ENOBUFS;
    }
    eio_polling_put(e->polling, (struct span){slice_bytes(encoded), encoded->len});
    return (ssize_t)writer_len(&e->polling->queue);
}

bool eio_blocked(const struct eio *e) {
    return e->ws ? ws_conn_blocked(&e->ws->ws) : e->polling && !e->polling->get;
}

size_t eio_queued(const struct eio *e) {
    if (e->ws) {
        return ws_conn_queued(&e->ws->ws);
    }
    return e->polling ? writer_len(&e->polling->queue) : 0;
}

void eio_send_text(struct eio *e, struct span text) {
    if (e->state != EIO_OPENED) {
        return;
    }
    struct writer *scratch = &e->server->scratch;
    writer_clear(scratch);
    writer_putc(scratch, '4');
    writer_put_span(scratch, text);
    put_packet(e, writer_span(scratch));
}

/* --- the end -------------------------------------------------------------------------------- */

static void run_free(struct deferred *deferred) {
    struct eio *e = (struct eio *)((char *)deferred - offsetof(struct eio, late));
    request_unref(e->request);
    free(e);
}

/* Not now: whoever called may still have it in his hands. */
static void free_if_done(struct eio *e) {
    if (e->state == EIO_CLOSED && e->released) {
        e->late = (struct deferred){.run = run_free};
        io_defer_closed(io_of(e), &e->late);
    }
}

static void end(struct eio *e) {
    e->state = EIO_CLOSED;
    timeout_stop(&e->heartbeat);
    slots_remove(&e->server->sessions, e->sid.slot);
    if (e->polling) {
        eio_polling_free(e->polling);
    }
    free_if_done(e);
}

void eio_finish(struct eio *e, const char *reason, const char *last) {
    bool told = e->state != EIO_OPENED;
    if (e->state == EIO_CLOSED) {
        return;
    }
    e->state = EIO_CLOSED;
    if (e->polling) {
        eio_polling_answer(e->polling, last);
        eio_polling_end_post(e->polling);
    }
    if (e->ws) {
        eio_ws_detach(e->ws, WS_CODE_NONE, NULL);
        e->ws = NULL;
    }
    end(e);
    if (!told) {
        e->handler->on_closed(e, reason);
    }
}

void eio_close(struct eio *e, int code, const char *reason) {
    if (e->state != EIO_OPENED) {
        return;
    }
    if (e->ws) {
        eio_ws_detach(e->ws, code, reason);
        e->ws = NULL;
    } else if (code && !e->polling->get && !e->server->draining) {
        e->state = EIO_CLOSING;
        e->full = false;
        eio_polling_end_post(e->polling);
        timeout_start(io_of(e), &e->heartbeat, e->server->config->ping_timeout);
        e->handler->on_closed(e, "forced close");
        return;
    }
    eio_finish(e, "forced close", "1");
}

void eio_go_away(struct eio *e, uint32_t retry_ms) {
    char reason[WS_RESTART_REASON_SIZE];
    ws_put_restart_reason(reason, retry_ms);
    eio_close(e, WS_CODE_RESTART, reason);
}

void eio_release(struct eio *e) {
    e->released = true;
    free_if_done(e);
}
