/* Connections: what epoll wakes them for, one read path into the worker's buffer, pausing, and an
 * orderly end. What they write is in conn_write.c. Protocols install a handler; the listener makes
 * the conns, and net/io says when they are ready. */
#include "net/conn_internal.h"

#include "base/memory.h"
#include "net/peers.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALLED_AFTER 10000 /* ms a finishing peer may take to read nothing at all */
#define LINGER 2000         /* ms it may take to close after we have */
#define READS 8             /* of one socket in a row, if each fills the buffer */

struct conn_finish {
    struct timeout timeout;
    struct conn *conn;
    size_t queued;  /* when the timeout was started: is the peer reading at all? */
    bool lingering; /* all is written; only the peer's end is missing */
};

static void end_of_turn(struct deferred *deferred);
static void feed(struct conn *conn);

/* --- life ----------------------------------------------------------------------------------- */

static const struct conn_rare nothing;

struct conn_rare *conn_need(struct conn *conn) {
    if (conn->rare == &nothing) {
        struct conn_rare *rare = memory_zalloc(sizeof *rare);
        rare->conn = conn;
        rare->closing.run = end_of_turn;
        conn->rare = rare;
    }
    return (struct conn_rare *)conn->rare;
}

/* What epoll is to wake us for. */
static uint32_t wanted(const struct conn *conn) {
    bool reads = !conn->closed && !conn->ended && !conn->paused;
    bool writes = !conn->closed && conn->rare->blocked;
    return (reads ? EPOLLIN : 0) | (writes ? EPOLLOUT : 0);
}

/* A socket for which nothing is wanted leaves the set: its errors would be told all the same, again
 * and again. */
void conn_watch_exactly(struct conn *conn) {
    uint32_t events = wanted(conn);
    if (events == conn->watched)
        return;
    int op = !conn->watched ? EPOLL_CTL_ADD : !events ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    struct epoll_event event = {.events = events, .data.ptr = conn};
    conn->watched = (uint8_t)events;
    if (epoll_ctl(conn->io->epoll, op, conn->fd, &event))
        conn_start_close(conn, -errno);
}

void conn_watch(struct conn *conn) {
    if (wanted(conn) & ~conn->watched)
        conn_watch_exactly(conn);
}

struct conn *conn_new(struct io *io, int fd) {
    struct conn *conn = memory_zalloc(sizeof *conn);
    conn->fd = fd;
    conn->io = io;
    conn->rare = &nothing;
    io_add_conn(io, conn);
    io->metrics->connections++;
    conn_watch(conn);
    return conn;
}

/* To close the descriptor takes it out of the epoll set. */
static void conn_free(struct conn *conn) {
    close(conn->fd);
    io_remove_conn(conn->io, conn);
    peer_release(conn->io, conn->peer);
    if (conn->rare != &nothing)
        free((struct conn_rare *)conn->rare);
    free(conn);
}

void conn_set_handler(struct conn *conn, const struct conn_handler *handler, void *owner) {
    conn->handler = handler;
    conn->owner = owner;
    /* Its predecessor has heard the peer's end, perhaps without closing: this one hears it too. */
    if (conn->ended && !conn_is_closed(conn))
        io_defer_closed(conn->io, &conn_need(conn)->closing);
}

/* While the stash is being handled its bytes are in use: feed() drops it then. */
static void drop_stash(struct conn *conn) {
    if (conn->feeding || !conn->rare->stash)
        return;
    struct conn_rare *rare = conn_need(conn);
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
    conn_need(conn)->finish = NULL;
}

void conn_start_close(struct conn *conn, int error) {
    if (conn->closed)
        return;
    conn->closed = 1;
    conn_need(conn)->error = error;
    conn_drop_output(conn);
    drop_stash(conn);
    drop_finish(conn);
    io_defer_closed(conn->io, &conn_need(conn)->closing);
}

/* The flush takes a dirty conn off its list before it is freed. */
static void end_of_turn(struct deferred *deferred) {
    struct conn *conn = ((struct conn_rare *)deferred)->conn;
    if (!conn->closed) {
        feed(conn);
        return;
    }
    if (conn->dirty) {
        io_defer_closed(conn->io, deferred);
        return;
    }
    if (conn->handler)
        conn->handler->on_close(conn, conn->rare->error);
    conn->io->metrics->connections--;
    conn_free(conn);
}

void conn_abort(struct conn *conn, int error) {
    conn_start_close(conn, error);
}

bool conn_is_closed(const struct conn *conn) {
    return conn->closed || conn->finishing;
}

void conn_address(const struct conn *conn, char *out, size_t size) {
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    out[0] = '\0';
    if (!getpeername(conn->fd, (struct sockaddr *)&address, &len))
        peer_text((struct sockaddr *)&address, out, size);
}

/* --- reading -------------------------------------------------------------------------------- */

static void on_read_end(struct conn *conn) {
    conn->ended = 1;
    if (conn->finishing) {
        if (conn->rare->finish->lingering)
            conn_start_close(conn, 0);
    } else if (conn->handler->on_end) {
        conn->handler->on_end(conn);
    } else {
        conn_finish(conn);
    }
}

static void on_read_error(struct conn *conn, int error) {
    if (error == EAGAIN || error == EINTR)
        return; /* epoll tells us again. */
    /* A peer that resets after our last byte has finished in its own way. */
    conn_start_close(conn, conn->rare->finish && conn->rare->finish->lingering ? 0 : -error);
}

/* Until it is empty, which a buffer that was not filled shows without asking again. */
static void read_socket(struct conn *conn) {
    struct io *io = conn->io;
    size_t got = io->read_size;
    for (int i = 0; i < READS && got == io->read_size && (wanted(conn) & EPOLLIN); i++) {
        io->lap = 0;
        ssize_t len = read(conn->fd, io->read_buffer, io->read_size);
        if (len < 0) {
            on_read_error(conn, errno);
            return;
        }
        if (len == 0) {
            on_read_end(conn);
            return;
        }
        got = (size_t)len;
        io->metrics->bytes_received += got;
        if (!conn->finishing)
            conn->handler->on_data(conn, io->read_buffer, got);
    }
}

/* An error is found by whoever reads or writes. */
void conn_ready(struct conn *conn, uint32_t events) {
    conn_watch_exactly(conn);
    if (events & (EPOLLERR | EPOLLHUP))
        events |= EPOLLIN | EPOLLOUT;
    if (events & EPOLLIN)
        read_socket(conn);
    if ((events & EPOLLOUT) && (wanted(conn) & EPOLLOUT))
        conn_write_blocked(conn);
}

/* Hands out what was kept. Whatever on_data does not take is the tail of what it got, so that
 * conn_pause only has to step back. */
static void feed(struct conn *conn) {
    struct conn_rare *rare = conn_need(conn);
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
        conn_watch(conn);
}

void conn_pause(struct conn *conn, const char *rest, size_t len) {
    if (conn_is_closed(conn))
        return;
    conn->paused = 1;
    if (conn->feeding) {
        conn_need(conn)->stash_off -= len;
    } else if (len) {
        struct conn_rare *rare = conn_need(conn);
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
        io_defer_closed(conn->io, &conn_need(conn)->closing);
    else
        conn_watch(conn);
}

/* --- finishing ------------------------------------------------------------------------------ */

static void on_finish_timeout(struct timeout *timeout) {
    struct conn_finish *finish = (struct conn_finish *)timeout;
    struct conn *conn = finish->conn;
    size_t queued = conn_queued(conn);
    if (finish->lingering) {
        conn_start_close(conn, 0);
    } else if (queued >= finish->queued) {
        conn_start_close(conn, UV_ETIMEDOUT);
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
    conn_need(conn)->finish = finish;
    timeout_start(conn->io, &finish->timeout, STALLED_AFTER);
    conn_watch(conn);
    io_mark_dirty(conn->io, conn);
}

/* Says so to the peer and waits for its end. */
void conn_after_flush(struct conn *conn) {
    struct conn_finish *finish = conn->rare->finish;
    if (finish->lingering)
        return;
    if (conn->ended || shutdown(conn->fd, SHUT_WR)) {
        conn_start_close(conn, 0);
        return;
    }
    finish->lingering = true;
    timeout_start(conn->io, &finish->timeout, LINGER);
}
