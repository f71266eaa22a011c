/* Rooms whose history is on disk, on a real store: what is said is heard and read once it is
 * committed, in order, and is there when the hub is made anew. The loop turns only when a test says
 * so, so that what is not committed yet can be looked at. */
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
#include <unistd.h>

#include "hub/attachments.h"
#include "hub/history.h"
#include "hub/hub.h"
#include "hub/record.h"
#include "hub/recovery.h"
#include "hub/store.h"

#define IDLE 30000
#define HOUR (3600 * 1000)

struct listener {
    struct client client;
    struct writer heard;
};

struct house {
    uv_loop_t loop;
    struct config config;
    struct metrics metrics;
    struct log log;
    struct arena arena;
    struct app app;
    struct hub *hub;
    struct store *store;
    struct ns *ns;
    struct ns_settings settings;
    struct room_policy policies[3];
    struct deferred_list closed;
    struct listener clients[4];
    int client_count;
    uint64_t now;
    char dir[64];
};

static struct slice encode(const struct client *c, struct arena *arena, const struct message *m) {
    (void)c;
    char *at = arena_reserve(arena, 256);
    int len = snprintf(at, 256, "%.*s@%.*s ", (int)m->event.len, m->event.at, (int)m->room.len,
                       m->room.at);
    return arena_commit(arena, (size_t)len);
}

static ssize_t send_bytes(struct client *c, const struct message *m, const struct slice *encoded) {
    (void)m;
    writer_put(&((struct listener *)c)->heard, slice_bytes(encoded), encoded->len);
    return 0;
}

static bool blocked(const struct client *c) {
    (void)c;
    return false;
}

static uint32_t last_sent(const struct client *c) {
    (void)c;
    return 0;
}

static void close_client(struct client *c, int code, const char *reason) {
    (void)c;
    (void)code;
    (void)reason;
}

static void free_client(struct client *c) {
    (void)c;
}

static const struct client_ops ops = {.wire = WIRE_WS,
                                      .encode = encode,
                                      .send = send_bytes,
                                      .blocked = blocked,
                                      .sent = last_sent,
                                      .close = close_client,
                                      .free = free_client};

static void on_close(struct app *app, struct client *c, const char *reason) {
    (void)app;
    (void)reason;
    client_release(c);
}

static void defer(void *io, struct deferred *deferred) {
    struct house *h = io;
    STAILQ_INSERT_TAIL(&h->closed, deferred, link);
}

static void end_turn(struct house *h) {
    struct deferred *deferred;
    while ((deferred = STAILQ_FIRST(&h->closed))) {
        STAILQ_REMOVE_HEAD(&h->closed, link);
        deferred->run(deferred);
    }
}

/* --- the house --- */

static void build(struct house *h) {
    struct writer error = {0};
    h->hub = hub_new(&h->config, &h->metrics, &h->arena, &h->app, defer, h);
    hub_set_now(h->hub, h->now);
    if (store_open(&h->store, &h->loop, h->dir, &h->log, &h->metrics, &error) != 0) {
        writer_putc(&error, '\0');
        fail_msg("%s", writer_span(&error).at);
    }
    hub_set_store(h->hub, h->store);
    h->ns = ns_ref(hub_ns(h->hub, SPAN("/"), true));
    ns_configure(h->ns, &h->settings);
}

static void leave_all(struct house *h) {
    for (int i = 0; i < h->client_count; i++) {
        client_closed(&h->clients[i].client, "over");
        writer_deinit(&h->clients[i].heard);
    }
    end_turn(h);
    memset(h->clients, 0, sizeof h->clients);
    h->client_count = 0;
}

static void tear(struct house *h) {
    store_stop(h->store);
    leave_all(h);
    ns_unref(h->ns);
    hub_free(h->hub);
    uv_run(&h->loop, UV_RUN_DEFAULT);
    store_free(h->store);
}

/* As a restart. */
static void rebuild(struct house *h) {
    tear(h);
    build(h);
}

static int set_up(void **state) {
    struct house *h = calloc(1, sizeof *h);
    config_init(&h->config);
    arena_init(&h->arena);
    STAILQ_INIT(&h->closed);
    assert_int_equal(uv_loop_init(&h->loop), 0);
    strcpy(h->dir, "/tmp/moonwire-durable-XXXXXX");
    assert_non_null(mkdtemp(h->dir));
    FILE *file = tmpfile();
    h->log = (struct log){LOG_INFO, false, dup(fileno(file))};
    fclose(file);
    h->app.on_close = on_close;
    h->now = 1000;
    h->policies[0] = (struct room_policy){
        .pattern = "disk:*", .history_size = 3, .history_ttl = HOUR, .durable = true};
    h->policies[1] = (struct room_policy){.pattern = "log:*", .history_size = 3};
    h->settings.rooms = h->policies;
    h->settings.room_count = 2;
    build(h);
    *state = h;
    return 0;
}

static int tear_down(void **state) {
    struct house *h = *state;
    char command[128];
    tear(h);
    assert_int_equal(uv_loop_close(&h->loop), 0);
    arena_deinit(&h->arena);
    config_deinit(&h->config);
    close(h->log.fd);
    snprintf(command, sizeof command, "rm -rf '%s'", h->dir);
    assert_int_equal(system(command), 0);
    free(h);
    return 0;
}

/* --- doing --- */

static struct listener *listen_to(struct house *h, const char *first, const char *second) {
    struct listener *l = &h->clients[h->client_count++];
    l->client.ops = &ops;
    client_open(&l->client, h->ns, NULL);
    assert_int_equal(hub_join(&l->client, span_of(first)), 0);
    if (second) {
        assert_int_equal(hub_join(&l->client, span_of(second)), 0);
    }
    return l;
}

static void assert_heard(struct listener *l, const char *expected) {
    writer_putc(&l->heard, '\0');
    assert_string_equal(writer_span(&l->heard).at, expected);
    writer_clear(&l->heard);
}

/* Says it; the offset, which is the caller's until the next call. */
static const char *say_but(struct house *h, const char *room, const char *event,
                           const struct except *except) {
    static char offset[OFFSET_MAX];
    struct message m;
    message_init(&m, MESSAGE_EVENT);
    m.event = span_of(event);
    m.data = SPAN("1");
    m.argc = 1;
    assert_int_equal(hub_publish(h->ns, span_of(room), &m, except, offset), 0);
    message_deinit(&m);
    return offset;
}

static const char *say(struct house *h, const char *room, const char *event) {
    return say_but(h, room, event, NULL);
}

static void commit_all(struct house *h) {
    while (h->metrics.store_queue > 0) {
        uv_run(&h->loop, UV_RUN_ONCE);
    }
}

static void note_event(const struct message *m, void *data) {
    writer_put_span(data, m->event);
}

static void assert_log(struct house *h, const char *room, const char *expected) {
    struct writer out = {0};
    struct history *log = room_history(h->ns, span_of(room));
    assert_non_null(log);
    (void)history_read(log, (struct span){0}, (struct span){0}, 100, note_event, &out);
    writer_putc(&out, '\0');
    assert_string_equal(writer_span(&out).at, expected);
    writer_deinit(&out);
}

static enum history_status status_after(struct house *h, const char *room, const char *offset) {
    uint64_t sequence;
    return history_after(room_history(h->ns, span_of(room)), span_of(offset), &sequence);
}

/* Time passes, and the hub looks at what is over. */
static void pass(struct house *h, uint64_t ms) {
    h->now += ms;
    hub_set_now(h->hub, h->now);
    hub_sweep(h->hub);
}

static void edit(struct house *h, const char *statement) {
    char path[128];
    sqlite3 *db;
    snprintf(path, sizeof path, "%s/history.db", h->dir);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000); /* the thread may be at work */
    assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* --- the tests --- */

static void delivery_follows_the_commit(void **state) {
    struct house *h = *state;
    struct listener *l = listen_to(h, "disk:1", NULL);
    char first[OFFSET_MAX];
    strcpy(first, say(h, "disk:1", "a"));
    say(h, "disk:1", "b");
    assert_heard(l, "");
    assert_log(h, "disk:1", "");
    commit_all(h);
    assert_heard(l, "a@disk:1 b@disk:1 ");
    assert_log(h, "disk:1", "ab");
    assert_int_equal(status_after(h, "disk:1", first), HISTORY_OK);
    assert_true(strlen(first) > 2 && strcmp(first + strlen(first) - 2, ":1") == 0);
}

static void who_reads_and_then_joins_meets_each_message_once(void **state) {
    struct house *h = *state;
    say(h, "disk:1", "a");
    commit_all(h);
    say(h, "disk:1", "b");
    assert_log(h, "disk:1", "a");
    struct listener *l = listen_to(h, "disk:1", NULL);
    commit_all(h);
    assert_heard(l, "b@disk:1 ");
}

static void offsets_go_on_after_a_restart(void **state) {
    struct house *h = *state;
    char offset[OFFSET_MAX], next[OFFSET_MAX];
    for (const char *event = "a\0b\0c\0d\0e\0"; *event; event += 2) {
        strcpy(offset, say(h, "disk:1", event));
    }
    rebuild(h);
    assert_log(h, "disk:1", "cde");
    assert_int_equal(status_after(h, "disk:1", offset), HISTORY_OK);
    strcpy(next, say(h, "disk:1", "f"));
    assert_int_equal(strncmp(offset, next, EPOCH_LEN + 1), 0);
    assert_string_equal(offset + EPOCH_LEN, ":5");
    assert_string_equal(next + EPOCH_LEN, ":6");
    offset[EPOCH_LEN + 1] = '2';
    assert_int_equal(status_after(h, "disk:1", offset), HISTORY_OK);
    offset[EPOCH_LEN + 1] = '1';
    assert_int_equal(status_after(h, "disk:1", offset), HISTORY_TRIMMED);
    commit_all(h);
    assert_log(h, "disk:1", "def");
}

/* The run that was killed is still noted, and what it told of may not have been written. */
static void no_offset_repeats_after_a_kill(void **state) {
    struct house *h = *state;
    char offset[OFFSET_MAX], next[OFFSET_MAX];
    strcpy(offset, say(h, "disk:1", "a"));
    commit_all(h);
    tear(h);
    edit(h, "INSERT INTO runs (id, began) SELECT max(run), 0 FROM logs");
    build(h);
    assert_log(h, "disk:1", "a");
    strcpy(next, say(h, "disk:1", "b"));
    commit_all(h);
    assert_int_equal(strncmp(offset, next, EPOCH_LEN + 1), 0);
    assert_true(strtoull(next + EPOCH_LEN + 1, NULL, 10) > 1000000);
    assert_log(h, "disk:1", "ab");
    assert_int_equal(status_after(h, "disk:1", offset), HISTORY_OK);
    say(h, "disk:1", "c");
    say(h, "disk:1", "d");
    commit_all(h);
    assert_log(h, "disk:1", "bcd");
    offset[EPOCH_LEN + 1] = '2'; /* in the gap: nothing after it is missing */
    assert_int_equal(status_after(h, "disk:1", offset), HISTORY_OK);
}

struct committing {
    struct commit commit;
    int done;
    int status;
    struct listener *listener; /* who has heard it by then */
};

static void on_commit(struct commit *commit, int status) {
    struct committing *c = (struct committing *)commit;
    c->done++;
    c->status = status;
    if (c->listener) {
        assert_heard(c->listener, "a@disk:1 ");
    }
}

static int say_durably(struct house *h, const char *room, struct committing *c) {
    char offset[OFFSET_MAX];
    struct message m;
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("a");
    c->commit = (struct commit){.done = on_commit};
    int status = hub_publish_durable(h->ns, span_of(room), &m, NULL, offset, &c->commit);
    message_deinit(&m);
    return status;
}

static void who_waits_hears_of_the_commit_once(void **state) {
    struct house *h = *state;
    struct committing waits = {.listener = listen_to(h, "disk:1", NULL)};
    struct committing gone = {.done = 0};
    assert_int_equal(say_durably(h, "disk:1", &waits), 0);
    assert_int_equal(waits.done, 0);
    commit_all(h);
    assert_int_equal(waits.done, 1);
    assert_int_equal(waits.status, 0);
    assert_int_equal(say_durably(h, "disk:1", &gone), 0);
    commit_cancel(&gone.commit);
    commit_all(h);
    assert_int_equal(gone.done, 0);
    assert_log(h, "disk:1", "aa");
    assert_int_equal(say_durably(h, "log:1", &gone), UV_ENOTSUP);
    assert_int_equal(say_durably(h, "plain", &gone), UV_ENOTSUP);
}

static void who_is_left_out_may_have_gone(void **state) {
    struct house *h = *state;
    struct listener *a = listen_to(h, "disk:1", NULL);
    struct listener *b = listen_to(h, "disk:1", "other");
    struct listener *c = listen_to(h, "disk:1", NULL);
    struct client *out[] = {&a->client, &c->client};
    const struct span rooms[] = {SPAN("other")};
    say_but(h, "disk:1", "x", &(struct except){.clients = out, .client_count = 2});
    say_but(h, "disk:1", "y", &(struct except){.rooms = rooms, .room_count = 1});
    client_closed(&c->client, "gone");
    end_turn(h);
    commit_all(h);
    assert_heard(a, "y@disk:1 ");
    assert_heard(b, "x@disk:1 ");
    writer_deinit(&c->heard);
    h->client_count--;
}

static void rooms_of_all_kinds_are_told_once(void **state) {
    struct house *h = *state;
    struct listener *a = listen_to(h, "disk:1", "log:1");
    struct listener *b = listen_to(h, "log:1", "disk:2");
    struct listener *c = listen_to(h, "disk:2", "plain");
    const struct span names[] = {SPAN("disk:1"), SPAN("log:1"), SPAN("disk:2"), SPAN("plain")};
    struct message m;
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("x");
    assert_int_equal(hub_publish_rooms(h->ns, names, 4, &m, NULL), 0);
    message_deinit(&m);
    assert_heard(a, "");
    assert_heard(b, "x@log:1 ");
    commit_all(h);
    assert_heard(a, "x@disk:1 ");
    assert_heard(b, "");
    assert_heard(c, "x@disk:2 ");
    assert_log(h, "disk:1", "x");
    assert_log(h, "log:1", "x");
    assert_log(h, "disk:2", "x");
}

static bool in_memory(struct house *h, const char *room) {
    h->settings.room_count = 0; /* otherwise asking would bring it back */
    bool there = room_history(h->ns, span_of(room)) != NULL;
    h->settings.room_count = 2;
    return there;
}

static void who_is_not_there_is_not_in_memory(void **state) {
    struct house *h = *state;
    struct listener *l = listen_to(h, "disk:kept", NULL);
    say(h, "disk:kept", "a");
    say(h, "disk:1", "a");
    pass(h, IDLE);
    assert_true(in_memory(h, "disk:1")); /* it is not committed yet */
    commit_all(h);
    pass(h, IDLE);
    assert_false(in_memory(h, "disk:1"));
    assert_true(in_memory(h, "disk:kept"));
    assert_log(h, "disk:1", "a");
    pass(h, IDLE - 1);
    assert_true(in_memory(h, "disk:1")); /* which uses it once more */
    pass(h, IDLE);
    assert_false(in_memory(h, "disk:1"));
    say(h, "disk:1", "b");
    commit_all(h);
    assert_log(h, "disk:1", "ab");
    assert_heard(l, "a@disk:kept ");
    assert_log(h, "disk:nobody", ""); /* there is nothing to keep in memory */
    commit_all(h);
    pass(h, 1000);
    assert_false(in_memory(h, "disk:nobody"));
}

/* Another program keeps the thread from committing, so that the queue only grows. */
static void who_does_not_wait_is_refused_first(void **state) {
    struct house *h = *state;
    char path[128], offset[OFFSET_MAX];
    sqlite3 *other;
    struct message m;
    struct committing patient = {.done = 0};
    int said = 0;
    snprintf(path, sizeof path, "%s/history.db", h->dir);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    sqlite3_busy_timeout(other, 5000);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("x");
    while (hub_publish(h->ns, SPAN("disk:1"), &m, NULL, offset) == 0) {
        assert_true(said++ < 100000);
    }
    assert_int_equal(m.offset.len, 0);
    assert_int_equal(hub_publish(h->ns, SPAN("disk:2"), &m, NULL, offset), UV_ENOBUFS);
    message_deinit(&m);
    assert_int_equal(say_durably(h, "disk:1", &patient), 0);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    commit_all(h);
    assert_int_equal(patient.done, 1);
    assert_int_equal(patient.status, 0);
    say(h, "disk:1", "y");
    commit_all(h);
    assert_log(h, "disk:1", "xay");
}

/* Who joins a room in which nothing was ever said is told where that is, and may come back with it.
 */
static void an_empty_room_keeps_its_beginning(void **state) {
    struct house *h = *state;
    char begin[OFFSET_MAX], asked[OFFSET_MAX];
    (void)history_offset(room_history(h->ns, SPAN("disk:asked")), 0, asked);
    (void)listen_to(h, "disk:1", NULL);
    (void)history_offset(room_history(h->ns, SPAN("disk:1")), 0, begin);
    leave_all(h);
    commit_all(h);
    pass(h, IDLE);
    assert_false(in_memory(h, "disk:1"));
    say(h, "disk:1", "a");
    assert_int_equal(status_after(h, "disk:1", begin), HISTORY_OK);
    rebuild(h);
    assert_log(h, "disk:1", "a");
    assert_int_equal(status_after(h, "disk:1", begin), HISTORY_OK);
    assert_int_equal(status_after(h, "disk:asked", asked), HISTORY_EPOCH); /* nobody was there */
}

static void what_is_over_is_over_on_disk_too(void **state) {
    struct house *h = *state;
    char offset[OFFSET_MAX], last[OFFSET_MAX];
    struct listener *l = listen_to(h, "disk:1", NULL);
    strcpy(offset, say(h, "disk:1", "a"));
    strcpy(last, say(h, "disk:1", "b"));
    commit_all(h);
    pass(h, HOUR);
    assert_log(h, "disk:1", "");
    assert_int_equal(status_after(h, "disk:1", offset), HISTORY_EXPIRED);
    say(h, "disk:1", "c"); /* before the store has looked: what is over must not come back */
    rebuild(h);
    assert_log(h, "disk:1", "c");
    assert_int_equal(status_after(h, "disk:1", offset), HISTORY_EXPIRED);
    assert_int_equal(status_after(h, "disk:1", last), HISTORY_OK);
    (void)l;
}

static void a_reload_keeps_what_can_be_kept(void **state) {
    struct house *h = *state;
    char before[OFFSET_MAX], after[OFFSET_MAX];
    struct listener *l = listen_to(h, "log:1", "disk:1");
    say(h, "log:1", "a");
    strcpy(before, say(h, "log:1", "b"));
    say(h, "disk:1", "x");
    h->policies[1].durable = true;  /* to disk */
    h->policies[0].durable = false; /* to memory, while something is on its way */
    ns_configure(h->ns, &h->settings);
    say(h, "disk:1", "y");
    strcpy(after, say(h, "log:1", "c"));
    assert_int_equal(strncmp(before, after, EPOCH_LEN + 1), 0);
    commit_all(h);
    say(h, "disk:1", "z");
    assert_log(h, "log:1", "abc");
    assert_log(h, "disk:1", "xyz");
    assert_heard(l, "a@log:1 b@log:1 x@disk:1 y@disk:1 c@log:1 z@disk:1 ");
    char told[OFFSET_MAX];
    strcpy(told, say(h, "disk:1", "w"));
    rebuild(h);
    assert_log(h, "log:1", "abc");
    assert_int_equal(status_after(h, "log:1", before), HISTORY_OK);
    h->policies[0].durable = true; /* what memory has told meanwhile is of another log */
    ns_configure(h->ns, &h->settings);
    assert_log(h, "disk:1", "");
    assert_int_equal(status_after(h, "disk:1", told), HISTORY_EPOCH);
}

static void a_room_whose_history_goes_still_tells_what_was_said(void **state) {
    struct house *h = *state;
    struct listener *l = listen_to(h, "disk:1", NULL);
    say(h, "disk:1", "a");
    say(h, "disk:2", "a");
    h->settings.room_count = 0;
    ns_configure(h->ns, &h->settings);
    commit_all(h);
    assert_heard(l, "a@disk:1 ");
    h->settings.room_count = 2;
    ns_configure(h->ns, &h->settings);
    assert_log(h, "disk:1", "a");
    assert_log(h, "disk:2", "a");
}

/* A room is durable as long as a commit is awaited: what is said to it and others is kept for who
 * is away when it is committed, and not before that too. */
static void what_is_kept_for_recovery_is_kept_once(void **state) {
    struct house *h = *state;
    struct span room = SPAN("disk:1");
    struct message m;
    char pid[PID_LEN + 1];
    h->settings.recovery = (struct recovery_rule){.size = 10, .ttl = HOUR};
    ns_configure(h->ns, &h->settings);
    struct listener *l = listen_to(h, "disk:1", NULL);
    recovery_begin(&l->client, pid);
    uint64_t begin = recovery_position(&l->client);
    say(h, "disk:1", "a");
    h->policies[0].durable = false;
    ns_configure(h->ns, &h->settings);
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN("b");
    assert_int_equal(hub_publish_rooms(h->ns, &room, 1, &m, NULL), 0);
    message_deinit(&m);
    commit_all(h);
    assert_heard(l, "a@disk:1 b@disk:1 ");
    assert_int_equal(recovery_position(&l->client), begin + 2);
    recovery_forget(&l->client);
}

static void what_cannot_be_written_is_told_and_heard_by_nobody(void **state) {
    struct house *h = *state;
    struct rlimit before;
    struct listener *l = listen_to(h, "disk:1", NULL);
    struct committing c = {.done = 0};
    char lost[OFFSET_MAX], next[OFFSET_MAX];
    say(h, "disk:1", "a");
    commit_all(h);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit tight = {1, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    strcpy(lost, say(h, "disk:1", "lost"));
    assert_int_equal(say_durably(h, "disk:1", &c), 0);
    commit_all(h);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(c.done, 1);
    assert_true(c.status < 0);
    pass(h, 2 * IDLE); /* its sequences are known to memory alone */
    strcpy(next, say(h, "disk:1", "b"));
    assert_true(strtoull(next + EPOCH_LEN + 1, NULL, 10) >
                strtoull(lost + EPOCH_LEN + 1, NULL, 10) + 1);
    commit_all(h);
    assert_heard(l, "a@disk:1 b@disk:1 ");
    assert_log(h, "disk:1", "ab");
    assert_int_equal(status_after(h, "disk:1", lost), HISTORY_OK);
    rebuild(h);
    assert_log(h, "disk:1", "ab");
}

static void a_record_is_read_only_whole(void **state) {
    (void)state;
    struct writer bytes = {0}, packed = {0};
    struct message m, back;
    message_init(&m, MESSAGE_EVENT);
    attachments_put(&packed, SPAN("binary"));
    m.event = SPAN("said");
    m.data = SPAN("{\"a\":1},2");
    m.attachments = writer_span(&packed);
    m.argc = 2;
    record_write(&bytes, &m);
    struct span all = writer_span(&bytes);
    assert_true(record_read(&back, all));
    assert_int_equal(back.kind, MESSAGE_EVENT);
    assert_int_equal(back.argc, 2);
    assert_true(span_equal(back.event, m.event));
    assert_true(span_equal(back.data, m.data));
    assert_true(span_equal(back.attachments, m.attachments));
    for (size_t len = 0; len < all.len - m.data.len; len++) {
        char *piece = malloc(len + 1); /* so that reading beyond it is seen */
        memcpy(piece, all.at, len);
        assert_false(record_read(&back, (struct span){piece, len}));
        free(piece);
    }
    char other[32];
    memcpy(other, all.at, sizeof other);
    other[0] = 2;
    assert_false(record_read(&back, (struct span){other, sizeof other}));
    other[0] = 1;
    other[1] = (char)0x80;
    assert_false(record_read(&back, (struct span){other, sizeof other}));
    writer_clear(&bytes);
    m.attachments.len--;
    record_write(&bytes, &m);
    assert_false(record_read(&back, writer_span(&bytes)));
    writer_deinit(&bytes);
    writer_deinit(&packed);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(delivery_follows_the_commit),
        TEST(who_reads_and_then_joins_meets_each_message_once),
        TEST(offsets_go_on_after_a_restart),
        TEST(no_offset_repeats_after_a_kill),
        TEST(who_waits_hears_of_the_commit_once),
        TEST(who_is_left_out_may_have_gone),
        TEST(rooms_of_all_kinds_are_told_once),
        TEST(who_is_not_there_is_not_in_memory),
        TEST(who_does_not_wait_is_refused_first),
        TEST(an_empty_room_keeps_its_beginning),
        TEST(what_is_over_is_over_on_disk_too),
        TEST(a_reload_keeps_what_can_be_kept),
        TEST(a_room_whose_history_goes_still_tells_what_was_said),
        TEST(what_is_kept_for_recovery_is_kept_once),
        TEST(what_cannot_be_written_is_told_and_heard_by_nobody),
        cmocka_unit_test(a_record_is_read_only_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
