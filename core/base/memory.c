/* The allocations that must not fail. Called by everybody who keeps something of a size that no
 * peer chose; it does not count, pool or limit. */
#include "base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void memory_short(size_t size) {
    fprintf(stderr, "moonwire: out of memory (%zu bytes wanted)\n", size);
    abort();
}

void *memory_alloc(size_t size) {
    void *memory = malloc(size != 0 ? size : 1);
    if (memory == NULL) {
        memory_short(size);
    }
    return memory;
}

void *memory_array(size_t count, size_t size) {
    void *memory = calloc(count != 0 ? count : 1, size != 0 ? size : 1);
    if (memory == NULL) {
        memory_short(size != 0 && count > SIZE_MAX / size ? SIZE_MAX : count * size);
    }
    return memory;
}

void *memory_zalloc(size_t size) {
    return memory_array(1, size);
}

void *memory_resize(void *old, size_t size) {
    void *memory = realloc(old, size != 0 ? size : 1);
    if (memory == NULL) {
        memory_short(size);
    }
    return memory;
}

char *memory_strndup(const char *at, size_t len) {
    char *copy = memory_alloc(len + 1);
    if (len != 0) {
        memcpy(copy, at, len);
    }
    copy[len] = '\0';
    return copy;
}

char *memory_strdup(const char *text) {
    return text != NULL ? memory_strndup(text, strlen(text)) : NULL;
}
