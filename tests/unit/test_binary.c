/* Binary values between handlers and clients: mw.binary, placeholders that become bytes, and base64
 * for wires that have only text; and the auth that a client presents as JSON. */
#include "app_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hub/attachments.h"

static void event_with(struct app_client *c, const char *args, const char *first,
                       const char *second) {
    struct writer packed = {0};
    attachments_put(&packed, span_of(first));
    attachments_put(&packed, span_of(second));
    (void)c->f->app->on_event(c->f->app, &c->client, SPAN("b"), span_of(args), writer_span(&packed),
                              NULL);
    writer_deinit(&packed);
}

static void placeholders_become_bytes(void **state) {
    struct app_fixture *f = *state;
    app_serve(f,
              HEAD "function app.events.b(c, v, list)\n"
                   "  c:emit('got', #v, v.bytes, tostring(v), v == mw.binary('one'), v, #list[1])\n"
                   "end\n"
                   "return app");
    struct app_client *c = app_connect(f, "/");
    event_with(c,
               "{\"_placeholder\":true,\"num\":0},[{\"num\":1,\"_placeholder\":true},"
               "{\"_placeholder\":false,\"num\":1}]",
               "one", "second");
    assert_string_equal(app_sent(c),
                        "{\"event\":\"got\",\"args\":[3,\"one\",\"one\",true,\"b25l\",6]}\n");
    /* One that stands for nothing is a bad message, and the handler does not run. */
    event_with(c, "{\"_placeholder\":true,\"num\":2}", "one", "second");
    assert_string_equal(app_sent(c), "{\"error\":{\"code\":\"bad_message\"}}\n");
    app_close(c, "gone");
    app_client_free(c);
}

static void a_waiting_event_keeps_its_bytes(void **state) {
    struct app_fixture *f = *state;
    app_serve(f, HEAD "function app.events.wait(c) c:timeout(9):request('go') end\n"
                      "function app.events.b(c, v) c:emit('got', v.bytes) end\n"
                      "return app");
    struct app_client *c = app_connect(f, "/");
    app_event(c, "wait", "", NULL);
    uint64_t id = app_asked(c);
    event_with(c, "{\"_placeholder\":true,\"num\":1}", "one", "second");
    (void)app_sent(c);
    app_answer(c, id, "1");
    assert_string_equal(app_sent(c), "{\"event\":\"got\",\"data\":\"second\"}\n");
    app_close(c, "gone");
    app_client_free(c);
}

static void json_text_has_base64(void **state) {
    struct app_fixture *f = *state;
    app_serve(f, HEAD "function app.events.b(c)\n"
                      "  c:emit('text', mw.json.encode({ mw.binary('one'), 1 }))\n"
                      "end\n"
                      "return app");
    struct app_client *c = app_connect(f, "/");
    app_event(c, "b", "", NULL);
    assert_string_equal(app_sent(c), "{\"event\":\"text\",\"data\":\"[\\\"b25l\\\",1]\"}\n");
    app_close(c, "gone");
    app_client_free(c);
}

struct asked {
    struct question question;
    struct app *app;
    char code[32];
    bool allowed;
};

static void on_verdict(struct question *q, const struct verdict *verdict) {
    struct asked *asked = (struct asked *)q;
    asked->allowed = verdict->allowed;
    snprintf(asked->code, sizeof asked->code, "%.*s", (int)verdict->code.len,
             verdict->code.at ? verdict->code.at : "");
    asked->app->drop_session(asked->app, verdict->script);
}

static void auth_is_what_the_client_presents(void **state) {
    struct app_fixture *f = *state;
    const char *error;
    struct request_field host = {SPAN("Host"), SPAN("a")};
    struct request_parts parts = {.method = SPAN("GET"),
                                  .target = SPAN("/?token=query"),
                                  .minor = 1,
                                  .address = "",
                                  .fields = &host,
                                  .field_count = 1};
    app_serve(f, HEAD "function app.on_auth(r)\n"
                      "  if r.auth.token == 'x' then return { id = 'ann' } end\n"
                      "  return nil, r.auth.token or 'none'\n"
                      "end\n"
                      "return app");
    struct request *r = request_new(&parts, &error);
    struct ns *ns = f->app->find_ns(f->app, SPAN("/"));
    struct asked asked = {.question = {on_verdict}, .app = f->app};
    f->app->on_auth(f->app, ns, r, SPAN("{\"token\":\"x\"}"), &asked.question);
    assert_true(asked.allowed);
    f->app->on_auth(f->app, ns, r, SPAN("{}"), &asked.question);
    assert_false(asked.allowed);
    assert_string_equal(asked.code, "none");
    f->app->on_auth(f->app, ns, r, (struct span){NULL, 0}, &asked.question);
    assert_string_equal(asked.code, "query");
    request_unref(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(placeholders_become_bytes, app_set_up, app_tear_down),
        cmocka_unit_test_setup_teardown(a_waiting_event_keeps_its_bytes, app_set_up, app_tear_down),
        cmocka_unit_test_setup_teardown(json_text_has_base64, app_set_up, app_tear_down),
        cmocka_unit_test_setup_teardown(auth_is_what_the_client_presents, app_set_up,
                                        app_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
