/* proto/sio_codec and proto/eio_codec: the packets of Socket.IO 5 and Engine.IO 4, read (cut short
 * at every byte too) and written; and the binary values of hub/attachments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/attachments.h"
#include "hub/message.h"
#include "proto/eio_codec.h"
#include "proto/sio_codec.h"

static void describe(const struct sio_packet *p, char *out, size_t size) {
    snprintf(out, size, "%d n=%u ns=%.*s id=%.*s event=%.*s args=%.*s payload=%.*s", (int)p->type,
             p->attachments, (int)p->ns.len, p->ns.at, (int)p->id.len, p->id.at ? p->id.at : "",
             (int)p->event.len, p->event.at ? p->event.at : "", (int)p->args.len,
             p->args.at ? p->args.at : "", (int)p->payload.len, p->payload.at ? p->payload.at : "");
}

/* Reads from a block of exactly the text's size. NULL: it must be refused. */
static void check(const char *text, const char *expected) {
    size_t len = strlen(text);
    char *block = malloc(len + 1);
    memcpy(block, text, len);
    for (size_t cut = 0; cut <= len; cut++) { /* a prefix may be a packet, but is never misread */
        char *part = malloc(cut ? cut : 1);
        memcpy(part, text, cut);
        struct sio_packet p;
        bool good = sio_packet_read(&p, (struct span){part, cut});
        if (cut == len) {
            char found[512];
            describe(&p, found, sizeof found);
            assert_string_equal(good ? found : "refused", expected ? expected : "refused");
        }
        sio_packet_deinit(&p);
        free(part);
    }
    free(block);
}

static void connects(void **state) {
    (void)state;
    check("0", "0 n=0 ns=/ id= event= args= payload={}");
    check("0{\"token\":\"x\"}", "0 n=0 ns=/ id= event= args= payload={\"token\":\"x\"}");
    check("0/custom", "0 n=0 ns=/custom id= event= args= payload={}");
    check("0/custom,", "0 n=0 ns=/custom id= event= args= payload={}");
    check("0/custom?a=1,{\"t\":1}", "0 n=0 ns=/custom?a=1 id= event= args= payload={\"t\":1}");
    check("0[]", NULL);
    check("0\"text\"", NULL);
    check("0{\"a\":01}", NULL);
    check("0{} x", NULL);
    check("1", "1 n=0 ns=/ id= event= args= payload=");
    check("1/admin,", "1 n=0 ns=/admin id= event= args= payload=");
    check("1{}", NULL);
    check("4{\"message\":\"no\"}", NULL);
}

static void events(void **state) {
    (void)state;
    check("2[\"say\"]", "2 n=0 ns=/ id= event=say args= payload=");
    check("2[\"say\" ,1, {\"a\":[]} ] ", "2 n=0 ns=/ id= event=say args=1, {\"a\":[]}  payload=");
    check("2/chat,17[\"s\\u0061y\",\"x\"]", "2 n=0 ns=/chat id=17 event=say args=\"x\" payload=");
    check("20[1,2]", "2 n=0 ns=/ id=0 event=1 args=2 payload=");
    check("2[\"\"]", "2 n=0 ns=/ id= event= args= payload=");
    check("2[\"__proto__\",{\"__proto__\":1}]",
          "2 n=0 ns=/ id= event=__proto__ args={\"__proto__\":1} payload=");
    check("2", NULL);
    check("2[]", NULL);
    check("2{}", NULL);
    check("2[null]", NULL);
    check("2[{\"a\":1}]", NULL);
    check("2[\"connect\"]", NULL);
    check("2[\"disconnecting\",1]", NULL);
    check("2[\"say\",nonsense]", NULL);
    check("2[\"say\",1", NULL);
    check("2[\"say\",1]]", NULL);
    check("2/chat", NULL);
    check("2[\"say\",\"\xff\"]", NULL);
    check("21234567890123456[\"say\"]", NULL); /* an id of 16 digits */
    check("7[\"say\"]", NULL);
    check("x", NULL);
    check("", NULL);
}

static void acks_and_binary(void **state) {
    (void)state;
    check("312[\"ok\",2]", "3 n=0 ns=/ id=12 event= args=\"ok\",2 payload=");
    check("3/admin,0[]", "3 n=0 ns=/admin id=0 event= args= payload=");
    check("3[1]", NULL);
    check("31{}", NULL);
    check("52-/a,3[\"b\",{\"_placeholder\":true,\"num\":0}]",
          "5 n=2 ns=/a id=3 event=b args={\"_placeholder\":true,\"num\":0} payload=");
    check("61-/a,456[{\"_placeholder\":true,\"num\":0}]",
          "6 n=1 ns=/a id=456 event= args={\"_placeholder\":true,\"num\":0} payload=");
    check("50-[\"b\"]", NULL);
    check("51-[\"b\",{\"_placeholder\":true,\"num\":1}]", NULL);
    check("51-[\"b\",[{\"num\":-1,\"_placeholder\":true}]]", NULL);
    check("51-[\"b\",{\"a\":{\"_placeholder\":true}}]", NULL);
    check("51-[\"b\",{\"_placeholder\":[true],\"num\":{}}]",
          "5 n=1 ns=/ id= event=b args={\"_placeholder\":[true],\"num\":{}} payload=");
    check("564-[\"b\"]", "5 n=64 ns=/ id= event=b args= payload=");
    check("565-[\"b\"]", NULL);
    check("5999999999999999999-[\"b\"]", NULL);
    check("5-[\"b\"]", NULL);
    check("51[\"b\"]", NULL);
    check("51.5-[\"b\"]", NULL);
    check("5", NULL);
}

static void expect(struct writer *out, const char *text) {
    assert_int_equal(writer_len(out), strlen(text));
    assert_memory_equal(writer_span(out).at, text, strlen(text));
    writer_clear(out);
}

static void writes_packets(void **state) {
    (void)state;
    struct writer out = {0}, packed = {0};
    struct message m;
    sio_put_connect(&out, SPAN("/"), "abc", NULL);
    expect(&out, "0{\"sid\":\"abc\"}");
    sio_put_connect(&out, SPAN("/a"), "abc", NULL);
    expect(&out, "0/a,{\"sid\":\"abc\"}");
    sio_put_connect_error(&out, SPAN("/a"), SPAN("no\n"), (struct span){0});
    expect(&out, "4/a,{\"message\":\"no\\n\"}");
    sio_put_connect_error(&out, SPAN("/"), SPAN("no"), SPAN("[1]"));
    expect(&out, "4{\"message\":\"no\",\"data\":[1]}");
    sio_put_disconnect(&out, SPAN("/a"));
    expect(&out, "1/a,");

    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("said");
    assert_true(sio_put_message(&out, SPAN("/"), &m, (struct span){0}));
    expect(&out, "2[\"said\"]");
    m.data = SPAN("1,\"b\"");
    m.argc = 2;
    m.id = SPAN("9");
    assert_true(sio_put_message(&out, SPAN("/a"), &m, (struct span){0}));
    expect(&out, "2/a,9[\"said\",1,\"b\"]");
    attachments_put(&packed, SPAN("\x01\x02"));
    m.attachments = writer_span(&packed);
    assert_true(sio_put_message(&out, SPAN("/a"), &m, (struct span){0}));
    expect(&out, "51-/a,9[\"said\",1,\"b\"]");

    message_init(&m, MESSAGE_REPLY);
    assert_false(sio_put_message(&out, SPAN("/"), &m, (struct span){0}));
    m.id = SPAN("3");
    assert_true(sio_put_message(&out, SPAN("/"), &m, (struct span){0}));
    expect(&out, "33[]");
    m.data = SPAN("null");
    m.attachments = writer_span(&packed);
    assert_true(sio_put_message(&out, SPAN("/"), &m, (struct span){0}));
    expect(&out, "61-3[null]");
    m.code = SPAN("forbidden");
    m.detail = SPAN("\"why\"");
    assert_true(sio_put_message(&out, SPAN("/x"), &m, (struct span){0}));
    expect(&out, "3/x,3[{\"error\":\"forbidden\",\"detail\":\"why\"}]");

    message_init(&m, MESSAGE_TEXT);
    m.data = SPAN("a\"b");
    assert_true(sio_put_message(&out, SPAN("/"), &m, (struct span){0}));
    expect(&out, "2[\"message\",\"a\\\"b\"]");
    message_init(&m, MESSAGE_BINARY);
    assert_true(sio_put_message(&out, SPAN("/"), &m, (struct span){0}));
    expect(&out, "51-[\"message\",{\"_placeholder\":true,\"num\":0}]");
    writer_deinit(&out);
    writer_deinit(&packed);
}

static void packs_attachments(void **state) {
    (void)state;
    struct writer packed = {0};
    struct span bytes;
    attachments_put(&packed, SPAN("one"));
    attachments_put(&packed, (struct span){0});
    attachments_put(&packed, SPAN("three"));
    assert_int_equal(attachments_count(writer_span(&packed)), 3);
    assert_true(attachments_get(writer_span(&packed), 2, &bytes));
    assert_true(span_is(bytes, "three"));
    assert_true(attachments_get(writer_span(&packed), 1, &bytes));
    assert_int_equal(bytes.len, 0);
    assert_false(attachments_get(writer_span(&packed), 3, &bytes));
    assert_false(attachments_get((struct span){0}, 0, &bytes));
    writer_deinit(&packed);
}

/* Writes down the packets of a payload. */
static void payload(const char *text, const char *expected) {
    char found[256] = "";
    struct span rest = span_of(text), packet;
    struct writer scratch = {0};
    while (eio_payload_next(&rest, &packet)) {
        struct eio_packet p;
        size_t used = strlen(found);
        if (!eio_packet_read(&p, packet, &scratch)) {
            snprintf(found + used, sizeof found - used, "bad;");
            break;
        }
        snprintf(found + used, sizeof found - used, "%d%s %.*s;", (int)p.type, p.binary ? "b" : "",
                 (int)p.data.len, p.data.at ? p.data.at : "");
    }
    writer_deinit(&scratch);
    assert_string_equal(found, expected);
}

static void engine_packets(void **state) {
    (void)state;
    payload("4hello\x1e"
            "2\x1e"
            "4world",
            "4 hello;2 ;4 world;");
    payload("2probe", "2 probe;");
    payload("4hello\x1e"
            "bYWJj",
            "4 hello;4b abc;");
    payload("bYWI=", "4b ab;");
    payload("b", "4b ;");
    payload("4", "4 ;");
    payload("", "bad;");
    payload("4a\x1e", "4 a;bad;");
    payload("abc", "bad;");
    payload("7", "bad;");
    payload("b*", "bad;");
    struct writer out = {0};
    eio_put_base64(&out, SPAN("ab"));
    expect(&out, "bYWI=");
    eio_put_base64(&out, (struct span){"", 0});
    expect(&out, "b");
    writer_deinit(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects),        cmocka_unit_test(events),
        cmocka_unit_test(acks_and_binary), cmocka_unit_test(writes_packets),
        cmocka_unit_test(engine_packets),  cmocka_unit_test(packs_attachments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
