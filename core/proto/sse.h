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
/* Answers with a stream and connects the client. Each ?room= asks on_join (proto/url_join.h), and
 * the stream goes on behind the Last-Event-ID of an EventSource that comes again. HEAD gets the
 * head alone. Then, and when the connection has gone, the verdict's script goes back through
 * app->drop_session and there is no client: NULL. `ask_rooms`: false for streams opened by a route,
 * whose rooms Lua has chosen. Why a stream ended: as in proto/ws.h. */
struct client *sse_accept(struct sse_server *server, struct exchange *x, struct ns *ns,
                          const struct verdict *verdict, bool ask_rooms);

/* A POST to a namespace's endpoint. With ?sid=: runs as that stream's client at once (404 unknown
 * sid) and answers x with the reply. Without: returns true, the caller asks on_auth and passes the
 * verdict to sse_post_once.
 *
 * The body is one JSON event (proto/event.h), and the answer is the handler's: 200 with the value
 * it returned as JSON (several: an array), 204 if it returned none, or the status of its error's
 * code with {"error":{"code":...,"detail":...}}. A stream's client may also join, leave and answer
 * a request, and send an array of at most 256: that is answered with 200 and the array of replies
 * that a WebSocket client would get. Where the namespace speaks raw frames, the body of a one-shot
 * POST goes to on_message (binary if its type is application/octet-stream) and 204 comes back. A
 * full line and a client over its rate answer 429, a body over the namespace's max_payload 413.
 *
 * app->on_close of a one-shot client (client.wire "post") must not run on_disconnect. */
bool sse_post(struct sse_server *server, struct exchange *x, struct ns *ns);
void sse_post_once(struct sse_server *server, struct exchange *x, struct ns *ns,
                   const struct verdict *verdict);

size_t sse_server_count(const struct sse_server *server);

#endif
