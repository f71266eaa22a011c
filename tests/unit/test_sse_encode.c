/* proto/sse_encode: every kind of message as a block, read back as a browser would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "hub/message.h"
#include "proto/sse_encode.h"

static void check(const struct message *m, const char *expected) {
    struct writer out = {0};
    sse_encode(&out, m);
    writer_putc(&out, '\0');
    assert_string_equal(writer_span(&out).at, expected);
    writer_deinit(&out);
}

static struct message event(const char *name, const char *args, uint32_t argc) {
    return (struct message){
        .kind = MESSAGE_EVENT, .event = span_of(name), .data = span_of(args), .argc = argc};
}

static void events_have_a_name_and_one_value(void **state) {
    (void)state;
    struct message m = event("said", "{\"a\":1}", 1);
    check(&m, "event: said\ndata: {\"a\":1}\n\n");
    m.offset = SPAN("epoch:12");
    check(&m, "event: said\ndata: {\"a\":1}\nid: epoch:12\n\n");
    m = event("said", "1,\"b\"", 2);
    check(&m, "event: said\ndata: [1,\"b\"]\n\n");
    m = event("said", "", 0);
    check(&m, "event: said\ndata: null\n\n");
    m = event("said", "\"text\"", 1);
    check(&m, "event: said\ndata: \"text\"\n\n");
}

static void the_event_message_needs_no_name(void **state) {
    (void)state;
    struct message m = event("message", "{\"a\":1}", 1);
    check(&m, "data: {\"a\":1}\n\n");
    m = event("message", "\"a\\nb \\u00e9\"", 1);
    check(&m, "data: a\ndata: b \xc3\xa9\n\n");
    m = event("message", "\"a\",\"b\"", 2);
    check(&m, "data: [\"a\",\"b\"]\n\n");
}

static void text_of_several_lines(void **state) {
    (void)state;
    struct message m = {.kind = MESSAGE_TEXT, .data = SPAN("a\nb\r\nc\rd")};
    check(&m, "data: a\ndata: b\ndata: c\ndata: d\n\n");
    m.data = SPAN("");
    check(&m, "data: \n\n");
    m.data = SPAN("\n");
    check(&m, "data: \ndata: \n\n");
    m.data = SPAN("a\r");
    check(&m, "data: a\ndata: \n\n");
    m.data = SPAN("\r\n\r\n");
    check(&m, "data: \ndata: \ndata: \n\n");
    m.data = SPAN("\n\r");
    check(&m, "data: \ndata: \ndata: \n\n");
}

static void bytes_travel_in_base64(void **state) {
    (void)state;
    struct message m = {.kind = MESSAGE_BINARY, .data = SPAN("\xff\x00\n")};
    check(&m, "event: binary\ndata: /wAK\n\n");
    m.data = SPAN("");
    check(&m, "event: binary\ndata: \n\n");
}

static void names_cannot_add_fields(void **state) {
    (void)state;
    struct message m = event("a\ndata: evil\r\n\rid: x", "1", 1);
    check(&m, "event: adata: evilid: x\ndata: 1\n\n");
    m = event("a", "1", 1);
    m.offset = SPAN("1\n\ndata: x");
    check(&m, "event: a\ndata: 1\nid: 1data: x\n\n");
}

static void replies_are_not_for_streams(void **state) {
    (void)state;
    struct message m = {.kind = MESSAGE_REPLY, .id = SPAN("1")};
    check(&m, "");
    m = (struct message){.kind = MESSAGE_REPLY, .offset = SPAN("e:5")};
    check(&m, "id: e:5\n\n"); /* a position */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_have_a_name_and_one_value),
        cmocka_unit_test(the_event_message_needs_no_name),
        cmocka_unit_test(text_of_several_lines),
        cmocka_unit_test(bytes_travel_in_base64),
        cmocka_unit_test(names_cannot_add_fields),
        cmocka_unit_test(replies_are_not_for_streams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
