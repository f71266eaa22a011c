/* Listening sockets: resolves the host, binds, accepts, and enforces the limits on connections per
 * worker and per address. Who is over a limit is told so with a 503. What an accepted connection
 * means is decided by on_accept; the worker starts and stops listeners. */
#include "net/listener.h"

#include "base/memory.h"
#include "net/peers.h"
#include <stdio.h>
#include <stdlib.h>

/* So many may be told "503" at the same time; whoever comes beyond is closed without a word, so
 * that refusing costs less than serving. */
#define MAX_REFUSING 128

struct listener {
    uv_tcp_t tcp;
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
static bool admit(struct conn *conn) {
    const struct config *config = conn->io->config;
    if (config->max_connections &&
        conn->io->metrics->connections - conn->io->refusing > config->max_connections)
        return false;
    if (!config->max_per_address)
        return true;
    struct sockaddr_storage address = {0};
    int len = sizeof address;
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &len))
        return true; /* It has gone already; reading will say so. */
    conn->peer = peer_take(conn->io, (struct sockaddr *)&address, config->max_per_address);
    return conn->peer;
}

/* Where descriptors run out, libuv closes what was waiting by means of one that it keeps in
 * reserve, so the loop does not spin; any other error concerns a connection that is not there any
 * more. */
static void on_connection(uv_stream_t *stream, int status) {
    struct listener *listener = stream->data;
    struct metrics *metrics = listener->io->metrics;
    if (status < 0) {
        metrics->connections_refused++;
        return;
    }
    struct conn *conn = conn_accept(listener->io, stream, NULL, NULL);
    if (!conn)
        return;
    if (!admit(conn)) {
        refuse(conn);
        return;
    }
    metrics->connections_accepted++;
    listener->on_accept(conn, listener->data);
}

/* --- starting and stopping ------------------------------------------------------------------ */

static void on_closed(uv_handle_t *handle) {
    free(handle->data);
}

static int listen_at(struct listener *listener, const struct sockaddr *address) {
    const struct config *config = listener->io->config;
    int send_buffer = (int)config->send_buffer;
    /* libuv reports an address in use only at uv_listen. */
    int error = uv_tcp_bind(&listener->tcp, address, 0);
    /* What is accepted inherits it. */
    if (!error && send_buffer)
        error = uv_send_buffer_size((uv_handle_t *)&listener->tcp, &send_buffer);
    if (!error)
        error = uv_listen((uv_stream_t *)&listener->tcp, config->backlog, on_connection);
    return error;
}

static struct listener *listener_new(struct io *io) {
    struct listener *listener = memory_zalloc(sizeof *listener);
    listener->io = io;
    uv_tcp_init(io->loop, &listener->tcp);
    listener->tcp.data = listener;
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
        struct listener *listener = listener_new(io);
        listener->on_accept = on_accept;
        listener->data = data;
        int failed = listen_at(listener, at->ai_addr);
        if (!failed) {
            uv_freeaddrinfo(resolver.addrinfo);
            *out = listener;
            return 0;
        }
        error = error ? error : failed;
        listener_stop(listener);
    }
    uv_freeaddrinfo(resolver.addrinfo);
    return error;
}

int listener_port(const struct listener *listener) {
    struct sockaddr_storage address = {0};
    int len = sizeof address;
    if (uv_tcp_getsockname(&listener->tcp, (struct sockaddr *)&address, &len))
        return 0;
    /* The port stands at the same place in IPv4 and IPv6 addresses. */
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

void listener_stop(struct listener *listener) {
    uv_close((uv_handle_t *)&listener->tcp, on_closed);
}
