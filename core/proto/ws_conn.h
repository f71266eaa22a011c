/* A WebSocket connection that yields messages: frames, pings and pongs, inflating, limits, pausing
 * and the closing handshake are dealt with here. Who is at the other end, and what messages mean,
 * is its user's business: proto/ws puts a client of the hub on it. */
#ifndef MOONWIRE_PROTO_WS_CONN_H
#define MOONWIRE_PROTO_WS_CONN_H

#include "net/conn.h"
#include "proto/ws_deflate.h"
#include "proto/ws_reader.h"

struct ws_conn;

struct ws_conn_handler {
    /* Its user asks for signs of life himself: no pings of ours, and no time within which something
     * must be heard. */
    bool silent;
    /* Bytes of a message that its sender may have, also after inflating. */
    size_t (*max_payload)(const struct ws_conn *w);
    /* A whole message; text is UTF-8. The bytes are lent for the call. False: taken, but no more
     * until ws_conn_resume. */
    bool (*on_message)(struct ws_conn *w, struct span bytes, bool binary);
    /* All output has been written after the socket had refused some. */
    void (*on_drain)(struct ws_conn *w);
    /* The connection closes, and not because of ws_conn_close: no message follows, and nothing is
     * sent any more. The reason is static: "client closed", "ping timeout", "transport error",
     * "protocol error", "message too big" or "slow consumer". At most once. */
    void (*on_closing)(struct ws_conn *w, const char *reason);
    /* The socket is gone; last of all, exactly once. *w may be freed. */
    void (*on_gone)(struct ws_conn *w);
};

/* What the WebSockets of a worker share. */
struct ws_shared {
    struct io *io;
    const struct ws_conn_handler *handler;
    struct ws_pool pool;
    struct ws_deflate *deflate;
};
void ws_shared_init(struct ws_shared *shared, struct io *io, const struct ws_conn_handler *handler);
void ws_shared_deinit(struct ws_shared *shared);

/* Embedded by its user; its members are private but for `conn`. */
struct ws_conn {
    struct conn *conn; /* NULL: gone */
    struct ws_shared *shared;
    struct ws_reader reader;
    struct ws_pong *pong;   /* the answer to the latest ping, while output is blocked */
    struct timeout timeout; /* of a quiet client, or of the peer's part in closing */
    uint32_t control_since; /* loop time when the current second of control frames began */
    uint16_t control_count; /* in that second */
    uint8_t window;         /* of permessage-deflate; 0: not negotiated */
    uint8_t state : 2;
    uint8_t paused : 2; /* why reading has stopped */
    bool pinged : 1;    /* a ping waits for any sign of life */
};

/* Takes over a connection whose handshake has been answered, and waits for frames. `window` as
 * negotiated. The bytes read beyond the handshake are passed on with ws_conn_feed. */
void ws_conn_start(struct ws_conn *w, struct ws_shared *shared, struct conn *conn, int window);
void ws_conn_feed(struct ws_conn *w, char *bytes, size_t len);

/* Queues a frame that the caller has encoded. As conn_write; UV_ECANCELED once it closes. */
ssize_t ws_conn_send(struct ws_conn *w, const struct slice *frame);
bool ws_conn_blocked(const struct ws_conn *w);
size_t ws_conn_queued(const struct ws_conn *w);
/* After on_message has returned false: reads on. */
void ws_conn_resume(struct ws_conn *w);
/* Sends a close frame and waits for the peer's, as long as a pong may take; WS_CODE_RESTART: not so
 * long, for the server wants to end. 0: at once and without a word. Nothing after the first call
 * counts. */
void ws_conn_close(struct ws_conn *w, int code, const char *reason);
/* The reason that goes with WS_CODE_RESTART, for people and for machines: "server restart;
 * retry=3.217", in seconds. */
#define WS_RESTART_REASON_SIZE 40
void ws_put_restart_reason(char out[WS_RESTART_REASON_SIZE], uint32_t retry_ms);

#endif
