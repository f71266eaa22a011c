/* base/random: bytes that differ, and base64 both ways. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <uv.h>

#include "base/random.h"

/* The examples of RFC 4648, section 10. */
static const struct {
    const char *plain;
    const char *padded;
} EXAMPLES[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
};

static void random_bytes_differ(void **state) {
    (void)state;
    uint8_t a[64], b[64];
    random_bytes(a, sizeof a);
    random_bytes(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    random_bytes(a, 0);
}

static void base64_knows_the_examples(void **state) {
    (void)state;
    char out[16];
    for (size_t i = 0; i < sizeof EXAMPLES / sizeof EXAMPLES[0]; i++) {
        struct span plain = span_of(EXAMPLES[i].plain), padded = span_of(EXAMPLES[i].padded);
        size_t n = base64_encode(out, plain.at, plain.len);
        assert_int_equal(n, (plain.len + 2) / 3 * 4);
        assert_true(span_equal((struct span){out, n}, padded));
        n = base64url_encode(out, plain.at, plain.len);
        assert_int_equal(n, (plain.len * 4 + 2) / 3);
        assert_memory_equal(out, padded.at, n);
        long len = base64_decode(out, padded);
        assert_true(span_equal((struct span){out, (size_t)len}, plain));
        /* And without its padding. */
        len = base64_decode(out, (struct span){padded.at, n});
        assert_true(span_equal((struct span){out, (size_t)len}, plain));
    }
}

static void every_byte_survives_base64(void **state) {
    (void)state;
    unsigned char bytes[256], back[300];
    char text[400];
    for (int i = 0; i < 256; i++) {
        bytes[i] = (unsigned char)(i * 7 + 250);
    }
    for (size_t len = 0; len <= sizeof bytes; len++) {
        size_t n = base64url_encode(text, bytes, len);
        for (size_t i = 0; i < n; i++) {
            assert_null(strchr("+/=", text[i]));
        }
        assert_int_equal(base64_decode(back, (struct span){text, n}), len);
        assert_memory_equal(back, bytes, len);
        n = base64_encode(text, bytes, len);
        assert_int_equal(base64_decode(back, (struct span){text, n}), len);
        assert_memory_equal(back, bytes, len);
    }
}

static void what_is_not_base64_is_refused(void **state) {
    (void)state;
    const char *const bad[] = {"A",
                               "AAAAA",
                               "A===",
                               "=",
                               "====",
                               "AA=",
                               "AA=A",
                               "AAA==",
                               "AA A",
                               "AA\n",
                               "AAAA=",
                               "AA==A",
                               "\xff"
                               "AAA",
                               "AA.A"};
    char out[16];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(base64_decode(out, span_of(bad[i])), UV_EINVAL);
    }
    assert_int_equal(base64_decode(out, SPAN("AA\0A")), UV_EINVAL);
}

/* Bytes have one text only. */
static void base64url_is_strict(void **state) {
    (void)state;
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char out[8], again[8];
    for (int a = 0; a < 64; a++) {
        for (int b = 0; b < 64; b++) {
            char text[] = {digits[a], digits[b], 'A', digits[b]};
            for (size_t len = 2; len <= 4; len++) {
                struct span span = {text, len};
                long n = base64url_decode(out, span);
                size_t back = base64url_encode(again, out, n < 0 ? 0 : (size_t)n);
                bool same = n >= 0 && back == len && memcmp(again, text, len) == 0;
                bool stray = len == 2 && (b & 15);
                assert_int_equal(same, !stray);
                assert_int_equal(n < 0, stray);
            }
        }
    }
    assert_int_equal(base64url_decode(out, SPAN("")), 0);
    assert_int_equal(base64url_decode(out, SPAN("A")), UV_EINVAL);
    assert_int_equal(base64url_decode(out, SPAN("AAF")), UV_EINVAL);
    assert_int_equal(base64url_decode(out, SPAN("AA==")), UV_EINVAL);
    assert_int_equal(base64url_decode(out, SPAN("+/AA")), UV_EINVAL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(base64_knows_the_examples),
        cmocka_unit_test(every_byte_survives_base64),
        cmocka_unit_test(what_is_not_base64_is_refused),
        cmocka_unit_test(base64url_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
