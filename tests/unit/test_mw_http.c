/* mw.http against a server on the loopback, in the same loop: if a request ever blocked it, the
 * answer would never come. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/memory.h"
#include "script_fixture.h"

static struct script_fixture f;

static struct {
    uv_tcp_t listener;
    int port;
    int connections; /* ever accepted */
    int requests;
    int held; /* requests to /together that wait for each other */
    LIST_HEAD(, peer) peers;
} server;

struct peer {
    uv_tcp_t tcp;
    LIST_ENTRY(peer) link;
    struct writer in;
    bool held;
};

/* --- the server ------------------------------------------------------------------------------- */

static void on_peer_closed(uv_handle_t *handle) {
    struct peer *peer = handle->data;
    LIST_REMOVE(peer, link);
    writer_deinit(&peer->in);
    free(peer);
}

static void close_peer(struct peer *peer) {
    if (!uv_is_closing((uv_handle_t *)&peer->tcp)) {
        uv_close((uv_handle_t *)&peer->tcp, on_peer_closed);
    }
}

/* Small enough for the socket's buffer, always. */
static void say(struct peer *peer, const char *head, const char *body, size_t len) {
    char text[2048];
    int n = snprintf(text, sizeof(text), "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", head, len);
    uv_buf_t parts[2] = {uv_buf_init(text, (unsigned)n), uv_buf_init((char *)body, (unsigned)len)};
    assert_int_equal(uv_try_write((uv_stream_t *)&peer->tcp, parts, 2), n + (int)len);
}

static void release_together(void) {
    struct peer *peer;
    LIST_FOREACH (peer, &server.peers, link) {
        if (peer->held) {
            peer->held = false;
            say(peer, "200 OK", "both", 4);
        }
    }
}

static void answer(struct peer *peer, const char *path, struct span request, bool has_body) {
    static char big[50000];
    server.requests++;
    if (strcmp(path, "/json") == 0) {
        say(peer, "200 OK\r\nContent-Type: application/json", "{\"a\":[1]}", 9);
    } else if (strcmp(path, "/fields") == 0) {
        say(peer, "418 Teapot\r\nX-Twice: a\r\nx-twice:  b \r\nSet-Cookie: c=1\r\nSet-Cookie: d=2",
            "", 0);
    } else if (strcmp(path, "/big") == 0) {
        memset(big, 'x', sizeof(big));
        say(peer, "200 OK", big, sizeof(big));
    } else if (strcmp(path, "/redirect") == 0) {
        say(peer, "302 Found\r\nLocation: /json", "moved", 5);
    } else if (strcmp(path, "/circle") == 0) {
        say(peer, "302 Found\r\nLocation: /circle", "", 0);
    } else if (strcmp(path, "/file") == 0) {
        say(peer, "302 Found\r\nLocation: file:///etc/passwd", "", 0);
    } else if (strcmp(path, "/hang") == 0) {
        return;
    } else if (strcmp(path, "/close") == 0) {
        close_peer(peer);
    } else if (strcmp(path, "/together") == 0) {
        peer->held = true;
        if (++server.held == 2) {
            release_together();
        }
    } else if (strcmp(path, "/head") == 0 && !has_body) {
        say(peer, "200 OK\r\nX-Head: yes", "", 0);
    } else {
        say(peer, "200 OK", request.at, request.len);
    }
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf) {
    (void)handle;
    *buf = uv_buf_init(memory_alloc(size), (unsigned)size);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct peer *peer = stream->data;
    if (n < 0) {
        close_peer(peer);
    } else {
        writer_put(&peer->in, buf->base, (size_t)n);
        struct span in = writer_span(&peer->in);
        const char *end = memmem(in.at, in.len, "\r\n\r\n", 4);
        const char *length = memmem(in.at, in.len, "Content-Length: ", 16);
        size_t body = length != NULL ? strtoul(length + 16, NULL, 10) : 0;
        if (in.at[0] == 0x16) { /* a TLS handshake, which it does not speak */
            say(peer, "400 Bad Request", "", 0);
            writer_clear(&peer->in);
        } else if (end != NULL && (size_t)(in.at + in.len - end) - 4 >= body) {
            char path[64];
            assert_int_equal(sscanf(in.at, "%*s %63[^ ?#]", path), 1);
            answer(peer, path, in, body > 0);
            writer_clear(&peer->in);
        }
    }
    free(buf->base);
}

static void on_connection(uv_stream_t *stream, int status) {
    struct peer *peer = memory_zalloc(sizeof(*peer));
    assert_int_equal(status, 0);
    uv_tcp_init(stream->loop, &peer->tcp);
    peer->tcp.data = peer;
    LIST_INSERT_HEAD(&server.peers, peer, link);
    server.connections++;
    assert_int_equal(uv_accept(stream, (uv_stream_t *)&peer->tcp), 0);
    uv_read_start((uv_stream_t *)&peer->tcp, on_alloc, on_read);
}

static int open_all(void **state) {
    (void)state;
    struct sockaddr_in address;
    int len = sizeof(address);
    char port[16];
    unsetenv("http_proxy");
    memset(&server, 0, sizeof(server));
    script_fixture_open(&f, 1000, 0);
    uv_tcp_init(&f.loop, &server.listener);
    uv_ip4_addr("127.0.0.1", 0, &address);
    assert_int_equal(uv_tcp_bind(&server.listener, (struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&server.listener, 16, on_connection), 0);
    uv_tcp_getsockname(&server.listener, (struct sockaddr *)&address, &len);
    server.port = ntohs(address.sin_port);
    snprintf(port, sizeof(port), "%d", server.port);
    setenv("TEST_PORT", port, 1);
    return 0;
}

static void close_server(void) {
    struct peer *peer;
    if (!uv_is_closing((uv_handle_t *)&server.listener)) {
        uv_close((uv_handle_t *)&server.listener, NULL);
    }
    LIST_FOREACH (peer, &server.peers, link) {
        close_peer(peer);
    }
}

static int close_all(void **state) {
    (void)state;
    close_server();
    script_fixture_close(&f);
    return 0;
}

/* Runs code with `mw`, and `at(path)` for the server's URLs. */
static const char *run(const char *code) {
    static struct piece piece;
    static char text[2048];
    snprintf(text, sizeof(text),
             "local mw = require 'moonwire' "
             "local function at(path) return 'http://127.0.0.1:' .. mw.env.TEST_PORT .. path end "
             "%s",
             code);
    return run_to_end(&f, &piece, text);
}

/* --- tests ------------------------------------------------------------------------------------ */

static void gets(void **state) {
    (void)state;
    assert_string_equal(
        run("local a = assert(mw.http.get(at '/json')) "
            "return a.status .. a.headers['content-type'] .. a:json().a[1] .. a.body"),
        "200application/json1{\"a\":[1]}");
}

static void sends_what_it_is_told(void **state) {
    (void)state;
    const char *echo =
        run("return mw.http.post(at '/echo?x=1', {query = {a = 'b c&d', l = {1, 2}}, "
            "headers = {['X-Mine'] = 'yes', ['X-Empty'] = ''}, json = {t = 1}}).body");
    assert_memory_equal(echo, "POST /echo?x=1&a=b%20c%26d&l=1&l=2 HTTP/1.1\r\n", 45);
    assert_non_null(strstr(echo, "\r\nX-Mine: yes\r\n"));
    assert_non_null(strstr(echo, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(echo, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(echo, "\r\nUser-Agent: moonwire/"));
    assert_non_null(strstr(echo, "\r\n\r\n{\"t\":1}"));
    assert_null(strstr(echo, "Expect"));

    echo = run("return mw.http.put(at '/echo', {body = 'a\\0b'}).body:gsub('%z', '0')");
    assert_memory_equal(echo, "PUT /echo HTTP/1.1\r\n", 20);
    assert_non_null(strstr(echo, "\r\n\r\na0b"));
    assert_null(strstr(echo, "Content-Type"));

    assert_memory_equal(run("return mw.http.delete(at '/echo').body"), "DELETE /echo ", 13);
    assert_memory_equal(run("return mw.http.patch(at '/echo', {body = ''}).body"), "PATCH /echo ",
                        12);
    assert_non_null(strstr(run("return mw.http.post(at '/echo').body"), "Content-Length: 0\r\n"));
    assert_memory_equal(run("return mw.http.request{method = 'options', url = at '/echo'}.body"),
                        "OPTIONS /echo ", 14);
    assert_string_equal(run("return mw.http.head(at '/head').headers['x-head']"), "yes");
}

static void reads_fields(void **state) {
    (void)state;
    assert_string_equal(run("local a = mw.http.get(at '/fields') "
                            "return a.status .. a.headers['x-twice'] .. a.headers['set-cookie']"),
                        "418a, bc=1\nd=2");
}

static void keeps_connections(void **state) {
    (void)state;
    run("for i = 1, 5 do assert(mw.http.get(at '/json')) end");
    assert_int_equal(server.requests, 5);
    assert_int_equal(server.connections, 1);
}

/* The server answers neither before it has both. */
static void asks_many_at_once(void **state) {
    (void)state;
    assert_string_equal(
        run("local done = {} "
            "for i = 1, 2 do mw.spawn(function() "
            "  local b = mw.http.get(at '/together').body done[#done + 1] = b end) end "
            "while #done < 2 do mw.sleep(0.001) end "
            "return table.concat(done)"),
        "bothboth");
}

static void has_a_timeout(void **state) {
    (void)state;
    assert_string_equal(run("return select(2, mw.http.get(at '/hang', {timeout = 0.05}))"),
                        "timeout");
}

static void bounds_the_answer(void **state) {
    (void)state;
    assert_string_equal(run("return #mw.http.get(at '/big', {max_body = 50000}).body"), "50000");
    assert_string_equal(run("local _, code, text = mw.http.get(at '/big', {max_body = 49999}) "
                            "return code .. ': ' .. text"),
                        "too_large: the answer is longer than 49999 bytes");
}

static void follows_redirects_when_told(void **state) {
    (void)state;
    assert_string_equal(run("return mw.http.get(at '/redirect').status"), "302");
    assert_string_equal(run("return mw.http.get(at '/redirect', {redirects = 1}).body"),
                        "{\"a\":[1]}");
    assert_string_equal(run("return select(2, mw.http.get(at '/circle', {redirects = 3}))"),
                        "redirects");
    assert_string_equal(run("return select(2, mw.http.get(at '/file', {redirects = 3}))"),
                        "bad_url");
}

static void names_what_went_wrong(void **state) {
    (void)state;
    assert_string_equal(run("return select(2, mw.http.get(at '/close'))"), "broken");
    assert_string_equal(run("return select(2, mw.http.get('file:///etc/passwd'))"), "bad_url");
    assert_string_equal(run("return select(2, mw.http.get('http://a b'))"), "bad_url");
    assert_string_equal(run("return select(2, mw.http.get('nonsense:'))"), "bad_url");
    assert_string_equal(run("return select(2, mw.http.get((at('/json'):gsub('http', 'https'))))"),
                        "tls");
    close_server();
    assert_string_equal(run("return select(2, mw.http.get(at '/json'))"), "connect");
}

static void refuses_what_is_no_request(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"mw.http.get()", "piece:1: mw.http: get takes a URL first"},
        {"mw.http.get(at '/', 5)", "piece:1: mw.http: the options of get are a table"},
        {"mw.http.get(at '/', {tiemout = 1})",
         "piece:1: mw.http: unknown option 'tiemout'; did you mean 'timeout'?"},
        {"mw.http.get(at '/', {timeout = '1'})",
         "piece:1: mw.http: timeout must be a number, not a string"},
        {"mw.http.get(at '/', {headers = {['a b'] = 1}})",
         "piece:1: mw.http: 'a b' is no name of a header"},
        {"mw.http.get(at '/', {headers = {a = 'x\\r\\nb: c'}})",
         "piece:1: mw.http: the header a has a line end in it"},
        {"mw.http.post(at '/', {json = 1, body = ''})",
         "piece:1: mw.http: body and json exclude each other"},
        {"mw.http.request{method = 'GET'}", "piece:1: mw.http: url is missing"},
        {"mw.http.request{method = 'G T', url = at '/'}", "piece:1: mw.http: 'G T' is no method"},
        {"mw.http.get(at '/', {redirects = 21})",
         "piece:1: mw.http: redirects must be a whole number from 0 to 20"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        assert_string_equal(run(rows[i][0]), rows[i][1]);
    }
    assert_int_equal(server.requests, 0);
}

/* The server stops while requests are under way: they are abandoned, and nothing leaks. */
static void is_given_up_at_the_end(void **state) {
    (void)state;
    static struct piece piece;
    run_piece(&f, &piece,
              "local mw = require 'moonwire' "
              "return mw.http.get('http://127.0.0.1:' .. mw.env.TEST_PORT .. '/hang')");
    while (server.requests == 0) {
        uv_run(&f.loop, UV_RUN_ONCE);
    }
    close_server();
    script_fixture_close(&f);
    assert_int_equal(piece.how, TASK_ABANDONED);
    open_all(NULL);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)
    const struct CMUnitTest tests[] = {
        TEST(gets),
        TEST(sends_what_it_is_told),
        TEST(reads_fields),
        TEST(keeps_connections),
        TEST(asks_many_at_once),
        TEST(has_a_timeout),
        TEST(bounds_the_answer),
        TEST(follows_redirects_when_told),
        TEST(names_what_went_wrong),
        TEST(refuses_what_is_no_request),
        TEST(is_given_up_at_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
