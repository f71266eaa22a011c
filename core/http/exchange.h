/* The inside of an exchange and of a connection's HTTP state, for http.c and response.c. */
#ifndef MOONWIRE_HTTP_EXCHANGE_H
#define MOONWIRE_HTTP_EXCHANGE_H

#include "http/http.h"

/* What the timeout of a connection stands for. */
enum http_wait {
    WAIT_NOTHING, /* the application is at work */
    WAIT_FIRST,   /* for the first byte of a new connection */
    WAIT_REQUEST, /* for the rest of a request */
    WAIT_NEXT,    /* for another request */
    WAIT_PEER,    /* for the peer to read the answer */
};

struct http {
    LIST_ENTRY(http) link;
    struct http_server *server;
    struct conn *conn;
    struct exchange *exchange; /* the request at work; owns a reference */
    struct timeout timeout;
    enum http_wait waiting;
    uint64_t unread;  /* of the answer, when WAIT_PEER or WAIT_NEXT began: is the peer reading? */
    size_t body_mark; /* body bytes that had come when the timeout was started */
    struct span rest; /* within on_data: what follows the request */
    bool parsing;     /* within on_data */
    bool detached;    /* the connection has been upgraded */
    bool close;       /* after the answer */
    char address[46];
    struct parser parser;
};

struct exchange {
    uint32_t refs;
    struct http_server *server;
    struct http *http; /* NULL: the connection has gone, or the answer is complete */
    struct request *request;
    struct writer extra;
    void (*aborted)(struct exchange *x, void *data);
    void *aborted_data;
    bool at_end; /* the end of the peer's side aborts it */
    bool in_session;
    bool answered; /* the head of the answer has been written */
    uint64_t left; /* bytes of the body to come */
    void (*room)(struct exchange *x, void *data);
    void *room_data;
    struct buf *body; /* a large one, written in pieces */
};

/* The head of an answer is written and its body follows: from now on the peer is waited for. */
void exchange_streams(struct exchange *x);
/* The answer is complete: the next request, or the end. Drops the server's reference. */
void exchange_done(struct exchange *x);

/* Queues the head of an answer on the conn. length < 0: not told. body: small, sent with it. */
struct head_options {
    int status;
    struct span fields;
    struct span extra;
    int64_t length;
    bool close;
    bool keep_alive; /* must be said, to HTTP/1.0 */
    struct span body;
};
void response_put_head(struct http_server *server, struct conn *conn,
                       const struct head_options *options);

#endif
