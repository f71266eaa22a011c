/* The request parser: scans the lines of the head, lets llhttp read them, checks what llhttp leaves
 * open, and collects the body. It writes no answers: a refusal is a status and a reason. */
#include "http/parse.h"

#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

#define FEW_FIELDS 128
#define BODY_FIRST 65536 /* a longer body grows with what has really come */

/* What llhttp tells about a head. */
struct head {
    struct parser *parser;
    struct request_field *fields;
    size_t count;
    size_t max;
    struct span last; /* the field that waits for its value */
    uint16_t flags;
    uint64_t length;
    bool upgrade;
    bool keep_alive;
    bool trailing;
    bool too_many;
};

static void refuse(struct parser *p, int status, const char *error) {
    if (p->status)
        return;
    p->status = status;
    p->error = error;
}

/* --- lines ---------------------------------------------------------------------------------- */

/* Some bytes of one line, without its LF. */
static void scan_text(struct line_scan *scan, const char *bytes, size_t len) {
    if (!len)
        return;
    if (scan->cr) {
        scan->error = "a CR without LF";
        return;
    }
    if (!scan->line_len && scan->begun && (bytes[0] == ' ' || bytes[0] == '\t')) {
        scan->error = "a field continues on the next line";
        return;
    }
    const char *cr = memchr(bytes, '\r', len);
    if (cr && cr != bytes + len - 1) {
        scan->error = "a CR without LF";
        return;
    }
    scan->cr = cr;
    scan->line_len += len - (cr ? 1 : 0);
}

size_t line_scan(struct line_scan *scan, const char *bytes, size_t len) {
    size_t at = 0;
    while (at < len && !scan->done && !scan->error) {
        const char *lf = memchr(bytes + at, '\n', len - at);
        size_t end = lf ? (size_t)(lf - bytes) : len;
        scan_text(scan, bytes + at, end - at);
        at = lf ? end + 1 : end;
        if (scan->error || !lf)
            continue;
        if (!scan->cr)
            scan->error = "a LF without CR";
        /* Empty lines in front of a request are ignored (RFC 9112 section 2.2). */
        scan->done = !scan->error && !scan->line_len && scan->begun;
        scan->begun = scan->begun || scan->line_len;
        scan->line_len = 0;
        scan->cr = false;
    }
    return at;
}

/* --- llhttp's callbacks --------------------------------------------------------------------- */

static int on_field(llhttp_t *llhttp, const char *at, size_t len) {
    struct head *head = llhttp->data;
    if (head->trailing)
        return 0;
    head->last = (struct span){at, len};
    return 0;
}

/* Comes once for each field, since the head is in one piece and has no continuation lines. */
static int on_value(llhttp_t *llhttp, const char *at, size_t len) {
    struct head *head = llhttp->data;
    if (head->trailing)
        return 0;
    if (head->count == head->max) {
        head->too_many = true;
        return HPE_USER;
    }
    head->fields[head->count++] =
        (struct request_field){head->last, span_trim((struct span){at, len})};
    return 0;
}

static int on_headers_complete(llhttp_t *llhttp) {
    struct head *head = llhttp->data;
    head->flags = llhttp->flags;
    head->length = llhttp->content_length;
    head->upgrade = llhttp->upgrade;
    head->keep_alive = llhttp_should_keep_alive(llhttp);
    return 0;
}

static void append_body(struct parser *p, const char *bytes, size_t len);

static int on_body(llhttp_t *llhttp, const char *at, size_t len) {
    struct head *head = llhttp->data;
    append_body(head->parser, at, len);
    return head->parser->status ? HPE_USER : 0;
}

static int on_extension(llhttp_t *llhttp, const char *at, size_t len) {
    (void)at;
    struct parser *p = ((struct head *)llhttp->data)->parser;
    p->overhead += len;
    if (p->overhead > p->limits->max_head)
        refuse(p, 400, "the chunk extensions are too long");
    return p->status ? HPE_USER : 0;
}

/* A chunk that would not fit is refused when it is announced. After the last one come the trailers,
 * whose lines are scanned first. */
static int on_chunk_header(llhttp_t *llhttp) {
    struct parser *p = ((struct head *)llhttp->data)->parser;
    size_t have = p->body ? p->body->len : 0;
    if (llhttp->content_length > p->limits->max_body - have)
        refuse(p, 413, "the body is too large");
    if (llhttp->content_length == 0)
        p->phase = PARSE_TRAILERS;
    return p->status ? HPE_USER : llhttp->content_length == 0 ? HPE_PAUSED : 0;
}

static int on_complete(llhttp_t *llhttp) {
    (void)llhttp;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_chunk_extension_name = on_extension,
    .on_chunk_extension_value = on_extension,
    .on_chunk_header = on_chunk_header,
    .on_message_complete = on_complete,
};

/* --- the head ------------------------------------------------------------------------------- */

/* Exactly "METHOD SP target SP HTTP/1.x" (RFC 9112 section 3): llhttp would let more spaces pass,
 * and other protocols that look alike. */
static bool split_request_line(struct parser *p, struct span line, struct request_parts *parts) {
    const char *first = memchr(line.at, ' ', line.len);
    const char *last = memrchr(line.at, ' ', line.len);
    if (!first || first == last) {
        refuse(p, 400, "the request line is malformed");
        return false;
    }
    const char *end = line.at + line.len;
    parts->method = (struct span){line.at, (size_t)(first - line.at)};
    parts->target = (struct span){first + 1, (size_t)(last - first - 1)};
    struct span version = {last + 1, (size_t)(end - last - 1)};
    p->head_method = span_is(parts->method, "HEAD");
    if (!token_valid(parts->method) || !parts->target.len ||
        memchr(parts->target.at, ' ', parts->target.len))
        refuse(p, 400, "the request line is malformed");
    else if (span_is(version, "HTTP/1.1") || span_is(version, "HTTP/1.0"))
        parts->minor = version.at[7] - '0';
    else if (version.len == 8 && memcmp(version.at, "HTTP/", 5) == 0)
        refuse(p, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    else
        refuse(p, 400, "the request line names no version of HTTP");
    return !p->status;
}

static const struct request_field *find_field(const struct head *head, const char *name,
                                              size_t *count) {
    const struct request_field *found = NULL;
    *count = 0;
    for (size_t i = 0; i < head->count; i++) {
        if (span_equal_nocase(head->fields[i].name, span_of(name))) {
            found = &head->fields[i];
            ++*count;
        }
    }
    return found;
}

/* Two readers that disagree about where a body ends read two different requests (RFC 9112 section
 * 6.3, 11.2): nothing here is forgiven. */
static void check_framing(struct parser *p, const struct head *head,
                          const struct request_parts *parts) {
    size_t codings, lengths;
    const struct request_field *coding = find_field(head, "transfer-encoding", &codings);
    find_field(head, "content-length", &lengths);
    if (codings && lengths)
        refuse(p, 400, "both Transfer-Encoding and Content-Length");
    else if (codings && parts->minor == 0)
        refuse(p, 400, "Transfer-Encoding in HTTP/1.0");
    else if (codings && (codings > 1 || !span_equal_nocase(coding->value, SPAN("chunked"))))
        refuse(p, 400, "a Transfer-Encoding other than chunked");
    else if (lengths > 1)
        refuse(p, 400, "more than one Content-Length");
}

static void check_upgrade(struct parser *p, const struct head *head,
                          const struct request_parts *parts) {
    size_t count;
    const struct request_field *token = find_field(head, "upgrade", &count);
    if (!head->upgrade)
        return;
    if (count != 1 || !span_equal_nocase(token->value, SPAN("websocket")))
        refuse(p, 400, "an upgrade to something other than websocket");
    else if (!span_is(parts->method, "GET") || parts->minor == 0)
        refuse(p, 400, "an upgrade that is no GET of HTTP/1.1");
    else if (p->phase != PARSE_DONE)
        refuse(p, 400, "an upgrade with a body");
    p->upgrade = true;
}

static void check_fields(struct parser *p, const struct head *head,
                         const struct request_parts *parts) {
    size_t hosts, expects;
    find_field(head, "host", &hosts);
    const struct request_field *expect = find_field(head, "expect", &expects);
    for (size_t i = 0; i < head->count; i++) {
        if (!token_valid(head->fields[i].name))
            refuse(p, 400, "a field without a proper name");
    }
    if (hosts > 1 || (parts->minor == 1 && !hosts))
        refuse(p, 400, hosts ? "more than one Host" : "no Host");
    check_framing(p, head, parts);
    check_upgrade(p, head, parts);
    if (expects && parts->minor == 1) {
        if (expects > 1 || !span_equal_nocase(expect->value, SPAN("100-continue")))
            refuse(p, 417, "an expectation other than 100-continue");
        p->expect_continue = p->phase != PARSE_DONE;
    }
    if (head->flags & F_CONTENT_LENGTH && head->length > p->limits->max_body)
        refuse(p, 413, "the body is too large");
}

/* Methods that llhttp knows and HTTP does not: RTSP's and Icecast's, the preface of HTTP/2; and
 * CONNECT, for this is no proxy. */
static bool method_served(const llhttp_t *llhttp) {
    return llhttp->method < HTTP_SOURCE && llhttp->method != HTTP_CONNECT;
}

static void explain(struct parser *p, const struct head *head, int code) {
    if (head->too_many)
        refuse(p, 431, "too many fields");
    else if (code == HPE_INVALID_METHOD ||
             (code == HPE_INVALID_CONSTANT && !method_served(&p->llhttp)))
        refuse(p, 501, "the method is not served here");
    else if (code == HPE_UNEXPECTED_CONTENT_LENGTH)
        refuse(p, 400, "a second Content-Length, or one beside Transfer-Encoding");
    else if (code == HPE_INVALID_CONTENT_LENGTH)
        refuse(p, 400, "the Content-Length is malformed");
    else if (code == HPE_INVALID_TRANSFER_ENCODING)
        refuse(p, 400, "a Transfer-Encoding other than chunked");
    else if (code == HPE_INVALID_URL)
        refuse(p, 400, "the target has characters that must be escaped");
    else if (code == HPE_INVALID_CHUNK_SIZE)
        refuse(p, 400, "a chunk size is malformed");
    else
        refuse(p, 400, p->phase == PARSE_HEAD ? "the head is malformed" : "the body is malformed");
}

static void read_head(struct parser *p, struct head *head, struct span bytes,
                      struct request_parts *parts) {
    /* The scanner has let only empty lines pass in front of the request line. */
    while (bytes.at[0] == '\r' || bytes.at[0] == '\n') {
        bytes.at++;
        bytes.len--;
    }
    const char *line_end = memchr(bytes.at, '\r', bytes.len);
    if (!split_request_line(p, (struct span){bytes.at, (size_t)(line_end - bytes.at)}, parts))
        return;
    llhttp_init(&p->llhttp, HTTP_REQUEST, &settings);
    p->llhttp.data = head;
    int code = llhttp_execute(&p->llhttp, bytes.at, bytes.len);
    if (code != HPE_OK && code != HPE_PAUSED && code != HPE_PAUSED_UPGRADE) {
        explain(p, head, code);
        return;
    }
    p->keep_alive = head->keep_alive;
    p->phase = code != HPE_OK ? PARSE_DONE : head->flags & F_CHUNKED ? PARSE_CHUNKED : PARSE_LENGTH;
    p->length = head->flags & F_CONTENT_LENGTH ? head->length : 0;
    if (!method_served(&p->llhttp))
        refuse(p, 501, "the method is not served here");
    check_fields(p, head, parts);
}

static void parse_head(struct parser *p, struct span bytes, const char *address, bool secure) {
    struct request_field few[FEW_FIELDS];
    struct head head = {.parser = p, .fields = few, .max = p->limits->max_headers};
    if (head.max > FEW_FIELDS)
        head.fields = memory_array(head.max, sizeof *head.fields);
    struct request_parts parts = {.secure = secure, .address = address, .fields = head.fields};
    read_head(p, &head, bytes, &parts);
    parts.field_count = head.count;
    const char *error = NULL;
    if (!p->status) {
        p->request = request_new(&parts, &error);
        if (!p->request)
            refuse(p, 400, error);
    }
    if (head.fields != few)
        free(head.fields);
    p->lines = (struct line_scan){.begun = true}; /* for trailers */
}

/* Takes bytes of the head. While it is incomplete they are kept; a head in one piece is parsed
 * where it lies. */
static size_t feed_head(struct parser *p, const char *bytes, size_t len, const char *address,
                        bool secure) {
    size_t have = p->partial ? p->partial->len : 0;
    size_t room = p->limits->max_head - have;
    size_t used = line_scan(&p->lines, bytes, len < room ? len : room);
    if (p->lines.error) {
        refuse(p, 400, p->lines.error);
        return used;
    }
    if (!p->lines.done && used == room) {
        bool in_target = !p->lines.begun;
        refuse(p, in_target ? 414 : 431,
               in_target ? "the target is too long" : "the head is too long");
        return used;
    }
    struct span head = {bytes, used};
    if (have || !p->lines.done) {
        if (!p->partial)
            p->partial = buf_new(p->limits->max_head < 2048 ? p->limits->max_head : 2048);
        if (p->partial->cap - have < used) {
            struct buf *larger = buf_new(p->limits->max_head);
            memcpy(larger->bytes, p->partial->bytes, have);
            larger->len = have;
            buf_unref(p->partial);
            p->partial = larger;
        }
        memcpy(p->partial->bytes + have, bytes, used);
        p->partial->len += used;
        head = (struct span){p->partial->bytes, p->partial->len};
    }
    if (p->lines.done) {
        parse_head(p, head, address, secure);
        buf_unref(p->partial);
        p->partial = NULL;
    }
    return used;
}

/* --- the body ------------------------------------------------------------------------------- */

/* Its size is the peer's, so that memory may be missing. */
static void append_body(struct parser *p, const char *bytes, size_t len) {
    size_t have = p->body ? p->body->len : 0;
    size_t cap = p->body ? p->body->cap : 0;
    if (len > p->limits->max_body - have) {
        refuse(p, 413, "the body is too large");
        return;
    }
    if (cap - have < len) {
        cap = cap ? cap * 2 : p->length && p->length < BODY_FIRST ? (size_t)p->length : len;
        cap = cap < have + len ? have + len : cap;
        if (p->length && cap > p->length)
            cap = (size_t)p->length;
        struct buf *larger = buf_try_new(cap);
        if (!larger) {
            refuse(p, 503, "out of memory for the body");
            return;
        }
        if (have)
            memcpy(larger->bytes, p->body->bytes, have);
        larger->len = have;
        buf_unref(p->body);
        p->body = larger;
    }
    memcpy(p->body->bytes + have, bytes, len);
    p->body->len += len;
}

static size_t feed_length(struct parser *p, const char *bytes, size_t len) {
    uint64_t missing = p->length - (p->body ? p->body->len : 0);
    size_t used = len < missing ? len : (size_t)missing;
    append_body(p, bytes, used);
    if (p->body && p->body->len == p->length)
        p->phase = PARSE_DONE;
    return used;
}

/* Returns how many bytes llhttp has taken; it stops where a callback says so. */
static size_t execute(struct parser *p, const char *bytes, size_t len) {
    struct head head = {.parser = p, .trailing = true};
    p->llhttp.data = &head;
    llhttp_resume(&p->llhttp);
    int code = llhttp_execute(&p->llhttp, bytes, len);
    if (code == HPE_OK)
        return len;
    if (code != HPE_PAUSED) {
        explain(p, &head, code);
        return len;
    }
    return (size_t)(llhttp_get_error_pos(&p->llhttp) - bytes);
}

/* Trailers are read to find their end, and dropped (RFC 9110 section 6.5.1). */
static size_t feed_trailers(struct parser *p, const char *bytes, size_t len) {
    size_t room = p->limits->max_head - p->overhead;
    size_t used = line_scan(&p->lines, bytes, len < room ? len : room);
    p->overhead += used;
    if (p->lines.error)
        refuse(p, 400, p->lines.error);
    else
        execute(p, bytes, used);
    if (p->lines.done && !p->status)
        p->phase = PARSE_DONE;
    else if (used == room)
        refuse(p, 431, "the trailers are too long");
    return used;
}

/* --- the parser ----------------------------------------------------------------------------- */

void parser_deinit(struct parser *p) {
    request_unref(p->request);
    buf_unref(p->partial);
    buf_unref(p->body);
    p->request = NULL;
    p->partial = p->body = NULL;
}

void parser_reset(struct parser *p, const struct parse_limits *limits) {
    parser_deinit(p);
    *p = (struct parser){.limits = limits};
}

bool parser_begun(const struct parser *p) {
    return p->partial || (p->phase != PARSE_HEAD && p->phase != PARSE_DONE);
}

size_t parser_feed(struct parser *p, const char *bytes, size_t len, const char *address,
                   bool secure) {
    size_t used = 0;
    if (p->status || !len)
        return 0;
    if (p->phase == PARSE_HEAD)
        used = feed_head(p, bytes, len, address, secure);
    else if (p->phase == PARSE_LENGTH)
        used = feed_length(p, bytes, len);
    else if (p->phase == PARSE_CHUNKED)
        used = execute(p, bytes, len);
    else if (p->phase == PARSE_TRAILERS)
        used = feed_trailers(p, bytes, len);
    if (p->phase == PARSE_DONE && p->body && !p->status) {
        request_set_body(p->request, p->body);
        p->body = NULL;
    }
    return used;
}
