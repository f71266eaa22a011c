/* The text/event-stream format (HTML standard, section 9.2.6): one message as one block of lines. A
 * pure function of bytes. */
#ifndef MOONWIRE_PROTO_SSE_ENCODE_H
#define MOONWIRE_PROTO_SSE_ENCODE_H

#include "base/buf.h"

struct message;

/* Appends the block of a message. Nothing is appended for a REPLY, which no stream can carry.
 *   EVENT   "event:" (left away for "message"), "data:" the argument as JSON, [a,b] for several,
 *           null for none; a "message" whose one argument is a string is that string as it is
 *   TEXT    "data:" the text
 *   BINARY  "event: binary", "data:" the bytes in base64
 *   REPLY   nothing
 * and "id:" the offset where there is one. Text of several lines becomes several "data:" lines. */
void sse_encode(struct writer *out, const struct message *m);

#endif
