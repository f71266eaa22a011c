/* One TCP connection: reading into the worker's buffer, a write queue of slices with a high mark
 * and a hard limit, flushing at the end of the turn with one gathered write, and pausing. What the
 * bytes mean is the handler's business. */
#ifndef MOONWIRE_NET_CONN_H
#define MOONWIRE_NET_CONN_H

#include "net/io.h"

struct conn;

struct conn_handler {
    /* Bytes arrived, in the worker's read buffer: the handler may change them in place and must
     * have done with them when it returns; what it cannot take yet it gives to conn_pause. */
    void (*on_data)(struct conn *conn, char *bytes, size_t len);
    /* Everything queued has been written after the socket had refused some. May be NULL. */
    void (*on_drain)(struct conn *conn);
    /* The peer has sent its last byte but may still read. NULL: the conn finishes by itself. */
    void (*on_end)(struct conn *conn);
    /* The connection is gone: error is 0 when the peer finished or conn_close completed, UV_E*
     * otherwise. Called once, from the end of a turn; the conn is freed right after. */
    void (*on_close)(struct conn *conn, int error);
};

/* What a connection that only waits, or answers at once, does not need. */
struct conn_rare {
    struct deferred closing; /* or feeding of the stash: end_of_turn */
    struct conn *conn;
    struct slice *more; /* the queue behind the first slice */
    uint32_t more_count;
    uint32_t more_cap;
    size_t more_bytes;
    struct conn_blocked *blocked; /* what the socket did not take at once */
    struct conn_finish *finish;   /* while finishing */
    struct buf *stash;            /* read while paused */
    size_t stash_off;             /* what of it has been handled */
    int error;
};

struct conn {
    int fd;
    uint32_t slot; /* among io's conns */
    const struct conn_handler *handler;
    void *owner; /* the handler's */
    struct io *io;
    struct peer *peer; /* counts this address; NULL: not counted */
    STAILQ_ENTRY(conn) dirty_link;
    struct slice first;           /* of the queue, mostly all of it */
    const struct conn_rare *rare; /* never NULL; until it is needed, one that is empty */
    unsigned dirty : 1;
    unsigned paused : 1;
    unsigned ended : 1;     /* the peer sends no more */
    unsigned finishing : 1; /* close once everything is written */
    unsigned closed : 1;    /* nothing more goes in or out */
    unsigned feeding : 1;   /* the stash is being handled */
    unsigned own_tail : 1;  /* the last slice is a buf of ours that may grow */
    unsigned watched : 8;   /* what epoll wakes us for: EPOLLIN, EPOLLOUT */
};

/* Takes over a connected socket that does not block; reading starts at once. The conn frees itself
 * after on_close. */
struct conn *conn_new(struct io *io, int fd);
/* For io.c: epoll has these events to tell. */
void conn_ready(struct conn *conn, uint32_t events);
/* An upgrade: later bytes and events go to the new handler. The rest of the bytes being handled is
 * the caller's to pass on. If the peer has ended already, on_end follows at the end of the turn. */
void conn_set_handler(struct conn *conn, const struct conn_handler *handler, void *owner);

/* Queues bytes: conn takes its own reference where it keeps one. An adjacent slice of the same buf
 * extends the last one. Returns the bytes now queued (including what a blocked write holds), or
 * UV_ENOBUFS: beyond the hard limit, the conn has been aborted; or UV_ECANCELED: closed. */
ssize_t conn_write(struct conn *conn, const struct slice *slice);
ssize_t conn_write_bytes(struct conn *conn, const void *bytes,
                         size_t len); /* copied, through the arena */
size_t conn_queued(const struct conn *conn);
bool conn_blocked(const struct conn *conn); /* the socket refused bytes and they still wait */
void conn_flush(struct conn *conn);         /* now, and not at the end of the turn */

/* Stops reading and keeps `rest`, the unhandled tail of the bytes given to on_data (len 0 is
 * allowed). */
void conn_pause(struct conn *conn, const char *rest, size_t len);
/* Feeds what was kept to on_data, from the end of the turn at the latest, and reads on. */
void conn_resume(struct conn *conn);

/* Writes what is queued, tells the peer the end, and closes when the peer has closed too or a short
 * time later: what it still sends is read and dropped, since closing over unread bytes would reset
 * the connection and could take the last answer with it (RFC 9112 section 9.6). */
void conn_finish(struct conn *conn);
void conn_abort(struct conn *conn, int error); /* Drops what is queued and closes. */
bool conn_is_closed(
    const struct conn *conn); /* finish or abort has been called, or the peer is gone */
/* The peer's address as text into `out` (at least 46 bytes); "" if unknown. */
void conn_address(const struct conn *conn, char *out, size_t size);

#endif
