/* SipHash (Aumasson and Bernstein, 2012) and the key of this process. base/table.h hands it to
 * uthash. It is for tables, not for authentication. */
#include "base/hash.h"

#include <pthread.h>
#include <string.h>

#include "base/random.h"

struct lanes {
    uint64_t a, b, c, d;
};

static inline uint64_t rotate(uint64_t word, unsigned bits) {
    return word << bits | word >> (64 - bits);
}

static inline void mix(struct lanes *v) {
    v->a += v->b;
    v->c += v->d;
    v->b = rotate(v->b, 13) ^ v->a;
    v->d = rotate(v->d, 16) ^ v->c;
    v->a = rotate(v->a, 32);
    v->c += v->b;
    v->a += v->d;
    v->b = rotate(v->b, 17) ^ v->c;
    v->d = rotate(v->d, 21) ^ v->a;
    v->c = rotate(v->c, 32);
}

static inline void absorb(struct lanes *v, uint64_t word, unsigned rounds) {
    v->d ^= word;
    while (rounds-- > 0) {
        mix(v);
    }
    v->a ^= word;
}

/* Up to eight bytes as a little-endian number. */
static inline uint64_t load(const uint8_t *at, size_t len) {
    uint64_t word = 0;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    if (len == 8) {
        memcpy(&word, at, 8);
        return word;
    }
#endif
    for (size_t i = 0; i < len; i++) {
        word |= (uint64_t)at[i] << (8 * i);
    }
    return word;
}

/* Inlined into both callers, so that the rounds are constants in the one that counts. */
static inline uint64_t siphash(unsigned c, unsigned d, const uint64_t key[2], const void *bytes,
                               size_t len) {
    const uint8_t *at = bytes;
    struct lanes v = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
                      key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
    size_t left = len;
    for (; left >= 8; left -= 8, at += 8) {
        absorb(&v, load(at, 8), c);
    }
    absorb(&v, (uint64_t)len << 56 | load(at, left), c);
    v.c ^= 0xff;
    while (d-- > 0) {
        mix(&v);
    }
    return v.a ^ v.b ^ v.c ^ v.d;
}

uint64_t hash_siphash(unsigned c, unsigned d, const uint64_t key[2], const void *bytes,
                      size_t len) {
    return siphash(c, d, key, bytes, len);
}

/* The one thing that all workers share: written once, before anybody reads it. */
static uint64_t process_key[2];
static pthread_once_t process_key_once = PTHREAD_ONCE_INIT;

static void draw_key(void) {
    random_bytes(process_key, sizeof process_key);
}

uint64_t hash_bytes(const void *bytes, size_t len) {
    pthread_once(&process_key_once, draw_key);
    return siphash(1, 3, process_key, bytes, len);
}
