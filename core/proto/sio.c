/* Connections of Socket.IO: packets out of Engine.IO's messages, namespaces that are entered and
 * left, events and acks for the app. What is malformed ends the connection and nothing else. The
 * worker calls it for each request to the endpoint; clients are proto/sio_client's business. */
#include "proto/sio.h"

#include "base/memory.h"
#include "hub/attachments.h"
#include "hub/recovery.h"
#include "proto/sio_codec.h"
#include "proto/sio_internal.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAMESPACES 32  /* of a connection */
#define ATTACHMENTS_SIZE 4 /* times a frame's limit: what the values of one packet may have */

/* A namespace that the client has asked for, while on_auth is asked, or while the connection that
 * it had before has not ended. */
struct sio_asking {
    struct question question;
    struct recovery_wait wait;
    struct buf *presented;        /* while it waits */
    enum recovery_result returns; /* what became of its wish to be recovered */
    struct sio_conn *conn;        /* NULL: gone */
    struct app *app;
    struct ns *ns; /* a reference */
    LIST_ENTRY(sio_asking) link;
};

static struct sio_conn *of_eio(struct eio *e) {
    return (struct sio_conn *)e;
}

/* --- what is under way ----------------------------------------------------------------------- */

static void on_connect_timeout(struct timeout *timeout);

/* For writing: made when it is needed. */
static struct sio_pending *pending(struct sio_conn *conn) {
    if (!conn->pending) {
        conn->pending = memory_zalloc(sizeof *conn->pending);
        conn->pending->connect.expired = on_connect_timeout;
        conn->pending->conn = conn;
    }
    return conn->pending;
}

static void drop_if_idle(struct sio_conn *conn) {
    struct sio_pending *p = conn->pending;
    if (p && !timeout_running(&p->connect) && LIST_EMPTY(&p->asking) && !p->partial) {
        free(p);
        conn->pending = NULL;
    }
}

static void partial_free(struct sio_partial *partial) {
    if (partial) {
        buf_unref(partial->text);
        writer_deinit(&partial->attachments);
        free(partial);
    }
}

static void drop_pending(struct sio_conn *conn) {
    struct sio_pending *p = conn->pending;
    struct sio_asking *asking;
    if (!p) {
        return;
    }
    timeout_stop(&p->connect);
    while ((asking = LIST_FIRST(&p->asking))) {
        LIST_REMOVE(asking, link);
        asking->conn = NULL;
    }
    partial_free(p->partial);
    p->partial = NULL;
    drop_if_idle(conn);
}

/* --- the end -------------------------------------------------------------------------------- */

/* All clients hear of it; they stay until the app has released them. */
static void close_clients(struct sio_conn *conn, const char *reason) {
    struct sio_client *c;
    bool final = strcmp(reason, "parse error") == 0; /* The reference server's choice. */
    SLIST_FOREACH (c, &conn->clients, link) {
        if (final) {
            recovery_forget(&c->client);
        }
        client_closed(&c->client, reason);
    }
}

static void end(struct sio_conn *conn) {
    close_clients(conn, "forced close");
    eio_close(&conn->eio, WS_CODE_NONE, NULL);
}

/* A packet that its namespace does not allow. The reference server has another word for the end of
 * a connection whose goodbye has to wait. */
static void refuse_packet(struct sio_conn *conn) {
    if (eio_blocked(&conn->eio)) {
        close_clients(conn, "forced server close");
    }
    end(conn);
}

static void on_closed(struct eio *e, const char *reason) {
    struct sio_conn *conn = of_eio(e);
    struct sio_client *c;
    close_clients(conn, reason);
    while ((c = SLIST_FIRST(&conn->clients))) {
        sio_client_detach(c);
    }
    drop_pending(conn);
    eio_release(e);
}

static void on_connect_timeout(struct timeout *timeout) {
    end(((struct sio_pending *)timeout)->conn);
}

static void on_open(struct eio *e, void *data) {
    struct sio_conn *conn = of_eio(e);
    conn->server = data;
    SLIST_INIT(&conn->clients);
    timeout_start(e->server->shared.io, &pending(conn)->connect,
                  e->server->config->connect_timeout);
}

static void on_upgrade(struct eio *e) {
    struct sio_client *c;
    SLIST_FOREACH (c, &of_eio(e)->clients, link) {
        sio_client_upgrade(c);
    }
}

/* One client may end the connection, and with it its place in the list. */
static void on_drain(struct eio *e) {
    struct sio_client *c, *next;
    for (c = SLIST_FIRST(&of_eio(e)->clients); c; c = next) {
        next = SLIST_NEXT(c, link);
        client_drained(&c->client);
    }
}

/* --- namespaces ----------------------------------------------------------------------------- */

/* One that closes is found only where there is no other. */
static struct sio_client *find_client(const struct sio_conn *conn, struct span ns) {
    struct sio_client *found = NULL, *c;
    SLIST_FOREACH (c, &conn->clients, link) {
        if (span_equal(ns_name(c->client.ns), ns) && (!found || !c->client.closing)) {
            found = c;
        }
    }
    return found;
}

static bool is_asking(const struct sio_conn *conn, struct span ns) {
    const struct sio_asking *asking = conn->pending ? LIST_FIRST(&conn->pending->asking) : NULL;
    for (; asking; asking = LIST_NEXT(asking, link)) {
        if (span_equal(ns_name(asking->ns), ns)) {
            return true;
        }
    }
    return false;
}

static void refuse(struct sio_conn *conn, struct span ns, struct span message, struct span detail) {
    struct writer text = {0};
    sio_put_connect_error(&text, ns, message, detail);
    eio_send_text(&conn->eio, writer_span(&text));
    writer_deinit(&text);
}

/* Opens the client that is allowed, or refuses; `session`: the one that it comes back to. */
static void conclude(struct sio_asking *asking, const struct verdict *verdict,
                     struct recovery_session *session) {
    struct sio_conn *conn = asking->conn;
    if (conn) {
        LIST_REMOVE(asking, link);
        conn->count--;
        if (verdict->allowed) {
            timeout_stop(&conn->pending->connect);
        }
        drop_if_idle(conn);
    }
    if (conn && verdict->allowed) {
        sio_client_open(conn, asking->ns, verdict, asking->returns, session);
    } else if (conn) {
        refuse(conn, ns_name(asking->ns), verdict->code, verdict->detail);
    } else if (verdict->allowed) {
        asking->app->drop_session(asking->app, verdict->script);
    }
    ns_unref(asking->ns);
    buf_unref(asking->presented);
    free(asking);
}

static void on_authenticated(struct question *q, const struct verdict *verdict) {
    conclude((struct sio_asking *)q, verdict, NULL);
}

static void recover(struct sio_asking *asking, struct recovery_session *session) {
    struct verdict verdict = {
        .allowed = true, .user_id = recovery_user(session), .script = recovery_script(session)};
    conclude(asking, &verdict, session);
}

/* Finds what the client comes back to. RECOVERY_BUSY: it is asked again when that has ended. */
static struct recovery_session *find_session(struct sio_asking *asking, struct span presented) {
    struct app *app = asking->app;
    struct recovery_session *session = NULL;
    struct span pid, offset;
    asking->returns = RECOVERY_NONE;
    if (!recovery_is_on(asking->ns) || !sio_read_recovery(presented, &pid, &offset)) {
        return NULL;
    }
    asking->returns = recovery_find(asking->ns, pid, offset, &session);
    if (asking->returns == RECOVERY_DONE &&
        !app->on_return(app, recovery_script(session), asking->conn->eio.request, presented)) {
        recovery_drop(session);
        asking->returns = RECOVERY_IDENTITY;
        return NULL;
    }
    return session;
}

/* Who comes back is who it was; all others are asked who they are. */
static void ask(struct sio_asking *asking, struct span presented) {
    struct app *app = asking->app;
    struct recovery_session *session = find_session(asking, presented);
    if (asking->returns == RECOVERY_BUSY) {
        if (!asking->presented) {
            asking->presented = buf_copy(presented.at, presented.len);
        }
        recovery_take_over(session, &asking->wait);
    } else if (session) {
        recover(asking, session);
    } else {
        app->on_auth(app, asking->ns, asking->conn->eio.request, presented, &asking->question);
    }
}

static void ask_again(struct deferred *deferred) {
    struct sio_asking *asking =
        (struct sio_asking *)((char *)deferred - offsetof(struct sio_asking, wait.deferred));
    if (asking->conn) {
        const struct buf *presented = asking->presented;
        ask(asking, (struct span){presented->bytes, presented->len});
    } else {
        static const struct verdict gone;
        conclude(asking, &gone, NULL);
    }
}

/* Those that have left stay until their last hooks have run: they are not in the way, unless hooks
 * that wait let them become many. */
static bool is_crowded(const struct sio_conn *conn) {
    const struct sio_client *c;
    uint32_t there = conn->count;
    SLIST_FOREACH (c, &conn->clients, link) {
        there -= c->client.closing != NULL;
    }
    return there >= MAX_NAMESPACES || conn->count >= 2 * MAX_NAMESPACES;
}

/* False: the client is there already, which it should know. */
static bool connect_ns(struct sio_conn *conn, const struct sio_packet *p) {
    struct app *app = conn->server->app;
    const struct sio_client *there = find_client(conn, p->ns);
    if ((there && !there->client.closing) || is_asking(conn, p->ns)) {
        return false;
    }
    struct ns *ns = app->find_ns(app, p->ns);
    if (!ns) {
        refuse(conn, p->ns, SPAN("Invalid namespace"), (struct span){0});
        return true;
    }
    if (is_crowded(conn)) {
        refuse(conn, p->ns, SPAN("too_many_namespaces"), (struct span){0});
        return true;
    }
    struct sio_asking *asking = memory_zalloc(sizeof *asking);
    asking->question.answer = on_authenticated;
    asking->conn = conn;
    asking->app = app;
    asking->ns = ns_ref(ns);
    asking->wait.deferred.run = ask_again;
    LIST_INSERT_HEAD(&pending(conn)->asking, asking, link);
    conn->count++;
    ask(asking, p->payload);
    return true;
}

/* --- packets -------------------------------------------------------------------------------- */

static bool on_event(struct sio_client *c, const struct sio_packet *p, struct span attachments) {
    struct app *app = c->conn->server->app;
    struct ack *ack = sio_client_ack(c, p->id);
    if (!client_admit(&c->client, uv_now(c->conn->eio.server->shared.io->loop))) {
        if (ack) {
            ack->answer(ack, &(struct reply){.code = SPAN("rate_limited")});
        }
        return true;
    }
    return app->on_event(app, &c->client, p->event, p->args, attachments, ack);
}

static void on_client_packet(struct sio_client *c, const struct sio_packet *p,
                             struct span attachments) {
    struct app *app = c->conn->server->app;
    c->conn->server->metrics->messages_received[c->client.ops->wire]++;
    switch (p->type) {
    case SIO_EVENT:
    case SIO_BINARY_EVENT:
        if (!on_event(c, p, attachments)) {
            sio_client_mark_full(c);
        }
        break;
    case SIO_ACK:
    case SIO_BINARY_ACK:
        app->on_answer(app, &c->client, p->number, p->args, attachments, (struct span){0});
        break;
    default:
        recovery_forget(&c->client);
        client_closed(&c->client, "client namespace disconnect");
    }
}

static void on_packet(struct sio_conn *conn, const struct sio_packet *p, struct span attachments) {
    if (p->type == SIO_CONNECT) {
        if (!connect_ns(conn, p)) {
            refuse_packet(conn);
        }
        return;
    }
    struct sio_client *c = find_client(conn, p->ns);
    if (!c) {
        refuse_packet(conn);
    } else if (!c->client.closing) { /* else it does not know yet that it is out */
        on_client_packet(c, p, attachments);
    }
}

/* A packet with binary values waits for them. */
static void start_partial(struct sio_conn *conn, struct span text, uint32_t count) {
    struct sio_partial *partial = memory_zalloc(sizeof *partial);
    partial->text = buf_copy(text.at, text.len);
    partial->missing = count;
    pending(conn)->partial = partial;
}

static bool on_text(struct sio_conn *conn, struct span text) {
    struct sio_packet p;
    if (conn->pending && conn->pending->partial) {
        return false;
    }
    bool good = sio_packet_read(&p, text);
    if (good && p.attachments) {
        start_partial(conn, text, p.attachments);
    } else if (good) {
        on_packet(conn, &p, (struct span){0});
    }
    sio_packet_deinit(&p);
    return good;
}

static bool on_binary(struct sio_conn *conn, struct span bytes) {
    struct sio_partial *partial = conn->pending ? conn->pending->partial : NULL;
    size_t most = conn->eio.server->config->socketio_payload * ATTACHMENTS_SIZE;
    if (!partial || writer_len(&partial->attachments) + bytes.len > most) {
        return false;
    }
    attachments_put(&partial->attachments, bytes);
    if (--partial->missing == 0) {
        struct sio_packet p;
        conn->pending->partial = NULL;
        drop_if_idle(conn);
        if (sio_packet_read(&p, (struct span){partial->text->bytes, partial->text->len})) {
            on_packet(conn, &p, writer_span(&partial->attachments));
        }
        sio_packet_deinit(&p);
        partial_free(partial);
    }
    return true;
}

static bool on_message(struct eio *e, struct span bytes, bool binary) {
    struct sio_conn *conn = of_eio(e);
    bool good = binary ? on_binary(conn, bytes) : on_text(conn, bytes);
    if (!good) {
        end(conn);
    }
    return conn->full == 0;
}

/* --- the server ------------------------------------------------------------------------------ */

static const struct eio_handler handler = {.size = sizeof(struct sio_conn),
                                           .on_open = on_open,
                                           .on_message = on_message,
                                           .on_upgrade = on_upgrade,
                                           .on_drain = on_drain,
                                           .on_closed = on_closed};

struct sio_server *sio_server_new(struct eio_server *engine, struct app *app,
                                  struct metrics *metrics) {
    struct sio_server *server = memory_zalloc(sizeof *server);
    server->engine = engine;
    server->app = app;
    server->metrics = metrics;
    return server;
}

void sio_server_free(struct sio_server *server) {
    writer_deinit(&server->scratch);
    free(server);
}

void sio_serve(struct sio_server *server, struct exchange *x) {
    eio_serve(server->engine, &handler, server, x);
}
