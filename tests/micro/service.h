/* A worker in one process with its clients: app_fixture's Lua and hub, and in front of them what
 * core/worker.c puts there, behind a port of the loopback. The clients are plain sockets on the
 * same thread, so that it is always known what the server finds when a turn of its loop begins. */
#ifndef MOONWIRE_TESTS_MICRO_SERVICE_H
#define MOONWIRE_TESTS_MICRO_SERVICE_H

#include "app_fixture.h"
#include "micro.h"
#include "net/listener.h"
#include "routing.h"

struct service {
    struct app_fixture app;
    struct routing routing;
    struct http_server http;
    struct listener *listener;
};

void service_open(struct service *s, const char *source); /* the handler file */
void service_close(struct service *s);
/* One turn of the loop, counted. It writes what the turn before has put into queues, and then
 * sleeps until there is something to read, and reads it: so a server under load turns, too. */
void service_turn(struct service *s, const struct run *run);

struct guest {
    int fd;
    struct writer unread;
};

/* Connect, by a WebSocket handshake with these further fields ("Name: value\r\n"), or otherwise;
 * they return when it has been answered. */
void guest_websocket(struct guest *p, struct service *s, const char *target, const char *fields);
void guest_stream(struct guest *p, struct service *s, const char *target);
void guest_socketio(struct guest *p, struct service *s);
void guest_polling(struct guest *p, struct service *s);
void guest_close(struct guest *p);
void guest_send(struct guest *p, struct span bytes);
void guest_send_text(struct guest *p, const char *text); /* as a WebSocket's frame */
/* Takes what has come up to the end of this text, and fails if it does not come. The server has
 * written it: nothing turns. */
void guest_take(struct guest *p, struct span text);
/* The same, and the server turns meanwhile. */
void guest_await(struct guest *p, struct service *s, const char *text);

#endif
