/* What proto/sse and proto/sse_post share; nobody else includes this. */
#ifndef MOONWIRE_PROTO_SSE_INTERNAL_H
#define MOONWIRE_PROTO_SSE_INTERNAL_H

#include "base/table.h"
#include "net/conn.h"
#include "proto/sse.h"

#define SID_BYTES 18
#define SID_LEN 24 /* of SID_BYTES in base64url */

/* A stream that may be spoken for, by its secret. */
struct sse_session {
    UT_hash_handle hh;
    struct stream *stream;
    char sid[SID_LEN + 1];
};

struct sse_server {
    struct io *io;
    const struct config *config;
    struct app *app;
    struct metrics *metrics;
    struct sse_session *sessions;
    size_t count; /* streams whose socket is there */
    struct writer scratch;
};

/* A client that reads a stream. Freed once its socket is gone and the app has released it, in
 * whatever order. */
struct stream {
    struct client client;
    struct conn *conn; /* NULL: gone */
    struct sse_server *server;
    struct sse_session *session; /* NULL: nobody speaks for it */
    struct timeout keep_alive;
    uint32_t ignored; /* bytes that came after the request */
    bool full;        /* its line is, until ops->resume */
    bool released;
};

/* The stream with this sid in this namespace, NULL if there is none that still lives. */
struct stream *sse_find(const struct sse_server *server, const struct ns *ns, struct span sid);

#endif
