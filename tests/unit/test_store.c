/* The store on real SQLite files in a folder of its own: what was acknowledged is there when it is
 * opened again, and what is wrong with a folder, a file or the disk is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hub/store.h"

#define HOUR (3600 * 1000)

struct fixture {
    uv_loop_t loop;
    struct metrics metrics;
    struct log log;
    struct store *store;
    char dir[64];
    char data[80];
    struct writer read; /* "sequence:bytes " of each record visited */
    struct writer error;
    struct writer done; /* "name=status " of each wait */
};

struct waiting {
    struct store_wait wait; /* first */
    struct fixture *f;
    const char *name;
    bool over;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    strcpy(f->dir, "/tmp/moonwire-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->data, sizeof f->data, "%s/data", f->dir);
    FILE *file = tmpfile();
    f->log = (struct log){LOG_INFO, false, dup(fileno(file))};
    fclose(file);
    *state = f;
    return 0;
}

static void shut(struct fixture *f) {
    if (f->store) {
        store_stop(f->store);
        uv_run(&f->loop, UV_RUN_DEFAULT);
        store_free(f->store);
        f->store = NULL;
    }
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    char command[128];
    shut(f);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    writer_deinit(&f->read);
    writer_deinit(&f->error);
    writer_deinit(&f->done);
    close(f->log.fd);
    snprintf(command, sizeof command, "rm -rf '%s'", f->dir);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static int try_open(struct fixture *f) {
    writer_clear(&f->error);
    int status = store_open(&f->store, &f->loop, f->data, &f->log, &f->metrics, &f->error);
    writer_putc(&f->error, '\0');
    return status;
}

static void open_store(struct fixture *f) {
    if (try_open(f) != 0) {
        fail_msg("%s", writer_span(&f->error).at);
    }
}

static void assert_refused(struct fixture *f, int status, const char *reason) {
    assert_int_equal(try_open(f), status);
    assert_null(f->store);
    const char *said = writer_span(&f->error).at;
    if (!strstr(said, f->data) || !strstr(said, reason)) {
        fail_msg("%s\n(expected the path and \"%s\")", said, reason);
    }
}

static bool logged(const struct fixture *f, const char *text) {
    char all[4096] = {0};
    assert_true(pread(f->log.fd, all, sizeof all - 1, 0) >= 0);
    return strstr(all, text) != NULL;
}

static void on_done(struct store_wait *wait, int status) {
    struct waiting *w = (struct waiting *)wait;
    w->over = true;
    writer_printf(&w->f->done, "%s=%d ", w->name, status);
}

static void await(struct fixture *f, const struct waiting *w) {
    while (!w->over) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
}

static void assert_text(struct writer *w, const char *expected) {
    writer_putc(w, '\0');
    assert_string_equal(writer_span(w).at, expected);
    writer_clear(w);
}

static void note(uint64_t sequence, struct span bytes, void *data) {
    writer_printf(data, "%llu:%.*s ", (unsigned long long)sequence, (int)bytes.len, bytes.at);
}

static struct store_log *open_log(struct fixture *f, const char *name, uint32_t limit,
                                  struct store_state *state) {
    struct store_log *log;
    assert_int_equal(store_log_open(&log, f->store, span_of(name), limit, state, note, &f->read),
                     0);
    return log;
}

static int append(struct store_log *log, uint64_t sequence, const char *bytes, uint64_t trimmed,
                  struct store_wait *wait) {
    struct store_record record = {
        .sequence = sequence, .bytes = span_of(bytes), .trimmed = trimmed, .ttl = HOUR};
    return store_append(log, &record, wait);
}

/* Makes a log, appends, and waits for the last of them. */
static void fill(struct fixture *f, const char *name, uint64_t from, uint64_t to) {
    struct store_state state;
    struct waiting last = {{on_done}, f, "fill", false};
    struct store_log *log = open_log(f, name, 100, &state);
    writer_clear(&f->read);
    if (!state.epoch[0]) {
        store_log_begin(log, "epoch-1", HOUR);
    }
    for (uint64_t i = from; i <= to; i++) {
        char bytes[24];
        snprintf(bytes, sizeof bytes, "r%d", (int)i);
        assert_int_equal(append(log, i, bytes, 0, i == to ? &last.wait : NULL), 0);
    }
    await(f, &last);
    assert_text(&f->done, "fill=0 ");
    assert_false(store_log_busy(log));
    store_log_close(log);
}

/* Another program's view of the file, while no store has it open. */
static void edit(struct fixture *f, const char *statement) {
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/history.db", f->data);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000); /* the thread may be at work */
    assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void records_are_there_when_it_is_opened_again(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    open_store(f);
    fill(f, "room", 1, 5);
    fill(f, "other", 1, 1);
    shut(f);
    open_store(f);
    struct store_log *log = open_log(f, "room", 3, &at);
    assert_text(&f->read, "3:r3 4:r4 5:r5 ");
    assert_string_equal(at.epoch, "epoch-1");
    assert_int_equal(at.last, 5);
    assert_int_equal(at.trimmed, 0);
    assert_true(at.age < HOUR);
    store_log_close(log);
    log = open_log(f, "nobody", 3, &at);
    assert_string_equal(at.epoch, "");
    assert_text(&f->read, "");
    store_log_close(log);
    assert_true(f->metrics.store_records >= 6);
    assert_int_equal(f->metrics.store_errors, 0);
    assert_int_equal(f->metrics.store_queue, 0);
}

static void what_is_queued_is_committed_at_the_end(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    struct waiting w[3] = {
        {{on_done}, f, "a", false}, {{on_done}, f, "b", false}, {{on_done}, f, "c", false}};
    open_store(f);
    struct store_log *log = open_log(f, "room", 3, &at);
    store_log_begin(log, "e", HOUR);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(append(log, i + 1, "x", 0, &w[i].wait), 0);
    }
    store_log_close(log);
    assert_int_equal(writer_len(&f->done), 0); /* never from within the function that asked */
    shut(f);
    assert_text(&f->done, "a=0 b=0 c=0 ");
    open_store(f);
    log = open_log(f, "room", 3, &at);
    assert_text(&f->read, "1:x 2:x 3:x ");
    store_log_close(log);
}

static void a_log_is_trimmed_and_begun_anew(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    open_store(f);
    fill(f, "room", 1, 5);
    struct store_log *log = open_log(f, "room", 100, &at);
    writer_clear(&f->read);
    assert_int_equal(append(log, 9, "nine", 3, NULL), 0);
    store_log_close(log);
    shut(f);
    open_store(f);
    log = open_log(f, "room", 100, &at);
    assert_text(&f->read, "4:r4 5:r5 9:nine ");
    assert_int_equal(at.trimmed, 3);
    store_log_begin(log, "epoch-2", HOUR);
    assert_int_equal(append(log, 1, "new", 0, NULL), 0);
    store_log_close(log);
    shut(f);
    open_store(f);
    log = open_log(f, "room", 100, &at);
    assert_text(&f->read, "1:new ");
    assert_string_equal(at.epoch, "epoch-2");
    assert_int_equal(at.trimmed, 0);
    store_log_close(log);
}

/* A process that is killed leaves its run behind. */
static void sequences_jump_after_a_kill(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    open_store(f);
    fill(f, "room", 1, 5);
    shut(f);
    edit(f, "INSERT INTO runs (id, began) SELECT max(run), 0 FROM logs");
    open_store(f);
    struct store_log *log = open_log(f, "room", 100, &at);
    uint64_t jumped = at.last;
    assert_true(jumped > 1000000);
    store_log_close(log);
    log = open_log(f, "room", 100, &at); /* nothing was said meanwhile */
    assert_int_equal(at.last, jumped);
    writer_clear(&f->read);
    assert_int_equal(append(log, jumped + 1, "after", 0, NULL), 0);
    store_log_close(log);
    shut(f);
    open_store(f);
    log = open_log(f, "room", 2, &at);
    assert_int_equal(at.last, jumped + 1);
    store_log_close(log);
}

static void what_is_over_goes(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    open_store(f);
    fill(f, "late", 1, 3);
    fill(f, "gone", 1, 3);
    fill(f, "kept", 1, 3);
    shut(f);
    edit(f, "UPDATE logs SET touched = touched - ttl WHERE name = CAST('late' AS BLOB);"
            "UPDATE logs SET touched = touched - 3 * ttl WHERE name = CAST('gone' AS BLOB)");
    open_store(f);
    struct store_log *log = open_log(f, "late", 100, &at);
    assert_text(&f->read, "");
    assert_string_equal(at.epoch, "epoch-1");
    assert_int_equal(at.expired, 3);
    assert_int_equal(at.last, 3);
    store_log_close(log);
    shut(f); /* whose thread has looked at least once by then */
    open_store(f);
    log = open_log(f, "gone", 100, &at);
    assert_string_equal(at.epoch, "");
    store_log_close(log);
    log = open_log(f, "kept", 100, &at);
    assert_text(&f->read, "1:r1 2:r2 3:r3 ");
    store_log_close(log);
}

static void an_open_log_survives_its_row(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    open_store(f);
    fill(f, "room", 1, 3);
    struct store_log *log = open_log(f, "room", 100, &at);
    writer_clear(&f->read);
    edit(f, "DELETE FROM records; DELETE FROM logs"); /* as when its time is over */
    assert_int_equal(append(log, 4, "r4", 0, NULL), 0);
    store_log_close(log);
    shut(f);
    open_store(f);
    log = open_log(f, "room", 100, &at);
    assert_text(&f->read, "4:r4 ");
    assert_string_equal(at.epoch, "epoch-1");
    store_log_close(log);
}

/* The records are over before the loop, whose clock is another, knows of it. */
static void what_is_over_stays_trimmed(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    open_store(f);
    fill(f, "room", 1, 3);
    struct store_log *log = open_log(f, "room", 100, &at);
    writer_clear(&f->read);
    edit(f, "DELETE FROM records; UPDATE logs SET trimmed = last, expired = last");
    assert_int_equal(append(log, 4, "r4", 0, NULL), 0);
    store_log_close(log);
    shut(f);
    open_store(f);
    log = open_log(f, "room", 100, &at);
    assert_text(&f->read, "4:r4 ");
    assert_int_equal(at.trimmed, 3);
    assert_int_equal(at.expired, 3);
    store_log_close(log);
}

/* As two reloads in a row have it: a log that is closed may be opened again before its last words
 * are written. */
static void the_last_beginning_counts(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    open_store(f);
    fill(f, "room", 1, 3);
    struct store_log *log = open_log(f, "room", 100, &at);
    store_log_begin(log, "", 0);
    store_log_close(log);
    log = open_log(f, "room", 0, &at);
    store_log_begin(log, "epoch-2", HOUR);
    assert_int_equal(append(log, 1, "new", 0, NULL), 0);
    store_log_close(log);
    writer_clear(&f->read);
    shut(f);
    open_store(f);
    log = open_log(f, "room", 100, &at);
    assert_text(&f->read, "1:new ");
    assert_string_equal(at.epoch, "epoch-2");
    store_log_close(log);
}

static void assert_value(struct fixture *f, const char *key, const char *expected) {
    struct writer value = {0};
    assert_int_equal(store_get(f->store, span_of(key), &value), expected != NULL);
    if (expected) {
        assert_text(&value, expected);
    }
    writer_deinit(&value);
}

static void values_are_kept_by_key(void **state) {
    struct fixture *f = *state;
    struct waiting w = {{on_done}, f, "set", false};
    open_store(f);
    assert_value(f, "k", NULL);
    assert_int_equal(store_set(f->store, SPAN("k"), SPAN("one"), HOUR, NULL), 0);
    assert_value(f, "k", "one"); /* queued, maybe not committed */
    assert_int_equal(store_set(f->store, SPAN("k"), SPAN("two"), HOUR, NULL), 0);
    assert_int_equal(store_set(f->store, SPAN("over"), SPAN("x"), 0, NULL), 0);
    assert_int_equal(store_set(f->store, SPAN("empty"), (struct span){0}, HOUR, &w.wait), 0);
    assert_value(f, "k", "two");
    assert_value(f, "over", NULL);
    await(f, &w);
    assert_value(f, "k", "two");
    assert_value(f, "over", NULL);
    assert_value(f, "empty", "");
    shut(f);
    open_store(f);
    assert_value(f, "k", "two");
    assert_int_equal(store_delete(f->store, SPAN("k"), NULL), 0);
    assert_value(f, "k", NULL);
    shut(f);
    open_store(f);
    assert_value(f, "k", NULL);
}

/* The thread is kept from committing by another program, so that the queue only grows. */
static void the_queue_is_bounded(void **state) {
    struct fixture *f = *state;
    char path[128];
    sqlite3 *other;
    struct waiting w = {{on_done}, f, "waiting", false};
    open_store(f);
    snprintf(path, sizeof path, "%s/history.db", f->data);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    sqlite3_busy_timeout(other, 5000); /* the thread may be at work */
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    char *megabyte = malloc(1 << 20);
    memset(megabyte, 'x', 1 << 20);
    struct span value = {megabyte, 1 << 20};
    int status = 0;
    int count = 0;
    while (!status && count < 100) {
        status = store_set(f->store, SPAN("k"), value, HOUR, NULL);
        count += status == 0;
    }
    assert_int_equal(status, UV_ENOBUFS);
    assert_int_equal(count, 63);
    assert_int_equal(store_set(f->store, SPAN("k"), SPAN("end"), HOUR, &w.wait), 0);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    await(f, &w);
    assert_text(&f->done, "waiting=0 ");
    assert_int_equal(f->metrics.store_queue, 0);
    assert_int_equal(store_set(f->store, SPAN("k"), value, HOUR, NULL), 0);
    free(megabyte);
}

static void a_full_disk_is_told_and_survived(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    struct rlimit before;
    struct waiting lost = {{on_done}, f, "lost", false};
    char *big = malloc(400000);
    memset(big, 'x', 399999);
    big[399999] = '\0';
    open_store(f);
    fill(f, "room", 1, 2);
    struct store_log *log = open_log(f, "room", 100, &at);
    writer_clear(&f->read);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit tight = {200000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    assert_int_equal(append(log, 3, big, 0, &lost.wait), 0);
    await(f, &lost);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_null(strstr(writer_span(&f->done).at, "lost=0"));
    writer_clear(&f->done);
    assert_true(logged(f, "the store fails"));
    assert_int_equal(f->metrics.store_errors, 1);
    struct waiting kept = {{on_done}, f, "kept", false};
    assert_int_equal(append(log, 4, "four", 0, &kept.wait), 0);
    await(f, &kept);
    assert_text(&f->done, "kept=0 ");
    assert_true(logged(f, "the store works again"));
    store_log_close(log);
    log = open_log(f, "room", 100, &at);
    assert_text(&f->read, "1:r1 2:r2 4:four ");
    assert_true(at.last > 1000000); /* 5 may have been told, and lost */
    store_log_close(log);
    shut(f);
    free(big);
    open_store(f);
    log = open_log(f, "room", 100, &at);
    assert_text(&f->read, "1:r1 2:r2 4:four ");
    store_log_close(log);
}

/* That a log begins anew could not be written: what was there goes with the next record. */
static void a_beginning_that_fails_comes_with_the_next_record(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    struct rlimit before;
    struct waiting lost = {{on_done}, f, "lost", false};
    struct waiting kept = {{on_done}, f, "kept", false};
    open_store(f);
    fill(f, "room", 1, 3);
    struct store_log *log = open_log(f, "room", 100, &at);
    writer_clear(&f->read);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit tight = {1, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    store_log_begin(log, "epoch-2", HOUR);
    assert_int_equal(append(log, 1, "new-1", 0, &lost.wait), 0);
    await(f, &lost);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    writer_clear(&f->done);
    assert_int_equal(append(log, 2, "new-2", 0, &kept.wait), 0);
    await(f, &kept);
    assert_text(&f->done, "kept=0 ");
    store_log_close(log);
    shut(f);
    open_store(f);
    log = open_log(f, "room", 100, &at);
    assert_text(&f->read, "2:new-2 ");
    assert_string_equal(at.epoch, "epoch-2");
    store_log_close(log);
}

/* Nobody waits for what a room had said before its history went to disk. */
static void who_waits_for_nothing_leaves_no_gap(void **state) {
    struct fixture *f = *state;
    struct store_state at;
    struct rlimit before;
    struct waiting kept = {{on_done}, f, "kept", false};
    open_store(f);
    fill(f, "room", 1, 2);
    struct store_log *log = open_log(f, "room", 100, &at);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit tight = {1, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    assert_int_equal(append(log, 3, "lost", 0, NULL), 0);
    while (store_log_busy(log)) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(append(log, 4, "four", 0, &kept.wait), 0);
    await(f, &kept);
    store_log_close(log);
    writer_clear(&f->read);
    log = open_log(f, "room", 100, &at);
    assert_text(&f->read, "4:four ");
    assert_int_equal(at.trimmed, 3);
    store_log_close(log);
    writer_clear(&f->done);
}

static void two_servers_do_not_share_a_folder(void **state) {
    struct fixture *f = *state;
    open_store(f);
    struct store *first = f->store;
    f->store = NULL;
    char text[64];
    snprintf(text, sizeof text, "in use by another moonwire (process %ld)", (long)getpid());
    assert_refused(f, UV_EBUSY, text);
    f->store = first;
    shut(f);
    open_store(f);
}

static void a_newer_schema_is_refused(void **state) {
    struct fixture *f = *state;
    open_store(f);
    shut(f);
    edit(f, "PRAGMA user_version = 99");
    assert_refused(f, UV_ENOTSUP, "newer version");
}

static void what_is_no_database_is_refused(void **state) {
    struct fixture *f = *state;
    char path[128];
    open_store(f);
    shut(f);
    snprintf(path, sizeof path, "%s/history.db", f->data);
    FILE *file = fopen(path, "w");
    for (int i = 0; i < 1000; i++) {
        fputs("no database ", file);
    }
    fclose(file);
    assert_refused(f, UV_EIO, "not a database");
}

static void a_folder_that_cannot_be_is_refused(void **state) {
    struct fixture *f = *state;
    FILE *file = fopen(f->data, "w");
    fclose(file);
    assert_refused(f, UV_EACCES, "cannot write in the folder");
    snprintf(f->data, sizeof f->data, "%s/no/such", f->dir);
    assert_refused(f, UV_EACCES, "cannot make the folder");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(records_are_there_when_it_is_opened_again),
        TEST(what_is_queued_is_committed_at_the_end),
        TEST(a_log_is_trimmed_and_begun_anew),
        TEST(sequences_jump_after_a_kill),
        TEST(what_is_over_goes),
        TEST(an_open_log_survives_its_row),
        TEST(what_is_over_stays_trimmed),
        TEST(the_last_beginning_counts),
        TEST(values_are_kept_by_key),
        TEST(the_queue_is_bounded),
        TEST(a_full_disk_is_told_and_survived),
        TEST(a_beginning_that_fails_comes_with_the_next_record),
        TEST(who_waits_for_nothing_leaves_no_gap),
        TEST(two_servers_do_not_share_a_folder),
        TEST(a_newer_schema_is_refused),
        TEST(what_is_no_database_is_refused),
        TEST(a_folder_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
