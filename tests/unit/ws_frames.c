/* Writes frames as a client does; see ws_frames.h. */
#include "ws_frames.h"

static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};

void put_odd_frame(struct writer *out, unsigned first, bool masked, size_t extended,
                   uint64_t length, struct span payload) {
    unsigned code = extended == 8 ? 127 : extended == 2 ? 126 : (unsigned)length;
    writer_putc(out, (char)first);
    writer_putc(out, (char)((masked ? 0x80 : 0) | code));
    for (size_t i = 0; i < extended; i++) {
        writer_putc(out, (char)(length >> 8 * (extended - 1 - i)));
    }
    if (masked) {
        writer_put(out, mask, sizeof mask);
    }
    for (size_t i = 0; i < payload.len; i++) {
        writer_putc(out, (char)(payload.at[i] ^ (masked ? mask[i & 3] : 0)));
    }
}

void put_frame(struct writer *out, unsigned first, struct span payload) {
    size_t extended = payload.len < 126 ? 0 : payload.len < 65536 ? 2 : 8;
    put_odd_frame(out, first, true, extended, payload.len, payload);
}
