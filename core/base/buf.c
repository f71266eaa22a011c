/* Bytes, as buf.h describes them: what is too long for the header or seldom runs. It knows nothing
 * of what the bytes mean, and is used by every layer. */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define WRITER_FIRST (128 - sizeof(struct buf) - 16) /* With malloc's header: 128 bytes. */

/* --- spans ------------------------------------------------------------------------------------ */

struct span span_of(const char *text) {
    return (struct span){text, text != NULL ? strlen(text) : 0};
}

bool span_equal(struct span a, struct span b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

bool span_is(struct span a, const char *text) {
    return span_equal(a, span_of(text));
}

static unsigned char lower(char c) {
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

/* By hand: strncasecmp would stop at a NUL and ask the locale. */
bool span_equal_nocase(struct span a, struct span b) {
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (lower(a.at[i]) != lower(b.at[i])) {
            return false;
        }
    }
    return true;
}

/* --- shared blocks ---------------------------------------------------------------------------- */

struct buf *buf_try_new(size_t cap) {
    struct buf *buf = cap <= PTRDIFF_MAX - sizeof *buf ? malloc(sizeof *buf + cap) : NULL;
    if (buf != NULL) {
        buf->refs = 1;
        buf->len = 0;
        buf->cap = cap;
    }
    return buf;
}

struct buf *buf_new(size_t cap) {
    struct buf *buf = buf_try_new(cap);
    if (buf == NULL) {
        memory_short(cap);
    }
    return buf;
}

struct buf *buf_copy(const void *bytes, size_t len) {
    struct buf *buf = buf_new(len);
    if (len != 0) {
        memcpy(buf->bytes, bytes, len);
    }
    buf->len = len;
    return buf;
}

void buf_free(struct buf *buf) {
    free(buf);
}

/* --- writer ----------------------------------------------------------------------------------- */

void writer_deinit(struct writer *w) {
    buf_unref(w->buf);
    w->buf = NULL;
}

void writer_clear(struct writer *w) {
    if (w->buf != NULL) {
        w->buf->len = 0;
    }
}

/* Doubles what malloc is asked for, so that appending costs a constant time per byte. The buf is
 * the writer's alone until writer_take gives it away, so it may move. */
char *writer_grow(struct writer *w, size_t more) {
    size_t len = writer_len(w);
    size_t cap =
        w->buf != NULL ? 2 * (w->buf->cap + sizeof(struct buf)) - sizeof(struct buf) : WRITER_FIRST;
    if (more > SIZE_MAX / 4 - len) {
        memory_short(more);
    }
    if (cap < len + more) {
        cap = len + more;
    }
    w->buf = memory_resize(w->buf, sizeof(struct buf) + cap);
    w->buf->refs = 1;
    w->buf->len = len;
    w->buf->cap = cap;
    return w->buf->bytes + len;
}

void writer_put(struct writer *w, const void *bytes, size_t len) {
    if (len != 0) {
        memcpy(writer_reserve(w, len), bytes, len);
        writer_advance(w, len);
    }
}

void writer_put_span(struct writer *w, struct span span) {
    writer_put(w, span.at, span.len);
}

void writer_puts(struct writer *w, const char *text) {
    writer_put(w, text, strlen(text));
}

void writer_vprintf(struct writer *w, const char *format, va_list args) {
    size_t room = 128;
    for (;;) {
        va_list again;
        va_copy(again, args);
        int len = vsnprintf(writer_reserve(w, room), room, format, again);
        va_end(again);
        if (len < 0) { /* Only a format that is wrong in itself. */
            return;
        }
        if ((size_t)len < room) {
            writer_advance(w, (size_t)len);
            return;
        }
        room = (size_t)len + 1;
    }
}

void writer_printf(struct writer *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    writer_vprintf(w, format, args);
    va_end(args);
}

size_t writer_len(const struct writer *w) {
    return w->buf != NULL ? w->buf->len : 0;
}

struct span writer_span(const struct writer *w) {
    return w->buf != NULL ? (struct span){w->buf->bytes, w->buf->len} : (struct span){"", 0};
}

struct buf *writer_take(struct writer *w) {
    struct buf *buf = w->buf != NULL ? w->buf : buf_new(0);
    w->buf = NULL;
    return buf;
}

/* --- arena ------------------------------------------------------------------------------------ */

void arena_init(struct arena *arena) {
    arena->chunk = buf_new(ARENA_CHUNK);
    arena->large = NULL;
}

void arena_deinit(struct arena *arena) {
    buf_unref(arena->chunk);
    buf_unref(arena->large);
    arena->chunk = NULL;
    arena->large = NULL;
}

char *arena_reserve_slowly(struct arena *arena, size_t len) {
    buf_unref(arena->large); /* Reserved before, and never committed. */
    arena->large = NULL;
    if (len > ARENA_LARGE) {
        arena->large = buf_new(len);
        return arena->large->bytes;
    }
    struct buf *chunk = arena->chunk;
    if (chunk->cap - chunk->len < len) {
        if (chunk->refs == 1) {
            chunk->len = 0;
        } else {
            buf_unref(chunk);
            arena->chunk = chunk = buf_new(ARENA_CHUNK);
        }
    }
    return chunk->bytes + chunk->len;
}

struct slice arena_commit_large(struct arena *arena, size_t len) {
    struct slice slice = {arena->large, 0, len};
    slice.buf->len = len;
    arena->large = NULL;
    return slice;
}
