/* proto/ws: clients of the hub over real WebSockets, from the handshake to the app and back. */
#include "proto_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#include "ws_frames.h"

static void open_with(struct house *h, const char *fields) {
    house_init(h);
    house_start(h);
    house_upgrade(h, fields);
}

/* Runs until the client has received exactly these frames of text. */
static void expect_texts(struct house *h, const char *const *texts) {
    struct writer frames = {0};
    for (; *texts; texts++) {
        size_t len = strlen(*texts);
        writer_putc(&frames, '\x81');
        if (len > 125) {
            writer_putc(&frames, 126);
            writer_putc(&frames, (char)(len >> 8));
        }
        writer_putc(&frames, (char)len);
        writer_puts(&frames, *texts);
    }
    RUN_UNTIL(&h->s.f, received_ws(h).len >= writer_len(&frames));
    struct span got = received_ws(h);
    if (!span_equal(got, writer_span(&frames))) {
        fail_msg("received: %.*s", (int)got.len, got.at);
    }
    writer_deinit(&frames);
}

#define EXPECT(h, ...) expect_texts(h, (const char *const[]){__VA_ARGS__, NULL})

static void the_handshake(void **state) {
    (void)state;
    struct house h;
    char *ours[] = {"chat.v2", "chat"};
    house_init(&h);
    h.settings.subprotocols = ours;
    h.settings.subprotocol_count = 2;
    house_start(&h);
    house_upgrade(&h, "Sec-WebSocket-Protocol: other, chat , chat.v2\r\n"
                      "Sec-WebSocket-Extensions: foo, permessage-deflate; "
                      "server_max_window_bits=10\r\n");
    const char *head = remote_text(h.s.client);
    assert_string_equal(answer_field(head, "Sec-WebSocket-Accept"), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_string_equal(answer_field(head, "Upgrade"), "websocket");
    assert_string_equal(answer_field(head, "Connection"), "Upgrade");
    assert_string_equal(answer_field(head, "Sec-WebSocket-Protocol"), "chat.v2");
    assert_string_equal(answer_field(head, "Sec-WebSocket-Extensions"),
                        "permessage-deflate; server_no_context_takeover; "
                        "client_no_context_takeover; server_max_window_bits=10");
    assert_int_equal(h.s.f.metrics.clients[WIRE_WS_DEFLATE_9 + 1], 1);
    house_deinit(&h);
}

static void a_plain_handshake(void **state) {
    (void)state;
    struct house h;
    open_with(&h, "Sec-WebSocket-Protocol: unknown\r\n");
    const char *head = remote_text(h.s.client);
    assert_string_equal(answer_field(head, "Sec-WebSocket-Protocol"), "");
    assert_string_equal(answer_field(head, "Sec-WebSocket-Extensions"), "");
    assert_int_equal(h.s.f.metrics.clients[WIRE_WS], 1);
    assert_int_equal(ws_server_count(h.ws), 1);
    house_deinit(&h);
}

static void handshakes_that_are_refused(void **state) {
    (void)state;
    struct house h;
    house_init(&h);
    house_start(&h);
#define UPGRADE "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
    assert_int_equal(answer_status(site_ask(&h.s, UPGRADE "Connection: Upgrade\r\n"
                                                          "Sec-WebSocket-Version: 13\r\n\r\n")),
                     400);
    site_connect(&h.s);
    assert_int_equal(answer_status(site_ask(&h.s, UPGRADE "Connection: Upgrade\r\n"
                                                          "Sec-WebSocket-Key: c2hvcnQ=\r\n"
                                                          "Sec-WebSocket-Version: 13\r\n\r\n")),
                     400);
    site_connect(&h.s);
    const char *answer =
        site_ask(&h.s, UPGRADE "Connection: Upgrade\r\nSec-WebSocket-Version: 8\r\n"
                               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    assert_int_equal(answer_status(answer), 426);
    assert_string_equal(answer_field(answer, "Sec-WebSocket-Version"), "13");
    assert_true(house_logged(&h, ""));
    house_deinit(&h);
}

/* Frames may follow the request in the same segment. */
static void frames_behind_the_handshake(void **state) {
    (void)state;
    struct house h;
    struct writer text = {0};
    house_init(&h);
    h.take = 1;
    house_start(&h);
    writer_puts(&text, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                       "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    put_frame(&text, FIN | 1, SPAN("{\"event\":\"a\"}"));
    put_frame(&text, FIN | 1, SPAN("{\"event\":\"b\"}"));
    remote_send(h.s.client, writer_span(&text).at, writer_len(&text));
    writer_deinit(&text);
    RUN_UNTIL(&h.s.f, h.asked == 1);
    assert_true(house_logged(&h, "connect;event a;"));
    h.client->ops->resume(h.client);
    io_end_turn(&h.s.f.io);
    assert_int_equal(h.asked, 2);
    assert_true(house_logged(&h, "connect;event a;event b;"));
    h.client->ops->resume(h.client); /* A paused conn would not see its client go. */
    house_deinit(&h);
}

static void events_and_their_replies(void **state) {
    (void)state;
    struct house h;
    open_with(&h, "");
    house_say(&h, "{\"event\":\"echo\",\"data\":{\"a\":1},\"id\":7}");
    house_say(&h, "{\"event\":\"echo\",\"args\":[1,2],\"id\":\"x\"}");
    house_say(&h, "{\"event\":\"none\",\"id\":8}");
    house_say(&h, "{\"event\":\"fail\",\"id\":9}");
    house_say(&h, "{\"event\":\"echo\",\"data\":1}");
    house_say(&h, "nonsense");
    EXPECT(&h, "{\"id\":7,\"data\":{\"a\":1}}", "{\"id\":\"x\",\"args\":[1,2]}", "{\"id\":8}",
           "{\"id\":9,\"error\":{\"code\":\"forbidden\",\"detail\":\"why\"}}",
           "{\"error\":{\"code\":\"bad_message\"}}");
    assert_int_equal(h.s.f.metrics.messages_received[WIRE_WS], 6);
    house_deinit(&h);
}

static void rooms(void **state) {
    (void)state;
    struct house h;
    open_with(&h, "");
    house_say(&h, "{\"join\":\"r\",\"id\":1}");
    house_say(&h, "{\"join\":\"no\",\"id\":2}");
    house_say(&h, "{\"event\":\"emit\"}");
    house_say(&h, "{\"leave\":\"r\",\"id\":3}");
    house_say(&h, "{\"event\":\"emit\"}");
    house_say(&h, "{\"id\":4,\"data\":true}");
    house_say(&h, "{\"id\":5,\"error\":{\"code\":\"no\"}}");
    RUN_UNTIL(&h.s.f, h.asked == 5 && remote_has(h.s.client, "{\"id\":3}"));
    EXPECT(&h, "{\"id\":1,\"data\":\"in\"}", "{\"id\":2,\"error\":{\"code\":\"forbidden\"}}",
           "{\"event\":\"said\",\"data\":1,\"room\":\"r\"}", "{\"id\":3}");
    RUN_UNTIL(&h.s.f, house_logged(&h, "connect;join r {\"join\":\"r\",\"id\":1};"
                                       "join no {\"join\":\"no\",\"id\":2};event emit;leave r;"
                                       "event emit;answer 4 true;answer 5  no;"));
    house_deinit(&h);
}

static void binary_frames_where_events_are_spoken(void **state) {
    (void)state;
    struct house h;
    struct writer frame = {0};
    open_with(&h, "");
    put_frame(&frame, FIN | 2, SPAN("\x01\xff"));
    remote_send(h.s.client, writer_span(&frame).at, writer_len(&frame));
    writer_deinit(&frame);
    RUN_UNTIL(&h.s.f, received_ws(&h).len == 4);
    assert_true(span_equal(received_ws(&h), SPAN("\x82\x02\x01\xff")));
    house_deinit(&h);
}

static void raw_frames(void **state) {
    (void)state;
    struct house h;
    house_init(&h);
    h.settings.events = false;
    house_start(&h);
    house_upgrade(&h, "");
    house_say(&h, "{\"event\":\"echo\"}");
    EXPECT(&h, "{\"event\":\"echo\"}");
    assert_true(house_logged(&h, "connect;text {\"event\":\"echo\"};"));
    house_deinit(&h);
}

static void who_is_over_the_rate_is_told(void **state) {
    (void)state;
    struct house h;
    house_init(&h);
    h.settings.rate = 1;
    h.settings.burst = 2;
    house_start(&h);
    house_upgrade(&h, "");
    struct writer frames = {0};
    put_frame(&frames, FIN | 1, SPAN("{\"event\":\"none\",\"id\":1}"));
    put_frame(&frames, FIN | 1, SPAN("{\"event\":\"none\",\"id\":2}"));
    put_frame(&frames, FIN | 1, SPAN("{\"event\":\"none\",\"id\":3}"));
    put_frame(&frames, FIN | 1, SPAN("{\"event\":\"none\"}"));
    put_frame(&frames, FIN | 1, SPAN("{\"id\":4}"));
    remote_send(h.s.client, writer_span(&frames).at, writer_len(&frames));
    writer_deinit(&frames);
    EXPECT(&h, "{\"id\":1}", "{\"id\":2}", "{\"id\":3,\"error\":{\"code\":\"rate_limited\"}}",
           "{\"error\":{\"code\":\"rate_limited\"}}");
    RUN_UNTIL(&h.s.f, house_logged(&h, "connect;event none;event none;answer 4 ;"));
    house_deinit(&h);
}

static void a_payload_beyond_the_namespace_s_limit(void **state) {
    (void)state;
    struct house h;
    house_init(&h);
    h.settings.max_payload = 17;
    house_start(&h);
    house_upgrade(&h, "");
    house_say(&h, "{\"event\":\"echo\"}");
    house_say(&h, "{\"event\":\"echo\"} ");
    house_say(&h, "{\"event\":\"echo\"}  ");
    RUN_UNTIL(&h.s.f, h.s.client->ended);
    assert_true(house_logged(&h, "connect;event echo;event echo;close message too big;"));
    house_deinit(&h);
}

/* An answer that comes when its client has gone, released or not, goes nowhere. */
static void answers_after_the_end(void **state) {
    (void)state;
    for (int released = 0; released < 2; released++) {
        struct house h;
        open_with(&h, "");
        h.hold_release = !released;
        house_say(&h, "{\"event\":\"later\",\"id\":1}");
        RUN_UNTIL(&h.s.f, h.later);
        remote_reset(h.s.client);
        RUN_UNTIL(&h.s.f, house_logged(&h, "connect;event later;close transport error;"));
        house_answer_later(&h, "1", 1);
        house_deinit(&h);
    }
}

static void a_late_answer(void **state) {
    (void)state;
    struct house h;
    open_with(&h, "");
    house_say(&h, "{\"event\":\"later\",\"id\":1}");
    house_say(&h, "{\"event\":\"none\",\"id\":2}");
    EXPECT(&h, "{\"id\":2}");
    house_answer_later(&h, "\"now\"", 1);
    EXPECT(&h, "{\"id\":2}", "{\"id\":1,\"data\":\"now\"}");
    house_deinit(&h);
}

static void a_client_that_is_disconnected(void **state) {
    (void)state;
    struct house h;
    open_with(&h, "");
    client_disconnect(h.client, 4000, "kicked");
    RUN_UNTIL(&h.s.f, received_ws(&h).len == 10);
    assert_true(span_equal(received_ws(&h), SPAN("\x88\x08\x0f\xa0"
                                                 "kicked")));
    assert_true(house_logged(&h, "connect;close kicked;"));
    /* It has been released, its socket waits for the peer's close, and reads what comes. */
    house_say(&h, "{\"event\":\"echo\"}");
    struct writer frame = {0};
    put_frame(&frame, FIN | 8, SPAN("\x0f\xa0"));
    remote_send(h.s.client, writer_span(&frame).at, writer_len(&frame));
    writer_deinit(&frame);
    RUN_UNTIL(&h.s.f, h.s.client->ended);
    assert_int_equal(h.s.client->error, 0);
    house_deinit(&h);
}

static void shutdown_says_goodbye(void **state) {
    (void)state;
    struct house h;
    open_with(&h, "");
    client_go_away(h.client, 3217);
    struct span goodbye = SPAN("\x88\x1d\x03\xf4"
                               "server restart; retry=3.217");
    RUN_UNTIL(&h.s.f, received_ws(&h).len == goodbye.len);
    assert_true(span_equal(received_ws(&h), goodbye));
    assert_null(hub_client_at(h.hub, 0));
    assert_true(house_logged(&h, "connect;close shutdown;"));
    house_deinit(&h);
}

/* One client per window and a plain one in a room: each gets the same message in its own form, made
 * once per wire. */
static void a_broadcast_is_compressed_per_window(void **state) {
    (void)state;
    struct house h;
    struct remote *clients[8];
    house_init(&h);
    house_start(&h);
    for (int i = 0; i < 8; i++) {
        char fields[128] = "";
        if (i) {
            snprintf(fields, sizeof fields,
                     "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=%d\r\n",
                     8 + i);
        }
        house_upgrade(&h, fields);
        assert_int_equal(hub_join(h.client, SPAN("r")), 0);
        clients[i] = h.s.client;
        h.s.client = remote_connect(&h.s.f);
    }
    char text[2003];
    memset(text, 'a', sizeof text);
    text[0] = text[2001] = '"';
    text[2002] = '\0';
    house_emit(&h, "r", "said", text, 1);
    house_emit(&h, "r", "tiny", "1", 1);
    struct remote *spare = h.s.client;
    for (int i = 0; i < 8; i++) {
        h.s.client = clients[i];
        RUN_UNTIL(&h.s.f, remote_has(h.s.client, "\"tiny\""));
        struct span got = received_ws(&h);
        if (i == 0) {
            assert_memory_equal(got.at, "\x81\x7e", 2);
            continue;
        }
        size_t len = (unsigned char)got.at[1];
        assert_int_equal((unsigned char)got.at[0], 0xc1);
        assert_in_range(len, 1, 125);
        char packed[130], plain[3000];
        memcpy(packed, got.at + 2, len);
        memcpy(packed + len, "\0\0\xff\xff", 4);
        z_stream z = {.next_in = (Bytef *)packed, .avail_in = (uInt)len + 4};
        z.next_out = (Bytef *)plain;
        z.avail_out = sizeof plain;
        assert_int_equal(inflateInit2(&z, -(8 + i)), Z_OK);
        assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_OK);
        plain[z.total_out] = '\0';
        assert_non_null(strstr(plain, text));
        inflateEnd(&z);
        /* The small one is not worth it. */
        assert_int_equal((unsigned char)got.at[2 + len], 0x81);
    }
    for (int i = 0; i < 8; i++) {
        remote_free(&h.s.f, clients[i]);
    }
    h.s.client = spare;
    RUN_UNTIL(&h.s.f, ws_server_count(h.ws) == 0);
    house_deinit(&h);
}

/* While on_auth waits the client may go: its session is handed back. */
static struct exchange *waiting;

static void wait_for_auth(struct exchange *x, void *data) {
    (void)data;
    waiting = exchange_ref(x);
}

static void who_has_gone_before_the_answer(void **state) {
    (void)state;
    struct house h;
    house_init(&h);
    h.s.answer = wait_for_auth;
    house_start(&h);
    remote_sends(h.s.client, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                             "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    RUN_UNTIL(&h.s.f, waiting);
    remote_reset(h.s.client);
    RUN_UNTIL(&h.s.f, !exchange_open(waiting));
    ws_accept(h.ws, waiting, h.ns, &h.verdict);
    exchange_unref(waiting);
    assert_int_equal(h.dropped, 1);
    assert_true(house_logged(&h, ""));
    house_deinit(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_handshake),
        cmocka_unit_test(a_plain_handshake),
        cmocka_unit_test(handshakes_that_are_refused),
        cmocka_unit_test(frames_behind_the_handshake),
        cmocka_unit_test(events_and_their_replies),
        cmocka_unit_test(rooms),
        cmocka_unit_test(binary_frames_where_events_are_spoken),
        cmocka_unit_test(raw_frames),
        cmocka_unit_test(who_is_over_the_rate_is_told),
        cmocka_unit_test(a_payload_beyond_the_namespace_s_limit),
        cmocka_unit_test(answers_after_the_end),
        cmocka_unit_test(a_late_answer),
        cmocka_unit_test(a_client_that_is_disconnected),
        cmocka_unit_test(shutdown_says_goodbye),
        cmocka_unit_test(a_broadcast_is_compressed_per_window),
        cmocka_unit_test(who_has_gone_before_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
