/* The allocator of a Lua state. Blocks of up to 512 bytes come from free lists, one for each
 * multiple of 16, which are filled from chunks; Lua tells the size of what it frees, so that a
 * block needs no header. Chunks go back only with the state: a list's blocks are used again by the
 * same size, and a server's mix of sizes is steady. Larger blocks are malloc's. state.c hands it to
 * Lua; it knows nothing of Lua's values. */
#include "script/alloc.h"

#include "base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define STEP 16
#define SMALL 512
#define CHUNK (32 * 1024)
#define RESERVE (512 * 1024)

struct block {
    struct block *next;
};

struct chunk {
    SLIST_ENTRY(chunk) link;
    _Alignas(STEP) char bytes[];
};

struct alloc {
    size_t used;
    size_t limit;
    bool was_short;
    char *at; /* what is left of the newest chunk */
    char *end;
    SLIST_HEAD(, chunk) chunks;
    struct block *spare[SMALL / STEP + 1]; /* by size / STEP */
};

struct alloc *alloc_new(size_t limit) {
    struct alloc *a = memory_zalloc(sizeof(*a));
    a->limit = limit;
    return a;
}

void alloc_free(struct alloc *a) {
    while (!SLIST_EMPTY(&a->chunks)) {
        struct chunk *chunk = SLIST_FIRST(&a->chunks);
        SLIST_REMOVE_HEAD(&a->chunks, link);
        free(chunk);
    }
    free(a);
}

size_t alloc_used(const struct alloc *a) {
    return a->used;
}

bool alloc_was_short(struct alloc *a) {
    bool was_short = a->was_short;
    a->was_short = false;
    return was_short;
}

void alloc_use_reserve(struct alloc *a, bool on) {
    a->limit += on ? RESERVE : -(size_t)RESERVE;
}

/* What a block of this size really takes. */
static size_t round_up(size_t size) {
    return size <= SMALL ? (size + STEP - 1) / STEP * STEP : size;
}

static void *cut(struct alloc *a, size_t size) {
    if ((size_t)(a->end - a->at) < size) {
        struct chunk *chunk = malloc(sizeof(*chunk) + CHUNK);
        if (chunk == NULL) {
            return NULL;
        }
        SLIST_INSERT_HEAD(&a->chunks, chunk, link);
        a->at = chunk->bytes;
        a->end = chunk->bytes + CHUNK;
    }
    void *block = a->at;
    a->at += size;
    return block;
}

static void *get(struct alloc *a, size_t size) {
    if (size > SMALL) {
        return malloc(size);
    }
    struct block **spare = &a->spare[size / STEP];
    struct block *block = *spare;
    if (block == NULL) {
        return cut(a, size);
    }
    *spare = block->next;
    return block;
}

static void put(struct alloc *a, void *memory, size_t size) {
    if (size > SMALL) {
        free(memory);
        return;
    }
    struct block *block = memory;
    block->next = a->spare[size / STEP];
    a->spare[size / STEP] = block;
}

/* Lua relies on shrinking to succeed. If no smaller block can be had, the old one serves: it comes
 * back under its new size, for which it is more than large enough. (One of malloc's is then lost.)
 */
static void *resize(struct alloc *a, void *old, size_t old_size, size_t new_size) {
    void *moved;
    if (old_size > SMALL && new_size > SMALL) {
        moved = realloc(old, new_size);
    } else if ((moved = get(a, new_size)) != NULL) {
        memcpy(moved, old, old_size < new_size ? old_size : new_size);
        put(a, old, old_size);
    }
    return moved == NULL && new_size < old_size ? old : moved;
}

void *alloc_lua(void *data, void *old, size_t old_size, size_t new_size) {
    struct alloc *a = data;
    void *memory;

    /* Where there is no old block, old_size tells what kind of object is wanted. */
    old_size = old != NULL ? round_up(old_size) : 0;
    new_size = round_up(new_size);
    if (new_size > old_size && (new_size > a->limit || a->used - old_size > a->limit - new_size)) {
        a->was_short = true;
        return NULL;
    }
    if (new_size == old_size) {
        return old;
    }
    if (new_size == 0) {
        put(a, old, old_size);
        memory = NULL;
    } else {
        memory = old == NULL ? get(a, new_size) : resize(a, old, old_size, new_size);
        if (memory == NULL) {
            return NULL;
        }
    }
    a->used = a->used - old_size + new_size;
    return memory;
}
