/* proto/ws_conn over the loopback: messages, control frames, pausing, time, and every way in which
 * such a connection ends. */
#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/ws_conn.h"
#include "ws_frames.h"

struct end {
    struct fixture f;
    struct ws_shared shared;
    struct ws_conn ws;
    struct remote *client;
    struct writer in;  /* what the client sends next */
    struct writer log; /* "T[hello] B[..] " and at last "(reason)" */
    size_t max_payload;
    int window;
    size_t messages;
    int drained;
    size_t take; /* on_message returns false after every so many; 0: never */
    int close;   /* on_message closes with this code */
    bool started;
    bool closing;
    bool gone;
};

static struct end *of(const struct ws_conn *w) {
    return (struct end *)((char *)w - offsetof(struct end, ws));
}

static size_t max_payload(const struct ws_conn *w) {
    return of(w)->max_payload;
}

static bool on_message(struct ws_conn *w, struct span bytes, bool binary) {
    struct end *e = of(w);
    e->messages++;
    writer_printf(&e->log, "%c[", binary ? 'B' : 'T');
    writer_put_span(&e->log, bytes);
    writer_puts(&e->log, "] ");
    if (e->close) {
        ws_conn_close(w, e->close, "enough");
    }
    return !e->take || e->messages % e->take;
}

static void on_drain(struct ws_conn *w) {
    of(w)->drained++;
    assert_false(ws_conn_blocked(w));
}

static void on_closing(struct ws_conn *w, const char *reason) {
    struct end *e = of(w);
    assert_false(e->closing);
    e->closing = true;
    writer_printf(&e->log, "(%s)", reason);
}

static void on_gone(struct ws_conn *w) {
    assert_false(of(w)->gone);
    assert_null(w->conn);
    of(w)->gone = true;
}

static const struct ws_conn_handler handler = {.max_payload = max_payload,
                                               .on_message = on_message,
                                               .on_drain = on_drain,
                                               .on_closing = on_closing,
                                               .on_gone = on_gone};

static void on_accept(struct conn *conn, void *data) {
    struct end *e = data;
    ws_conn_start(&e->ws, &e->shared, conn, e->window);
    e->started = true;
}

static void end_init(struct end *e) {
    memset(e, 0, sizeof *e);
    fixture_init(&e->f);
    e->f.config.ping_interval = e->f.config.ping_timeout = 60000;
    e->f.config.control_rate = 100;
    e->max_payload = 1 << 20;
    ws_shared_init(&e->shared, &e->f.io, &handler);
}

static void end_start(struct end *e) {
    fixture_listen(&e->f, on_accept, e);
    e->client = remote_connect(&e->f);
    RUN_UNTIL(&e->f, e->started);
}

static void end_open(struct end *e) {
    end_init(e);
    end_start(e);
}

static void end_deinit(struct end *e) {
    remote_free(&e->f, e->client);
    RUN_UNTIL(&e->f, e->gone);
    fixture_deinit(&e->f);
    ws_shared_deinit(&e->shared);
    writer_deinit(&e->in);
    writer_deinit(&e->log);
}

static void send_all(struct end *e) {
    remote_send(e->client, writer_span(&e->in).at, writer_len(&e->in));
    writer_clear(&e->in);
}

static void say(struct end *e, unsigned first, struct span payload) {
    put_frame(&e->in, first, payload);
    send_all(e);
}

/* Has the client received exactly these bytes? */
static bool received(const struct end *e, struct span bytes) {
    return span_equal(writer_span(&e->client->received), bytes);
}

static bool logged(const struct end *e, const char *text) {
    return span_is(writer_span(&e->log), text);
}

static void messages_and_pings(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    put_frame(&e.in, FIN | WS_TEXT, SPAN("hello"));
    put_frame(&e.in, FIN | WS_PING, SPAN("one"));
    put_frame(&e.in, WS_BINARY, SPAN("a"));
    put_frame(&e.in, FIN | WS_PING, SPAN(""));
    put_frame(&e.in, FIN | WS_PONG, SPAN("nobody asked"));
    put_frame(&e.in, FIN | WS_CONTINUATION, SPAN("b"));
    send_all(&e);
    RUN_UNTIL(&e.f, e.messages == 2 && writer_len(&e.client->received) == 7);
    assert_true(logged(&e, "T[hello] B[ab] "));
    assert_true(received(&e, SPAN("\x8a\x03one\x8a\x00")));
    end_deinit(&e);
}

static void a_frame_of_ours(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    struct slice frame = {.buf = buf_copy("\x81\x02hi", 4), .len = 4};
    assert_int_equal(ws_conn_send(&e.ws, &frame), 4);
    RUN_UNTIL(&e.f, received(&e, SPAN("\x81\x02hi")));
    ws_conn_close(&e.ws, 1000, NULL);
    assert_int_equal(ws_conn_send(&e.ws, &frame), UV_ECANCELED);
    slice_release(&frame);
    end_deinit(&e);
}

/* The client closes with this payload and must get that frame. */
static void check_client_close(struct span payload, struct span answer, const char *log) {
    struct end e;
    end_open(&e);
    put_frame(&e.in, FIN | WS_CLOSE, payload);
    put_frame(&e.in, FIN | WS_TEXT, SPAN("too late"));
    send_all(&e);
    RUN_UNTIL(&e.f, e.client->ended);
    assert_int_equal(e.client->error, 0);
    assert_true(received(&e, answer));
    assert_true(logged(&e, log));
    end_deinit(&e);
}

static void the_client_closes(void **state) {
    (void)state;
    check_client_close(SPAN("\x03\xe8"
                            "bye"),
                       SPAN("\x88\x02\x03\xe8"), "(client closed)");
    check_client_close(SPAN(""), SPAN("\x88\x00"), "(client closed)");
    check_client_close(SPAN("\x0f\xa0"), SPAN("\x88\x02\x0f\xa0"), "(client closed)");
    check_client_close(SPAN("\x03\xed"),
                       SPAN("\x88\x10\x03\xea"
                            "protocol error"),
                       "(protocol error)");
    check_client_close(SPAN("\x03\xe8\xff"),
                       SPAN("\x88\x0e\x03\xef"
                            "invalid data"),
                       "(protocol error)");
}

/* What breaks the rules ends with this code, and nothing after it is heard. */
static void check_failure(struct end *e, struct span answer, const char *log) {
    put_frame(&e->in, FIN | WS_TEXT, SPAN("too late"));
    send_all(e);
    RUN_UNTIL(&e->f, e->client->ended);
    assert_int_equal(e->client->error, 0);
    assert_true(received(e, answer));
    assert_true(logged(e, log));
    end_deinit(e);
}

static void failures_tell_why(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    put_frame(&e.in, FIN | WS_TEXT, SPAN("a"));
    put_frame(&e.in, FIN | 3, SPAN(""));
    check_failure(&e,
                  SPAN("\x88\x10\x03\xea"
                       "protocol error"),
                  "T[a] (protocol error)");
    end_open(&e);
    put_frame(&e.in, FIN | WS_TEXT, SPAN("\xc3\x28"));
    check_failure(&e,
                  SPAN("\x88\x0e\x03\xef"
                       "invalid data"),
                  "(protocol error)");
    end_init(&e);
    e.max_payload = 3;
    end_start(&e);
    put_frame(&e.in, FIN | WS_TEXT, SPAN("123"));
    put_frame(&e.in, FIN | WS_TEXT, SPAN("1234"));
    check_failure(&e,
                  SPAN("\x88\x11\x03\xf1"
                       "message too big"),
                  "T[123] (message too big)");
}

static void control_frames_have_a_rate(void **state) {
    (void)state;
    struct end e;
    end_init(&e);
    e.f.config.control_rate = 3;
    end_start(&e);
    for (int i = 0; i < 4; i++) {
        put_frame(&e.in, FIN | WS_PING, SPAN("x"));
    }
    check_failure(&e, SPAN("\x8a\x01x\x8a\x01x\x8a\x01x\x88\x19\x03\xf0too many control frames"),
                  "(protocol error)");
}

static void we_close(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    ws_conn_close(&e.ws, 4001, "bye");
    ws_conn_close(&e.ws, 4002, "again");
    RUN_UNTIL(&e.f, received(&e, SPAN("\x88\x05\x0f\xa1"
                                      "bye")));
    /* Until the peer's close frame only that is heard. */
    put_frame(&e.in, FIN | WS_TEXT, SPAN("ignored"));
    put_frame(&e.in, FIN | WS_PING, SPAN("ignored"));
    put_frame(&e.in, FIN | WS_CLOSE, SPAN("\x0f\xa1"));
    send_all(&e);
    RUN_UNTIL(&e.f, e.client->ended);
    assert_int_equal(e.client->error, 0);
    assert_true(received(&e, SPAN("\x88\x05\x0f\xa1"
                                  "bye")));
    assert_true(logged(&e, ""));
    end_deinit(&e);
}

static void we_close_within_a_message(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    e.close = 1000;
    e.take = 1;
    put_frame(&e.in, FIN | WS_TEXT, SPAN("a"));
    put_frame(&e.in, FIN | WS_TEXT, SPAN("b"));
    put_frame(&e.in, FIN | WS_CLOSE, SPAN("\x03\xe8"));
    send_all(&e);
    RUN_UNTIL(&e.f, e.client->ended);
    assert_true(received(&e, SPAN("\x88\x08\x03\xe8"
                                  "enough")));
    assert_true(logged(&e, "T[a] "));
    end_deinit(&e);
}

static void a_peer_that_does_not_answer_our_close(void **state) {
    (void)state;
    struct end e;
    end_init(&e);
    e.f.config.ping_timeout = 20;
    end_start(&e);
    ws_conn_close(&e.ws, 1000, "");
    RUN_UNTIL(&e.f, e.gone);
    assert_true(logged(&e, ""));
    end_deinit(&e);
}

static void a_long_reason_is_cut_between_characters(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    char reason[200] = {0};
    for (size_t i = 0; i + 2 < sizeof reason; i += 2) {
        memcpy(reason + i, "\xc3\xa9", 2);
    }
    ws_conn_close(&e.ws, 1000, reason);
    RUN_UNTIL(&e.f, writer_len(&e.client->received) == 2 + 2 + 122);
    assert_int_equal(writer_span(&e.client->received).at[1], 124);
    end_deinit(&e);
}

static void we_abort(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    ws_conn_close(&e.ws, 0, "slow");
    RUN_UNTIL(&e.f, e.gone && e.client->ended);
    assert_true(received(&e, SPAN("")));
    assert_true(logged(&e, ""));
    end_deinit(&e);
}

static void the_client_goes_without_a_word(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    put_frame(&e.in, WS_TEXT, SPAN("half a message"));
    send_all(&e);
    remote_half_close(&e.f, e.client);
    RUN_UNTIL(&e.f, e.gone);
    assert_true(logged(&e, "(client closed)"));
    end_deinit(&e);
    end_open(&e);
    remote_reset(e.client);
    RUN_UNTIL(&e.f, e.gone);
    assert_true(logged(&e, "(transport error)"));
    end_deinit(&e);
}

static void a_full_line_stops_reading(void **state) {
    (void)state;
    struct end e;
    struct writer expected = {0};
    end_open(&e);
    e.take = 7;
    for (int i = 0; i < 1000; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "%d", i);
        bool whole = i % 5;
        if (whole) {
            put_frame(&e.in, FIN | WS_TEXT, (struct span){text, (size_t)len});
        } else {
            put_frame(&e.in, WS_TEXT, SPAN(""));
            put_frame(&e.in, FIN | WS_CONTINUATION, (struct span){text, (size_t)len});
        }
        writer_printf(&expected, "T[%d] ", i);
    }
    send_all(&e);
    while (e.messages < 1000) {
        size_t before = e.messages;
        RUN_UNTIL(&e.f, e.messages > before);
        assert_in_range(e.messages - before, 1, 7);
        if (e.messages % 7 == 0) {
            ws_conn_resume(&e.ws);
        }
    }
    assert_true(span_equal(writer_span(&e.log), writer_span(&expected)));
    writer_deinit(&expected);
    end_deinit(&e);
}

static void a_quiet_client_is_pinged(void **state) {
    (void)state;
    struct end e;
    end_init(&e);
    e.f.config.ping_interval = 10;
    end_start(&e);
    for (size_t pings = 1; pings <= 3; pings++) {
        RUN_UNTIL(&e.f, writer_len(&e.client->received) == 2 * pings);
        say(&e, FIN | WS_PONG, SPAN(""));
    }
    assert_true(received(&e, SPAN("\x89\x00\x89\x00\x89\x00")));
    assert_true(logged(&e, ""));
    end_deinit(&e);
}

static void a_dead_client_is_closed(void **state) {
    (void)state;
    struct end e;
    end_init(&e);
    e.f.config.ping_interval = e.f.config.ping_timeout = 10;
    end_start(&e);
    RUN_UNTIL(&e.f, e.gone);
    assert_true(logged(&e, "(ping timeout)"));
    RUN_UNTIL(&e.f, e.client->ended);
    assert_true(received(&e, SPAN("\x89\x00")));
    end_deinit(&e);
}

/* Fills every buffer between us and a client that does not read, and queues more than the kernel
 * may still find room for. */
static void block(struct end *e) {
    struct slice slice = {.buf = buf_new(1 << 18), .len = 1 << 18};
    int more = 0;
    slice.buf->len = slice.len;
    memset(slice.buf->bytes, 0, slice.len);
    remote_read(e->client, false);
    while (more < 64) {
        assert_true(ws_conn_send(&e->ws, &slice) >= 0);
        conn_flush(e->ws.conn);
        more += ws_conn_blocked(&e->ws);
    }
    slice_release(&slice);
}

static void pongs_to_a_blocked_client_are_one(void **state) {
    (void)state;
    struct end e;
    end_init(&e);
    e.f.config.hard_limit = 1 << 30;
    end_start(&e);
    block(&e);
    size_t queued = conn_queued(e.ws.conn);
    put_frame(&e.in, FIN | WS_PING, SPAN("1"));
    put_frame(&e.in, FIN | WS_PING, SPAN("2"));
    put_frame(&e.in, FIN | WS_TEXT, SPAN("x"));
    send_all(&e);
    RUN_UNTIL(&e.f, e.messages);
    assert_true(ws_conn_queued(&e.ws) <= queued);
    assert_int_equal(e.drained, 0);
    remote_read(e.client, true);
    RUN_UNTIL(&e.f, remote_has(e.client, "\x8a\x01"
                                         "2"));
    assert_int_equal(e.drained, 1);
    assert_false(remote_has(e.client, "\x8a\x01"
                                      "1"));
    end_deinit(&e);
}

static void who_does_not_read_is_not_read_from(void **state) {
    (void)state;
    struct end e;
    end_init(&e);
    e.f.config.hard_limit = 1 << 30;
    e.f.config.high_mark = 1;
    end_start(&e);
    block(&e);
    put_frame(&e.in, FIN | WS_TEXT, SPAN("a"));
    put_frame(&e.in, FIN | WS_TEXT, SPAN("b"));
    send_all(&e);
    RUN_UNTIL(&e.f, e.ws.conn->paused);
    assert_true(logged(&e, "T[a] "));
    remote_read(e.client, true);
    RUN_UNTIL(&e.f, e.messages == 2);
    assert_true(logged(&e, "T[a] T[b] "));
    end_deinit(&e);
    /* For ever, it is as good as dead. */
    end_init(&e);
    e.f.config.hard_limit = 1 << 30;
    e.f.config.high_mark = 1;
    e.f.config.ping_timeout = 1;
    end_start(&e);
    block(&e);
    e.f.config.ping_interval = 10;
    say(&e, FIN | WS_TEXT, SPAN("a"));
    RUN_UNTIL(&e.f, e.gone);
    assert_true(logged(&e, "T[a] (slow consumer)"));
    end_deinit(&e);
}

static void compressed_messages(void **state) {
    (void)state;
    struct end e;
    end_init(&e);
    e.window = 15;
    e.max_payload = 5;
    end_start(&e);
    put_frame(&e.in, FIN | RSV1 | WS_TEXT, SPAN("\xf2\x48\xcd\xc9\xc9\x07\x00"));
    put_frame(&e.in, RSV1 | WS_BINARY, SPAN("\xf2\x48\xcd"));
    put_frame(&e.in, FIN | WS_CONTINUATION, SPAN("\xc9\xc9\x07\x00"));
    put_frame(&e.in, FIN | WS_TEXT, SPAN("plain"));
    put_frame(&e.in, FIN | RSV1 | WS_TEXT,
              SPAN("\x00\x06\x00\xf9\xff"
                   "Hello!"
                   "\x00"));
    check_failure(&e,
                  SPAN("\x88\x11\x03\xf1"
                       "message too big"),
                  "T[Hello] B[Hello] T[plain] (message too big)");
    end_init(&e);
    e.window = 15;
    end_start(&e);
    put_frame(&e.in, FIN | RSV1 | WS_BINARY, SPAN("\x00\x01\x00\xfe\xff\xff\x00"));
    put_frame(&e.in, FIN | RSV1 | WS_TEXT, SPAN("\x00\x01\x00\xfe\xff\xff\x00"));
    check_failure(&e,
                  SPAN("\x88\x0e\x03\xef"
                       "invalid data"),
                  "B[\xff] (protocol error)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_and_pings),
        cmocka_unit_test(a_frame_of_ours),
        cmocka_unit_test(the_client_closes),
        cmocka_unit_test(failures_tell_why),
        cmocka_unit_test(control_frames_have_a_rate),
        cmocka_unit_test(we_close),
        cmocka_unit_test(we_close_within_a_message),
        cmocka_unit_test(a_peer_that_does_not_answer_our_close),
        cmocka_unit_test(a_long_reason_is_cut_between_characters),
        cmocka_unit_test(we_abort),
        cmocka_unit_test(the_client_goes_without_a_word),
        cmocka_unit_test(a_full_line_stops_reading),
        cmocka_unit_test(a_quiet_client_is_pinged),
        cmocka_unit_test(a_dead_client_is_closed),
        cmocka_unit_test(pongs_to_a_blocked_client_are_one),
        cmocka_unit_test(who_does_not_read_is_not_read_from),
        cmocka_unit_test(compressed_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
