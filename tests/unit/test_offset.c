/* Offsets as text, alone and in lists. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "hub/offset.h"

static bool good(const char *text) {
    struct offset o;
    return offset_read(&o, span_of(text));
}

static void an_offset_has_one_text(void **state) {
    (void)state;
    static const uint64_t sequences[] = {0, 1, 9, 10, 4294967296, UINT64_MAX - 1, UINT64_MAX};
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++) {
        char text[OFFSET_MAX];
        struct offset o;
        struct span written = offset_write(text, "aZ09-_aaaaaa", sequences[i]);
        assert_int_equal(written.len, strlen(text));
        assert_true(offset_read(&o, written));
        assert_true(span_is(o.epoch, "aZ09-_aaaaaa"));
        assert_true(o.sequence == sequences[i]);
    }
    static const char *const bad[] = {"",
                                      ":",
                                      "1",
                                      "aaaaaaaaaaaa",
                                      "aaaaaaaaaaaa:",
                                      "aaaaaaaaaaa:1",
                                      "aaaaaaaaaaaaa:1",
                                      "aaaaaaaaaaaa:01",
                                      "aaaaaaaaaaaa:00",
                                      "aaaaaaaaaaaa:-1",
                                      "aaaaaaaaaaaa:+1",
                                      "aaaaaaaaaaaa: 1",
                                      "aaaaaaaaaaaa:1 ",
                                      " aaaaaaaaaaaa:1",
                                      "aaaaaaaaaaaa:1:2",
                                      "aaaaaaaaaaaa:1.0",
                                      "aaaaaaaaaaaa:0x1",
                                      "aaaaaaaaaaaa;1",
                                      "aaaaaaaaaaa/:1",
                                      "aaaaaaaaaaa\xc3:1",
                                      "aaaaaaaaaaaa:18446744073709551616",
                                      "aaaaaaaaaaaa:99999999999999999999",
                                      "aaaaaaaaaaaa:100000000000000000000000"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(good(bad[i]));
    }
}

/* However much of it has come: what is not there is not read. */
static void every_beginning_is_an_offset_or_none(void **state) {
    (void)state;
    static const char whole[] = "abcdefghijkl:120";
    for (size_t len = 0; len < sizeof whole; len++) {
        char *copy = test_malloc(len + 1);
        struct offset o;
        memcpy(copy, whole, len);
        assert_int_equal(offset_read(&o, (struct span){copy, len}), len > 13 && len <= 16);
        test_free(copy);
    }
}

static void assert_entries(const char *text, const char *expected) {
    struct span list = span_of(text);
    struct span entry;
    char got[200] = "";
    while (offset_next(&list, &entry)) {
        strncat(got, entry.at, entry.len);
        strcat(got, ";");
    }
    assert_string_equal(got, expected);
    assert_int_equal(list.len, 0);
}

static void a_list_is_separated_by_commas(void **state) {
    (void)state;
    assert_entries("", "");
    assert_entries(",", "");
    assert_entries(" , ,\t", "");
    assert_entries("a", "a;");
    assert_entries("a,b", "a;b;");
    assert_entries(",a,,b,", "a;b;");
    assert_entries(" a ,\tb b\t, c", "a;b b;c;");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_offset_has_one_text),
        cmocka_unit_test(every_beginning_is_an_offset_or_none),
        cmocka_unit_test(a_list_is_separated_by_commas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
