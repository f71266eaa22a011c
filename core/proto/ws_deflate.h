/* permessage-deflate (RFC 7692): what is agreed on in the handshake, and messages between their
 * plain and their compressed form. Neither side keeps a context between messages, so one inflater
 * and a deflater for each window serve all connections of a worker. */
#ifndef MOONWIRE_PROTO_WS_DEFLATE_H
#define MOONWIRE_PROTO_WS_DEFLATE_H

#include "base/buf.h"

#define WS_WINDOW_MIN 9 /* zlib cannot make a raw window of 8 */
#define WS_WINDOW_MAX 15

/* Chooses among the offers of a Sec-WebSocket-Extensions field: the first that is well-formed and
 * that we can serve. The bits of our window, 9 to 15; 0: none. *asked: the offer names a window, so
 * that the answer must too. */
int ws_deflate_negotiate(struct span offers, bool *asked);
/* Appends the value of the answer's field. */
void ws_deflate_answer(struct writer *out, int window, bool asked);

struct ws_deflate;
struct ws_deflate *ws_deflate_new(void); /* The streams are made when they are first needed. */
void ws_deflate_free(struct ws_deflate *d);

/* Compresses a message into out, which has room for `len` bytes, without the tail 00 00 ff ff. The
 * bytes written; 0 if it would not become shorter (or memory is short): send it plain. */
size_t ws_deflate_message(struct ws_deflate *d, int window, char *out, struct span plain);
/* Inflates a client's message, whatever its window, to at most `most` bytes. 0, and *out is valid
 * until the next call; otherwise the close code: 1007 no deflate stream, 1009 longer than `most` or
 * memory is short. */
int ws_inflate_message(struct ws_deflate *d, struct span compressed, size_t most, struct span *out);

#endif
