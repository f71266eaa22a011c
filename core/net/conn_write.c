/* What a conn has to say: the queue of slices, its flushing, and what waits behind a socket that
 * takes no more. Bytes that the socket refuses are copied into memory of the connection's own, so
 * that a slow reader pins neither the arena nor more than it is charged for. net/io calls
 * conn_flush at the end of the turn; reading and the life of a conn are in conn.c. */
#include "net/conn_internal.h"

#include "base/memory.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GATHER 64      /* slices in one write */
#define TAIL_MIN 4096  /* a tail of our own behind a blocked write grows from this */
#define TAIL_MAX 65536 /* to this */

/* What waits until the socket takes bytes again. */
struct conn_blocked {
    size_t len; /* bytes that are left */
    uint32_t count;
    uint32_t done;         /* slices that have gone */
    struct slice slices[]; /* each owns a reference */
};

/* --- the write queue ------------------------------------------------------------------------ */

static void drop_queue(struct conn *conn) {
    slice_release(&conn->first);
    conn->own_tail = 0;
    if (!conn->rare->more)
        return;
    struct conn_rare *rare = conn_need(conn);
    for (uint32_t i = 0; i < rare->more_count; i++)
        slice_release(&rare->more[i]);
    free(rare->more);
    rare->more = NULL;
    rare->more_count = rare->more_cap = 0;
    rare->more_bytes = 0;
}

static void drop_blocked(struct conn *conn) {
    struct conn_blocked *blocked = conn->rare->blocked;
    if (!blocked)
        return;
    for (uint32_t i = blocked->done; i < blocked->count; i++)
        slice_release(&blocked->slices[i]);
    free(blocked);
    conn_need(conn)->blocked = NULL;
}

void conn_drop_output(struct conn *conn) {
    drop_queue(conn);
    drop_blocked(conn);
}

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
        conn_need(conn)->more_bytes += len;
}

/* Takes over the reference that the slice owns. */
static void push_take(struct conn *conn, const struct slice *slice) {
    conn->own_tail = 0;
    if (!conn->first.buf) {
        conn->first = *slice;
        return;
    }
    struct conn_rare *rare = conn_need(conn);
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
    const struct conn_blocked *blocked = conn->rare->blocked;
    return pending(conn) + (blocked ? blocked->len : 0);
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

/* Keeps these slices until the socket takes bytes again. */
static void block(struct conn *conn, const struct slice *slices, uint32_t count) {
    struct conn_blocked *blocked = memory_alloc(sizeof *blocked + count * sizeof *blocked->slices);
    size_t small = 0;
    blocked->len = blocked->count = blocked->done = 0;
    for (uint32_t i = 0; i < count; i++) {
        blocked->len += slices[i].len;
        small += worth_keeping(&slices[i]) ? 0 : slices[i].len;
    }
    struct buf *copy = buf_new(small);
    for (uint32_t i = 0; i < count; i++)
        keep_slice(blocked, copy, &slices[i]);
    buf_unref(copy);
    conn_need(conn)->blocked = blocked;
    conn_watch(conn);
}

static ssize_t gather(int fd, const struct slice *slices, uint32_t count) {
    struct iovec parts[GATHER];
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count < GATHER ? count : GATHER};
    for (size_t i = 0; i < message.msg_iovlen; i++)
        parts[i] = (struct iovec){(char *)slice_bytes(&slices[i]), slices[i].len};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

/* One gathered write of as many slices as fit. The bytes taken, 0 when the socket refuses, UV_E*.
 */
static ssize_t write_some(struct conn *conn, const struct slice *slices, uint32_t count) {
    ssize_t written;
    do
        written = count == 1 ? send(conn->fd, slice_bytes(slices), slices->len, MSG_NOSIGNAL)
                             : gather(conn->fd, slices, count);
    while (written < 0 && errno == EINTR);
    if (written < 0)
        return errno == EAGAIN || errno == ENOBUFS ? 0 : -errno;
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

/* The socket takes bytes again. */
void conn_write_blocked(struct conn *conn) {
    struct conn_blocked *blocked = conn->rare->blocked;
    uint64_t before = conn->io->metrics->bytes_sent;
    ssize_t done =
        write_slices(conn, blocked->slices + blocked->done, blocked->count - blocked->done);
    if (done < 0) {
        conn_start_close(conn, (int)done);
        return;
    }
    blocked->len -= conn->io->metrics->bytes_sent - before;
    for (uint32_t end = blocked->done + (uint32_t)done; blocked->done < end; blocked->done++)
        slice_release(&blocked->slices[blocked->done]);
    if (blocked->len)
        return;
    drop_blocked(conn);
    conn_flush(conn);
    if (!conn->closed && !conn->rare->blocked && !conn->finishing && conn->handler->on_drain)
        conn->handler->on_drain(conn);
    conn_watch_exactly(conn);
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
    if (done >= 0 && done < count)
        block(conn, slices + done, count - (uint32_t)done);
    if (slices != &conn->first)
        free(slices);
    drop_queue(conn);
    if (done < 0)
        conn_start_close(conn, (int)done);
}

void conn_flush(struct conn *conn) {
    if (conn->closed || conn->rare->blocked)
        return;
    if (pending(conn))
        write_queue(conn);
    if (conn->finishing && !conn->closed && !conn->rare->blocked)
        conn_after_flush(conn);
}
