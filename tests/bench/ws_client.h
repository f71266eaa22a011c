/*
 * The WebSocket wire of the load generator. Anything a correct server would not do here (a bad
 * handshake, a masked or fragmented frame, a close nobody asked for, a message that was to be
 * compressed and is not) ends the program with a message.
 */
#ifndef BENCH_WS_CLIENT_H
#define BENCH_WS_CLIENT_H

#include "link.h"

extern const struct wire ws_wire;

#endif
