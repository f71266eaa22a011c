/* The way of one request through the server. Precedence: the endpoint of Socket.IO, routes, the
 * endpoint of a namespace (an upgrade, a request for a stream, a POST), static files, 404. The app
 * is asked twice, may this request go on and who is this, and may answer later: a passage is what
 * waits. Called by worker.c for each request. */
#include "routing.h"

#include "base/memory.h"
#include "http/origin.h"
#include "http/response.h"
#include "http/static.h"

#include <stdlib.h>

struct passage {
    struct question question;
    struct routing *routing;
    struct exchange *x;
    struct ns *ns; /* while on_auth is asked */
};

static void passage_free(struct passage *p) {
    if (p->ns) {
        ns_unref(p->ns);
    }
    exchange_unref(p->x);
    free(p);
}

static void not_found(struct exchange *x) {
    response_error(x, 404, SPAN("not_found"), (struct span){0});
}

static void refuse_method(struct exchange *x, struct span allow) {
    struct response r;
    response_init(&r, 405);
    (void)!response_header(&r, SPAN("Allow"), allow);
    response_send(x, &r);
}

/* No file is there either. A path that has routes for other methods says so. */
static void no_file(struct exchange *x, void *data) {
    struct app *app = data;
    struct target target;
    app->resolve(app, exchange_request(x), &target);
    if (target.kind == TARGET_METHOD) {
        refuse_method(x, target.allow);
    } else {
        not_found(x);
    }
}

/* While the server ends nobody new comes in to stay: there would be nobody left to tell him
 * goodbye. */
static bool turn_away(struct routing *routing, struct exchange *x, const struct verdict *verdict) {
    if (!exchange_server(x)->draining) {
        return false;
    }
    routing->app->drop_session(routing->app, verdict->script);
    response_error(x, 503, SPAN("unavailable"), SPAN("\"shutting down\""));
    return true;
}

struct client *routing_open_stream(struct routing *routing, struct exchange *x, struct ns *ns,
                                   const struct verdict *verdict) {
    return turn_away(routing, x, verdict) ? NULL : sse_accept(routing->sse, x, ns, verdict, false);
}

static void enter(struct passage *p, const struct verdict *verdict) {
    const struct request *r = exchange_request(p->x);
    bool websocket = ws_wanted(r);
    if (!websocket && !sse_wanted(r)) {
        sse_post_once(p->routing->sse, p->x, p->ns, verdict);
    } else if (turn_away(p->routing, p->x, verdict)) {
        return;
    } else if (websocket) {
        ws_accept(p->routing->ws, p->x, p->ns, verdict);
    } else {
        sse_accept(p->routing->sse, p->x, p->ns, verdict, true);
    }
}

static void on_authenticated(struct question *q, const struct verdict *verdict) {
    struct passage *p = (struct passage *)q;
    if (verdict->allowed) {
        enter(p, verdict);
    } else {
        response_error(p->x, status_of_code(verdict->code), verdict->code, verdict->detail);
    }
    passage_free(p);
}

/* The endpoint of a namespace is asked for; p is freed now or after on_auth. */
static void serve_endpoint(struct passage *p, const struct ns_settings *settings) {
    struct app *app = p->routing->app;
    struct request *r = request_ref((struct request *)exchange_request(p->x));
    struct ns *ns = NULL;
    if (!origin_allowed(settings->origins, r)) {
        response_error(p->x, 403, SPAN("forbidden"), SPAN("\"origin not allowed\""));
    } else if (!ws_wanted(r) || ws_check(p->x)) {
        ns = app->find_ns(app, request_path(r));
        if (!ns) {
            not_found(p->x);
        }
    }
    bool post = span_is(request_method(r), "POST");
    if (ns && (!post || sse_post(p->routing->sse, p->x, ns))) {
        p->ns = ns_ref(ns);
        p->question.answer = on_authenticated;
        app->on_auth(app, ns, r, (struct span){0}, &p->question);
    } else {
        passage_free(p);
    }
    request_unref(r);
}

static bool asks_endpoint(const struct request *r) {
    return ws_wanted(r) || sse_wanted(r) || span_is(request_method(r), "POST");
}

static void dispatch(struct passage *p) {
    struct app *app = p->routing->app;
    const struct request *r = exchange_request(p->x);
    struct target target;
    app->resolve(app, r, &target);
    if (target.kind == TARGET_NS && asks_endpoint(r)) {
        serve_endpoint(p, target.settings);
        return;
    }
    if (target.kind == TARGET_ROUTE) {
        app->on_route(app, p->x, &target);
    } else {
        static_serve(p->x, app->mounts, app->mount_count, no_file, app);
    }
    passage_free(p);
}

/* --- Socket.IO and Engine.IO ---------------------------------------------------------------- */

/* Paths are meant with or without the slash at their end. */
static struct span without_slash(struct span path) {
    path.len -= path.len > 1 && path.at[path.len - 1] == '/';
    return path;
}

static bool asks_socketio(const struct routing *routing, const struct request *r) {
    struct span mount = span_of(routing->engine.config->socketio_path);
    return mount.len > 1 && mount.at[0] == '/' &&
           span_equal(without_slash(mount), without_slash(request_path(r)));
}

/* The namespace whose endpoint is one of Engine.IO, where the request speaks that; or NULL. */
static struct ns *asks_engine(const struct routing *routing, const struct request *r) {
    struct app *app = routing->app;
    struct writer version = {0};
    bool engine = request_query_value(r, "EIO", &version);
    writer_deinit(&version);
    struct ns *ns = engine ? app->find_ns(app, without_slash(request_path(r))) : NULL;
    return ns && ns_settings(ns) && ns_settings(ns)->engine ? ns : NULL;
}

static bool asks_messages(const struct routing *routing, const struct request *r) {
    return asks_socketio(routing, r) || asks_engine(routing, r);
}

static void on_engine_authenticated(struct question *q, const struct verdict *verdict) {
    struct passage *p = (struct passage *)q;
    if (!verdict->allowed) {
        response_error(p->x, status_of_code(verdict->code), verdict->code, verdict->detail);
    } else if (!turn_away(p->routing, p->x, verdict)) {
        eio_plain_serve(&p->routing->plain, p->x, p->ns, verdict);
    }
    passage_free(p);
}

/* A handshake that the guard has let pass; p is freed now or after on_auth. */
static void serve_handshake(struct passage *p) {
    struct app *app = p->routing->app;
    struct request *r = request_ref((struct request *)exchange_request(p->x));
    struct ns *ns = asks_socketio(p->routing, r) ? NULL : asks_engine(p->routing, r);
    if (ns) {
        p->ns = ns_ref(ns);
        p->question.answer = on_engine_authenticated;
        app->on_auth(app, ns, r, (struct span){0}, &p->question);
    } else if (exchange_server(p->x)->draining) {
        response_error(p->x, 503, SPAN("unavailable"), SPAN("\"shutting down\""));
        passage_free(p);
    } else {
        sio_serve(p->routing->sio, p->x);
        passage_free(p);
    }
    request_unref(r);
}

/* What needs no guard: a request of a session, which its handshake has passed, or one from a page
 * that may not ask. */
static bool serve_session(struct routing *routing, const struct target *target,
                          struct exchange *x) {
    const struct request *r = exchange_request(x);
    if (!origin_allowed(target->settings ? target->settings->origins : NULL, r)) {
        eio_refuse(x, EIO_FORBIDDEN);
        return true;
    }
    if (eio_is_handshake(r)) {
        return false;
    }
    if (asks_socketio(routing, r)) {
        sio_serve(routing->sio, x);
    } else {
        eio_plain_serve(&routing->plain, x, NULL, NULL);
    }
    return true;
}

static void on_guarded(struct question *q, const struct verdict *verdict) {
    struct passage *p = (struct passage *)q;
    if (!verdict->allowed || !exchange_open(p->x)) {
        passage_free(p);
    } else if (asks_messages(p->routing, exchange_request(p->x))) {
        serve_handshake(p);
    } else {
        dispatch(p);
    }
}

void routing_serve(struct routing *routing, struct exchange *x) {
    struct app *app = routing->app;
    struct target target;
    app->resolve(app, exchange_request(x), &target);
    if (cors_handle(target.settings ? target.settings->origins : NULL, x)) {
        return;
    }
    if (asks_messages(routing, exchange_request(x)) && serve_session(routing, &target, x)) {
        return;
    }
    struct passage *p = memory_zalloc(sizeof *p);
    p->question.answer = on_guarded;
    p->routing = routing;
    p->x = exchange_ref(x);
    app->on_request(app, x, &p->question);
}
