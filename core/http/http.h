/* HTTP/1.1 over a conn (RFC 9112), through llhttp: requests come out one at a time and complete
 * with their body, the next pipelined one only after the answer. It knows nothing of routes. */
#ifndef MOONWIRE_HTTP_HTTP_H
#define MOONWIRE_HTTP_HTTP_H

#include "http/parse.h"
#include "http/shared_fields.h"
#include "net/conn.h"

/* One request that wants its answer. The server's reference ends with the answer or the connection;
 * whoever answers later takes a reference of his own. Answering after the connection has gone does
 * nothing. */
struct exchange;

struct http;
LIST_HEAD(http_list, http);

struct http_server {
    struct io *io;
    const struct config *config;
    /* A request is complete. Must lead, now or later, to exactly one of response_send
     * (http/response.h), exchange_upgrade. */
    void (*on_request)(struct http_server *server, struct exchange *x);
    void *data;
    struct parse_limits limits;
    struct http_list active;
    struct shared_fields fields; /* of the requests that clients keep */
    struct http_list spare; /* per-connection state for reuse, so that upgrades leave no holes */
    bool draining;
    int64_t date_second; /* the second that `date` tells */
    char date[30];       /* "Sun, 06 Nov 1994 08:49:37 GMT" */
};

void http_server_init(struct http_server *server, struct io *io, const struct config *config,
                      void (*on_request)(struct http_server *, struct exchange *), void *data);
void http_server_deinit(struct http_server *server);
void http_accept(struct http_server *server, struct conn *conn); /* installs HTTP on a fresh conn */
/* The end comes near: whatever is answered from now on takes its connection with it (Connection:
 * close), idle ones may ask once more. */
void http_server_wind_down(struct http_server *server);
/* The end: idle connections close now, busy ones after their answer. */
void http_server_drain(struct http_server *server);

struct exchange *exchange_ref(struct exchange *x);
void exchange_unref(struct exchange *x);
struct http_server *exchange_server(const struct exchange *x);
const struct request *exchange_request(const struct exchange *x);
bool exchange_open(
    const struct exchange *x); /* the connection is there and nothing has been answered yet */
/* Told when the connection closes before the answer is complete; NULL to stop being told. One
 * listener. */
void exchange_on_abort(struct exchange *x, void (*aborted)(struct exchange *x, void *data),
                       void *data);
/* A request of a client who stays until he is asked to go: while the server winds down his
 * connection outlives the answer, since he could not open another. */
void exchange_in_session(struct exchange *x);
/* A peer that ends its side does not wait for this answer either: the connection is then aborted.
 * For answers that come when there is something to tell. */
void exchange_abort_at_end(struct exchange *x);
/* Headers that will be added to whatever the answer is (CORS). Appended as "Name: value\r\n". */
struct writer *exchange_extra_headers(struct exchange *x);

/* Takes the connection out of HTTP: the head of an answer has been written to it by the caller, who
 * installs his own handler with conn_set_handler and then feeds it what had been read beyond the
 * request: *rest (may be empty) is valid until he returns to the loop. NULL when the connection has
 * gone. */
struct conn *exchange_upgrade(struct exchange *x, struct span *rest);

#endif
