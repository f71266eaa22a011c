/* The life of a WebSocket connection, from the end of its handshake to the end of its socket. It
 * reads through proto/ws_reader, writes its own control frames, and hands messages up. It knows no
 * client, no JSON and no hub. Used by proto/ws and by
 * proto/eio_ws. */
#include "proto/ws_conn.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTROL_SECOND 1000 /* ms */
#define RESTART_WAIT 2000   /* ms for the answer to the goodbye of a server that goes */
#define REASON_MAX (WS_CONTROL_MAX - 2)

enum state {
    STATE_OPEN,
    STATE_CLOSING, /* our close frame is sent: only the peer's is waited for */
    STATE_CLOSED,  /* both, or none that could be: only the socket's end is waited for */
};

enum pause {
    PAUSE_ABOVE = 1,  /* on_message returned false */
    PAUSE_OUTPUT = 2, /* the client does not read what it is sent */
};

struct ws_pong {
    uint8_t len;
    char bytes[WS_CONTROL_MAX];
};

void ws_shared_init(struct ws_shared *shared, struct io *io,
                    const struct ws_conn_handler *handler) {
    *shared = (struct ws_shared){.io = io, .handler = handler, .deflate = ws_deflate_new()};
}

void ws_shared_deinit(struct ws_shared *shared) {
    ws_deflate_free(shared->deflate);
    ws_pool_deinit(&shared->pool);
}

/* --- control frames of ours ----------------------------------------------------------------- */

static void send_control(struct ws_conn *w, enum ws_opcode opcode, const char *bytes, size_t len) {
    char frame[2 + WS_CONTROL_MAX];
    size_t head = ws_header_write(frame, opcode, false, len);
    if (len) {
        memcpy(frame + head, bytes, len);
    }
    /* An error means that the conn is closing by itself, which on_close will hear. */
    (void)conn_write_bytes(w->conn, frame, head + len);
}

/* At most 123 bytes of a reason, and no half character. */
static size_t reason_length(const char *reason) {
    size_t len = strlen(reason);
    if (len > REASON_MAX) {
        len = REASON_MAX;
        while (len && ((unsigned char)reason[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    return len;
}

static void send_close(struct ws_conn *w, int code, const char *reason) {
    char payload[WS_CONTROL_MAX];
    size_t len = reason ? reason_length(reason) : 0;
    if (code == WS_CODE_NONE) {
        send_control(w, WS_CLOSE, NULL, 0);
        return;
    }
    payload[0] = (char)(code >> 8);
    payload[1] = (char)code;
    if (len) {
        memcpy(payload + 2, reason, len);
    }
    send_control(w, WS_CLOSE, payload, 2 + len);
}

/* --- closing -------------------------------------------------------------------------------- */

/* Nothing more comes or goes, but what is queued. */
static void finish(struct ws_conn *w) {
    w->state = STATE_CLOSED;
    timeout_stop(&w->timeout);
    conn_finish(w->conn);
}

static void abort_now(struct ws_conn *w, int error) {
    w->state = STATE_CLOSED;
    timeout_stop(&w->timeout);
    conn_abort(w->conn, error);
}

/* RFC 6455 section 7.1.7: tells the peer why and reads nothing more. */
static void fail(struct ws_conn *w, int code) {
    bool open = w->state == STATE_OPEN;
    const char *word = code == WS_CODE_TOO_BIG        ? "message too big"
                       : code == WS_CODE_INVALID_DATA ? "invalid data"
                       : code == WS_CODE_POLICY       ? "too many control frames"
                                                      : "protocol error";
    if (open) {
        send_close(w, code, word);
    }
    finish(w);
    if (open) {
        w->shared->handler->on_closing(w, code == WS_CODE_TOO_BIG ? "message too big"
                                                                  : "protocol error");
    }
}

static void on_close_frame(struct ws_conn *w, int code) {
    bool open = w->state == STATE_OPEN;
    if (open) {
        send_close(w, code, NULL);
    }
    finish(w);
    if (open) {
        w->shared->handler->on_closing(w, "client closed");
    }
}

void ws_conn_close(struct ws_conn *w, int code, const char *reason) {
    if (!w->conn || w->state == STATE_CLOSED) {
        return;
    }
    if (code == 0) {
        abort_now(w, UV_ECANCELED);
        return;
    }
    if (w->state == STATE_OPEN) {
        send_close(w, code, reason);
        w->state = STATE_CLOSING;
        w->paused = 0;
        uint64_t wait = w->shared->io->config->ping_timeout;
        if (code == WS_CODE_RESTART && wait > RESTART_WAIT) {
            wait = RESTART_WAIT;
        }
        timeout_start(w->shared->io, &w->timeout, wait);
        conn_resume(w->conn);
    }
}

void ws_put_restart_reason(char out[WS_RESTART_REASON_SIZE], uint32_t retry_ms) {
    snprintf(out, WS_RESTART_REASON_SIZE, "server restart; retry=%u.%03u", retry_ms / 1000,
             retry_ms % 1000);
}

/* --- time ----------------------------------------------------------------------------------- */

/* Any byte is a sign of life. */
static void heard(struct ws_conn *w) {
    w->pinged = false;
    if (w->shared->handler->silent) {
        timeout_stop(&w->timeout);
    } else {
        timeout_start(w->shared->io, &w->timeout, w->shared->io->config->ping_interval);
    }
}

static void on_timeout(struct timeout *timeout) {
    struct ws_conn *w = (struct ws_conn *)((char *)timeout - offsetof(struct ws_conn, timeout));
    struct io *io = w->shared->io;
    if (w->state != STATE_OPEN && conn_queued(w->conn)) {
        finish(w); /* Nobody waits for its goodbye any more, but it may be slow and still read. */
    } else if (w->state != STATE_OPEN) {
        abort_now(w, UV_ETIMEDOUT);
    } else if (w->pinged || w->paused) {
        bool slow = w->paused & PAUSE_OUTPUT;
        abort_now(w, UV_ETIMEDOUT);
        w->shared->handler->on_closing(w, slow ? "slow consumer" : "ping timeout");
    } else {
        w->pinged = true;
        send_control(w, WS_PING, NULL, 0);
        timeout_start(io, &w->timeout, io->config->ping_timeout);
    }
}

/* --- pausing -------------------------------------------------------------------------------- */

/* What a paused client is sent pings for, it could not answer: the clock stops. If it is paused
 * because it does not read, it may take as long as a client that has died. */
static void pause_reading(struct ws_conn *w, const char *rest, size_t len) {
    const struct config *config = w->shared->io->config;
    if (w->paused & PAUSE_OUTPUT) {
        timeout_start(w->shared->io, &w->timeout, config->ping_interval + config->ping_timeout);
    } else {
        timeout_stop(&w->timeout);
    }
    w->pinged = false;
    conn_pause(w->conn, rest, len);
}

static void end_pause(struct ws_conn *w, enum pause why) {
    if (!(w->paused & why)) {
        return;
    }
    w->paused &= (uint8_t)~why;
    if (!w->paused) {
        heard(w);
        conn_resume(w->conn);
    } else if (why == PAUSE_OUTPUT) {
        timeout_stop(&w->timeout);
    }
}

void ws_conn_resume(struct ws_conn *w) {
    if (w->conn) {
        end_pause(w, PAUSE_ABOVE);
    }
}

/* --- receiving ------------------------------------------------------------------------------ */

/* config->control_rate in a second that begins with the first of them. */
static bool control_admitted(struct ws_conn *w) {
    const struct io *io = w->shared->io;
    uint32_t now = (uint32_t)uv_now(io->loop);
    if (!w->control_count || now - w->control_since >= CONTROL_SECOND) {
        w->control_since = now;
        w->control_count = 0;
    }
    if (w->control_count >= io->config->control_rate) {
        return false;
    }
    w->control_count++;
    return true;
}

/* While output is blocked only the latest ping needs its pong (RFC 6455 section 5.5.3). */
static void answer_ping(struct ws_conn *w, struct span payload) {
    if (!conn_blocked(w->conn)) {
        send_control(w, WS_PONG, payload.at, payload.len);
        return;
    }
    if (!w->pong) {
        w->pong = memory_alloc(sizeof *w->pong);
    }
    w->pong->len = (uint8_t)payload.len;
    memcpy(w->pong->bytes, payload.at, payload.len);
}

static void deliver(struct ws_conn *w, const struct ws_received *got, size_t max_payload) {
    struct span bytes = got->bytes;
    bool binary = got->opcode == WS_BINARY;
    if (got->compressed) {
        int code = ws_inflate_message(w->shared->deflate, got->bytes, max_payload, &bytes);
        if (code == 0 && !binary && !utf8_valid(bytes.at, bytes.len)) {
            code = WS_CODE_INVALID_DATA;
        }
        if (code) {
            fail(w, code);
            return;
        }
    }
    bool more = w->shared->handler->on_message(w, bytes, binary);
    if (w->state != STATE_OPEN) {
        return; /* It has closed the connection: read on for the peer's close frame. */
    }
    bool unread = conn_blocked(w->conn) && conn_queued(w->conn) > w->shared->io->config->high_mark;
    w->paused = (uint8_t)((more ? 0 : PAUSE_ABOVE) | (unread ? PAUSE_OUTPUT : 0));
}

static void receive(struct ws_conn *w, const struct ws_received *got, size_t max_payload) {
    bool control = got->opcode != WS_TEXT && got->opcode != WS_BINARY;
    if (got->opcode == WS_CLOSE) {
        on_close_frame(w, got->code);
    } else if (control && !control_admitted(w)) {
        fail(w, WS_CODE_POLICY);
    } else if (w->state != STATE_OPEN) {
        return; /* Once we have said goodbye, only the peer's goodbye counts. */
    } else if (got->opcode == WS_PING) {
        answer_ping(w, got->bytes);
    } else if (!control) {
        deliver(w, got, max_payload);
    }
}

void ws_conn_feed(struct ws_conn *w, char *bytes, size_t len) {
    struct ws_limits limits = {w->shared->handler->max_payload(w), w->window != 0};
    struct ws_pool *pool = &w->shared->pool;
    char *at = bytes;
    char *end = bytes + len;
    if (w->state == STATE_OPEN) {
        heard(w);
    }
    while (!w->paused && w->state != STATE_CLOSED && !conn_is_closed(w->conn)) {
        struct ws_received got;
        int result = ws_reader_next(&w->reader, pool, &limits, &at, end, &got);
        if (result == 0) {
            return;
        }
        if (result != 1) {
            fail(w, result);
            return;
        }
        receive(w, &got, limits.max_payload);
    }
    ws_reader_settle(&w->reader, pool);
    if (w->paused && w->state == STATE_OPEN) {
        pause_reading(w, at, (size_t)(end - at));
    }
}

/* --- the conn's events ---------------------------------------------------------------------- */

static void on_data(struct conn *conn, char *bytes, size_t len) {
    ws_conn_feed(conn->owner, bytes, len);
}

static void on_drain(struct conn *conn) {
    struct ws_conn *w = conn->owner;
    if (w->pong && w->state == STATE_OPEN) {
        send_control(w, WS_PONG, w->pong->bytes, w->pong->len);
    }
    free(w->pong);
    w->pong = NULL;
    if (w->state == STATE_OPEN) {
        end_pause(w, PAUSE_OUTPUT);
        w->shared->handler->on_drain(w);
    }
}

/* Without a close frame, but orderly: nobody is there any more. */
static void on_end(struct conn *conn) {
    struct ws_conn *w = conn->owner;
    bool open = w->state == STATE_OPEN;
    finish(w);
    if (open) {
        w->shared->handler->on_closing(w, "client closed");
    }
}

static void on_close(struct conn *conn, int error) {
    struct ws_conn *w = conn->owner;
    bool open = w->state == STATE_OPEN;
    w->state = STATE_CLOSED;
    w->conn = NULL;
    timeout_stop(&w->timeout);
    ws_reader_deinit(&w->reader, &w->shared->pool);
    free(w->pong);
    w->pong = NULL;
    if (open) {
        w->shared->handler->on_closing(w, error == 0            ? "client closed"
                                          : error == UV_ENOBUFS ? "slow consumer"
                                                                : "transport error");
    }
    w->shared->handler->on_gone(w);
}

static const struct conn_handler conn_events = {
    .on_data = on_data, .on_drain = on_drain, .on_end = on_end, .on_close = on_close};

/* --- the rest of the interface -------------------------------------------------------------- */

void ws_conn_start(struct ws_conn *w, struct ws_shared *shared, struct conn *conn, int window) {
    *w = (struct ws_conn){.conn = conn,
                          .shared = shared,
                          .window = (uint8_t)window,
                          .timeout = {.expired = on_timeout}};
    conn_set_handler(conn, &conn_events, w);
    heard(w);
}

ssize_t ws_conn_send(struct ws_conn *w, const struct slice *frame) {
    return w->state == STATE_OPEN && w->conn ? conn_write(w->conn, frame) : UV_ECANCELED;
}

bool ws_conn_blocked(const struct ws_conn *w) {
    return w->conn && conn_blocked(w->conn);
}

size_t ws_conn_queued(const struct ws_conn *w) {
    return w->conn ? conn_queued(w->conn) : 0;
}
