/* The request parser: what it understands and what it refuses, each input whole and byte by byte.
 */
#include "http/parse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct parse_limits limits = {.max_head = 300, .max_headers = 8, .max_body = 64};

/* Feeds everything in pieces of this size; returns how many bytes belong to the request. */
static size_t feed(struct parser *p, const char *bytes, size_t len, size_t piece) {
    size_t at = 0;
    while (at < len && !p->status && p->phase != PARSE_DONE) {
        size_t size = len - at < piece ? len - at : piece;
        char *copy = malloc(size); /* Its own block: ASan sees a read beyond the piece. */
        memcpy(copy, bytes + at, size);
        size_t used = parser_feed(p, copy, size, "1.2.3.4", false);
        free(copy);
        assert_true(used <= size);
        assert_true(used || p->status);
        at += used;
    }
    return at;
}

static void refused_in(const char *text, size_t len, size_t piece, int status) {
    struct parser p = {0};
    parser_reset(&p, &limits);
    feed(&p, text, len, piece);
    if (p.status != status)
        fail_msg("%d (%s) for %.60s", p.status, p.error ? p.error : "-", text);
    assert_non_null(p.error);
    assert_int_equal(parser_feed(&p, "more", 4, "", false), 0);
    parser_deinit(&p);
}

static void refused(const char *text, int status) {
    refused_in(text, strlen(text), strlen(text), status);
    refused_in(text, strlen(text), 1, status);
    refused_in(text, strlen(text), 7, status);
}

/* Parses a good request, which is followed by "NEXT", in pieces of every size. */
static void accepted(const char *text, void (*check)(const struct parser *p)) {
    char all[2048];
    int len = snprintf(all, sizeof all, "%sNEXT", text);
    for (size_t piece = 1; piece <= (size_t)len; piece++) {
        struct parser p = {0};
        parser_reset(&p, &limits);
        size_t used = feed(&p, all, (size_t)len, piece);
        if (p.status)
            fail_msg("%d (%s) for %s", p.status, p.error, text);
        assert_int_equal(p.phase, PARSE_DONE);
        assert_int_equal(used, strlen(text));
        assert_false(parser_begun(&p));
        check(&p);
        parser_deinit(&p);
    }
}

static void is(struct span span, const char *text) {
    if (!span_is(span, text))
        fail_msg("\"%.*s\" is not \"%s\"", (int)span.len, span.at, text);
}

static void check_get(const struct parser *p) {
    is(request_method(p->request), "GET");
    is(request_target(p->request), "/a%20b?x=1");
    is(request_path(p->request), "/a b");
    is(request_query(p->request), "x=1");
    is(request_header(p->request, "X-Two"), "1, 2");
    is(request_header(p->request, "cookie"), "a=1; b=2");
    is(request_header(p->request, "empty"), "");
    assert_null(request_header(p->request, "none").at);
    assert_int_equal(request_header_count(p->request), 4);
    assert_string_equal(request_address(p->request), "1.2.3.4");
    assert_true(p->keep_alive);
}

static void test_get(void **state) {
    (void)state;
    accepted("\r\nGET /a%20b?x=1 HTTP/1.1\r\nHost: a.example:80\r\nX-Two: 1\r\nCookie: a=1\r\n"
             "x-two: \t 2 \t\r\nEmpty:\r\ncookie: b=2\r\n\r\n",
             check_get);
}

static void check_body(const struct parser *p) {
    is(request_body(p->request), "hello");
    assert_true(p->keep_alive);
}

static void check_empty(const struct parser *p) {
    is(request_body(p->request), "");
}

static void test_bodies(void **state) {
    (void)state;
    accepted("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", check_body);
    accepted("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 \r\n\r\nhello", check_body);
    accepted("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n"
             "2\r\nhe\r\n3;ext=\"v\"\r\nllo\r\n0\r\n\r\n",
             check_body);
    accepted("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
             "005\r\nhello\r\n0\r\nTrailer: x\r\nAnother: y\r\n\r\n",
             check_body);
    accepted("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", check_empty);
    accepted("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
             check_empty);
    accepted("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", check_empty);
}

static void check_closes(const struct parser *p) {
    assert_false(p->keep_alive);
}

static void check_stays(const struct parser *p) {
    assert_true(p->keep_alive);
    assert_int_equal(request_minor(p->request), 0);
}

static void test_keep_alive(void **state) {
    (void)state;
    accepted("GET / HTTP/1.0\r\n\r\n", check_closes);
    accepted("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", check_stays);
    accepted("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, close\r\n\r\n", check_closes);
}

static void check_root(const struct parser *p) {
    is(request_path(p->request), "/");
    is(request_header(p->request, "host"), "a");
}

static void check_absolute(const struct parser *p) {
    is(request_path(p->request), "/x");
    is(request_query(p->request), "y");
    is(request_header(p->request, "host"), "b:81");
    assert_int_equal(request_header_count(p->request), 1);
}

static void test_forms_of_targets(void **state) {
    (void)state;
    accepted("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", check_root);
    accepted("GET http://a HTTP/1.1\r\nHost: b\r\n\r\n", check_root);
    accepted("GET HTTPS://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n", check_absolute);
    accepted("GET /../x/../.%2e/ HTTP/1.1\r\nHost: a\r\n\r\n", check_root);
    refused("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET http://u@h/x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET ftp://h/x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET /%4 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    static const char nul[] = "GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n";
    refused_in(nul, sizeof nul - 1, sizeof nul - 1, 400);
    refused_in(nul, sizeof nul - 1, 1, 400);
}

static void test_request_lines(void **state) {
    (void)state;
    refused("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400);
    refused(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    refused("GET /\r\n\r\n", 400);
    refused("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    refused("GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505);
    refused("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505);
    refused("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400);
    refused("GET / RTSP/1.0\r\nHost: a\r\n\r\n", 400);
    refused("SOURCE / ICE/1.0\r\nHost: a\r\n\r\n", 400);
    refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    refused("DESCRIBE / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    refused("SOURCE / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    refused("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    refused("BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    refused("get / HTTP/1.1\r\nHost: a\r\n\r\n", 501);
    refused("\x16\x03\x01\x02 \x01\x02 HTTP\r\n\r\n", 400); /* TLS, more or less */
}

/* What lets two readers see two different requests in the same bytes. */
static void test_smuggling(void **state) {
    (void)state;
#define POST "POST / HTTP/1.1\r\nHost: a\r\n"
    refused(POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 400);
    refused(POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 400);
    refused(POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", 400);
    refused(POST "Content-Length: 5, 5\r\n\r\nhello", 400);
    refused(POST "Content-Length: +5\r\n\r\nhello", 400);
    refused(POST "Content-Length: -5\r\n\r\nhello", 400);
    refused(POST "Content-Length: 0x5\r\n\r\nhello", 400);
    refused(POST "Content-Length: 5 5\r\n\r\nhello", 400);
    refused(POST "Content-Length:\r\n\r\n", 400);
    refused(POST "Content-Length: 18446744073709551621\r\n\r\nhello", 400);
    refused(POST "Content-Length : 5\r\n\r\nhello", 400);
    refused(POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: gzip\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400);
    refused(POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n", 400);
    refused(POST "Transfer-Encoding:\r\n\r\n", 400);
    refused(POST "Transfer-Encoding:\x0b"
                 "chunked\r\n\r\n0\r\n\r\n",
            400);
    refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400);
    refused(POST "X: y\r\n Content-Length: 5\r\n\r\n", 400); /* continuation lines */
    refused(POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400);
    refused(POST "X: y\rContent-Length: 5\r\n\r\n", 400); /* lone CR and LF */
    refused(POST "X: y\nContent-Length: 5\r\n\r\n", 400);
    refused("GET / HTTP/1.1\nHost: a\n\n", 400);
    refused("GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
    refused("GET / HTTP/1.1\r\nHost: a\r\n\rX", 400);
    refused(POST "\x01X: y\r\n\r\n", 400);
    refused(POST ": y\r\n\r\n", 400);
    refused(POST "no colon\r\n\r\n", 400);
    refused(POST "X y: z\r\n\r\n", 400);
    refused(POST "X: a\x01z\r\n\r\n", 400);
    refused(POST "X: a\x7fz\r\n\r\n", 400);
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
    refused(CHUNKED "5\nhello\r\n0\r\n\r\n", 400);
    refused(CHUNKED "5\r\nhello\n0\r\n\r\n", 400);
    refused(CHUNKED "5\r\nhelloX\r\n0\r\n\r\n", 400);
    refused(CHUNKED "0x5\r\nhello\r\n0\r\n\r\n", 400);
    refused(CHUNKED "5 \r\nhello\r\n0\r\n\r\n", 400);
    refused(CHUNKED "+5\r\nhello\r\n0\r\n\r\n", 400);
    refused(CHUNKED "-5\r\nhello\r\n0\r\n\r\n", 400);
    refused(CHUNKED "\r\nhello\r\n0\r\n\r\n", 400);
    refused(CHUNKED "0\r\nX: y\rZ: z\r\n\r\n", 400);
    refused(CHUNKED "0\r\nX: y\n\r\n", 400);
    refused(CHUNKED "0\r\nX: y\r\n z\r\n\r\n", 400);
    refused(CHUNKED "0\n\r\n", 400);
    refused(CHUNKED "0\r\n\n", 400);
    refused(CHUNKED "0\r\nno colon\r\n\r\n", 400);
}

static void test_hosts(void **state) {
    (void)state;
    refused("GET / HTTP/1.1\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    refused("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    refused("GET http://a/ HTTP/1.1\r\n\r\n", 400);
}

static void check_upgrade(const struct parser *p) {
    assert_true(p->upgrade);
}

static void check_no_upgrade(const struct parser *p) {
    assert_false(p->upgrade);
}

static void test_upgrades(void **state) {
    (void)state;
#define UPGRADE "Host: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: "
    accepted("GET / HTTP/1.1\r\n" UPGRADE "WebSocket\r\n\r\n", check_upgrade);
    accepted("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n\r\n", check_no_upgrade);
    refused("GET / HTTP/1.1\r\n" UPGRADE "h2c\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\n" UPGRADE "h2c, websocket\r\n\r\n", 400);
    refused("POST / HTTP/1.1\r\n" UPGRADE "websocket\r\n\r\n", 400);
    refused("GET / HTTP/1.0\r\n" UPGRADE "websocket\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nContent-Length: 1\r\n" UPGRADE "websocket\r\n\r\nx", 400);
    refused("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" UPGRADE "websocket\r\n\r\n", 400);
}

static void check_expects(const struct parser *p) {
    is(request_body(p->request), "hello");
    assert_true(p->expect_continue);
}

static void check_expects_nothing(const struct parser *p) {
    assert_false(p->expect_continue);
}

static void test_expectations(void **state) {
    (void)state;
    accepted(POST "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\nhello", check_expects);
    accepted(POST "Expect: 100-continue\r\n\r\n", check_expects_nothing);
    accepted("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
             check_expects_nothing);
    refused(POST "Expect: a pony\r\n\r\n", 417);
    refused(POST "Expect: 100-continue\r\nContent-Length: 65\r\n\r\n", 413);
}

static void check_any(const struct parser *p) {
    assert_non_null(p->request);
}

/* Writes a request of exactly that many bytes of head. */
static void head_of(char *out, size_t len) {
    size_t at = (size_t)sprintf(out, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    memset(out + at, 'x', len - 4 - at);
    memcpy(out + len - 4, "\r\n\r\n", 5);
}

static void test_limits_at_the_bound_and_past_it(void **state) {
    (void)state;
    char text[2048];
    head_of(text, limits.max_head);
    accepted(text, check_any);
    head_of(text, limits.max_head + 1);
    refused(text, 431);
    memset(text, 0, sizeof text);
    memset(text, 'x', 400);
    memcpy(text, "GET /", 5);
    refused(text, 414);
    int at = sprintf(text, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (size_t i = 1; i < limits.max_headers; i++)
        at += sprintf(text + at, "X: %d\r\n", (int)i);
    strcpy(text + at, "\r\n");
    accepted(text, check_any);
    strcpy(text + at, "X: 9\r\n\r\n");
    refused(text, 431);
#define SIXTY "123456789012345678901234567890123456789012345678901234567890"
    accepted(POST "Content-Length: 64\r\n\r\n" SIXTY "1234", check_any);
    refused(POST "Content-Length: 65\r\n\r\n" SIXTY "12345", 413);
    accepted(CHUNKED "3c\r\n" SIXTY "\r\n4\r\n1234\r\n0\r\n\r\n", check_any);
    refused(CHUNKED "3c\r\n" SIXTY "\r\n5\r\n12345\r\n0\r\n\r\n", 413);
    refused(CHUNKED "ffffffffffffffff\r\n", 413);
    refused(CHUNKED "fffffffffffffffff\r\n", 400);
    refused(CHUNKED "1;" SIXTY SIXTY SIXTY SIXTY SIXTY SIXTY "\r\nx\r\n0\r\n\r\n", 400);
    refused(CHUNKED "0\r\nX: " SIXTY SIXTY SIXTY SIXTY SIXTY SIXTY "\r\n\r\n", 431);
}

static void test_a_body_larger_than_its_first_block(void **state) {
    (void)state;
    struct parse_limits large = {.max_head = 300, .max_headers = 8, .max_body = 1 << 20};
    struct parser p = {0};
    parser_reset(&p, &large);
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n";
    feed(&p, head, sizeof head - 1, 1000);
    assert_true(parser_begun(&p));
    char *body = malloc(300000);
    for (int i = 0; i < 300000; i++)
        body[i] = (char)(i >> 7);
    assert_int_equal(feed(&p, body, 300000, 9973), 300000);
    assert_int_equal(p.phase, PARSE_DONE);
    assert_int_equal(request_body(p.request).len, 300000);
    assert_memory_equal(request_body(p.request).at, body, 300000);
    free(body);
    parser_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_forms_of_targets),
        cmocka_unit_test(test_request_lines),
        cmocka_unit_test(test_smuggling),
        cmocka_unit_test(test_hosts),
        cmocka_unit_test(test_upgrades),
        cmocka_unit_test(test_expectations),
        cmocka_unit_test(test_limits_at_the_bound_and_past_it),
        cmocka_unit_test(test_a_body_larger_than_its_first_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
