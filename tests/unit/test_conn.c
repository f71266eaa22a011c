/* One connection over the loopback: order of bytes, gathering, the limits, slow readers, pausing,
 * and every way to close. */
#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A server side that keeps what it gets and obeys the test. */
struct end {
    struct fixture f;
    struct conn *conn; /* the last one accepted; NULL once closed */
    struct remote *client;
    struct writer got;
    size_t largest; /* piece */
    size_t take;    /* take so many bytes of a piece, pause with the rest; 0: all */
    int drains;
    int ends;
    int closes;
    int error;
    int depth; /* of on_data */
    bool resume_within;
};

static void on_data(struct conn *conn, char *bytes, size_t len) {
    struct end *e = conn->owner;
    assert_int_equal(e->depth++, 0);
    if (len > e->largest)
        e->largest = len;
    size_t take = e->take && e->take < len ? e->take : len;
    writer_put(&e->got, bytes, take);
    memset(bytes, '!', take); /* A handler may change what it has taken. */
    if (e->take) {
        conn_pause(conn, bytes + take, len - take);
        if (e->resume_within)
            conn_resume(conn);
    }
    e->depth--;
}

static void on_drain(struct conn *conn) {
    ((struct end *)conn->owner)->drains++;
}

static void on_end(struct conn *conn) {
    ((struct end *)conn->owner)->ends++;
}

static void on_close(struct conn *conn, int error) {
    struct end *e = conn->owner;
    e->closes++;
    e->error = error;
    e->conn = NULL;
}

static const struct conn_handler handler = {on_data, on_drain, NULL, on_close};
static const struct conn_handler half_open = {on_data, on_drain, on_end, on_close};

static void on_accept(struct conn *conn, void *data) {
    struct end *e = data;
    e->conn = conn;
    conn_set_handler(conn, &handler, e);
}

static void end_open(struct end *e) {
    memset(e, 0, sizeof *e);
    fixture_init(&e->f);
    fixture_listen(&e->f, on_accept, e);
    e->client = remote_connect(&e->f);
    RUN_UNTIL(&e->f, e->conn);
}

static void end_deinit(struct end *e) {
    remote_free(&e->f, e->client);
    RUN_UNTIL(&e->f, e->closes == 1);
    fixture_deinit(&e->f);
    writer_deinit(&e->got);
}

static size_t received(const struct end *e) {
    return writer_len(&e->client->received);
}

/* Bytes whose value tells their place, so that a lost or swapped piece is seen. */
static struct buf *pattern(size_t len) {
    struct buf *buf = buf_new(len);
    for (size_t i = 0; i < len; i++)
        buf->bytes[i] = (char)(i * 31 + (i >> 8) * 7 + (i >> 16));
    buf->len = len;
    return buf;
}

static void write_buf(struct end *e, struct buf *buf) {
    struct slice slice = {buf, 0, buf->len};
    assert_true(conn_write(e->conn, &slice) >= 0);
}

static void test_small_writes_of_a_turn_are_one_slice(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    for (int i = 0; i < 10; i++)
        assert_int_equal(conn_write_bytes(e.conn, "0123456789", 10), (i + 1) * 10);
    assert_int_equal(e.conn->rare->more_count, 0);
    assert_int_equal(e.conn->first.len, 100);
    assert_int_equal(e.f.io.arena.chunk->refs, 2); /* The arena's and one for all ten. */
    assert_int_equal(e.f.metrics.bytes_sent, 0);
    RUN_UNTIL(&e.f, received(&e) == 100);
    assert_int_equal(e.f.metrics.bytes_sent, 100);
    assert_int_equal(conn_queued(e.conn), 0);
    assert_int_equal(e.drains, 0); /* The socket never refused anything. */
    end_deinit(&e);
}

static void test_slices_of_many_bufs_keep_their_order(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    struct writer expected = {0};
    for (int i = 0; i < 200; i++) { /* More than one gathered write takes. */
        char text[16];
        int len = snprintf(text, sizeof text, "<%d>", i);
        struct buf *buf = buf_copy(text, (size_t)len);
        write_buf(&e, buf);
        assert_int_equal(buf->refs, 2);
        buf_unref(buf);
        writer_put(&expected, text, (size_t)len);
    }
    RUN_UNTIL(&e.f, received(&e) == writer_len(&expected));
    assert_true(span_equal(writer_span(&e.client->received), writer_span(&expected)));
    assert_null(e.conn->rare->more);
    writer_deinit(&expected);
    end_deinit(&e);
}

static void test_much_output_is_flushed_at_once(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    struct buf *large = pattern(70000);
    write_buf(&e, large);
    assert_true(e.f.metrics.bytes_sent > 0); /* No turn of the loop has passed. */
    RUN_UNTIL(&e.f, received(&e) == large->len);
    assert_memory_equal(writer_span(&e.client->received).at, large->bytes, large->len);
    buf_unref(large);
    end_deinit(&e);
}

/* Writes until the socket refuses; returns what has been written. */
static size_t fill(struct end *e) {
    remote_read(e->client, false);
    struct buf *piece = pattern(65536);
    size_t total = 0;
    int small = 16384; /* So that the socket's own buffers do not take everything. */
    assert_int_equal(setsockopt(e->conn->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    while (!conn_blocked(e->conn)) {
        write_buf(e, piece);
        total += piece->len;
        conn_flush(e->conn);
    }
    buf_unref(piece);
    return total;
}

static void test_slow_reader_pins_no_arena_and_gets_everything_in_order(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    size_t before = fill(&e);
    struct writer expected = {0};
    for (int i = 0; i < 5000; i++) {
        char text[16];
        int len = snprintf(text, sizeof text, "<%d>", i);
        assert_true(conn_write_bytes(e.conn, text, (size_t)len) > 0);
        writer_put(&expected, text, (size_t)len);
        assert_int_equal(e.f.io.arena.chunk->refs, 1);
    }
    struct buf *large = pattern(30000); /* Its own block: kept by reference. */
    write_buf(&e, large);
    assert_int_equal(large->refs, 2);
    writer_put(&expected, large->bytes, large->len);
    buf_unref(large);
    assert_int_equal(e.drains, 0);
    remote_read(e.client, true);
    size_t total = before + writer_len(&expected);
    RUN_UNTIL(&e.f, received(&e) == total);
    RUN_UNTIL(&e.f, e.drains == 1);
    assert_memory_equal(writer_span(&e.client->received).at + before, writer_span(&expected).at,
                        writer_len(&expected));
    struct buf *piece = pattern(65536);
    for (size_t at = 0; at < before; at += piece->len)
        assert_memory_equal(writer_span(&e.client->received).at + at, piece->bytes, piece->len);
    buf_unref(piece);
    assert_int_equal(conn_queued(e.conn), 0);
    assert_int_equal(e.f.metrics.bytes_sent, total);
    writer_deinit(&expected);
    end_deinit(&e);
}

static void test_short_write_copies_small_slices_out(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    remote_read(e.client, false);
    int small = 16384;
    assert_int_equal(setsockopt(e.conn->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small), 0);
    size_t total = 0;
    while (!conn_blocked(e.conn)) { /* Arena slices only, several to a flush. */
        struct buf *bytes = pattern(5000);
        for (int i = 0; i < 12; i++) {
            struct slice gap = arena_commit(&e.f.io.arena, 0);
            slice_release(&gap);
            assert_true(conn_write_bytes(e.conn, bytes->bytes, bytes->len) > 0);
            total += bytes->len;
            arena_reserve(&e.f.io.arena, 8);
            gap = arena_commit(&e.f.io.arena, 8); /* The next one is not adjacent. */
            slice_release(&gap);
        }
        buf_unref(bytes);
        conn_flush(e.conn);
    }
    assert_int_equal(e.f.io.arena.chunk->refs, 1);
    remote_read(e.client, true);
    RUN_UNTIL(&e.f, received(&e) == total);
    struct buf *bytes = pattern(5000);
    for (size_t at = 0; at < total; at += 5000)
        assert_memory_equal(writer_span(&e.client->received).at + at, bytes->bytes, 5000);
    buf_unref(bytes);
    end_deinit(&e);
}

static void test_hard_limit_aborts(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    e.f.config.hard_limit = 100000;
    remote_read(e.client, false);
    struct buf *piece = pattern(50000);
    struct slice slice = {piece, 0, piece->len};
    ssize_t queued;
    while ((queued = conn_write(e.conn, &slice)) >= 0)
        assert_true(queued <= 100000);
    assert_int_equal(queued, UV_ENOBUFS);
    assert_true(conn_is_closed(e.conn));
    assert_int_equal(conn_write(e.conn, &slice), UV_ECANCELED);
    assert_int_equal(conn_write_bytes(e.conn, "x", 1), UV_ECANCELED);
    assert_int_equal(e.closes, 0); /* Never within the write. */
    RUN_UNTIL(&e.f, e.closes);
    assert_int_equal(e.error, UV_ENOBUFS);
    buf_unref(piece);
    end_deinit(&e);
}

static void test_pause_keeps_the_rest_and_resume_feeds_it_in_order(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    e.take = 7;
    struct buf *bytes = pattern(1000);
    remote_send(e.client, bytes->bytes, bytes->len);
    while (writer_len(&e.got) < bytes->len) {
        RUN_UNTIL(&e.f, e.conn->paused);
        size_t got = writer_len(&e.got);
        assert_true(got % 7 == 0 || got == bytes->len);
        conn_resume(e.conn);
    }
    assert_memory_equal(writer_span(&e.got).at, bytes->bytes, bytes->len);
    e.take = 0;
    remote_sends(e.client, "after");
    RUN_UNTIL(&e.f, writer_len(&e.got) == bytes->len + 5);
    assert_null(e.conn->rare->stash);
    buf_unref(bytes);
    end_deinit(&e);
}

/* epoll tells of errors whether asked or not: the socket must leave the set, or the loop spins. */
static void test_reset_while_paused_is_heard_on_resume(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    conn_pause(e.conn, NULL, 0);
    assert_int_not_equal(e.conn->watched, 0); /* Nothing has come in vain yet. */
    remote_reset(e.client);
    RUN_UNTIL(&e.f, e.conn->watched == 0);
    assert_int_equal(e.closes, 0);
    conn_resume(e.conn);
    RUN_UNTIL(&e.f, e.closes == 1);
    assert_int_equal(e.error, UV_ECONNRESET);
    end_deinit(&e);
}

static void test_nothing_is_asked_of_a_peer_that_has_ended(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    conn_set_handler(e.conn, &half_open, &e);
    remote_half_close(&e.f, e.client);
    RUN_UNTIL(&e.f, e.ends == 1 && e.conn->watched == 0);
    assert_int_equal(conn_write_bytes(e.conn, "late", 4), 4);
    RUN_UNTIL(&e.f, received(&e) == 4);
    conn_finish(e.conn);
    end_deinit(&e);
}

static void test_resume_within_on_data_does_not_recurse(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    e.take = 3;
    e.resume_within = true;
    struct buf *bytes = pattern(5000);
    remote_send(e.client, bytes->bytes, bytes->len);
    RUN_UNTIL(&e.f, writer_len(&e.got) == bytes->len);
    assert_memory_equal(writer_span(&e.got).at, bytes->bytes, bytes->len);
    buf_unref(bytes);
    end_deinit(&e);
}

static void test_what_was_kept_comes_in_pieces_of_the_read_buffer(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    struct buf *bytes = pattern(200000);
    conn_pause(e.conn, bytes->bytes, 120000);
    conn_pause(e.conn, bytes->bytes + 120000, 80000);
    conn_resume(e.conn);
    assert_int_equal(writer_len(&e.got), 0);
    RUN_UNTIL(&e.f, writer_len(&e.got) == bytes->len);
    assert_true(e.largest <= e.f.io.read_size);
    assert_memory_equal(writer_span(&e.got).at, bytes->bytes, bytes->len);
    buf_unref(bytes);
    end_deinit(&e);
}

static void test_abort_while_the_stash_is_handled(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    conn_pause(e.conn, "kept", 4);
    conn_resume(e.conn);
    conn_abort(e.conn, UV_ETIMEDOUT);
    conn_abort(e.conn, UV_EIO); /* The first one counts. */
    RUN_UNTIL(&e.f, e.closes);
    assert_int_equal(e.error, UV_ETIMEDOUT);
    assert_int_equal(writer_len(&e.got), 0);
    end_deinit(&e);
}

static void test_finish_writes_everything_before_it_closes(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    size_t before = fill(&e);
    conn_write_bytes(e.conn, "the end", 7);
    conn_finish(e.conn);
    assert_int_equal(conn_write_bytes(e.conn, "x", 1), UV_ECANCELED);
    remote_read(e.client, true);
    RUN_UNTIL(&e.f, e.client->ended);
    assert_int_equal(e.client->error, 0);
    assert_int_equal(received(&e), before + 7);
    assert_true(remote_has(e.client, "the end"));
    assert_int_equal(e.drains, 0); /* A conn that finishes has no use for it. */
    end_deinit(&e);
    assert_int_equal(e.error, 0);
}

/* The peer is still sending when we close: what it reads must not end in a reset. */
static void test_finish_drains_what_the_peer_still_sends(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    struct buf *upload = pattern(500000);
    remote_send(e.client, upload->bytes, upload->len);
    conn_write_bytes(e.conn, "too large", 9);
    conn_finish(e.conn);
    RUN_UNTIL(&e.f, e.client->ended);
    assert_int_equal(e.client->error, 0);
    assert_string_equal(remote_text(e.client), "too large");
    assert_int_equal(writer_len(&e.got), 0); /* The handler hears nothing more. */
    buf_unref(upload);
    end_deinit(&e);
    assert_int_equal(e.error, 0);
}

static void test_peer_that_never_closes_is_closed_after_a_while(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    conn_finish(e.conn);
    RUN_UNTIL(&e.f, e.closes); /* The client is there all the time. */
    assert_int_equal(e.error, 0);
    end_deinit(&e);
}

static void test_end_of_the_peer_finishes_unless_the_handler_wants_to_know(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    conn_write_bytes(e.conn, "last words", 10);
    remote_half_close(&e.f, e.client);
    RUN_UNTIL(&e.f, e.closes);
    assert_int_equal(e.error, 0);
    RUN_UNTIL(&e.f, e.client->ended);
    assert_string_equal(remote_text(e.client), "last words");
    end_deinit(&e);

    end_open(&e);
    conn_set_handler(e.conn, &half_open, &e);
    remote_half_close(&e.f, e.client);
    RUN_UNTIL(&e.f, e.ends == 1);
    assert_false(conn_is_closed(e.conn));
    assert_int_equal(conn_write_bytes(e.conn, "answer", 6), 6);
    conn_finish(e.conn);
    RUN_UNTIL(&e.f, e.closes);
    RUN_UNTIL(&e.f, e.client->ended);
    assert_string_equal(remote_text(e.client), "answer");
    end_deinit(&e);
}

static void test_reset_by_the_peer_is_an_error(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    remote_reset(e.client);
    RUN_UNTIL(&e.f, e.closes);
    assert_int_equal(e.error, UV_ECONNRESET);
    end_deinit(&e);
}

static void test_abort_with_a_blocked_write(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    fill(&e);
    conn_write_bytes(e.conn, "behind", 6);
    conn_abort(e.conn, UV_EIO);
    assert_false(conn_is_closed(e.conn) && e.closes);
    RUN_UNTIL(&e.f, e.closes);
    end_deinit(&e);
    assert_int_equal(e.error, UV_EIO);
}

static void test_address_of_the_peer(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    char address[46];
    conn_address(e.conn, address, sizeof address);
    assert_string_equal(address, "127.0.0.1");
    end_deinit(&e);
}

/* --- whatever stage of the loop makes output, an idle peer gets it at once -------------------- */

struct stage {
    struct end e;
    struct timeout timeout;
    uv_timer_t timer;
    uv_prepare_t prepare; /* runs after io's */
    uv_check_t check;
    uv_async_t async;
    int closed;
};

static void speak(struct stage *s, const char *text) {
    assert_true(conn_write_bytes(s->e.conn, text, strlen(text)) > 0);
}

static void on_timeout(struct timeout *timeout) {
    speak((struct stage *)((char *)timeout - offsetof(struct stage, timeout)), "timeout");
}

static void on_timer(uv_timer_t *timer) {
    speak(timer->data, "timer");
}

static void on_prepare(uv_prepare_t *prepare) {
    speak(prepare->data, "prepare");
    uv_prepare_stop(prepare);
}

static void on_check(uv_check_t *check) {
    speak(check->data, "check");
    uv_check_stop(check);
}

static void on_async(uv_async_t *async) {
    speak(async->data, "async");
}

static void on_handle_closed(uv_handle_t *handle) {
    struct stage *s = handle->data;
    if (!s->closed++)
        speak(s, "closing");
}

static void test_output_of_every_stage_reaches_an_idle_peer(void **state) {
    (void)state;
    struct stage s;
    end_open(&s.e);
    struct fixture *f = &s.e.f;
    s.closed = 0;
    s.timeout = (struct timeout){.expired = on_timeout};
    uv_timer_init(&f->loop, &s.timer);
    uv_prepare_init(&f->loop, &s.prepare);
    uv_check_init(&f->loop, &s.check);
    uv_async_init(&f->loop, &s.async, on_async);
    s.timer.data = s.prepare.data = s.check.data = s.async.data = &s;
    timeout_start(&f->io, &s.timeout, 1);
    RUN_UNTIL(f, remote_has(s.e.client, "timeout"));
    uv_timer_start(&s.timer, on_timer, 1, 0);
    RUN_UNTIL(f, remote_has(s.e.client, "timer"));
    uv_prepare_start(&s.prepare, on_prepare);
    RUN_UNTIL(f, remote_has(s.e.client, "prepare"));
    uv_check_start(&s.check, on_check);
    uv_async_send(&s.async); /* Ends the poll before it. */
    RUN_UNTIL(f, remote_has(s.e.client, "check") && remote_has(s.e.client, "async"));
    uv_close((uv_handle_t *)&s.timer, on_handle_closed);
    RUN_UNTIL(f, remote_has(s.e.client, "closing"));
    uv_close((uv_handle_t *)&s.prepare, on_handle_closed);
    uv_close((uv_handle_t *)&s.check, on_handle_closed);
    uv_close((uv_handle_t *)&s.async, on_handle_closed);
    RUN_UNTIL(f, s.closed == 4);
    end_deinit(&s.e);
}

/* --- a fan-out ------------------------------------------------------------------------------ */

#define CROWD 3

struct crowd {
    struct fixture f;
    struct conn *conns[CROWD];
    struct remote *clients[CROWD];
    int count;
    int closes;
    bool within; /* the fan-out */
};

static void say_to_all(struct crowd *c, const char *text) {
    for (int i = 0; i < CROWD; i++) {
        if (c->conns[i])
            (void)conn_write_bytes(c->conns[i], text, strlen(text));
    }
}

static void crowd_data(struct conn *conn, char *bytes, size_t len) {
    struct crowd *c = conn->owner;
    (void)bytes;
    (void)len;
    c->within = true;
    conn_abort(c->conns[1], UV_ECANCELED);
    say_to_all(c, "said");
    c->within = false;
}

static void crowd_close(struct conn *conn, int error) {
    struct crowd *c = conn->owner;
    (void)error;
    assert_false(c->within);
    c->closes++;
    for (int i = 0; i < CROWD; i++)
        c->conns[i] = c->conns[i] == conn ? NULL : c->conns[i];
    say_to_all(c, "left");
}

static const struct conn_handler crowd_handler = {.on_data = crowd_data, .on_close = crowd_close};

static void crowd_accept(struct conn *conn, void *data) {
    struct crowd *c = data;
    conn_set_handler(conn, &crowd_handler, c);
    c->conns[c->count++] = conn;
}

static void test_closing_within_a_fan_out_tells_the_others(void **state) {
    (void)state;
    struct crowd c = {.count = 0};
    fixture_init(&c.f);
    fixture_listen(&c.f, crowd_accept, &c);
    for (int i = 0; i < CROWD; i++) {
        c.clients[i] = remote_connect(&c.f);
        RUN_UNTIL(&c.f, c.count == i + 1);
    }
    remote_sends(c.clients[0], "go");
    RUN_UNTIL(&c.f, remote_has(c.clients[2], "saidleft"));
    RUN_UNTIL(&c.f, remote_has(c.clients[0], "saidleft"));
    RUN_UNTIL(&c.f, c.clients[1]->ended);
    assert_int_equal(writer_len(&c.clients[1]->received), 0);
    assert_int_equal(c.closes, 1);
    for (int i = 0; i < CROWD; i++)
        remote_free(&c.f, c.clients[i]);
    fixture_deinit(&c.f);
    assert_int_equal(c.closes, CROWD);
}

static void test_writing_to_a_peer_that_has_reset_is_an_error(void **state) {
    (void)state;
    struct end e;
    end_open(&e);
    conn_pause(e.conn, NULL, 0); /* So that only writing can notice. */
    remote_reset(e.client);
    while (!e.closes) {
        if (e.conn && !conn_is_closed(e.conn)) {
            (void)conn_write_bytes(e.conn, "x", 1);
            conn_flush(e.conn);
        }
        fixture_turn(&e.f);
    }
    assert_true(e.error == UV_ECONNRESET || e.error == UV_EPIPE);
    end_deinit(&e);
}

/* Ten thousand idle connections are to be cheap; this is what one of them costs here. */
static void test_a_conn_is_small(void **state) {
    (void)state;
    assert_true(sizeof(struct conn) <= 416);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_writes_of_a_turn_are_one_slice),
        cmocka_unit_test(test_slices_of_many_bufs_keep_their_order),
        cmocka_unit_test(test_much_output_is_flushed_at_once),
        cmocka_unit_test(test_slow_reader_pins_no_arena_and_gets_everything_in_order),
        cmocka_unit_test(test_short_write_copies_small_slices_out),
        cmocka_unit_test(test_hard_limit_aborts),
        cmocka_unit_test(test_pause_keeps_the_rest_and_resume_feeds_it_in_order),
        cmocka_unit_test(test_reset_while_paused_is_heard_on_resume),
        cmocka_unit_test(test_nothing_is_asked_of_a_peer_that_has_ended),
        cmocka_unit_test(test_resume_within_on_data_does_not_recurse),
        cmocka_unit_test(test_what_was_kept_comes_in_pieces_of_the_read_buffer),
        cmocka_unit_test(test_abort_while_the_stash_is_handled),
        cmocka_unit_test(test_finish_writes_everything_before_it_closes),
        cmocka_unit_test(test_finish_drains_what_the_peer_still_sends),
        cmocka_unit_test(test_peer_that_never_closes_is_closed_after_a_while),
        cmocka_unit_test(test_end_of_the_peer_finishes_unless_the_handler_wants_to_know),
        cmocka_unit_test(test_reset_by_the_peer_is_an_error),
        cmocka_unit_test(test_abort_with_a_blocked_write),
        cmocka_unit_test(test_address_of_the_peer),
        cmocka_unit_test(test_output_of_every_stage_reaches_an_idle_peer),
        cmocka_unit_test(test_closing_within_a_fan_out_tells_the_others),
        cmocka_unit_test(test_writing_to_a_peer_that_has_reset_is_an_error),
        cmocka_unit_test(test_a_conn_is_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
