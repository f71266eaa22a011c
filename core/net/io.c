/* The shared part of a worker's connections: the end of a turn, and timeouts on lists of equal
 * duration. It does not read or write sockets (net/conn does) and knows no protocol. The worker
 * makes one; conns, http and proto put their timeouts and their late work here. */
#include "net/io.h"

#include "base/memory.h"
#include "net/conn.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define READ_SIZE 65536
#define READY_MAX 1024 /* sockets in one turn; the others are told of in the next */
#define FLUSH_NOW 65536

/* Closed hooks may dirty conns, whose flush may close conns, and so on. What is left after this
 * many rounds runs in the next turn, so that sockets are polled in between. */
#define MAX_ROUNDS 16

/* All running timeouts of one duration, the soonest first: each is appended at its start, and the
 * loop's time never goes back. They stand in a ring with the head, so that one that stops need not
 * know its list: there are as many timeouts as connections. */
struct timeout_class {
    SLIST_ENTRY(timeout_class) link;
    uint64_t duration;
    struct timeout head;
};

static bool io_has_work(const struct io *io) {
    return !STAILQ_EMPTY(&io->closed) || !STAILQ_EMPTY(&io->dirty);
}

static void on_prepare(uv_prepare_t *prepare) {
    struct io *io = prepare->data;
    io->lap = 0; /* handlers may run in here, and poll sleeps after it */
    io_end_turn(io);
    io->lap = 0;
    if (!io_has_work(io))
        uv_idle_stop(&io->idle);
}

/* Its only effect is that poll does not sleep. */
static void on_idle(uv_idle_t *idle) {
    (void)idle;
}

static void wake(struct io *io) {
    if (!io->stopped && !uv_is_active((uv_handle_t *)&io->idle))
        uv_idle_start(&io->idle, on_idle);
}

/* --- sockets -------------------------------------------------------------------------------- */

/* No conn is freed in here, so that what epoll has named stays there. */
static void on_readable(uv_poll_t *poll, int status, int events) {
    struct io *io = poll->data;
    struct epoll_event ready[READY_MAX];
    (void)status;
    (void)events;
    int count = epoll_wait(io->epoll, ready, READY_MAX, 0);
    for (int i = 0; i < count; i++)
        conn_ready(ready[i].data.ptr, ready[i].events);
}

static int start_epoll(struct io *io) {
    io->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (io->epoll < 0)
        return -errno;
    int error = uv_poll_init(io->loop, &io->readable, io->epoll);
    if (error) {
        close(io->epoll);
        return error;
    }
    io->readable.data = io;
    uv_poll_start(&io->readable, UV_READABLE, on_readable);
    uv_unref((uv_handle_t *)&io->readable);
    return 0;
}

void io_add_conn(struct io *io, struct conn *conn) {
    uv_ref((uv_handle_t *)&io->readable);
    conn->slot = slots_add(&io->conns, conn);
}

void io_remove_conn(struct io *io, struct conn *conn) {
    slots_remove(&io->conns, conn->slot);
    if (!slots_count(&io->conns))
        uv_unref((uv_handle_t *)&io->readable);
}

void io_abort_conns(struct io *io) {
    for (uint32_t i = 0; i < io->conns.end; i++) {
        struct conn *conn = slots_get(&io->conns, i);
        if (conn)
            conn_abort(conn, UV_ECANCELED);
    }
}

/* --- life ----------------------------------------------------------------------------------- */

int io_init(struct io *io, uv_loop_t *loop, const struct config *config, struct metrics *metrics) {
    *io = (struct io){.loop = loop, .config = config, .metrics = metrics, .armed = UINT64_MAX};
    int error = start_epoll(io);
    if (error)
        return error;
    arena_init(&io->arena);
    io->read_size = READ_SIZE;
    /* Whoever is above the high mark must have refused bytes. */
    io->flush_now = config->high_mark < FLUSH_NOW ? config->high_mark : FLUSH_NOW;
    io->read_buffer = memory_alloc(READ_SIZE);
    SLIST_INIT(&io->timeouts);
    STAILQ_INIT(&io->dirty);
    STAILQ_INIT(&io->closed);
    /* None of these can fail: they only link the handle into the loop. */
    uv_prepare_init(loop, &io->prepare);
    uv_idle_init(loop, &io->idle);
    uv_timer_init(loop, &io->timer);
    io->prepare.data = io->idle.data = io->timer.data = io;
    uv_prepare_start(&io->prepare, on_prepare);
    uv_unref((uv_handle_t *)&io->prepare);
    return 0;
}

void io_stop(struct io *io) {
    if (io->stopped)
        return;
    io->stopped = true;
    uv_close((uv_handle_t *)&io->readable, NULL);
    uv_close((uv_handle_t *)&io->prepare, NULL);
    uv_close((uv_handle_t *)&io->idle, NULL);
    uv_close((uv_handle_t *)&io->timer, NULL);
}

void io_deinit(struct io *io) {
    while (io_has_work(io))
        io_end_turn(io);
    struct timeout_class *class;
    while ((class = SLIST_FIRST(&io->timeouts))) {
        SLIST_REMOVE_HEAD(&io->timeouts, link);
        free(class);
    }
    close(io->epoll);
    slots_deinit(&io->conns);
    arena_deinit(&io->arena);
    free(io->read_buffer);
}

/* --- the end of a turn --------------------------------------------------------------------- */

void io_defer_closed(struct io *io, struct deferred *deferred) {
    if (deferred->queued)
        return;
    deferred->queued = true;
    STAILQ_INSERT_TAIL(&io->closed, deferred, link);
    wake(io);
}

void io_mark_dirty(struct io *io, struct conn *conn) {
    if (conn->dirty)
        return;
    conn->dirty = 1;
    STAILQ_INSERT_TAIL(&io->dirty, conn, dirty_link);
    wake(io);
}

/* Runs what is on the list now; what is added meanwhile waits for the next round. */
static void run_closed(struct io *io) {
    struct deferred_list now = STAILQ_HEAD_INITIALIZER(now);
    STAILQ_CONCAT(&now, &io->closed);
    struct deferred *deferred;
    while ((deferred = STAILQ_FIRST(&now))) {
        STAILQ_REMOVE_HEAD(&now, link);
        deferred->queued = false;
        deferred->run(deferred);
    }
}

/* Flushing calls no handler, so the list does not grow under it. */
static void flush_dirty(struct io *io) {
    struct conn *conn;
    while ((conn = STAILQ_FIRST(&io->dirty))) {
        STAILQ_REMOVE_HEAD(&io->dirty, dirty_link);
        conn->dirty = 0;
        conn_flush(conn);
    }
    io->lap = 0;
}

void io_end_turn(struct io *io) {
    for (int round = 0; round < MAX_ROUNDS && io_has_work(io); round++) {
        run_closed(io);
        flush_dirty(io);
    }
    arena_rewind(&io->arena);
}

/* --- timeouts ------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer);

/* The soonest of a class; NULL: none runs. */
static struct timeout *first_of(struct timeout_class *class) {
    return class->head.next == &class->head ? NULL : class->head.next;
}

static void arm(struct io *io, uint64_t due) {
    if (due >= io->armed || io->stopped)
        return;
    uint64_t now = uv_now(io->loop);
    io->armed = due;
    uv_timer_start(&io->timer, on_timer, due > now ? due - now : 0, 0);
}

/* The timer is armed for the soonest head, or for one that has been stopped since: then it only
 * looks again. */
static void on_timer(uv_timer_t *timer) {
    struct io *io = timer->data;
    uint64_t now = uv_now(io->loop);
    io->armed = UINT64_MAX;
    struct timeout_class *class;
    SLIST_FOREACH (class, &io->timeouts, link) {
        struct timeout *timeout;
        while ((timeout = first_of(class)) && timeout->due <= now) {
            timeout_stop(timeout);
            timeout->expired(timeout);
        }
    }
    SLIST_FOREACH (class, &io->timeouts, link) {
        const struct timeout *first = first_of(class);
        if (first)
            arm(io, first->due);
    }
}

/* An empty class of another duration is used again, so that there are never more of them than
 * durations were running at once. */
static struct timeout_class *find_class(struct io *io, uint64_t duration) {
    struct timeout_class *class;
    struct timeout_class *empty = NULL;
    SLIST_FOREACH (class, &io->timeouts, link) {
        if (class->duration == duration)
            return class;
        if (!first_of(class))
            empty = class;
    }
    if (!empty) {
        empty = memory_zalloc(sizeof *empty);
        empty->head.next = empty->head.prev = &empty->head;
        SLIST_INSERT_HEAD(&io->timeouts, empty, link);
    }
    empty->duration = duration;
    return empty;
}

void timeout_start(struct io *io, struct timeout *timeout, uint64_t duration) {
    timeout_stop(timeout);
    struct timeout_class *class = find_class(io, duration ? duration : 1);
    timeout->due = uv_now(io->loop) + class->duration;
    timeout->next = &class->head;
    timeout->prev = class->head.prev;
    timeout->prev->next = timeout;
    class->head.prev = timeout;
    arm(io, timeout->due);
}

void timeout_stop(struct timeout *timeout) {
    if (!timeout_running(timeout))
        return;
    timeout->prev->next = timeout->next;
    timeout->next->prev = timeout->prev;
    timeout->next = timeout->prev = NULL;
}
