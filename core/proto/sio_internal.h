/* What proto/sio and proto/sio_client share; nobody else includes this. */
#ifndef MOONWIRE_PROTO_SIO_INTERNAL_H
#define MOONWIRE_PROTO_SIO_INTERNAL_H

#include "hub/recovery.h"
#include "proto/eio.h"
#include "proto/sio.h"

struct sio_ack;
struct sio_asking;

struct sio_server {
    struct eio_server *engine;
    struct app *app;
    struct metrics *metrics;
    struct writer scratch;
};

/* A packet whose binary values have not all come yet. */
struct sio_partial {
    struct buf *text;
    struct writer attachments; /* packed */
    uint32_t missing;
};

/* What is under way on a connection; one that is idle has none. */
struct sio_pending {
    struct timeout connect; /* until the first namespace is entered */
    struct sio_conn *conn;
    LIST_HEAD(, sio_asking) asking; /* on_auth has not answered yet */
    struct sio_partial *partial;
};

struct sio_conn {
    struct eio eio; /* first */
    struct sio_server *server;
    SLIST_HEAD(, sio_client) clients;
    struct sio_pending *pending; /* NULL: nothing */
    uint32_t count;              /* of clients and asking */
    uint32_t full;               /* clients whose line is full */
};

/* One namespace of a connection. Freed when the app has released it. */
struct sio_client {
    struct client client;
    struct sio_conn *conn; /* NULL: gone */
    SLIST_ENTRY(sio_client) link;
    LIST_HEAD(, sio_ack) acks; /* not answered yet */
    uint32_t sent;             /* client_ops->sent */
    bool full;
};

/* sio_client.c */
/* Makes the client that the verdict allows, tells it so, and the app. `returns` is what became of
 * its wish to be recovered; `session` is resumed if that is RECOVERY_DONE, and NULL otherwise. */
void sio_client_open(struct sio_conn *conn, struct ns *ns, const struct verdict *verdict,
                     enum recovery_result returns, struct recovery_session *session);
void sio_client_upgrade(struct sio_client *c); /* its bytes are frames from now on */
void sio_client_detach(struct sio_client *c);  /* its connection is gone */
/* A reply that the app will give to the event with this id; NULL without an id. */
struct ack *sio_client_ack(struct sio_client *c, struct span id);
void sio_client_mark_full(struct sio_client *c);

#endif
