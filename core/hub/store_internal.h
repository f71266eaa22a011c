/* What store.c (the loop's side: the queue and who waits) and store_db.c (SQLite) share; nobody
 * else includes this. */
#ifndef MOONWIRE_HUB_STORE_INTERNAL_H
#define MOONWIRE_HUB_STORE_INTERNAL_H

#include "hub/store.h"
#include <sqlite3.h>
#include <sys/queue.h>

/* Of one connection to the database. */
enum statement {
    STATEMENT_BEGIN,
    STATEMENT_COMMIT,
    STATEMENT_ROLLBACK,
    STATEMENT_LOG_FIND,
    STATEMENT_LOG_PUT,
    STATEMENT_LOG_EMPTY,
    STATEMENT_RECORD_PUT,
    STATEMENT_RECORD_TRIM,
    STATEMENT_RECORD_READ,
    STATEMENT_VALUE_PUT,
    STATEMENT_VALUE_DELETE,
    STATEMENT_VALUE_READ,
    STATEMENT_EXPIRE_RECORDS,
    STATEMENT_EXPIRE_MARKS,
    STATEMENT_EXPIRE_LOGS,
    STATEMENT_EXPIRE_VALUES,
    STATEMENT_COUNT
};

struct db {
    sqlite3 *handle;
    sqlite3_stmt *statements[STATEMENT_COUNT];
    int64_t run; /* this process's, in the table of runs that have not ended well */
    char path[4096];
    const struct log *log;
    bool has_failed; /* to write, in this run */
    int failing;     /* SQLite's primary code of the last failure, logged; SQLITE_OK: all is well */
};

struct store_log {
    struct store *store;
    uint32_t queued; /* jobs; the loop's */
    /* From here on the writing thread's, once the log is open. */
    int64_t id; /* 0: not in the database yet */
    uint64_t last;
    uint64_t trimmed;
    uint64_t expired;
    uint64_t ttl;
    char epoch[STORE_EPOCH_MAX + 1];
    bool dirty; /* on the list of those whose row is to be written in this transaction */
    bool made;  /* its row is new in this transaction */
    bool anew;  /* it begins anew: what is on disk is to go first */
    STAILQ_ENTRY(store_log) link;
    size_t name_len;
    char name[];
};

enum store_op { STORE_BEGIN, STORE_APPEND, STORE_CLOSE, STORE_SET, STORE_DELETE };

struct store_job {
    STAILQ_ENTRY(store_job) link;
    enum store_op op;
    int status;
    struct store_log *log; /* NULL: a value's */
    struct store_wait *wait;
    uint64_t sequence;
    uint64_t trimmed;
    uint64_t expired;
    uint64_t ttl;
    char epoch[STORE_EPOCH_MAX + 1];
    size_t key_len;
    size_t value_len;
    char bytes[]; /* the key, then the value */
};
STAILQ_HEAD(store_jobs, store_job);

static inline struct span job_key(const struct store_job *job) {
    return (struct span){job->bytes, job->key_len};
}

static inline struct span job_value(const struct store_job *job) {
    return (struct span){job->bytes + job->key_len, job->value_len};
}

/* More than any run has told of sequences that it could not write. */
#define STORE_JUMP 1000000000

int64_t db_now(void); /* wall-clock time in ms, for it is compared after a restart */

/* Two connections, one on each side: `writes` is the thread's, whose opening makes or checks the
 * schema. 0 or UV_E* and a sentence. */
int db_open(struct db *db, const char *path, const struct log *log, bool writes,
            struct writer *error);
/* ended_well: the thread's connection notes that, unless something could not be written. */
void db_close(struct db *db, bool ended_well);

/* All jobs as one transaction: 0 or UV_E*, logged. */
int db_write(struct db *db, struct store_jobs *jobs);
/* Removes some of what is over; true: there may be more. */
bool db_expire(struct db *db);

int db_load(struct db *db, struct store_log *log, uint32_t limit, int64_t current_run,
            struct store_state *state,
            void (*visit)(uint64_t sequence, struct span bytes, void *data), void *data);
bool db_get(struct db *db, struct span key, struct writer *value);

#endif
