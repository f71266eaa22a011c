/*
 * The client side of RFC 6455 as far as a load generator needs it: handshake with a check of the
 * accept value, masked frames out, whole unfragmented frames in, pings answered, close handshake.
 * It knows nothing about what messages mean; load.c calls it.
 */
#include "ws_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

/* RFC 6455, section 1.3. */
static const char accept_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("bench-load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

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

size_t ws_client_frame(unsigned char *out, const unsigned char *payload, size_t len) {
    return put_frame(out, OP_TEXT, payload, len);
}

static void watch(struct ws_io *io, struct ws_client *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(io->epoll, operation, c->fd, &event) != 0)
        fail("epoll_ctl: %s", strerror(errno));
}

void ws_client_send(struct ws_io *io, struct ws_client *c, const unsigned char *bytes, size_t len) {
    size_t done = 0;
    if (!c->unsent) {
        ssize_t n = send(c->fd, bytes, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            fail("connection %u: send: %s", c->id, strerror(errno));
        if (n > 0)
            done = (size_t)n;
        if (done == len)
            return;
        watch(io, c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    unsigned char *grown = realloc(c->unsent, c->unsent_len + len - done);
    if (!grown)
        fail("out of memory");
    memcpy(grown + c->unsent_len, bytes + done, len - done);
    c->unsent = grown;
    c->unsent_len += len - done;
}

static void send_unsent(struct ws_io *io, struct ws_client *c) {
    if (!c->unsent)
        return;
    ssize_t n = send(c->fd, c->unsent, c->unsent_len, MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0)
        fail("connection %u: send: %s", c->id, strerror(errno));
    c->unsent_len -= (size_t)n;
    memmove(c->unsent, c->unsent + n, c->unsent_len);
    if (c->unsent_len > 0)
        return;
    free(c->unsent);
    c->unsent = NULL;
    watch(io, c, EPOLL_CTL_MOD, EPOLLIN);
}

void ws_client_close(struct ws_io *io, struct ws_client *c) {
    static const unsigned char normal[2] = {1000 >> 8, 1000 & 0xff};
    unsigned char frame[WS_HEAD_MAX + sizeof normal];
    ws_client_send(io, c, frame, put_frame(frame, OP_CLOSE, normal, sizeof normal));
    c->state = WS_CLOSING;
}

/* Opening ------------------------------------------------------------------------------------ */

static void send_handshake(struct ws_io *io, struct ws_client *c) {
    unsigned char nonce[16], digest[SHA_DIGEST_LENGTH];
    char key[25], joined[sizeof key + sizeof accept_guid], request[256];
    if (RAND_bytes(nonce, sizeof nonce) != 1)
        fail("no random bytes");
    EVP_EncodeBlock((unsigned char *)key, nonce, sizeof nonce);
    int n = snprintf(joined, sizeof joined, "%s%s", key, accept_guid);
    SHA1((unsigned char *)joined, (size_t)n, digest);
    EVP_EncodeBlock((unsigned char *)c->accept, digest, sizeof digest);
    n = snprintf(
        request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n\r\n",
        io->path, key);
    c->state = WS_HANDSHAKE;
    ws_client_send(io, c, (unsigned char *)request, (size_t)n);
}

void ws_client_open(struct ws_io *io, struct ws_client *c, int port) {
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (const struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
        fail("connect to port %d: %s", port, strerror(errno));
    c->state = WS_CONNECTING;
    watch(io, c, EPOLL_CTL_ADD, EPOLLOUT);
}

/* Where the value of a header field begins (it ends at CR); NULL if the field is missing. */
static const char *header(const char *head, const char *name) {
    const size_t len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) != 0 || line[2 + len] != ':')
            continue;
        return line + 2 + len + 1 + strspn(line + 2 + len + 1, " \t");
    }
    return NULL;
}

static bool header_is(const char *head, const char *name, const char *expected) {
    const char *value = header(head, name);
    const size_t len = strlen(expected);
    return value && strncasecmp(value, expected, len) == 0 && value[len] == '\r';
}

/* Returns how many bytes the response head took, 0 while it is not complete. */
static size_t take_response(struct ws_io *io, struct ws_client *c, const unsigned char *in,
                            size_t len) {
    const unsigned char *end = memmem(in, len, "\r\n\r\n", 4);
    if (!end && len < 4096)
        return 0;
    char head[4096 + 1];
    const size_t size = end ? (size_t)(end - in) + 4 : len;
    if (!end || size >= sizeof head)
        fail("connection %u: response head too long", c->id);
    memcpy(head, in, size);
    head[size] = '\0';
    if (strncmp(head, "HTTP/1.1 101 ", 13) != 0)
        fail("connection %u: refused: %.*s", c->id, (int)strcspn(head, "\r"), head);
    const char *accept = header(head, "Sec-WebSocket-Accept");
    if (!accept || strncmp(accept, c->accept, strlen(c->accept)) != 0 ||
        accept[strlen(c->accept)] != '\r')
        fail("connection %u: wrong Sec-WebSocket-Accept", c->id);
    if (!header_is(head, "Upgrade", "websocket") || !header_is(head, "Connection", "Upgrade"))
        fail("connection %u: response is no upgrade to websocket", c->id);
    if (header(head, "Sec-WebSocket-Extensions"))
        fail("connection %u: server chose an extension that was not offered", c->id);
    c->state = WS_OPEN;
    io->on_open(io->context, c);
    return size;
}

/* Receiving ---------------------------------------------------------------------------------- */

static void shut(struct ws_io *io, struct ws_client *c) {
    close(c->fd);
    free(c->held);
    free(c->unsent);
    c->held = c->unsent = NULL;
    c->held_len = c->held_size = c->unsent_len = 0;
    c->state = WS_CLOSED;
    io->on_close(io->context, c);
}

static void on_frame(struct ws_io *io, struct ws_client *c, int opcode,
                     const unsigned char *payload, size_t len) {
    unsigned char pong[WS_HEAD_MAX + 125];
    switch (opcode) {
    case OP_TEXT:
        io->on_message(io->context, c, payload, len);
        return;
    case OP_PING:
        if (len > 125)
            fail("connection %u: ping of %zu bytes", c->id, len);
        ws_client_send(io, c, pong, put_frame(pong, OP_PONG, payload, len));
        return;
    case OP_CLOSE:
        if (c->state != WS_CLOSING)
            fail("connection %u: closed by the server with code %d", c->id,
                 len < 2 ? 1005 : payload[0] << 8 | payload[1]);
        shut(io, c);
        return;
    default:
        fail("connection %u: unexpected opcode %d", c->id, opcode);
    }
}

/* Returns how many bytes of whole frames it took. */
static size_t take_frames(struct ws_io *io, struct ws_client *c, const unsigned char *in,
                          size_t len) {
    size_t used = 0;
    while (c->state != WS_CLOSED && len - used >= 2) {
        const unsigned char *at = in + used;
        if ((at[0] & 0xf0) != 0x80)
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
        if (payload_len > WS_READ_SIZE / 2)
            fail("connection %u: frame of %llu bytes", c->id, (unsigned long long)payload_len);
        if (len - used < 2 + width + payload_len)
            break;
        used += 2 + width + (size_t)payload_len;
        on_frame(io, c, at[0] & 0x0f, at + 2 + width, (size_t)payload_len);
    }
    return used;
}

static void hold(struct ws_client *c, const unsigned char *bytes, size_t len) {
    if (len > c->held_size) {
        unsigned char *grown = realloc(c->held, len);
        if (!grown)
            fail("out of memory");
        c->held = grown;
        c->held_size = len;
    }
    if (len > 0)
        memcpy(c->held, bytes, len);
    c->held_len = len;
}

static void read_some(struct ws_io *io, struct ws_client *c) {
    size_t have = c->held_len, used = 0;
    if (have > 0)
        memcpy(io->in, c->held, have);
    ssize_t n = recv(c->fd, io->in + have, WS_READ_SIZE - have, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0)
        fail("connection %u: recv: %s", c->id, strerror(errno));
    if (n == 0)
        fail("connection %u: end of stream without a close frame", c->id);
    have += (size_t)n;
    if (c->state == WS_HANDSHAKE) {
        used = take_response(io, c, io->in, have);
        if (used == 0) {
            hold(c, io->in, have);
            return;
        }
    }
    used += take_frames(io, c, io->in + used, have - used);
    if (c->state == WS_CLOSED)
        return;
    hold(c, io->in + used, have - used);
    io->on_read_end(io->context, c);
}

void ws_client_ready(struct ws_io *io, struct ws_client *c, uint32_t events) {
    if (c->state == WS_CLOSED)
        return;
    if (c->state == WS_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error)
            fail("connect: %s", strerror(error));
        watch(io, c, EPOLL_CTL_MOD, EPOLLIN);
        send_handshake(io, c);
        return;
    }
    if (events & EPOLLOUT)
        send_unsent(io, c);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_some(io, c);
}
