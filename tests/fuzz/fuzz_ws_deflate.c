/* permessage-deflate: offers as a client may write them, compressed messages as it may send them,
 * and our own frames, which zlib must read back. The first byte of the input chooses. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "proto/ws_deflate.h"

#define MOST 100000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void negotiate(struct span offers) {
    bool asked;
    int window = ws_deflate_negotiate(offers, &asked);
    if (window && (window < WS_WINDOW_MIN || window > WS_WINDOW_MAX)) {
        abort();
    }
}

static void inflate_one(struct ws_deflate *d, struct span compressed) {
    struct span out;
    int code = ws_inflate_message(d, compressed, MOST, &out);
    if ((code && code != 1007 && code != 1009) || out.len > MOST) {
        abort();
    }
    /* What was read once reads the same again: nothing is kept between messages. */
    struct buf *first = buf_copy(out.at, out.len);
    if (ws_inflate_message(d, compressed, MOST, &out) != code || out.len != first->len ||
        (out.len && memcmp(out.at, first->bytes, out.len) != 0)) {
        abort();
    }
    buf_unref(first);
}

static void round_trip(struct ws_deflate *d, int window, struct span plain) {
    char *out = malloc(plain.len + 1);
    size_t len = ws_deflate_message(d, window, out, plain);
    struct span back;
    if (len >= plain.len && plain.len) {
        abort();
    }
    if (len && (ws_inflate_message(d, (struct span){out, len}, plain.len, &back) ||
                !span_equal(back, plain))) {
        abort();
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    struct ws_deflate *d = ws_deflate_new();
    struct span rest = {(const char *)data + 1, size - 1};
    switch (data[0] % 3) {
    case 0:
        negotiate(rest);
        break;
    case 1:
        inflate_one(d, rest);
        break;
    default:
        round_trip(d, WS_WINDOW_MIN + data[0] / 3 % 7, rest);
    }
    ws_deflate_free(d);
    return 0;
}
