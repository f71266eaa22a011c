/* Listening: addresses, errors, the limits on connections, and what a refused one is told. */
#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

static void on_data(struct conn *conn, char *bytes, size_t len) {
    (void)conn_write_bytes(conn, bytes, len);
}

static void on_close(struct conn *conn, int error) {
    (void)conn;
    (void)error;
}

static const struct conn_handler echo = {.on_data = on_data, .on_close = on_close};

static void on_accept(struct conn *conn, void *data) {
    (*(int *)data)++;
    conn_set_handler(conn, &echo, NULL);
}

static void echoes(struct fixture *f, struct remote *client, const char *text) {
    remote_sends(client, text);
    RUN_UNTIL(f, remote_has(client, text));
}

static void refused(struct fixture *f, struct remote *client) {
    remote_sends(client, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    RUN_UNTIL(f, client->ended);
    assert_int_equal(client->error, 0);
    assert_int_equal(remote_count(client, "HTTP/1.1 503 Service Unavailable\r\n"), 1);
    assert_true(remote_has(client, "Connection: close\r\n"));
    remote_free(f, client);
}

static void test_port_in_use_and_unknown_host_are_errors(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    int accepted = 0;
    fixture_listen(&f, on_accept, &accepted);
    struct listener *second = NULL;
    assert_int_equal(listener_start(&second, &f.io, "127.0.0.1", f.port, on_accept, &accepted),
                     UV_EADDRINUSE);
    assert_null(second);
    assert_true(listener_start(&second, &f.io, "300.1.1.1", 0, on_accept, &accepted) < 0);
    assert_null(second);
    fixture_deinit(&f);
}

static void test_host_names_and_ipv6(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    int accepted = 0;
    struct listener *named = NULL;
    assert_int_equal(listener_start(&named, &f.io, "localhost", 0, on_accept, &accepted), 0);
    assert_true(listener_port(named) > 0);
    listener_stop(named);
    int error = listener_start(&f.listener, &f.io, "::", 0, on_accept, &accepted);
    if (error == 0) { /* A machine without IPv6 says otherwise. */
        f.port = listener_port(f.listener);
        struct remote *client = remote_connect(&f); /* IPv4, through the same socket. */
        echoes(&f, client, "hello");
        remote_free(&f, client);
    } else {
        assert_true(error == UV_EAFNOSUPPORT || error == UV_EADDRNOTAVAIL ||
                    error == UV_EAI_FAMILY || error == UV_EAI_ADDRFAMILY || error == UV_EAI_NONAME);
    }
    fixture_deinit(&f);
}

static void test_limit_of_connections(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.config.max_connections = 2;
    int accepted = 0;
    fixture_listen(&f, on_accept, &accepted);
    struct remote *one = remote_connect(&f);
    struct remote *two = remote_connect(&f);
    echoes(&f, one, "one");
    echoes(&f, two, "two");
    refused(&f, remote_connect(&f));
    assert_int_equal(accepted, 2);
    assert_int_equal(f.metrics.connections_refused, 1);
    assert_int_equal(f.metrics.connections_accepted, 2);
    remote_free(&f, one);
    RUN_UNTIL(&f, f.metrics.connections == 1);
    struct remote *three = remote_connect(&f);
    echoes(&f, three, "three");
    remote_free(&f, two);
    remote_free(&f, three);
    fixture_deinit(&f);
}

static void test_limit_per_address(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.config.max_per_address = 1;
    int accepted = 0;
    fixture_listen(&f, on_accept, &accepted);
    struct remote *one = remote_connect(&f);
    echoes(&f, one, "one");
    assert_non_null(f.io.peers);
    refused(&f, remote_connect(&f));
    remote_free(&f, one);
    RUN_UNTIL(&f, f.io.peers == NULL);
    struct remote *two = remote_connect(&f);
    echoes(&f, two, "two");
    remote_free(&f, two);
    fixture_deinit(&f);
}

static void test_no_descriptors_left_does_not_spin(void **state) {
    (void)state;
    struct fixture f;
    fixture_init(&f);
    int accepted = 0;
    fixture_listen(&f, on_accept, &accepted);
    struct remote *first = remote_connect(&f);
    echoes(&f, first, "first");
    struct remote *late = remote_connect(&f); /* Connected by the kernel's backlog. */
    echoes(&f, late, "late");
    remote_free(&f, late);
    RUN_UNTIL(&f, f.metrics.connections == 1);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    /* The client's own socket is the last descriptor there is. */
    int next = dup(0);
    close(next);
    struct rlimit tight = {(rlim_t)next + 1, limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &tight);
    struct remote *unlucky = remote_connect(&f);
    RUN_UNTIL(&f, unlucky->ended);
    assert_int_equal(accepted, 2);
    setrlimit(RLIMIT_NOFILE, &limit);
    remote_free(&f, unlucky);
    echoes(&f, first, "still here");
    remote_free(&f, first);
    fixture_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_port_in_use_and_unknown_host_are_errors),
        cmocka_unit_test(test_host_names_and_ipv6),
        cmocka_unit_test(test_limit_of_connections),
        cmocka_unit_test(test_limit_per_address),
        cmocka_unit_test(test_no_descriptors_left_does_not_spin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
