/* JSON's scalars appended to a writer; brackets, commas and colons are the driver's. The script
 * bridge, the transports and the log drive it. */
#include <math.h>
#include <string.h>
#include <uv.h>

#include "base/json.h"
#include "base/json_scan.h"
#include "base/number.h"
#include "base/utf8.h"

/* As JSON.stringify: the short escapes, else lower-case \u00xx. */
static char *put_escape(char *out, uint8_t byte) {
    static const char SHORT[32] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    char letter = byte < 0x20 ? SHORT[byte] : (char)byte;
    *out++ = '\\';
    if (letter != '\0') {
        *out++ = letter;
        return out;
    }
    memcpy(out, "u00", 3);
    out[3] = "0123456789abcdef"[byte >> 4];
    out[4] = "0123456789abcdef"[byte & 15];
    return out + 5;
}

/* The three bytes of a lone surrogate (WTF-8): ED A0..BF 80..BF. */
static bool is_surrogate(const char *at, size_t len) {
    return len >= 3 && (uint8_t)at[0] == 0xed && ((uint8_t)at[1] & 0xe0) == 0xa0 &&
           ((uint8_t)at[2] & 0xc0) == 0x80;
}

static char *put_surrogate(char *out, const char *at) {
    unsigned code = 0xd000 | ((uint8_t)at[1] & 0x3fu) << 6 | ((uint8_t)at[2] & 0x3fu);
    memcpy(out, "\\u", 2);
    for (int i = 0; i < 4; i++) {
        out[2 + i] = "0123456789abcdef"[code >> (12 - 4 * i) & 15];
    }
    return out + 6;
}

/* A run of plain bytes that is no valid UTF-8 as a whole: whole characters pass, surrogates are
 * escaped (twice as long, and out has room for that); NULL at anything else. */
static char *put_surrogates(char *out, const char *at, size_t len) {
    while (len != 0) {
        size_t step = utf8_length(at, len);
        if (step != 0) {
            memcpy(out, at, step);
            out += step;
        } else if (is_surrogate(at, len)) {
            out = put_surrogate(out, at);
            step = 3;
        } else {
            return NULL;
        }
        at += step;
        len -= step;
    }
    return out;
}

int json_put_string(struct writer *w, struct span text) {
    const char *at = text.at, *end = at + text.len;
    size_t before = writer_len(w);
    writer_putc(w, '"');
    for (;;) {
        bool high = false;
        const char *stop = at != end ? json_scan_plain(at, end, text.at, &high) : end;
        size_t run = (size_t)(stop - at);
        bool surrogates = high && !utf8_valid(at, run);
        /* Room for the run, one escape of six bytes, and the closing quote. */
        char *room = writer_reserve(w, (surrogates ? 2 * run : run) + 7);
        char *out = room;
        if (surrogates) {
            out = put_surrogates(out, at, run);
            if (out == NULL) {
                w->buf->len = before;
                return UV_EINVAL;
            }
        } else if (run != 0) {
            memcpy(out, at, run);
            out += run;
        }
        if (stop == end) {
            *out++ = '"';
            writer_advance(w, (size_t)(out - room));
            return 0;
        }
        out = put_escape(out, (uint8_t)*stop);
        writer_advance(w, (size_t)(out - room));
        at = stop + 1;
    }
}

void json_put_integer(struct writer *w, long long value) {
    writer_advance(w, number_print_integer(writer_reserve(w, NUMBER_MAX), value));
}

int json_put_number(struct writer *w, double value) {
    if (!isfinite(value)) {
        return UV_EINVAL;
    }
    writer_advance(w, number_print(writer_reserve(w, NUMBER_MAX), value));
    return 0;
}
