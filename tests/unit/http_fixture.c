/* The HTTP server of http_fixture.h, and a reader of its answers. */
#include "http_fixture.h"

#include "http/response.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void answer_path(struct exchange *x, void *data) {
    (void)data;
    struct response r;
    response_init(&r, 200);
    struct span path = request_path(exchange_request(x));
    r.body = buf_copy(path.at, path.len);
    response_send(x, &r);
}

static void on_request(struct http_server *server, struct exchange *x) {
    struct site *s = server->data;
    s->requests++;
    s->answer(x, s->data);
}

static void on_accept(struct conn *conn, void *data) {
    http_accept(&((struct site *)data)->server, conn);
}

void site_init(struct site *s) {
    memset(s, 0, sizeof *s);
    fixture_init(&s->f);
    s->answer = answer_path;
}

void site_start(struct site *s) {
    http_server_init(&s->server, &s->f.io, &s->f.config, on_request, s);
    fixture_listen(&s->f, on_accept, s);
    site_connect(s);
}

void site_connect(struct site *s) {
    if (s->client)
        remote_free(&s->f, s->client);
    s->client = remote_connect(&s->f);
}

void site_deinit(struct site *s) {
    remote_free(&s->f, s->client);
    fixture_deinit(&s->f);
    assert_true(LIST_EMPTY(&s->server.active));
    http_server_deinit(&s->server);
}

const char *answer_field(const char *answer, const char *name) {
    static char value[512];
    char wanted[64];
    int len = snprintf(wanted, sizeof wanted, "\r\n%s: ", name);
    const char *end = strstr(answer, "\r\n\r\n");
    const char *at = strcasestr(answer, wanted);
    value[0] = '\0';
    if (at && end && at < end)
        snprintf(value, sizeof value, "%.*s", (int)strcspn(at + len, "\r"), at + len);
    return value;
}

int answer_status(const char *answer) {
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? atoi(answer + 9) : -1;
}

const char *answer_body(const char *answer) {
    const char *end = strstr(answer, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

/* The answer after this one, or NULL while it is incomplete. */
static const char *next_answer(const char *answer, const char *end) {
    const char *head_end = strstr(answer, "\r\n\r\n");
    if (!head_end)
        return NULL;
    size_t length = strtoul(answer_field(answer, "Content-Length"), NULL, 10);
    return (size_t)(end - head_end - 4) >= length ? head_end + 4 + length : NULL;
}

static const char *find_answer(struct site *s, int count) {
    const char *at = remote_text(s->client);
    const char *end = at + writer_len(&s->client->received);
    const char *last = NULL;
    for (int i = 0; i < count && at; i++) {
        last = at;
        at = next_answer(at, end);
    }
    return at ? last : NULL;
}

void site_wait_answers(struct site *s, int count) {
    RUN_UNTIL(&s->f, find_answer(s, count));
}

const char *site_ask(struct site *s, const char *request) {
    writer_clear(&s->client->received);
    remote_sends(s->client, request);
    site_wait_answers(s, 1);
    return find_answer(s, 1);
}
