/* UTF-8 as RFC 3629 section 4 defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
 * It checks and never converts. Called for WebSocket texts, JSON strings and names. */
#include "base/utf8.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* The first byte at or after p that is not ASCII, or end. */
static const uint8_t *skip_ascii(const uint8_t *p, const uint8_t *end) {
#ifdef __SSE2__
    while (end - p >= 16) {
        int high = _mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(const void *)p));
        if (high != 0) {
            return p + __builtin_ctz((unsigned)high);
        }
        p += 16;
    }
#endif
    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        if ((word & 0x8080808080808080) != 0) {
            break;
        }
        p += 8;
    }
    while (p < end && *p < 0x80) {
        p++;
    }
    return p;
}

static inline bool is_tail(uint8_t byte) {
    return (byte & 0xc0) == 0x80;
}

/* What may follow a first byte: how many more bytes there are, and the range of the next one, which
 * is where overlong forms, surrogates and what is above U+10FFFF fall out. need is 0 for a byte
 * that begins nothing. */
struct lead {
    uint8_t need, low, high;
};

static inline struct lead lead_of(uint8_t byte) {
    if (byte < 0xc2) {
        return (struct lead){0, 0, 0};
    }
    if (byte < 0xe0) {
        return (struct lead){1, 0x80, 0xbf};
    }
    if (byte < 0xf0) {
        return (struct lead){2, byte == 0xe0 ? 0xa0 : 0x80, byte == 0xed ? 0x9f : 0xbf};
    }
    if (byte < 0xf5) {
        return (struct lead){3, byte == 0xf0 ? 0x90 : 0x80, byte == 0xf4 ? 0x8f : 0xbf};
    }
    return (struct lead){0, 0, 0};
}

/* The length of the character at p, which is not ASCII; 0 if it is not valid or not complete. */
static inline size_t char_length(const uint8_t *p, size_t len) {
    struct lead lead = lead_of(p[0]);
    if (lead.need == 0 || len <= lead.need || p[1] < lead.low || p[1] > lead.high ||
        (lead.need > 1 && !is_tail(p[2])) || (lead.need > 2 && !is_tail(p[3]))) {
        return 0;
    }
    return 1 + (size_t)lead.need;
}

size_t utf8_length(const char *bytes, size_t len) {
    const uint8_t *p = (const uint8_t *)bytes;
    if (len == 0) {
        return 0;
    }
    return p[0] < 0x80 ? 1 : char_length(p, len);
}

/* The end of the longest run of whole, valid characters. */
static const uint8_t *skip_valid(const uint8_t *p, const uint8_t *end) {
    for (;;) {
        p = skip_ascii(p, end);
        /* Texts outside ASCII mostly stay there: look for ASCII again only when some was met. */
        while (p < end && *p >= 0x80) {
            size_t len = char_length(p, (size_t)(end - p));
            if (len == 0) {
                return p;
            }
            p += len;
        }
        if (p == end) {
            return p;
        }
    }
}

bool utf8_valid(const char *bytes, size_t len) {
    const uint8_t *p = (const uint8_t *)bytes;
    return len == 0 || skip_valid(p, p + len) == p + len;
}

/* The state is the rest of a struct lead: need, low << 8, high << 16. */
#define STATE(need, low, high) ((uint32_t)(need) | (uint32_t)(low) << 8 | (uint32_t)(high) << 16)
#define STATE_FAILED STATE(1, 0xff, 0) /* No byte is in this range. */

/* One byte, in or after a character's first. */
static uint32_t step(uint32_t state, uint8_t byte) {
    if (state == 0) {
        struct lead lead = lead_of(byte);
        return byte < 0x80      ? 0
               : lead.need == 0 ? STATE_FAILED
                                : STATE(lead.need, lead.low, lead.high);
    }
    if (byte < (state >> 8 & 0xff) || byte > state >> 16) {
        return STATE_FAILED;
    }
    unsigned need = (state & 0xff) - 1;
    return need == 0 ? 0 : STATE(need, 0x80, 0xbf);
}

bool utf8_feed(struct utf8_state *s, const char *bytes, size_t len) {
    const uint8_t *p = (const uint8_t *)bytes;
    const uint8_t *end = len != 0 ? p + len : p;
    while (p < end && s->state != 0 && s->state != STATE_FAILED) {
        s->state = step(s->state, *p++);
    }
    if (s->state == 0 && p < end) {
        p = skip_valid(p, end);
    }
    /* What is left is a character without its end, or a mistake. */
    while (p < end && s->state != STATE_FAILED) {
        s->state = step(s->state, *p++);
    }
    return s->state != STATE_FAILED;
}

bool utf8_done(const struct utf8_state *s) {
    return s->state == 0;
}
