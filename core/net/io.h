/* What the connections of a worker share: its loop, the one read buffer, the arena, the flush list,
 * lists of timeouts, and the end of a turn. The end of a turn runs in one uv_prepare callback:
 * closed hooks, then flush, repeated until both lists are empty or a bound is reached; a
 * no-op uv_idle keeps poll from sleeping while anything is left. Nothing is freed within a fan-out:
 * closing marks, the end of the turn frees. The conns' sockets stand in an epoll set of io's own,
 * which libuv watches as one descriptor: README.md says why. */
#ifndef MOONWIRE_NET_IO_H
#define MOONWIRE_NET_IO_H

#include "base/buf.h"
#include "base/config.h"
#include "base/deferred.h"
#include "base/metrics.h"
#include "base/slots.h"
#include <sys/queue.h>
#include <uv.h>

struct conn;

/* A timeout that stands on a list of equal durations: starting, stopping and restarting are O(1).
 */
struct timeout_class;
struct timeout {
    struct timeout *next; /* on its list, a ring; NULL: not running */
    struct timeout *prev;
    uint64_t due; /* loop time, ms */
    void (*expired)(struct timeout *timeout);
};

struct io {
    uv_loop_t *loop; /* loop->data is left alone */
    const struct config *config;
    struct metrics *metrics;
    struct arena arena;
    char *read_buffer;
    size_t read_size;   /* 64 KiB */
    size_t flush_now;   /* bytes pending that a conn does not keep until the end of the turn */
    int epoll;          /* the set in which all conns' sockets stand, */
    uv_poll_t readable; /* which libuv watches as one descriptor */
    struct slots conns;
    uv_prepare_t prepare;
    uv_idle_t idle;
    uv_timer_t timer;
    SLIST_HEAD(timeout_classes, timeout_class) timeouts;
    STAILQ_HEAD(dirty_conns, conn) dirty;
    struct deferred_list closed; /* run first: they may still emit */
    uint64_t armed;              /* when the timer fires; UINT64_MAX: it does not run */
    struct peer *peers;          /* connections by address, see net/peers.h */
    int refusing;                /* connections that are being told 503 */
    uint64_t lap; /* uv_hrtime() when a handler ended, while nothing but what was read
                     together has been dealt with since; 0: look at the clock */
    bool stopped;
};

int io_init(struct io *io, uv_loop_t *loop, const struct config *config, struct metrics *metrics);
void io_stop(struct io *io);   /* Closes the handles; the loop must run once more. */
void io_deinit(struct io *io); /* After that. */

void io_defer_closed(struct io *io, struct deferred *deferred);
void io_end_turn(struct io *io); /* Also called by itself: at shutdown, and by tests. */
void io_mark_dirty(struct io *io, struct conn *conn); /* For conn.c: it has output to flush. */

/* For conn.c: while there is a conn the loop does not end. */
void io_add_conn(struct io *io, struct conn *conn);
void io_remove_conn(struct io *io, struct conn *conn);
/* Aborts every conn of this worker, for its end. Listeners have been stopped before. */
void io_abort_conns(struct io *io);

/* (Re)starts: expires after `duration` ms (0 counts as 1) unless restarted or stopped. Exact to the
 * loop's millisecond. */
void timeout_start(struct io *io, struct timeout *timeout, uint64_t duration);
void timeout_stop(struct timeout *timeout);
static inline bool timeout_running(const struct timeout *timeout) {
    return timeout->next != NULL;
}

#endif
