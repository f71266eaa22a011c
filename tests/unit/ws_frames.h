/* What a WebSocket client would send: masked frames, for the tests of proto/ws_*. */
#ifndef MOONWIRE_TESTS_WS_FRAMES_H
#define MOONWIRE_TESTS_WS_FRAMES_H

#include "base/buf.h"

#define FIN 0x80
#define RSV1 0x40

/* Appends a frame with this first byte (FIN | RSV1 | opcode) and a fixed mask. */
void put_frame(struct writer *out, unsigned first, struct span payload);
/* The same, announcing `length`, and without a mask if `masked` is false; `extended` is 0, 2 or 8
 * bytes of length field. */
void put_odd_frame(struct writer *out, unsigned first, bool masked, size_t extended,
                   uint64_t length, struct span payload);

#endif
