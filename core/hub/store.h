/* What outlives the process: named logs of opaque records, and keyed values, in one SQLite
 * database. A thread of its own writes: everything that is queued becomes one transaction, and who
 * asked hears of it on the loop, in the order of asking. Reading blocks, and is for what is read
 * once: a log when somebody first needs it. What the bytes mean is the caller's business; rooms are
 * in durable.c.
 *
 * A store is one process's: a second one is refused. All functions are for the loop's thread. */
#ifndef MOONWIRE_HUB_STORE_H
#define MOONWIRE_HUB_STORE_H

#include "base/buf.h"
#include "base/log.h"
#include "base/metrics.h"
#include <uv.h>

#define STORE_EPOCH_MAX 16

struct store;
struct store_log;

/* Opens the store in this folder, which is made if it is not there. 0, or UV_E* and in `error` a
 * sentence with the path and the reason: not writable, in use by another server, no database, or
 * one of a newer version. */
int store_open(struct store **out, uv_loop_t *loop, const char *folder, const struct log *log,
               struct metrics *metrics, struct writer *error);
/* Blocks until everything queued has been committed, or has failed; who waits hears of it before
 * this returns. Nothing more can be written. The loop runs once more before store_free. */
void store_stop(struct store *s);
void store_free(struct store *s);
const struct log *store_logger(const struct store *s); /* where it says what it has to say */

/* Embedded by who waits, and stays where it is until `done` has run: exactly once, from the loop
 * and never from within the function that asked. status: 0, it is on disk; or UV_E*, it is not. */
struct store_wait {
    void (*done)(struct store_wait *wait, int status);
};

/* --- logs ----------------------------------------------------------------------------------- */

/* Where a log stands. */
struct store_state {
    char epoch[STORE_EPOCH_MAX + 1]; /* empty: there is no such log yet */
    uint64_t last;                   /* the next sequence is a later one; see store_append */
    uint64_t trimmed;                /* the last sequence that is no longer there; 0: none */
    uint64_t expired;                /* the last one that went because its time was over; 0: none */
    uint64_t age;                    /* ms since the last append */
};

/* Opens the log with this name, any bytes; never the same one twice at a time. Visits its newest
 * records, at most `limit`, the oldest first; their bytes are borrowed for the visit. 0 or UV_E*,
 * which has been logged: then *out is NULL. */
int store_log_open(struct store_log **out, struct store *s, struct span name, uint32_t limit,
                   struct store_state *state,
                   void (*visit)(uint64_t sequence, struct span bytes, void *data), void *data);
/* Begins the log anew with this epoch: what was in it goes. To be called on one that is new, which
 * is then there, for so many ms if nothing is appended. */
void store_log_begin(struct store_log *log, const char *epoch, uint64_t ttl);
/* Is something of it queued? One that is not may be closed and opened again. */
bool store_log_busy(const struct store_log *log);
void store_log_close(struct store_log *log); /* What is queued will be written. NULL is allowed. */

struct store_record {
    uint64_t sequence;
    struct span bytes; /* copied */
    uint64_t trimmed;  /* all up to this sequence go from the log */
    uint64_t expired;  /* state.expired from now on; never less than it was */
    uint64_t ttl;      /* ms that the log outlives this record */
    bool patient;      /* who writes it writes nothing more until it is on disk */
};
/* Queues a record; sequences increase, gaps are allowed. wait may be NULL: then others know the
 * record already, and should it not be written, the log begins after it. 0, or UV_ENOBUFS when
 * too much is queued (four times as much may be before a patient writer is refused, for there
 * cannot be many of them), or UV_ECANCELED after store_stop.
 *
 * Its sequence may be told to others at once. Should it not be written, or the process be killed
 * before the commit, state.last jumps ahead at the next opening by more than can have been queued,
 * so that a sequence never means two records. */
int store_append(struct store_log *log, const struct store_record *record, struct store_wait *wait);

/* --- keyed values --------------------------------------------------------------------------- */

/* As store_append of who is patient if `wait` is not NULL. ttl in ms, from now on. */
int store_set(struct store *s, struct span key, struct span value, uint64_t ttl,
              struct store_wait *wait);
int store_delete(struct store *s, struct span key, struct store_wait *wait);
/* What was set last, queued or committed, appended to `value`. False: nothing, or its time is over,
 * or it cannot be read (which has been logged). */
bool store_get(struct store *s, struct span key, struct writer *value);

#endif
