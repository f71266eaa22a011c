/*
 * The client side of RFC 6455 as far as a load generator needs it: handshake with a check of the
 * accept value, masked frames out, whole unfragmented frames in, pings answered, close handshake;
 * and of RFC 7692, without context takeover: messages from the server are inflated. It knows
 * nothing about what messages mean; load.c calls it through ws_wire.
 */
#include "ws_client.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { OP_TEXT = 1, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };
enum { CONTROL_MAX = 125, BIT_RSV1 = 0x40 };

/* RFC 6455, section 1.3. */
static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/* Sending ------------------------------------------------------------------------------------ */

/* A fresh key for every frame, as a browser would choose one, only cheaper (xorshift). */
static uint32_t next_mask(void) {
    static uint32_t state = 0x9e3779b9U;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

static void mask_copy(unsigned char *out, const unsigned char *in, size_t len, uint32_t key) {
    const uint64_t wide = (uint64_t)key << 32 | key;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t word;
        memcpy(&word, in + i, 8);
        word ^= wide;
        memcpy(out + i, &word, 8);
    }
    unsigned char bytes[4];
    memcpy(bytes, &key, 4);
    for (; i < len; i++)
        out[i] = in[i] ^ bytes[i & 3];
}

static size_t put_frame(unsigned char *out, int opcode, const unsigned char *payload, size_t len) {
    size_t n = 0;
    out[n++] = (unsigned char)(0x80 | opcode);
    if (len < 126) {
        out[n++] = (unsigned char)(0x80 | len);
    } else {
        const int width = len <= 0xffff ? 2 : 8;
        out[n++] = width == 2 ? 0x80 | 126 : 0x80 | 127;
        for (int i = width - 1; i >= 0; i--)
            out[n++] = (unsigned char)((uint64_t)len >> (8 * i));
    }
    const uint32_t key = next_mask();
    memcpy(out + n, &key, 4);
    n += 4;
    mask_copy(out + n, payload, len, key);
    return n + len;
}

static size_t frame(unsigned char *out, const unsigned char *payload, size_t len) {
    return put_frame(out, OP_TEXT, payload, len);
}

static void say_close(struct io *io, struct peer *c) {
    static const unsigned char normal[2] = {1000 >> 8, 1000 & 0xff};
    unsigned char out[FRAME_HEAD_MAX + sizeof normal];
    link_send(io, c, out, put_frame(out, OP_CLOSE, normal, sizeof normal));
    c->state = PEER_CLOSING;
}

/* Opening ------------------------------------------------------------------------------------ */

static void begin(struct io *io, struct peer *c) {
    unsigned char nonce[16], digest[SHA_DIGEST_LENGTH];
    char key[25], joined[sizeof key + sizeof accept_guid], request[512];
    if (RAND_bytes(nonce, sizeof nonce) != 1)
        fail("no random bytes");
    EVP_EncodeBlock((unsigned char *)key, nonce, sizeof nonce);
    int n = snprintf(joined, sizeof joined, "%s%s", key, accept_guid);
    SHA1((unsigned char *)joined, (size_t)n, digest);
    EVP_EncodeBlock((unsigned char *)c->token, digest, sizeof digest);
    n = snprintf(request, sizeof request,
                 "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n"
                 "%s\r\n",
                 c->path, key,
                 io->deflate ? "Sec-WebSocket-Extensions: permessage-deflate; "
                               "server_no_context_takeover; client_no_context_takeover\r\n"
                             : "");
    link_send(io, c, (unsigned char *)request, (size_t)n);
}

static void check_extensions(const struct io *io, const struct peer *c, const char *head) {
    const char *chosen = http_field(head, "Sec-WebSocket-Extensions");
    if (chosen && !io->deflate)
        fail("connection %u: server chose an extension that was not offered", c->id);
    if (!io->deflate)
        return;
    const size_t len = chosen ? strcspn(chosen, "\r") : 0;
    if (!chosen || strncmp(chosen, "permessage-deflate", 18) != 0 ||
        !memmem(chosen, len, "server_no_context_takeover", 26))
        fail("connection %u: no compression without context takeover: \"%.*s\"", c->id, (int)len,
             chosen ? chosen : "");
}

static size_t take_response(struct io *io, struct peer *c, const unsigned char *in, size_t len) {
    char head[HEAD_MAX + 1];
    const size_t size = http_head(c, in, len, head);
    if (size == 0)
        return 0;
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0)
        fail("connection %u: refused: %.*s", c->id, (int)strcspn(head, "\r"), head);
    const char *accept = http_field(head, "Sec-WebSocket-Accept");
    if (!accept || strncmp(accept, c->token, strlen(c->token)) != 0 ||
        accept[strlen(c->token)] != '\r')
        fail("connection %u: wrong Sec-WebSocket-Accept", c->id);
    if (!http_field_is(head, "Upgrade", "websocket") ||
        !http_field_is(head, "Connection", "Upgrade"))
        fail("connection %u: response is no upgrade to websocket", c->id);
    check_extensions(io, c, head);
    c->state = PEER_OPEN;
    io->on_open(io->context, c);
    return size;
}

/* Receiving ---------------------------------------------------------------------------------- */

/* RFC 7692, section 7.2.2. A broadcast brings the same bytes to every member: they are inflated
 * once, and compared from then on. */
static const unsigned char *inflate_message(const struct peer *c, const unsigned char *in,
                                            size_t *len) {
    static unsigned char packed[READ_SIZE / 2 + 4], plain[READ_SIZE];
    static size_t packed_len, plain_len;
    static z_stream stream;
    if (packed_len != *len || memcmp(packed, in, *len) != 0) {
        if (!stream.state && inflateInit2(&stream, -15) != Z_OK)
            fail("zlib: no inflater");
        inflateReset(&stream);
        packed_len = *len;
        memcpy(packed, in, packed_len);
        memcpy(packed + packed_len, "\0\0\xff\xff", 4);
        stream.next_in = packed;
        stream.avail_in = (uInt)packed_len + 4;
        stream.next_out = plain;
        stream.avail_out = sizeof plain;
        const int status = inflate(&stream, Z_SYNC_FLUSH);
        if ((status != Z_OK && status != Z_BUF_ERROR) || stream.avail_in > 0)
            fail("connection %u: no deflate stream, or one that needs an earlier message", c->id);
        plain_len = sizeof plain - stream.avail_out;
    }
    *len = plain_len;
    return plain;
}

static void on_frame(struct io *io, struct peer *c, unsigned char first,
                     const unsigned char *payload, size_t len) {
    unsigned char pong[FRAME_HEAD_MAX + CONTROL_MAX];
    switch (first & 0x0f) {
    case OP_TEXT:
        if (io->deflate && !(first & BIT_RSV1))
            fail("connection %u: a message that is not compressed", c->id);
        if (io->deflate)
            payload = inflate_message(c, payload, &len);
        io->on_message(io->context, c, payload, len);
        return;
    case OP_PING:
        if (len > CONTROL_MAX)
            fail("connection %u: ping of %zu bytes", c->id, len);
        link_send(io, c, pong, put_frame(pong, OP_PONG, payload, len));
        return;
    case OP_CLOSE:
        if (c->state != PEER_CLOSING)
            fail("connection %u: closed by the server with code %d", c->id,
                 len < 2 ? 1005 : payload[0] << 8 | payload[1]);
        link_shut(c);
        io->on_close(io->context, c);
        return;
    default:
        fail("connection %u: unexpected opcode %d", c->id, first & 0x0f);
    }
}

/* Returns how many bytes of whole frames it took. */
static size_t take_frames(struct io *io, struct peer *c, const unsigned char *in, size_t len) {
    const int reserved = io->deflate ? 0xf0 & ~BIT_RSV1 : 0xf0;
    size_t used = 0;
    while (c->state != PEER_CLOSED && len - used >= 2) {
        const unsigned char *at = in + used;
        if ((at[0] & reserved) != 0x80)
            fail("connection %u: fragment or reserved bits", c->id);
        if (at[1] & 0x80)
            fail("connection %u: masked frame from the server", c->id);
        const size_t short_len = at[1] & 0x7f;
        const size_t width = short_len == 126 ? 2 : short_len == 127 ? 8 : 0;
        if (len - used < 2 + width)
            break;
        uint64_t payload_len = width ? 0 : short_len;
        for (size_t i = 0; i < width; i++)
            payload_len = payload_len << 8 | at[2 + i];
        if (payload_len > READ_SIZE / 2)
            fail("connection %u: frame of %llu bytes", c->id, (unsigned long long)payload_len);
        if (len - used < 2 + width + payload_len)
            break;
        used += 2 + width + (size_t)payload_len;
        on_frame(io, c, at[0], at + 2 + width, (size_t)payload_len);
    }
    return used;
}

static size_t take(struct io *io, struct peer *c, const unsigned char *in, size_t len) {
    size_t used = 0;
    if (c->state == PEER_GREETING) {
        used = take_response(io, c, in, len);
        if (used == 0)
            return 0;
    }
    return used + take_frames(io, c, in + used, len - used);
}

const struct wire ws_wire = {begin, take, frame, link_send, say_close};
