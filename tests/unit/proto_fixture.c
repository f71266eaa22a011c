/* The worker and the app of proto_fixture.h. */
#include "proto_fixture.h"

#include "hub/attachments.h"
#include "ws_frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct house *of(struct app *app) {
    return (struct house *)((char *)app - offsetof(struct house, app));
}

static bool taken(struct house *h) {
    h->asked++;
    return !h->take || h->asked % h->take;
}

static void log_spans(struct house *h, const char *what, struct span a, struct span b) {
    writer_puts(&h->log, what);
    writer_put_span(&h->log, a);
    if (b.len) {
        writer_putc(&h->log, ' ');
        writer_put_span(&h->log, b);
    }
    writer_putc(&h->log, ';');
}

/* --- the app -------------------------------------------------------------------------------- */

static void on_connect(struct app *app, struct client *c) {
    struct house *h = of(app);
    h->client = c;
    writer_puts(&h->log, "connect;");
}

static bool on_message(struct app *app, struct client *c, struct span data, bool binary) {
    struct house *h = of(app);
    log_spans(h, binary ? "binary " : "text ", data, (struct span){0});
    struct message m;
    message_init(&m, binary ? MESSAGE_BINARY : MESSAGE_TEXT);
    m.data = data;
    (void)client_send(c, &m);
    message_deinit(&m);
    return taken(h);
}

static void answer(struct ack *ack, const char *args, uint32_t argc, const char *code,
                   const char *detail) {
    if (ack) {
        ack->answer(ack, &(struct reply){.args = span_of(args),
                                         .argc = argc,
                                         .code = span_of(code),
                                         .detail = span_of(detail)});
    }
}

static bool on_event(struct app *app, struct client *c, struct span event, struct span args,
                     struct span attachments, struct ack *ack) {
    struct house *h = of(app);
    struct span bytes;
    (void)c;
    log_spans(h, "event ", event, args);
    while (attachments_next(&attachments, &bytes)) {
        log_spans(h, "attached ", bytes, (struct span){0});
    }
    if (span_is(event, "echo")) {
        char text[256];
        snprintf(text, sizeof text, "%.*s", (int)args.len, args.at);
        answer(ack, text, strchr(text, ',') ? 2 : 1, NULL, NULL);
    } else if (span_is(event, "fail")) {
        answer(ack, NULL, 0, "forbidden", "\"why\"");
    } else if (span_is(event, "later")) {
        h->later = ack;
    } else {
        if (span_is(event, "emit")) {
            house_emit(h, "r", "said", "1", 1);
        }
        answer(ack, NULL, 0, NULL, NULL);
    }
    return taken(h);
}

static bool on_join(struct app *app, struct client *c, struct span room, struct span options,
                    struct ack *ack) {
    struct house *h = of(app);
    log_spans(h, "join ", room, options);
    if (span_is(room, "no")) {
        answer(ack, NULL, 0, "forbidden", NULL);
    } else if (span_is(room, "later")) {
        h->later = ack;
    } else {
        assert_int_equal(hub_join(c, room), 0);
        answer(ack, "\"in\"", 1, NULL, NULL);
    }
    return taken(h);
}

static bool on_leave(struct app *app, struct client *c, struct span room, struct ack *ack) {
    log_spans(of(app), "leave ", room, (struct span){0});
    hub_leave(c, room);
    answer(ack, NULL, 0, NULL, NULL);
    return taken(of(app));
}

static void on_answer(struct app *app, struct client *c, uint64_t id, struct span args,
                      struct span attachments, struct span error) {
    (void)c;
    (void)attachments;
    writer_printf(&of(app)->log, "answer %u", (unsigned)id);
    log_spans(of(app), " ", args, error);
}

static void on_close(struct app *app, struct client *c, const char *reason) {
    struct house *h = of(app);
    log_spans(h, "close ", span_of(reason), (struct span){0});
    if (h->hold_release) {
        h->held = c;
        return;
    }
    if (h->client == c) {
        h->client = NULL;
    }
    client_release(c);
}

static void drop_session(struct app *app, void *script) {
    assert_ptr_equal(script, &of(app)->verdict);
    of(app)->dropped++;
}

/* --- the worker ----------------------------------------------------------------------------- */

static void route(struct exchange *x, void *data) {
    struct house *h = data;
    const struct request *r = exchange_request(x);
    hub_set_now(h->hub, uv_now(&h->s.f.loop));
    if (ws_wanted(r)) {
        if (ws_check(x)) {
            ws_accept(h->ws, x, h->ns, &h->verdict);
        }
    } else if (sse_wanted(r)) {
        sse_accept(h->sse, x, h->ns, &h->verdict, true);
    } else if (sse_post(h->sse, x, h->ns)) {
        sse_post_once(h->sse, x, h->ns, &h->verdict);
    }
}

static void defer(void *io, struct deferred *deferred) {
    io_defer_closed(io, deferred);
}

void house_init(struct house *h) {
    memset(h, 0, sizeof *h);
    site_init(&h->s);
    struct config *config = &h->s.f.config;
    config->ping_interval = config->ping_timeout = 60000;
    config->control_rate = 100;
    config->max_payload = 1 << 20;
    config->max_rooms = 1000;
    config->max_room_name = 256;
    config->deflate = true;
    config->deflate_min = 16;
    h->app = (struct app){.on_connect = on_connect,
                          .on_message = on_message,
                          .on_event = on_event,
                          .on_join = on_join,
                          .on_leave = on_leave,
                          .on_answer = on_answer,
                          .on_close = on_close,
                          .drop_session = drop_session};
    h->settings = (struct ns_settings){.events = true, .max_payload = 1 << 20};
    h->verdict = (struct verdict){.allowed = true, .user_id = "ann", .script = &h->verdict};
    h->s.answer = route;
    h->s.data = h;
}

void house_start(struct house *h) {
    struct fixture *f = &h->s.f;
    h->hub = hub_new(&f->config, &f->metrics, &f->io.arena, &h->app, defer, &f->io);
    h->ns = hub_ns(h->hub, SPAN("/"), true);
    ns_configure(h->ns, &h->settings);
    h->ws = ws_server_new(&f->io, &f->config, &h->app, &f->metrics);
    h->sse = sse_server_new(&f->io, &f->config, &h->app, &f->metrics);
    site_start(&h->s);
}

void house_deinit(struct house *h) {
    site_deinit(&h->s);
    if (h->held) {
        client_release(h->held);
    }
    assert_int_equal(ws_server_count(h->ws), 0);
    assert_int_equal(sse_server_count(h->sse), 0);
    ws_server_free(h->ws);
    sse_server_free(h->sse);
    hub_free(h->hub);
    writer_deinit(&h->log);
}

bool house_logged(const struct house *h, const char *text) {
    return span_is(writer_span(&h->log), text);
}

void house_answer_later(struct house *h, const char *args, uint32_t argc) {
    answer(h->later, args, argc, NULL, NULL);
    h->later = NULL;
}

void house_emit(struct house *h, const char *room, const char *event, const char *args,
                uint32_t argc) {
    char offset[64];
    struct message m;
    message_init(&m, MESSAGE_EVENT);
    m.event = span_of(event);
    m.data = span_of(args);
    m.argc = argc;
    hub_publish(h->ns, span_of(room), &m, NULL, offset);
    message_deinit(&m);
}

void house_upgrade(struct house *h, const char *fields) {
    struct writer text = {0};
    writer_printf(&text,
                  "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n"
                  "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n",
                  fields);
    remote_send(h->s.client, writer_span(&text).at, writer_len(&text));
    writer_deinit(&text);
    RUN_UNTIL(&h->s.f, remote_has(h->s.client, "\r\n\r\n"));
    assert_int_equal(answer_status(remote_text(h->s.client)), 101);
}

struct span received_ws(const struct house *h) {
    struct span all = writer_span(&h->s.client->received);
    const char *body = memmem(all.at, all.len, "\r\n\r\n", 4);
    assert_non_null(body);
    return (struct span){body + 4, (size_t)(all.at + all.len - body - 4)};
}

void house_say(struct house *h, const char *text) {
    struct writer frame = {0};
    put_frame(&frame, FIN | 1, span_of(text));
    remote_send(h->s.client, writer_span(&frame).at, writer_len(&frame));
    writer_deinit(&frame);
}
