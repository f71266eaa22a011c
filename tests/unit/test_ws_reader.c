/* proto/ws_reader: what comes out of a client's bytes must be the same whatever the pieces they
 * arrive in, the fast way through the buffer and the slow one through a context included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "proto/ws_reader.h"
#include "ws_frames.h"

#define MAX_PAYLOAD 1000

/* Writes what is received as text: "T[hello] P[] C1000[bye]", and "!1002" for a failure. */
static void feed(struct writer *log, struct span stream, size_t piece, bool deflate) {
    struct ws_pool pool = {0};
    struct ws_reader reader = {0};
    struct ws_limits limits = {MAX_PAYLOAD, deflate};
    int result = 0;
    for (size_t at = 0; at < stream.len && result == 0; at += piece) {
        size_t len = stream.len - at < piece ? stream.len - at : piece;
        /* A block of exactly this size, so that ASan sees a step beyond it. */
        char *block = malloc(len);
        memcpy(block, stream.at + at, len);
        char *next = block;
        struct ws_received got;
        while ((result = ws_reader_next(&reader, &pool, &limits, &next, block + len, &got)) == 1) {
            writer_printf(log, "%c%s", "?TB?????CPQ"[got.opcode], got.compressed ? "z" : "");
            if (got.opcode == WS_CLOSE) {
                writer_printf(log, "%d", got.code);
            }
            writer_putc(log, '[');
            writer_put_span(log, got.bytes);
            writer_puts(log, "] ");
        }
        free(block);
    }
    if (result) {
        writer_printf(log, "!%d", result);
    } else if (reader.context) {
        writer_puts(log, "...");
    }
    ws_reader_deinit(&reader, &pool);
    ws_pool_deinit(&pool);
}

/* The bytes of `in` (emptied) must give this log in pieces of every size. */
static void check_with(struct writer *in, bool deflate, const char *expected) {
    const size_t pieces[] = {SIZE_MAX, 1, 2, 3, 5, 7, 11, 64, 127, 1000};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        struct writer log = {0};
        feed(&log, writer_span(in), pieces[i] < writer_len(in) ? pieces[i] : writer_len(in),
             deflate);
        writer_putc(&log, '\0');
        assert_string_equal(writer_span(&log).at, expected);
        writer_deinit(&log);
    }
    writer_deinit(in);
}

static void check(struct writer *in, const char *expected) {
    check_with(in, false, expected);
}

static void messages_come_out_in_order(void **state) {
    (void)state;
    struct writer in = {0};
    put_frame(&in, FIN | WS_TEXT, SPAN("hello"));
    put_frame(&in, FIN | WS_BINARY, SPAN("\xff\x80"));
    put_frame(&in, FIN | WS_TEXT, SPAN(""));
    put_frame(&in, FIN | WS_PING, SPAN("p"));
    put_frame(&in, FIN | WS_PONG, SPAN(""));
    put_frame(&in, FIN | WS_CLOSE,
              SPAN("\x03\xe8"
                   "bye"));
    check(&in, "T[hello] B[\xff\x80] T[] P[p] Q[] C1000[bye] ");
}

static void fragments_join_with_control_frames_between(void **state) {
    (void)state;
    struct writer in = {0};
    put_frame(&in, WS_TEXT, SPAN("a"));
    put_frame(&in, FIN | WS_PING, SPAN("1"));
    put_frame(&in, WS_CONTINUATION, SPAN(""));
    put_frame(&in, WS_CONTINUATION, SPAN("b\xc3"));
    put_frame(&in, FIN | WS_PING, SPAN("2"));
    put_frame(&in, FIN | WS_CONTINUATION, SPAN("\xa9"));
    put_frame(&in, FIN | WS_TEXT, SPAN("c"));
    put_frame(&in, WS_BINARY, SPAN(""));
    put_frame(&in, FIN | WS_CONTINUATION, SPAN(""));
    check(&in, "P[1] P[2] T[ab\xc3\xa9] T[c] B[] ");
}

static void what_is_incomplete_waits(void **state) {
    (void)state;
    struct writer in = {0};
    put_frame(&in, FIN | WS_TEXT, SPAN("x"));
    put_odd_frame(&in, FIN | WS_TEXT, true, 0, 5, SPAN("1234"));
    check(&in, "T[x] ...");
    put_frame(&in, WS_TEXT, SPAN("x"));
    check(&in, "...");
}

static void frames_out_of_place_fail(void **state) {
    (void)state;
    struct writer in = {0};
    put_frame(&in, FIN | WS_CONTINUATION, SPAN("x"));
    check(&in, "!1002");
    put_frame(&in, WS_TEXT, SPAN("a"));
    put_frame(&in, FIN | WS_TEXT, SPAN("b"));
    check(&in, "!1002");
    put_frame(&in, WS_TEXT, SPAN("a"));
    put_frame(&in, FIN | WS_CONTINUATION, SPAN("b"));
    put_frame(&in, FIN | WS_CONTINUATION, SPAN("c"));
    check(&in, "T[ab] !1002");
    put_frame(&in, FIN | WS_TEXT, SPAN("a"));
    put_frame(&in, 0x10 | FIN | WS_TEXT, SPAN("b"));
    check(&in, "T[a] !1002");
    put_frame(&in, WS_PING, SPAN("b"));
    check(&in, "!1002");
    put_frame(&in, FIN | 11, SPAN("b"));
    check(&in, "!1002");
    put_odd_frame(&in, FIN | WS_TEXT, false, 0, 1, SPAN("b"));
    check(&in, "!1002");
}

static void text_is_utf8_across_frames_and_fails_at_once(void **state) {
    (void)state;
    struct writer in = {0};
    put_frame(&in, FIN | WS_TEXT, SPAN("\xc3\xa9\xf0\x9f\x8c\x99"));
    put_frame(&in, FIN | WS_TEXT, SPAN("a\xc3"));
    check(&in, "T[\xc3\xa9\xf0\x9f\x8c\x99] !1007");
    /* A surrogate, in a frame of which the rest never comes. */
    put_odd_frame(&in, FIN | WS_TEXT, true, 0, 100, SPAN("\xed\xa0"));
    check(&in, "!1007");
    put_frame(&in, WS_TEXT, SPAN("\xf4"));
    put_frame(&in, WS_CONTINUATION, SPAN("\x90"));
    check(&in, "!1007");
    /* Binary may say anything. */
    put_frame(&in, WS_BINARY, SPAN("\xf4"));
    put_frame(&in, FIN | WS_CONTINUATION, SPAN("\x90"));
    check(&in, "B[\xf4\x90] ");
}

static void a_close_frame_is_checked(void **state) {
    (void)state;
    struct writer in = {0};
    put_frame(&in, FIN | WS_CLOSE, SPAN(""));
    check(&in, "C1005[] ");
    put_frame(&in, FIN | WS_CLOSE, SPAN("\x03"));
    check(&in, "!1002");
    put_frame(&in, FIN | WS_CLOSE, SPAN("\x03\xed"));
    check(&in, "!1002");
    put_frame(&in, FIN | WS_CLOSE,
              SPAN("\x0f\xa0"
                   "caf\xc3\xa9"));
    check(&in, "C4000[caf\xc3\xa9] ");
    put_frame(&in, FIN | WS_CLOSE,
              SPAN("\x0f\xa0"
                   "caf\xc3"));
    check(&in, "!1007");
}

static void lengths_at_the_bound_and_one_past(void **state) {
    (void)state;
    char big[MAX_PAYLOAD + 1];
    memset(big, 'a', sizeof big);
    struct writer in = {0}, expected = {0};
    put_frame(&in, FIN | WS_TEXT, (struct span){big, MAX_PAYLOAD});
    put_frame(&in, WS_BINARY, (struct span){big, MAX_PAYLOAD - 1});
    put_frame(&in, FIN | WS_CONTINUATION, (struct span){big, 1});
    put_frame(&in, FIN | WS_TEXT, SPAN("x"));
    writer_printf(&expected, "T[%.*s] B[%.*s] T[x] ", MAX_PAYLOAD, big, MAX_PAYLOAD, big);
    writer_putc(&expected, '\0');
    check(&in, writer_span(&expected).at);
    writer_deinit(&expected);
    /* It fails when it is announced. */
    put_odd_frame(&in, FIN | WS_TEXT, true, 2, MAX_PAYLOAD + 1, SPAN(""));
    check(&in, "!1009");
    put_odd_frame(&in, FIN | WS_BINARY, true, 8, INT64_MAX, SPAN(""));
    check(&in, "!1009");
    put_frame(&in, WS_BINARY, (struct span){big, MAX_PAYLOAD});
    put_odd_frame(&in, WS_CONTINUATION, true, 0, 1, SPAN(""));
    check(&in, "!1009");
}

static void a_control_frame_at_its_bound(void **state) {
    (void)state;
    char most[WS_CONTROL_MAX];
    memset(most, 'p', sizeof most);
    struct writer in = {0}, expected = {0};
    put_frame(&in, WS_TEXT, SPAN("a"));
    put_frame(&in, FIN | WS_PING, (struct span){most, sizeof most});
    put_frame(&in, FIN | WS_CONTINUATION, SPAN("b"));
    writer_printf(&expected, "P[%.*s] T[ab] ", WS_CONTROL_MAX, most);
    writer_putc(&expected, '\0');
    check(&in, writer_span(&expected).at);
    writer_deinit(&expected);
    put_odd_frame(&in, FIN | WS_PING, true, 2, 126, SPAN(""));
    check(&in, "!1002");
}

static void compressed_bytes_go_through_unchecked(void **state) {
    (void)state;
    struct writer in = {0};
    put_frame(&in, FIN | RSV1 | WS_TEXT, SPAN("\xff"));
    put_frame(&in, RSV1 | WS_TEXT, SPAN("\xfe"));
    put_frame(&in, FIN | WS_PING, SPAN(""));
    put_frame(&in, FIN | WS_CONTINUATION, SPAN("\xfd"));
    put_frame(&in, FIN | WS_TEXT, SPAN("ok"));
    check_with(&in, true, "Tz[\xff] P[] Tz[\xfe\xfd] T[ok] ");
    put_frame(&in, FIN | RSV1 | WS_TEXT, SPAN("\xff"));
    check_with(&in, false, "!1002");
    put_frame(&in, RSV1 | WS_TEXT, SPAN("a"));
    put_frame(&in, FIN | RSV1 | WS_CONTINUATION, SPAN("a"));
    check_with(&in, true, "!1002");
    put_frame(&in, FIN | RSV1 | WS_PING, SPAN(""));
    check_with(&in, true, "!1002");
}

/* Bytes that do not shrink become longer, and may be of the largest size all the same. */
static void compressed_lengths_at_the_bound_and_one_past(void **state) {
    (void)state;
    char big[MAX_PAYLOAD * 2] = {0};
    size_t most = MAX_PAYLOAD + MAX_PAYLOAD / 7 + 64;
    struct writer in = {0}, expected = {0};
    memset(big, 'a', sizeof big);
    put_frame(&in, FIN | RSV1 | WS_BINARY, (struct span){big, most});
    put_frame(&in, RSV1 | WS_BINARY, (struct span){big, most - 1});
    put_frame(&in, FIN | WS_CONTINUATION, SPAN("aa"));
    writer_printf(&expected, "Bz[%.*s] !1009", (int)most, big);
    writer_putc(&expected, '\0');
    check_with(&in, true, writer_span(&expected).at);
    writer_deinit(&expected);
}

/* Whoever stops between two messages can hand in the rest again later. */
static void the_rest_stays_as_it_was(void **state) {
    (void)state;
    struct ws_pool pool = {0};
    struct ws_reader reader = {0};
    struct ws_limits limits = {MAX_PAYLOAD, false};
    struct writer in = {0};
    put_frame(&in, FIN | WS_TEXT, SPAN("one"));
    put_frame(&in, FIN | WS_TEXT, SPAN("two"));
    struct buf *original = buf_copy(writer_span(&in).at, writer_len(&in));
    struct buf *bytes = writer_take(&in);
    char *at = bytes->bytes, *end = at + bytes->len;
    struct ws_received got;
    assert_int_equal(ws_reader_next(&reader, &pool, &limits, &at, end, &got), 1);
    ws_reader_settle(&reader, &pool);
    assert_memory_equal(at, original->bytes + (at - bytes->bytes), (size_t)(end - at));
    assert_null(reader.context);
    assert_int_equal(ws_reader_next(&reader, &pool, &limits, &at, end, &got), 1);
    assert_true(span_is(got.bytes, "two"));
    assert_ptr_equal(at, end);
    buf_unref(original);
    buf_unref(bytes);
    ws_pool_deinit(&pool);
}

static void contexts_return_to_the_pool(void **state) {
    (void)state;
    struct ws_pool pool = {0};
    struct ws_limits limits = {200000, false};
    struct ws_reader readers[80] = {{0}};
    struct ws_received got;
    char first[] = "\x82\xfe\x00\x80\0\0\0\0x";
    for (size_t i = 0; i < 80; i++) {
        char copy[sizeof first];
        memcpy(copy, first, sizeof first);
        char *at = copy;
        char *end = copy + sizeof first - 1;
        assert_int_equal(ws_reader_next(&readers[i], &pool, &limits, &at, end, &got), 0);
        assert_non_null(readers[i].context);
    }
    for (size_t i = 0; i < 80; i++) {
        char rest[127] = {0};
        char *at = rest;
        assert_int_equal(ws_reader_next(&readers[i], &pool, &limits, &at, rest + sizeof rest, &got),
                         1);
        assert_int_equal(got.bytes.len, 128);
        ws_reader_settle(&readers[i], &pool);
        assert_null(readers[i].context);
    }
    assert_in_range(pool.spare_count, 1, 64);
    ws_pool_deinit(&pool);
    assert_int_equal(pool.spare_count, 0);
}

/* A reload may lower it while a message is half there. */
static void a_limit_that_sinks_within_a_message_counts(void **state) {
    (void)state;
    struct ws_pool pool = {0};
    struct ws_reader reader = {0};
    struct writer in = {0};
    struct ws_received got;
    put_frame(&in, WS_TEXT, SPAN("more than five"));
    char *next = in.buf->bytes;
    assert_int_equal(ws_reader_next(&reader, &pool, &(struct ws_limits){MAX_PAYLOAD, false}, &next,
                                    next + writer_len(&in), &got),
                     0);
    writer_clear(&in);
    put_frame(&in, WS_CONTINUATION, SPAN("!"));
    next = in.buf->bytes;
    assert_int_equal(ws_reader_next(&reader, &pool, &(struct ws_limits){5, false}, &next,
                                    next + writer_len(&in), &got),
                     WS_CODE_TOO_BIG);
    ws_reader_deinit(&reader, &pool);
    ws_pool_deinit(&pool);
    writer_deinit(&in);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_in_order),
        cmocka_unit_test(fragments_join_with_control_frames_between),
        cmocka_unit_test(what_is_incomplete_waits),
        cmocka_unit_test(frames_out_of_place_fail),
        cmocka_unit_test(text_is_utf8_across_frames_and_fails_at_once),
        cmocka_unit_test(a_close_frame_is_checked),
        cmocka_unit_test(lengths_at_the_bound_and_one_past),
        cmocka_unit_test(a_control_frame_at_its_bound),
        cmocka_unit_test(compressed_bytes_go_through_unchecked),
        cmocka_unit_test(compressed_lengths_at_the_bound_and_one_past),
        cmocka_unit_test(a_limit_that_sinks_within_a_message_counts),
        cmocka_unit_test(the_rest_stays_as_it_was),
        cmocka_unit_test(contexts_return_to_the_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
