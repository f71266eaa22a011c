/* A client of the hub over Socket.IO: what is sent to it, encoded once for all of its namespace,
 * the replies that the app owes it, and its end. What it says is proto/sio's business. */
#include "base/memory.h"
#include "hub/attachments.h"
#include "proto/sio_codec.h"
#include "proto/sio_internal.h"

#include <stdlib.h>
#include <string.h>

#define SCRATCH_KEPT (64 << 10)
#define SHUTDOWN "server shutting down" /* in the reference server's words */

/* A reply that the app owes. It outlives the client, which then forgets it. */
struct sio_ack {
    struct ack ack;
    struct sio_client *client; /* NULL: gone */
    LIST_ENTRY(sio_ack) link;
    uint8_t id_len;
    char id[SIO_ID_MAX];
};

static struct sio_client *of_client(const struct client *c) {
    return (struct sio_client *)((char *)(uintptr_t)c - offsetof(struct sio_client, client));
}

/* --- encoding ------------------------------------------------------------------------------- */

/* The binary values of a message, one after another: a BINARY is one itself. */
static bool next_attachment(const struct message *m, struct span *packed, struct span *bytes) {
    if (m->kind != MESSAGE_BINARY) {
        return attachments_next(packed, bytes);
    }
    *bytes = m->data;
    bool first = packed->at != NULL;
    packed->at = NULL;
    return first;
}

static struct span attachments_of(const struct message *m) {
    if (m->kind == MESSAGE_BINARY) {
        return SPAN("");
    }
    if (m->code.len) {
        return (struct span){0};
    }
    return m->attachments;
}

static char *put_frame(char *at, enum ws_opcode opcode, struct span payload) {
    at += ws_header_write(at, opcode, false, payload.len);
    if (payload.len) {
        memcpy(at, payload.at, payload.len);
    }
    return at + payload.len;
}

/* The text frame and its binary ones lie side by side: nothing comes between them. */
static struct slice put_frames(struct arena *arena, struct span text, const struct message *m) {
    struct span packed = attachments_of(m), bytes;
    size_t size = WS_OUT_HEADER_MAX + text.len;
    while (next_attachment(m, &packed, &bytes)) {
        size += WS_OUT_HEADER_MAX + bytes.len;
    }
    char *start = arena_reserve(arena, size);
    char *at = put_frame(start, WS_TEXT, text);
    packed = attachments_of(m);
    while (next_attachment(m, &packed, &bytes)) {
        at = put_frame(at, WS_BINARY, bytes);
    }
    return arena_commit(arena, (size_t)(at - start));
}

static struct slice put_payload(struct arena *arena, struct writer *text, const struct message *m) {
    struct span packed = attachments_of(m), bytes;
    while (next_attachment(m, &packed, &bytes)) {
        writer_putc(text, EIO_SEPARATOR);
        eio_put_base64(text, bytes);
    }
    memcpy(arena_reserve(arena, writer_len(text)), writer_span(text).at, writer_len(text));
    return arena_commit(arena, writer_len(text));
}

static struct slice encode(const struct client *c, struct arena *arena, const struct message *m) {
    struct writer *text = &of_client(c)->conn->server->scratch;
    struct slice slice = {0};
    char offset_text[OFFSET_MAX];
    struct span offset = {0};
    if (m->position) {
        offset = recovery_offset(c->ns, m->position, offset_text);
    }
    writer_clear(text);
    writer_putc(text, '4');
    if (!sio_put_message(text, ns_name(c->ns), m, offset)) {
        return slice;
    }
    if (c->ops->wire == WIRE_SIO_WS) {
        slice = put_frames(arena, writer_span(text), m);
    } else {
        slice = put_payload(arena, text, m);
    }
    if (text->buf->cap > SCRATCH_KEPT) {
        writer_deinit(text);
    }
    return slice;
}

/* --- the hub's side ------------------------------------------------------------------------- */

static ssize_t send_packet(struct client *c, const struct message *m, const struct slice *encoded) {
    struct sio_client *s = of_client(c);
    if (m->position && !(m->flags & MESSAGE_VOLATILE)) {
        s->sent = (uint32_t)m->position;
    }
    return s->conn ? eio_send(&s->conn->eio, encoded) : UV_ECANCELED;
}

static uint32_t last_sent(const struct client *c) {
    return of_client(c)->sent;
}

static bool is_blocked(const struct client *c) {
    const struct sio_client *s = of_client(c);
    return s->conn && eio_blocked(&s->conn->eio);
}

static size_t count_queued(const struct client *c) {
    const struct sio_client *s = of_client(c);
    return s->conn ? eio_queued(&s->conn->eio) : 0;
}

/* The end of one namespace leaves the connection to the others, and to the client's wish to come
 * back; the end of a reader that has stopped is the end of the connection. */
static void close_client(struct client *c, int code, const char *reason) {
    struct sio_client *s = of_client(c);
    if (!s->conn) {
        return;
    }
    if (code == 0) {
        eio_close(&s->conn->eio, code, reason);
        return;
    }
    struct writer text = {0};
    sio_put_disconnect(&text, ns_name(c->ns));
    eio_send_text(&s->conn->eio, writer_span(&text));
    writer_deinit(&text);
}

static void close_connection(struct client *c, int code, const char *reason) {
    struct sio_conn *conn = of_client(c)->conn;
    struct sio_client *each;
    if (conn) {
        SLIST_FOREACH (each, &conn->clients, link) {
            client_disconnect(&each->client, code, reason);
        }
        eio_close(&conn->eio, code, reason);
    }
}

/* Not with a packet, after which a client stays away, but by the end of the connection; in whatever
 * other namespaces it is, it hears of it too. */
static void go_away(struct client *c, uint32_t retry_ms) {
    struct sio_conn *conn = of_client(c)->conn;
    struct sio_client *other;
    if (!conn) {
        return;
    }
    SLIST_FOREACH (other, &conn->clients, link) {
        client_closed(&other->client, SHUTDOWN);
    }
    eio_go_away(&conn->eio, retry_ms);
}

void sio_client_mark_full(struct sio_client *c) {
    if (!c->full && c->conn) {
        c->full = true;
        c->conn->full++;
    }
}

static void resume(struct client *c) {
    struct sio_client *s = of_client(c);
    if (!s->full) {
        return;
    }
    s->full = false;
    if (s->conn && --s->conn->full == 0) {
        eio_resume(&s->conn->eio);
    }
}

void sio_client_detach(struct sio_client *c) {
    if (c->conn) {
        resume(&c->client);
        SLIST_REMOVE(&c->conn->clients, c, sio_client, link);
        c->conn->count--;
        c->conn = NULL;
    }
}

static void release(struct client *c) {
    struct sio_client *s = of_client(c);
    struct sio_ack *ack;
    while ((ack = LIST_FIRST(&s->acks))) {
        LIST_REMOVE(ack, link);
        ack->client = NULL;
    }
    sio_client_detach(s);
    free(s);
}

#define SIO_OPS(which)                                                                  \
    {                                                                                   \
        .wire = (which), .encode = encode, .send = send_packet, .blocked = is_blocked,  \
        .queued = count_queued, .sent = last_sent, .close = close_client,               \
        .close_connection = close_connection, .go_away = go_away, .shutdown = SHUTDOWN, \
        .resume = resume, .free = release                                               \
    }

static const struct client_ops ws_ops = SIO_OPS(WIRE_SIO_WS);
static const struct client_ops polling_ops = SIO_OPS(WIRE_SIO_POLLING);

void sio_client_upgrade(struct sio_client *c) {
    struct metrics *metrics = c->conn->server->metrics;
    if (!c->client.closing) {
        metrics->clients[WIRE_SIO_POLLING]--;
        metrics->clients[WIRE_SIO_WS]++;
        c->client.ops = &ws_ops;
    }
}

/* --- replies -------------------------------------------------------------------------------- */

static void on_answer(struct ack *base, const struct reply *answer) {
    struct sio_ack *ack = (struct sio_ack *)base;
    if (ack->client) {
        struct message m;
        LIST_REMOVE(ack, link);
        message_init_reply(&m, answer);
        m.id = (struct span){ack->id, ack->id_len};
        /* Whoever is closing hears nothing more; that is no error here. */
        (void)client_send(&ack->client->client, &m);
        message_deinit(&m);
    }
    free(ack);
}

struct ack *sio_client_ack(struct sio_client *c, struct span id) {
    if (!id.len) {
        return NULL;
    }
    struct sio_ack *ack = memory_zalloc(sizeof *ack);
    ack->ack.answer = on_answer;
    ack->client = c;
    ack->id_len = (uint8_t)id.len;
    memcpy(ack->id, id.at, id.len);
    LIST_INSERT_HEAD(&c->acks, ack, link);
    return &ack->ack;
}

/* --- connecting ----------------------------------------------------------------------------- */

/* What the client is to present when it comes back: the session's that it is in from now on. NULL:
 * it cannot. */
static const char *enter_session(struct client *c, enum recovery_result returns,
                                 struct recovery_session *session, char pid[PID_LEN + 1]) {
    c->recovery = returns;
    of_client(c)->conn->server->metrics->returns[returns]++;
    if (session) {
        recovery_resume(session, c, pid);
    } else if (recovery_is_on(c->ns)) {
        recovery_begin(c, pid);
    } else {
        return NULL;
    }
    of_client(c)->sent = recovery_seen(c);
    return pid;
}

void sio_client_open(struct sio_conn *conn, struct ns *ns, const struct verdict *verdict,
                     enum recovery_result returns, struct recovery_session *session) {
    struct sio_client *c = memory_zalloc(sizeof *c);
    struct writer *text = &conn->server->scratch;
    char id[CLIENT_ID_LEN + 1], pid_text[PID_LEN + 1];
    LIST_INIT(&c->acks);
    SLIST_INSERT_HEAD(&conn->clients, c, link);
    conn->count++;
    c->conn = conn;
    c->client.ops = conn->eio.ws ? &ws_ops : &polling_ops;
    c->client.script = verdict->script;
    client_open(&c->client, ns, verdict->user_id);
    const char *pid = enter_session(&c->client, returns, session, pid_text);
    client_id(&c->client, id);
    writer_clear(text);
    sio_put_connect(text, ns_name(ns), id, pid);
    eio_send_text(&conn->eio, writer_span(text));
    if (session) {
        recovery_replay(&c->client);
    }
    conn->server->app->on_connect(conn->server->app, &c->client);
}
