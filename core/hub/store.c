/* The loop's side of the store: jobs are queued here, the thread takes all of them at a time, and
 * what it is done with comes back through one uv_async. The SQL is in store_db.c. */
#include "hub/store_internal.h"

#include "base/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_JOBS 16384
#define MAX_BYTES (64u << 20)
#define PATIENT_FACTOR 4      /* as much may be queued of writers who wait */
#define JOB_COST 256          /* bytes that count beside a job's own, */
#define EXPIRE_INTERVAL 30000 /* ms between looks at what is over, */
#define EXPIRE_AGAIN 20       /* ms when there was more than one look takes */
#define MS 1000000ull         /* ns */

/* A keyed value that is queued, for store_get. */
struct queued_value {
    UT_hash_handle hh;
    const struct store_job *job; /* the last one with this key */
    size_t len;
    char key[];
};

struct store {
    struct metrics *metrics;
    const struct log *log;
    struct db reader; /* the loop's */
    struct db writer; /* the thread's */
    int lock;         /* the file that keeps a second process out */
    uint64_t bytes;   /* queued */
    struct queued_value *values;
    bool has_failed; /* to write a record, in this run */
    bool stopped;
    uv_thread_t thread;
    uv_async_t async;
    uv_mutex_t mutex; /* of what follows */
    uv_cond_t wake;
    struct store_jobs queue;
    struct store_jobs finished; /* in the order of asking */
    struct histogram times;
    uint64_t commits;
    bool stopping;
};

/* --- the thread --------------------------------------------------------------------------------
 */

static void finish(struct store *s, struct store_jobs *jobs, int status, uint64_t began) {
    struct store_job *job;
    STAILQ_FOREACH (job, jobs, link) {
        job->status = status;
    }
    uv_mutex_lock(&s->mutex);
    STAILQ_CONCAT(&s->finished, jobs);
    if (status == 0) {
        s->commits++;
        histogram_add(&s->times, (double)(uv_hrtime() - began) / 1e9);
    }
    uv_mutex_unlock(&s->mutex);
    uv_async_send(&s->async);
}

/* Waits for jobs, and takes all of them. False: none came within this time. */
static bool take(struct store *s, struct store_jobs *jobs, uint64_t patience) {
    uv_mutex_lock(&s->mutex);
    uint64_t deadline = uv_hrtime() + patience * MS;
    uint64_t now;
    while (STAILQ_EMPTY(&s->queue) && !s->stopping && (now = uv_hrtime()) < deadline) {
        uv_cond_timedwait(&s->wake, &s->mutex, deadline - now);
    }
    STAILQ_CONCAT(jobs, &s->queue);
    uv_mutex_unlock(&s->mutex);
    return !STAILQ_EMPTY(jobs);
}

/* `stopping` is set when nothing comes any more, so an empty queue is then the end. */
static bool is_over(struct store *s) {
    uv_mutex_lock(&s->mutex);
    bool over = s->stopping && STAILQ_EMPTY(&s->queue);
    uv_mutex_unlock(&s->mutex);
    return over;
}

static void run_thread(void *data) {
    struct store *s = data;
    uint64_t next_look = uv_hrtime();
    do {
        struct store_jobs jobs = STAILQ_HEAD_INITIALIZER(jobs);
        uint64_t now = uv_hrtime();
        if (take(s, &jobs, now < next_look ? (next_look - now) / MS + 1 : 0)) {
            uint64_t began = uv_hrtime();
            int status = db_write(&s->writer, &jobs);
            finish(s, &jobs, status, began);
        }
        if (uv_hrtime() >= next_look) {
            bool more = db_expire(&s->writer);
            next_look = uv_hrtime() + (more ? EXPIRE_AGAIN : EXPIRE_INTERVAL) * MS;
        }
    } while (!is_over(s));
}

/* --- jobs --- */

static uint64_t cost(const struct store_job *job) {
    return job->key_len + job->value_len + JOB_COST;
}

static struct store_job *job_new(enum store_op op, struct span key, struct span value) {
    struct store_job *job = memory_zalloc(sizeof *job + key.len + value.len);
    job->op = op;
    job->key_len = key.len;
    job->value_len = value.len;
    if (key.len) {
        memcpy(job->bytes, key.at, key.len);
    }
    if (value.len) {
        memcpy(job->bytes + key.len, value.at, value.len);
    }
    return job;
}

static void queue(struct store *s, struct store_job *job) {
    if (job->log) {
        job->log->queued++;
    }
    s->bytes += cost(job);
    s->metrics->store_queue++;
    uv_mutex_lock(&s->mutex);
    bool idle = STAILQ_EMPTY(&s->queue);
    STAILQ_INSERT_TAIL(&s->queue, job, link);
    if (idle) {
        uv_cond_signal(&s->wake);
    }
    uv_mutex_unlock(&s->mutex);
}

/* May this much more be queued? */
static int admit(const struct store *s, size_t bytes, bool patient) {
    uint64_t factor = patient ? PATIENT_FACTOR : 1;
    if (s->stopped) {
        return UV_ECANCELED;
    }
    return (uint64_t)s->metrics->store_queue >= MAX_JOBS * factor ||
                   s->bytes + bytes > MAX_BYTES * factor
               ? UV_ENOBUFS
               : 0;
}

static void forget_value(struct store *s, const struct store_job *job) {
    struct queued_value *value;
    HASH_FIND(hh, s->values, job->bytes, job->key_len, value);
    if (value && value->job == job) {
        HASH_DEL(s->values, value);
        free(value);
    }
}

static void settle(struct store *s, struct store_job *job) {
    s->bytes -= cost(job);
    s->metrics->store_queue--;
    if (job->log) {
        job->log->queued--;
    } else {
        forget_value(s, job);
    }
    if (job->op == STORE_CLOSE) {
        free(job->log);
    } else if (job->status == 0) {
        s->metrics->store_records += job->op != STORE_BEGIN;
    } else {
        s->metrics->store_errors++;
        s->has_failed = s->has_failed || job->log;
    }
    if (job->wait) {
        job->wait->done(job->wait, job->status);
    }
    free(job);
}

/* Who waits may ask for more, which the thread then finishes in its own time. */
static void settle_finished(struct store *s) {
    struct store_jobs jobs = STAILQ_HEAD_INITIALIZER(jobs);
    struct store_job *job;
    uv_mutex_lock(&s->mutex);
    STAILQ_CONCAT(&jobs, &s->finished);
    s->metrics->store_commits = s->commits;
    s->metrics->store_time = s->times;
    uv_mutex_unlock(&s->mutex);
    while ((job = STAILQ_FIRST(&jobs))) {
        STAILQ_REMOVE_HEAD(&jobs, link);
        settle(s, job);
    }
}

static void on_finished(uv_async_t *async) {
    settle_finished(async->data);
}

/* --- life --- */

/* Who holds the lock has written its number into the file. */
static int take_lock(int *out, const char *folder, struct writer *error) {
    char path[4096];
    char owner[24] = {0};
    snprintf(path, sizeof path, "%s/lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        writer_printf(error, "cannot write in the folder %s: %s", folder, strerror(errno));
        return UV_EACCES;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        ssize_t len = read(fd, owner, sizeof owner - 1);
        writer_printf(error, "the folder %s is in use by another moonwire%s%.*s%s", folder,
                      len > 0 ? " (process " : "", (int)strspn(owner, "0123456789"), owner,
                      len > 0 ? ")" : "");
        close(fd);
        return UV_EBUSY;
    }
    int len = snprintf(owner, sizeof owner, "%ld\n", (long)getpid());
    (void)!ftruncate(fd, 0); /* the number is for people: it may be missing */
    (void)!pwrite(fd, owner, (size_t)len, 0);
    *out = fd;
    return 0;
}

static int open_files(struct store *s, const char *folder, struct writer *error) {
    char path[4096];
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        writer_printf(error, "cannot make the folder %s: %s", folder, strerror(errno));
        return UV_EACCES;
    }
    int status = take_lock(&s->lock, folder, error);
    if (status) {
        return status;
    }
    if (snprintf(path, sizeof path, "%s/history.db", folder) >= (int)sizeof path) {
        status = UV_ENAMETOOLONG;
        writer_printf(error, "the name of the folder %s is too long", folder);
    }
    if (!status) {
        status = db_open(&s->writer, path, s->log, true, error);
    }
    if (!status) {
        status = db_open(&s->reader, path, s->log, false, error);
        if (status) {
            db_close(&s->writer, true);
        }
    }
    if (status) {
        close(s->lock);
    }
    return status;
}

static void close_files(struct store *s) {
    db_close(&s->reader, false);
    db_close(&s->writer, true);
    close(s->lock);
}

static int start_thread(struct store *s, uv_loop_t *loop) {
    STAILQ_INIT(&s->queue);
    STAILQ_INIT(&s->finished);
    int status = uv_mutex_init(&s->mutex);
    if (status) {
        return status;
    }
    status = uv_cond_init(&s->wake);
    if (!status) {
        status = uv_async_init(loop, &s->async, on_finished);
        s->async.data = s;
    }
    if (!status) {
        status = uv_thread_create(&s->thread, run_thread, s);
    }
    return status;
}

int store_open(struct store **out, uv_loop_t *loop, const char *folder, const struct log *log,
               struct metrics *metrics, struct writer *error) {
    struct store *s = memory_zalloc(sizeof *s);
    s->metrics = metrics;
    s->log = log;
    *out = NULL;
    int status = open_files(s, folder, error);
    if (status) {
        free(s);
        return status;
    }
    status = start_thread(s, loop);
    if (status) {
        memory_short(0); /* a process that cannot have one more thread has no memory left */
    }
    *out = s;
    return 0;
}

void store_stop(struct store *s) {
    if (s->stopped) {
        return;
    }
    s->stopped = true;
    uv_mutex_lock(&s->mutex);
    s->stopping = true;
    uv_cond_signal(&s->wake);
    uv_mutex_unlock(&s->mutex);
    uv_thread_join(&s->thread);
    settle_finished(s);
    STAILQ_CONCAT(&s->finished, &s->queue); /* logs that were closed just now */
    settle_finished(s);
    uv_close((uv_handle_t *)&s->async, NULL);
}

void store_free(struct store *s) {
    close_files(s);
    uv_cond_destroy(&s->wake);
    uv_mutex_destroy(&s->mutex);
    free(s);
}

const struct log *store_logger(const struct store *s) {
    return s->log;
}

/* --- logs --- */

int store_log_open(struct store_log **out, struct store *s, struct span name, uint32_t limit,
                   struct store_state *state,
                   void (*visit)(uint64_t sequence, struct span bytes, void *data), void *data) {
    struct store_log *log = memory_zalloc(sizeof *log + name.len);
    log->store = s;
    log->name_len = name.len;
    memcpy(log->name, name.at, name.len);
    *out = NULL;
    int status = s->stopped ? UV_ECANCELED
                            : db_load(&s->reader, log, limit, s->writer.run, state, visit, data);
    if (status) {
        s->metrics->store_errors++;
        free(log);
        return status;
    }
    state->last += s->has_failed && state->epoch[0] ? STORE_JUMP : 0;
    *out = log;
    return 0;
}

bool store_log_busy(const struct store_log *log) {
    return log->queued > 0;
}

void store_log_begin(struct store_log *log, const char *epoch, uint64_t ttl) {
    struct store_job *job = job_new(STORE_BEGIN, (struct span){0}, (struct span){0});
    if (log->store->stopped) {
        free(job);
        return;
    }
    job->log = log;
    job->ttl = ttl;
    snprintf(job->epoch, sizeof job->epoch, "%s", epoch);
    queue(log->store, job);
}

/* The thread may still have the log in its hands: it goes behind what is queued. */
void store_log_close(struct store_log *log) {
    if (!log) {
        return;
    }
    if (!log->queued) {
        free(log);
        return;
    }
    struct store_job *job = job_new(STORE_CLOSE, (struct span){0}, (struct span){0});
    job->log = log;
    queue(log->store, job);
}

int store_append(struct store_log *log, const struct store_record *record,
                 struct store_wait *wait) {
    int status = admit(log->store, record->bytes.len, record->patient);
    if (status) {
        return status;
    }
    struct store_job *job = job_new(STORE_APPEND, (struct span){0}, record->bytes);
    job->log = log;
    job->wait = wait;
    job->sequence = record->sequence;
    job->trimmed = record->trimmed;
    job->expired = record->expired;
    job->ttl = record->ttl;
    queue(log->store, job);
    return 0;
}

/* --- keyed values --- */

static int queue_value(struct store *s, struct store_job *job, struct store_wait *wait) {
    struct queued_value *value;
    int status = admit(s, job->value_len, wait != NULL);
    if (status) {
        free(job);
        return status;
    }
    HASH_FIND(hh, s->values, job->bytes, job->key_len, value);
    if (!value) {
        value = memory_zalloc(sizeof *value + job->key_len);
        value->len = job->key_len;
        memcpy(value->key, job->bytes, job->key_len);
        HASH_ADD_KEYPTR(hh, s->values, value->key, value->len, value);
    }
    value->job = job;
    job->wait = wait;
    queue(s, job);
    return 0;
}

int store_set(struct store *s, struct span key, struct span value, uint64_t ttl,
              struct store_wait *wait) {
    struct store_job *job = job_new(STORE_SET, key, value);
    job->expired = (uint64_t)db_now() + ttl;
    return queue_value(s, job, wait);
}

int store_delete(struct store *s, struct span key, struct store_wait *wait) {
    return queue_value(s, job_new(STORE_DELETE, key, (struct span){0}), wait);
}

bool store_get(struct store *s, struct span key, struct writer *value) {
    struct queued_value *queued;
    HASH_FIND(hh, s->values, key.at, key.len, queued);
    if (!queued) {
        return db_get(&s->reader, key, value);
    }
    const struct store_job *job = queued->job;
    if (job->op == STORE_DELETE || job->expired <= (uint64_t)db_now()) {
        return false;
    }
    writer_put_span(value, job_value(job));
    return true;
}
