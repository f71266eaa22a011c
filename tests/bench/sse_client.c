/*
 * An EventSource (WHATWG HTML, section 9.2) as far as a load generator needs one: it opens the
 * stream, takes off chunked coding where there is some, and passes the data of each event on.
 * Comments, ids, retry times and events without data are passed over. load.c calls it through
 * sse_wire.
 */
#include "sse_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLAIN_BODY, CHUNKED_BODY };

static void begin(struct io *io, struct peer *c) {
    char request[256];
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n",
                     c->path);
    link_send(io, c, (unsigned char *)request, (size_t)n);
}

static size_t take_response(struct io *io, struct peer *c, const unsigned char *in, size_t len) {
    char head[HEAD_MAX + 1];
    const size_t size = http_head(c, in, len, head);
    if (size == 0)
        return 0;
    if (strncmp(head, "HTTP/1.1 200 ", 13) != 0)
        fail("connection %u: refused: %.*s", c->id, (int)strcspn(head, "\r"), head);
    const char *type = http_field(head, "Content-Type");
    if (!type || strncmp(type, "text/event-stream", 17) != 0)
        fail("connection %u: response is no event stream", c->id);
    c->stage = http_field_is(head, "Transfer-Encoding", "chunked") ? CHUNKED_BODY : PLAIN_BODY;
    c->state = PEER_OPEN;
    io->on_open(io->context, c);
    return size;
}

/* One event: its lines, without the empty one that ends it. */
static void on_event(struct io *io, struct peer *c, const unsigned char *at, size_t len) {
    const unsigned char *const end = at + len;
    bool seen = false;
    while (at < end) {
        const unsigned char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end)
            line_end = end;
        if (line_end - at >= 5 && memcmp(at, "data:", 5) == 0) {
            if (seen)
                fail("connection %u: an event with two lines of data", c->id);
            seen = true;
            const unsigned char *data = at + 5 + (line_end - at > 5 && at[5] == ' ');
            io->on_message(io->context, c, data, (size_t)(line_end - data));
        }
        at = line_end + 1;
    }
}

/* Returns how many bytes of whole events it took. */
static size_t take_events(struct io *io, struct peer *c, const unsigned char *in, size_t len) {
    size_t used = 0;
    for (;;) {
        const unsigned char *end = memmem(in + used, len - used, "\n\n", 2);
        if (!end)
            return used;
        on_event(io, c, in + used, (size_t)(end - in) - used);
        used = (size_t)(end - in) + 2;
    }
}

/* A whole chunk's size, with its frame; 0 while it is not complete. Sets where its data lies. */
static size_t whole_chunk(const struct peer *c, const unsigned char *in, size_t len,
                          size_t *data_at, size_t *data_len) {
    const unsigned char *line_end = memmem(in, len, "\r\n", 2);
    if (!line_end)
        return 0;
    char *after;
    *data_len = strtoul((const char *)in, &after, 16);
    if ((const unsigned char *)after != line_end || *data_len > READ_SIZE / 2)
        fail("connection %u: bad chunk", c->id);
    if (*data_len == 0)
        fail("connection %u: the server ended the stream", c->id);
    *data_at = (size_t)(line_end - in) + 2;
    const size_t whole = *data_at + *data_len + 2;
    return len < whole ? 0 : whole;
}

/* Servers write whole events as one chunk. One that did not would need a second buffer here. */
static size_t take_chunks(struct io *io, struct peer *c, const unsigned char *in, size_t len) {
    size_t used = 0;
    for (;;) {
        size_t at, data_len;
        const size_t whole = whole_chunk(c, in + used, len - used, &at, &data_len);
        if (whole == 0)
            return used;
        if (take_events(io, c, in + used + at, data_len) != data_len)
            fail("connection %u: an event in two chunks", c->id);
        used += whole;
    }
}

static size_t take(struct io *io, struct peer *c, const unsigned char *in, size_t len) {
    size_t used = 0;
    if (c->state == PEER_GREETING) {
        used = take_response(io, c, in, len);
        if (used == 0)
            return 0;
    }
    if (c->stage == CHUNKED_BODY)
        return used + take_chunks(io, c, in + used, len - used);
    return used + take_events(io, c, in + used, len - used);
}

static size_t frame(unsigned char *out, const unsigned char *payload, size_t len) {
    (void)out, (void)payload, (void)len;
    fail("a stream cannot send");
}

static void leave(struct io *io, struct peer *c) {
    link_shut(c);
    io->on_close(io->context, c);
}

const struct wire sse_wire = {begin, take, frame, link_send, leave};
