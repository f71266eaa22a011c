/* Socket.IO 5 as a wire of clients: each namespace that a connection is in is a client of the hub,
 * over a session of Engine.IO (proto/eio). on_disconnect hears why it ended in the words of the
 * reference server: "client namespace disconnect", "transport close", "transport error", "ping
 * timeout", "parse error", "forced close", "forced server close", "server shutting down", or what
 * client_disconnect was given. */
#ifndef MOONWIRE_PROTO_SIO_H
#define MOONWIRE_PROTO_SIO_H

#include "http/http.h"
#include "hub/hub.h"

struct eio_server;
struct sio_server;
/* `engine` is kept: the sessions are among its sessions. */
struct sio_server *sio_server_new(struct eio_server *engine, struct app *app,
                                  struct metrics *metrics);
void sio_server_free(struct sio_server *server); /* after eio_server_deinit's sessions are gone */

/* Answers any request to the endpoint. */
void sio_serve(struct sio_server *server, struct exchange *x);

#endif
