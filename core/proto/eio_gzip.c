/* Packs whole bodies, one after the other, with the same deflater: nothing of one is remembered for
 * the next, for they go to different clients. Called by proto/eio_polling with the answers to polls
 * and by proto/eio at the end of the worker. */
#include "proto/eio_gzip.h"

#include "base/memory.h"
#include "http/url.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define WINDOW (15 + 16) /* the largest; 16 more is zlib's sign for gzip */

struct eio_gzip {
    z_stream z;
};

/* --- negotiation ---------------------------------------------------------------------------- */

/* "gzip;q=0.5" without its weight; false if the weight is 0, which means "not that one" (RFC 9110
 * section 12.4.2). */
static bool take_coding(struct span *item) {
    const char *semicolon = memchr(item->at, ';', item->len);
    if (!semicolon) {
        return true;
    }
    const char *end = item->at + item->len;
    *item = span_trim((struct span){item->at, (size_t)(semicolon - item->at)});
    const char *weight = memchr(semicolon, '=', (size_t)(end - semicolon));
    for (weight = weight ? weight + 1 : end; weight < end; weight++) {
        if (*weight >= '1' && *weight <= '9') {
            return true;
        }
    }
    return false;
}

bool eio_gzip_accepted(struct span field) {
    struct span item;
    bool others = false;
    while (list_next(&field, &item)) {
        bool good = take_coding(&item);
        if (span_equal_nocase(item, SPAN("gzip"))) {
            return good;
        }
        others = others || (good && span_is(item, "*"));
    }
    return others;
}

/* --- packing -------------------------------------------------------------------------------- */

void eio_gzip_free(struct eio_gzip *gzip) {
    if (gzip) {
        deflateEnd(&gzip->z);
        free(gzip);
    }
}

static z_stream *deflater(struct eio_gzip **gzip) {
    if (!*gzip) {
        struct eio_gzip *made = memory_zalloc(sizeof *made);
        if (deflateInit2(&made->z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, WINDOW, 8,
                         Z_DEFAULT_STRATEGY) != Z_OK) {
            free(made);
            return NULL;
        }
        *gzip = made;
    }
    return deflateReset(&(*gzip)->z) == Z_OK ? &(*gzip)->z : NULL;
}

struct buf *eio_gzip_pack(struct eio_gzip **gzip, struct span plain) {
    z_stream *z = plain.len <= UINT_MAX ? deflater(gzip) : NULL;
    if (!z) {
        return NULL;
    }
    struct buf *packed = buf_new(plain.len); /* no room for what is not shorter */
    z->next_in = (Bytef *)(uintptr_t)plain.at;
    z->avail_in = (uInt)plain.len;
    z->next_out = (Bytef *)packed->bytes;
    z->avail_out = (uInt)plain.len;
    if (deflate(z, Z_FINISH) != Z_STREAM_END) {
        buf_unref(packed);
        return NULL;
    }
    packed->len = plain.len - z->avail_out;
    return packed;
}
