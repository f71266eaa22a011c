/* base/buf: spans, shared blocks, the growing writer and the arena of a turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/buf.h"

static void spans_compare_bytes(void **state) {
    (void)state;
    assert_true(span_is(SPAN("abc"), "abc"));
    assert_false(span_is(SPAN("abc"), "abcd"));
    assert_false(span_is(SPAN("abc"), "ab"));
    assert_true(span_is(span_of(NULL), ""));
    assert_int_equal(span_of(NULL).len, 0);
    assert_true(span_equal(SPAN("a\0b"), SPAN("a\0b")));
    assert_false(span_equal(SPAN("a\0b"), SPAN("a\0c")));
    assert_true(span_equal_nocase(SPAN("Content-LENGTH"), SPAN("cONTENT-length")));
    assert_false(span_equal_nocase(SPAN("a\0b"), SPAN("a\0c")));
    /* Only letters fold: '[' and '{' differ by the same bit. */
    assert_false(span_equal_nocase(SPAN("["), SPAN("{")));
    assert_false(span_equal_nocase(SPAN("\xc4"), SPAN("\xe4")));
}

static void a_buf_lives_with_its_last_reference(void **state) {
    (void)state;
    struct buf *buf = buf_copy("hello", 5);
    assert_int_equal(buf->refs, 1);
    assert_int_equal(buf->len, 5);
    assert_ptr_equal(buf_ref(buf), buf);
    buf_unref(buf);
    assert_memory_equal(buf->bytes, "hello", 5); /* ASan would tell. */
    buf_unref(buf);
    buf_unref(NULL);
    assert_null(buf_try_new(SIZE_MAX));
    assert_null(buf_try_new(SIZE_MAX / 2));
}

static void a_writer_grows_and_keeps_what_it_has(void **state) {
    (void)state;
    struct writer w = {0};
    assert_int_equal(writer_len(&w), 0);
    assert_int_equal(writer_span(&w).len, 0);
    for (int i = 0; i < 100000; i++) {
        writer_putc(&w, (char)(i % 251));
    }
    assert_int_equal(writer_len(&w), 100000);
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(writer_span(&w).at[i], (char)(i % 251));
    }
    const struct buf *before = w.buf;
    writer_clear(&w);
    assert_ptr_equal(w.buf, before);
    assert_int_equal(writer_len(&w), 0);
    writer_puts(&w, "a");
    writer_put_span(&w, SPAN("bc"));
    writer_put(&w, NULL, 0);
    memcpy(writer_reserve(&w, 3), "def", 3);
    writer_advance(&w, 2);
    assert_true(span_is(writer_span(&w), "abcde"));
    writer_deinit(&w);
    writer_deinit(&w);
}

static void a_writer_prints_texts_of_any_length(void **state) {
    (void)state;
    struct writer w = {0};
    char text[1000];
    for (int len = 100; len < 300; len++) {
        memset(text, 'x', sizeof text);
        text[len] = '\0';
        writer_clear(&w);
        writer_printf(&w, "%d:%s;", 7, text);
        assert_int_equal(writer_len(&w), len + 3);
        assert_int_equal(writer_span(&w).at[len + 1], 'x');
        assert_int_equal(writer_span(&w).at[len + 2], ';');
    }
    writer_deinit(&w);
}

static void taking_empties_the_writer(void **state) {
    (void)state;
    struct writer w = {0};
    struct buf *buf = writer_take(&w);
    assert_non_null(buf);
    assert_int_equal(buf->len, 0);
    buf_unref(buf);
    writer_puts(&w, "one");
    buf = writer_take(&w);
    assert_int_equal(writer_len(&w), 0);
    writer_puts(&w, "two");
    assert_memory_equal(buf->bytes, "one", 3);
    assert_int_equal(buf->refs, 1);
    buf_unref(buf);
    writer_deinit(&w);
}

static struct slice put(struct arena *arena, const char *text) {
    size_t len = strlen(text);
    memcpy(arena_reserve(arena, len + 50), text, len);
    return arena_commit(arena, len);
}

static void slices_of_an_arena_lie_side_by_side(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct slice a = put(&arena, "hello ");
    struct slice b = put(&arena, "world");
    assert_ptr_equal(a.buf, b.buf);
    assert_int_equal(b.off, a.off + a.len);
    assert_memory_equal(slice_bytes(&a), "hello world", 11);
    char *place = arena_reserve(&arena, 10);
    assert_ptr_equal(arena_reserve(&arena, 20), place);

    arena_rewind(&arena); /* Both are still held: nothing may be written over. */
    struct slice c = put(&arena, "!");
    assert_int_equal(c.off, 11);
    slice_release(&a);
    assert_null(a.buf);
    slice_release(&b);
    slice_release(&c);
    arena_rewind(&arena);
    c = put(&arena, "again");
    assert_int_equal(c.off, 0);
    arena_deinit(&arena);
    assert_memory_equal(slice_bytes(&c), "again", 5);
    slice_release(&c);
    slice_release(&c);
}

static void a_full_chunk_is_left_to_its_slices(void **state) {
    (void)state;
    enum { COUNT = 40, SIZE = 10000 };
    struct arena arena;
    struct slice slices[COUNT];
    size_t chunks = 1;
    arena_init(&arena);
    for (int i = 0; i < COUNT; i++) {
        memset(arena_reserve(&arena, SIZE), i, SIZE);
        slices[i] = arena_commit(&arena, SIZE);
        chunks += i > 0 && slices[i].buf != slices[i - 1].buf;
    }
    assert_int_equal(chunks, (COUNT + 5) / 6); /* Six fit into 64 KiB. */
    for (int i = 0; i < COUNT; i++) {
        for (size_t at = 0; at < SIZE; at++) {
            assert_int_equal(slice_bytes(&slices[i])[at], i);
        }
        slice_release(&slices[i]);
    }
    arena_deinit(&arena);
}

static void nobody_holding_it_a_full_chunk_starts_again(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena);
    const struct buf *chunk = arena.chunk;
    for (int i = 0; i < 100; i++) {
        arena_reserve(&arena, 10000);
        struct slice slice = arena_commit(&arena, 10000);
        slice_release(&slice);
    }
    assert_ptr_equal(arena.chunk, chunk);
    arena_deinit(&arena);
}

static void large_slices_stand_alone(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena);
    struct slice small = put(&arena, "small");
    memset(arena_reserve(&arena, ARENA_LARGE + 1), 'x', ARENA_LARGE + 1);
    struct slice large = arena_commit(&arena, ARENA_LARGE);
    assert_ptr_not_equal(large.buf, small.buf);
    assert_int_equal(large.buf->refs, 1);
    assert_int_equal(large.buf->len, ARENA_LARGE);
    struct slice next = put(&arena, "next");
    assert_ptr_equal(next.buf, small.buf);
    assert_int_equal(next.off, small.off + small.len);

    /* Reserved, never committed: what comes after is in the chunk again. */
    arena_reserve(&arena, 1000000);
    struct slice last = put(&arena, "last");
    assert_int_equal(last.off, next.off + next.len);
    arena_reserve(&arena, 1000000);
    slice_release(&small);
    slice_release(&large);
    slice_release(&next);
    slice_release(&last);
    arena_deinit(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_compare_bytes),
        cmocka_unit_test(a_buf_lives_with_its_last_reference),
        cmocka_unit_test(a_writer_grows_and_keeps_what_it_has),
        cmocka_unit_test(a_writer_prints_texts_of_any_length),
        cmocka_unit_test(taking_empties_the_writer),
        cmocka_unit_test(slices_of_an_arena_lie_side_by_side),
        cmocka_unit_test(a_full_chunk_is_left_to_its_slices),
        cmocka_unit_test(nobody_holding_it_a_full_chunk_starts_again),
        cmocka_unit_test(large_slices_stand_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
