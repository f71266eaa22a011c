/* Listening sockets: resolves the host, binds, accepts, and enforces the limits on connections per
 * worker and per address. Who is over a limit is told so with a 503. What an accepted connection
 * means is decided by on_accept; the worker starts and stops listeners. */
#include "net/listener.h"

#include "base/memory.h"
#include "net/peers.h"
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* So many may be told "503" at the same time; whoever comes beyond is closed without a word, so
 * that refusing costs less than serving. */
#define MAX_REFUSING 128
#define ACCEPTS 256 /* in a row; others wait for the next turn */

struct listener {
    uv_poll_t poll;
    int fd;
    int reserve; /* a descriptor for when there are no others */
    struct io *io;
    void (*on_accept)(struct conn *conn, void *data);
    void *data;
};

/* --- refusing ------------------------------------------------------------------------------- */

static void refused_data(struct conn *conn, char *bytes, size_t len) {
    (void)conn;
    (void)bytes;
    (void)len;
}

static void refused_close(struct conn *conn, int error) {
    (void)error;
    conn->io->refusing--;
}

static const struct conn_handler refusing_handler = {
    .on_data = refused_data,
    .on_close = refused_close,
};

static void refuse(struct conn *conn) {
    struct io *io = conn->io;
    io->metrics->connections_refused++;
    conn_set_handler(conn, &refusing_handler, NULL);
    if (io->refusing++ >= MAX_REFUSING) {
        conn_abort(conn, UV_ECONNABORTED);
        return;
    }
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
                                 "Content-Type: text/plain\r\nContent-Length: 21\r\n\r\n"
                                 "too many connections\n";
    (void)conn_write_bytes(conn, answer, sizeof answer - 1);
    conn_finish(conn);
}

/* --- accepting ------------------------------------------------------------------------------ */

/* Is there room for it? Takes its place in the count of its address. */
static bool admit(struct conn *conn, const struct sockaddr *address) {
    const struct config *config = conn->io->config;
    if (config->max_connections &&
        conn->io->metrics->connections - conn->io->refusing > config->max_connections)
        return false;
    if (!config->max_per_address)
        return true;
    conn->peer = peer_take(conn->io, address, config->max_per_address);
    return conn->peer;
}

static void take(struct listener *listener, int fd, const struct sockaddr *address) {
    struct conn *conn = conn_new(listener->io, fd);
    if (!admit(conn, address)) {
        refuse(conn);
        return;
    }
    listener->io->metrics->connections_accepted++;
    listener->on_accept(conn, listener->data);
}

/* Descriptors have run out. What waits would wake the loop again and again, so that it is taken by
 * means of the one in reserve, and closed. */
static void turn_away(struct listener *listener) {
    int fd;
    close(listener->reserve);
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        close(fd);
        listener->io->metrics->connections_refused++;
    }
    listener->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_connections(uv_poll_t *poll, int status, int events) {
    struct listener *listener = poll->data;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage address;
        socklen_t len = sizeof address;
        int fd =
            accept4(listener->fd, (struct sockaddr *)&address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take(listener, fd, (struct sockaddr *)&address);
        } else if (errno == EMFILE || errno == ENFILE) {
            turn_away(listener);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return; /* Nobody waits, or one who is not there any more. */
        }
    }
}

/* --- starting and stopping ------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

/* What is accepted inherits the options. Output is gathered by us, once per turn: the kernel must
 * not wait for more. */
static int set_options(int fd, int family, int send_buffer) {
    int on = 1;
    int off = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on))
        return -errno;
    /* "::" is for IPv4 too, whatever the machine's default is. */
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off))
        return -errno;
    if (send_buffer && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer))
        return -errno;
    return 0;
}

/* A socket that listens there, or UV_E*. */
static int listen_at(const struct addrinfo *at, const struct config *config) {
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int error = set_options(fd, at->ai_family, (int)config->send_buffer);
    if (!error && (bind(fd, at->ai_addr, at->ai_addrlen) || listen(fd, config->backlog)))
        error = -errno;
    if (error)
        close(fd);
    return error ? error : fd;
}

static struct listener *listener_new(struct io *io, int fd) {
    struct listener *listener = memory_zalloc(sizeof *listener);
    listener->io = io;
    listener->fd = fd;
    listener->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    listener->poll.data = listener;
    /* Neither can fail: the descriptor is new, and one that epoll takes. */
    uv_poll_init(io->loop, &listener->poll, fd);
    uv_poll_start(&listener->poll, UV_READABLE, on_connections);
    return listener;
}

int listener_start(struct listener **out, struct io *io, const char *host, int port,
                   void (*on_accept)(struct conn *conn, void *data), void *data) {
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    uv_getaddrinfo_t resolver;
    int error = uv_getaddrinfo(io->loop, &resolver, NULL, host, service, &hints);
    if (error)
        return error;
    /* The first address of the name that can be bound; the error is that of the first one. */
    for (const struct addrinfo *at = resolver.addrinfo; at; at = at->ai_next) {
        int fd = listen_at(at, io->config);
        if (fd >= 0) {
            uv_freeaddrinfo(resolver.addrinfo);
            *out = listener_new(io, fd);
            (*out)->on_accept = on_accept;
            (*out)->data = data;
            return 0;
        }
        error = error ? error : fd;
    }
    uv_freeaddrinfo(resolver.addrinfo);
    return error;
}

int listener_port(const struct listener *listener) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getsockname(listener->fd, (struct sockaddr *)&address, &len))
        return 0;
    /* The port stands at the same place in IPv4 and IPv6 addresses. */
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

void listener_stop(struct listener *listener) {
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    close(listener->fd);
    close(listener->reserve);
}
