/* HTTP on a connection: feeds the parser, hands requests out one at a time, keeps the rest of a
 * pipeline waiting, and watches the time. Answers are http/response's business, the meaning of
 * requests the worker's. */
#include "http/http.h"

#include "base/memory.h"
#include "http/exchange.h"
#include "http/response.h"
#include <stdlib.h>
#include <string.h>

/* So much of a body must arrive within the handshake timeout, again and again. */
#define BODY_STEP 16384

/* --- waiting -------------------------------------------------------------------------------- */

static uint64_t unread(const struct http *http) {
    return conn_queued(http->conn) + (http->exchange ? http->exchange->left : 0);
}

static void start_waiting(struct http *http, enum http_wait wait) {
    const struct config *config = http->server->config;
    bool request = wait == WAIT_FIRST || wait == WAIT_REQUEST;
    http->waiting = wait;
    http->unread = unread(http);
    http->body_mark = http->parser.body ? http->parser.body->len : 0;
    if (wait == WAIT_NOTHING)
        timeout_stop(&http->timeout);
    else
        timeout_start(http->server->io, &http->timeout,
                      request ? config->handshake_timeout : config->keep_alive_timeout);
}

/* Called whenever something has changed: starts the timeout that fits. That of a request goes on
 * from its first byte, however many pieces come, as long as no large part of a body has come. */
static void update_waiting(struct http *http) {
    size_t body = http->parser.body ? http->parser.body->len : 0;
    if (http->exchange)
        start_waiting(http, http->exchange->answered ? WAIT_PEER : WAIT_NOTHING);
    else if (!parser_begun(&http->parser))
        start_waiting(http, http->waiting == WAIT_FIRST ? WAIT_FIRST : WAIT_NEXT);
    else if (http->waiting != WAIT_REQUEST || body >= http->body_mark + BODY_STEP)
        start_waiting(http, WAIT_REQUEST);
}

static void refuse(struct http *http, int status, const char *why);

static void on_timeout(struct timeout *timeout) {
    struct http *http = (struct http *)((char *)timeout - offsetof(struct http, timeout));
    uint64_t now = unread(http);
    if (conn_is_closed(http->conn))
        return;
    if (http->waiting == WAIT_REQUEST)
        refuse(http, 408, "the request did not arrive in time");
    else if (now && now == http->unread)
        conn_abort(http->conn, UV_ETIMEDOUT);
    else if (now || http->exchange)
        start_waiting(http, http->waiting);
    else
        conn_finish(http->conn);
}

/* --- connections ---------------------------------------------------------------------------- */

static void release(struct http *http) {
    timeout_stop(&http->timeout);
    parser_deinit(&http->parser);
    LIST_REMOVE(http, link);
    LIST_INSERT_HEAD(&http->server->spare, http, link);
}

/* What cannot be understood is answered and ends the connection: nobody knows where the next
 * request would begin. */
static void refuse(struct http *http, int status, const char *why) {
    char body[160];
    int len = snprintf(body, sizeof body, "%s\n", why);
    struct head_options options = {
        .status = status,
        .fields = SPAN("Content-Type: text/plain; charset=utf-8\r\n"),
        .length = len,
        .close = true,
        .body = {body, http->parser.head_method ? 0 : (size_t)len},
    };
    timeout_stop(&http->timeout);
    response_put_head(http->server, http->conn, &options);
    conn_finish(http->conn);
}

static void dispatch(struct http *http) {
    struct http_server *server = http->server;
    struct exchange *x = memory_zalloc(sizeof *x);
    x->refs = 2; /* The server's own, and one for this function. */
    x->server = server;
    x->http = http;
    x->request = http->parser.request;
    request_share_fields(x->request, &server->fields);
    http->parser.request = NULL;
    http->exchange = x;
    if (!http->parser.keep_alive || http->parser.upgrade)
        http->close = true;
    parser_reset(&http->parser, &server->limits);
    timeout_stop(&http->timeout);
    server->on_request(server, x);
    exchange_unref(x);
}

static void on_data(struct conn *conn, char *bytes, size_t len) {
    struct http *http = conn->owner;
    struct parser *p = &http->parser;
    http->parsing = true;
    while (len && !http->detached && !conn_is_closed(conn)) {
        /* Answers wait for their reader before more of them are made. */
        if (http->exchange || conn_blocked(conn)) {
            conn_pause(conn, bytes, len);
            break;
        }
        size_t used = parser_feed(p, bytes, len, http->address, false);
        bytes += used;
        len -= used;
        if (p->status) {
            refuse(http, p->status, p->error);
        } else if (p->phase == PARSE_DONE) {
            http->rest = (struct span){bytes, len};
            dispatch(http);
        } else if (p->expect_continue && p->phase != PARSE_HEAD && !len) {
            static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
            p->expect_continue = false;
            (void)conn_write_bytes(conn, go_on, sizeof go_on - 1);
        }
    }
    http->parsing = false;
    http->rest = (struct span){NULL, 0};
    if (http->detached)
        release(http);
    else if (!conn_is_closed(conn))
        update_waiting(http);
}

static void on_drain(struct conn *conn) {
    struct http *http = conn->owner;
    struct exchange *x = http->exchange;
    if (x && x->room)
        x->room(x, x->room_data);
    else if (!x)
        conn_resume(conn);
}

/* A peer that has sent its last request may still read the answer. */
static void on_end(struct conn *conn) {
    struct http *http = conn->owner;
    http->close = true;
    if (!http->exchange)
        conn_finish(conn);
    else if (http->exchange->at_end)
        conn_abort(conn, 0);
}

/* Everybody who still holds the exchange sees from now on that nobody waits for it. */
static void on_close(struct conn *conn, int error) {
    (void)error;
    struct http *http = conn->owner;
    struct exchange *x = http->exchange;
    if (x) {
        http->exchange = NULL;
        x->http = NULL;
        if (x->aborted)
            x->aborted(x, x->aborted_data);
        exchange_unref(x);
    }
    release(http);
}

static const struct conn_handler handler = {on_data, on_drain, on_end, on_close};

void http_accept(struct http_server *server, struct conn *conn) {
    struct http *http = LIST_FIRST(&server->spare);
    if (http)
        LIST_REMOVE(http, link);
    else
        http = memory_alloc(sizeof *http);
    memset(http, 0, sizeof *http);
    http->server = server;
    http->conn = conn;
    http->timeout.expired = on_timeout;
    parser_reset(&http->parser, &server->limits);
    conn_address(conn, http->address, sizeof http->address);
    LIST_INSERT_HEAD(&server->active, http, link);
    conn_set_handler(conn, &handler, http);
    start_waiting(http, WAIT_FIRST);
}

/* --- the server ----------------------------------------------------------------------------- */

void http_server_init(struct http_server *server, struct io *io, const struct config *config,
                      void (*on_request)(struct http_server *, struct exchange *), void *data) {
    *server = (struct http_server){
        .io = io,
        .config = config,
        .on_request = on_request,
        .data = data,
        .limits = {config->max_head, (size_t)config->max_headers, config->max_body},
        .date_second = -1,
    };
    LIST_INIT(&server->active);
    LIST_INIT(&server->spare);
}

void http_server_deinit(struct http_server *server) {
    struct http *http;
    while ((http = LIST_FIRST(&server->spare))) {
        LIST_REMOVE(http, link);
        free(http);
    }
    shared_fields_deinit(&server->fields);
}

void http_server_wind_down(struct http_server *server) {
    server->draining = true;
}

void http_server_drain(struct http_server *server) {
    struct http *http;
    server->draining = true;
    LIST_FOREACH (http, &server->active, link) {
        http->close = true;
        if (!http->exchange && !parser_begun(&http->parser))
            conn_finish(http->conn);
    }
}

/* --- exchanges ------------------------------------------------------------------------------ */

struct exchange *exchange_ref(struct exchange *x) {
    x->refs++;
    return x;
}

void exchange_unref(struct exchange *x) {
    if (!x || --x->refs)
        return;
    request_unref(x->request);
    writer_deinit(&x->extra);
    buf_unref(x->body);
    free(x);
}

struct http_server *exchange_server(const struct exchange *x) {
    return x->server;
}

const struct request *exchange_request(const struct exchange *x) {
    return x->request;
}

bool exchange_open(const struct exchange *x) {
    return x->http && !x->answered && !conn_is_closed(x->http->conn);
}

void exchange_on_abort(struct exchange *x, void (*aborted)(struct exchange *x, void *data),
                       void *data) {
    x->aborted = aborted;
    x->aborted_data = data;
}

void exchange_in_session(struct exchange *x) {
    x->in_session = true;
}

void exchange_abort_at_end(struct exchange *x) {
    x->at_end = true;
}

struct writer *exchange_extra_headers(struct exchange *x) {
    return &x->extra;
}

void exchange_streams(struct exchange *x) {
    if (!x->http->parsing)
        update_waiting(x->http);
}

void exchange_done(struct exchange *x) {
    struct http *http = x->http;
    x->http = NULL;
    http->exchange = NULL;
    if (http->close)
        conn_finish(http->conn);
    if (!conn_is_closed(http->conn) && !http->parsing) {
        /* A blocked conn goes on when it is drained. */
        if (!conn_blocked(http->conn))
            conn_resume(http->conn);
        update_waiting(http);
    }
    exchange_unref(x);
}

/* Until the caller has installed his own, in the same call. */
static void ignore_data(struct conn *conn, char *bytes, size_t len) {
    (void)conn;
    (void)bytes;
    (void)len;
}

static void ignore_close(struct conn *conn, int error) {
    (void)conn;
    (void)error;
}

static const struct conn_handler nobody = {.on_data = ignore_data, .on_close = ignore_close};

struct conn *exchange_upgrade(struct exchange *x, struct span *rest) {
    *rest = (struct span){NULL, 0};
    struct http *http = x->http;
    if (!http || conn_is_closed(http->conn))
        return NULL;
    struct conn *conn = http->conn;
    x->http = NULL;
    x->answered = true;
    http->exchange = NULL;
    conn_set_handler(conn, &nobody, NULL);
    if (http->parsing) {
        *rest = http->rest;
        http->detached = true;
    } else {
        /* What came meanwhile goes to the new handler at the end of the turn. */
        conn_resume(conn);
        release(http);
    }
    exchange_unref(x);
    return conn;
}
