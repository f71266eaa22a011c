/* Streams of server-sent events: their head, their first lines, their clients in the hub, comments
 * that keep them alive, and their end. What they send is written by proto/sse_encode; what is
 * POSTed for them is proto/sse_post's business. The worker calls it after on_auth has allowed the
 * request, and a route's mw.sse does. */
#include "base/random.h"
#include "http/response.h"
#include "hub/replay.h"
#include "proto/sse_encode.h"
#include "proto/sse_internal.h"
#include "proto/url_join.h"

#include <string.h>

#define RETRY "2000"           /* ms until EventSource asks again */
#define IGNORED_MAX (16 << 10) /* bytes that a client may send after its request */
#define SCRATCH_KEPT (64 << 10)

static struct stream *of_client(const struct client *c) {
    return (struct stream *)((char *)c - offsetof(struct stream, client));
}

/* --- the hub's side ------------------------------------------------------------------------- */

static struct slice encode(const struct client *c, struct arena *arena, const struct message *m) {
    struct writer *scratch = &of_client(c)->server->scratch;
    writer_clear(scratch);
    sse_encode(scratch, m);
    size_t len = writer_len(scratch);
    if (!len) {
        return (struct slice){0};
    }
    memcpy(arena_reserve(arena, len), writer_span(scratch).at, len);
    if (scratch->buf->cap > SCRATCH_KEPT) {
        writer_deinit(scratch);
    }
    return arena_commit(arena, len);
}

/* The same block with another id in its last line, the only one that differs between streams: that
 * of one which stands in several logs says where it stands in all of them, so that it misses
 * nothing wherever its connection breaks. */
static ssize_t send_with_id(struct stream *s, const struct slice *encoded, size_t id_len,
                            struct writer *id) {
    struct slice shared = *encoded;
    shared.len -= id_len + sizeof "id: \n\n" - 1;
    ssize_t waiting = conn_write(s->conn, &shared);
    if (waiting < 0) {
        return waiting;
    }
    struct writer line = {0};
    writer_puts(&line, "id: ");
    writer_put_span(&line, writer_span(id));
    writer_puts(&line, "\n\n");
    waiting = conn_write_bytes(s->conn, writer_span(&line).at, writer_len(&line));
    writer_deinit(&line);
    return waiting;
}

static ssize_t send_block(struct client *c, const struct message *m, const struct slice *encoded) {
    struct stream *s = of_client(c);
    if (!s->conn) {
        return UV_ECANCELED;
    }
    if (m->offset.len) {
        struct writer *id = &s->server->scratch;
        writer_clear(id);
        if (replay_position(c, m->offset, id)) {
            return send_with_id(s, encoded, m->offset.len, id);
        }
    }
    return conn_write(s->conn, encoded);
}

static bool is_blocked(const struct client *c) {
    const struct stream *s = of_client(c);
    return s->conn && conn_blocked(s->conn);
}

static size_t count_queued(const struct client *c) {
    const struct stream *s = of_client(c);
    return s->conn ? conn_queued(s->conn) : 0;
}

/* A stream has no words for a code: it ends, and EventSource would come again. */
static void close_stream(struct client *c, int code, const char *reason) {
    (void)reason;
    struct stream *s = of_client(c);
    timeout_stop(&s->keep_alive);
    if (!s->conn) {
        return;
    }
    if (code == 0) {
        conn_abort(s->conn, UV_ECANCELED);
    } else {
        conn_finish(s->conn);
    }
}

/* EventSource keeps to it until our successor's first lines say otherwise. */
static void go_away(struct client *c, uint32_t retry_ms) {
    char line[32];
    struct stream *s = of_client(c);
    int len = snprintf(line, sizeof line, "retry: %u\n\n", retry_ms);
    timeout_stop(&s->keep_alive);
    if (s->conn) {
        (void)conn_write_bytes(s->conn, line, (size_t)len);
        conn_finish(s->conn);
    }
}

static void resume(struct client *c) {
    of_client(c)->full = false;
}

static void drop_session(struct stream *s) {
    if (s->session) {
        HASH_DEL(s->server->sessions, s->session);
        free(s->session);
        s->session = NULL;
    }
}

static void free_if_done(struct stream *s) {
    if (s->released && !s->conn) {
        free(s);
    }
}

static void release(struct client *c) {
    struct stream *s = of_client(c);
    drop_session(s);
    s->released = true;
    free_if_done(s);
}

static const struct client_ops sse_ops = {
    .wire = WIRE_SSE,
    .encode = encode,
    .send = send_block,
    .blocked = is_blocked,
    .queued = count_queued,
    .close = close_stream,
    .go_away = go_away,
    .resume = resume,
    .free = release,
};

/* --- the conn's events ---------------------------------------------------------------------- */

/* A stream goes one way. What comes after the request is nothing that we asked for. */
static void on_data(struct conn *conn, char *bytes, size_t len) {
    (void)bytes;
    struct stream *s = conn->owner;
    if (len > IGNORED_MAX - s->ignored) {
        timeout_stop(&s->keep_alive);
        conn_abort(conn, UV_EPROTO);
        return;
    }
    s->ignored += (uint32_t)len;
}

static void on_drain(struct conn *conn) {
    struct stream *s = conn->owner;
    client_drained(&s->client);
}

/* Nobody stays to read who has closed his side: browsers close both at once. */
static void on_end(struct conn *conn) {
    conn_abort(conn, 0);
}

static void on_close(struct conn *conn, int error) {
    struct stream *s = conn->owner;
    s->conn = NULL;
    timeout_stop(&s->keep_alive);
    s->server->count--;
    if (!s->client.closing && !s->released) {
        client_closed(&s->client, error == 0            ? "client closed"
                                  : error == UV_ENOBUFS ? "slow consumer"
                                  : error == UV_EPROTO  ? "protocol error"
                                                        : "transport error");
    }
    free_if_done(s);
}

static const struct conn_handler conn_events = {
    .on_data = on_data, .on_drain = on_drain, .on_end = on_end, .on_close = on_close};

/* A comment, which readers skip. Proxies cut connections on which nothing is heard; and a peer that
 * is gone without a word is found out by the kernel only when something is sent. */
static void on_keep_alive(struct timeout *timeout) {
    struct stream *s = (struct stream *)((char *)timeout - offsetof(struct stream, keep_alive));
    if (!conn_blocked(s->conn)) {
        (void)conn_write_bytes(s->conn, ":\n\n", 3);
    }
    timeout_start(s->server->io, timeout, s->server->config->ping_interval);
}

/* --- accepting ------------------------------------------------------------------------------ */

bool sse_wanted(const struct request *r) {
    struct span method = request_method(r);
    return (span_is(method, "GET") || span_is(method, "HEAD")) &&
           request_header_has_token(r, "accept", "text/event-stream");
}

static void put_fields(struct response *r) {
    response_init(r, 200);
    (void)response_header(r, SPAN("Content-Type"), SPAN("text/event-stream"));
    /* nginx would otherwise gather events into blocks. */
    (void)response_header(r, SPAN("X-Accel-Buffering"), SPAN("no"));
}

static void give_up(struct sse_server *server, const struct verdict *verdict) {
    if (verdict->script) {
        server->app->drop_session(server->app, verdict->script);
    }
}

static bool sid_wanted(const struct request *r) {
    struct writer sid = {0};
    bool wanted = request_query_value(r, "sid", &sid) && span_is(writer_span(&sid), "new");
    writer_deinit(&sid);
    return wanted;
}

static void make_session(struct stream *s) {
    struct sse_session *session = memory_zalloc(sizeof *session);
    unsigned char secret[SID_BYTES];
    random_bytes(secret, sizeof secret);
    base64url_encode(session->sid, secret, sizeof secret);
    session->stream = s;
    s->session = session;
    HASH_ADD_STR(s->server->sessions, sid, session);
}

struct stream *sse_find(const struct sse_server *server, const struct ns *ns, struct span sid) {
    struct sse_session *session = NULL;
    HASH_FIND(hh, server->sessions, sid.at, sid.len, session);
    struct stream *s = session ? session->stream : NULL;
    return s && s->conn && !s->client.closing && s->client.ns == ns ? s : NULL;
}

static struct stream *start_stream(struct sse_server *server, struct conn *conn, bool with_sid) {
    struct stream *s = memory_zalloc(sizeof *s);
    s->client.ops = &sse_ops;
    s->conn = conn;
    s->server = server;
    s->keep_alive.expired = on_keep_alive;
    server->count++;
    conn_set_handler(conn, &conn_events, s);
    timeout_start(server->io, &s->keep_alive, server->config->ping_interval);
    struct writer first = {0};
    writer_puts(&first, "retry: " RETRY "\n\n");
    if (with_sid) {
        make_session(s);
        writer_printf(&first, "event: sid\ndata: {\"sid\":\"%s\"}\n\n", s->session->sid);
    }
    (void)conn_write_bytes(conn, writer_span(&first).at, writer_len(&first));
    writer_deinit(&first);
    return s;
}

struct client *sse_accept(struct sse_server *server, struct exchange *x, struct ns *ns,
                          const struct verdict *verdict, bool ask_rooms) {
    struct response head;
    struct span rest;
    const struct request *r = exchange_request(x);
    put_fields(&head);
    if (span_is(request_method(r), "HEAD")) {
        response_send(x, &head);
        give_up(server, verdict);
        return NULL;
    }
    exchange_ref(x); /* The upgrade ends the server's reference, and with it the request. */
    response_stream_head(x, &head);
    struct conn *conn = exchange_upgrade(x, &rest);
    struct stream *s = NULL;
    if (conn) {
        s = start_stream(server, conn, sid_wanted(r));
        s->client.script = verdict->script;
        client_open(&s->client, ns, verdict->user_id);
        url_join_offer(&s->client, r);
        server->app->on_connect(server->app, &s->client);
        if (ask_rooms && !url_join_ask(server->app, &s->client, r)) {
            s->full = true;
        }
        on_data(conn, NULL, rest.len);
    } else {
        give_up(server, verdict);
    }
    exchange_unref(x);
    return s ? &s->client : NULL;
}

/* --- all of them ---------------------------------------------------------------------------- */

struct sse_server *sse_server_new(struct io *io, const struct config *config, struct app *app,
                                  struct metrics *metrics) {
    struct sse_server *server = memory_zalloc(sizeof *server);
    server->io = io;
    server->config = config;
    server->app = app;
    server->metrics = metrics;
    return server;
}

void sse_server_free(struct sse_server *server) {
    writer_deinit(&server->scratch);
    free(server);
}

size_t sse_server_count(const struct sse_server *server) {
    return server->count;
}
