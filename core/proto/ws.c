/* Clients of the hub over WebSocket: from messages to the app's events, and from the hub's messages
 * to frames that all recipients share. Frames and their life are proto/ws_conn's business, the
 * JSON is proto/event's. The worker calls it after on_auth has allowed a handshake. */
#include "proto/ws.h"

#include "base/memory.h"
#include "http/response.h"
#include "proto/event.h"
#include "proto/url_join.h"
#include "proto/ws_conn.h"
#include "proto/ws_handshake.h"

#include <stdlib.h>
#include <string.h>

#define SCRATCH_KEPT (64 << 10) /* bytes of the encoder's memory kept between messages */

struct ws_client;

struct ws_server {
    struct ws_shared shared;
    const struct config *config;
    struct app *app;
    struct metrics *metrics;
    size_t count; /* clients whose socket is there */
    struct writer scratch;
};

/* Freed once its socket is gone and the app has released it, in whatever order. */
struct ws_client {
    struct client client;
    struct ws_conn ws;
    LIST_HEAD(, ws_ack) acks; /* not answered yet */
};

/* A reply that the app owes. It outlives the client, which then forgets it. */
struct ws_ack {
    struct ack ack;
    struct ws_client *client; /* NULL: gone */
    LIST_ENTRY(ws_ack) link;
    size_t id_len;
    char id[];
};

static struct ws_client *of_client(const struct client *c) {
    return (struct ws_client *)((char *)c - offsetof(struct ws_client, client));
}

static struct ws_client *of_conn(const struct ws_conn *w) {
    return (struct ws_client *)((char *)w - offsetof(struct ws_client, ws));
}

static struct ws_server *server_of(const struct ws_client *w) {
    return (struct ws_server *)((char *)w->ws.shared - offsetof(struct ws_server, shared));
}

/* --- encoding ------------------------------------------------------------------------------- */

/* The payload of the frame: raw bytes, or JSON in the server's scratch. */
static struct span payload_of(struct ws_server *server, const struct message *m) {
    if (m->kind == MESSAGE_TEXT || m->kind == MESSAGE_BINARY) {
        return m->data;
    }
    writer_clear(&server->scratch);
    event_write(&server->scratch, m);
    return writer_span(&server->scratch);
}

/* Compresses behind the room for a header, which may then be a shorter one. 0: send it plain. */
static size_t deflate_frame(struct ws_server *server, int window, char *frame,
                            enum ws_opcode opcode, struct span payload) {
    size_t head = ws_header_size(payload.len);
    size_t len = ws_deflate_message(server->shared.deflate, window, frame + head, payload);
    if (!len) {
        return 0;
    }
    size_t shorter = ws_header_size(len);
    if (shorter != head) {
        memmove(frame + shorter, frame + head, len);
    }
    return ws_header_write(frame, opcode, true, len) + len;
}

static struct slice encode(const struct client *c, struct arena *arena, const struct message *m) {
    struct ws_server *server = server_of(of_client(c));
    struct span payload = payload_of(server, m);
    enum ws_opcode opcode = m->kind == MESSAGE_BINARY ? WS_BINARY : WS_TEXT;
    char *frame = arena_reserve(arena, ws_header_size(payload.len) + payload.len);
    size_t len = 0;
    if (c->ops->wire != WIRE_WS && payload.len >= server->config->deflate_min) {
        int window = (int)(c->ops->wire - WIRE_WS_DEFLATE_9) + WS_WINDOW_MIN;
        len = deflate_frame(server, window, frame, opcode, payload);
    }
    if (!len) {
        len = ws_header_write(frame, opcode, false, payload.len);
        if (payload.len) {
            memcpy(frame + len, payload.at, payload.len);
        }
        len += payload.len;
    }
    if (server->scratch.buf && server->scratch.buf->cap > SCRATCH_KEPT) {
        writer_deinit(&server->scratch);
    }
    return arena_commit(arena, len);
}

/* --- the hub's side ------------------------------------------------------------------------- */

static ssize_t send_frame(struct client *c, const struct message *m, const struct slice *encoded) {
    (void)m;
    return ws_conn_send(&of_client(c)->ws, encoded);
}

static bool is_blocked(const struct client *c) {
    return ws_conn_blocked(&of_client(c)->ws);
}

static size_t count_queued(const struct client *c) {
    return ws_conn_queued(&of_client(c)->ws);
}

static void close_client(struct client *c, int code, const char *reason) {
    ws_conn_close(&of_client(c)->ws, code, reason);
}

static void go_away(struct client *c, uint32_t retry_ms) {
    char reason[WS_RESTART_REASON_SIZE];
    ws_put_restart_reason(reason, retry_ms);
    ws_conn_close(&of_client(c)->ws, WS_CODE_RESTART, reason);
}

static void resume(struct client *c) {
    ws_conn_resume(&of_client(c)->ws);
}

static void free_if_done(struct ws_client *w) {
    if (!w->client.ns && !w->ws.conn) {
        free(w);
    }
}

static void release(struct client *c) {
    struct ws_client *w = of_client(c);
    struct ws_ack *ack;
    while ((ack = LIST_FIRST(&w->acks))) {
        LIST_REMOVE(ack, link);
        ack->client = NULL;
    }
    w->client.ns = NULL; /* says that it is released */
    free_if_done(w);
}

#define WS_OPS(which)                                                                        \
    {                                                                                        \
        .wire = (which), .encode = encode, .send = send_frame, .blocked = is_blocked,        \
        .queued = count_queued, .close = close_client, .go_away = go_away, .resume = resume, \
        .free = release                                                                      \
    }

/* Plain, then a wire for each window from 9. */
static const struct client_ops wires[] = {
    WS_OPS(WIRE_WS),
    WS_OPS(WIRE_WS_DEFLATE_9),
    WS_OPS(WIRE_WS_DEFLATE_9 + 1),
    WS_OPS(WIRE_WS_DEFLATE_9 + 2),
    WS_OPS(WIRE_WS_DEFLATE_9 + 3),
    WS_OPS(WIRE_WS_DEFLATE_9 + 4),
    WS_OPS(WIRE_WS_DEFLATE_9 + 5),
    WS_OPS(WIRE_WS_DEFLATE_15),
};

/* --- replies -------------------------------------------------------------------------------- */

static void reply(struct ws_client *w, struct span id, const struct reply *answer) {
    struct message m;
    message_init_reply(&m, answer);
    m.id = id;
    /* Whoever is closing hears nothing more; that is no error here. */
    (void)client_send(&w->client, &m);
    message_deinit(&m);
}

static void reply_error(struct ws_client *w, struct span id, const char *code) {
    reply(w, id, &(struct reply){.code = span_of(code)});
}

static void on_answer(struct ack *base, const struct reply *answer) {
    struct ws_ack *ack = (struct ws_ack *)base;
    if (ack->client) {
        LIST_REMOVE(ack, link);
        reply(ack->client, (struct span){ack->id, ack->id_len}, answer);
    }
    free(ack);
}

static struct ack *new_ack(struct ws_client *w, struct span id) {
    if (!id.len) {
        return NULL;
    }
    struct ws_ack *ack = memory_alloc(sizeof *ack + id.len);
    *ack = (struct ws_ack){.ack = {on_answer}, .client = w, .id_len = id.len};
    memcpy(ack->id, id.at, id.len);
    LIST_INSERT_HEAD(&w->acks, ack, link);
    return &ack->ack;
}

/* --- messages of the client ----------------------------------------------------------------- */

static size_t max_payload(const struct ws_conn *ws) {
    const struct ws_client *w = of_conn(ws);
    /* A released client has no namespace any more, and what comes is only read for its frames. */
    const struct ns_settings *settings = w->client.ns ? ns_settings(w->client.ns) : NULL;
    return settings ? settings->max_payload : server_of(w)->config->max_payload;
}

static bool on_event(struct ws_client *w, const struct event *e) {
    struct app *app = server_of(w)->app;
    struct client *c = &w->client;
    switch (e->kind) {
    case EVENT_EVENT:
        return app->on_event(app, c, e->name, e->args, (struct span){0}, new_ack(w, e->id));
    case EVENT_JOIN:
        return app->on_join(app, c, e->name, e->args, new_ack(w, e->id));
    case EVENT_LEAVE:
        return app->on_leave(app, c, e->name, new_ack(w, e->id));
    case EVENT_ANSWER:
        app->on_answer(app, c, e->number, e->args, (struct span){0}, e->error);
        return true;
    case EVENT_BAD:
        reply_error(w, e->id, "bad_message");
        return true;
    }
    return true;
}

static bool on_message(struct ws_conn *ws, struct span bytes, bool binary) {
    struct ws_client *w = of_conn(ws);
    struct app *app = server_of(w)->app;
    const struct ns_settings *settings = ns_settings(w->client.ns);
    bool admitted = client_admit(&w->client, uv_now(ws->shared->io->loop));
    server_of(w)->metrics->messages_received[w->client.ops->wire]++;
    if (binary || !settings || !settings->events) {
        if (!admitted) {
            reply_error(w, (struct span){0}, "rate_limited");
            return true;
        }
        return app->on_message(app, &w->client, bytes, binary);
    }
    struct event e;
    bool more = true;
    event_read(&e, bytes);
    if (admitted || e.kind == EVENT_ANSWER) {
        more = on_event(w, &e);
    } else {
        reply_error(w, e.id, "rate_limited");
    }
    event_deinit(&e);
    return more;
}

static void on_drain(struct ws_conn *ws) {
    client_drained(&of_conn(ws)->client);
}

static void on_closing(struct ws_conn *ws, const char *reason) {
    client_closed(&of_conn(ws)->client, reason);
}

static void on_gone(struct ws_conn *ws) {
    struct ws_client *w = of_conn(ws);
    server_of(w)->count--;
    free_if_done(w);
}

static const struct ws_conn_handler handler = {.max_payload = max_payload,
                                               .on_message = on_message,
                                               .on_drain = on_drain,
                                               .on_closing = on_closing,
                                               .on_gone = on_gone};

/* --- the handshake -------------------------------------------------------------------------- */

bool ws_wanted(const struct request *r) {
    return span_is(request_method(r), "GET") && request_header_has_token(r, "upgrade", "websocket");
}

bool ws_check(struct exchange *x) {
    const char *reason;
    int status = ws_handshake_check(exchange_request(x), &reason);
    if (status == 426) {
        struct writer *extra = exchange_extra_headers(x);
        writer_puts(extra, "Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n");
    }
    if (status) {
        response_text(x, status, reason);
    }
    return status == 0;
}

static struct ws_agreement agree(const struct ws_server *server, const struct ns *ns,
                                 const struct request *r) {
    const struct ns_settings *settings = ns_settings(ns);
    struct ws_agreement agreement = {0};
    if (settings) {
        agreement.subprotocol =
            ws_choose_subprotocol(request_header(r, "sec-websocket-protocol"),
                                  settings->subprotocols, settings->subprotocol_count);
    }
    if (server->config->deflate) {
        agreement.window = ws_deflate_negotiate(request_header(r, "sec-websocket-extensions"),
                                                &agreement.window_asked);
    }
    return agreement;
}

void ws_accept(struct ws_server *server, struct exchange *x, struct ns *ns,
               const struct verdict *verdict) {
    struct writer *head = &server->scratch;
    struct span rest;
    struct ws_agreement agreement = agree(server, ns, exchange_request(x));
    writer_clear(head);
    const struct request *r = exchange_request(x);
    ws_handshake_answer(head, r, &agreement, writer_span(exchange_extra_headers(x)));
    exchange_ref(x); /* The upgrade ends the server's reference, and with it the request. */
    struct conn *conn = exchange_upgrade(x, &rest);
    if (!conn) {
        if (verdict->script) {
            server->app->drop_session(server->app, verdict->script);
        }
        exchange_unref(x);
        return;
    }
    struct ws_client *w = memory_zalloc(sizeof *w);
    LIST_INIT(&w->acks);
    server->count++;
    server->metrics->http_requests[1]++; /* a head that http/response has not seen */
    w->client.ops = &wires[agreement.window ? agreement.window - WS_WINDOW_MIN + 1 : 0];
    w->client.script = verdict->script;
    ws_conn_start(&w->ws, &server->shared, conn, agreement.window);
    /* If the conn closes over this, the client is there for a moment and then gone. */
    (void)conn_write_bytes(conn, writer_span(head).at, writer_len(head));
    client_open(&w->client, ns, verdict->user_id);
    url_join_offer(&w->client, r);
    server->app->on_connect(server->app, &w->client);
    if (ns_settings(ns) && ns_settings(ns)->events) {
        /* If that fills its line, reading stops with the first message. */
        (void)url_join_ask(server->app, &w->client, r);
    }
    if (rest.len) {
        /* They lie in the worker's read buffer, or in what was kept of it. */
        ws_conn_feed(&w->ws, (char *)(uintptr_t)rest.at, rest.len);
    }
    exchange_unref(x);
}

/* --- the server ------------------------------------------------------------------------------ */

struct ws_server *ws_server_new(struct io *io, const struct config *config, struct app *app,
                                struct metrics *metrics) {
    struct ws_server *server = memory_zalloc(sizeof *server);
    ws_shared_init(&server->shared, io, &handler);
    server->config = config;
    server->app = app;
    server->metrics = metrics;
    return server;
}

void ws_server_free(struct ws_server *server) {
    ws_shared_deinit(&server->shared);
    writer_deinit(&server->scratch);
    free(server);
}

size_t ws_server_count(const struct ws_server *server) {
    return server->count;
}
