/* POSTs to a namespace's endpoint: JSON events that speak for a stream, or for a one-shot client
 * that exists only until it is answered. Called by the worker, through proto/sse.h. */
#include "base/utf8.h"
#include "http/response.h"
#include "hub/attachments.h"
#include "proto/event.h"
#include "proto/sse_internal.h"

#include <string.h>

#define BATCH_MAX 256 /* events in one POST */

struct post;

/* One event of a POST, which waits for its reply. */
struct post_item {
    struct ack ack;
    struct post *post;
    struct writer id; /* the client's, for the array of replies */
    struct writer reply;
    int status;
};

/* A POST that waits for the replies to all of its events. */
struct post {
    struct exchange *x;
    struct one_shot *one_shot; /* NULL: it speaks for a stream, or its client is gone */
    size_t waiting;
    size_t count;
    bool array; /* the body was one, and the answer will be */
    struct post_item items[];
};

/* The client of a single POST. */
struct one_shot {
    struct client client;
    struct post *post; /* NULL: answered */
};

/* --- one-shot clients in the hub ------------------------------------------------------------ */

static struct one_shot *of_client(const struct client *c) {
    return (struct one_shot *)((char *)c - offsetof(struct one_shot, client));
}

static struct slice encode(const struct client *c, struct arena *arena, const struct message *m) {
    (void)c;
    (void)arena;
    (void)m;
    return (struct slice){0};
}

static ssize_t send_nowhere(struct client *c, const struct message *m,
                            const struct slice *encoded) {
    (void)c;
    (void)m;
    (void)encoded;
    return 0;
}

static bool is_blocked(const struct client *c) {
    (void)c;
    return false;
}

static size_t count_nothing(const struct client *c) {
    (void)c;
    return 0;
}

static void close_nothing(struct client *c, int code, const char *reason) {
    (void)c;
    (void)code;
    (void)reason;
}

static void resume_nothing(struct client *c) {
    (void)c;
}

static void release(struct client *c) {
    struct one_shot *o = of_client(c);
    if (o->post) {
        o->post->one_shot = NULL;
    }
    free(o);
}

static const struct client_ops post_ops = {
    .wire = WIRE_POST,
    .encode = encode,
    .send = send_nowhere,
    .blocked = is_blocked,
    .queued = count_nothing,
    .close = close_nothing,
    .resume = resume_nothing,
    .free = release,
};

static struct one_shot *open_one_shot(struct ns *ns, const struct verdict *verdict) {
    struct one_shot *o = memory_zalloc(sizeof *o);
    o->client.ops = &post_ops;
    o->client.script = verdict->script;
    client_open(&o->client, ns, verdict->user_id);
    return o;
}

/* --- answering ------------------------------------------------------------------------------ */

static void send_json(struct exchange *x, int status, struct writer *body) {
    struct response r;
    response_init(&r, status);
    (void)response_header(&r, SPAN("Content-Type"), SPAN("application/json"));
    r.body = writer_take(body);
    response_send(x, &r);
}

static void send_empty(struct exchange *x) {
    struct response r;
    response_init(&r, 204);
    response_send(x, &r);
}

static void refuse(struct exchange *x, int status, const char *code) {
    response_error(x, status, span_of(code), (struct span){0});
}

static void send_array(struct post *post) {
    struct writer body = {0};
    for (size_t i = 0; i < post->count; i++) {
        writer_putc(&body, i ? ',' : '[');
        writer_put_span(&body, writer_span(&post->items[i].reply));
    }
    writer_putc(&body, ']');
    send_json(post->x, 200, &body);
}

static void end_post(struct post *post) {
    struct post_item *first = post->items;
    if (post->array) {
        send_array(post);
    } else if (first->status == 204) {
        send_empty(post->x);
    } else {
        send_json(post->x, first->status, &first->reply);
    }
    if (post->one_shot) {
        post->one_shot->post = NULL;
        client_closed(&post->one_shot->client, "done");
    }
    for (size_t i = 0; i < post->count; i++) {
        writer_deinit(&post->items[i].id);
        writer_deinit(&post->items[i].reply);
    }
    exchange_unref(post->x);
    free(post);
}

/* Alone, an answer is a status and the value itself; among others it is what a WebSocket client
 * would get. */
static void on_answer(struct ack *ack, const struct reply *answer) {
    struct post_item *item = (struct post_item *)ack;
    struct post *post = item->post;
    struct message m;
    struct writer data = {0};
    attachments_inline(&data, answer->args, answer->attachments);
    message_init_reply(&m, answer);
    m.id = writer_span(&item->id);
    m.data = writer_span(&data);
    m.attachments = (struct span){0};
    item->status = answer->code.len ? status_of_code(answer->code) : answer->argc ? 200 : 204;
    if (post->array) {
        event_write(&item->reply, &m);
    } else if (answer->code.len) {
        m.id = (struct span){0};
        event_write(&item->reply, &m);
    } else if (answer->replay != REPLAY_NONE) {
        event_write(&item->reply, &m); /* with "data", for there is more to say than the value */
        item->status = 200;
    } else if (answer->argc) {
        event_write_args(&item->reply, m.data, answer->argc);
    }
    writer_deinit(&data);
    if (--post->waiting == 0) {
        end_post(post);
    }
}

static void answer_error(struct post_item *item, const char *code) {
    on_answer(&item->ack, &(struct reply){.code = span_of(code)});
}

static struct post *new_post(struct exchange *x, size_t count, bool array) {
    struct post *post = memory_zalloc(sizeof *post + count * sizeof *post->items);
    post->x = exchange_ref(x);
    post->count = count;
    post->array = array;
    post->waiting = count;
    for (size_t i = 0; i < count; i++) {
        post->items[i].ack.answer = on_answer;
        post->items[i].post = post;
    }
    return post;
}

/* --- for a stream --------------------------------------------------------------------------- */

static bool pass_on(struct stream *s, const struct event *e, struct ack *ack) {
    struct app *app = s->server->app;
    switch (e->kind) {
    case EVENT_EVENT:
        return app->on_event(app, &s->client, e->name, e->args, (struct span){0}, ack);
    case EVENT_JOIN:
        return app->on_join(app, &s->client, e->name, e->args, ack);
    case EVENT_LEAVE:
        return app->on_leave(app, &s->client, e->name, ack);
    case EVENT_ANSWER:
        app->on_answer(app, &s->client, e->number, e->args, (struct span){0}, e->error);
        break;
    case EVENT_BAD:
        ack->answer(ack, &(struct reply){.code = SPAN("bad_message")});
        return true;
    }
    ack->answer(ack, &(struct reply){0});
    return true;
}

/* May free the post, once it is the last event of it. */
static void run_event(struct stream *s, struct post_item *item, struct span text) {
    struct event e;
    event_read(&e, text);
    writer_put_span(&item->id, e.id);
    s->server->metrics->messages_received[WIRE_SSE]++;
    if (s->full || s->client.closing || !client_admit(&s->client, uv_now(s->server->io->loop))) {
        answer_error(item, "rate_limited");
    } else if (!pass_on(s, &e, &item->ack)) {
        s->full = true;
    }
    event_deinit(&e);
}

static void post_for_stream(struct stream *s, struct exchange *x) {
    struct span body = request_body(exchange_request(x));
    struct span events[BATCH_MAX];
    bool array;
    int count = event_split(body, events, BATCH_MAX, &array);
    const struct ns_settings *settings = ns_settings(s->client.ns);
    exchange_in_session(x);
    if (settings && body.len > settings->max_payload) {
        refuse(x, 413, "too_big");
    } else if (s->full) {
        refuse(x, 429, "rate_limited");
    } else if (count <= 0) {
        refuse(x, 400, "bad_message");
    } else {
        struct post *post = new_post(x, (size_t)count, array);
        exchange_ref(x); /* The body must outlive the answer to its last event. */
        for (int i = 0; i < count; i++) {
            run_event(s, &post->items[i], events[i]);
        }
        exchange_unref(x);
    }
}

bool sse_post(struct sse_server *server, struct exchange *x, struct ns *ns) {
    struct writer sid = {0};
    bool named = request_query_value(exchange_request(x), "sid", &sid);
    struct stream *s = named ? sse_find(server, ns, writer_span(&sid)) : NULL;
    writer_deinit(&sid);
    if (!named) {
        return true;
    }
    if (s) {
        post_for_stream(s, x);
    } else {
        refuse(x, 404, "not_found");
    }
    return false;
}

/* --- for nobody else ------------------------------------------------------------------------ */

/* A namespace of raw frames: the body is the message, which has no reply. */
static void post_raw(struct sse_server *server, struct exchange *x, struct one_shot *o,
                     bool binary) {
    struct span body = request_body(exchange_request(x));
    (void)server->app->on_message(server->app, &o->client, body, binary);
    send_empty(x);
    client_closed(&o->client, "done");
}

static void post_event(struct sse_server *server, struct exchange *x, struct one_shot *o,
                       const struct event *e) {
    struct post *post = new_post(x, 1, false);
    post->one_shot = o;
    o->post = post;
    (void)server->app->on_event(server->app, &o->client, e->name, e->args, (struct span){0},
                                &post->items[0].ack);
}

void sse_post_once(struct sse_server *server, struct exchange *x, struct ns *ns,
                   const struct verdict *verdict) {
    const struct ns_settings *settings = ns_settings(ns);
    const struct request *r = exchange_request(x);
    struct span body = request_body(r);
    bool raw = !settings || !settings->events;
    bool binary = request_header_has_token(r, "content-type", "application/octet-stream");
    bool too_big = settings && body.len > settings->max_payload;
    struct event e;
    event_read(&e, raw ? SPAN("") : body);
    bool good = raw ? binary || utf8_valid(body.at, body.len) : e.kind == EVENT_EVENT;
    server->metrics->messages_received[WIRE_POST]++;
    if (exchange_open(x) && good && !too_big) {
        struct one_shot *o = open_one_shot(ns, verdict);
        if (raw) {
            post_raw(server, x, o, binary);
        } else {
            post_event(server, x, o, &e);
        }
    } else {
        if (verdict->script) {
            server->app->drop_session(server->app, verdict->script);
        }
        refuse(x, too_big ? 413 : 400, too_big ? "too_big" : "bad_message");
    }
    event_deinit(&e);
}
