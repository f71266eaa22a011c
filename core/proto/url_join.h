/* What a client's URL says of rooms, on WebSocket and SSE: ?room=, as often as wanted, and ?after=,
 * the offsets up to which it has seen them. */
#ifndef MOONWIRE_PROTO_URL_JOIN_H
#define MOONWIRE_PROTO_URL_JOIN_H

#include "http/request.h"
#include "hub/hub.h"

/* The client, just connected, has seen what the Last-Event-ID of an EventSource says, or else each
 * ?after= of its URL: one offset, or several separated by commas. Kept for its joins. */
void url_join_offer(struct client *c, const struct request *r);
/* Asks on_join for each ?room=, with the options {"join":room}. The client hears what became of it
 * in the event "joined" {"room":...,"data":...} or "refused" {"room":...,"error":{...}}, which are
 * what the reply to a join says, and the room. False: that has filled its line, and the rest is
 * refused. */
bool url_join_ask(struct app *app, struct client *c, const struct request *r);

#endif
