/*
 * Sockets, partial reads and writes, and response heads, for every wire of the load generator. It
 * knows nothing about what the bytes mean beyond HTTP's head; the wires and load.c call it.
 */
#include "link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("bench-load: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static void watch(struct io *io, struct peer *c, int operation, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(io->epoll, operation, c->fd, &event) != 0)
        fail("epoll_ctl: %s", strerror(errno));
}

/* Sending ------------------------------------------------------------------------------------ */

void link_send(struct io *io, struct peer *c, const unsigned char *bytes, size_t len) {
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

static void send_unsent(struct io *io, struct peer *c) {
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

/* Opening and closing ------------------------------------------------------------------------ */

void link_open(struct io *io, struct peer *c) {
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)io->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(c->fd, (const struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS)
        fail("connect to port %d: %s", io->port, strerror(errno));
    c->state = PEER_CONNECTING;
    watch(io, c, EPOLL_CTL_ADD, EPOLLOUT);
}

void link_shut(struct peer *c) {
    close(c->fd);
    free(c->held);
    free(c->unsent);
    c->held = c->unsent = NULL;
    c->held_len = c->held_size = c->unsent_len = 0;
    c->state = PEER_CLOSED;
}

/* Receiving ---------------------------------------------------------------------------------- */

static void hold(struct peer *c, const unsigned char *bytes, size_t len) {
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

static void read_some(struct io *io, struct peer *c) {
    size_t have = c->held_len;
    if (have > 0)
        memcpy(io->in, c->held, have);
    ssize_t n = recv(c->fd, io->in + have, READ_SIZE - have, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n < 0)
        fail("connection %u: recv: %s", c->id, strerror(errno));
    if (n == 0)
        fail("connection %u: end of stream that nobody announced", c->id);
    have += (size_t)n;
    const size_t used = c->wire->take(io, c, io->in, have);
    if (c->state == PEER_CLOSED)
        return;
    hold(c, io->in + used, have - used);
    if (c->wire->frame)
        io->on_read_end(io->context, c);
}

void link_ready(struct io *io, struct peer *c, uint32_t events) {
    if (c->state == PEER_CLOSED)
        return;
    if (c->state == PEER_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error)
            fail("connect: %s", strerror(error));
        watch(io, c, EPOLL_CTL_MOD, EPOLLIN);
        c->state = PEER_GREETING;
        c->wire->begin(io, c);
        return;
    }
    if (events & EPOLLOUT)
        send_unsent(io, c);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        read_some(io, c);
}

/* Response heads ----------------------------------------------------------------------------- */

size_t http_head(const struct peer *c, const unsigned char *in, size_t len,
                 char head[HEAD_MAX + 1]) {
    const unsigned char *end = memmem(in, len, "\r\n\r\n", 4);
    if (!end && len < HEAD_MAX)
        return 0;
    const size_t size = end ? (size_t)(end - in) + 4 : len;
    if (!end || size > HEAD_MAX)
        fail("connection %u: response head too long", c->id);
    memcpy(head, in, size);
    head[size] = '\0';
    return size;
}

const char *http_field(const char *head, const char *name) {
    const size_t len = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, len) != 0 || line[2 + len] != ':')
            continue;
        return line + 2 + len + 1 + strspn(line + 2 + len + 1, " \t");
    }
    return NULL;
}

bool http_field_is(const char *head, const char *name, const char *expected) {
    const char *value = http_field(head, name);
    const size_t len = strlen(expected);
    return value && strncasecmp(value, expected, len) == 0 && value[len] == '\r';
}
