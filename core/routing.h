/* The way of one request: CORS, the guard, then the endpoint of Socket.IO, route, endpoint of a
 * namespace, or static file. */
#ifndef MOONWIRE_ROUTING_H
#define MOONWIRE_ROUTING_H

#include "http/http.h"
#include "hub/hub.h"
#include "proto/eio_plain.h"
#include "proto/sio.h"
#include "proto/sse.h"
#include "proto/ws.h"

struct routing {
    struct app *app;
    struct ws_server *ws;
    struct sse_server *sse;
    struct eio_server engine;
    struct sio_server *sio;
    struct plain_server plain;
};

/* For mw.sse: a route has decided that x becomes a stream. NULL: it has gone, or the server ends.
 */
struct client *routing_open_stream(struct routing *routing, struct exchange *x, struct ns *ns,
                                   const struct verdict *verdict);
/* Answers x, now or later, or makes a client of it. */
void routing_serve(struct routing *routing, struct exchange *x);

#endif
