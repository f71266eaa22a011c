/* A listening TCP socket that turns connections into conns, within the limits per worker and per
 * address. */
#ifndef MOONWIRE_NET_LISTENER_H
#define MOONWIRE_NET_LISTENER_H

#include "net/conn.h"

struct listener;

/* on_accept gets each new conn, to install its handler. Beyond a limit the connection is answered
 * with a plain 503 and closed. 0 or UV_E* (UV_EADDRINUSE above all), with *out untouched. */
int listener_start(struct listener **out, struct io *io, const char *host, int port,
                   void (*on_accept)(struct conn *conn, void *data), void *data);
int listener_port(const struct listener *listener); /* the real one, where 0 was asked for */
void listener_stop(
    struct listener *listener); /* Accepts no more; frees itself. Existing conns stay. */

#endif
