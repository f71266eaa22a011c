/* Engine.IO and Socket.IO over real connections: handshakes, polls, POSTs, the upgrade, heartbeats,
 * and what becomes of packets that are wrong. The app is that of proto_fixture.h. */
#include "proto_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hub/attachments.h"
#include "proto/eio_plain.h"
#include "proto/sio.h"
#include "ws_frames.h"

struct world {
    struct house h;
    struct eio_server engine;
    struct sio_server *sio;
    struct plain_server plain;
    bool raw; /* requests go to plain Engine.IO */
    char sid[EIO_SID_LEN + 1];
    struct remote *poll; /* another connection, for polls that wait */
};

static struct ns *find_ns(struct app *app, struct span path) {
    struct house *h = (struct house *)((char *)app - offsetof(struct house, app));
    struct ns *ns = span_is(path, "/") || span_is(path, "/a") ? hub_ns(h->hub, path, true) : NULL;
    if (ns) {
        ns_configure(ns, &h->settings);
    }
    return ns;
}

/* {"no":1} is refused. */
static void on_auth(struct app *app, struct ns *ns, struct request *r, struct span auth,
                    struct question *q) {
    struct house *h = (struct house *)((char *)app - offsetof(struct house, app));
    (void)ns;
    assert_non_null(r);
    writer_printf(&h->log, "auth %.*s;", (int)auth.len, auth.at);
    struct verdict verdict = h->verdict;
    if (span_is(auth, "{\"no\":1}")) {
        verdict = (struct verdict){.code = SPAN("nope"), .detail = SPAN("[1]")};
    }
    q->answer(q, &verdict);
}

static void route(struct exchange *x, void *data) {
    struct world *w = data;
    hub_set_now(w->h.hub, uv_now(&w->h.s.f.loop));
    if (w->raw) {
        bool handshake = eio_is_handshake(exchange_request(x));
        eio_plain_serve(&w->plain, x, w->h.ns, handshake ? &w->h.verdict : NULL);
    } else {
        sio_serve(w->sio, x);
    }
}

static struct world *open_world(void) {
    struct world *w = calloc(1, sizeof *w);
    house_init(&w->h);
    struct config *config = &w->h.s.f.config;
    config->socketio_payload = 1000;
    config->socketio_gzip = 1024;
    config->socketio_transports = (char *)(uintptr_t) "polling,websocket";
    config->socketio_upgrades = true;
    config->upgrade_timeout = config->connect_timeout = 60000;
    config->hard_limit = 1 << 20;
    w->h.app.find_ns = find_ns;
    w->h.app.on_auth = on_auth;
    w->h.s.answer = route;
    w->h.s.data = w;
    return w;
}

static void start(struct world *w) {
    struct fixture *f = &w->h.s.f;
    house_start(&w->h);
    eio_server_init(&w->engine, &f->io, &f->config);
    w->sio = sio_server_new(&w->engine, &w->h.app, &f->metrics);
    w->plain = (struct plain_server){&w->engine, &w->h.app, &f->metrics, {NULL}};
}

static void close_world(struct world *w) {
    eio_server_drain(&w->engine);
    io_end_turn(&w->h.s.f.io);
    if (w->poll) {
        remote_free(&w->h.s.f, w->poll);
    }
    remote_free(&w->h.s.f, w->h.s.client);
    w->h.s.client = remote_connect(&w->h.s.f);
    RUN_UNTIL(&w->h.s.f, eio_server_count(&w->engine) == 0);
    house_deinit(&w->h);
    sio_server_free(w->sio);
    writer_deinit(&w->plain.scratch);
    eio_server_deinit(&w->engine);
    w->h.s.f.config.socketio_transports = NULL;
    free(w);
}

/* --- asking --------------------------------------------------------------------------------- */

static const char *ask(struct world *w, const char *method, const char *query, const char *body) {
    char request[2048];
    snprintf(request, sizeof request,
             "%s /socket.io/?EIO=4%s%s%s HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n%s",
             method, query, w->sid[0] ? "&sid=" : "", w->sid, strlen(body), body);
    return site_ask(&w->h.s, request);
}

static const char *get(struct world *w) {
    return answer_body(ask(w, "GET", "&transport=polling", ""));
}

static void post(struct world *w, const char *body) {
    const char *answer = ask(w, "POST", "&transport=polling", body);
    assert_int_equal(answer_status(answer), 200);
    assert_string_equal(answer_body(answer), "ok");
}

/* Takes the sid out of an open packet. */
static void note_sid(struct world *w, const char *open) {
    const char *at = strstr(open, "\"sid\":\"");
    assert_non_null(at);
    memcpy(w->sid, at + 7, EIO_SID_LEN);
}

static void handshake(struct world *w) {
    note_sid(w, get(w));
}

/* Connected to "/" over polling. */
static void connect_polling(struct world *w) {
    handshake(w);
    post(w, "40");
    assert_non_null(strstr(get(w), "40{\"sid\":\""));
    writer_clear(&w->h.log);
}

/* A poll on a connection of its own, which waits. */
static void start_poll(struct world *w) {
    char request[256];
    if (!w->poll) {
        w->poll = remote_connect(&w->h.s.f);
    }
    writer_clear(&w->poll->received);
    snprintf(request, sizeof request,
             "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: a\r\n\r\n", w->sid);
    int before = w->h.s.requests;
    remote_sends(w->poll, request);
    RUN_UNTIL(&w->h.s.f, w->h.s.requests > before);
}

static const char *polled(struct world *w) {
    RUN_UNTIL(&w->h.s.f, remote_has(w->poll, "\r\n\r\n"));
    return answer_body(remote_text(w->poll));
}

/* --- WebSockets ----------------------------------------------------------------------------- */

static void upgrade(struct world *w) {
    char request[512];
    snprintf(request, sizeof request,
             "GET /socket.io/?EIO=4&transport=websocket%s%s HTTP/1.1\r\nHost: a\r\n"
             "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
             w->sid[0] ? "&sid=" : "", w->sid);
    site_connect(&w->h.s);
    remote_sends(w->h.s.client, request);
    RUN_UNTIL(&w->h.s.f, remote_has(w->h.s.client, "\r\n\r\n"));
    assert_int_equal(answer_status(remote_text(w->h.s.client)), 101);
}

static void say_binary(struct world *w, const char *text) {
    struct writer frame = {0};
    put_frame(&frame, FIN | 2, span_of(text));
    remote_send(w->h.s.client, writer_span(&frame).at, writer_len(&frame));
    writer_deinit(&frame);
}

/* Runs until these bytes have come behind the handshake. */
static void hear(struct world *w, const char *bytes) {
    RUN_UNTIL(&w->h.s.f,
              memmem(received_ws(&w->h).at, received_ws(&w->h).len, bytes, strlen(bytes)) != NULL);
}

static void connect_ws(struct world *w) {
    upgrade(w);
    hear(w, "0{\"sid\":\"");
    note_sid(w, strstr(remote_text(w->h.s.client), "0{"));
    house_say(&w->h, "40");
    hear(w, "40{\"sid\":\"");
    writer_clear(&w->h.log);
    writer_clear(&w->h.s.client->received);
    writer_puts(&w->h.s.client->received, "\r\n\r\n");
}

/* --- tests ---------------------------------------------------------------------------------- */

static void polls(void **state) {
    (void)state;
    struct world *w = open_world();
    start(w);
    const char *open = get(w);
    assert_non_null(strstr(open, "\"upgrades\":[\"websocket\"],\"pingInterval\":60000,"
                                 "\"pingTimeout\":60000,\"maxPayload\":1000}"));
    note_sid(w, open);
    post(w, "40{\"t\":1}");
    assert_non_null(strstr(get(w), "40{\"sid\":\""));
    assert_true(house_logged(&w->h, "auth {\"t\":1};connect;"));
    post(w, "420[\"echo\",1,\"b\"]\x1e"
            "42[\"x\"]\x1e"
            "4212[\"fail\"]\x1e"
            "421[\"none\"]");
    assert_string_equal(get(w), "430[1,\"b\"]\x1e"
                                "4312[{\"error\":\"forbidden\",\"detail\":\"why\"}]\x1e"
                                "431[]");
    post(w, "431[2]");
    assert_true(memmem(writer_span(&w->h.log).at, writer_len(&w->h.log), "answer 1 2;", 11));
    /* A poll that waits is answered by what comes. */
    start_poll(w);
    hub_join(w->h.client, SPAN("r"));
    house_emit(&w->h, "r", "said", "{}", 1);
    assert_string_equal(polled(w), "42[\"said\",{}]");
    close_world(w);
}

static void namespaces(void **state) {
    (void)state;
    struct world *w = open_world();
    start(w);
    handshake(w);
    post(w, "40/a\x1e"
            "40/none,\x1e"
            "40/,{\"no\":1}");
    const char *answer = get(w);
    assert_non_null(strstr(answer, "40/a,{\"sid\":\""));
    assert_non_null(strstr(answer, "\x1e"
                                   "44/none,{\"message\":\"Invalid namespace\"}\x1e"
                                   "44{\"message\":\"nope\",\"data\":[1]}"));
    post(w, "41/a,");
    assert_non_null(strstr(remote_text(w->h.s.client), "ok"));
    RUN_UNTIL(&w->h.s.f, w->h.client == NULL);
    assert_true(
        house_logged(&w->h, "auth {};connect;auth {\"no\":1};close client namespace disconnect;"));
    /* The connection is still there. */
    post(w, "40");
    assert_non_null(strstr(get(w), "40{\"sid\":\""));
    client_disconnect(w->h.client, 1000, "out");
    assert_string_equal(get(w), "41");
    close_world(w);
}

static void refuses(void **state) {
    (void)state;
    static const struct {
        const char *method, *query, *body;
    } wrong[] = {
        {"GET", "", "{\"code\":0,\"message\":\"Transport unknown\"}"},
        {"GET", "&transport=tcp", "{\"code\":0,\"message\":\"Transport unknown\"}"},
        {"GET", "&transport=polling&sid=abc", "{\"code\":1,\"message\":\"Session ID unknown\"}"},
        {"POST", "&transport=polling", "{\"code\":2,\"message\":\"Bad handshake method\"}"},
        {"GET", "&transport=websocket", "{\"code\":3,\"message\":\"Bad request\"}"},
    };
    struct world *w = open_world();
    start(w);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *answer = ask(w, wrong[i].method, wrong[i].query, "");
        assert_int_equal(answer_status(answer), 400);
        assert_string_equal(answer_body(answer), wrong[i].body);
    }
    const char *answer =
        site_ask(&w->h.s, "GET /socket.io/?EIO=3&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_string_equal(answer_body(answer),
                        "{\"code\":5,\"message\":\"Unsupported protocol version\"}");
    close_world(w);
}

static void a_second_poll_ends_the_session(void **state) {
    (void)state;
    struct world *w = open_world();
    start(w);
    connect_polling(w);
    start_poll(w);
    assert_int_equal(answer_status(ask(w, "GET", "&transport=polling", "")), 400);
    assert_string_equal(polled(w), "1");
    RUN_UNTIL(&w->h.s.f, w->h.client == NULL);
    assert_true(house_logged(&w->h, "close transport error;"));
    assert_string_equal(get(w), "{\"code\":1,\"message\":\"Session ID unknown\"}");
    close_world(w);
}

static void a_closing_client_hears_noop(void **state) {
    (void)state;
    struct world *w = open_world();
    start(w);
    connect_polling(w);
    start_poll(w);
    post(w, "1");
    assert_string_equal(polled(w), "6");
    RUN_UNTIL(&w->h.s.f, w->h.client == NULL);
    assert_true(house_logged(&w->h, "close transport close;"));
    close_world(w);
}

/* The poll's connection goes: nobody would fetch what is told next. */
static void a_broken_poll_ends_the_session(void **state) {
    (void)state;
    struct world *w = open_world();
    start(w);
    connect_polling(w);
    start_poll(w);
    remote_half_close(&w->h.s.f, w->poll);
    RUN_UNTIL(&w->h.s.f, w->h.client == NULL);
    assert_true(house_logged(&w->h, "close transport error;"));
    close_world(w);
}

static void malformed_packets_close(void **state) {
    (void)state;
    static const char *const wrong[] = {"abc",
                                        "",
                                        "42[\"a\",x]",
                                        "42/none,[\"a\"]",
                                        "40",
                                        "2",
                                        "bAQID",
                                        "451-[\"a\"]\x1e"
                                        "42[\"a\"]",
                                        "42[\"connect\"]"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct world *w = open_world();
        start(w);
        connect_polling(w);
        post(w, wrong[i]);
        RUN_UNTIL(&w->h.s.f, w->h.client == NULL);
        close_world(w);
    }
}

static void limits_a_post(void **state) {
    (void)state;
    struct world *w = open_world();
    char body[1002];
    start(w);
    connect_polling(w);
    memset(body, ' ', sizeof body);
    memcpy(body, "42[\"x\"]", 7);
    body[1000] = 0;
    post(w, body);
    body[1000] = ' ';
    body[1001] = 0;
    assert_int_equal(answer_status(ask(w, "POST", "&transport=polling", body)), 413);
    assert_true(house_logged(&w->h, "event x;"));
    close_world(w);
}

static void binary_over_polling(void **state) {
    (void)state;
    struct world *w = open_world();
    start(w);
    connect_polling(w);
    post(w, "452-7[\"echo\",{\"_placeholder\":true,\"num\":0}]\x1e"
            "bYWJj\x1e"
            "bZA==");
    assert_true(house_logged(
        &w->h, "event echo {\"_placeholder\":true,\"num\":0};attached abc;attached d;"));
    (void)get(w);
    struct message m;
    struct writer packed = {0};
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("b");
    m.data = SPAN("{\"_placeholder\":true,\"num\":0}");
    m.argc = 1;
    attachments_put(&packed, SPAN("abc"));
    m.attachments = writer_span(&packed);
    assert_int_equal(client_send(w->h.client, &m), 0);
    message_deinit(&m);
    writer_deinit(&packed);
    assert_string_equal(get(w), "451-[\"b\",{\"_placeholder\":true,\"num\":0}]\x1e"
                                "bYWJj");
    close_world(w);
}

/* An event with so many bytes of text is polled by who sends these fields. */
static const char *poll_with(struct world *w, size_t size, const char *fields) {
    struct writer args = {0};
    char request[256];
    writer_putc(&args, '"');
    memset(writer_reserve(&args, size), 'x', size);
    writer_advance(&args, size);
    writer_put(&args, "\"", 2); /* with its NUL */
    house_emit(&w->h, "r", "e", writer_span(&args).at, 1);
    writer_deinit(&args);
    snprintf(request, sizeof request,
             "GET /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: a\r\n%s\r\n", w->sid,
             fields);
    return site_ask(&w->h.s, request);
}

#define TAKES_GZIP "Accept-Encoding: gzip, deflate, br\r\n"
#define AROUND (sizeof "42[\"e\",\"\"]" - 1)

static void packs_long_answers(void **state) {
    (void)state;
    struct world *w = open_world();
    start(w);
    connect_polling(w);
    hub_join(w->h.client, SPAN("r"));
    for (int i = 0; i < 2; i++) { /* the deflater serves again */
        const char *answer = poll_with(w, 1024 - AROUND, TAKES_GZIP);
        assert_string_equal(answer_field(answer, "Content-Encoding"), "gzip");
        assert_string_equal(answer_field(answer, "Vary"), "Accept-Encoding");
        assert_string_equal(answer_field(answer, "Content-Type"), "text/plain; charset=UTF-8");
        assert_memory_equal(answer_body(answer), "\x1f\x8b", 2);
    }
    const char *answer = poll_with(w, 1023 - AROUND, TAKES_GZIP);
    assert_string_equal(answer_field(answer, "Content-Encoding"), "");
    assert_string_equal(answer_field(answer, "Vary"), "");
    assert_int_equal(strlen(answer_body(answer)), 1023);
    answer = poll_with(w, 1024 - AROUND, "");
    assert_string_equal(answer_field(answer, "Content-Encoding"), "");
    assert_string_equal(answer_field(answer, "Vary"), "Accept-Encoding");
    assert_int_equal(strlen(answer_body(answer)), 1024);
    close_world(w);
}

static void over_websocket(void **state) {
    (void)state;
    struct world *w = open_world();
    start(w);
    connect_ws(w);
    house_say(&w->h, "420[\"echo\",[1]]");
    hear(w, "430[[1]]");
    house_say(&w->h, "451-[\"b\",{\"_placeholder\":true,\"num\":0}]");
    say_binary(w, "xyz");
    RUN_UNTIL(&w->h.s.f, memmem(writer_span(&w->h.log).at, writer_len(&w->h.log), "xyz", 3));
    struct message m;
    message_init(&m, MESSAGE_BINARY);
    m.data = SPAN("pq");
    assert_int_equal(client_send(w->h.client, &m), 0);
    message_deinit(&m);
    /* The frames lie side by side. */
    hear(w, "451-[\"message\",{\"_placeholder\":true,\"num\":0}]\x82\x02pq");
    house_say(&w->h, "41");
    RUN_UNTIL(&w->h.s.f, w->h.client == NULL);
    /* An unknown namespace closes the connection. */
    house_say(&w->h, "42[\"x\"]");
    RUN_UNTIL(&w->h.s.f, eio_server_count(&w->engine) == 1);
    close_world(w);
}

static void upgrades(void **state) {
    (void)state;
    struct world *w = open_world();
    start(w);
    connect_polling(w);
    hub_join(w->h.client, SPAN("r"));
    start_poll(w);
    upgrade(w);
    house_say(&w->h, "2probe");
    hear(w, "3probe");
    assert_string_equal(polled(w), "6");
    /* What is said meanwhile is kept, and comes before what is said later. */
    house_emit(&w->h, "r", "said", "1", 1);
    struct message m;
    message_init(&m, MESSAGE_BINARY);
    m.data = SPAN("pq");
    assert_int_equal(client_send(w->h.client, &m), 0);
    message_deinit(&m);
    house_say(&w->h, "5");
    hear(w, "42[\"said\",1]\x81\x2d"
            "451-[\"message\",{\"_placeholder\":true,\"num\":0}]\x82\x02pq");
    assert_int_equal(w->h.client->ops->wire, WIRE_SIO_WS);
    house_say(&w->h, "420[\"echo\",1]");
    hear(w, "430[1]");
    assert_int_equal(w->h.s.f.metrics.clients[WIRE_SIO_WS], 1);
    assert_int_equal(w->h.s.f.metrics.clients[WIRE_SIO_POLLING], 0);
    /* Neither polls nor a second WebSocket are welcome any more. */
    struct remote *session = w->h.s.client;
    w->h.s.client = w->poll;
    w->poll = session;
    upgrade(w);
    RUN_UNTIL(&w->h.s.f, received_ws(&w->h).len >= 2);
    assert_memory_equal(received_ws(&w->h).at, "\x88\x00", 2);
    site_connect(&w->h.s);
    assert_string_equal(get(w), "{\"code\":3,\"message\":\"Bad request\"}");
    close_world(w);
}

static void an_upgrade_that_never_ends(void **state) {
    (void)state;
    struct world *w = open_world();
    w->h.s.f.config.upgrade_timeout = 20;
    start(w);
    connect_polling(w);
    upgrade(w);
    house_say(&w->h, "2probe");
    hear(w, "\x88");
    assert_int_equal(w->h.client->ops->wire, WIRE_SIO_POLLING);
    site_connect(&w->h.s);
    post(w, "420[\"echo\",1]");
    assert_string_equal(get(w), "430[1]");
    close_world(w);
}

static void heartbeats(void **state) {
    (void)state;
    struct world *w = open_world();
    w->h.s.f.config.ping_interval = 10;
    start(w);
    connect_polling(w);
    assert_string_equal(get(w), "2");
    post(w, "3");
    assert_string_equal(get(w), "2");
    w->h.s.f.config.ping_timeout = 10;
    post(w, "3");
    assert_string_equal(get(w), "2");
    start_poll(w);
    assert_string_equal(polled(w), "1");
    RUN_UNTIL(&w->h.s.f, w->h.client == NULL);
    assert_true(house_logged(&w->h, "close ping timeout;"));
    close_world(w);
}

static void nobody_connects(void **state) {
    (void)state;
    struct world *w = open_world();
    w->h.s.f.config.connect_timeout = 10;
    start(w);
    handshake(w);
    start_poll(w);
    assert_string_equal(polled(w), "1");
    close_world(w);
}

/* A line that is full leaves the POST without an answer until it has room again. */
static void a_full_line(void **state) {
    (void)state;
    struct world *w = open_world();
    w->h.take = 2;
    start(w);
    connect_polling(w);
    char request[512];
    static const char body[] = "42[\"a\"]\x1e"
                               "42[\"b\"]\x1e"
                               "42[\"c\"]";
    snprintf(request, sizeof request,
             "POST /socket.io/?EIO=4&transport=polling&sid=%s HTTP/1.1\r\nHost: a\r\n"
             "Content-Length: %zu\r\n\r\n%s",
             w->sid, sizeof body - 1, body);
    writer_clear(&w->h.s.client->received);
    remote_sends(w->h.s.client, request);
    RUN_UNTIL(&w->h.s.f, house_logged(&w->h, "event a;event b;"));
    assert_false(remote_has(w->h.s.client, "ok"));
    w->h.client->ops->resume(w->h.client);
    RUN_UNTIL(&w->h.s.f, remote_has(w->h.s.client, "ok"));
    assert_true(house_logged(&w->h, "event a;event b;event c;"));
    close_world(w);
}

static void plain_engine(void **state) {
    (void)state;
    struct world *w = open_world();
    w->raw = true;
    start(w);
    handshake(w);
    post(w, "4hello\x1e"
            "bAQID");
    assert_string_equal(get(w), "4hello\x1e"
                                "bAQID");
    assert_int_equal(answer_status(ask(w, "GET", "&transport=websocket", "")), 400);
    upgrade(w);
    house_say(&w->h, "2probe");
    hear(w, "3probe");
    house_say(&w->h, "5");
    house_say(&w->h, "4again");
    hear(w, "4again");
    say_binary(w, "pq");
    hear(w, "\x82\x02pq");
    client_disconnect(w->h.client, 1000, "out");
    RUN_UNTIL(&w->h.s.f, w->h.client == NULL);
    close_world(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(polls),
        cmocka_unit_test(namespaces),
        cmocka_unit_test(refuses),
        cmocka_unit_test(a_second_poll_ends_the_session),
        cmocka_unit_test(a_closing_client_hears_noop),
        cmocka_unit_test(a_broken_poll_ends_the_session),
        cmocka_unit_test(malformed_packets_close),
        cmocka_unit_test(limits_a_post),
        cmocka_unit_test(binary_over_polling),
        cmocka_unit_test(packs_long_answers),
        cmocka_unit_test(over_websocket),
        cmocka_unit_test(upgrades),
        cmocka_unit_test(an_upgrade_that_never_ends),
        cmocka_unit_test(heartbeats),
        cmocka_unit_test(nobody_connects),
        cmocka_unit_test(a_full_line),
        cmocka_unit_test(plain_engine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
