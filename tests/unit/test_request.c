/* Requests as objects, and the small grammars of targets and fields. */
#include "http/request.h"
#include "http/shared_fields.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include <cmocka.h>

static void is(struct span span, const char *text) {
    if (!span_is(span, text))
        fail_msg("\"%.*s\" is not \"%s\"", (int)span.len, span.at, text);
}

static struct request *make(const char *method, const char *target,
                            const struct request_field *fields, size_t count) {
    struct request_parts parts = {
        .method = span_of(method),
        .target = span_of(target),
        .minor = 1,
        .address = "::1",
        .fields = fields,
        .field_count = count,
    };
    const char *error;
    struct request *r = request_new(&parts, &error);
    assert_true((r == NULL) == (error != NULL));
    return r;
}

static const struct request_field handshake[] = {
    {SPAN("HOST"), SPAN("a.example")},      {SPAN("Connection"), SPAN("keep-alive, Upgrade")},
    {SPAN("Upgrade"), SPAN("websocket")},   {SPAN("Cookie"), SPAN("sid=1")},
    {SPAN("Sec-WebSocket-Key"), SPAN("x")}, {SPAN("User-Agent"), SPAN("test")},
    {SPAN("Content-Length"), SPAN("4")},    {SPAN("cookie"), SPAN("theme=dark")},
};

static void test_fields_are_joined_and_lower_case(void **state) {
    (void)state;
    time_t before = time(NULL);
    struct request *r = make("GET", "/", handshake, 8);
    assert_int_equal(request_header_count(r), 7);
    is(request_header(r, "Cookie"), "sid=1; theme=dark");
    is(request_header(r, "hOsT"), "a.example");
    assert_null(request_header(r, "hos").at);
    struct span name;
    struct span value;
    request_header_at(r, 0, &name, &value);
    is(name, "host");
    request_header_at(r, 6, &name, &value);
    is(name, "content-length");
    is(value, "4");
    assert_true(request_header_has_token(r, "connection", "upgrade"));
    assert_true(request_header_has_token(r, "connection", "Keep-Alive"));
    assert_false(request_header_has_token(r, "connection", "keep"));
    assert_false(request_header_has_token(r, "absent", "x"));
    assert_string_equal(request_address(r), "::1");
    assert_false(request_secure(r));
    assert_true(request_time(r) >= before && request_time(r) <= time(NULL));
    request_unref(r);
}

static void test_kept_request_drops_what_concerns_one_message(void **state) {
    (void)state;
    struct request *r = make("GET", "/a%62?q", handshake, 8);
    request_set_body(r, buf_copy("body", 4));
    is(request_body(r), "body");
    struct request *kept = request_keep(r);
    assert_int_equal(request_time(kept), request_time(r));
    request_unref(r);
    is(request_method(kept), "GET");
    is(request_target(kept), "/a%62?q");
    is(request_path(kept), "/ab");
    is(request_query(kept), "q");
    is(request_body(kept), "");
    assert_int_equal(request_header_count(kept), 3);
    is(request_header(kept, "host"), "a.example");
    is(request_header(kept, "cookie"), "sid=1; theme=dark");
    is(request_header(kept, "user-agent"), "test");
    assert_null(request_header(kept, "sec-websocket-key").at);
    assert_string_equal(request_address(kept), "::1");
    assert_ptr_equal(request_keep(kept), kept); /* nothing more to drop: the same one */
    request_unref(kept);
    request_unref(kept);
}

static void test_blocks_of_fields_are_shared(void **state) {
    (void)state;
    struct shared_fields shared = {0};
    struct buf *one = shared_fields_get(&shared, SPAN("one"));
    assert_ptr_equal(shared_fields_get(&shared, SPAN("one")), one);
    assert_int_equal(one->refs, 3);
    buf_unref(one);
    /* Far more than there are places for: the first loses its place and stays with us. */
    for (int i = 0; i < SHARED_FIELDS_PLACES * 20; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "%d", i);
        struct buf *other = shared_fields_get(&shared, (struct span){text, (size_t)len});
        is((struct span){other->bytes, other->len}, text);
        buf_unref(other);
    }
    shared_fields_deinit(&shared);
    assert_int_equal(one->refs, 1);
    is((struct span){one->bytes, one->len}, "one");
    buf_unref(one);
}

static void is_handshake(const struct request *kept) {
    struct span name;
    struct span value;
    assert_int_equal(request_header_count(kept), 3);
    is(request_header(kept, "host"), "a.example");
    is(request_header(kept, "cookie"), "sid=1; theme=dark");
    is(request_header(kept, "user-agent"), "test");
    assert_null(request_header(kept, "upgrade").at);
    request_header_at(kept, 0, &name, &value);
    is(name, "cookie"); /* its own comes first */
    request_header_at(kept, 2, &name, &value);
    is(name, "user-agent");
    is(request_body(kept), "");
}

static void test_kept_requests_share_what_they_say_alike(void **state) {
    (void)state;
    struct shared_fields shared = {0};
    struct request *kept[2];
    for (int i = 0; i < 2; i++) {
        struct request *r = make("GET", "/", handshake, 8);
        request_share_fields(r, &shared);
        is(request_body(r), "");
        kept[i] = request_keep(r);
        request_unref(r);
    }
    struct buf *common =
        shared_fields_get(&shared, (struct span){"host\0a.example\0user-agent\0test\0", 32});
    assert_int_equal(common->refs, 4); /* both have it, the table, and we */
    buf_unref(common);
    shared_fields_deinit(&shared);
    for (int i = 0; i < 2; i++) {
        is_handshake(kept[i]);
        request_unref(kept[i]);
    }
}

static void test_what_cannot_be_shared_is_kept_all_the_same(void **state) {
    (void)state;
    struct shared_fields shared = {0};
    char agent[2 * SHARED_FIELDS_MAX];
    memset(agent, 'a', sizeof agent);
    const struct request_field fields[] = {{SPAN("Host"), SPAN("a")},
                                           {SPAN("User-Agent"), {agent, sizeof agent}}};
    struct request *r = make("GET", "/", fields, 2);
    request_share_fields(r, &shared);
    struct request *large = request_keep(r);
    request_unref(r);
    r = make("GET", "/", NULL, 0); /* has nothing in common with anybody */
    request_share_fields(r, &shared);
    struct request *bare = request_keep(r);
    request_unref(r);
    r = make("POST", "/", fields, 1);
    request_set_body(r, buf_copy("body", 4));
    request_share_fields(r, &shared);
    is(request_body(r), "body");
    struct request *posted = request_keep(r);
    request_unref(r);
    shared_fields_deinit(&shared);
    assert_int_equal(request_header(large, "user-agent").len, sizeof agent);
    is(request_header(large, "host"), "a");
    assert_int_equal(request_header_count(bare), 0);
    is(request_header(posted, "host"), "a");
    is(request_body(posted), "");
    request_unref(large);
    request_unref(bare);
    request_unref(posted);
}

static void path_is(const char *target, const char *path) {
    struct request *r = make("GET", target, NULL, 0);
    if (!path) {
        if (r)
            fail_msg("%s was accepted", target);
        return;
    }
    if (!r)
        fail_msg("%s was refused", target);
    is(request_path(r), path);
    is(request_target(r), target);
    request_unref(r);
}

static void test_paths(void **state) {
    (void)state;
    path_is("/", "/");
    path_is("/?", "/");
    path_is("/a/b", "/a/b");
    path_is("/a+b", "/a+b");
    path_is("/a%2Fb", "/a/b");
    path_is("//a//b/", "//a//b/");
    path_is("/a/./b/.", "/a/b/");
    path_is("/a/../b", "/b");
    path_is("/a/b/..", "/a/");
    path_is("/..", "/");
    path_is("/../../../etc/passwd", "/etc/passwd");
    path_is("/a/%2e%2E/%2e%2e/b", "/b");
    path_is("/a%2f..%2f..%2fb", "/b");
    path_is("/%252e%252e/x", "/%2e%2e/x"); /* Decoded once. */
    path_is("/...", "/...");
    path_is("/.a/..b", "/.a/..b");
    path_is("/%", NULL);
    path_is("/%1", NULL);
    path_is("/%g0", NULL);
    path_is("/%0g", NULL);
    path_is("/%00", NULL);
    path_is("/a#b", NULL);
    path_is("a", NULL);
    path_is("", NULL);
}

static void test_queries(void **state) {
    (void)state;
    struct request *r = make("GET", "/?a=1&b=x%20y+z&&a=2&c&%61b=q&bad=%4&=e", NULL, 0);
    struct writer out = {0};
    assert_true(request_query_value(r, "a", &out));
    assert_true(request_query_value(r, "b", &out));
    is(writer_span(&out), "1x y z");
    writer_clear(&out);
    assert_true(request_query_value(r, "ab", &out));
    assert_true(request_query_value(r, "c", &out));
    is(writer_span(&out), "q");
    assert_false(request_query_value(r, "bad", &out));
    assert_false(request_query_value(r, "none", &out));
    is(writer_span(&out), "q");
    writer_deinit(&out);
    request_unref(r);
}

static void test_cookies(void **state) {
    (void)state;
    struct span rest = SPAN("a=1; b=\"two\";; bare; =x ;c = 3 =4 ;d=");
    static const char *const expected[][2] = {{"a", "1"}, {"b", "two"}, {"c", "3 =4"}, {"d", ""}};
    struct span name;
    struct span value;
    for (int i = 0; i < 4; i++) {
        assert_true(cookie_next(&rest, &name, &value));
        is(name, expected[i][0]);
        is(value, expected[i][1]);
    }
    assert_false(cookie_next(&rest, &name, &value));
}

static void test_url_decode_appends_all_or_nothing(void **state) {
    (void)state;
    struct writer out = {0};
    writer_puts(&out, ">");
    assert_true(url_decode(&out, SPAN("%41+%00"), false));
    assert_int_equal(writer_len(&out), 4);
    assert_false(url_decode(&out, SPAN("abc%4"), true));
    assert_int_equal(writer_len(&out), 4);
    assert_memory_equal(writer_span(&out).at, ">A+\0", 4);
    writer_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_are_joined_and_lower_case),
        cmocka_unit_test(test_kept_request_drops_what_concerns_one_message),
        cmocka_unit_test(test_blocks_of_fields_are_shared),
        cmocka_unit_test(test_kept_requests_share_what_they_say_alike),
        cmocka_unit_test(test_what_cannot_be_shared_is_kept_all_the_same),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_cookies),
        cmocka_unit_test(test_url_decode_appends_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
