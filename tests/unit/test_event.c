/* proto/event: the JSON events of clients, cut short at every byte too, and the text of ours. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/message.h"
#include "proto/event.h"

/* Reads from a block of exactly the text's size and writes down what was found. Every proper prefix
 * of it must be refused. */
static void check(const char *text, const char *expected) {
    size_t len = strlen(text);
    for (size_t cut = 0; cut <= len; cut++) {
        char *block = malloc(cut + 1);
        memcpy(block, text, cut);
        struct event e;
        event_read(&e, (struct span){block, cut});
        if (cut < len) {
            assert_int_equal(e.kind, EVENT_BAD);
        } else {
            char found[512];
            snprintf(found, sizeof found, "%s name=%.*s args=%.*s id=%.*s error=%.*s number=%u",
                     (const char *[]){"bad", "event", "join", "leave", "answer"}[e.kind],
                     (int)e.name.len, e.name.at ? e.name.at : "", (int)e.args.len,
                     e.args.at ? e.args.at : "", (int)e.id.len, e.id.at ? e.id.at : "",
                     (int)e.error.len, e.error.at ? e.error.at : "", (unsigned)e.number);
            assert_string_equal(e.kind == EVENT_BAD ? "bad" : found, expected);
        }
        event_deinit(&e);
        free(block);
    }
}

static void events(void **state) {
    (void)state;
    check("{\"event\":\"say\",\"data\":{\"text\":\"hi\"},\"id\":7}",
          "event name=say args={\"text\":\"hi\"} id=7 error= number=7");
    check("{\"event\":\"say\"}", "event name=say args= id= error= number=0");
    check("{\"event\":\"say\",\"args\":[1,\"b\"],\"id\":\"x\"}",
          "event name=say args=1,\"b\" id=\"x\" error= number=0");
    check("{\"event\":\"say\",\"args\":[]}", "event name=say args= id= error= number=0");
    check("{\"event\":\"s\\u0061y\",\"id\":null,\"data\":null,\"room\":{\"a\":[]}}",
          "event name=say args=null id= error= number=0");
    /* The last of duplicate keys wins; args over data. */
    check("{\"event\":\"a\",\"event\":\"b\",\"args\":[2],\"data\":1,\"id\":-1.5}",
          "event name=b args=2 id=-1.5 error= number=0");
    /* What the data says is the app's business. */
    check("{\"ev\\u0065nt\":\"a\",\"data\":nonsense}",
          "event name=a args=nonsense id= error= number=0");
}

static void joins_leaves_and_answers(void **state) {
    (void)state;
    check("{\"join\":\"room:1\",\"id\":8,\"after\":\"x:1\"}",
          "join name=room:1 args={\"join\":\"room:1\",\"id\":8,\"after\":\"x:1\"} id=8 error= "
          "number=8");
    check("{\"leave\":\"room:1\"}", "leave name=room:1 args= id= error= number=0");
    check("{\"id\":3,\"data\":[1]}", "answer name= args=[1] id=3 error= number=3");
    check("{\"id\":3,\"args\":[1,2]}", "answer name= args=1,2 id=3 error= number=3");
    check("{\"id\":3}", "answer name= args= id=3 error= number=3");
    check("{\"id\":3,\"error\":{\"detail\":1,\"code\":\"n\\u006f\"}}",
          "answer name= args= id=3 error=no number=3");
    check("{\"id\":3,\"error\":\"no\"}", "answer name= args= id=3 error=no number=3");
}

static void what_is_none_of_these(void **state) {
    (void)state;
    const char *const bad[] = {
        "null",
        "[]",
        "1",
        "\"event\"",
        "{}",
        "{\"data\":1}",
        "{\"event\":1}",
        "{\"event\":\"\"}",
        "{\"event\":null}",
        "{\"join\":[]}",
        "{\"leave\":{}}",
        "{\"event\":\"a\",\"args\":1}",
        "{\"event\":\"a\",\"args\":{}}",
        "{\"event\":\"a\",\"id\":{}}",
        "{\"event\":\"a\",\"id\":[1]}",
        "{\"event\":\"a\",\"id\":true}",
        "{\"event\":\"a\",\"id\":01}",
        "{\"event\":\"a\"}x",
        "{\"event\":\"a\",}",
        "{\"event\":\"\\ud8zz\"}",
        "{\"event\":\"\xff\"}",
        "{\"id\":0,\"data\":1}",
        "{\"id\":-1,\"data\":1}",
        "{\"id\":\"3\",\"data\":1}",
        "{\"id\":1.5}",
        "{\"id\":3,\"error\":{}}",
        "{\"id\":3,\"error\":null}",
        "{\"id\":3,\"error\":{\"code\":1}}",
        "{event:\"a\"}",
        "",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct event e;
        event_read(&e, span_of(bad[i]));
        if (e.kind != EVENT_BAD) {
            fail_msg("taken: %s", bad[i]);
        }
        event_deinit(&e);
    }
}

static void an_id_at_its_bound_and_one_past(void **state) {
    (void)state;
    for (size_t len = EVENT_ID_MAX; len <= EVENT_ID_MAX + 1; len++) {
        struct writer text = {0};
        writer_puts(&text, "{\"event\":\"a\",\"id\":\"");
        for (size_t i = 0; i < len - 2; i++) {
            writer_putc(&text, 'i');
        }
        writer_puts(&text, "\"}");
        struct event e;
        event_read(&e, writer_span(&text));
        assert_int_equal(e.kind, len <= EVENT_ID_MAX ? EVENT_EVENT : EVENT_BAD);
        event_deinit(&e);
        writer_deinit(&text);
    }
}

static void nesting_at_the_bound_and_one_past(void **state) {
    (void)state;
    for (size_t depth = 63; depth <= 64; depth++) {
        struct writer text = {0};
        writer_puts(&text, "{\"event\":\"a\",\"data\":");
        for (size_t i = 0; i < depth; i++) {
            writer_putc(&text, '[');
        }
        for (size_t i = 0; i < depth; i++) {
            writer_putc(&text, ']');
        }
        writer_putc(&text, '}');
        struct event e;
        event_read(&e, writer_span(&text));
        assert_int_equal(e.kind, depth == 63 ? EVENT_EVENT : EVENT_BAD);
        event_deinit(&e);
        writer_deinit(&text);
    }
}

static void check_written(const struct message *m, const char *expected) {
    struct writer out = {0};
    event_write(&out, m);
    writer_putc(&out, '\0');
    assert_string_equal(writer_span(&out).at, expected);
    writer_deinit(&out);
}

static void our_events(void **state) {
    (void)state;
    struct message m = {.kind = MESSAGE_EVENT, .event = SPAN("said"), .argc = 1};
    m.data = SPAN("{\"a\":1}");
    check_written(&m, "{\"event\":\"said\",\"data\":{\"a\":1}}");
    m.room = SPAN("room:\"1\"");
    m.offset = SPAN("e:1");
    check_written(&m, "{\"event\":\"said\",\"data\":{\"a\":1},\"room\":\"room:\\\"1\\\"\","
                      "\"offset\":\"e:1\"}");
    m.room = m.offset = (struct span){0};
    m.argc = 2;
    m.data = SPAN("1,2");
    m.id = SPAN("3");
    check_written(&m, "{\"event\":\"said\",\"args\":[1,2],\"id\":3}");
    m.argc = 0;
    m.data = m.id = (struct span){0};
    check_written(&m, "{\"event\":\"said\"}");
}

static void our_replies(void **state) {
    (void)state;
    struct message m = {.kind = MESSAGE_REPLY, .id = SPAN("7"), .argc = 1, .data = SPAN("null")};
    check_written(&m, "{\"id\":7,\"data\":null}");
    m.argc = 2;
    m.data = SPAN("1,2");
    check_written(&m, "{\"id\":7,\"args\":[1,2]}");
    m.argc = 0;
    check_written(&m, "{\"id\":7}");
    m.code = SPAN("forbidden");
    check_written(&m, "{\"id\":7,\"error\":{\"code\":\"forbidden\"}}");
    m.detail = SPAN("\"why\"");
    check_written(&m, "{\"id\":7,\"error\":{\"code\":\"forbidden\",\"detail\":\"why\"}}");
    m.id = (struct span){0};
    check_written(&m, "{\"error\":{\"code\":\"forbidden\",\"detail\":\"why\"}}");
}

static void our_replies_to_joins(void **state) {
    (void)state;
    struct message m = {.kind = MESSAGE_REPLY, .argc = 1, .data = SPAN("1"), .offset = SPAN("e:5")};
    check_written(&m, "{\"data\":1,\"offset\":\"e:5\"}");
    m.replay = REPLAY_DONE;
    check_written(&m, "{\"data\":1,\"offset\":\"e:5\",\"recovered\":true}");
    static const char *const reasons[] = {"trimmed", "expired",    "epoch",
                                          "invalid", "no_history", "joined"};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        char expected[100];
        m.replay = (uint8_t)(REPLAY_TRIMMED + i);
        m.argc = 0;
        m.offset = (struct span){0};
        snprintf(expected, sizeof expected, "{\"recovered\":false,\"reason\":\"%s\"}", reasons[i]);
        check_written(&m, expected);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events),
        cmocka_unit_test(joins_leaves_and_answers),
        cmocka_unit_test(what_is_none_of_these),
        cmocka_unit_test(an_id_at_its_bound_and_one_past),
        cmocka_unit_test(nesting_at_the_bound_and_one_past),
        cmocka_unit_test(our_events),
        cmocka_unit_test(our_replies),
        cmocka_unit_test(our_replies_to_joins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
