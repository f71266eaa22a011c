/* proto/ws_deflate: negotiation, and round trips against zlib itself for every window. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "proto/ws_deflate.h"

/* The answer to these offers; "" for none. */
static void check_offer(const char *offers, const char *expected) {
    bool asked;
    struct writer out = {0};
    int window = ws_deflate_negotiate(span_of(offers), &asked);
    if (window) {
        ws_deflate_answer(&out, window, asked);
    }
    writer_putc(&out, '\0');
    assert_string_equal(writer_span(&out).at, expected);
    writer_deinit(&out);
}

#define PLAIN "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

static void offers_that_we_take(void **state) {
    (void)state;
    check_offer("permessage-deflate", PLAIN);
    check_offer("permessage-deflate; client_max_window_bits", PLAIN);
    check_offer("permessage-deflate; client_max_window_bits=8", PLAIN);
    check_offer("permessage-deflate; client_max_window_bits=15;server_no_context_takeover", PLAIN);
    check_offer(" permessage-deflate ; client_no_context_takeover ", PLAIN);
    check_offer("permessage-deflate; server_max_window_bits=9", PLAIN "; server_max_window_bits=9");
    check_offer("permessage-deflate; server_max_window_bits=\"12\"",
                PLAIN "; server_max_window_bits=12");
    check_offer("permessage-deflate; server_max_window_bits=15; client_max_window_bits",
                PLAIN "; server_max_window_bits=15");
}

static void offers_that_we_pass_over(void **state) {
    (void)state;
    const char *const bad[] = {
        "",
        ",",
        ";",
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=09",
        "permessage-deflate; server_max_window_bits=\"10",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        "permessage-deflate; unknown",
        "permessage-deflate;",
        "permessage-deflate x",
        "permessage-deflate; server_max_window_bits=10 x",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        check_offer(bad[i], "");
    }
}

static void the_first_offer_that_fits_wins(void **state) {
    (void)state;
    check_offer("permessage-deflate; server_max_window_bits=8, permessage-deflate", PLAIN);
    check_offer("foo; bar=\"a,b\", permessage-deflate; server_max_window_bits=10, "
                "permessage-deflate; server_max_window_bits=11",
                PLAIN "; server_max_window_bits=10");
    check_offer("permessage-deflate; unknown=1, , permessage-deflate", PLAIN);
    check_offer("permessage-deflate; server_max_window_bits=8,"
                "permessage-deflate; server_max_window_bits=8",
                "");
}

/* Text that shrinks, with matches as far apart as `distance`. */
static struct buf *sample(size_t len, size_t distance) {
    struct buf *buf = buf_new(len);
    uint32_t random = 1;
    for (size_t i = 0; i < len; i++) {
        random = random * 1664525 + 1013904223;
        buf->bytes[i] = i < distance ? (char)('a' + (random >> 24) % 26) : buf->bytes[i - distance];
    }
    buf->len = len;
    return buf;
}

/* zlib with exactly this window must read what we deflate with it. */
static void check_deflated(struct ws_deflate *d, int window, struct span plain) {
    char *out = malloc(plain.len + 4);
    size_t len = ws_deflate_message(d, window, out, plain);
    assert_in_range(len, 1, plain.len - 1);
    memcpy(out + len, "\0\0\xff\xff", 4);
    char *back = malloc(plain.len + 1);
    z_stream z = {.next_in = (Bytef *)out,
                  .avail_in = (uInt)len + 4,
                  .next_out = (Bytef *)back,
                  .avail_out = (uInt)plain.len + 1};
    assert_int_equal(inflateInit2(&z, -window), Z_OK);
    assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_OK);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(z.total_out, plain.len);
    assert_memory_equal(back, plain.at, plain.len);
    inflateEnd(&z);
    free(out);
    free(back);
}

/* We must read what zlib makes with any window, in several flushed pieces. */
static void check_inflated(struct ws_deflate *d, int window, struct span plain, int flush) {
    size_t room = plain.len + plain.len / 100 + 100;
    char *out = malloc(room);
    z_stream z = {.next_out = (Bytef *)out, .avail_out = (uInt)room};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -window, 9, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)plain.at;
    z.avail_in = (uInt)plain.len / 2;
    assert_int_equal(deflate(&z, flush), Z_OK);
    z.avail_in = (uInt)(plain.len - plain.len / 2);
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    size_t len = room - z.avail_out - 4;
    deflateEnd(&z);
    struct span back;
    assert_int_equal(ws_inflate_message(d, (struct span){out, len}, plain.len, &back), 0);
    assert_int_equal(back.len, plain.len);
    assert_memory_equal(back.at, plain.at, plain.len);
    assert_int_equal(ws_inflate_message(d, (struct span){out, len}, plain.len - 1, &back), 1009);
    assert_int_not_equal(
        ws_inflate_message(d, (struct span){out, len - 1}, plain.len + 1000, &back), 0);
    free(out);
}

static void messages_go_round_in_every_window(void **state) {
    (void)state;
    struct ws_deflate *d = ws_deflate_new();
    const size_t sizes[] = {64, 200, 1000, 16384, 16385, 70000, 1 << 20};
    for (int window = WS_WINDOW_MIN; window <= WS_WINDOW_MAX; window++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct buf *plain = sample(sizes[i], ((size_t)1 << window) / 2 + 7);
            struct span bytes = {plain->bytes, plain->len};
            check_deflated(d, window, bytes);
            check_inflated(d, window, bytes, Z_NO_FLUSH);
            check_inflated(d, window, bytes, Z_FULL_FLUSH);
            buf_unref(plain);
        }
    }
    ws_deflate_free(d);
}

static void what_does_not_shrink_is_sent_plain(void **state) {
    (void)state;
    struct ws_deflate *d = ws_deflate_new();
    char out[2000], noise[2000];
    uint32_t random = 7;
    for (size_t i = 0; i < sizeof noise; i++) {
        random = random * 1664525 + 1013904223;
        noise[i] = (char)(random >> 24);
    }
    for (size_t len = 0; len <= sizeof noise; len += len < 20 ? 1 : 495) {
        assert_int_equal(ws_deflate_message(d, 15, out, (struct span){noise, len}), 0);
    }
    ws_deflate_free(d);
}

static int inflate_text(struct ws_deflate *d, struct span compressed, size_t most,
                        const char *expected) {
    struct span out;
    int code = ws_inflate_message(d, compressed, most, &out);
    if (code == 0) {
        assert_true(span_is(out, expected));
    }
    return code;
}

/* RFC 7692 section 7.2.3. */
static void the_examples_of_the_standard(void **state) {
    (void)state;
    struct ws_deflate *d = ws_deflate_new();
    assert_int_equal(inflate_text(d, SPAN("\xf2\x48\xcd\xc9\xc9\x07\x00"), 5, "Hello"), 0);
    assert_int_equal(
        inflate_text(d, SPAN("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), 5, "Hello"), 0);
    assert_int_equal(inflate_text(d, SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), 5, "Hello"), 0);
    assert_int_equal(
        inflate_text(d, SPAN("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), 5, "Hello"),
        0);
    assert_int_equal(inflate_text(d, SPAN("\x00"), 5, ""), 0);
    assert_int_equal(inflate_text(d, SPAN(""), 5, ""), 0);
    /* A final block without the empty one after it. */
    assert_int_equal(inflate_text(d, SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00"), 5, "Hello"), 0);
    /* A second stream after a final block may refer to the first. */
    assert_int_equal(
        inflate_text(d, SPAN("\xf3\x48\xcd\xc9\xc9\x07\x00\x02\x13\x00\x00"), 10, "HelloHello"), 0);
    ws_deflate_free(d);
}

static void what_is_no_deflate_stream_fails(void **state) {
    (void)state;
    struct ws_deflate *d = ws_deflate_new();
    assert_int_equal(inflate_text(d, SPAN("\xff\xff\xff"), 100, ""), 1007);
    /* A match that reaches back to before the message: nothing of another one is left there. */
    assert_int_equal(inflate_text(d, SPAN("\xf2\x48\xcd\xc9\xc9\x07\x00"), 5, "Hello"), 0);
    char out[100];
    z_stream z = {.next_in = (Bytef *)(uintptr_t) "HelloHello", .avail_in = 10};
    z.next_out = (Bytef *)out;
    z.avail_out = sizeof out;
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflateSetDictionary(&z, (const Bytef *)"HelloHello", 10), Z_OK);
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    assert_int_equal(inflate_text(d, (struct span){out, z.total_out - 4}, 100, ""), 1007);
    deflateEnd(&z);
    /* Cut off within a block. */
    assert_int_equal(inflate_text(d, SPAN("\xf2\x48\xcd\xc9"), 5, ""), 1007);
    assert_int_equal(inflate_text(d, SPAN("\x00\x06\x00\xf9\xff\x48"), 6, ""), 1007);
    ws_deflate_free(d);
}

static void a_bomb_stops_at_the_limit(void **state) {
    (void)state;
    struct ws_deflate *d = ws_deflate_new();
    size_t len = 64 << 20;
    char *zeros = calloc(1, len), *small = malloc(len / 100);
    z_stream z = {.next_in = (Bytef *)zeros, .avail_in = (uInt)len, .next_out = (Bytef *)small};
    z.avail_out = (uInt)(len / 100);
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    struct span bomb = {small, z.total_out - 4};
    assert_in_range(bomb.len, 1, 100000);
    struct span out;
    assert_int_equal(ws_inflate_message(d, bomb, 1 << 20, &out), 1009);
    assert_int_equal(out.len, 0);
    deflateEnd(&z);
    free(zeros);
    free(small);
    ws_deflate_free(d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offers_that_we_take),
        cmocka_unit_test(offers_that_we_pass_over),
        cmocka_unit_test(the_first_offer_that_fits_wins),
        cmocka_unit_test(messages_go_round_in_every_window),
        cmocka_unit_test(what_does_not_shrink_is_sent_plain),
        cmocka_unit_test(the_examples_of_the_standard),
        cmocka_unit_test(what_is_no_deflate_stream_fails),
        cmocka_unit_test(a_bomb_stops_at_the_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
