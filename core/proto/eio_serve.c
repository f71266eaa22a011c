/* Requests to an endpoint of Engine.IO: what they ask for, and in which order what is wrong with
 * them is told. The worker calls it, after Origin and guard. */
#include "http/response.h"
#include "proto/eio_internal.h"
#include "proto/ws.h"

#include <string.h>

static const char *const messages[] = {
    "Transport unknown", "Session ID unknown", "Bad handshake method",
    "Bad request",       "Forbidden",          "Unsupported protocol version"};

void eio_refuse(struct exchange *x, enum eio_error error) {
    struct response r;
    struct writer body = {0};
    response_init(&r, error == EIO_FORBIDDEN ? 403 : 400);
    if (ws_wanted(exchange_request(x))) {
        (void)!response_header(&r, SPAN("Content-Type"), SPAN("text/html"));
        writer_puts(&body, messages[error]);
    } else {
        (void)!response_header(&r, SPAN("Content-Type"), SPAN("application/json"));
        writer_printf(&body, "{\"code\":%d,\"message\":\"%s\"}", (int)error, messages[error]);
    }
    r.body = writer_take(&body);
    response_send(x, &r);
}

/* What the query says. */
struct query {
    struct writer transport, sid, version;
};

static void query_read(struct query *q, const struct request *r) {
    *q = (struct query){{0}, {0}, {0}};
    (void)request_query_value(r, "transport", &q->transport);
    (void)request_query_value(r, "sid", &q->sid);
    (void)request_query_value(r, "EIO", &q->version);
}

static void query_deinit(struct query *q) {
    writer_deinit(&q->transport);
    writer_deinit(&q->sid);
    writer_deinit(&q->version);
}

bool eio_is_handshake(const struct request *r) {
    struct writer sid = {0};
    (void)request_query_value(r, "sid", &sid);
    bool handshake = writer_len(&sid) == 0;
    writer_deinit(&sid);
    return handshake;
}

/* Is the name in the list of the configuration? */
static bool serves(const struct config *config, struct span transport) {
    struct span rest = span_of(config->socketio_transports), item;
    if (!span_is(transport, "polling") && !span_is(transport, "websocket")) {
        return false;
    }
    while (list_next(&rest, &item)) {
        if (span_equal(item, transport)) {
            return true;
        }
    }
    return false;
}

/* -1: nothing is wrong. */
static int verify(const struct eio_server *server, const struct query *q, const struct eio *e,
                  const struct request *r) {
    bool upgrade = ws_wanted(r);
    bool websocket = span_is(writer_span(&q->transport), "websocket");
    bool version_4 = span_is(writer_span(&q->version), "4");
    if (!serves(server->config, writer_span(&q->transport))) {
        return EIO_UNKNOWN_TRANSPORT;
    }
    if (writer_len(&q->sid)) {
        if (!e) {
            return EIO_UNKNOWN_SID;
        }
        return (!upgrade && websocket != (e->ws != NULL)) || upgrade != websocket || !version_4
                   ? EIO_BAD_REQUEST
                   : -1;
    }
    if (!span_is(request_method(r), "GET")) {
        return EIO_BAD_METHOD;
    }
    if (websocket != upgrade) {
        return EIO_BAD_REQUEST;
    }
    return version_4 ? -1 : EIO_UNSUPPORTED;
}

static void serve(struct eio_server *server, const struct eio_handler *handler, void *data,
                  struct exchange *x, struct eio *e) {
    if (ws_wanted(exchange_request(x))) {
        if (!ws_check(x)) {
            return;
        }
        if (e) {
            eio_ws_upgrade(e, x);
        } else {
            eio_ws_open(server, handler, data, x);
        }
    } else if (e) {
        exchange_in_session(x);
        eio_polling_serve(e, x);
    } else {
        e = eio_new(server, handler, exchange_request(x));
        eio_polling_new(e);
        eio_polling_open(e, x);
        eio_opened(e, data);
    }
}

void eio_serve(struct eio_server *server, const struct eio_handler *handler, void *data,
               struct exchange *x) {
    struct query q;
    query_read(&q, exchange_request(x));
    struct eio *e = eio_find(server, writer_span(&q.sid));
    if (e && e->handler != handler) {
        e = NULL; /* of another endpoint */
    }
    int error = verify(server, &q, e, exchange_request(x));
    if (error >= 0) {
        eio_refuse(x, (enum eio_error)error);
    } else {
        serve(server, handler, data, x, e);
    }
    query_deinit(&q);
}
