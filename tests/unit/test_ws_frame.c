/* proto/ws_frame: headers in every form, each also cut short at every byte; masks; close codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <uv.h>

#include "proto/ws_frame.h"
#include "ws_frames.h"

/* Reads a header from each of its prefixes: they must say "more", and the whole the same as ever.
 * Returns the answer for the whole. */
static int read_growing(struct ws_header *header, struct span bytes, unsigned flags) {
    int result = 0;
    for (size_t len = 0; len <= bytes.len && result == 0; len++) {
        char exact[64];
        memcpy(exact, bytes.at, len);
        result = ws_header_read(header, exact, len, flags);
        if (result > 0) {
            assert_int_equal((size_t)result, len);
        }
    }
    return result;
}

static int read_frame(struct ws_header *header, unsigned first, bool masked, size_t extended,
                      uint64_t length, unsigned flags) {
    struct writer out = {0};
    put_odd_frame(&out, first, masked, extended, length, SPAN(""));
    int result = read_growing(header, writer_span(&out), flags);
    writer_deinit(&out);
    return result;
}

static void a_header_tells_its_parts(void **state) {
    (void)state;
    struct ws_header h;
    assert_int_equal(read_frame(&h, FIN | WS_TEXT, true, 0, 5, 0), 6);
    assert_true(h.fin);
    assert_false(h.rsv1);
    assert_int_equal(h.opcode, WS_TEXT);
    assert_int_equal(h.length, 5);
    assert_memory_equal(h.mask, "\x37\xfa\x21\x3d", 4);
    assert_int_equal(read_frame(&h, RSV1 | WS_BINARY, true, 2, 126, WS_ALLOW_RSV1), 8);
    assert_false(h.fin);
    assert_true(h.rsv1);
    assert_int_equal(h.length, 126);
    assert_int_equal(read_frame(&h, FIN, true, 8, 65536, WS_IN_MESSAGE), 14);
    assert_int_equal(h.opcode, WS_CONTINUATION);
    assert_int_equal(h.length, 65536);
}

static void lengths_are_in_their_shortest_form(void **state) {
    (void)state;
    struct ws_header h;
    assert_int_equal(read_frame(&h, FIN | WS_TEXT, true, 0, 125, 0), 6);
    assert_int_equal(read_frame(&h, FIN | WS_TEXT, true, 2, 125, 0), UV_EPROTO);
    assert_int_equal(read_frame(&h, FIN | WS_TEXT, true, 2, 65535, 0), 8);
    assert_int_equal(read_frame(&h, FIN | WS_TEXT, true, 8, 65535, 0), UV_EPROTO);
    assert_int_equal(read_frame(&h, FIN | WS_TEXT, true, 8, INT64_MAX, 0), 14);
    assert_int_equal(read_frame(&h, FIN | WS_TEXT, true, 8, (uint64_t)INT64_MAX + 1, 0), UV_EPROTO);
}

static void every_first_byte_is_right_in_its_place_or_refused(void **state) {
    (void)state;
    for (unsigned flags = 0; flags < 4; flags++) {
        for (unsigned first = 0; first < 256; first++) {
            unsigned opcode = first & 15, rsv = first >> 4 & 7;
            bool control = opcode >= WS_CLOSE && opcode <= WS_PONG;
            bool starts = opcode == WS_TEXT || opcode == WS_BINARY;
            bool continues = opcode == WS_CONTINUATION;
            bool good = control  ? rsv == 0 && (first & FIN)
                        : starts ? !(flags & WS_IN_MESSAGE) &&
                                       (rsv == 0 || (rsv == 4 && (flags & WS_ALLOW_RSV1)))
                        : continues ? rsv == 0 && (flags & WS_IN_MESSAGE)
                                    : false;
            struct ws_header h;
            char byte = (char)first;
            assert_int_equal(ws_header_read(&h, &byte, 1, flags), good ? 0 : UV_EPROTO);
        }
    }
}

static void control_frames_are_short_and_all_frames_masked(void **state) {
    (void)state;
    struct ws_header h;
    assert_int_equal(read_frame(&h, FIN | WS_PING, true, 0, 125, 0), 6);
    assert_int_equal(read_frame(&h, FIN | WS_PING, true, 2, 126, 0), UV_EPROTO);
    assert_int_equal(read_frame(&h, FIN | WS_TEXT, false, 0, 5, 0), UV_EPROTO);
    assert_int_equal(read_frame(&h, FIN | WS_CLOSE, false, 0, 0, 0), UV_EPROTO);
}

/* Against the definition in RFC 6455 section 5.3, byte by byte. */
static void the_mask_comes_off_at_any_length_place_and_phase(void **state) {
    (void)state;
    const uint8_t mask[4] = {1, 0x80, 0xff, 0x5a};
    char bytes[128];
    for (size_t offset = 0; offset < 9; offset++) {
        for (size_t len = 0; len < 100; len++) {
            for (uint64_t phase = 0; phase < 5; phase++) {
                for (size_t i = 0; i < sizeof bytes; i++) {
                    bytes[i] = (char)(i * 7);
                }
                ws_unmask(bytes + offset, len, mask, phase);
                for (size_t i = 0; i < sizeof bytes; i++) {
                    bool inside = i >= offset && i < offset + len;
                    uint8_t key = inside ? mask[(i - offset + phase) % 4] : 0;
                    assert_int_equal((uint8_t)bytes[i], (uint8_t)(i * 7) ^ key);
                }
            }
        }
    }
}

static void our_headers_are_the_shortest(void **state) {
    (void)state;
    char out[WS_OUT_HEADER_MAX];
    assert_int_equal(ws_header_write(out, WS_TEXT, false, 125), 2);
    assert_memory_equal(out, "\x81\x7d", 2);
    assert_int_equal(ws_header_write(out, WS_BINARY, true, 126), 4);
    assert_memory_equal(out, "\xc2\x7e\x00\x7e", 4);
    assert_int_equal(ws_header_write(out, WS_TEXT, false, 65535), 4);
    assert_int_equal(ws_header_write(out, WS_TEXT, false, 65536), 10);
    assert_memory_equal(out, "\x81\x7f\0\0\0\0\0\1\0\0", 10);
    assert_int_equal(ws_header_size(125), 2);
    assert_int_equal(ws_header_size(126), 4);
    assert_int_equal(ws_header_size(65535), 4);
    assert_int_equal(ws_header_size(65536), 10);
}

static void codes_that_may_close(void **state) {
    (void)state;
    const int good[] = {1000, 1003, 1007, 1011, 1012, 1014, 3000, 4999};
    const int bad[] = {0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_true(ws_code_valid(good[i]));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(ws_code_valid(bad[i]));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_header_tells_its_parts),
        cmocka_unit_test(lengths_are_in_their_shortest_form),
        cmocka_unit_test(every_first_byte_is_right_in_its_place_or_refused),
        cmocka_unit_test(control_frames_are_short_and_all_frames_masked),
        cmocka_unit_test(the_mask_comes_off_at_any_length_place_and_phase),
        cmocka_unit_test(our_headers_are_the_shortest),
        cmocka_unit_test(codes_that_may_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
