/* See service.h. */
#include "service.h"

#include "ws_frames.h"

#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE 20 /* seconds for what has been written by the same process */

/* --- the server ----------------------------------------------------------------------------- */

static void on_request(struct http_server *http, struct exchange *x) {
    routing_serve(http->data, x);
}

static void on_accept(struct conn *conn, void *data) {
    http_accept(data, conn);
}

void service_open(struct service *s, const char *source) {
    app_fixture_open(&s->app);
    app_serve(&s->app, source);
    struct app_fixture *f = &s->app;
    f->config.max_queue = 256;
    s->routing = (struct routing){.app = f->app};
    s->routing.ws = ws_server_new(&f->io, &f->config, f->app, &f->metrics);
    s->routing.sse = sse_server_new(&f->io, &f->config, f->app, &f->metrics);
    eio_server_init(&s->routing.engine, &f->io, &f->config);
    s->routing.sio = sio_server_new(&s->routing.engine, f->app, &f->metrics);
    s->routing.plain = (struct plain_server){&s->routing.engine, f->app, &f->metrics, {NULL}};
    http_server_init(&s->http, &f->io, &f->config, on_request, &s->routing);
    assert_int_equal(listener_start(&s->listener, &f->io, "127.0.0.1", 0, on_accept, &s->http), 0);
}

void service_close(struct service *s) {
    struct app_fixture *f = &s->app;
    listener_stop(s->listener);
    eio_server_drain(&s->routing.engine);
    io_abort_conns(&f->io);
    io_end_turn(&f->io);
    app_stop(f);
    io_end_turn(&f->io);
    uv_run(&f->loop, UV_RUN_NOWAIT);
    http_server_deinit(&s->http);
    ws_server_free(s->routing.ws);
    sse_server_free(s->routing.sse);
    sio_server_free(s->routing.sio);
    writer_deinit(&s->routing.plain.scratch);
    eio_server_deinit(&s->routing.engine);
    app_fixture_close(f);
}

void service_turn(struct service *s, const struct run *run) {
    count_on(run);
    hub_set_now(s->app.hub, uv_now(&s->app.loop));
    uv_run(&s->app.loop, UV_RUN_ONCE);
    count_off(run);
}

/* --- its clients ---------------------------------------------------------------------------- */

static void guest_open(struct guest *p, struct service *s) {
    const struct timeval patience = {.tv_sec = PATIENCE};
    const int yes = 1;
    struct sockaddr_in address;
    uv_ip4_addr("127.0.0.1", listener_port(s->listener), &address);
    p->unread = (struct writer){NULL};
    p->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(p->fd >= 0);
    assert_int_equal(connect(p->fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(p->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    setsockopt(p->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}

void guest_close(struct guest *p) {
    close(p->fd);
    writer_deinit(&p->unread);
}

void guest_send(struct guest *p, struct span bytes) {
    assert_int_equal(send(p->fd, bytes.at, bytes.len, MSG_NOSIGNAL), bytes.len);
}

void guest_send_text(struct guest *p, const char *text) {
    struct writer frame = {NULL};
    put_frame(&frame, FIN | 1, span_of(text));
    guest_send(p, writer_span(&frame));
    writer_deinit(&frame);
}

static bool receive(struct guest *p, int flags) {
    char *room = writer_reserve(&p->unread, 65536);
    ssize_t got = recv(p->fd, room, 65536, flags);
    if (got > 0) {
        writer_advance(&p->unread, (size_t)got);
    }
    return got > 0;
}

/* Drops everything up to the end of the text, if it is there. */
static bool take(struct guest *p, struct span text) {
    struct span all = writer_span(&p->unread);
    const char *found = all.len ? memmem(all.at, all.len, text.at, text.len) : NULL;
    if (!found) {
        return false;
    }
    size_t rest = (size_t)(all.at + all.len - (found + text.len));
    memmove(p->unread.buf->bytes, found + text.len, rest);
    p->unread.buf->len = rest;
    return true;
}

void guest_take(struct guest *p, struct span text) {
    while (!take(p, text)) {
        if (!receive(p, 0)) {
            fail_msg("%.*s ... did not come", (int)(text.len < 40 ? text.len : 40), text.at);
        }
    }
}

void guest_await(struct guest *p, struct service *s, const char *text) {
    while (!take(p, span_of(text))) {
        hub_set_now(s->app.hub, uv_now(&s->app.loop));
        uv_run(&s->app.loop, UV_RUN_NOWAIT);
        receive(p, MSG_DONTWAIT);
    }
}

/* --- how they come in ----------------------------------------------------------------------- */

static void ask(struct guest *p, const char *method, const char *target, const char *fields,
                const char *body) {
    struct writer text = {NULL};
    writer_printf(&text, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n%s", method, target, fields,
                  body);
    guest_send(p, writer_span(&text));
    writer_deinit(&text);
}

void guest_websocket(struct guest *p, struct service *s, const char *target, const char *fields) {
    char all[512];
    snprintf(all, sizeof all,
             "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s",
             fields);
    guest_open(p, s);
    ask(p, "GET", target, all, "");
    guest_await(p, s, "HTTP/1.1 101 ");
    if (*fields) {
        guest_await(p, s, "Sec-WebSocket-Extensions: permessage-deflate");
    }
    guest_await(p, s, "\r\n\r\n");
}

void guest_stream(struct guest *p, struct service *s, const char *target) {
    guest_open(p, s);
    ask(p, "GET", target, "Accept: text/event-stream\r\n", "");
    guest_await(p, s, "HTTP/1.1 200 ");
    guest_await(p, s, "\r\n\r\n");
}

void guest_socketio(struct guest *p, struct service *s) {
    guest_websocket(p, s, "/socket.io/?EIO=4&transport=websocket", "");
    guest_await(p, s, "0{\"sid\":");
    guest_send_text(p, "40");
    guest_await(p, s, "40{\"sid\":");
    guest_await(p, s, "}");
}

void guest_polling(struct guest *p, struct service *s) {
    char target[128], sid[64];
    guest_open(p, s);
    ask(p, "GET", "/socket.io/?EIO=4&transport=polling", "", "");
    guest_await(p, s, "0{\"sid\":\"");
    struct span rest = writer_span(&p->unread);
    const char *end = memchr(rest.at, '"', rest.len);
    assert_non_null(end);
    snprintf(sid, sizeof sid, "%.*s", (int)(end - rest.at), rest.at);
    snprintf(target, sizeof target, "/socket.io/?EIO=4&transport=polling&sid=%s", sid);
    ask(p, "POST", target, "Content-Type: text/plain\r\nContent-Length: 2\r\n", "40");
    guest_await(p, s, "HTTP/1.1 200 ");
    guest_await(p, s, "\r\n\r\nok");
}
