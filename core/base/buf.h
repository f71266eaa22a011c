/* Bytes: a reference-counted block (`struct buf`), a view into one (`struct slice`), a growing one
 * (`struct writer`), and the arena in which the small frames of a loop turn lie side by side.
 * None of this is thread-safe: a buf belongs to one worker.
 *
 * Memory that the process itself sizes is never missing: these functions abort. Only the `_try_`
 * forms, for sizes that a peer announced, may fail. */
#ifndef MOONWIRE_BASE_BUF_H
#define MOONWIRE_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrowed bytes, not NUL-terminated. */
struct span {
    const char *at;
    size_t len;
};

#define SPAN(literal) ((struct span){(literal), sizeof(literal) - 1})

struct span span_of(const char *text); /* NULL gives an empty span. */
bool span_is(struct span a, const char *text);
bool span_equal(struct span a, struct span b);
bool span_equal_nocase(struct span a, struct span b); /* ASCII only. */

/* A shared block. Once more than one holder has it, its first `len` bytes never change. */
struct buf {
    uint32_t refs;
    size_t len;
    size_t cap;
    char bytes[];
};

struct buf *buf_new(size_t cap);                     /* One reference, len 0. */
struct buf *buf_try_new(size_t cap);                 /* NULL when memory is short. */
struct buf *buf_copy(const void *bytes, size_t len); /* One reference. */
void buf_free(struct buf *buf);                      /* For buf_unref alone: whatever refs says. */

static inline struct buf *buf_ref(struct buf *buf) {
    buf->refs++;
    return buf;
}

/* NULL is allowed. */
static inline void buf_unref(struct buf *buf) {
    if (buf != NULL && --buf->refs == 0) {
        buf_free(buf);
    }
}

/* A view into a buf. Whether it owns a reference is said where it is stored. */
struct slice {
    struct buf *buf; /* NULL: nothing there. */
    size_t off;
    size_t len;
};

static inline const char *slice_bytes(const struct slice *slice) {
    return slice->buf->bytes + slice->off;
}

/* A growing buffer. Zero-initialised is empty and valid. */
struct writer {
    struct buf *buf; /* NULL until the first byte. */
};

void writer_deinit(struct writer *w);
void writer_clear(struct writer *w);              /* Keeps the memory. */
char *writer_grow(struct writer *w, size_t more); /* writer_reserve, where there is no room. */

/* Room for `more` bytes; valid until the next call. */
static inline char *writer_reserve(struct writer *w, size_t more) {
    struct buf *buf = w->buf;
    if (buf != NULL && buf->cap - buf->len >= more) {
        return buf->bytes + buf->len;
    }
    return writer_grow(w, more);
}

/* After filling what was reserved. */
static inline void writer_advance(struct writer *w, size_t more) {
    w->buf->len += more;
}

static inline void writer_putc(struct writer *w, char c) {
    *writer_reserve(w, 1) = c;
    writer_advance(w, 1);
}

void writer_put(struct writer *w, const void *bytes, size_t len);
void writer_put_span(struct writer *w, struct span span);
void writer_puts(struct writer *w, const char *text);
void writer_printf(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void writer_vprintf(struct writer *w, const char *format, va_list args);
size_t writer_len(const struct writer *w);
struct span writer_span(const struct writer *w); /* Borrowed, until the next change. */
struct buf *writer_take(struct writer *w); /* The bytes as a buf (never NULL); w is empty again. */

/* The arena of a worker: frames written one after the other lie side by side, so that several for
 * the same connection are one write. A chunk lives as long as somebody holds a reference to it.
 * What would fill much of a chunk gets a buf of its own. */
struct arena {
    struct buf *chunk; /* Never NULL between init and deinit. */
    struct buf *large; /* Reserved and not committed yet; NULL mostly. */
};

#define ARENA_CHUNK (64 * 1024 - sizeof(struct buf) - 16) /* With malloc's header: 64 KiB. */
#define ARENA_LARGE (ARENA_CHUNK / 4)                     /* More than this stands alone. */

void arena_init(struct arena *arena);
void arena_deinit(struct arena *arena);
char *arena_reserve_slowly(struct arena *arena, size_t len); /* For arena_reserve alone. */
struct slice arena_commit_large(struct arena *arena, size_t len);

/* At least `len` writable bytes. They count once they are committed; another reserve before that
 * starts over, at the same place if the bytes fit there. */
static inline char *arena_reserve(struct arena *arena, size_t len) {
    struct buf *chunk = arena->chunk;
    if (len <= ARENA_LARGE && chunk->cap - chunk->len >= len && arena->large == NULL) {
        return chunk->bytes + chunk->len;
    }
    return arena_reserve_slowly(arena, len);
}

/* Makes the first `len` reserved bytes a slice. The slice owns a reference: slice_release. */
static inline struct slice arena_commit(struct arena *arena, size_t len) {
    struct buf *chunk = arena->chunk;
    if (arena->large != NULL) {
        return arena_commit_large(arena, len);
    }
    struct slice slice = {buf_ref(chunk), chunk->len, len};
    chunk->len += len;
    return slice;
}

/* Drops the reference and empties the slice. */
static inline void slice_release(struct slice *slice) {
    buf_unref(slice->buf);
    *slice = (struct slice){NULL, 0, 0};
}

/* At the end of a turn: starts the chunk again if nobody else holds it. */
static inline void arena_rewind(struct arena *arena) {
    if (arena->chunk->refs == 1) {
        arena->chunk->len = 0;
    }
}

#endif
