/* base/utf8: every sequence of up to two bytes and the corners of longer ones, whole and in
 * pieces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/utf8.h"

/* Another way to the same answer: decode, and compare with what the table of RFC 3629 allows. */
static bool is_valid(const uint8_t *at, size_t len) {
    static const uint32_t LEAST[] = {0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < len;) {
        size_t more = at[i] < 0x80         ? 0
                      : at[i] >> 5 == 0x06 ? 1
                      : at[i] >> 4 == 0x0e ? 2
                      : at[i] >> 3 == 0x1e ? 3
                                           : 4;
        if (more == 4 || i + more >= len) {
            return false;
        }
        uint32_t code = at[i] & (more == 0 ? 0x7fu : 0x3fu >> more);
        for (size_t j = 1; j <= more; j++) {
            if (at[i + j] >> 6 != 2) {
                return false;
            }
            code = code << 6 | (at[i + j] & 0x3f);
        }
        if (code < LEAST[more] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) {
            return false;
        }
        i += more + 1;
    }
    return true;
}

/* Whole, byte by byte, and cut in two at every place: always the same answer. */
static void check(const uint8_t *bytes, size_t len) {
    const char *at = (const char *)bytes;
    bool valid = is_valid(bytes, len);
    assert_int_equal(utf8_valid(at, len), valid);
    struct utf8_state s = {0};
    bool good = true;
    for (size_t i = 0; i < len; i++) {
        good = utf8_feed(&s, at + i, 1);
    }
    assert_int_equal(good && utf8_done(&s), valid);
    for (size_t cut = 0; cut <= len; cut++) {
        s = (struct utf8_state){0};
        utf8_feed(&s, at, cut);
        good = utf8_feed(&s, at + cut, len - cut);
        assert_int_equal(good && utf8_done(&s), valid);
    }
}

static void all_short_sequences(void **state) {
    (void)state;
    check((const uint8_t *)"", 0);
    for (unsigned i = 0; i < 0x10000; i++) {
        uint8_t bytes[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        check(bytes, 1);
        check(bytes, 2);
    }
}

static void corners_of_long_sequences(void **state) {
    (void)state;
    static const uint8_t CORNERS[] = {0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf,
                                      0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
                                      0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xf8, 0xff};
    enum { COUNT = sizeof CORNERS };
    for (size_t i = 0; i < COUNT * COUNT * COUNT * COUNT; i++) {
        uint8_t bytes[4] = {CORNERS[i % COUNT], CORNERS[i / COUNT % COUNT],
                            CORNERS[i / COUNT / COUNT % COUNT], CORNERS[i / COUNT / COUNT / COUNT]};
        check(bytes, 4);
        check(bytes, 3);
    }
}

static void a_mistake_is_seen_at_every_place(void **state) {
    (void)state;
    static const char *const PARTS[] = {"\xff",         "\xc3",     "\xe2\x82",
                                        "\xed\xa0\x80", "\xc3\xbc", "\xf0\x9f\x98\x80"};
    uint8_t bytes[48];
    for (size_t len = 4; len <= sizeof bytes; len++) {
        for (size_t place = 0; place + 4 <= len; place++) {
            for (size_t i = 0; i < sizeof PARTS / sizeof PARTS[0]; i++) {
                memset(bytes, 'a', sizeof bytes);
                memcpy(bytes + place, PARTS[i], strlen(PARTS[i]));
                check(bytes, len);
            }
        }
    }
}

/* RFC 6455 section 8.1 wants the connection failed; conformance suites look at how soon. */
static void pieces_fail_at_the_first_hopeless_byte(void **state) {
    (void)state;
    struct utf8_state s = {0};
    assert_true(utf8_feed(&s, "\xce\xba\xe1\xbd\xb9\xcf\x83", 7));
    assert_true(utf8_done(&s));
    assert_true(utf8_feed(&s, "\xf4", 1));
    assert_false(utf8_done(&s));
    assert_false(utf8_feed(&s, "\x90", 1)); /* Beyond U+10FFFF, whatever follows. */
    assert_false(utf8_feed(&s, "a", 1));
    assert_false(utf8_feed(&s, "", 0));
    assert_false(utf8_done(&s));
    s = (struct utf8_state){0};
    assert_false(utf8_feed(&s, "\xed\xa0", 2));
    s = (struct utf8_state){0};
    assert_false(utf8_feed(&s, "abc\xc1", 4));
    s = (struct utf8_state){0};
    assert_true(utf8_feed(&s, "\xe2", 1));
    assert_true(utf8_feed(&s, NULL, 0));
    assert_false(utf8_done(&s));
    assert_true(utf8_feed(&s,
                          "\x82\xac"
                          "abc\xf0\x9f",
                          7));
    assert_false(utf8_done(&s));
    assert_true(utf8_feed(&s, "\x98\x80", 2));
    assert_true(utf8_done(&s));
}

static void a_character_has_a_length(void **state) {
    (void)state;
    assert_int_equal(utf8_length("a\xff", 2), 1);
    assert_int_equal(utf8_length("\0", 1), 1);
    assert_int_equal(utf8_length("\xc3\xbc\xff", 3), 2);
    assert_int_equal(utf8_length("\xe2\x82\xac", 3), 3);
    assert_int_equal(utf8_length("\xf0\x9f\x98\x80", 4), 4);
    assert_int_equal(utf8_length("", 0), 0);
    assert_int_equal(utf8_length("\xf0\x9f\x98\x80", 3), 0);
    assert_int_equal(utf8_length("\xed\xa0\x80", 3), 0);
    assert_int_equal(utf8_length("\x80", 1), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_short_sequences),
        cmocka_unit_test(corners_of_long_sequences),
        cmocka_unit_test(a_mistake_is_seen_at_every_place),
        cmocka_unit_test(pieces_fail_at_the_first_hopeless_byte),
        cmocka_unit_test(a_character_has_a_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
