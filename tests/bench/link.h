/*
 * Connections of the load generator: many sockets on one epoll instance, no allocation per message,
 * and no forgiveness. A `wire` says how a peer talks (ws_client, sse_client, polling_client); this
 * file's part is bytes in and bytes out. load.c decides what is said.
 */
#ifndef BENCH_LINK_H
#define BENCH_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum peer_state {
    PEER_UNUSED,
    PEER_CONNECTING,
    PEER_GREETING,
    PEER_OPEN,
    PEER_CLOSING,
    PEER_CLOSED
};

enum { READ_SIZE = 256 * 1024, TOKEN_SIZE = 64, FRAME_HEAD_MAX = 14 };

struct io;
struct peer;

struct wire {
    /* The socket is connected: says the first word. */
    void (*begin)(struct io *io, struct peer *c);
    /* Takes whole units from what has come and returns how many bytes it took. */
    size_t (*take)(struct io *io, struct peer *c, const unsigned char *in, size_t len);
    /* Writes one message to `out`, which has room for FRAME_HEAD_MAX + len; returns its size. NULL:
     * nobody speaks here but the wire itself, and on_read_end is not called. */
    size_t (*frame)(unsigned char *out, const unsigned char *payload, size_t len);
    /* Sends what frame() has made, of one or several messages. */
    void (*send)(struct io *io, struct peer *c, const unsigned char *bytes, size_t len);
    /* Begins to close; on_close follows, perhaps at once. */
    void (*close)(struct io *io, struct peer *c);
};

struct peer {
    int fd;
    enum peer_state state;
    uint32_t id;
    unsigned stage;   /* how far the wire has come in its own affairs; 0 at first */
    unsigned opening; /* how far an envelope has come in its opening; 0 at first */
    const struct wire *wire;
    const char *path;        /* of its request */
    uint64_t sent, received; /* whole messages, counted by the caller */
    unsigned char *held;     /* received bytes that do not make a whole unit yet */
    size_t held_len, held_size;
    unsigned char *unsent; /* bytes the socket did not take; NULL when there are none */
    size_t unsent_len;
    struct peer *twin;      /* polling: the connection for POSTs, and from there the peer itself */
    char token[TOKEN_SIZE]; /* the Sec-WebSocket-Accept that the server owes us, or its sid */
};

struct io {
    int epoll, port;
    bool deflate; /* WebSockets offer permessage-deflate, and want it */
    void *context;
    void (*on_open)(void *context, struct peer *c);
    void (*on_message)(void *context, struct peer *c, const unsigned char *data, size_t len);
    /* Everything that one read brought has been passed to on_message: the time to answer it. */
    void (*on_read_end)(void *context, struct peer *c);
    void (*on_close)(void *context, struct peer *c);
    unsigned char in[READ_SIZE];
};

/* Prints the message and ends the program with status 1. */
void fail(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Begins to connect to 127.0.0.1; the wire's begin() follows. */
void link_open(struct io *io, struct peer *c);

/* Handles what epoll reported for this peer. May call any of the callbacks. */
void link_ready(struct io *io, struct peer *c, uint32_t events);

/* Sends bytes; keeps a copy of what the socket does not take. */
void link_send(struct io *io, struct peer *c, const unsigned char *bytes, size_t len);

/* Closes the socket and forgets its bytes, without on_close. */
void link_shut(struct peer *c);

/* Response heads ----------------------------------------------------------------------------- */

enum { HEAD_MAX = 4096 };

/* Copies a complete response head to `head` as a string. Its size; 0 while it is not complete. */
size_t http_head(const struct peer *c, const unsigned char *in, size_t len,
                 char head[HEAD_MAX + 1]);
/* Where the value of a field begins (it ends at CR); NULL if the field is missing. */
const char *http_field(const char *head, const char *name);
bool http_field_is(const char *head, const char *name, const char *expected);

#endif
