/* Engine.IO 4: a session that carries messages over HTTP long-polling or a WebSocket, moves from
 * the first to the second without losing or exchanging one, and asks for signs of life. What the
 * messages mean is its user's business: proto/sio, or proto/eio_plain. */
#ifndef MOONWIRE_PROTO_EIO_H
#define MOONWIRE_PROTO_EIO_H

#include "base/slots.h"
#include "http/http.h"
#include "proto/eio_codec.h"
#include "proto/ws_conn.h"

struct eio;
struct eio_gzip;
struct eio_polling; /* proto/eio_internal.h */
struct eio_ws;

/* What the sessions of a worker share. */
struct eio_server {
    struct ws_shared shared;
    const struct config *config;
    struct slots sessions;
    size_t sockets; /* WebSockets that are there, closing ones too */
    bool draining;
    struct eio_gzip *gzip; /* proto/eio_gzip */
    struct writer scratch;
};
void eio_server_init(struct eio_server *server, struct io *io, const struct config *config);
void eio_server_deinit(struct eio_server *server);
void eio_server_drain(struct eio_server *server);         /* closes all, for the end */
size_t eio_server_count(const struct eio_server *server); /* sessions and sockets */

struct eio_handler {
    size_t size; /* of the user's struct, which begins with a struct eio and is zeroed */
    /* The handshake has been answered. `data` is eio_serve's. */
    void (*on_open)(struct eio *e, void *data);
    /* Lent for the call; text is UTF-8. False: taken, but no more until eio_resume. */
    bool (*on_message)(struct eio *e, struct span bytes, bool binary);
    /* From now on packets are sent as frames. */
    void (*on_upgrade)(struct eio *e);
    /* What is sent now need not wait: a poll has come, or all frames have been written after the
     * socket had refused some. */
    void (*on_drain)(struct eio *e);
    /* Nothing more is heard, and what is sent goes nowhere. Exactly once, then eio_release. The
     * reason is static: "transport close", "transport error", "ping timeout", "parse error" or
     * "forced close". */
    void (*on_closed)(struct eio *e, const char *reason);
};

/* A session's id as clients know it, and what it is made of. */
#define EIO_SID_LEN 20
struct eio_sid {
    uint32_t slot;            /* in server->sessions */
    unsigned char secret[11]; /* that nobody can guess */
} __attribute__((packed));

/* Embedded by its user; private but for what is said to be otherwise. */
struct eio {
    struct eio_server *server; /* public, as the next two */
    struct request *request;   /* the handshake's, without body */
    struct eio_ws *ws;         /* NULL: it is polling */
    const struct eio_handler *handler;
    struct eio_polling *polling; /* NULL: over a WebSocket from the start, or upgraded */
    union {
        struct timeout heartbeat; /* until the next ping, the answer to it, or the end of closing */
        struct deferred late;     /* its freeing, when no heartbeat follows */
    };
    struct eio_sid sid;
    uint8_t state : 2;
    bool pinged : 1;
    bool refreshed : 1; /* a packet has given it more time for the answer to this ping */
    bool full : 1;      /* on_message has returned false */
    bool released : 1;  /* by its user */
};

/* Answers a request to an endpoint: a handshake, a poll, a POST, an upgrade, or an error. */
void eio_serve(struct eio_server *server, const struct eio_handler *handler, void *data,
               struct exchange *x);
/* Does the request name a session? Whether it is one, eio_serve finds out. */
bool eio_is_handshake(const struct request *r);

/* {"code":...,"message":...}, as clients of the protocol know it. */
enum eio_error {
    EIO_UNKNOWN_TRANSPORT,
    EIO_UNKNOWN_SID,
    EIO_BAD_METHOD,
    EIO_BAD_REQUEST,
    EIO_FORBIDDEN,
    EIO_UNSUPPORTED,
};
void eio_refuse(struct exchange *x, enum eio_error error);

/* Queues what the user has encoded: whole frames on a WebSocket, packets joined by U+001E
 * otherwise. The bytes now waiting, UV_ECANCELED, or UV_ENOBUFS beyond the hard limit. */
ssize_t eio_send(struct eio *e, const struct slice *encoded);
bool eio_blocked(const struct eio *e);  /* Would what is sent now wait for the peer? */
size_t eio_queued(const struct eio *e); /* The bytes now waiting. */
/* One message, encoded for the session as it is at the moment. */
void eio_send_text(struct eio *e, struct span text);
void eio_resume(struct eio *e);
/* Says goodbye once everything is sent. 0: at once and without a word. */
void eio_close(struct eio *e, int code, const char *reason);
/* The server goes: closes the transport, which the client's own reconnecting understands. */
void eio_go_away(struct eio *e, uint32_t retry_ms);
void eio_release(struct eio *e); /* After on_closed: frees it, in time. */

#endif
