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
struct buf *buf_ref(struct buf *buf);
void buf_unref(struct buf *buf); /* NULL is allowed. */

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
void writer_clear(struct writer *w); /* Keeps the memory. */
char *writer_reserve(struct writer *w,
                     size_t more); /* Room for `more` bytes; valid until the next call. */
void writer_advance(struct writer *w, size_t more); /* After filling what was reserved. */
void writer_put(struct writer *w, const void *bytes, size_t len);
void writer_put_span(struct writer *w, struct span span);
void writer_puts(struct writer *w, const char *text);
void writer_putc(struct writer *w, char c);
void writer_printf(struct writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void writer_vprintf(struct writer *w, const char *format, va_list args);
size_t writer_len(const struct writer *w);
struct span writer_span(const struct writer *w); /* Borrowed, until the next change. */
struct buf *writer_take(struct writer *w); /* The bytes as a buf (never NULL); w is empty again. */

/* The arena of a worker: frames written one after the other lie side by side, so that several for
 * the same connection are one write. A chunk lives as long as somebody holds a reference to it. */
struct arena {
    struct buf *chunk;
};

void arena_init(struct arena *arena);
void arena_deinit(struct arena *arena);
/* At least `len` writable bytes. They count once they are committed; a second reserve before that
 * gives the same place. */
char *arena_reserve(struct arena *arena, size_t len);
/* Makes the first `len` reserved bytes a slice. The slice owns a reference: slice_release. */
struct slice arena_commit(struct arena *arena, size_t len);
void slice_release(struct slice *slice); /* Drops the reference and empties the slice. */
/* At the end of a turn: starts the chunk again if nobody else holds it. */
void arena_rewind(struct arena *arena);

#endif
