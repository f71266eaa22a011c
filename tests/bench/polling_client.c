/*
 * Engine.IO 4 over HTTP, as far as a load generator needs it: the handshake, a GET that always
 * waits, one POST at a time, bodies of several packets. What the packets say is load.c's affair,
 * which is given each of them as a message and frames its own; only the session's beginning and
 * end are said here. load.c calls it through polling_wire.
 */
#include "polling_client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEPARATOR = 0x1e, BODY_MAX = 64 * 1024 };

/* A twin's stage. */
enum { NOT_CONNECTED, FREE, AWAITS_ANSWER };

struct twin {
    struct peer peer;       /* first: link.c knows only this */
    unsigned char *waiting; /* packets for the next POST, each with its separator */
    size_t waiting_len;
};

static void get(struct io *io, struct peer *c) {
    char request[256];
    int n = snprintf(request, sizeof request, "GET %s%s%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
                     POLLING_PATH, c->token[0] ? "&sid=" : "", c->token);
    link_send(io, c, (unsigned char *)request, (size_t)n);
}

static void post_waiting(struct io *io, struct twin *t) {
    static unsigned char request[BODY_MAX + 256];
    if (t->peer.stage != FREE || t->waiting_len == 0)
        return;
    const size_t len = t->waiting_len - 1; /* without the last separator */
    int n = snprintf((char *)request, sizeof request,
                     "POST %s&sid=%s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                     "Content-Type: text/plain;charset=UTF-8\r\nContent-Length: %zu\r\n\r\n",
                     POLLING_PATH, t->peer.twin->token, len);
    memcpy(request + n, t->waiting, len);
    t->waiting_len = 0;
    t->peer.stage = AWAITS_ANSWER;
    link_send(io, &t->peer, request, (size_t)n + len);
}

static size_t frame(unsigned char *out, const unsigned char *payload, size_t len) {
    memcpy(out, payload, len);
    out[len] = SEPARATOR;
    return len + 1;
}

static void send_packets(struct io *io, struct peer *c, const unsigned char *bytes, size_t len) {
    struct twin *t = (struct twin *)c->twin;
    if (t->waiting_len + len > BODY_MAX)
        fail("connection %u: more than %d bytes to post", c->id, BODY_MAX);
    memcpy(t->waiting + t->waiting_len, bytes, len);
    t->waiting_len += len;
    post_waiting(io, t);
}

static void leave(struct io *io, struct peer *c) {
    c->state = PEER_CLOSING;
    send_packets(io, c, (const unsigned char *)"1\x1e", 2);
}

/* Answers ------------------------------------------------------------------------------------ */

/* A whole answer's size; 0 while it is not complete. Sets where its body lies. */
static size_t whole_answer(const struct peer *c, const unsigned char *in, size_t len,
                           size_t *body_at, size_t *body_len) {
    char head[HEAD_MAX + 1];
    const size_t head_len = len > 0 ? http_head(c, in, len, head) : 0;
    if (head_len == 0)
        return 0;
    if (strncmp(head, "HTTP/1.1 200 ", 13) != 0)
        fail("connection %u: refused: %.*s", c->id, (int)strcspn(head, "\r"), head);
    const char *length = http_field(head, "Content-Length");
    if (!length)
        fail("connection %u: an answer without Content-Length", c->id);
    *body_at = head_len;
    *body_len = strtoul(length, NULL, 10);
    if (*body_len > READ_SIZE / 2)
        fail("connection %u: an answer of %zu bytes", c->id, *body_len);
    return len < head_len + *body_len ? 0 : head_len + *body_len;
}

static void end(struct io *io, struct peer *c) {
    struct twin *t = (struct twin *)c->twin;
    link_shut(&t->peer);
    free(t->waiting);
    t->waiting = NULL;
    link_shut(c);
    io->on_close(io->context, c);
}

static size_t take_posted(struct io *io, struct peer *twin, const unsigned char *in, size_t len) {
    size_t at, body_len;
    const size_t whole = whole_answer(twin, in, len, &at, &body_len);
    if (whole == 0)
        return 0;
    if (twin->stage != AWAITS_ANSWER || whole != len || body_len != 2 || memcmp(in + at, "ok", 2))
        fail("connection %u: unexpected answer to a POST", twin->id);
    twin->stage = FREE;
    if (twin->twin->state == PEER_CLOSING)
        end(io, twin->twin);
    else
        post_waiting(io, (struct twin *)twin);
    return whole;
}

static void on_connected(struct io *io, struct peer *twin) {
    twin->state = PEER_OPEN;
    twin->stage = FREE;
    post_waiting(io, (struct twin *)twin);
}

/* The connection for POSTs. It is nobody's to speak on but ours, so it has no frame(). */
static const struct wire post_wire = {on_connected, take_posted, NULL, NULL, NULL};

/* Opening and polls -------------------------------------------------------------------------- */

static void begin(struct io *io, struct peer *c) {
    struct twin *t = calloc(1, sizeof *t);
    if (!t || !(t->waiting = malloc(BODY_MAX)))
        fail("out of memory");
    t->peer.id = c->id;
    t->peer.wire = &post_wire;
    t->peer.twin = c;
    c->twin = &t->peer;
    get(io, c);
}

static void on_handshake(struct io *io, struct peer *c, const unsigned char *body, size_t len) {
    static const char before[] = "\"sid\":\"";
    const unsigned char *sid = memmem(body, len, before, sizeof before - 1);
    if (!sid || len < 2 || memcmp(body, "0{", 2) != 0)
        fail("connection %u: no handshake: \"%.*s\"", c->id, (int)len, body);
    sid += sizeof before - 1;
    const unsigned char *sid_end = memchr(sid, '"', (size_t)(body + len - sid));
    if (!sid_end || sid_end - sid >= TOKEN_SIZE)
        fail("connection %u: bad sid", c->id);
    memcpy(c->token, sid, (size_t)(sid_end - sid));
    c->state = PEER_OPEN;
    link_open(io, c->twin);
    io->on_open(io->context, c);
    io->on_message(io->context, c, body, len);
}

static void on_packets(struct io *io, struct peer *c, const unsigned char *at, size_t len) {
    const unsigned char *const body_end = at + len;
    while (at < body_end) {
        const unsigned char *packet_end = memchr(at, SEPARATOR, (size_t)(body_end - at));
        if (!packet_end)
            packet_end = body_end;
        io->on_message(io->context, c, at, (size_t)(packet_end - at));
        at = packet_end + 1;
    }
}

static size_t take(struct io *io, struct peer *c, const unsigned char *in, size_t len) {
    size_t at, body_len;
    const size_t whole = whole_answer(c, in, len, &at, &body_len);
    if (whole == 0)
        return 0;
    if (whole != len)
        fail("connection %u: more than one answer to a poll", c->id);
    if (c->state == PEER_CLOSING)
        return whole;
    if (c->state == PEER_GREETING)
        on_handshake(io, c, in + at, body_len);
    else
        on_packets(io, c, in + at, body_len);
    get(io, c);
    return whole;
}

const struct wire polling_wire = {begin, take, frame, send_packets, leave};
