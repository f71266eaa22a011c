/*
 * A WebSocket client for measuring servers: many connections on one epoll instance, no allocation
 * per message, and no forgiveness. Anything a correct server would not do here (a bad handshake,
 * a masked or fragmented frame, a close nobody asked for) ends the program with a message.
 */
#ifndef BENCH_WS_CLIENT_H
#define BENCH_WS_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_state { WS_UNUSED, WS_CONNECTING, WS_HANDSHAKE, WS_OPEN, WS_CLOSING, WS_CLOSED };

enum { WS_READ_SIZE = 256 * 1024, WS_ACCEPT_SIZE = 29, WS_HEAD_MAX = 14 };

struct ws_client {
    int fd;
    enum ws_state state;
    uint32_t id;
    uint64_t sent, received; /* whole data messages, counted by the caller */
    unsigned stage;          /* how far a protocol above has come; 0 at first */
    unsigned char *held;     /* received bytes that do not make a whole frame yet */
    size_t held_len, held_size;
    unsigned char *unsent; /* bytes the socket did not take; NULL when there are none */
    size_t unsent_len;
    char accept[WS_ACCEPT_SIZE]; /* the Sec-WebSocket-Accept that the server owes us */
};

struct ws_io {
    int epoll;
    const char *path; /* of the handshake */
    void *context;
    void (*on_open)(void *context, struct ws_client *c);
    void (*on_message)(void *context, struct ws_client *c, const unsigned char *data, size_t len);
    /* Everything that one read brought has been passed to on_message: the time to answer it. */
    void (*on_read_end)(void *context, struct ws_client *c);
    void (*on_close)(void *context, struct ws_client *c);
    unsigned char in[WS_READ_SIZE];
};

/* Prints the message and ends the program with status 1. */
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Begins to connect to 127.0.0.1:port; on_open follows when the handshake has been verified. */
void ws_client_open(struct ws_io *io, struct ws_client *c, int port);

/* Handles what epoll reported for this connection. May call any of the callbacks. */
void ws_client_ready(struct ws_io *io, struct ws_client *c, uint32_t events);

/* Writes one masked text frame to out, which has room for WS_HEAD_MAX + len; returns its size. */
size_t ws_client_frame(unsigned char *out, const unsigned char *payload, size_t len);

/* Sends frames made by ws_client_frame; keeps a copy of what the socket does not take. */
void ws_client_send(struct ws_io *io, struct ws_client *c, const unsigned char *bytes, size_t len);

/* Sends a close frame; on_close follows when the server has answered it. */
void ws_client_close(struct ws_io *io, struct ws_client *c);

#endif
