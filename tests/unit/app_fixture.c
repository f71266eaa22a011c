/* See app_fixture.h. */
#include "app_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "proto/event.h"

static void defer(void *io, struct deferred *deferred) {
    io_defer_closed(io, deferred);
}

void app_fixture_open(struct app_fixture *f) {
    memset(f, 0, sizeof *f);
    assert_int_equal(uv_loop_init(&f->loop), 0);
    config_init(&f->config);
    f->config.max_queue = 4;
    f->config.max_acks = 8;
    assert_int_equal(io_init(&f->io, &f->loop, &f->config, &f->metrics), 0);
    strcpy(f->dir, "/tmp/moonwire-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof f->path, "%s/app.lua", f->dir);
    FILE *file = tmpfile();
    assert_non_null(file);
    f->log = (struct log){LOG_INFO, false, dup(fileno(file))};
    fclose(file);
    struct script_env env = {
        .io = &f->io, .config = &f->config, .log = &f->log, .metrics = &f->metrics};
    assert_int_equal(script_new(&f->script, &env, f->path), 0);
    f->app = script_app(f->script);
    f->hub = hub_new(&f->config, &f->metrics, &f->io.arena, f->app, defer, &f->io);
    script_set_hub(f->script, f->hub);
}

void app_stop(struct app_fixture *f) {
    if (!f->stopped) {
        f->stopped = true;
        script_stop(f->script);
    }
}

void app_fixture_close(struct app_fixture *f) {
    char command[128];
    app_stop(f);
    io_end_turn(&f->io);
    io_stop(&f->io);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    script_free(f->script);
    hub_free(f->hub);
    io_deinit(&f->io);
    assert_int_equal(uv_loop_close(&f->loop), 0);
    config_deinit(&f->config);
    writer_deinit(&f->error);
    writer_deinit(&f->logged);
    close(f->log.fd);
    snprintf(command, sizeof command, "rm -r '%s'", f->dir);
    assert_int_equal(system(command), 0);
}

int app_load(struct app_fixture *f, const char *source) {
    FILE *file = fopen(f->path, "w");
    assert_non_null(file);
    fputs(source, file);
    fclose(file);
    writer_clear(&f->error);
    int result = script_prepare(f->script, &f->error);
    if (result == 0) {
        script_commit(f->script);
    }
    writer_putc(&f->error, '\0');
    return result;
}

void app_serve(struct app_fixture *f, const char *source) {
    if (app_load(f, source) != 0) {
        fail_msg("%s", writer_span(&f->error).at);
    }
}

int app_set_up(void **state) {
    struct app_fixture *f = malloc(sizeof *f);
    app_fixture_open(f);
    *state = f;
    return 0;
}

int app_tear_down(void **state) {
    app_fixture_close(*state);
    free(*state);
    return 0;
}

void app_turn(struct app_fixture *f) {
    uv_run(&f->loop, UV_RUN_NOWAIT);
    io_end_turn(&f->io);
}

const char *app_log(struct app_fixture *f) {
    char chunk[4096];
    ssize_t n;
    off_t at = 0;
    writer_clear(&f->logged);
    while ((n = pread(f->log.fd, chunk, sizeof chunk, at)) > 0) {
        writer_put(&f->logged, chunk, (size_t)n);
        at += n;
    }
    writer_putc(&f->logged, '\0');
    return writer_span(&f->logged).at;
}

/* --- the wire --- */

static struct slice encode(const struct client *c, struct arena *arena, const struct message *m) {
    struct writer out = {NULL};
    (void)c;
    if (m->kind == MESSAGE_TEXT || m->kind == MESSAGE_BINARY) {
        writer_put_span(&out, m->data);
    } else {
        event_write(&out, m);
    }
    writer_putc(&out, '\n');
    size_t len = writer_len(&out);
    memcpy(arena_reserve(arena, len), writer_span(&out).at, len);
    writer_deinit(&out);
    return arena_commit(arena, len);
}

static ssize_t send_bytes(struct client *c, const struct message *m, const struct slice *encoded) {
    struct app_client *a = (struct app_client *)c;
    (void)m;
    assert_false(c->closing);
    writer_put(&a->sent, slice_bytes(encoded), encoded->len);
    return 0;
}

static bool blocked(const struct client *c) {
    (void)c;
    return false;
}

static void close_client(struct client *c, int code, const char *reason) {
    (void)c;
    (void)code;
    (void)reason;
}

static void resume(struct client *c) {
    ((struct app_client *)c)->resumed++;
}

static void free_client(struct client *c) {
    ((struct app_client *)c)->freed = true;
}

static const struct client_ops ops = {.wire = WIRE_WS,
                                      .encode = encode,
                                      .send = send_bytes,
                                      .blocked = blocked,
                                      .close = close_client,
                                      .resume = resume,
                                      .free = free_client};

/* --- clients --- */

struct connecting {
    struct question question;
    struct app_client *c;
    struct ns *ns;
};

static void copy_text(char *out, size_t size, struct span text) {
    size_t len = text.len < size ? text.len : size - 1;
    if (len) {
        memcpy(out, text.at, len);
    }
    out[len] = '\0';
}

static void on_verdict(struct question *q, const struct verdict *verdict) {
    struct connecting *connecting = (struct connecting *)q;
    struct app_client *c = connecting->c;
    c->allowed = verdict->allowed;
    if (verdict->allowed) {
        c->client.ops = &ops;
        c->client.script = verdict->script;
        client_open(&c->client, connecting->ns, verdict->user_id);
        c->f->app->on_connect(c->f->app, &c->client);
    } else {
        copy_text(c->code, sizeof c->code, verdict->code);
    }
    ns_unref(connecting->ns);
    free(connecting);
}

struct app_client *app_connect(struct app_fixture *f, const char *target) {
    const struct request_field host = {SPAN("host"), SPAN("localhost")};
    struct request_parts parts = {.method = SPAN("GET"),
                                  .target = span_of(target),
                                  .minor = 1,
                                  .address = "127.0.0.1",
                                  .fields = &host,
                                  .field_count = 1};
    const char *problem;
    struct request *r = request_new(&parts, &problem);
    assert_non_null(r);
    struct app_client *c = memory_zalloc(sizeof *c);
    struct connecting *connecting = memory_zalloc(sizeof *connecting);
    struct target found;
    c->f = f;
    f->app->resolve(f->app, r, &found);
    assert_int_equal(found.kind, TARGET_NS);
    *connecting = (struct connecting){{on_verdict}, c, f->app->find_ns(f->app, request_path(r))};
    assert_non_null(connecting->ns);
    ns_ref(connecting->ns);
    f->app->on_auth(f->app, connecting->ns, r, (struct span){NULL, 0}, &connecting->question);
    request_unref(r);
    return c;
}

void app_close(struct app_client *c, const char *reason) {
    client_closed(&c->client, reason);
    io_end_turn(&c->f->io);
}

void app_client_free(struct app_client *c) {
    if (c->allowed && !c->freed) {
        app_close(c, "test over");
        assert_true(c->freed);
    }
    writer_deinit(&c->sent);
    free(c);
}

const char *app_sent(struct app_client *c) {
    writer_putc(&c->sent, '\0');
    const char *text = writer_span(&c->sent).at;
    writer_clear(&c->sent); /* which keeps the memory, until the next message */
    return text;
}

uint64_t app_asked(struct app_client *c) {
    const char *at = strstr(app_sent(c), "\"id\":");
    assert_non_null(at);
    return strtoull(at + 5, NULL, 10);
}

static void on_ack(struct ack *base, const struct reply *reply) {
    struct app_ack *ack = (struct app_ack *)base;
    ack->answers++;
    ack->argc = reply->argc;
    copy_text(ack->args, sizeof ack->args, reply->args);
    copy_text(ack->code, sizeof ack->code, reply->code);
    copy_text(ack->detail, sizeof ack->detail, reply->detail);
}

void app_ack_init(struct app_ack *ack) {
    memset(ack, 0, sizeof *ack);
    ack->ack.answer = on_ack;
}

/* The bytes are overwritten after the call: what keeps them has to copy them. */
static char *lend(const char *text) {
    return memory_strdup(text);
}

static void take_back(char *text) {
    memset(text, '#', strlen(text));
    free(text);
}

bool app_event(struct app_client *c, const char *event, const char *args, struct app_ack *ack) {
    char *name = lend(event), *data = lend(args);
    if (ack) {
        app_ack_init(ack);
    }
    bool more = c->f->app->on_event(c->f->app, &c->client, span_of(name), span_of(data),
                                    (struct span){NULL, 0}, ack ? &ack->ack : NULL);
    take_back(name);
    take_back(data);
    return more;
}

bool app_join(struct app_client *c, const char *room, const char *options, struct app_ack *ack) {
    char *name = lend(room), *data = lend(options);
    if (ack) {
        app_ack_init(ack);
    }
    bool more = c->f->app->on_join(c->f->app, &c->client, span_of(name), span_of(data),
                                   ack ? &ack->ack : NULL);
    take_back(name);
    take_back(data);
    return more;
}

void app_answer(struct app_client *c, uint64_t id, const char *args) {
    c->f->app->on_answer(c->f->app, &c->client, id, span_of(args), (struct span){NULL, 0},
                         (struct span){NULL, 0});
}
