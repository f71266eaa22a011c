/* Answers: what is said for the application, what it may not say, and bodies in pieces. */
#include "http/response.h"

#include "http_fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define REQUEST(method) method " /x HTTP/1.1\r\nHost: a\r\n\r\n"

static void test_fields_cannot_be_forged(void **state) {
    (void)state;
    struct response r;
    response_init(&r, 200);
    assert_int_equal(response_header(&r, SPAN("X"), SPAN("a\r\nSet-Cookie: b")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN("X"), SPAN("a\nb")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN("X"), SPAN("a\0b")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN("X\r\nY"), SPAN("a")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN("X Y"), SPAN("a")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN("X:"), SPAN("a")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN(""), SPAN("a")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN("\xc3\xa9"), SPAN("a")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN("content-length"), SPAN("3")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN("Transfer-Encoding"), SPAN("x")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN("CONNECTION"), SPAN("x")), UV_EINVAL);
    assert_int_equal(response_header(&r, SPAN("Date"), SPAN("x")), UV_EINVAL);
    assert_int_equal(writer_len(&r.headers), 0);
    assert_int_equal(response_header(&r, SPAN("X-a"), SPAN("b; c=\"d\"")), 0);
    assert_true(span_is(writer_span(&r.headers), "X-a: b; c=\"d\"\r\n"));
    response_deinit(&r);
}

static void answer_status_only(struct exchange *x, void *data) {
    struct response r;
    response_init(&r, *(int *)data);
    assert_int_equal(response_header(&r, SPAN("X-A"), SPAN("1")), 0);
    writer_puts(exchange_extra_headers(x), "X-B: 2\r\n");
    r.body = buf_copy("hello", 5);
    response_send(x, &r);
}

static void test_lengths_and_bodies(void **state) {
    (void)state;
    int status = 200;
    struct site s;
    site_init(&s);
    s.answer = answer_status_only;
    s.data = &status;
    site_start(&s);
    const char *answer = site_ask(&s, REQUEST("GET"));
    assert_string_equal(answer_field(answer, "Content-Length"), "5");
    assert_string_equal(answer_field(answer, "X-A"), "1");
    assert_string_equal(answer_field(answer, "X-B"), "2");
    assert_string_equal(answer_body(answer), "hello");
    writer_clear(&s.client->received);
    remote_sends(s.client, REQUEST("HEAD"));
    RUN_UNTIL(&s.f, remote_has(s.client, "\r\n\r\n"));
    assert_string_equal(answer_field(remote_text(s.client), "Content-Length"), "5");
    status = 204;
    assert_string_equal(answer_field(site_ask(&s, REQUEST("GET")), "Content-Length"), "");
    status = 304;
    answer = site_ask(&s, REQUEST("GET"));
    assert_int_equal(answer_status(answer), 304);
    assert_string_equal(answer_field(answer, "Content-Length"), "");
    status = 599;
    answer = site_ask(&s, REQUEST("GET"));
    assert_memory_equal(answer, "HTTP/1.1 599 Unknown\r\n", 22);
    assert_false(remote_has(s.client, "hellohello"));
    site_deinit(&s);
}

static void answer_errors(struct exchange *x, void *data) {
    struct span detail = data ? span_of(data) : SPAN("");
    response_error(x, status_of_code(SPAN("not_found")), SPAN("not_\"found\"\n"), detail);
}

static void test_errors_are_json(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    s.answer = answer_errors;
    site_start(&s);
    const char *answer = site_ask(&s, REQUEST("GET"));
    assert_int_equal(answer_status(answer), 404);
    assert_string_equal(answer_field(answer, "Content-Type"), "application/json");
    assert_string_equal(answer_body(answer), "{\"error\":{\"code\":\"not_\\\"found\\\"\\u000a\"}}");
    s.data = "[1]";
    assert_string_equal(answer_body(site_ask(&s, REQUEST("GET"))),
                        "{\"error\":{\"code\":\"not_\\\"found\\\"\\u000a\",\"detail\":[1]}}");
    site_deinit(&s);
}

static void test_codes(void **state) {
    (void)state;
    assert_int_equal(status_of_code(SPAN("unauthorized")), 401);
    assert_int_equal(status_of_code(SPAN("forbidden")), 403);
    assert_int_equal(status_of_code(SPAN("rate_limited")), 429);
    assert_int_equal(status_of_code(SPAN("unavailable")), 503);
    assert_int_equal(status_of_code(SPAN("internal_error")), 500);
    assert_int_equal(status_of_code(SPAN("anything")), 400);
    assert_string_equal(status_reason(404), "Not Found");
}

static void answer_close(struct exchange *x, void *data) {
    (void)data;
    struct response r;
    response_init(&r, 200);
    r.close = true;
    response_send(x, &r);
    response_text(x, 500, "a second answer"); /* Does nothing. */
}

static void test_close_when_asked(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    s.answer = answer_close;
    site_start(&s);
    assert_string_equal(answer_field(site_ask(&s, REQUEST("GET")), "Connection"), "close");
    RUN_UNTIL(&s.f, s.client->ended);
    assert_int_equal(remote_count(s.client, "HTTP/1.1"), 1);
    site_deinit(&s);
}

/* --- bodies in pieces ----------------------------------------------------------------------- */

#define PIECES 200

struct source {
    struct buf *piece;
    int sent;
    int waits;
};

static void write_more(struct exchange *x, void *data) {
    struct source *source = data;
    bool more = true;
    while (more && source->sent < PIECES) {
        struct slice slice = {source->piece, 0, source->piece->len};
        source->sent++;
        more = response_write(x, &slice, write_more, source);
    }
    source->waits += source->sent < PIECES;
}

static void answer_pieces(struct exchange *x, void *data) {
    struct source *source = data;
    struct response r;
    response_init(&r, 200);
    source->sent = 0;
    if (response_begin(x, &r, (uint64_t)PIECES * source->piece->len))
        write_more(x, data);
}

static void test_pieces_wait_for_their_reader(void **state) {
    (void)state;
    struct source source = {.piece = buf_new(65536)};
    memset(source.piece->bytes, 'x', source.piece->cap);
    source.piece->len = source.piece->cap;
    struct site s;
    site_init(&s);
    s.answer = answer_pieces;
    s.data = &source;
    site_start(&s);
    remote_read(s.client, false);
    remote_sends(s.client, REQUEST("GET"));
    RUN_UNTIL(&s.f, source.waits > 0);
    assert_true(source.sent < PIECES);
    remote_read(s.client, true);
    RUN_UNTIL(&s.f, writer_len(&s.client->received) > (size_t)PIECES * 65536);
    assert_int_equal(source.sent, PIECES);
    remote_sends(s.client, REQUEST("HEAD"));
    RUN_UNTIL(&s.f, remote_count(s.client, "Content-Length: 13107200") == 2);
    assert_int_equal(source.sent, 0);
    site_deinit(&s);
    assert_int_equal(source.piece->refs, 1);
    buf_unref(source.piece);
}

static void answer_broken(struct exchange *x, void *data) {
    struct response r;
    response_init(&r, 200);
    assert_true(response_begin(x, &r, 100));
    struct slice slice = {data, 0, 10};
    assert_true(response_write(x, &slice, NULL, NULL));
    response_break(x);
    assert_false(response_write(x, &slice, NULL, NULL));
}

/* The peer must be able to tell that something is missing. */
static void test_broken_body_breaks_the_connection(void **state) {
    (void)state;
    struct buf *ten = buf_copy("0123456789", 10);
    struct site s;
    site_init(&s);
    s.answer = answer_broken;
    s.data = ten;
    site_start(&s);
    remote_sends(s.client, REQUEST("GET"));
    RUN_UNTIL(&s.f, s.client->ended);
    assert_false(remote_has(s.client, "01234567890123456789"));
    site_deinit(&s);
    buf_unref(ten);
}

static void ignore_data(struct conn *conn, char *bytes, size_t len) {
    (void)conn;
    (void)bytes;
    (void)len;
}

static void ignore_close(struct conn *conn, int error) {
    (void)conn;
    (void)error;
}

static const struct conn_handler stream = {.on_data = ignore_data, .on_close = ignore_close};

static void answer_stream(struct exchange *x, void *data) {
    (void)data;
    struct response r;
    response_init(&r, 200);
    assert_int_equal(response_header(&r, SPAN("Content-Type"), SPAN("text/event-stream")), 0);
    response_stream_head(x, &r);
    struct span rest;
    struct conn *conn = exchange_upgrade(x, &rest);
    conn_set_handler(conn, &stream, NULL);
    (void)conn_write_bytes(conn, "data: 1\n\n", 9);
}

static void test_head_of_a_stream(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    s.answer = answer_stream;
    site_start(&s);
    remote_sends(s.client, REQUEST("GET"));
    RUN_UNTIL(&s.f, remote_has(s.client, "data: 1\n\n"));
    const char *answer = remote_text(s.client);
    assert_int_equal(answer_status(answer), 200);
    assert_string_equal(answer_field(answer, "Content-Length"), "");
    assert_string_equal(answer_field(answer, "Connection"), "close");
    assert_string_equal(answer_field(answer, "Cache-Control"), "no-store");
    assert_string_equal(answer_body(answer), "data: 1\n\n");
    site_deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields_cannot_be_forged),
        cmocka_unit_test(test_lengths_and_bodies),
        cmocka_unit_test(test_errors_are_json),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_close_when_asked),
        cmocka_unit_test(test_pieces_wait_for_their_reader),
        cmocka_unit_test(test_broken_body_breaks_the_connection),
        cmocka_unit_test(test_head_of_a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
