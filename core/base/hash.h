/* The hash of names that peers choose. SipHash-1-3 under a key that the process draws once, so that
 * nobody outside can prepare names that meet in one bucket. */
#ifndef MOONWIRE_BASE_HASH_H
#define MOONWIRE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* SipHash with c rounds for each word of input and d at the end (the paper's is 2-4). The key is
 * two words, little-endian. */
uint64_t hash_siphash(unsigned c, unsigned d, const uint64_t key[2], const void *bytes, size_t len);
/* SipHash-1-3 with the process's key. */
uint64_t hash_bytes(const void *bytes, size_t len);

#endif
