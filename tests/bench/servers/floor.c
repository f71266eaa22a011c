/*
 * The floor: what no server can be cheaper than. One receive for what has come, one send for each
 * connection that hears of it, and in between only what the protocol cannot do without: frames are
 * parsed and unmasked, nothing is checked, limited or counted. The bench starts it as
 * `bench-floor echo|room|sse PORT`; in sse mode what a WebSocket says goes to all streams.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { EVENTS = 1024, READ_SIZE = 256 * 1024, OUT_SIZE = 2 * READ_SIZE, FILES = 1 << 16 };
enum kind { KIND_NEW, KIND_WEBSOCKET, KIND_STREAM };

/* By descriptor: a connection is nothing but these. */
struct connection {
    uint8_t kind;
    uint32_t place;      /* among the members */
    unsigned char *held; /* an incomplete frame */
    size_t held_len;
};

static struct connection connections[FILES];
static int members[FILES];
static uint32_t member_count;
static bool echo, streams;
static unsigned char in[READ_SIZE], out[OUT_SIZE];

static void send_all(int fd, const void *bytes, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = send(fd, (const char *)bytes + done, len - done, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return; /* the next receive finds it closed */
        if (n < 0)
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, -1);
        else
            done += (size_t)n;
    }
}

static void join(int fd) {
    connections[fd].place = member_count;
    members[member_count++] = fd;
}

static void end(int fd) {
    struct connection *c = &connections[fd];
    const bool is_member = c->kind == KIND_STREAM || (c->kind == KIND_WEBSOCKET && !streams);
    if (is_member) {
        members[c->place] = members[--member_count];
        connections[members[c->place]].place = c->place;
    }
    free(c->held);
    *c = (struct connection){0};
    close(fd);
}

/* RFC 6455, section 4.2.2. A request is expected in one piece. */
static void greet(int fd, char *request, size_t len) {
    static const char key_field[] = "Sec-WebSocket-Key: ";
    struct connection *c = &connections[fd];
    request[len] = '\0';
    char *key = strstr(request, key_field), text[256];
    if (!key) {
        static const char stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                     "Cache-Control: no-store\r\nConnection: close\r\n\r\n";
        c->kind = KIND_STREAM;
        join(fd);
        send_all(fd, stream, sizeof stream - 1);
        return;
    }
    unsigned char digest[SHA_DIGEST_LENGTH], accept[29];
    int n = snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11",
                     key + sizeof key_field - 1);
    SHA1((unsigned char *)text, (size_t)n, digest);
    EVP_EncodeBlock(accept, digest, sizeof digest);
    n = snprintf(text, sizeof text,
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                 "Connection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
                 accept);
    c->kind = KIND_WEBSOCKET;
    if (!streams)
        join(fd);
    send_all(fd, text, (size_t)n);
}

/* Unmasks one frame's payload into a frame, or an event, of ours. Returns its size. */
static size_t put_message(unsigned char *to, unsigned char first, const unsigned char *key,
                          const unsigned char *payload, size_t len) {
    size_t n = 0;
    if (streams) {
        memcpy(to, "data: ", 6);
        n = 6;
    } else {
        to[n++] = first;
        to[n++] = len < 126 ? (unsigned char)len : len <= 0xffff ? 126 : 127;
        for (int shift = len < 126 ? -8 : len <= 0xffff ? 8 : 56; shift >= 0; shift -= 8)
            to[n++] = (unsigned char)((uint64_t)len >> shift);
    }
    uint64_t wide, word;
    memcpy(&wide, key, 4);
    memcpy((char *)&wide + 4, key, 4);
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, payload + i, 8);
        word ^= wide;
        memcpy(to + n + i, &word, 8);
    }
    for (; i < len; i++)
        to[n + i] = payload[i] ^ key[i & 3];
    n += len;
    if (streams) {
        memcpy(to + n, "\n\n", 2);
        n += 2;
    }
    return n;
}

/* Turns whole frames into `out` and returns how many bytes of them there were. */
static size_t take_frames(const unsigned char *bytes, size_t len, size_t *out_len, bool *closing) {
    size_t used = 0;
    while (len - used >= 2 && !*closing) {
        const unsigned char *at = bytes + used;
        const size_t width = (at[1] & 0x7f) == 126 ? 2 : (at[1] & 0x7f) == 127 ? 8 : 0;
        if (len - used < 2 + width + 4)
            break;
        uint64_t payload = width ? 0 : at[1] & 0x7f;
        for (size_t i = 0; i < width; i++)
            payload = payload << 8 | at[2 + i];
        const size_t head = 2 + width + 4;
        if (len - used < head + payload)
            break;
        *closing = (at[0] & 0x0f) == 8;
        if (!*closing)
            *out_len += put_message(out + *out_len, at[0], at + head - 4, at + head, payload);
        used += head + payload;
    }
    return used;
}

static void hold(struct connection *c, const unsigned char *bytes, size_t len) {
    if (len == 0 && !c->held)
        return;
    c->held = realloc(c->held, len + 1);
    memcpy(c->held, bytes, len);
    c->held_len = len;
}

static void receive(int fd) {
    struct connection *c = &connections[fd];
    size_t have = c->held_len, out_len = 0;
    if (have > 0)
        memcpy(in, c->held, have);
    ssize_t n = recv(fd, in + have, READ_SIZE - have - 1, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0 || c->kind == KIND_STREAM) {
        end(fd);
        return;
    }
    have += (size_t)n;
    if (c->kind == KIND_NEW) {
        greet(fd, (char *)in, have);
        return;
    }
    bool closing = false;
    const size_t used = take_frames(in, have, &out_len, &closing);
    hold(c, in + used, have - used);
    if (out_len > 0 && echo)
        send_all(fd, out, out_len);
    for (uint32_t i = 0; out_len > 0 && !echo && i < member_count; i++)
        send_all(members[i], out, out_len);
    if (closing) {
        send_all(fd, "\x88\x02\x03\xe8", 4);
        end(fd);
    }
}

static void accept_one(int listener, int epoll) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= FILES || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        close(fd);
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 2;
    echo = strcmp(argv[1], "echo") == 0;
    streams = strcmp(argv[1], "sse") == 0;
    const struct sockaddr_in at = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)atoi(argv[2])),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int epoll = epoll_create1(EPOLL_CLOEXEC), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (const struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 4096) != 0)
        return 1;
    struct epoll_event events[EVENTS] = {{.events = EPOLLIN, .data.fd = listener}};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &events[0]);
    for (;;) {
        const int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.fd == listener)
                accept_one(listener, epoll);
            else
                receive(events[i].data.fd);
        }
    }
}
