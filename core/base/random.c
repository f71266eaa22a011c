/* Random bytes from the kernel, and base64 (RFC 4648) both ways. For ids, keys and handshakes; it
 * keeps no state. */
#include "base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <uv.h>

void random_bytes(void *bytes, size_t len) {
    char *at = bytes;
    while (len != 0) {
        ssize_t got = getrandom(at, len, 0);
        if (got < 0 && errno != EINTR) {
            perror("moonwire: getrandom");
            abort();
        }
        if (got > 0) {
            at += got;
            len -= (size_t)got;
        }
    }
}

/* Writes the digits, without padding, and returns their number. */
static size_t encode(char *out, const unsigned char *in, size_t len, const char *alphabet) {
    size_t n = 0;
    for (size_t i = 0; i < len; i += 3) {
        size_t rest = len - i;
        unsigned group = (unsigned)in[i] << 16 | (rest > 1 ? (unsigned)in[i + 1] << 8 : 0) |
                         (rest > 2 ? (unsigned)in[i + 2] : 0);
        out[n++] = alphabet[group >> 18];
        out[n++] = alphabet[group >> 12 & 63];
        if (rest > 1) {
            out[n++] = alphabet[group >> 6 & 63];
        }
        if (rest > 2) {
            out[n++] = alphabet[group & 63];
        }
    }
    return n;
}

size_t base64url_encode(char *out, const void *bytes, size_t len) {
    return encode(out, bytes, len,
                  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
}

size_t base64_encode(char *out, const void *bytes, size_t len) {
    size_t n =
        encode(out, bytes, len, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    while (n % 4 != 0) {
        out[n++] = '=';
    }
    return n;
}

static int digit_of(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' || c == '-' ? 62 : c == '/' || c == '_' ? 63 : -1;
}

/* The bits of the last digit that belong to no byte are not looked at: browsers and other servers
 * do not either. */
long base64_decode(void *out, struct span text) {
    unsigned char *to = out;
    size_t len = text.len;
    if (len != 0 && len % 4 == 0 && text.at[len - 1] == '=') {
        len -= text.at[len - 2] == '=' ? 2 : 1;
    }
    if (len % 4 == 1) {
        return UV_EINVAL;
    }
    unsigned bits = 0;
    for (size_t i = 0; i < len; i++) {
        int digit = digit_of(text.at[i]);
        if (digit < 0) {
            return UV_EINVAL;
        }
        bits = bits << 6 | (unsigned)digit;
        if (i % 4 != 0) {
            *to++ = (unsigned char)(bits >> (6 - 2 * (i % 4)));
        }
    }
    return to - (unsigned char *)out;
}

long base64url_decode(void *out, struct span text) {
    static const unsigned stray[] = {0, 0, 15, 3}; /* by the digits in the last group */
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '+' || text.at[i] == '/' || text.at[i] == '=') {
            return UV_EINVAL;
        }
    }
    unsigned mask = stray[text.len % 4];
    int last = text.len ? digit_of(text.at[text.len - 1]) : 0;
    return last < 0 || ((unsigned)last & mask) ? UV_EINVAL : base64_decode(out, text);
}
