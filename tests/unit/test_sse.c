/* proto/sse and proto/sse_post: streams over real sockets, and the POSTs that speak for them. */
#include "proto_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STREAM(target, fields) \
    "GET " target " HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n" fields "\r\n"

static void start(struct house *h) {
    house_init(h);
    house_start(h);
}

static void open_stream(struct house *h, const char *request) {
    start(h);
    remote_sends(h->s.client, request);
    RUN_UNTIL(&h->s.f, remote_has(h->s.client, "retry: "));
}

/* What has come after the head. */
static const char *lines(struct house *h) {
    return answer_body(remote_text(h->s.client));
}

static void expect_lines(struct house *h, const char *expected) {
    RUN_UNTIL(&h->s.f, strlen(lines(h)) >= strlen(expected));
    assert_string_equal(lines(h), expected);
}

static void a_stream_and_its_events(void **state) {
    (void)state;
    struct house h;
    open_stream(&h, STREAM("/", ""));
    const char *head = remote_text(h.s.client);
    assert_int_equal(answer_status(head), 200);
    assert_string_equal(answer_field(head, "Content-Type"), "text/event-stream");
    assert_string_equal(answer_field(head, "Cache-Control"), "no-store");
    assert_string_equal(answer_field(head, "X-Accel-Buffering"), "no");
    assert_string_equal(answer_field(head, "Content-Length"), "");
    assert_int_equal(hub_join(h.client, SPAN("r")), 0);
    house_emit(&h, "r", "said", "{\"a\":1}", 1);
    house_emit(&h, "r", "message", "\"x\\ny\"", 1);
    expect_lines(&h, "retry: 2000\n\nevent: said\ndata: {\"a\":1}\n\ndata: x\ndata: y\n\n");
    assert_int_equal(h.s.f.metrics.clients[WIRE_SSE], 1);
    assert_int_equal(sse_server_count(h.sse), 1);
    assert_true(house_logged(&h, "connect;"));
    house_deinit(&h);
}

static void http_1_0_and_head(void **state) {
    (void)state;
    struct house h;
    open_stream(&h, "GET / HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n");
    expect_lines(&h, "retry: 2000\n\n");
    house_deinit(&h);
    start(&h);
    remote_sends(h.s.client, "HEAD / HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n"
                             "Connection: close\r\n\r\n");
    RUN_UNTIL(&h.s.f, h.s.client->ended);
    assert_string_equal(answer_field(remote_text(h.s.client), "Content-Type"), "text/event-stream");
    assert_string_equal(lines(&h), "");
    assert_int_equal(h.dropped, 1);
    assert_true(house_logged(&h, ""));
    house_deinit(&h);
}

static void rooms_in_the_url(void **state) {
    (void)state;
    struct house h;
    open_stream(&h, STREAM("/?room=room%3A1&x=1&room=no&room=", "Last-Event-ID: e:7\r\n"));
    expect_lines(&h, "retry: 2000\n\n"
                     "event: joined\ndata: {\"room\":\"room:1\",\"data\":\"in\"}\n\n"
                     "event: refused\ndata: {\"room\":\"no\",\"error\":{\"code\":\"forbidden\"}}"
                     "\n\n");
    assert_true(house_logged(&h, "connect;join room:1 {\"join\":\"room:1\"};"
                                 "join no {\"join\":\"no\"};"));
    house_deinit(&h);
}

static void a_full_line_refuses_rooms(void **state) {
    (void)state;
    struct house h;
    house_init(&h);
    h.take = 1;
    house_start(&h);
    remote_sends(h.s.client, STREAM("/?room=a&room=b", ""));
    RUN_UNTIL(&h.s.f, remote_has(h.s.client, "event: refused\ndata: {\"room\":\"b\",\"error\":"
                                             "{\"code\":\"rate_limited\"}}\n\n"));
    assert_true(house_logged(&h, "connect;join a {\"join\":\"a\"};"));
    house_deinit(&h);
}

static void the_client_goes(void **state) {
    (void)state;
    struct house h;
    open_stream(&h, STREAM("/?room=later", ""));
    h.hold_release = true;
    remote_half_close(&h.s.f, h.s.client);
    RUN_UNTIL(&h.s.f, h.held);
    assert_true(house_logged(&h, "connect;join later {\"join\":\"later\"};close client closed;"));
    house_answer_later(&h, "1", 1);
    house_deinit(&h);
    open_stream(&h, STREAM("/?room=later", ""));
    remote_reset(h.s.client);
    RUN_UNTIL(&h.s.f, !h.client);
    house_answer_later(&h, "1", 1);
    assert_true(house_logged(&h, "connect;join later {\"join\":\"later\"};close transport error;"));
    house_deinit(&h);
}

static void what_follows_the_request_is_ignored_within_bounds(void **state) {
    (void)state;
    struct house h;
    char junk[(16 << 10) + 1];
    memset(junk, 'x', sizeof junk);
    open_stream(&h, STREAM("/", ""));
    remote_send(h.s.client, junk, sizeof junk - 1);
    uint64_t before = h.s.f.metrics.bytes_received;
    RUN_UNTIL(&h.s.f, h.s.f.metrics.bytes_received >= before + sizeof junk - 1);
    house_emit(&h, "r", "said", "1", 1);
    assert_non_null(h.client);
    remote_send(h.s.client, junk, 1);
    RUN_UNTIL(&h.s.f, h.s.client->ended);
    assert_true(house_logged(&h, "connect;close protocol error;"));
    house_deinit(&h);
}

static void comments_keep_a_stream_alive(void **state) {
    (void)state;
    struct house h;
    house_init(&h);
    h.s.f.config.ping_interval = 10;
    house_start(&h);
    remote_sends(h.s.client, STREAM("/", ""));
    RUN_UNTIL(&h.s.f, remote_has(h.s.client, "retry: 2000\n\n:\n\n:\n\n"));
    house_deinit(&h);
}

static void a_stream_that_is_ended(void **state) {
    (void)state;
    struct house h;
    open_stream(&h, STREAM("/", ""));
    assert_int_equal(hub_join(h.client, SPAN("r")), 0);
    house_emit(&h, "r", "last", "1", 1);
    client_go_away(h.client, 3217);
    RUN_UNTIL(&h.s.f, h.s.client->ended);
    assert_int_equal(h.s.client->error, 0);
    expect_lines(&h, "retry: 2000\n\nevent: last\ndata: 1\n\nretry: 3217\n\n");
    assert_true(house_logged(&h, "connect;close shutdown;"));
    house_deinit(&h);
}

/* --- POST ----------------------------------------------------------------------------------- */

/* Answers of several requests on one connection, the last one. */
static const char *post(struct house *h, struct remote *client, const char *target,
                        const char *type, const char *body) {
    struct writer text = {0};
    h->s.client = client;
    writer_clear(&client->received);
    writer_printf(
        &text, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s",
        target, type, strlen(body), body);
    remote_send(client, writer_span(&text).at, writer_len(&text));
    writer_deinit(&text);
    RUN_UNTIL(&h->s.f, remote_has(client, "\r\n\r\n"));
    const char *length = answer_field(remote_text(client), "Content-Length");
    size_t wanted = (size_t)atoi(length);
    RUN_UNTIL(&h->s.f, strlen(answer_body(remote_text(client))) >= wanted);
    return remote_text(client);
}

static void expect_answer(const char *answer, int status, const char *body) {
    assert_int_equal(answer_status(answer), status);
    assert_string_equal(answer_body(answer), body);
}

#define JSON "application/json"

static void a_post_is_a_client_of_its_own(void **state) {
    (void)state;
    struct house h;
    start(&h);
    struct remote *c = h.s.client;
    expect_answer(post(&h, c, "/", JSON, "{\"event\":\"echo\",\"data\":{\"a\":1}}"), 200,
                  "{\"a\":1}");
    assert_string_equal(answer_field(remote_text(c), "Content-Type"), "application/json");
    expect_answer(post(&h, c, "/", JSON, "{\"event\":\"echo\",\"args\":[1,2],\"id\":3}"), 200,
                  "[1,2]");
    expect_answer(post(&h, c, "/", JSON, "{\"event\":\"none\"}"), 204, "");
    expect_answer(post(&h, c, "/", JSON, "{\"event\":\"fail\"}"), 403,
                  "{\"error\":{\"code\":\"forbidden\",\"detail\":\"why\"}}");
    assert_true(house_logged(&h, "event echo {\"a\":1};close done;event echo 1,2;close done;"
                                 "event none;close done;event fail;close done;"));
    assert_int_equal(h.dropped, 0);
    assert_int_equal(h.s.f.metrics.clients[WIRE_POST], 0);
    expect_answer(post(&h, c, "/", JSON, "{\"join\":\"r\"}"), 400,
                  "{\"error\":{\"code\":\"bad_message\"}}");
    expect_answer(post(&h, c, "/", JSON, "[{\"event\":\"none\"}]"), 400,
                  "{\"error\":{\"code\":\"bad_message\"}}");
    assert_int_equal(h.dropped, 2);
    h.settings.max_payload = 17;
    assert_int_equal(answer_status(post(&h, c, "/", JSON, "{\"event\":\"none\"} ")), 204);
    assert_int_equal(answer_status(post(&h, c, "/", JSON, "{\"event\":\"none\"}  ")), 413);
    house_deinit(&h);
}

static void a_post_that_waits(void **state) {
    (void)state;
    struct house h;
    start(&h);
    remote_sends(h.s.client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\n"
                             "{\"event\":\"later\"}");
    RUN_UNTIL(&h.s.f, h.later);
    house_answer_later(&h, "1", 1);
    RUN_UNTIL(&h.s.f, remote_has(h.s.client, "\r\n\r\n1"));
    /* The next one goes before its answer. */
    remote_sends(h.s.client, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\n"
                             "{\"event\":\"later\"}");
    RUN_UNTIL(&h.s.f, h.later);
    remote_reset(h.s.client);
    RUN_UNTIL(&h.s.f, h.s.f.metrics.connections == 0);
    house_answer_later(&h, "1", 1);
    RUN_UNTIL(&h.s.f, house_logged(&h, "event later;close done;event later;close done;"));
    house_deinit(&h);
}

static void posts_of_raw_frames(void **state) {
    (void)state;
    struct house h;
    house_init(&h);
    h.settings.events = false;
    house_start(&h);
    struct remote *c = h.s.client;
    expect_answer(post(&h, c, "/", "text/plain", "hello"), 204, "");
    expect_answer(post(&h, c, "/", "application/octet-stream", "\xff"), 204, "");
    expect_answer(post(&h, c, "/", "text/plain", "\xff"), 400,
                  "{\"error\":{\"code\":\"bad_message\"}}");
    assert_true(house_logged(&h, "text hello;close done;binary \xff;close done;"));
    house_deinit(&h);
}

/* A stream with a sid, and a second connection to POST on. */
struct pair {
    struct house h;
    struct remote *stream;
    struct remote *poster;
    char target[64]; /* "/?sid=..." */
};

static void pair_open(struct pair *p) {
    remote_sends(p->h.s.client, STREAM("/?sid=new", ""));
    RUN_UNTIL(&p->h.s.f, remote_has(p->h.s.client, "\"}\n\n"));
    const char *sid = strstr(lines(&p->h), "event: sid\ndata: {\"sid\":\"");
    assert_non_null(sid);
    snprintf(p->target, sizeof p->target, "/?sid=%.24s",
             sid + strlen("event: sid\ndata: {\"sid\":\""));
    p->stream = p->h.s.client;
    p->poster = remote_connect(&p->h.s.f);
}

static void pair_deinit(struct pair *p) {
    p->h.s.client = p->stream;
    remote_free(&p->h.s.f, p->poster);
    house_deinit(&p->h);
}

static void a_post_speaks_for_its_stream(void **state) {
    (void)state;
    struct pair p;
    start(&p.h);
    pair_open(&p);
    expect_answer(post(&p.h, p.poster, p.target, JSON, "{\"event\":\"echo\",\"data\":1}"), 200,
                  "1");
    expect_answer(post(&p.h, p.poster, p.target, JSON, "{\"join\":\"r\"}"), 200, "\"in\"");
    expect_answer(post(&p.h, p.poster, p.target, JSON, "{\"event\":\"emit\"}"), 204, "");
    RUN_UNTIL(&p.h.s.f, remote_has(p.stream, "event: said\ndata: 1\n\n"));
    expect_answer(post(&p.h, p.poster, p.target, JSON, "{\"leave\":\"r\"}"), 204, "");
    expect_answer(post(&p.h, p.poster, p.target, JSON, "{\"id\":5,\"data\":[1]}"), 204, "");
    expect_answer(post(&p.h, p.poster, p.target, JSON, "{}"), 400,
                  "{\"error\":{\"code\":\"bad_message\"}}");
    expect_answer(post(&p.h, p.poster, "/?sid=AAAAAAAAAAAAAAAAAAAAAAAA", JSON, "{}"), 404,
                  "{\"error\":{\"code\":\"not_found\"}}");
    assert_true(house_logged(&p.h, "connect;event echo 1;join r {\"join\":\"r\"};event emit;"
                                   "leave r;answer 5 [1];"));
    /* The sid dies with its stream. */
    remote_half_close(&p.h.s.f, p.stream);
    RUN_UNTIL(&p.h.s.f, !p.h.client);
    expect_answer(post(&p.h, p.poster, p.target, JSON, "{\"event\":\"none\"}"), 404,
                  "{\"error\":{\"code\":\"not_found\"}}");
    pair_deinit(&p);
}

static void several_events_in_a_post(void **state) {
    (void)state;
    struct pair p;
    start(&p.h);
    pair_open(&p);
    expect_answer(post(&p.h, p.poster, p.target, JSON,
                       " [{\"event\":\"echo\",\"data\":1,\"id\":1},{\"event\":\"fail\"}, 5 ,"
                       "{\"event\":\"none\",\"id\":\"x\"}]"),
                  200,
                  "[{\"id\":1,\"data\":1},{\"error\":{\"code\":\"forbidden\",\"detail\":\"why\"}},"
                  "{\"error\":{\"code\":\"bad_message\"}},{\"id\":\"x\"}]");
    const char *const bad[] = {"[]", "[1", "[1,]", "[1]]", "[1],[2]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(answer_status(post(&p.h, p.poster, p.target, JSON, bad[i])), 400);
    }
    pair_deinit(&p);
}

static void a_batch_at_its_bound_and_one_past(void **state) {
    (void)state;
    struct pair p;
    house_init(&p.h);
    p.h.s.f.config.max_body = 1 << 16;
    house_start(&p.h);
    pair_open(&p);
    for (int count = 256; count <= 257; count++) {
        struct writer body = {0};
        for (int i = 0; i < count; i++) {
            writer_puts(&body, i ? ",{\"event\":\"none\"}" : "[{\"event\":\"none\"}");
        }
        writer_put(&body, "]", 2);
        const char *answer = post(&p.h, p.poster, p.target, JSON, writer_span(&body).at);
        assert_int_equal(answer_status(answer), count == 256 ? 200 : 400);
        writer_deinit(&body);
    }
    assert_int_equal(p.h.asked, 256);
    pair_deinit(&p);
}

static void a_full_line_answers_429(void **state) {
    (void)state;
    struct pair p;
    house_init(&p.h);
    p.h.take = 2;
    house_start(&p.h);
    pair_open(&p);
    expect_answer(post(&p.h, p.poster, p.target, JSON,
                       "[{\"event\":\"none\",\"id\":1},{\"event\":\"none\",\"id\":2},"
                       "{\"event\":\"none\",\"id\":3}]"),
                  200, "[{\"id\":1},{\"id\":2},{\"id\":3,\"error\":{\"code\":\"rate_limited\"}}]");
    expect_answer(post(&p.h, p.poster, p.target, JSON, "{\"event\":\"none\"}"), 429,
                  "{\"error\":{\"code\":\"rate_limited\"}}");
    p.h.client->ops->resume(p.h.client);
    assert_int_equal(answer_status(post(&p.h, p.poster, p.target, JSON, "{\"event\":\"none\"}")),
                     204);
    pair_deinit(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_and_its_events),
        cmocka_unit_test(http_1_0_and_head),
        cmocka_unit_test(rooms_in_the_url),
        cmocka_unit_test(a_full_line_refuses_rooms),
        cmocka_unit_test(the_client_goes),
        cmocka_unit_test(what_follows_the_request_is_ignored_within_bounds),
        cmocka_unit_test(comments_keep_a_stream_alive),
        cmocka_unit_test(a_stream_that_is_ended),
        cmocka_unit_test(a_post_is_a_client_of_its_own),
        cmocka_unit_test(a_post_that_waits),
        cmocka_unit_test(posts_of_raw_frames),
        cmocka_unit_test(a_post_speaks_for_its_stream),
        cmocka_unit_test(several_events_in_a_post),
        cmocka_unit_test(a_batch_at_its_bound_and_one_past),
        cmocka_unit_test(a_full_line_answers_429),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
