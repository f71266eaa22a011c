/* From the bytes of a client to WebSocket messages and control frames (RFC 6455 sections 5 and 8).
 * What lies in the caller's buffer as a whole is unmasked there and lent; an incomplete frame or
 * message goes to a context, which is borrowed from a pool only for as long. */
#ifndef MOONWIRE_PROTO_WS_READER_H
#define MOONWIRE_PROTO_WS_READER_H

#include "base/buf.h"
#include "proto/ws_frame.h"

/* The contexts of a worker. */
struct ws_context;
struct ws_pool {
    struct ws_context *spare;
    unsigned spare_count;
};
void ws_pool_deinit(struct ws_pool *pool);

/* One per connection; zero-initialised is at the start of a stream. */
struct ws_reader {
    struct ws_context *context; /* NULL: at the border of a frame, and of a message */
};
void ws_reader_deinit(struct ws_reader *r, struct ws_pool *pool);

struct ws_limits {
    size_t max_payload; /* bytes of a message. One that is compressed may be a seventh longer, for
                           what deflate adds to bytes that do not shrink */
    bool deflate;       /* is permessage-deflate negotiated? */
};

struct ws_received {
    enum ws_opcode opcode; /* WS_TEXT, WS_BINARY, WS_CLOSE, WS_PING or WS_PONG */
    bool compressed;       /* the bytes are to be inflated; text is then not checked yet */
    int code;              /* WS_CLOSE: 1005 if the frame has none */
    struct span bytes;     /* the message, or the control frame's payload (WS_CLOSE: the reason);
                              valid until the next call */
};

/* Takes the next message or control frame off the front of [*at, end), which it may change up to
 * the new *at. 1: *out is it; what follows *at is untouched. 0: everything was taken and more is
 * needed. Otherwise the connection fails with this close code: 1002 protocol error, 1007 text or a
 * close reason that is not UTF-8 (at the first bad byte), 1009 too big (when it is announced, or
 * memory is short). After a failure, only ws_reader_deinit. */
int ws_reader_next(struct ws_reader *r, struct ws_pool *pool, const struct ws_limits *limits,
                   char **at, char *end, struct ws_received *out);
/* Gives the context back if nothing is incomplete: when the caller stops in the middle of his
 * bytes. out->bytes end with it. */
void ws_reader_settle(struct ws_reader *r, struct ws_pool *pool);

#endif
