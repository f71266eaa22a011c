/* Memory that the process itself sizes is never missing: these functions abort with a message when
 * it is. What a peer sizes is asked for with malloc or buf_try_new, and may fail. Everything is
 * released with free(3). */
#ifndef MOONWIRE_BASE_MEMORY_H
#define MOONWIRE_BASE_MEMORY_H

#include <stddef.h>

void *memory_alloc(size_t size);
void *memory_zalloc(size_t size); /* All bytes zero. */
/* An array of count members of size bytes each, zeroed; a product beyond size_t aborts too. */
void *memory_array(size_t count, size_t size);
void *memory_resize(void *old, size_t size);      /* As realloc; NULL is allowed. */
char *memory_strdup(const char *text);            /* NULL gives NULL. */
char *memory_strndup(const char *at, size_t len); /* NUL-terminated copy of exactly len bytes. */
_Noreturn void memory_short(size_t size);         /* Says what was asked for, and aborts. */

#endif
