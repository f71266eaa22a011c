/* Connections: one read path into the worker's buffer, one write queue per connection, and an
 * orderly end. Bytes that the socket refuses are copied into memory of the connection's own, so
 * that a slow reader pins neither the arena nor more than it is charged for. Protocols install a
 * handler; net/io calls conn_flush at the end of the turn; the listener makes the conns. */
#include "net/conn.h"

#include "base/memory.h"
#include "net/peers.h"
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GATHER 64           /* slices in one write */
#define TAIL_MIN 4096       /* a tail of our own behind a blocked write grows from this */
#define TAIL_MAX 65536      /* to this */
#define STALLED_AFTER 10000 /* ms a finishing peer may take to read nothing at all */
#define LINGER 2000         /* ms it may take to close after we have */

/* A write that libuv keeps until the socket takes it. */
struct conn_blocked {
    uv_write_t req;
    size_t len;
    uint32_t count;
    struct slice slices[]; /* each owns a reference */
};

struct conn_finish {
    struct timeout timeout;
    struct conn *conn;
    size_t queued;  /* when the timeout was started: is the peer reading at all? */
    bool lingering; /* all is written; only the peer's end is missing */
};

static void start_close(struct conn *conn, int error);
static void start_reading(struct conn *conn);
static void end_of_turn(struct deferred *deferred);
static void feed(struct conn *conn);
static void after_flush(struct conn *conn);

/* --- life ----------------------------------------------------------------------------------- */

static const struct conn_rare nothing;

/* For writing: what is rarely needed is made now. */
static struct conn_rare *need(struct conn *conn) {
    if (conn->rare == &nothing) {
        struct conn_rare *rare = memory_zalloc(sizeof *rare);
        rare->conn = conn;
        rare->closing.run = end_of_turn;
        conn->rare = rare;
    }
    return (struct conn_rare *)conn->rare;
}

static void on_handle_closed(uv_handle_t *handle) {
    struct conn *conn = handle->data;
    peer_release(conn->io, conn->peer);
    if (conn->rare != &nothing)
        free((struct conn_rare *)conn->rare);
    free(conn);
}

struct conn *conn_accept(struct io *io, uv_stream_t *server, const struct conn_handler *handler,
                         void *owner) {
    struct conn *conn = memory_zalloc(sizeof *conn);
    conn->io = io;
    conn->handler = handler;
    conn->owner = owner;
    conn->rare = &nothing;
    uv_tcp_init(io->loop, &conn->tcp);
    conn->tcp.data = conn;
    if (uv_accept(server, (uv_stream_t *)&conn->tcp)) {
        uv_close((uv_handle_t *)&conn->tcp, on_handle_closed);
        return NULL;
    }
    io->metrics->connections++;
    /* Output is gathered by us, once per turn: the kernel must not wait for more. */
    uv_tcp_nodelay(&conn->tcp, 1);
    start_reading(conn);
    return conn;
}

void conn_set_handler(struct conn *conn, const struct conn_handler *handler, void *owner) {
    conn->handler = handler;
    conn->owner = owner;
    /* Its predecessor has heard the peer's end, perhaps without closing: this one hears it too. */
    if (conn->ended && !conn_is_closed(conn))
        io_defer_closed(conn->io, &need(conn)->closing);
}

static void drop_queue(struct conn *conn) {
    slice_release(&conn->first);
    conn->own_tail = 0;
    if (!conn->rare->more)
        return;
    struct conn_rare *rare = need(conn);
    for (uint32_t i = 0; i < rare->more_count; i++)
        slice_release(&rare->more[i]);
    free(rare->more);
    rare->more = NULL;
    rare->more_count = rare->more_cap = 0;
    rare->more_bytes = 0;
}

/* While the stash is being handled its bytes are in use: feed() drops it then. */
static void drop_stash(struct conn *conn) {
    if (conn->feeding || !conn->rare->stash)
        return;
    struct conn_rare *rare = need(conn);
    buf_unref(rare->stash);
    rare->stash = NULL;
    rare->stash_off = 0;
}

static void drop_finish(struct conn *conn) {
    struct conn_finish *finish = conn->rare->finish;
    if (!finish)
        return;
    timeout_stop(&finish->timeout);
    free(finish);
    need(conn)->finish = NULL;
}

/* Marks the conn closed; the rest waits for the end of the turn, for the caller may be anywhere,
 * even in the middle of a fan-out over conns. */
static void start_close(struct conn *conn, int error) {
    if (conn->closed)
        return;
    conn->closed = 1;
    need(conn)->error = error;
    uv_read_stop((uv_stream_t *)&conn->tcp);
    drop_queue(conn);
    drop_stash(conn);
    drop_finish(conn);
    io_defer_closed(conn->io, &need(conn)->closing);
}

/* A closed conn is dirty no more once the flush that follows has passed it, and the handle's close
 * callback comes after that. */
static void end_of_turn(struct deferred *deferred) {
    struct conn *conn = ((struct conn_rare *)deferred)->conn;
    if (!conn->closed) {
        feed(conn);
        return;
    }
    if (conn->handler)
        conn->handler->on_close(conn, conn->rare->error);
    conn->io->metrics->connections--;
    uv_close((uv_handle_t *)&conn->tcp, on_handle_closed);
}

void conn_abort(struct conn *conn, int error) {
    start_close(conn, error);
}

static void abort_if_conn(uv_handle_t *handle, void *io) {
    struct conn *conn = handle->data;
    if (handle->type == UV_TCP && !uv_is_closing(handle) && conn->io == io)
        conn_abort(conn, UV_ECANCELED);
}

void conn_abort_all(struct io *io) {
    uv_walk(io->loop, abort_if_conn, io);
}

bool conn_is_closed(const struct conn *conn) {
    return conn->closed || conn->finishing;
}

void conn_address(const struct conn *conn, char *out, size_t size) {
    struct sockaddr_storage address = {0};
    int len = sizeof address;
    out[0] = '\0';
    if (!uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &len))
        peer_text((struct sockaddr *)&address, out, size);
}

/* --- reading -------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
    (void)suggested;
    struct conn *conn = handle->data;
    *buf = uv_buf_init(conn->io->read_buffer, (unsigned)conn->io->read_size);
}

static void on_read_end(struct conn *conn) {
    conn->ended = 1;
    if (conn->finishing) {
        if (conn->rare->finish->lingering)
            start_close(conn, 0);
    } else if (conn->handler->on_end) {
        conn->handler->on_end(conn);
    } else {
        conn_finish(conn);
    }
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *buf) {
    struct conn *conn = stream->data;
    conn->io->lap = 0;
    if (len > 0) {
        conn->io->metrics->bytes_received += (uint64_t)len;
        if (!conn->finishing)
            conn->handler->on_data(conn, buf->base, (size_t)len);
    } else if (len == UV_EOF) {
        on_read_end(conn);
    } else if (len < 0) {
        /* A peer that resets after our last byte has finished in its own way. */
        start_close(conn, conn->rare->finish && conn->rare->finish->lingering ? 0 : (int)len);
    }
}

static void start_reading(struct conn *conn) {
    if (!conn->closed && !conn->ended && !conn->paused)
        uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read);
}

/* Hands out what was kept. Whatever on_data does not take is the tail of what it got, so that
 * conn_pause only has to step back. */
static void feed(struct conn *conn) {
    struct conn_rare *rare = need(conn);
    conn->feeding = 1;
    while (rare->stash && rare->stash_off < rare->stash->len && !conn->paused &&
           !conn_is_closed(conn)) {
        char *at = rare->stash->bytes + rare->stash_off;
        size_t len = rare->stash->len - rare->stash_off;
        if (len > conn->io->read_size)
            len = conn->io->read_size;
        rare->stash_off += len;
        conn->handler->on_data(conn, at, len);
    }
    conn->feeding = 0;
    if (conn_is_closed(conn) || (rare->stash && rare->stash_off == rare->stash->len))
        drop_stash(conn);
    if (conn->ended && !rare->stash && !conn->paused && !conn_is_closed(conn))
        on_read_end(conn);
    else if (!rare->stash)
        start_reading(conn);
}

void conn_pause(struct conn *conn, const char *rest, size_t len) {
    if (conn_is_closed(conn))
        return;
    conn->paused = 1;
    uv_read_stop((uv_stream_t *)&conn->tcp);
    if (conn->feeding) {
        need(conn)->stash_off -= len;
    } else if (len) {
        struct conn_rare *rare = need(conn);
        size_t kept = rare->stash ? rare->stash->len : 0;
        struct buf *stash = buf_new(kept + len);
        if (kept)
            memcpy(stash->bytes, rare->stash->bytes, kept);
        memcpy(stash->bytes + kept, rest, len);
        stash->len = kept + len;
        buf_unref(rare->stash);
        rare->stash = stash;
    }
}

void conn_resume(struct conn *conn) {
    if (!conn->paused)
        return;
    conn->paused = 0;
    if (conn->rare->stash || conn->ended)
        io_defer_closed(conn->io, &need(conn)->closing);
    else
        start_reading(conn);
}

/* --- the write queue ------------------------------------------------------------------------ */

static struct slice *last_slice(struct conn *conn) {
    const struct conn_rare *rare = conn->rare;
    return rare->more_count ? &rare->more[rare->more_count - 1] : &conn->first;
}

/* Bytes queued in slices, not yet given to the kernel. */
static size_t pending(const struct conn *conn) {
    return conn->first.len + conn->rare->more_bytes;
}

/* The last slice has become longer by this. */
static void count_more(struct conn *conn, size_t len) {
    if (conn->rare->more_count)
        need(conn)->more_bytes += len;
}

/* Takes over the reference that the slice owns. */
static void push_take(struct conn *conn, const struct slice *slice) {
    conn->own_tail = 0;
    if (!conn->first.buf) {
        conn->first = *slice;
        return;
    }
    struct conn_rare *rare = need(conn);
    if (rare->more_count == rare->more_cap) {
        rare->more_cap = rare->more_cap ? rare->more_cap * 2 : 4;
        rare->more = memory_resize(rare->more, rare->more_cap * sizeof *rare->more);
    }
    rare->more[rare->more_count++] = *slice;
    rare->more_bytes += slice->len;
}

/* A slice that is less than half of its block would keep more alive than it is charged for. */
static bool worth_keeping(const struct slice *slice) {
    return slice->len >= slice->buf->cap / 2;
}

/* Behind a blocked write bytes wait long: small ones go into a block of our own. */
static void push_copy(struct conn *conn, const char *bytes, size_t len) {
    struct slice *last = last_slice(conn);
    if (!conn->own_tail || last->buf->cap - last->buf->len < len) {
        size_t cap = pending(conn) < TAIL_MIN ? TAIL_MIN : pending(conn);
        cap = cap > TAIL_MAX ? TAIL_MAX : cap;
        struct slice fresh = {.buf = buf_new(cap > len ? cap : len)};
        push_take(conn, &fresh);
        conn->own_tail = 1;
        last = last_slice(conn);
    }
    memcpy(last->buf->bytes + last->buf->len, bytes, len);
    last->buf->len += len;
    last->len += len;
    count_more(conn, len);
}

static void push(struct conn *conn, const struct slice *slice) {
    struct slice *last = last_slice(conn);
    if (conn->rare->blocked && !worth_keeping(slice)) {
        push_copy(conn, slice_bytes(slice), slice->len);
    } else if (last->buf == slice->buf && last->off + last->len == slice->off) {
        last->len += slice->len;
        count_more(conn, slice->len);
    } else {
        struct slice kept = *slice;
        buf_ref(kept.buf);
        push_take(conn, &kept);
    }
}

ssize_t conn_write(struct conn *conn, const struct slice *slice) {
    if (conn_is_closed(conn))
        return UV_ECANCELED;
    if (slice->len)
        push(conn, slice);
    if (pending(conn) > conn->io->flush_now && !conn->rare->blocked) {
        conn_flush(conn);
        if (conn->closed)
            return UV_ECANCELED;
    }
    size_t queued = conn_queued(conn);
    if (queued > conn->io->config->hard_limit) {
        conn_abort(conn, UV_ENOBUFS);
        return UV_ENOBUFS;
    }
    if (pending(conn) && !conn->rare->blocked)
        io_mark_dirty(conn->io, conn);
    return (ssize_t)queued;
}

ssize_t conn_write_bytes(struct conn *conn, const void *bytes, size_t len) {
    if (conn_is_closed(conn))
        return UV_ECANCELED;
    memcpy(arena_reserve(&conn->io->arena, len), bytes, len);
    struct slice slice = arena_commit(&conn->io->arena, len);
    ssize_t queued = conn_write(conn, &slice);
    slice_release(&slice);
    return queued;
}

size_t conn_queued(const struct conn *conn) {
    return pending(conn) + uv_stream_get_write_queue_size((const uv_stream_t *)&conn->tcp);
}

bool conn_blocked(const struct conn *conn) {
    return conn->rare->blocked;
}

/* --- flushing ------------------------------------------------------------------------------- */

/* Appends to what a blocked write holds: by reference if it is worth it, otherwise into copy, which
 * has the room for all such slices. */
static void keep_slice(struct conn_blocked *blocked, struct buf *copy, const struct slice *slice) {
    struct slice kept = *slice;
    if (!worth_keeping(slice)) {
        memcpy(copy->bytes + copy->len, slice_bytes(slice), slice->len);
        kept = (struct slice){.buf = copy, .off = copy->len, .len = slice->len};
        copy->len += slice->len;
        struct slice *last = blocked->count ? &blocked->slices[blocked->count - 1] : NULL;
        if (last && last->buf == copy) {
            last->len += kept.len;
            return;
        }
    }
    buf_ref(kept.buf);
    blocked->slices[blocked->count++] = kept;
}

static void free_blocked(struct conn_blocked *blocked) {
    for (uint32_t i = 0; i < blocked->count; i++)
        slice_release(&blocked->slices[i]);
    free(blocked);
}

static void on_written(uv_write_t *req, int status) {
    struct conn *conn = req->handle->data;
    struct conn_blocked *blocked = conn->rare->blocked;
    need(conn)->blocked = NULL;
    if (!status)
        conn->io->metrics->bytes_sent += blocked->len;
    free_blocked(blocked);
    if (conn->closed)
        return;
    if (status) {
        start_close(conn, status);
        return;
    }
    conn_flush(conn);
    if (!conn->closed && !conn->rare->blocked && !conn->finishing && conn->handler->on_drain)
        conn->handler->on_drain(conn);
}

/* Hands these slices to libuv, which writes them when the socket takes bytes again. 0 or UV_E*. */
static int block(struct conn *conn, const struct slice *slices, uint32_t count) {
    struct conn_blocked *blocked = memory_alloc(sizeof *blocked + count * sizeof *blocked->slices);
    size_t small = 0;
    blocked->len = blocked->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        blocked->len += slices[i].len;
        small += worth_keeping(&slices[i]) ? 0 : slices[i].len;
    }
    struct buf *copy = buf_new(small);
    for (uint32_t i = 0; i < count; i++)
        keep_slice(blocked, copy, &slices[i]);
    buf_unref(copy);
    uv_buf_t *bufs = memory_alloc(blocked->count * sizeof *bufs);
    for (uint32_t i = 0; i < blocked->count; i++)
        bufs[i] =
            uv_buf_init((char *)slice_bytes(&blocked->slices[i]), (unsigned)blocked->slices[i].len);
    need(conn)->blocked = blocked;
    /* Can only fail for a handle that is no stream; errors of the socket come to on_written. */
    int error =
        uv_write(&blocked->req, (uv_stream_t *)&conn->tcp, bufs, blocked->count, on_written);
    free(bufs);
    if (error) {
        need(conn)->blocked = NULL;
        free_blocked(blocked);
    }
    return error;
}

/* One gathered write of as many slices as fit. The bytes taken, 0 when the socket refuses, UV_E*.
 */
static ssize_t write_some(struct conn *conn, const struct slice *slices, uint32_t count) {
    uv_buf_t bufs[GATHER];
    uint32_t n = count < GATHER ? count : GATHER;
    for (uint32_t i = 0; i < n; i++)
        bufs[i] = uv_buf_init((char *)slice_bytes(&slices[i]), (unsigned)slices[i].len);
    ssize_t written = uv_try_write((uv_stream_t *)&conn->tcp, bufs, n);
    if (written == UV_EAGAIN)
        return 0;
    if (written > 0)
        conn->io->metrics->bytes_sent += (uint64_t)written;
    return written;
}

/* Writes until all is gone or the socket refuses. The slices keep their references; those at the
 * front shrink to what is left. Returns how many of them are done, or UV_E*. */
static ssize_t write_slices(struct conn *conn, struct slice *slices, uint32_t count) {
    uint32_t done = 0;
    while (done < count) {
        ssize_t written = write_some(conn, slices + done, count - done);
        if (written <= 0)
            return written ? written : (ssize_t)done;
        uint32_t end = count - done > GATHER ? done + GATHER : count;
        while (done < end && (size_t)written >= slices[done].len)
            written -= (ssize_t)slices[done++].len;
        if (done == end)
            continue;
        /* A short write: asking again would only be told to wait. */
        slices[done].off += (size_t)written;
        slices[done].len -= (size_t)written;
        break;
    }
    return done;
}

/* The queue lies in two places; mostly there is only the embedded slice. */
static void write_queue(struct conn *conn) {
    struct slice *slices = &conn->first;
    uint32_t count = conn->rare->more_count + 1;
    if (count > 1) {
        slices = memory_alloc(count * sizeof *slices);
        slices[0] = conn->first;
        memcpy(slices + 1, conn->rare->more, (count - 1) * sizeof *slices);
    }
    ssize_t done = write_slices(conn, slices, count);
    int error = done < 0 ? (int)done : 0;
    if (!error && done < count)
        error = block(conn, slices + done, count - (uint32_t)done);
    if (slices != &conn->first)
        free(slices);
    drop_queue(conn);
    if (error)
        start_close(conn, error);
}

void conn_flush(struct conn *conn) {
    if (conn->closed || conn->rare->blocked)
        return;
    if (pending(conn))
        write_queue(conn);
    if (conn->finishing && !conn->closed && !conn->rare->blocked)
        after_flush(conn);
}

/* --- finishing ------------------------------------------------------------------------------ */

static void on_finish_timeout(struct timeout *timeout) {
    struct conn_finish *finish = (struct conn_finish *)timeout;
    struct conn *conn = finish->conn;
    size_t queued = conn_queued(conn);
    if (finish->lingering) {
        start_close(conn, 0);
    } else if (queued >= finish->queued) {
        start_close(conn, UV_ETIMEDOUT);
    } else {
        finish->queued = queued;
        timeout_start(conn->io, timeout, STALLED_AFTER);
    }
}

void conn_finish(struct conn *conn) {
    if (conn_is_closed(conn))
        return;
    conn->finishing = 1;
    conn->paused = 0;
    drop_stash(conn);
    struct conn_finish *finish = memory_zalloc(sizeof *finish);
    finish->timeout.expired = on_finish_timeout;
    finish->conn = conn;
    finish->queued = conn_queued(conn);
    need(conn)->finish = finish;
    timeout_start(conn->io, &finish->timeout, STALLED_AFTER);
    start_reading(conn);
    io_mark_dirty(conn->io, conn);
}

/* Everything of a finishing conn is written: says so to the peer and waits for its end. libuv holds
 * no write by now, so shutdown(2) can be called directly. */
static void after_flush(struct conn *conn) {
    struct conn_finish *finish = conn->rare->finish;
    uv_os_fd_t fd;
    if (finish->lingering)
        return;
    if (conn->ended || uv_fileno((uv_handle_t *)&conn->tcp, &fd) || shutdown(fd, SHUT_WR)) {
        start_close(conn, 0);
        return;
    }
    finish->lingering = true;
    timeout_start(conn->io, &finish->timeout, LINGER);
}
