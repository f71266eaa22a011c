/* Tests of a whole worker with a handler file: how it starts, and above all how it ends. The worker
 * runs on the main thread; the peer, with a plain blocking socket, and whoever sends the signal run
 * on another. */
#include "worker.h"

#include <uv.h>

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"

#define HANDSHAKE                                                                        \
    "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" \
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
#define STREAM "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n"
#define CLOSE_1012 "\x03\xf4server restart; retry="
#define CLOSE_ANSWER "\x88\x82\0\0\0\0\x03\xf4"

struct fixture {
    char folder[40];
    char app[64];
    char proof[64]; /* what handlers write to */
    char gate[64];  /* what a handler may wait for */
    int port;
    int admin_port;
    struct config config;
    FILE *log_file;
    struct log log;
    struct worker *worker;
    char told[65536]; /* what the peer has read */
    size_t told_len;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/test_worker.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->app, sizeof f->app, "%s/app.lua", f->folder);
    snprintf(f->proof, sizeof f->proof, "%s/proof", f->folder);
    snprintf(f->gate, sizeof f->gate, "%s/gate", f->folder);
    config_init(&f->config);
    f->config.host = memory_strdup("127.0.0.1");
    f->config.port = 0;
    f->config.shutdown_timeout = 100000;
    char path[64];
    snprintf(path, sizeof path, "%s/control", f->folder);
    f->config.control = memory_strdup(path);
    f->log_file = tmpfile();
    f->log = (struct log){.level = LOG_INFO, .fd = fileno(f->log_file)};
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    unlink(f->app);
    unlink(f->proof);
    unlink(f->gate);
    assert_int_equal(rmdir(f->folder), 0);
    config_deinit(&f->config);
    fclose(f->log_file);
    free(f);
    return 0;
}

static void write_app(struct fixture *f, const char *lua) {
    FILE *file = fopen(f->app, "w");
    fprintf(file,
            "local mw = require 'moonwire'\n"
            "local function prove(text) local f = io.open('%s', 'a') f:write(text) f:close() end\n"
            "local function wait() while not io.open('%s') do mw.sleep(0.01) end end\n"
            "%s\n",
            f->proof, f->gate, lua);
    fclose(file);
}

static bool was_logged(struct fixture *f, const char *text) {
    static char all[65536];
    rewind(f->log_file);
    all[fread(all, 1, sizeof all - 1, f->log_file)] = '\0';
    return strstr(all, text) != NULL;
}

static void assert_proof(struct fixture *f, const char *text) {
    char all[100] = "";
    FILE *file = fopen(f->proof, "r");
    if (file) {
        all[fread(all, 1, sizeof all - 1, file)] = '\0';
        fclose(file);
    }
    assert_string_equal(all, text);
}

/* --- the peer --------------------------------------------------------------------------------- */

static int peer_connect(const struct fixture *f) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)f->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        abort();
    }
    return fd;
}

static void peer_send(int fd, const char *bytes, size_t len) {
    if (send(fd, bytes, len, MSG_NOSIGNAL) != (ssize_t)len) {
        abort();
    }
}

/* Reads on until these bytes have come, or to the end; were they there? */
static bool peer_hears(struct fixture *f, int fd, const char *wanted) {
    while (!memmem(f->told, f->told_len, wanted, strlen(wanted))) {
        ssize_t got = recv(fd, f->told + f->told_len, sizeof f->told - f->told_len, 0);
        if (got <= 0) {
            return false;
        }
        f->told_len += (size_t)got;
    }
    return true;
}

static void peer_reads_to_the_end(struct fixture *f, int fd) {
    (void)peer_hears(f, fd, "\xff\xfe never sent");
    close(fd);
}

static void ask_to_end(void) {
    kill(getpid(), SIGTERM);
}

/* Runs the worker to its end while the peer does its part. */
static void run(struct fixture *f, void *(*peer)(void *)) {
    pthread_t thread;
    struct writer error = {0};
    assert_int_equal(worker_start(&f->worker, &f->config, &f->log, f->app, false, &error), 0);
    f->port = worker_port(f->worker);
    f->admin_port = worker_admin_port(f->worker);
    assert_int_equal(pthread_create(&thread, NULL, peer, f), 0);
    worker_run(f->worker);
    worker_free(f->worker);
    pthread_join(thread, NULL);
    writer_deinit(&error);
}

/* --- ending ----------------------------------------------------------------------------------- */

static void *peer_only_ends(void *data) {
    (void)data;
    ask_to_end();
    return NULL;
}

static void test_ends_when_asked(void **state) {
    struct fixture *f = *state;
    write_app(f, "return {}");
    run(f, peer_only_ends);
    assert_true(was_logged(f, "shutting down"));
    assert_false(was_logged(f, "deadline"));
}

static void *peer_is_told_goodbye(void *data) {
    struct fixture *f = data;
    int fd = peer_connect(f);
    peer_send(fd, HANDSHAKE, sizeof HANDSHAKE - 1);
    if (peer_hears(f, fd, "welcome")) {
        ask_to_end();
        if (peer_hears(f, fd, CLOSE_1012)) {
            peer_send(fd, CLOSE_ANSWER, sizeof CLOSE_ANSWER - 1);
        }
    }
    peer_reads_to_the_end(f, fd);
    return NULL;
}

static void test_a_websocket_is_told_1012(void **state) {
    struct fixture *f = *state;
    write_app(f, "return { on_connect = function(c) c:send('welcome') end, on_message = print,\n"
                 " on_disconnect = function(c, reason) prove(reason) end }");
    run(f, peer_is_told_goodbye);
    assert_non_null(memmem(f->told, f->told_len, CLOSE_1012, sizeof CLOSE_1012 - 1));
    assert_false(was_logged(f, "deadline"));
    assert_proof(f, "shutdown");
}

static void test_without_patience_the_last_words_are_still_sent(void **state) {
    struct fixture *f = *state;
    f->config.shutdown_timeout = 0;
    write_app(f, "return { on_connect = function(c) c:send('welcome') end, on_message = print }");
    run(f, peer_is_told_goodbye);
    assert_non_null(memmem(f->told, f->told_len, CLOSE_1012, sizeof CLOSE_1012 - 1));
}

static void test_on_disconnect_may_wait(void **state) {
    struct fixture *f = *state;
    write_app(f, "return { on_connect = function(c) c:send('welcome') end, on_message = print,\n"
                 " on_disconnect = function(c) mw.sleep(0.1) prove('done') end }");
    run(f, peer_is_told_goodbye);
    assert_proof(f, "done");
    assert_false(was_logged(f, "deadline"));
}

static void *peer_reads_a_stream(void *data) {
    struct fixture *f = data;
    int fd = peer_connect(f);
    peer_send(fd, STREAM, sizeof STREAM - 1);
    if (peer_hears(f, fd, "event: welcome")) {
        ask_to_end();
    }
    peer_reads_to_the_end(f, fd);
    return NULL;
}

static void test_a_stream_ends(void **state) {
    struct fixture *f = *state;
    write_app(f, "return { events = {}, on_connect = function(c) c:emit('welcome') end,\n"
                 " on_disconnect = function(c, reason) prove(reason) end }");
    run(f, peer_reads_a_stream);
    assert_false(was_logged(f, "deadline"));
    assert_proof(f, "shutdown");
}

/* Nobody can connect any more once the worker has begun to end. */
static void wait_for_the_end_to_begin(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int refused = 0;
    while (!refused) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        refused = connect(fd, (struct sockaddr *)&address, sizeof address);
        close(fd);
        usleep(1000);
    }
}

/* The signal comes while on_auth waits, which then goes on. */
static void *peer_waits_at_the_door(void *data) {
    struct fixture *f = data;
    int fd = peer_connect(f);
    peer_send(fd, HANDSHAKE, sizeof HANDSHAKE - 1);
    while (access(f->proof, F_OK) != 0) {
        usleep(1000);
    }
    ask_to_end();
    wait_for_the_end_to_begin(f->port);
    fclose(fopen(f->gate, "w"));
    peer_reads_to_the_end(f, fd);
    return NULL;
}

static void test_who_waits_at_the_door_is_turned_away(void **state) {
    struct fixture *f = *state;
    write_app(f, "return { on_message = print, on_connect = function() prove('connected') end,\n"
                 " on_auth = function() prove('asked ') wait() return { id = 'a' } end }");
    run(f, peer_waits_at_the_door);
    assert_non_null(memmem(f->told, f->told_len, "HTTP/1.1 503 ", 13));
    assert_false(was_logged(f, "deadline"));
    assert_proof(f, "asked ");
}

/* Whom nothing can end in order is cut off at the second signal. */
static void *peer_asks_twice(void *data) {
    struct fixture *f = data;
    int fd = peer_connect(f);
    peer_send(fd, HANDSHAKE, sizeof HANDSHAKE - 1);
    if (peer_hears(f, fd, "welcome")) {
        ask_to_end();
        if (peer_hears(f, fd, CLOSE_1012)) {
            ask_to_end();
        }
    }
    peer_reads_to_the_end(f, fd);
    return NULL;
}

static void test_a_second_signal_ends_at_once(void **state) {
    struct fixture *f = *state;
    write_app(f, "return { on_connect = function(c) c:send('welcome') end, on_message = print,\n"
                 " on_disconnect = function(c) prove('begun') mw.sleep(1000) end }");
    run(f, peer_asks_twice);
    assert_true(was_logged(f, "asked again"));
    assert_proof(f, "begun");
}

/* A handler that waits for an hour, and the one who asked has long gone. */
static void *peer_leaves_a_handler_behind(void *data) {
    struct fixture *f = data;
    static const char request[] = "GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int fd = peer_connect(f);
    peer_send(fd, request, sizeof request - 1);
    while (access(f->proof, F_OK) != 0) {
        usleep(1000);
    }
    close(fd);
    ask_to_end();
    return NULL;
}

static void test_the_deadline_ends_what_waits_on(void **state) {
    struct fixture *f = *state;
    f->config.shutdown_timeout = 100;
    write_app(f, "return { routes = { ['GET /slow'] = function()\n"
                 " prove('asked') mw.sleep(3600) return 200 end } }");
    run(f, peer_leaves_a_handler_behind);
    assert_proof(f, "asked");
}

/* --- starting --------------------------------------------------------------------------------- */

static void assert_start_fails(struct fixture *f, int status, const char *why) {
    struct writer error = {0};
    assert_int_equal(worker_start(&f->worker, &f->config, &f->log, f->app, true, &error), status);
    writer_putc(&error, '\0');
    assert_non_null(strstr(writer_span(&error).at, why));
    writer_deinit(&error);
}

static void test_a_port_in_use(void **state) {
    struct fixture *f = *state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int taken = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(taken, (struct sockaddr *)&address, len), 0);
    assert_int_equal(listen(taken, 1), 0);
    assert_int_equal(getsockname(taken, (struct sockaddr *)&address, &len), 0);
    write_app(f, "return {}");
    f->config.port = ntohs(address.sin_port);
    assert_start_fails(f, UV_EADDRINUSE, "cannot listen on 127.0.0.1 port ");
    char admin[32];
    snprintf(admin, sizeof admin, "127.0.0.1:%d", f->config.port);
    f->config.port = 0;
    f->config.admin = memory_strdup(admin);
    assert_start_fails(f, UV_EADDRINUSE, "cannot open --admin ");
    close(taken);
}

static void test_a_handler_that_does_not_load(void **state) {
    struct fixture *f = *state;
    assert_start_fails(f, UV_EINVAL, "app.lua");
    write_app(f, "return { on_conect = print }");
    assert_start_fails(f, UV_EINVAL, "on_conect");
    write_app(f, "retrun {}");
    assert_start_fails(f, UV_EINVAL, "app.lua:4");
}

static void *peer_looks_at_the_side_door(void *data) {
    struct fixture *f = data;
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    f->port = f->admin_port;
    int fd = peer_connect(f);
    peer_send(fd, request, sizeof request - 1);
    (void)peer_hears(f, fd, "ok\n");
    ask_to_end();
    peer_reads_to_the_end(f, fd);
    return NULL;
}

/* A port alone means loopback. */
static void test_the_side_door(void **state) {
    struct fixture *f = *state;
    static const char *const addresses[] = {"0", "127.0.0.1:0", "localhost:0"};
    write_app(f, "return {}");
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        free(f->config.admin);
        f->config.admin = memory_strdup(addresses[i]);
        f->told_len = 0;
        run(f, peer_looks_at_the_side_door);
        assert_non_null(memmem(f->told, f->told_len, "HTTP/1.1 200 ", 13));
    }
}

/* Nobody is connected whom the end would have to be told to. */
static void test_a_script_ends_as_a_process_does(void **state) {
    struct fixture *f = *state;
    int status;
    write_app(f, "prove('runs') mw.sleep(1000)");
    pid_t child = fork();
    if (child == 0) {
        char *argv[] = {f->app, NULL};
        _exit(worker_run_lua(&f->config, &f->log, f->app, 1, argv));
    }
    while (access(f->proof, F_OK) != 0) {
        usleep(1000);
    }
    kill(child, SIGTERM);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ends_when_asked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_websocket_is_told_1012, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_without_patience_the_last_words_are_still_sent, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_on_disconnect_may_wait, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_stream_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_who_waits_at_the_door_is_turned_away, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_second_signal_ends_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_deadline_ends_what_waits_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_port_in_use, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_handler_that_does_not_load, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_side_door, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_script_ends_as_a_process_does, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
