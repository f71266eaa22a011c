/* base/token: signed tokens taken apart, whole, cut short and changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/token.h"

/* RFC 7515 section A.1. */
#define HEADER "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
#define PAYLOAD                                                                                   \
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnV" \
    "lfQ"
#define SIGNATURE "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
#define TOKEN HEADER "." PAYLOAD "." SIGNATURE

static const char *fault_of(const char *text, size_t len) {
    struct writer decoded = {NULL};
    struct token token;
    const char *fault = token_read(&token, (struct span){text, len}, &decoded);
    writer_deinit(&decoded);
    return fault;
}

static const char *fault(const char *text) {
    return fault_of(text, strlen(text));
}

static void the_example_comes_apart(void **state) {
    (void)state;
    struct writer decoded = {NULL};
    struct token token;
    assert_null(token_read(&token, SPAN(TOKEN), &decoded));
    assert_true(span_is(token.header, "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}"));
    assert_true(span_is(token.payload, "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n "
                                       "\"http://example.com/is_root\":true}"));
    assert_true(span_is(token.signature, SIGNATURE));
    /* The writer is used again, and a signature may be missing: that is for others to refuse. */
    assert_null(token_read(&token, SPAN("e30.e30."), &decoded));
    assert_true(span_is(token.header, "{}") && span_is(token.payload, "{}"));
    assert_int_equal(token.signature.len, 0);
    writer_deinit(&decoded);
}

/* Of its beginnings only those are whole that end in a signature, which may be any. */
static void every_beginning_is_told(void **state) {
    (void)state;
    const size_t two = strlen(HEADER "." PAYLOAD ".");
    for (size_t len = 0; len < strlen(TOKEN); len++) {
        const char *wrong = fault_of(TOKEN, len);
        if (len < two) {
            assert_string_equal(wrong, "it has not three parts");
        } else if ((len - two) % 4 == 1) {
            assert_string_equal(wrong, "its signature is not base64url");
        }
    }
}

/* A byte that is no digit, anywhere. */
static void every_byte_is_looked_at(void **state) {
    (void)state;
    static const char bad[] = "+/= \n\0\x80~";
    char text[] = TOKEN;
    for (size_t at = 0; at < strlen(TOKEN); at++) {
        for (size_t i = 0; i < sizeof bad - 1; i++) {
            text[at] = bad[i];
            assert_non_null(fault_of(text, sizeof text - 1));
        }
        text[at] = TOKEN[at];
    }
    assert_null(fault(text));
}

static void what_is_no_token_is_told(void **state) {
    (void)state;
    assert_string_equal(fault(""), "it has not three parts");
    assert_string_equal(fault("a.b.c.d"), "it has not three parts");
    assert_string_equal(fault("a.b.c.d.e"), "it is encrypted");
    assert_string_equal(fault(".."), "its header is not base64url");
    assert_string_equal(fault("e30.."), "its claims are not base64url");
    assert_string_equal(fault(".e30."), "its header is not base64url");
    assert_string_equal(fault("e31.e30."), "its header is not base64url"); /* stray bits */
    assert_string_equal(fault("e30.e30.e3"), "its signature is not base64url");
    assert_string_equal(fault("e30.e30.e30="), "its signature is not base64url");
}

static void a_long_one_is_refused(void **state) {
    (void)state;
    static char text[TOKEN_MAX + 2];
    memset(text, 'A', sizeof text - 1);
    memcpy(text, "e30.e30.", 8);
    assert_null(fault_of(text, TOKEN_MAX));
    assert_string_equal(fault_of(text, TOKEN_MAX + 1), "it is too long");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_comes_apart), cmocka_unit_test(every_beginning_is_told),
        cmocka_unit_test(every_byte_is_looked_at), cmocka_unit_test(what_is_no_token_is_told),
        cmocka_unit_test(a_long_one_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
