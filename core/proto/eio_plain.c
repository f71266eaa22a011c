/* Clients of the hub directly on sessions of Engine.IO. The worker calls it for namespaces that
 * ask for it, after on_auth has allowed a handshake. */
#include "proto/eio_plain.h"

#include "proto/event.h"

#include <stdlib.h>
#include <string.h>

struct plain {
    struct eio eio; /* first */
    struct client client;
    struct plain_server *server;
    bool full;
};

/* What a handshake brings. */
struct arrival {
    struct plain_server *server;
    struct ns *ns;
    const struct verdict *verdict;
    bool taken;
};

static struct plain *of_client(const struct client *c) {
    return (struct plain *)((char *)(uintptr_t)c - offsetof(struct plain, client));
}

static struct plain *of_eio(struct eio *e) {
    return (struct plain *)e;
}

/* --- the hub's side ------------------------------------------------------------------------- */

static struct slice encode(const struct client *c, struct arena *arena, const struct message *m) {
    struct writer *text = &of_client(c)->server->scratch;
    bool binary = m->kind == MESSAGE_BINARY;
    bool frames = c->ops->wire == WIRE_EIO_WS;
    writer_clear(text);
    if (binary && !frames) {
        eio_put_base64(text, m->data);
    } else if (!binary) {
        writer_putc(text, '4');
        if (m->kind == MESSAGE_TEXT) {
            writer_put_span(text, m->data);
        } else {
            event_write(text, m);
        }
    }
    struct span packet = binary && frames ? m->data : writer_span(text);
    char *at = arena_reserve(arena, WS_OUT_HEADER_MAX + packet.len);
    size_t head = frames ? ws_header_write(at, binary ? WS_BINARY : WS_TEXT, false, packet.len) : 0;
    if (packet.len) {
        memcpy(at + head, packet.at, packet.len);
    }
    return arena_commit(arena, head + packet.len);
}

static ssize_t send_packet(struct client *c, const struct message *m, const struct slice *encoded) {
    (void)m;
    return eio_send(&of_client(c)->eio, encoded);
}

static bool is_blocked(const struct client *c) {
    return eio_blocked(&of_client(c)->eio);
}

static size_t count_queued(const struct client *c) {
    return eio_queued(&of_client(c)->eio);
}

static void close_client(struct client *c, int code, const char *reason) {
    eio_close(&of_client(c)->eio, code, reason);
}

static void go_away(struct client *c, uint32_t retry_ms) {
    eio_go_away(&of_client(c)->eio, retry_ms);
}

static void resume(struct client *c) {
    struct plain *p = of_client(c);
    p->full = false;
    eio_resume(&p->eio);
}

static void release(struct client *c) {
    eio_release(&of_client(c)->eio);
}

#define PLAIN_OPS(which)                                                                     \
    {                                                                                        \
        .wire = (which), .encode = encode, .send = send_packet, .blocked = is_blocked,       \
        .queued = count_queued, .close = close_client, .go_away = go_away, .resume = resume, \
        .free = release                                                                      \
    }

static const struct client_ops ws_ops = PLAIN_OPS(WIRE_EIO_WS);
static const struct client_ops polling_ops = PLAIN_OPS(WIRE_EIO_POLLING);

/* --- the session's side --------------------------------------------------------------------- */

static void on_open(struct eio *e, void *data) {
    struct plain *p = of_eio(e);
    struct arrival *arrival = data;
    arrival->taken = true;
    p->server = arrival->server;
    p->client.ops = e->ws ? &ws_ops : &polling_ops;
    p->client.script = arrival->verdict->script;
    client_open(&p->client, arrival->ns, arrival->verdict->user_id);
    p->server->app->on_connect(p->server->app, &p->client);
}

static bool on_message(struct eio *e, struct span bytes, bool binary) {
    struct plain *p = of_eio(e);
    struct app *app = p->server->app;
    p->server->metrics->messages_received[p->client.ops->wire]++;
    if (client_admit(&p->client, uv_now(e->server->shared.io->loop)) &&
        !app->on_message(app, &p->client, bytes, binary)) {
        p->full = true;
    }
    return !p->full;
}

static void on_upgrade(struct eio *e) {
    struct plain *p = of_eio(e);
    if (!p->client.closing) {
        p->server->metrics->clients[WIRE_EIO_POLLING]--;
        p->server->metrics->clients[WIRE_EIO_WS]++;
        p->client.ops = &ws_ops;
    }
}

static void on_drain(struct eio *e) {
    client_drained(&of_eio(e)->client);
}

static void on_closed(struct eio *e, const char *reason) {
    client_closed(&of_eio(e)->client, reason);
}

static const struct eio_handler handler = {.size = sizeof(struct plain),
                                           .on_open = on_open,
                                           .on_message = on_message,
                                           .on_upgrade = on_upgrade,
                                           .on_drain = on_drain,
                                           .on_closed = on_closed};

void eio_plain_serve(struct plain_server *server, struct exchange *x, struct ns *ns,
                     const struct verdict *verdict) {
    struct arrival arrival = {server, ns, verdict, false};
    eio_serve(server->engine, &handler, &arrival, x);
    if (verdict && !arrival.taken) {
        server->app->drop_session(server->app, verdict->script);
    }
}
