/* HTTP over connections: pipelining, keep-alive, answers that come late or to nobody, timeouts,
 * upgrades and the end. What single requests mean is test_parse's. */
#include "http_fixture.h"

#include "http/response.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

/* Exchanges that the test answers later. */
struct held {
    struct exchange *x[8];
    int count;
    int aborted;
};

static void on_aborted(struct exchange *x, void *data) {
    (void)x;
    ((struct held *)data)->aborted++;
}

static void hold(struct exchange *x, void *data) {
    struct held *held = data;
    held->x[held->count++] = exchange_ref(x);
    exchange_on_abort(x, on_aborted, held);
}

static void answer_held(struct held *held, int index, const char *text) {
    response_text(held->x[index], 200, text);
    exchange_unref(held->x[index]);
    held->x[index] = NULL;
}

static void test_keep_alive_serves_many_requests(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    site_start(&s);
    for (int i = 0; i < 3; i++) {
        const char *answer = site_ask(&s, GET("/x"));
        assert_int_equal(answer_status(answer), 200);
        assert_string_equal(answer_body(answer), "/x");
        assert_string_equal(answer_field(answer, "Connection"), "");
        assert_int_equal(strlen(answer_field(answer, "Date")), 29);
    }
    assert_int_equal(s.f.metrics.connections, 1);
    assert_int_equal(s.f.metrics.http_requests[2], 3);
    assert_string_equal(
        answer_field(site_ask(&s, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"),
                     "Connection"),
        "keep-alive");
    assert_string_equal(answer_field(site_ask(&s, "GET / HTTP/1.0\r\n\r\n"), "Connection"),
                        "close");
    RUN_UNTIL(&s.f, s.client->ended);
    assert_int_equal(s.client->error, 0);
    site_deinit(&s);
}

static void test_pipeline_is_answered_in_order(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    site_start(&s);
    remote_sends(
        s.client,
        GET("/1") GET("/2") "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
                            "chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
                            "HEAD /4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n" GET("/5"));
    RUN_UNTIL(&s.f, s.client->ended);
    const char *text = remote_text(s.client);
    assert_true(strstr(text, "/1") < strstr(text, "/2"));
    assert_true(strstr(text, "/2") < strstr(text, "/3"));
    assert_int_equal(remote_count(s.client, "200 OK"), 4);
    assert_int_equal(remote_count(s.client, "Content-Length: 2"), 4);
    assert_false(remote_has(s.client, "/4")); /* HEAD has no body, */
    assert_int_equal(s.requests, 4);          /* and nothing after a close is a request. */
    site_deinit(&s);
}

static void test_byte_by_byte(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    site_start(&s);
    static const char text[] =
        GET("/1") "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxy" GET("/3");
    for (size_t i = 0; i < sizeof text - 1; i++) {
        uint64_t before = s.f.metrics.bytes_received;
        remote_send(s.client, text + i, 1);
        RUN_UNTIL(&s.f, s.f.metrics.bytes_received > before);
    }
    site_wait_answers(&s, 3);
    assert_int_equal(s.requests, 3);
    site_deinit(&s);
}

static void test_late_answers_keep_the_order_of_a_pipeline(void **state) {
    (void)state;
    struct held held = {0};
    struct site s;
    site_init(&s);
    s.answer = hold;
    s.data = &held;
    site_start(&s);
    remote_sends(s.client, GET("/1") GET("/2") GET("/3"));
    for (int i = 0; i < 3; i++) {
        RUN_UNTIL(&s.f, held.count == i + 1);
        uv_run(&s.f.loop, UV_RUN_NOWAIT);
        assert_int_equal(held.count, i + 1); /* One at a time. */
        char text[2] = {(char)('a' + i), '\0'};
        answer_held(&held, i, text);
        site_wait_answers(&s, i + 1);
    }
    const char *text = remote_text(s.client);
    assert_true(strstr(text, "\r\na\n") < strstr(text, "\r\nb\n"));
    assert_true(strstr(text, "\r\nb\n") < strstr(text, "\r\nc\n"));
    assert_int_equal(held.aborted, 0);
    site_deinit(&s);
}

static void test_answer_to_somebody_who_has_gone_does_nothing(void **state) {
    (void)state;
    struct held held = {0};
    struct site s;
    site_init(&s);
    s.answer = hold;
    s.data = &held;
    site_start(&s);
    remote_sends(s.client, GET("/1"));
    RUN_UNTIL(&s.f, held.count == 1);
    assert_true(exchange_open(held.x[0]));
    remote_reset(s.client);
    RUN_UNTIL(&s.f, held.aborted == 1);
    assert_false(exchange_open(held.x[0]));
    struct span rest;
    assert_null(exchange_upgrade(held.x[0], &rest));
    answer_held(&held, 0, "too late");
    assert_int_equal(s.f.metrics.http_requests[2], 0);
    site_deinit(&s);
}

static void test_peer_that_only_ends_its_side_is_answered(void **state) {
    (void)state;
    struct held held = {0};
    struct site s;
    site_init(&s);
    s.answer = hold;
    s.data = &held;
    site_start(&s);
    remote_sends(s.client, GET("/1") GET("/2"));
    remote_half_close(&s.f, s.client);
    RUN_UNTIL(&s.f, held.count == 1);
    answer_held(&held, 0, "one");
    RUN_UNTIL(&s.f, held.count == 2);
    answer_held(&held, 1, "two");
    RUN_UNTIL(&s.f, s.client->ended);
    assert_true(remote_has(s.client, "one") && remote_has(s.client, "two"));
    site_deinit(&s);
}

static void test_refusal_names_the_reason_and_closes(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    site_start(&s);
    const char *answer = site_ask(&s, GET("/1") "GET / HTTP/1.1\r\n\r\n" GET("/2"));
    RUN_UNTIL(&s.f, s.client->ended);
    assert_int_equal(s.client->error, 0);
    answer = strstr(remote_text(s.client), "HTTP/1.1 400 Bad Request\r\n");
    assert_non_null(answer);
    assert_string_equal(answer_body(answer), "no Host\n");
    assert_string_equal(answer_field(answer, "Connection"), "close");
    assert_int_equal(s.requests, 1);
    site_deinit(&s);
}

static void test_too_large_a_body_is_told_though_it_is_still_coming(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    site_start(&s);
    char *body = calloc(1, 300000);
    remote_sends(s.client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n");
    remote_send(s.client, body, 300000);
    RUN_UNTIL(&s.f, s.client->ended);
    assert_int_equal(s.client->error, 0);
    assert_int_equal(answer_status(remote_text(s.client)), 413);
    free(body);
    site_deinit(&s);
}

static void test_expect_continue(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    site_start(&s);
    remote_sends(s.client,
                 "PUT /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    RUN_UNTIL(&s.f, remote_has(s.client, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_int_equal(s.requests, 0);
    assert_string_equal(answer_body(site_ask(&s, "ok")), "/x");
    /* Who sends the body along is not told to go on. */
    site_ask(&s,
             "PUT /y HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok");
    assert_false(remote_has(s.client, "100 Continue"));
    assert_int_equal(
        answer_status(site_ask(&s, "PUT /y HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n")), 417);
    site_deinit(&s);
}

static void test_incomplete_request_times_out(void **state) {
    (void)state;
    static const char *const starts[] = {
        "GET / HT", "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        GET("/complete") "GET / HT"};
    struct site s;
    site_init(&s);
    site_start(&s);
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        s.f.config.handshake_timeout = 10000;
        site_connect(&s);
        RUN_UNTIL(&s.f, s.f.metrics.connections_accepted == i + 2);
        s.f.config.handshake_timeout = 20; /* From the first byte on. */
        remote_sends(s.client, starts[i]);
        RUN_UNTIL(&s.f, s.client->ended);
        assert_int_equal(remote_count(s.client, "HTTP/1.1 408 Request Timeout\r\n"), 1);
    }
    site_deinit(&s);
}

static void test_idle_connections_close_without_a_word(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    s.f.config.handshake_timeout = 20;
    s.f.config.keep_alive_timeout = 20;
    site_start(&s);
    RUN_UNTIL(&s.f, s.client->ended); /* Nothing was ever asked. */
    assert_int_equal(writer_len(&s.client->received), 0);
    s.f.config.handshake_timeout = 10000;
    site_connect(&s);
    site_ask(&s, GET("/"));
    RUN_UNTIL(&s.f, s.client->ended);
    assert_int_equal(remote_count(s.client, "HTTP/1.1"), 1);
    site_deinit(&s);
}

static void test_waiting_for_the_application_is_not_timed(void **state) {
    (void)state;
    struct held held = {0};
    struct site s;
    site_init(&s);
    s.answer = hold;
    s.data = &held;
    site_start(&s);
    RUN_UNTIL(&s.f, s.f.metrics.connections == 1);
    s.f.config.handshake_timeout = s.f.config.keep_alive_timeout = 1;
    remote_sends(s.client, GET("/"));
    RUN_UNTIL(&s.f, held.count == 1);
    for (uint64_t start = uv_now(&s.f.loop); uv_now(&s.f.loop) < start + 20;)
        uv_run(&s.f.loop, UV_RUN_NOWAIT);
    assert_true(exchange_open(held.x[0]));
    /* From the answer on its reader is timed, and on a busy machine a millisecond is over before it
     * is sent. */
    s.f.config.keep_alive_timeout = 10000;
    answer_held(&held, 0, "done");
    RUN_UNTIL(&s.f, remote_has(s.client, "done"));
    site_deinit(&s);
}

static void answer_large(struct exchange *x, void *data) {
    struct response r;
    response_init(&r, 200);
    r.body = buf_ref(data);
    response_send(x, &r);
}

static void test_body_beyond_the_hard_limit_follows_as_it_is_read(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    struct buf *large = buf_new(20 << 20);
    for (size_t i = 0; i < large->cap; i++)
        large->bytes[i] = (char)('a' + (i >> 10) % 26);
    large->len = large->cap;
    s.answer = answer_large;
    s.data = large;
    s.f.config.hard_limit = 1 << 20;
    site_start(&s);
    remote_read(s.client, false);
    remote_sends(s.client, GET("/1") GET("/2"));
    RUN_UNTIL(&s.f, s.requests == 1);
    for (int i = 0; i < 10; i++)
        uv_run(&s.f.loop, UV_RUN_NOWAIT);
    assert_int_equal(s.requests, 1); /* The second waits until the first is written. */
    remote_read(s.client, true);
    RUN_UNTIL(&s.f, writer_len(&s.client->received) > 2 * large->len);
    const char *body = answer_body(writer_span(&s.client->received).at);
    assert_memory_equal(body, large->bytes, large->len);
    assert_int_equal(s.requests, 2);
    site_deinit(&s);
    assert_int_equal(large->refs, 1);
    buf_unref(large);
}

static void test_peer_that_does_not_read_its_answer_is_closed(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    struct buf *large = buf_new(20 << 20);
    memset(large->bytes, 'x', large->cap);
    large->len = large->cap;
    s.answer = answer_large;
    s.data = large;
    s.f.config.keep_alive_timeout = 30;
    site_start(&s);
    remote_read(s.client, false);
    remote_sends(s.client, GET("/"));
    RUN_UNTIL(&s.f, s.requests == 1);
    RUN_UNTIL(&s.f, s.f.metrics.connections == 0);
    site_deinit(&s);
    buf_unref(large);
}

/* --- upgrades ------------------------------------------------------------------------------- */

static void echo_data(struct conn *conn, char *bytes, size_t len) {
    (void)conn_write_bytes(conn, bytes, len);
}

static void echo_close(struct conn *conn, int error) {
    (void)error;
    *(bool *)conn->owner = true;
}

static const struct conn_handler echo = {.on_data = echo_data, .on_close = echo_close};

static void upgrade(struct exchange *x, void *data) {
    struct span rest;
    struct conn *conn = exchange_upgrade(x, &rest);
    assert_non_null(conn);
    assert_false(exchange_open(x));
    (void)conn_write_bytes(conn, "101!", 4);
    conn_set_handler(conn, &echo, data);
    if (rest.len)
        echo_data(conn, (char *)rest.at, rest.len);
}

#define UPGRADE "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

static void test_upgrade_hands_over_the_connection_and_the_rest(void **state) {
    (void)state;
    struct site s;
    bool closed = false;
    site_init(&s);
    s.answer = upgrade;
    s.data = &closed;
    site_start(&s);
    remote_sends(s.client, UPGRADE "early");
    RUN_UNTIL(&s.f, remote_has(s.client, "101!early"));
    assert_true(LIST_EMPTY(&s.server.active));
    remote_sends(s.client, "late");
    RUN_UNTIL(&s.f, remote_has(s.client, "101!earlylate"));
    remote_reset(s.client);
    RUN_UNTIL(&s.f, closed);
    site_deinit(&s);
}

static void test_upgrade_that_is_decided_later(void **state) {
    (void)state;
    struct held held = {0};
    struct site s;
    bool closed = false;
    site_init(&s);
    s.answer = hold;
    s.data = &held;
    site_start(&s);
    remote_sends(s.client, UPGRADE "early");
    RUN_UNTIL(&s.f, held.count == 1);
    upgrade(held.x[0], &closed);
    exchange_unref(held.x[0]);
    RUN_UNTIL(&s.f, remote_has(s.client, "101!early"));
    remote_sends(s.client, "late");
    RUN_UNTIL(&s.f, remote_has(s.client, "101!earlylate"));
    site_deinit(&s);
    assert_true(closed);
}

static void test_drain_closes_idle_connections_and_lets_busy_ones_answer(void **state) {
    (void)state;
    struct held held = {0};
    struct site s;
    site_init(&s);
    s.answer = hold;
    s.data = &held;
    site_start(&s);
    struct remote *idle = remote_connect(&s.f);
    remote_sends(s.client, GET("/"));
    RUN_UNTIL(&s.f, held.count == 1 && s.f.metrics.connections == 2);
    http_server_drain(&s.server);
    RUN_UNTIL(&s.f, idle->ended);
    assert_false(s.client->ended);
    answer_held(&held, 0, "last");
    RUN_UNTIL(&s.f, s.client->ended);
    assert_string_equal(answer_field(remote_text(s.client), "Connection"), "close");
    assert_true(remote_has(s.client, "last"));
    remote_free(&s.f, idle);
    site_deinit(&s);
}

/* Whoever has a connection may ask once more; a session keeps its own. */
static void test_winding_down_ends_connections_with_their_next_answer(void **state) {
    (void)state;
    struct held held = {0};
    struct site s;
    site_init(&s);
    s.answer = hold;
    s.data = &held;
    site_start(&s);
    struct remote *session = remote_connect(&s.f);
    RUN_UNTIL(&s.f, s.f.metrics.connections == 2);
    http_server_wind_down(&s.server);
    remote_sends(s.client, GET("/"));
    RUN_UNTIL(&s.f, held.count == 1);
    remote_sends(session, GET("/"));
    RUN_UNTIL(&s.f, held.count == 2);
    exchange_in_session(held.x[1]);
    answer_held(&held, 0, "last");
    answer_held(&held, 1, "stay");
    RUN_UNTIL(&s.f, s.client->ended && remote_has(session, "stay"));
    assert_string_equal(answer_field(remote_text(s.client), "Connection"), "close");
    assert_false(remote_has(session, "Connection: close"));
    remote_sends(session, GET("/"));
    RUN_UNTIL(&s.f, held.count == 3);
    answer_held(&held, 2, "end");
    RUN_UNTIL(&s.f, session->ended && remote_has(session, "Connection: close"));
    remote_free(&s.f, session);
    site_deinit(&s);
}

static void test_connection_state_is_used_again(void **state) {
    (void)state;
    struct site s;
    site_init(&s);
    site_start(&s);
    site_ask(&s, GET("/"));
    const struct http *first = LIST_FIRST(&s.server.active);
    remote_free(&s.f, s.client);
    s.client = NULL;
    RUN_UNTIL(&s.f, s.f.metrics.connections == 0);
    site_connect(&s);
    site_ask(&s, GET("/"));
    assert_ptr_equal(LIST_FIRST(&s.server.active), first);
    site_deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive_serves_many_requests),
        cmocka_unit_test(test_pipeline_is_answered_in_order),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_late_answers_keep_the_order_of_a_pipeline),
        cmocka_unit_test(test_answer_to_somebody_who_has_gone_does_nothing),
        cmocka_unit_test(test_peer_that_only_ends_its_side_is_answered),
        cmocka_unit_test(test_refusal_names_the_reason_and_closes),
        cmocka_unit_test(test_too_large_a_body_is_told_though_it_is_still_coming),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_incomplete_request_times_out),
        cmocka_unit_test(test_idle_connections_close_without_a_word),
        cmocka_unit_test(test_waiting_for_the_application_is_not_timed),
        cmocka_unit_test(test_body_beyond_the_hard_limit_follows_as_it_is_read),
        cmocka_unit_test(test_peer_that_does_not_read_its_answer_is_closed),
        cmocka_unit_test(test_upgrade_hands_over_the_connection_and_the_rest),
        cmocka_unit_test(test_upgrade_that_is_decided_later),
        cmocka_unit_test(test_drain_closes_idle_connections_and_lets_busy_ones_answer),
        cmocka_unit_test(test_winding_down_ends_connections_with_their_next_answer),
        cmocka_unit_test(test_connection_state_is_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
