/* Tests of the control socket: the server's side on a loop of its own, the asking side, which
 * blocks, on a thread. */
#include "control.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    uv_loop_t loop;
    char folder[32];
    char path[64];
    struct control *control;
    char heard[64]; /* the last command */
    int outcome;
};

static int run(void *data, struct span command, struct writer *reply) {
    struct fixture *f = data;
    snprintf(f->heard, sizeof f->heard, "%.*s", (int)command.len, command.at);
    writer_puts(reply, f->outcome ? "it failed" : "it is done");
    return f->outcome;
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/test_control.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->path, sizeof f->path, "%s/sock", f->folder);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    if (f->control) {
        control_stop(f->control);
    }
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    assert_int_equal(access(f->path, F_OK), -1); /* no socket is left */
    assert_int_equal(rmdir(f->folder), 0);
    free(f);
    return 0;
}

static void start(struct fixture *f) {
    assert_int_equal(control_start(&f->control, &f->loop, f->path, run, f), 0);
}

/* --- asking ----------------------------------------------------------------------------------- */

struct asking {
    struct fixture *fixture;
    uv_async_t done;
    struct writer reply;
    int status;
};

static void *ask(void *data) {
    struct asking *asking = data;
    asking->status = control_ask(asking->fixture->path, "reload", &asking->reply);
    uv_async_send(&asking->done);
    return NULL;
}

static void on_done(uv_async_t *done) {
    uv_close((uv_handle_t *)done, NULL);
    uv_stop(done->loop);
}

static void ask_once(struct fixture *f, struct asking *asking) {
    pthread_t thread;
    *asking = (struct asking){.fixture = f};
    uv_async_init(&f->loop, &asking->done, on_done);
    assert_int_equal(pthread_create(&thread, NULL, ask, asking), 0);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    pthread_join(thread, NULL);
}

static void assert_asking(struct fixture *f, int outcome, int status, const char *text) {
    struct asking asking;
    f->outcome = outcome;
    ask_once(f, &asking);
    assert_string_equal(f->heard, "reload");
    assert_int_equal(asking.status, status);
    assert_true(span_is(writer_span(&asking.reply), text));
    writer_deinit(&asking.reply);
}

static void test_asks_and_is_answered(void **state) {
    struct fixture *f = *state;
    start(f);
    assert_asking(f, 0, 0, "it is done");
    assert_asking(f, UV_EINVAL, UV_EINVAL, "it failed");
}

static void test_there_is_no_server(void **state) {
    struct fixture *f = *state;
    struct writer reply = {0};
    assert_int_equal(control_ask(f->path, "reload", &reply), UV_ENOENT);
    assert_int_equal(writer_len(&reply), 0);
}

/* --- the end ---------------------------------------------------------------------------------- */

static int connect_silently(struct fixture *f) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* One has been accepted, of one half a command has come, one waits to be accepted. */
static void test_silent_clients_do_not_hold_the_loop(void **state) {
    struct fixture *f = *state;
    char byte;
    start(f);
    int silent = connect_silently(f);
    int half = connect_silently(f);
    assert_int_equal(write(half, "rel", 3), 3);
    while (uv_run(&f->loop, UV_RUN_NOWAIT) && f->loop.active_handles < 3) {
    }
    int late = connect_silently(f);
    control_stop(f->control);
    f->control = NULL;
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(read(silent, &byte, 1), 0);
    assert_true(read(half, &byte, 1) <= 0);
    assert_true(read(late, &byte, 1) <= 0);
    close(silent);
    close(half);
    close(late);
}

static void test_a_command_without_end_is_cut_off(void **state) {
    struct fixture *f = *state;
    char bytes[200];
    start(f);
    memset(bytes, 'x', sizeof bytes);
    int fd = connect_silently(f);
    assert_int_equal(write(fd, bytes, sizeof bytes), sizeof bytes);
    while (recv(fd, bytes, 1, MSG_DONTWAIT) < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        uv_run(&f->loop, UV_RUN_ONCE);
    }
    close(fd);
    assert_string_equal(f->heard, "");
}

/* --- where it listens ------------------------------------------------------------------------- */

static void test_the_socket_is_ours_alone(void **state) {
    struct fixture *f = *state;
    struct stat st;
    mode_t before = umask(0);
    start(f);
    umask(before);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void test_two_servers_cannot_have_one_socket(void **state) {
    struct fixture *f = *state;
    struct control *second = NULL;
    start(f);
    assert_int_equal(control_start(&second, &f->loop, f->path, run, f), UV_EADDRINUSE);
    assert_null(second);
    assert_asking(f, 0, 0, "it is done"); /* the first still has it */
}

static void test_what_a_dead_server_left_is_taken_over(void **state) {
    struct fixture *f = *state;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    start(f);
    assert_asking(f, 0, 0, "it is done");
}

/* connect(2) refuses a regular file as it refuses a dead socket. */
static void test_a_file_that_is_no_socket_is_left_alone(void **state) {
    struct fixture *f = *state;
    struct stat st;
    FILE *file = fopen(f->path, "w");
    fputs("mine", file);
    fclose(file);
    assert_int_equal(control_start(&f->control, &f->loop, f->path, run, f), UV_EADDRINUSE);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_size, 4);
    unlink(f->path);
}

static void test_a_path_that_does_not_fit_is_an_error(void **state) {
    struct fixture *f = *state;
    char path[200];
    memset(path, 'x', sizeof path);
    memcpy(path, "/tmp/", 5);
    path[sizeof path - 1] = '\0';
    assert_int_equal(control_start(&f->control, &f->loop, path, run, f), UV_ENAMETOOLONG);
    path[107] = '\0'; /* what libuv would have made of it */
    assert_int_equal(access(path, F_OK), -1);
}

static void assert_folder(const char *runtime, const char *app, const char *folder) {
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    char *path = control_path(NULL, app);
    assert_non_null(path);
    assert_int_equal(strncmp(path, folder, strlen(folder)), 0);
    assert_true(strlen(path) < sizeof((struct sockaddr_un *)0)->sun_path);
    free(path);
}

static void test_the_runtime_folder(void **state) {
    struct fixture *f = *state;
    char deep[128];
    char fallback[64];
    snprintf(fallback, sizeof fallback, "/tmp/moonwire-%u/", (unsigned)geteuid());
    assert_folder(f->folder, "/dev/null", f->folder);
    /* Writable by others, and too long for a socket. */
    chmod(f->folder, 0777);
    assert_folder(f->folder, "/dev/null", fallback);
    chmod(f->folder, 0700);
    snprintf(deep, sizeof deep, "%s/%064d", f->folder, 0);
    assert_int_equal(mkdir(deep, 0700), 0);
    assert_folder(deep, "/dev/null", fallback);
    rmdir(deep);
    assert_null(control_path(NULL, "/tmp/test_control/no/such/app.lua"));
    char *given = control_path("here", "/dev/null");
    assert_string_equal(given, "here");
    free(given);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_asks_and_is_answered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_there_is_no_server, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_silent_clients_do_not_hold_the_loop, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_command_without_end_is_cut_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_the_socket_is_ours_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_two_servers_cannot_have_one_socket, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_what_a_dead_server_left_is_taken_over, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_file_that_is_no_socket_is_left_alone, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_a_path_that_does_not_fit_is_an_error, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_the_runtime_folder, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
