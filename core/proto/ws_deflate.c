/* Negotiates permessage-deflate and runs zlib over whole messages. Knows no frames: RSV1 is the
 * caller's business. Called by proto/ws_handshake (the offers), proto/ws_conn (inflating) and
 * proto/ws (deflating, once per window for a whole broadcast). */
#include "proto/ws_deflate.h"

#include "base/memory.h"
#include "http/url.h"
#include "proto/ws_frame.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* --- negotiation ---------------------------------------------------------------------------- */

enum {
    SERVER_NO_CONTEXT = 1,
    CLIENT_NO_CONTEXT = 2,
    SERVER_WINDOW = 4,
    CLIENT_WINDOW = 8,
};

static void skip_space(struct span *rest) {
    while (rest->len && (*rest->at == ' ' || *rest->at == '\t')) {
        rest->at++;
        rest->len--;
    }
}

static bool take_char(struct span *rest, char c) {
    skip_space(rest);
    if (!rest->len || *rest->at != c) {
        return false;
    }
    rest->at++;
    rest->len--;
    return true;
}

static bool take_token(struct span *rest, struct span *token) {
    skip_space(rest);
    size_t len = 0;
    while (len < rest->len && token_char(rest->at[len])) {
        len++;
    }
    *token = (struct span){rest->at, len};
    rest->at += len;
    rest->len -= len;
    return len > 0;
}

/* A token, or one between quotes (RFC 6455 section 9.1: what it says must be a token too). */
static bool take_value(struct span *rest, struct span *value) {
    if (!take_char(rest, '"')) {
        return take_token(rest, value);
    }
    return take_token(rest, value) && take_char(rest, '"');
}

/* "8" to "15", without leading zeros; 0: anything else. */
static int window_bits(struct span value) {
    if (value.len == 1 && (value.at[0] == '8' || value.at[0] == '9')) {
        return value.at[0] - '0';
    }
    if (value.len == 2 && value.at[0] == '1' && value.at[1] >= '0' && value.at[1] <= '5') {
        return 10 + value.at[1] - '0';
    }
    return 0;
}

/* One parameter of an offer. False: unknown, repeated, or with a value that it cannot have. */
static bool take_parameter(struct span *rest, unsigned *seen, int *window) {
    struct span name;
    struct span value = {0};
    if (!take_token(rest, &name)) {
        return false;
    }
    bool has_value = take_char(rest, '=');
    if (has_value && !take_value(rest, &value)) {
        return false;
    }
    unsigned which = 0;
    bool good = false;
    if (span_is(name, "server_no_context_takeover")) {
        which = SERVER_NO_CONTEXT;
        good = !has_value;
    } else if (span_is(name, "client_no_context_takeover")) {
        which = CLIENT_NO_CONTEXT;
        good = !has_value;
    } else if (span_is(name, "server_max_window_bits")) {
        which = SERVER_WINDOW;
        *window = window_bits(value);
        good = *window >= WS_WINDOW_MIN;
    } else if (span_is(name, "client_max_window_bits")) {
        which = CLIENT_WINDOW;
        good = !has_value || window_bits(value) > 0;
    }
    good = good && !(*seen & which);
    *seen |= which;
    return good;
}

/* Skips what is left of an offer that has been given up, quotes respected, up to the comma. */
static void skip_offer(struct span *rest) {
    bool quoted = false;
    while (rest->len && (quoted || *rest->at != ',')) {
        quoted = quoted != (*rest->at == '"');
        rest->at++;
        rest->len--;
    }
}

/* One offer up to its comma. The window that we would use, 0: not for us. */
static int take_offer(struct span *rest, bool *asked) {
    struct span name;
    unsigned seen = 0;
    int window = WS_WINDOW_MAX;
    bool good = take_token(rest, &name) && span_is(name, "permessage-deflate");
    while (good && take_char(rest, ';')) {
        good = take_parameter(rest, &seen, &window);
    }
    skip_space(rest);
    good = good && (!rest->len || *rest->at == ',');
    skip_offer(rest);
    *asked = seen & SERVER_WINDOW;
    return good ? window : 0;
}

int ws_deflate_negotiate(struct span offers, bool *asked) {
    *asked = false;
    while (offers.len) {
        int window = take_offer(&offers, asked);
        if (window) {
            return window;
        }
        take_char(&offers, ',');
    }
    return 0;
}

void ws_deflate_answer(struct writer *out, int window, bool asked) {
    writer_puts(out, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    if (asked) {
        writer_printf(out, "; server_max_window_bits=%d", window);
    }
}

/* --- messages ------------------------------------------------------------------------------- */

#define INFLATED_KEPT (64 << 10) /* bytes of the inflater's buffer kept between messages */

struct ws_deflate {
    z_stream *deflaters[WS_WINDOW_MAX - WS_WINDOW_MIN + 1];
    z_stream *inflater; /* of the largest window, which reads all smaller ones */
    struct buf *inflated;
};

struct ws_deflate *ws_deflate_new(void) {
    return memory_zalloc(sizeof(struct ws_deflate));
}

void ws_deflate_free(struct ws_deflate *d) {
    for (size_t i = 0; i < sizeof d->deflaters / sizeof *d->deflaters; i++) {
        if (d->deflaters[i]) {
            deflateEnd(d->deflaters[i]);
            free(d->deflaters[i]);
        }
    }
    if (d->inflater) {
        inflateEnd(d->inflater);
        free(d->inflater);
    }
    buf_unref(d->inflated);
    free(d);
}

static z_stream *deflater(struct ws_deflate *d, int window) {
    z_stream **place = &d->deflaters[window - WS_WINDOW_MIN];
    if (!*place) {
        z_stream *z = memory_zalloc(sizeof *z);
        if (deflateInit2(z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -window, 8, Z_DEFAULT_STRATEGY) !=
            Z_OK) {
            free(z);
            return NULL;
        }
        *place = z;
    }
    return deflateReset(*place) == Z_OK ? *place : NULL;
}

size_t ws_deflate_message(struct ws_deflate *d, int window, char *out, struct span plain) {
    if (plain.len < 8 || plain.len > UINT_MAX) {
        return 0;
    }
    z_stream *z = deflater(d, window);
    if (!z) {
        return 0;
    }
    z->next_in = (Bytef *)(uintptr_t)plain.at;
    z->avail_in = (uInt)plain.len;
    z->next_out = (Bytef *)out;
    z->avail_out = (uInt)plain.len;
    /* Z_SYNC_FLUSH ends with an empty stored block, whose last four bytes are the tail that RFC
     * 7692 section 7.2.1 leaves away. Output left over means that zlib has not finished. */
    if (deflate(z, Z_SYNC_FLUSH) != Z_OK || z->avail_in || !z->avail_out) {
        return 0;
    }
    return plain.len - z->avail_out - 4;
}

static z_stream *inflater(struct ws_deflate *d) {
    if (!d->inflater) {
        z_stream *z = memory_zalloc(sizeof *z);
        if (inflateInit2(z, -WS_WINDOW_MAX) != Z_OK) {
            free(z);
            return NULL;
        }
        d->inflater = z;
    }
    return inflateReset(d->inflater) == Z_OK ? d->inflater : NULL;
}

/* Room for more output, twice as much each time; one byte beyond `most` shows that it is too long.
 * A peer sizes it: false when memory is short. */
static bool grow(struct ws_deflate *d, size_t most) {
    struct buf *old = d->inflated;
    size_t cap = old ? old->cap * 2 : 16384;
    if (cap > most + 1) {
        cap = most + 1;
    }
    struct buf *larger = buf_try_new(cap);
    if (!larger) {
        return false;
    }
    if (old) {
        memcpy(larger->bytes, old->bytes, old->len);
        larger->len = old->len;
    }
    buf_unref(old);
    d->inflated = larger;
    return true;
}

/* Inflates what `in` has. 0 when all of it is consumed, or a close code. A final block ends the
 * stream, and what follows is the next one, which may refer back (RFC 7692 section 7.2.3.4). */
static int inflate_piece(struct ws_deflate *d, z_stream *z, struct span in, size_t most) {
    z->next_in = (Bytef *)(uintptr_t)in.at;
    z->avail_in = (uInt)in.len;
    for (;;) {
        if ((!d->inflated || d->inflated->len == d->inflated->cap) && !grow(d, most)) {
            return WS_CODE_TOO_BIG;
        }
        struct buf *to = d->inflated;
        size_t room = to->cap - to->len;
        z->next_out = (Bytef *)to->bytes + to->len;
        z->avail_out = (uInt)(room > UINT_MAX ? UINT_MAX : room);
        uInt offered = z->avail_out;
        int result = inflate(z, Z_SYNC_FLUSH);
        to->len += offered - z->avail_out;
        if (to->len > most || result == Z_MEM_ERROR) {
            return WS_CODE_TOO_BIG;
        }
        bool ended = result == Z_STREAM_END;
        if (ended) {
            result = inflateResetKeep(z);
        }
        if (result != Z_OK && result != Z_BUF_ERROR) {
            return WS_CODE_INVALID_DATA;
        }
        /* Output room that is left over means that nothing more is coming. */
        if (!z->avail_in && (ended || z->avail_out)) {
            return 0;
        }
        if (result == Z_BUF_ERROR && z->avail_out) {
            return WS_CODE_INVALID_DATA;
        }
    }
}

/* zlib says so in data_type: the last byte read was the last of a block. */
static bool at_block_border(const z_stream *z) {
    return z->data_type & 128;
}

int ws_inflate_message(struct ws_deflate *d, struct span compressed, size_t most,
                       struct span *out) {
    z_stream *z = inflater(d);
    if (!z || compressed.len > UINT_MAX) {
        return WS_CODE_TOO_BIG;
    }
    if (d->inflated && d->inflated->cap > INFLATED_KEPT) {
        buf_unref(d->inflated);
        d->inflated = NULL;
    }
    if (d->inflated) {
        d->inflated->len = 0;
    }
    *out = SPAN("");
    if (compressed.len == 0) {
        return 0;
    }
    int code = inflate_piece(d, z, compressed, most);
    /* The tail that the sender left away completes the last block; a message that was cut off is
     * somewhere else then. A final block needs no tail. */
    if (code == 0 && !(z->total_in == 0 && z->total_out == 0)) {
        code = inflate_piece(d, z, SPAN("\0\0\xff\xff"), most);
        if (code == 0 && !at_block_border(z)) {
            code = WS_CODE_INVALID_DATA;
        }
    }
    if (code == 0) {
        *out = (struct span){d->inflated->bytes, d->inflated->len};
    }
    return code;
}
