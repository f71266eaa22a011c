/*
 * The wire of event streams: it only listens. What a correct server would not do (a status other
 * than 200, another content type, an end of the stream) ends the program with a message.
 */
#ifndef BENCH_SSE_CLIENT_H
#define BENCH_SSE_CLIENT_H

#include "link.h"

extern const struct wire sse_wire;

#endif
