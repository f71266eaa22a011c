/* The way of one request: CORS, the guard, then route, endpoint of a namespace, or static file. */
#ifndef MOONWIRE_ROUTING_H
#define MOONWIRE_ROUTING_H

#include "http/http.h"
#include "hub/hub.h"
#include "proto/sse.h"
#include "proto/ws.h"

struct routing {
    struct app *app;
    struct ws_server *ws;
    struct sse_server *sse;
};

/* Answers x, now or later, or makes a client of it. */
void routing_serve(struct routing *routing, struct exchange *x);

#endif
