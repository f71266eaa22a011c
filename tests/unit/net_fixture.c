/* The loop, listener and clients of net_fixture.h. */
#include "net_fixture.h"

#include "base/memory.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WATCHDOG 30000 /* ms: far beyond anything that is waited for */

static void on_watchdog(uv_timer_t *timer) {
    (void)timer;
    fail_msg("what the test waits for did not happen");
}

void fixture_init(struct fixture *f) {
    memset(f, 0, sizeof *f);
    f->config = (struct config){
        .backlog = 128,
        .max_head = 2048,
        .max_headers = 20,
        .max_body = 4096,
        .handshake_timeout = 10000,
        .keep_alive_timeout = 10000,
        .high_mark = 1 << 20,
        .hard_limit = 4 << 20,
    };
    assert_int_equal(uv_loop_init(&f->loop), 0);
    assert_int_equal(io_init(&f->io, &f->loop, &f->config, &f->metrics), 0);
    uv_timer_init(&f->loop, &f->watchdog);
    uv_timer_start(&f->watchdog, on_watchdog, WATCHDOG, 0);
}

void fixture_listen(struct fixture *f, void (*on_accept)(struct conn *conn, void *data),
                    void *data) {
    assert_int_equal(listener_start(&f->listener, &f->io, "127.0.0.1", 0, on_accept, data), 0);
    f->port = listener_port(f->listener);
    assert_int_not_equal(f->port, 0);
}

void fixture_deinit(struct fixture *f) {
    if (f->listener)
        listener_stop(f->listener);
    RUN_UNTIL(f, f->metrics.connections == 0);
    uv_close((uv_handle_t *)&f->watchdog, NULL);
    io_stop(&f->io);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    io_deinit(&f->io);
    assert_null(f->io.peers);
    assert_int_equal(f->io.refusing, 0);
    assert_int_equal(uv_loop_close(&f->loop), 0);
}

void fixture_turn(struct fixture *f) {
    uv_run(&f->loop, UV_RUN_ONCE);
}

/* --- clients -------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    (void)suggested;
    struct remote *client = handle->data;
    *buf = uv_buf_init(client->buffer, sizeof client->buffer);
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf) {
    struct remote *client = stream->data;
    if (len > 0) {
        writer_put(&client->received, buf->base, (size_t)len);
    } else if (len < 0) {
        client->ended = true;
        client->error = len == UV_EOF ? 0 : (int)len;
    }
}

static void on_connect(uv_connect_t *req, int status) {
    assert_int_equal(status, 0);
    struct remote *client = req->handle->data;
    client->connected = true;
    remote_read(client, true);
}

struct remote *remote_connect(struct fixture *f) {
    struct remote *client = memory_zalloc(sizeof *client);
    struct sockaddr_in address;
    uv_ip4_addr("127.0.0.1", f->port, &address);
    uv_tcp_init(&f->loop, &client->tcp);
    client->tcp.data = client;
    assert_int_equal(
        uv_tcp_connect(&client->connecting, &client->tcp, (struct sockaddr *)&address, on_connect),
        0);
    RUN_UNTIL(f, client->connected);
    uv_tcp_nodelay(&client->tcp, 1);
    return client;
}

struct sending {
    uv_write_t req;
    char bytes[];
};

static void on_sent(uv_write_t *req, int status) {
    (void)status; /* A server that has closed is seen by reading. */
    free(req);
}

void remote_send(struct remote *client, const void *bytes, size_t len) {
    struct sending *sending = memory_alloc(sizeof *sending + len);
    memcpy(sending->bytes, bytes, len);
    uv_buf_t buf = uv_buf_init(sending->bytes, (unsigned)len);
    assert_int_equal(uv_write(&sending->req, (uv_stream_t *)&client->tcp, &buf, 1, on_sent), 0);
}

void remote_sends(struct remote *client, const char *text) {
    remote_send(client, text, strlen(text));
}

void remote_read(struct remote *client, bool read) {
    if (read)
        uv_read_start((uv_stream_t *)&client->tcp, on_alloc, on_read);
    else
        uv_read_stop((uv_stream_t *)&client->tcp);
}

static void on_shutdown(uv_shutdown_t *req, int status) {
    assert_int_equal(status, 0);
    *(bool *)req->data = true;
}

void remote_half_close(struct fixture *f, struct remote *client) {
    bool done = false;
    uv_shutdown_t req = {.data = &done};
    assert_int_equal(uv_shutdown(&req, (uv_stream_t *)&client->tcp, on_shutdown), 0);
    RUN_UNTIL(f, done);
}

static void on_closed(uv_handle_t *handle) {
    ((struct remote *)handle->data)->closed = true;
}

void remote_reset(struct remote *client) {
    assert_int_equal(uv_tcp_close_reset(&client->tcp, on_closed), 0);
}

void remote_free(struct fixture *f, struct remote *client) {
    if (!uv_is_closing((uv_handle_t *)&client->tcp))
        uv_close((uv_handle_t *)&client->tcp, on_closed);
    RUN_UNTIL(f, client->closed);
    writer_deinit(&client->received);
    free(client);
}

size_t remote_count(const struct remote *client, const char *text) {
    struct span all = writer_span(&client->received);
    size_t count = 0;
    size_t len = strlen(text);
    const char *at = all.at;
    while ((at = memmem(at, (size_t)(all.at + all.len - at), text, len))) {
        count++;
        at += len;
    }
    return count;
}

bool remote_has(const struct remote *client, const char *text) {
    return remote_count(client, text) > 0;
}

const char *remote_text(struct remote *client) {
    *writer_reserve(&client->received, 1) = '\0';
    return writer_span(&client->received).at;
}
