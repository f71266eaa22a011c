/* Finding the end of a run of plain string bytes, many at a time. The reader and the writer of
 * base/json share it; nobody else includes it. */
#ifndef MOONWIRE_BASE_JSON_SCAN_H
#define MOONWIRE_BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

static inline bool json_is_plain(uint8_t byte) {
    return byte >= 0x20 && byte != '"' && byte != '\\';
}

#define JSON_EACH_BYTE 0x0101010101010101u /* times b: the byte b, eight times */

/* The top bit of each byte of word that is not plain; also of some above the lowest such byte, so
 * that only the lowest counts (in memory order on a little-endian machine). */
static inline uint64_t json_special_bits(uint64_t word) {
    const uint64_t ones = JSON_EACH_BYTE, tops = ones * 0x80;
    uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\';
    return (((word - ones * 0x20) & ~word) | ((quote - ones) & ~quote) |
            ((backslash - ones) & ~backslash)) &
           tops;
}

#ifdef __SSE2__
static inline __m128i json_load(const char *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* A bit per byte of the 16: not plain. */
static inline unsigned json_special_mask(__m128i bytes) {
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    return (unsigned)_mm_movemask_epi8(
        _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash)),
                     _mm_cmpeq_epi8(_mm_min_epu8(bytes, control), bytes)));
}
#endif

/* The first quote, backslash or control character at or after p, or end. *high becomes true if a
 * byte above 0x7f came before it; it is left alone otherwise. The bytes from start on may be read:
 * a tail of less than 16 is taken together with what stands before it. */
static inline const char *json_scan_plain(const char *p, const char *end, const char *start,
                                          bool *high) {
#ifdef __SSE2__
    unsigned found = 0, tops = 0;
    while (end - p >= 16) {
        __m128i bytes = json_load(p);
        found = json_special_mask(bytes);
        tops = (unsigned)_mm_movemask_epi8(bytes);
        if (found != 0) {
            *high |= (tops & (found - 1) & ~found) != 0;
            return p + __builtin_ctz(found);
        }
        *high |= tops != 0;
        p += 16;
    }
    if (end - start >= 16 && p < end) {
        __m128i bytes = json_load(end - 16);
        unsigned known = (unsigned)(p - (end - 16));
        found = json_special_mask(bytes) >> known;
        tops = (unsigned)_mm_movemask_epi8(bytes) >> known;
        if (found != 0) {
            *high |= (tops & (found - 1) & ~found) != 0;
            return p + __builtin_ctz(found);
        }
        *high |= tops != 0;
        return end;
    }
#else
    (void)start;
#endif
    while (end - p >= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        if (json_special_bits(word) != 0) {
            break;
        }
        *high |= (word & JSON_EACH_BYTE * 0x80) != 0;
        p += 8;
    }
    while (p < end && json_is_plain((uint8_t)*p)) {
        *high |= (uint8_t)*p >= 0x80;
        p++;
    }
    return p;
}

#endif
