/* proto/ws_handshake: its pure parts. Whole handshakes are test_ws's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "proto/ws_handshake.h"

/* The example of RFC 6455 section 1.3. */
static void the_accept_key(void **state) {
    (void)state;
    char out[WS_ACCEPT_LEN];
    ws_accept_key(out, SPAN("dGhlIHNhbXBsZSBub25jZQ=="));
    assert_memory_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT_LEN);
}

static void keys_are_16_bytes(void **state) {
    (void)state;
    assert_true(ws_key_valid(SPAN("dGhlIHNhbXBsZSBub25jZQ==")));
    assert_true(ws_key_valid(SPAN("AAAAAAAAAAAAAAAAAAA+/w==")));
    const struct span bad[] = {
        SPAN(""),
        SPAN("dGhlIHNhbXBsZSBub25jZQ"),
        SPAN("dGhlIHNhbXBsZSBub25jZTE="),
        SPAN("dGhlIHNhbXBsZSBub25jZTEy"),
        SPAN("AAAAAAAAAAAAAAAAAAA-_w=="),
        SPAN("dGhlIHNhbXBsZSBub25j!Q=="),
        SPAN("dGhlIHNhbXBsZSBub25jZQ==="),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_false(ws_key_valid(bad[i]));
    }
}

static void check_choice(const char *offered, const char *expected) {
    char *ours[] = {"v2", "v1"};
    const char *got = ws_choose_subprotocol(span_of(offered), ours, 2);
    if (expected) {
        assert_non_null(got);
        assert_string_equal(got, expected);
    } else {
        assert_null(got);
    }
}

static void our_first_subprotocol_wins(void **state) {
    (void)state;
    check_choice("v1, v2", "v2");
    check_choice("\tv1 ,x", "v1");
    check_choice("x,,v1", "v1");
    check_choice("V1", NULL);
    check_choice("v", NULL);
    check_choice("v12", NULL);
    check_choice("", NULL);
    check_choice(NULL, NULL);
    check_choice(",", NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_accept_key),
        cmocka_unit_test(keys_are_16_bytes),
        cmocka_unit_test(our_first_subprotocol_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
