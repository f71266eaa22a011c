/* Answers: writes heads and bodies to the connection of an exchange, and what an answer may not say
 * itself: length, date and the fate of the connection. Bodies that are too large to wait in the
 * queue follow as the peer reads. */
#include "http/response.h"

#include "http/exchange.h"
#include "http/url.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SMALL_BODY 8192 /* goes into the same write as the head */
#define PIECE 65536
#define ENOUGH 262144 /* bytes queued: then the peer reads first; well below any hard_limit */

/* --- status --------------------------------------------------------------------------------- */

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {203, "Non-Authoritative Information"},
    {204, "No Content"},
    {205, "Reset Content"},
    {206, "Partial Content"},
    {300, "Multiple Choices"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {402, "Payment Required"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {418, "I'm a teapot"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {423, "Locked"},
    {424, "Failed Dependency"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {451, "Unavailable For Legal Reasons"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *status_reason(int status) {
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Unknown";
}

int status_of_code(struct span code) {
    static const struct {
        const char *code;
        int status;
    } codes[] = {
        {"unauthorized", 401}, {"forbidden", 403},   {"not_found", 404},
        {"rate_limited", 429}, {"unavailable", 503}, {"internal_error", 500},
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (span_is(code, codes[i].code))
            return codes[i].status;
    }
    return 400;
}

/* --- heads ---------------------------------------------------------------------------------- */

/* The date is made once a second. */
static const char *date(struct http_server *server) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != server->date_second) {
        struct tm tm;
        gmtime_r(&now.tv_sec, &tm);
        strftime(server->date, sizeof server->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
        server->date_second = now.tv_sec;
    }
    return server->date;
}

static char *put(char *to, struct span bytes) {
    if (bytes.len)
        memcpy(to, bytes.at, bytes.len);
    return to + bytes.len;
}

void response_put_head(struct http_server *server, struct conn *conn,
                       const struct head_options *options) {
    struct arena *arena = &server->io->arena;
    size_t room = 256 + options->fields.len + options->extra.len + options->body.len;
    char *start = arena_reserve(arena, room);
    char *to = start + sprintf(start, "HTTP/1.1 %d %s\r\nDate: %s\r\n", options->status,
                               status_reason(options->status), date(server));
    to = put(put(to, options->fields), options->extra);
    if (options->length >= 0)
        to += sprintf(to, "Content-Length: %lld\r\n", (long long)options->length);
    if (options->close)
        to = put(to, SPAN("Connection: close\r\n"));
    else if (options->keep_alive)
        to = put(to, SPAN("Connection: keep-alive\r\n"));
    to = put(put(to, SPAN("\r\n")), options->body);
    struct slice slice = arena_commit(arena, (size_t)(to - start));
    (void)conn_write(conn, &slice);
    slice_release(&slice);
    if (options->status >= 100 && options->status < 600)
        server->io->metrics->http_requests[options->status / 100]++;
}

void response_init(struct response *r, int status) {
    *r = (struct response){.status = status};
}

void response_deinit(struct response *r) {
    writer_deinit(&r->headers);
    buf_unref(r->body);
    r->body = NULL;
}

int response_header(struct response *r, struct span name, struct span value) {
    static const char *const ours[] = {"Content-Length", "Connection", "Date", "Transfer-Encoding"};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++) {
        if (span_equal_nocase(name, span_of(ours[i])))
            return UV_EINVAL;
    }
    if (!token_valid(name))
        return UV_EINVAL;
    for (size_t i = 0; i < value.len; i++) {
        if (value.at[i] == '\r' || value.at[i] == '\n' || value.at[i] == '\0')
            return UV_EINVAL;
    }
    writer_put_span(&r->headers, name);
    writer_puts(&r->headers, ": ");
    writer_put_span(&r->headers, value);
    writer_puts(&r->headers, "\r\n");
    return 0;
}

/* --- answering ------------------------------------------------------------------------------ */

/* These have no body, and no length either (RFC 9110 sections 8.6, 15.3.5, 15.4.5). */
static bool bodiless(int status) {
    return status < 200 || status == 204 || status == 304;
}

/* Writes the head, with the body if it is given; true: the peer wants the body. */
static bool begin(struct exchange *x, struct response *r, uint64_t length, struct span body) {
    struct http *http = x->http;
    bool wanted = !bodiless(r->status) && !span_is(request_method(x->request), "HEAD");
    http->close = http->close || r->close || (x->server->draining && !x->in_session);
    struct head_options options = {
        .status = r->status,
        .fields = writer_span(&r->headers),
        .extra = writer_span(&x->extra),
        .length = bodiless(r->status) ? -1 : (int64_t)length,
        .close = http->close,
        .keep_alive = request_minor(x->request) == 0,
        .body = wanted ? body : (struct span){NULL, 0},
    };
    x->answered = true;
    response_put_head(x->server, http->conn, &options);
    return wanted;
}

/* Writes what the peer can take now, and goes on when it has read that. */
static void send_pieces(struct exchange *x, void *data) {
    (void)data;
    bool more = true;
    while (more && x->left) {
        size_t len = x->left < PIECE ? (size_t)x->left : PIECE;
        struct slice piece = {x->body, x->body->len - (size_t)x->left, len};
        bool last = len == x->left;
        more = response_write(x, &piece, send_pieces, NULL) && !last;
    }
}

void response_send(struct exchange *x, struct response *r) {
    if (exchange_open(x)) {
        size_t len = r->body ? r->body->len : 0;
        struct span small = {r->body ? r->body->bytes : NULL, len <= SMALL_BODY ? len : 0};
        if (!begin(x, r, len, small) || len <= SMALL_BODY) {
            exchange_done(x);
        } else {
            x->left = len;
            x->body = r->body;
            r->body = NULL;
            exchange_ref(x);
            exchange_streams(x);
            send_pieces(x, NULL);
            exchange_unref(x);
        }
    }
    response_deinit(r);
}

bool response_begin(struct exchange *x, struct response *r, uint64_t length) {
    bool open = exchange_open(x);
    bool wanted = open && begin(x, r, length, (struct span){NULL, 0}) && length;
    x->left = wanted ? length : 0;
    if (wanted)
        exchange_streams(x);
    else if (open)
        exchange_done(x);
    response_deinit(r);
    return wanted;
}

bool response_write(struct exchange *x, const struct slice *piece,
                    void (*room)(struct exchange *x, void *data), void *data) {
    if (!x->http || conn_is_closed(x->http->conn))
        return false; /* aborted, or about to be */
    struct conn *conn = x->http->conn;
    x->left -= piece->len;
    if (conn_write(conn, piece) < 0)
        return false;
    if (!x->left) {
        exchange_done(x);
        return true;
    }
    bool wait = conn_blocked(conn) && conn_queued(conn) >= ENOUGH;
    x->room = wait ? room : NULL;
    x->room_data = data;
    return !wait;
}

void response_break(struct exchange *x) {
    if (x->http)
        conn_abort(x->http->conn, UV_EIO);
}

void response_text(struct exchange *x, int status, const char *text) {
    struct response r;
    response_init(&r, status);
    (void)response_header(&r, SPAN("Content-Type"), SPAN("text/plain; charset=utf-8"));
    struct writer body = {0};
    writer_puts(&body, text);
    writer_putc(&body, '\n');
    r.body = writer_take(&body);
    response_send(x, &r);
}

/* A code is one of the names that handlers return; anything else is escaped as JSON wants it. */
static void put_code(struct writer *w, struct span code) {
    writer_putc(w, '"');
    for (size_t i = 0; i < code.len; i++) {
        unsigned char c = (unsigned char)code.at[i];
        if (c < 0x20)
            writer_printf(w, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            writer_printf(w, "\\%c", c);
        else
            writer_putc(w, (char)c);
    }
    writer_putc(w, '"');
}

void response_error(struct exchange *x, int status, struct span code, struct span detail_json) {
    struct response r;
    response_init(&r, status);
    (void)response_header(&r, SPAN("Content-Type"), SPAN("application/json"));
    struct writer body = {0};
    writer_puts(&body, "{\"error\":{\"code\":");
    put_code(&body, code);
    if (detail_json.len) {
        writer_puts(&body, ",\"detail\":");
        writer_put_span(&body, detail_json);
    }
    writer_puts(&body, "}}");
    r.body = writer_take(&body);
    response_send(x, &r);
}

void response_stream_head(struct exchange *x, struct response *r) {
    if (exchange_open(x)) {
        (void)response_header(r, SPAN("Cache-Control"), SPAN("no-store"));
        struct head_options options = {
            .status = r->status,
            .fields = writer_span(&r->headers),
            .extra = writer_span(&x->extra),
            .length = -1,
            .close = true,
        };
        response_put_head(x->server, x->http->conn, &options);
    }
    response_deinit(r);
}
