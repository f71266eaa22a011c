/* A whole worker in small for the tests of proto: HTTP server, hub, WebSockets, streams, and an app
 * made of C functions that writes down what it is asked. Every path leads to namespace "/". */
#ifndef MOONWIRE_TESTS_PROTO_FIXTURE_H
#define MOONWIRE_TESTS_PROTO_FIXTURE_H

#include "http_fixture.h"
#include "hub/hub.h"
#include "proto/sse.h"
#include "proto/ws.h"

struct house {
    struct site s;
    struct app app;
    struct hub *hub;
    struct ns *ns;
    struct ns_settings settings;
    struct ws_server *ws;
    struct sse_server *sse;
    struct verdict verdict;
    struct writer log;     /* what the app was asked: "connect;", "event say 1;", ... */
    struct client *client; /* the last one that connected; NULL once released */
    struct client *held;   /* closed, not released yet, because: */
    bool hold_release;
    struct ack *later; /* of the last event "later" */
    size_t asked;      /* events and messages */
    size_t take;       /* the line is full after every so many; 0: never */
    size_t dropped;    /* sessions handed back */
};

/* What the app does with an event: "echo" answers with its arguments, "none" with nothing, "fail"
 * with an error, "later" when the test says so, "emit" goes to the room "r" without a reply of its
 * own; a join joins, except "no", which is refused; raw frames are sent back. */
void house_init(struct house *h); /* Not listening yet: settings may be changed. */
void house_start(struct house *h);
void house_deinit(struct house *h);

bool house_logged(const struct house *h, const char *text);
void house_answer_later(struct house *h, const char *args, uint32_t argc);
void house_emit(struct house *h, const char *room, const char *event, const char *args,
                uint32_t argc);

/* A WebSocket handshake with these further fields; runs until it is answered. The rest of what the
 * server sends is in received_ws(). */
void house_upgrade(struct house *h, const char *fields);
struct span received_ws(const struct house *h);
void house_say(struct house *h, const char *text); /* a masked text frame */

#endif
