/* uthash, as this project uses it: the only place that includes it. Its memory aborts where
 * uthash's own would exit(-1), and names that peers choose are hashed with a secret key. Use its
 * macros (HASH_FIND, HASH_ADD_KEYPTR_BYHASHVALUE, HASH_DEL, HASH_ITER) as documented. */
#ifndef MOONWIRE_BASE_TABLE_H
#define MOONWIRE_BASE_TABLE_H

#ifdef UTHASH_H
#error "include base/table.h in the place of uthash.h"
#endif

#include <stdlib.h>

#include "base/hash.h"
#include "base/memory.h"

#define uthash_malloc(size) memory_alloc(size)
#define uthash_free(at, size) free(at)
#define uthash_fatal(message) memory_short(0)
#define HASH_FUNCTION(key, length, value) ((value) = (unsigned)hash_bytes((key), (length)))

#include <uthash.h>

#endif
