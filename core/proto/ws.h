/* WebSocket (RFC 6455) with permessage-deflate (RFC 7692), as a wire of clients: what is said and
 * heard over proto/ws_conn is raw frames, or JSON events (proto/event) where the namespace speaks
 * them. on_disconnect hears why it ended: "client closed", "ping timeout", "transport error",
 * "protocol error", "message too big", "slow consumer", "shutdown", or what client_disconnect was
 * given. */
#ifndef MOONWIRE_PROTO_WS_H
#define MOONWIRE_PROTO_WS_H

#include "http/http.h"
#include "hub/hub.h"

/* What the WebSockets of a worker share: contexts, inflater and deflaters, one list of all of
 * them. Freed when all clients have been released. */
struct ws_server;
struct ws_server *ws_server_new(struct io *io, const struct config *config, struct app *app,
                                struct metrics *metrics);
void ws_server_free(struct ws_server *server);

/* Does this request ask for a WebSocket (GET with Upgrade: websocket)? */
bool ws_wanted(const struct request *r);
/* Is its handshake right (RFC 6455 section 4.2.1)? If not, answers 400, or 426 with the version we
 * speak. */
bool ws_check(struct exchange *x);
/* Answers 101 (subprotocol and extensions negotiated with the namespace's settings) and connects
 * the client that the verdict allows. If the connection has gone, hands the verdict's script back
 * through app->drop_session. */
void ws_accept(struct ws_server *server, struct exchange *x, struct ns *ns,
               const struct verdict *verdict);
/* Whose socket is still there, the closing handshake included. */
size_t ws_server_count(const struct ws_server *server);

#endif
