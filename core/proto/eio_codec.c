/* Reads and writes Engine.IO's packets. What they lead to is proto/eio's business, which calls it
 * for each text frame and each body. */
#include "proto/eio_codec.h"

#include "base/random.h"

#include <string.h>

static bool read_base64(struct eio_packet *p, struct span text, struct writer *scratch) {
    writer_clear(scratch);
    char *out = writer_reserve(scratch, text.len * 3 / 4 + 1);
    long len = base64_decode(out, text);
    if (len < 0) {
        return false;
    }
    writer_advance(scratch, (size_t)len);
    *p = (struct eio_packet){EIO_MESSAGE, true, writer_span(scratch)};
    return true;
}

bool eio_packet_read(struct eio_packet *p, struct span text, struct writer *scratch) {
    if (text.len == 0) {
        return false;
    }
    struct span data = {text.at + 1, text.len - 1};
    if (text.at[0] == 'b') {
        return read_base64(p, data, scratch);
    }
    if (text.at[0] < '0' || text.at[0] > '6') {
        return false;
    }
    *p = (struct eio_packet){(enum eio_type)(text.at[0] - '0'), false, data};
    return true;
}

bool eio_payload_next(struct span *rest, struct span *packet) {
    if (!rest->at) {
        return false;
    }
    const char *end = rest->len ? memchr(rest->at, EIO_SEPARATOR, rest->len) : NULL;
    *packet = *rest;
    if (end) {
        packet->len = (size_t)(end - rest->at);
        *rest = (struct span){end + 1, rest->len - packet->len - 1};
    } else {
        *rest = (struct span){NULL, 0};
    }
    return true;
}

void eio_put_base64(struct writer *out, struct span bytes) {
    writer_putc(out, 'b');
    char *at = writer_reserve(out, (bytes.len + 2) / 3 * 4 + 1);
    writer_advance(out, base64_encode(at, bytes.at, bytes.len));
}
