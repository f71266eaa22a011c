/* Engine.IO without Socket.IO above it, as a wire of clients: text and binary messages of
 * engine.io-client are the raw frames of a namespace. */
#ifndef MOONWIRE_PROTO_EIO_PLAIN_H
#define MOONWIRE_PROTO_EIO_PLAIN_H

#include "hub/hub.h"
#include "proto/eio.h"

struct plain_server {
    struct eio_server *engine;
    struct app *app;
    struct metrics *metrics;
    struct writer scratch;
};

/* Answers a request. For a handshake, ns and the verdict that allows it; the verdict's script goes
 * back through app->drop_session if the handshake is refused. Otherwise both may be NULL. */
void eio_plain_serve(struct plain_server *server, struct exchange *x, struct ns *ns,
                     const struct verdict *verdict);

#endif
