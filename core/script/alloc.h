/* Lua's memory: small blocks from free lists by size, large ones from malloc, and a cap on the sum.
 * At the cap an allocation fails, which Lua answers with a full collection and, if that did not
 * help, an error in whoever asked. One state, one thread. */
#ifndef MOONWIRE_SCRIPT_ALLOC_H
#define MOONWIRE_SCRIPT_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

struct alloc;

struct alloc *alloc_new(size_t limit); /* in bytes */
/* After lua_close. */
void alloc_free(struct alloc *a);
/* A lua_Alloc; data is the struct alloc. */
void *alloc_lua(void *data, void *old, size_t old_size, size_t new_size);
size_t alloc_used(const struct alloc *a); /* bytes in blocks that Lua holds */
/* Has an allocation failed since this was asked last? */
bool alloc_was_short(struct alloc *a);
/* While on, some memory beyond the cap may be used: to say what went wrong. */
void alloc_use_reserve(struct alloc *a, bool on);

#endif
