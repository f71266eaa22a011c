/* Server-sent events (HTML standard, 9.2) as a wire of clients, and the POSTs that speak for them:
 * ?sid=new tells a stream its secret sid first (event "sid", data {"sid":...}), POST ?sid=... then
 * is that client; any other POST of a JSON event is a one-shot client without rooms, for which
 * on_auth runs, but neither on_connect nor on_disconnect. */
#ifndef MOONWIRE_PROTO_SSE_H
#define MOONWIRE_PROTO_SSE_H

#include "http/http.h"
#include "hub/hub.h"

struct sse_server;
struct sse_server *sse_server_new(struct io *io, const struct config *config, struct app *app,
                                  struct metrics *metrics);
void sse_server_free(struct sse_server *server);

/* GET or HEAD with Accept: text/event-stream? */
bool sse_wanted(const struct request *r);
/* Answers with a stream and connects the client. Each ?room= asks on_join; the outcome is an event
 * "joined" {"room":...,"data":...} or "refused"
 * {"room":...,"error":{...}}. HEAD and a connection that has gone: as ws_accept. Returns the
 * client, NULL if there is none. `ask_rooms`: false for streams opened by a route, whose rooms Lua
 * has chosen. */
struct client *sse_accept(struct sse_server *server, struct exchange *x, struct ns *ns,
                          const struct verdict *verdict, bool ask_rooms);

/* A POST to a namespace's endpoint. With ?sid=: runs as that stream's client at once (404 unknown
 * sid) and answers x with the reply. Without: returns true, the caller asks on_auth and passes the
 * verdict to sse_post_once. The body is {"event":...,"data"|"args":...} (or an array of them: then
 * only for streams). A full line answers 429. */
bool sse_post(struct sse_server *server, struct exchange *x, struct ns *ns);
void sse_post_once(struct sse_server *server, struct exchange *x, struct ns *ns,
                   const struct verdict *verdict);

void sse_server_close_all(struct sse_server *server); /* Shutdown: ends every stream. */
size_t sse_server_count(const struct sse_server *server);

#endif
