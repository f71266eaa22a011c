/* The store's SQL: its schema, one transaction for many jobs, reading, and what goes when its time
 * is over. Called by store.c, from two threads with a connection each. */
#include "hub/store_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/time.h>

#define SCHEMA_VERSION 1
#define BUSY_TIMEOUT 5000 /* ms that we wait for another program's lock, such as sqlite3(1)'s */
#define PASS "200"        /* logs that go in one pass */
#define CACHE "-8192"     /* KiB of pages, negated */

/* A run that has not ended well, or had failures, stays in `runs`; each since a log was last
 * written may have told sequences of it that are not in the database. Neither ids of logs nor of
 * runs come a second time (AUTOINCREMENT): an open log may find its row gone. */
static const char schema[] =
    "CREATE TABLE runs (id INTEGER PRIMARY KEY AUTOINCREMENT, began INTEGER NOT NULL);"
    "CREATE TABLE logs (id INTEGER PRIMARY KEY AUTOINCREMENT, name BLOB NOT NULL UNIQUE,"
    " epoch TEXT NOT NULL, last INTEGER NOT NULL, trimmed INTEGER NOT NULL,"
    " expired INTEGER NOT NULL, touched INTEGER NOT NULL, ttl INTEGER NOT NULL,"
    " run INTEGER NOT NULL);"
    "CREATE TABLE records (log INTEGER NOT NULL, sequence INTEGER NOT NULL, bytes BLOB NOT NULL,"
    " PRIMARY KEY (log, sequence)) WITHOUT ROWID;"
    "CREATE TABLE keyed (key BLOB PRIMARY KEY, value BLOB NOT NULL, expires INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "PRAGMA user_version = 1;";

static const char *const sql[STATEMENT_COUNT] = {
    [STATEMENT_BEGIN] = "BEGIN IMMEDIATE",
    [STATEMENT_COMMIT] = "COMMIT",
    [STATEMENT_ROLLBACK] = "ROLLBACK",
    [STATEMENT_LOG_FIND] = "SELECT id, epoch, last, trimmed, expired, touched, ttl,"
                           " (SELECT count(*) FROM runs WHERE runs.id >= run AND runs.id <> ?2) "
                           "FROM logs WHERE name = ?1",
    [STATEMENT_LOG_PUT] =
        "INSERT INTO logs (id, name, epoch, last, trimmed, expired, touched, ttl, run)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET"
        " epoch = ?3, last = ?4, touched = ?7, ttl = ?8, run = ?9,"
        /* Some may have expired without the loop knowing yet. */
        " trimmed = CASE epoch WHEN ?3 THEN max(trimmed, ?5) ELSE ?5 END,"
        " expired = CASE epoch WHEN ?3 THEN max(expired, ?6) ELSE ?6 END RETURNING id",
    [STATEMENT_LOG_EMPTY] = "DELETE FROM records WHERE log = ?1",
    [STATEMENT_RECORD_PUT] = "INSERT INTO records (log, sequence, bytes) VALUES (?1, ?2, ?3)",
    [STATEMENT_RECORD_TRIM] = "DELETE FROM records WHERE log = ?1 AND sequence <= ?2",
    [STATEMENT_RECORD_READ] =
        "SELECT sequence, bytes FROM (SELECT sequence, bytes FROM records WHERE log = ?1 AND"
        " sequence > ?2 ORDER BY sequence DESC LIMIT ?3) ORDER BY sequence",
    [STATEMENT_VALUE_PUT] =
        "INSERT OR REPLACE INTO keyed (key, value, expires) VALUES (?1, ?2, ?3)",
    [STATEMENT_VALUE_DELETE] = "DELETE FROM keyed WHERE key = ?1",
    [STATEMENT_VALUE_READ] = "SELECT value FROM keyed WHERE key = ?1 AND expires > ?2",
    [STATEMENT_EXPIRE_RECORDS] =
        "DELETE FROM records WHERE log IN (SELECT id FROM logs WHERE touched + ttl <= ?1 AND"
        " trimmed < last ORDER BY id LIMIT " PASS ")",
    [STATEMENT_EXPIRE_MARKS] =
        "UPDATE logs SET trimmed = last, expired = last WHERE id IN (SELECT id FROM logs WHERE"
        " touched + ttl <= ?1 AND trimmed < last ORDER BY id LIMIT " PASS ")",
    [STATEMENT_EXPIRE_LOGS] =
        "DELETE FROM logs WHERE id IN (SELECT id FROM logs WHERE touched + 2 * ttl <= ?1 AND"
        " trimmed >= last ORDER BY id LIMIT " PASS ")",
    [STATEMENT_EXPIRE_VALUES] =
        "DELETE FROM keyed WHERE key IN (SELECT key FROM keyed WHERE expires <= ?1 LIMIT " PASS ")",
};

int64_t db_now(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return (int64_t)now.tv_sec * 1000 + now.tv_usec / 1000;
}

/* --- failures --- */

static int status_of(int code) {
    switch (code & 0xff) {
    case SQLITE_FULL:
        return UV_ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return UV_EBUSY;
    case SQLITE_READONLY:
    case SQLITE_PERM:
        return UV_EACCES;
    case SQLITE_TOOBIG:
        return UV_E2BIG;
    default:
        return UV_EIO;
    }
}

/* Says it once for each kind of failure, until all is well again. */
static int fail(struct db *db, int code) {
    int extended = db->handle ? sqlite3_extended_errcode(db->handle) : code;
    if (db->failing != (code & 0xff)) {
        struct log_line line;
        db->failing = code & 0xff;
        log_begin(&line, db->log, LOG_ERROR, "the store fails");
        log_field(&line, "path", span_of(db->path));
        log_field(&line, "error", span_of(sqlite3_errstr(code)));
        log_fieldf(&line, "sqlite", "%d", extended);
        log_end(&line);
    }
    return status_of(code);
}

static void succeed(struct db *db) {
    if (db->failing) {
        db->failing = SQLITE_OK;
        log_printf(db->log, LOG_INFO, "the store works again: %s", db->path);
    }
}

/* --- statements --- */

static void bind_span(sqlite3_stmt *s, int index, struct span bytes) {
    sqlite3_bind_blob64(s, index, bytes.at ? bytes.at : "", bytes.len, SQLITE_STATIC);
}

/* Runs a statement that has no rows, bound already: SQLITE_OK or an error. */
static int run(sqlite3_stmt *s) {
    int code = sqlite3_step(s);
    sqlite3_reset(s);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int run_at(struct db *db, enum statement which, int64_t now) {
    sqlite3_bind_int64(db->statements[which], 1, now);
    return run(db->statements[which]);
}

/* --- opening --- */

static int execute(struct db *db, const char *text) {
    return sqlite3_exec(db->handle, text, NULL, NULL, NULL);
}

static int read_version(struct db *db, int *version) {
    sqlite3_stmt *s;
    int code = sqlite3_prepare_v2(db->handle, "PRAGMA user_version", -1, &s, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(s) == SQLITE_ROW ? SQLITE_OK : sqlite3_errcode(db->handle);
        *version = sqlite3_column_int(s, 0);
        sqlite3_finalize(s);
    }
    return code;
}

/* What is new gets its tables in one transaction, so that a crash leaves none or all. */
static int make_schema(struct db *db) {
    int code = execute(db, "BEGIN IMMEDIATE");
    if (code == SQLITE_OK) {
        code = execute(db, schema);
    }
    return code == SQLITE_OK ? execute(db, "COMMIT") : code;
}

/* A power cut must not take back what was acknowledged: FULL. */
static int set_up(struct db *db, bool writes, struct writer *error) {
    int version = 0;
    sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT);
    int code = read_version(db, &version);
    if (code == SQLITE_OK && version > SCHEMA_VERSION) {
        writer_printf(error,
                      "%s was written by a newer version of moonwire (schema %d, this one "
                      "knows %d)",
                      db->path, version, SCHEMA_VERSION);
        return UV_ENOTSUP;
    }
    if (code == SQLITE_OK && writes) {
        code = execute(db, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                           "PRAGMA cache_size = " CACHE ";");
    }
    if (code == SQLITE_OK && writes && version == 0) {
        code = make_schema(db);
    }
    for (int i = 0; code == SQLITE_OK && i < STATEMENT_COUNT; i++) {
        code = sqlite3_prepare_v3(db->handle, sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &db->statements[i], NULL);
    }
    if (code == SQLITE_OK && writes) {
        code = execute(db, "INSERT INTO runs (began) VALUES (unixepoch())");
        db->run = sqlite3_last_insert_rowid(db->handle);
    }
    if (code != SQLITE_OK) {
        writer_printf(error, "cannot use %s: %s", db->path, sqlite3_errmsg(db->handle));
        return status_of(code);
    }
    return 0;
}

int db_open(struct db *db, const char *path, const struct log *log, bool writes,
            struct writer *error) {
    memset(db, 0, sizeof *db);
    db->log = log;
    if (strlen(path) >= sizeof db->path) {
        writer_printf(error, "cannot use %s: the path is too long", path);
        return UV_ENAMETOOLONG;
    }
    strcpy(db->path, path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (writes ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(path, &db->handle, flags, NULL);
    int status;
    if (code != SQLITE_OK) {
        writer_printf(error, "cannot open %s: %s", path,
                      db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code));
        status = status_of(code);
    } else {
        status = set_up(db, writes, error);
    }
    if (status) {
        db_close(db, false);
    }
    return status;
}

void db_close(struct db *db, bool ended_well) {
    if (ended_well && !db->has_failed) {
        char text[80];
        snprintf(text, sizeof text, "DELETE FROM runs WHERE id = %lld", (long long)db->run);
        (void)execute(db, text); /* it only spares sequences */
    }
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        sqlite3_finalize(db->statements[i]);
    }
    sqlite3_close(db->handle);
    memset(db->statements, 0, sizeof db->statements);
    db->handle = NULL;
}

/* --- writing --- */

STAILQ_HEAD(log_list, store_log);

static int put_log(struct db *db, struct store_log *log) {
    sqlite3_stmt *s = db->statements[STATEMENT_LOG_PUT];
    if (log->id) {
        sqlite3_bind_int64(s, 1, log->id);
    } else {
        sqlite3_bind_null(s, 1);
    }
    bind_span(s, 2, (struct span){log->name, log->name_len});
    sqlite3_bind_text(s, 3, log->epoch, -1, SQLITE_STATIC);
    sqlite3_bind_int64(s, 4, (int64_t)log->last);
    sqlite3_bind_int64(s, 5, (int64_t)log->trimmed);
    sqlite3_bind_int64(s, 6, (int64_t)log->expired);
    sqlite3_bind_int64(s, 7, db_now());
    sqlite3_bind_int64(s, 8, (int64_t)log->ttl);
    sqlite3_bind_int64(s, 9, db->run);
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        log->made = log->made || !log->id;
        log->id = sqlite3_column_int64(s, 0);
        code = sqlite3_step(s);
    }
    sqlite3_reset(s);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int empty_log(struct db *db, const struct store_log *log) {
    sqlite3_stmt *s = db->statements[STATEMENT_LOG_EMPTY];
    sqlite3_bind_int64(s, 1, log->id);
    return run(s);
}

/* A log's row is written, and its beginning trimmed, once in a transaction however many records
 * come. */
static int touch(struct db *db, struct store_log *log, struct log_list *dirty) {
    bool first = !log->dirty;
    if (first) {
        log->dirty = true;
        STAILQ_INSERT_TAIL(dirty, log, link);
    }
    int code = log->id ? SQLITE_OK : put_log(db, log);
    return code == SQLITE_OK && first && log->anew ? empty_log(db, log) : code;
}

static int finish_log(struct db *db, struct store_log *log) {
    int code = put_log(db, log);
    if (code == SQLITE_OK && log->trimmed) {
        sqlite3_stmt *s = db->statements[STATEMENT_RECORD_TRIM];
        sqlite3_bind_int64(s, 1, log->id);
        sqlite3_bind_int64(s, 2, (int64_t)log->trimmed);
        code = run(s);
    }
    return code;
}

static int begin_log(struct db *db, const struct store_job *job, struct log_list *dirty) {
    struct store_log *log = job->log;
    strcpy(log->epoch, job->epoch);
    log->last = log->trimmed = log->expired = 0;
    log->ttl = job->ttl;
    bool is_touched = log->dirty;
    log->anew = true;
    int code = touch(db, log, dirty);
    return code == SQLITE_OK && is_touched ? empty_log(db, log) : code;
}

static int append(struct db *db, const struct store_job *job, struct log_list *dirty) {
    struct store_log *log = job->log;
    log->last = job->sequence;
    log->trimmed = job->trimmed > log->trimmed ? job->trimmed : log->trimmed;
    log->expired = job->expired > log->expired ? job->expired : log->expired;
    log->ttl = job->ttl;
    int code = touch(db, log, dirty);
    if (code == SQLITE_OK) {
        sqlite3_stmt *s = db->statements[STATEMENT_RECORD_PUT];
        sqlite3_bind_int64(s, 1, log->id);
        sqlite3_bind_int64(s, 2, (int64_t)job->sequence);
        bind_span(s, 3, job_value(job));
        code = run(s);
    }
    return code;
}

static int set_value(struct db *db, const struct store_job *job) {
    bool put = job->op == STORE_SET;
    sqlite3_stmt *s = db->statements[put ? STATEMENT_VALUE_PUT : STATEMENT_VALUE_DELETE];
    bind_span(s, 1, job_key(job));
    if (put) {
        bind_span(s, 2, job_value(job));
        sqlite3_bind_int64(s, 3, (int64_t)job->expired);
    }
    return run(s);
}

static int write_job(struct db *db, const struct store_job *job, struct log_list *dirty) {
    switch (job->op) {
    case STORE_BEGIN:
        return begin_log(db, job, dirty);
    case STORE_APPEND:
        return append(db, job, dirty);
    case STORE_CLOSE:
        return SQLITE_OK;
    default:
        return set_value(db, job);
    }
}

/* Whether it was committed or not, nothing of the transaction stays with the logs. */
static void forget(struct log_list *dirty, bool committed) {
    struct store_log *log;
    STAILQ_FOREACH (log, dirty, link) {
        log->dirty = false;
        log->anew = log->anew && !committed;
        if (log->made && !committed) {
            log->id = 0;
        }
        log->made = false;
    }
}

/* For whom nobody waits, that is known already, and now missing: the log begins after it. */
static void trim_lost(const struct store_jobs *jobs) {
    const struct store_job *job;
    STAILQ_FOREACH (job, jobs, link) {
        if (job->op == STORE_APPEND && !job->wait && job->sequence > job->log->trimmed) {
            job->log->trimmed = job->sequence;
        }
    }
}

int db_write(struct db *db, struct store_jobs *jobs) {
    struct log_list dirty = STAILQ_HEAD_INITIALIZER(dirty);
    struct store_log *log;
    struct store_job *job;
    int code = run(db->statements[STATEMENT_BEGIN]);
    STAILQ_FOREACH (job, jobs, link) {
        if (code == SQLITE_OK) {
            code = write_job(db, job, &dirty);
        }
    }
    STAILQ_FOREACH (log, &dirty, link) {
        if (code == SQLITE_OK) {
            code = finish_log(db, log);
        }
    }
    if (code == SQLITE_OK) {
        code = run(db->statements[STATEMENT_COMMIT]);
    }
    int status = 0;
    if (code == SQLITE_OK) {
        succeed(db);
    } else {
        db->has_failed = true;
        status = fail(db, code);
        (void)run(db->statements[STATEMENT_ROLLBACK]); /* SQLite may have done it already */
        trim_lost(jobs);
    }
    forget(&dirty, status == 0);
    return status;
}

/* First the records go, and who asks hears that their time was over; after as much time again the
 * log itself does, for its room may never be used again. */
bool db_expire(struct db *db) {
    int64_t now = db_now();
    int before = sqlite3_total_changes(db->handle);
    int code = run(db->statements[STATEMENT_BEGIN]);
    if (code != SQLITE_OK) {
        (void)fail(db, code);
        return false;
    }
    for (int which = STATEMENT_EXPIRE_RECORDS;
         code == SQLITE_OK && which <= STATEMENT_EXPIRE_VALUES; which++) {
        code = run_at(db, (enum statement)which, now);
    }
    if (code == SQLITE_OK) {
        code = run(db->statements[STATEMENT_COMMIT]);
    }
    if (code != SQLITE_OK) {
        (void)fail(db, code);
        (void)run(db->statements[STATEMENT_ROLLBACK]);
        return false;
    }
    return sqlite3_total_changes(db->handle) != before;
}

/* --- reading --- */

static void read_state(sqlite3_stmt *s, struct store_log *log, struct store_state *state) {
    int64_t age = db_now() - sqlite3_column_int64(s, 5);
    int64_t ttl = sqlite3_column_int64(s, 6);
    log->id = sqlite3_column_int64(s, 0);
    snprintf(state->epoch, sizeof state->epoch, "%s", (const char *)sqlite3_column_text(s, 1));
    state->last = (uint64_t)sqlite3_column_int64(s, 2);
    state->trimmed = (uint64_t)sqlite3_column_int64(s, 3);
    state->expired = (uint64_t)sqlite3_column_int64(s, 4);
    state->age = age > 0 ? (uint64_t)age : 0;
    if (age >= ttl) { /* over, if not removed yet */
        state->trimmed = state->expired = state->last;
    }
    state->last += (uint64_t)sqlite3_column_int64(s, 7) * STORE_JUMP;
    memcpy(log->epoch, state->epoch, sizeof log->epoch);
    log->last = state->last;
    log->trimmed = state->trimmed;
    log->expired = state->expired;
    log->ttl = (uint64_t)ttl;
}

static int read_records(struct db *db, const struct store_log *log, uint32_t limit,
                        void (*visit)(uint64_t sequence, struct span bytes, void *data),
                        void *data) {
    sqlite3_stmt *s = db->statements[STATEMENT_RECORD_READ];
    int code;
    sqlite3_bind_int64(s, 1, log->id);
    sqlite3_bind_int64(s, 2, (int64_t)log->trimmed);
    sqlite3_bind_int64(s, 3, limit);
    while ((code = sqlite3_step(s)) == SQLITE_ROW) {
        struct span bytes = {sqlite3_column_blob(s, 1), (size_t)sqlite3_column_bytes(s, 1)};
        visit((uint64_t)sqlite3_column_int64(s, 0), bytes, data);
    }
    sqlite3_reset(s);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int db_load(struct db *db, struct store_log *log, uint32_t limit, int64_t current_run,
            struct store_state *state,
            void (*visit)(uint64_t sequence, struct span bytes, void *data), void *data) {
    sqlite3_stmt *s = db->statements[STATEMENT_LOG_FIND];
    memset(state, 0, sizeof *state);
    bind_span(s, 1, (struct span){log->name, log->name_len});
    sqlite3_bind_int64(s, 2, current_run);
    int code = sqlite3_step(s);
    bool found = code == SQLITE_ROW;
    if (found) {
        read_state(s, log, state);
    }
    sqlite3_reset(s);
    if (found) {
        code = read_records(db, log, limit, visit, data);
    } else if (code == SQLITE_DONE) {
        code = SQLITE_OK;
    }
    if (code != SQLITE_OK) {
        return fail(db, code);
    }
    succeed(db);
    return 0;
}

bool db_get(struct db *db, struct span key, struct writer *value) {
    sqlite3_stmt *s = db->statements[STATEMENT_VALUE_READ];
    bind_span(s, 1, key);
    sqlite3_bind_int64(s, 2, db_now());
    int code = sqlite3_step(s);
    if (code == SQLITE_ROW) {
        writer_put(value, sqlite3_column_blob(s, 0), (size_t)sqlite3_column_bytes(s, 0));
    } else if (code != SQLITE_DONE) {
        (void)fail(db, code);
    }
    sqlite3_reset(s);
    return code == SQLITE_ROW;
}
