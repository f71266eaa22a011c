/* on_request and routes. Each is one task whose data is a `struct call`; what it returned
 * is kept there within Lua and acted upon when the task is over, outside of Lua. */
#include "script/hooks_http.h"
#include "http/response.h"
#include "script/answer.h"
#include "script/binding.h"
#include "script/lib_request.h"

#include <stdlib.h>
#include <string.h>

struct call {
    struct hooks *hooks;
    struct exchange *exchange;     /* owns a reference */
    struct request *request;       /* owns a reference */
    struct question *question;     /* NULL in a route */
    const struct handler *handler; /* these live as long as the task's version */
    const struct route *route;
    int object; /* reference to the request's Lua object */
    bool refused;
    struct response response;
};

/* --- resolving --- */

static bool method_serves(const struct route *route, struct span method) {
    return span_is(method, route->method) ||
           (span_is(method, "HEAD") && span_equal(span_of(route->method), SPAN("GET")));
}

/* The first route of the path that serves the method; any of the path's where that is empty. */
static struct route *find_route(const struct handlers *set, struct span path, struct span method) {
    for (size_t i = 0; i < set->route_count; i++) {
        struct route *route = &set->routes[i];
        if (pattern_matches(&route->pattern, path) &&
            (method.len == 0 || method_serves(route, method))) {
            return route;
        }
    }
    return NULL;
}

static void list_methods(const struct handlers *set, struct span path, struct writer *allow) {
    static const char *const methods[] = {"GET",   "HEAD",   "POST",   "PUT",
                                          "PATCH", "DELETE", "OPTIONS"};
    writer_clear(allow);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (find_route(set, path, span_of(methods[i]))) {
            writer_puts(allow, writer_len(allow) ? ", " : "");
            writer_puts(allow, methods[i]);
        }
    }
}

static bool resolve_route(struct hooks *hooks, const struct handlers *set, const struct request *r,
                          struct target *target) {
    struct span path = request_path(r);
    struct route *route = find_route(set, path, request_method(r));
    if (route) {
        *target = (struct target){
            .kind = TARGET_ROUTE, .route = route, .settings = &route->handler->settings};
        return true;
    }
    route = find_route(set, path, (struct span){NULL, 0});
    if (route) {
        list_methods(set, path, &hooks->allow);
        *target = (struct target){.kind = TARGET_METHOD,
                                  .allow = writer_span(&hooks->allow),
                                  .settings = &route->handler->settings};
    }
    return false;
}

/* Routes come first, then the endpoints of namespaces; a path that only has routes for other
 * methods is an endpoint all the same. */
static void app_resolve(struct app *app, const struct request *r, struct target *target) {
    struct hooks *hooks = (struct hooks *)app;
    const struct handlers *set = handlers_current(hooks->script);
    *target = (struct target){.kind = TARGET_NONE};
    if (!set) {
        return;
    }
    struct handler *owner = handlers_find_mount(set, request_path(r));
    target->settings = owner ? &owner->settings : &set->items[0].settings;
    if (resolve_route(hooks, set, r, target)) {
        return;
    }
    struct handler *h = handlers_find(set, request_path(r));
    if (h) {
        *target = (struct target){.kind = TARGET_NS, .settings = &h->settings};
    }
}

/* --- calls --- */

static struct call *call_new(struct hooks *hooks, const struct request *r, struct exchange *x,
                             const struct handler *h) {
    struct call *call = memory_zalloc(sizeof *call);
    call->hooks = hooks;
    call->request = request_ref((struct request *)r);
    call->exchange = exchange_ref(x);
    call->handler = h;
    call->object = LUA_NOREF;
    response_init(&call->response, 200);
    if (hooks->guarded == r) {
        call->object = hooks->guarded_object;
        hooks->guarded_object = LUA_NOREF;
    }
    return call;
}

static void call_free(struct call *call) {
    luaL_unref(call->hooks->script->L, LUA_REGISTRYINDEX, call->object);
    response_deinit(&call->response);
    request_unref(call->request);
    exchange_unref(call->exchange);
    free(call);
}

static void call_run(struct call *call, const struct task_kind *kind, struct scope *scope) {
    task_run(call->hooks->script, kind, call, call->handler->set->version,
             scope ? &scope->base : NULL);
}

/* The path, and not the target: a token may stand in the query. */
static void describe(const void *data, struct log_line *line) {
    const struct call *call = data;
    log_field(line, "method", request_method(call->request));
    log_field(line, "path", request_path(call->request));
}

static void push_object(lua_State *L, struct call *call) {
    if (call->object != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, call->object);
        return;
    }
    request_push(L, call->request, call->exchange);
    lua_pushvalue(L, -1);
    call->object = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void send_failure(struct call *call, enum task_end how) {
    struct span code = how == TASK_ABANDONED ? SPAN("unavailable") : SPAN("internal_error");
    if (exchange_open(call->exchange)) {
        response_error(call->exchange, status_of_code(code), code, (struct span){NULL, 0});
    }
}

static void send_response(struct call *call) {
    if (exchange_open(call->exchange)) {
        response_send(call->exchange, &call->response);
        response_init(&call->response, 200);
    }
}

/* --- on_request --- */

static int begin_request(lua_State *L, void *data) {
    struct call *call = data;
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->handler->hooks[HOOK_REQUEST]);
    push_object(L, call);
    return 1;
}

/* Nothing, nil or true: go on. */
static void end_request(lua_State *L, void *data, int first) {
    struct call *call = data;
    if (answer_is_error(L, first)) {
        call->refused = true;
    } else if (lua_isnoneornil(L, first)) {
        return;
    } else if (lua_isboolean(L, first)) {
        call->refused = !lua_toboolean(L, first);
        if (call->refused) {
            answer_error_http(&call->response, SPAN("forbidden"), (struct span){NULL, 0});
        }
        return;
    }
    call->refused = true;
    answer_read_http(L, first, &call->response);
}

/* While the question is answered, the next step finds the object that the guard has seen. */
static void let_pass(struct call *call) {
    struct hooks *hooks = call->hooks;
    struct verdict verdict = {.allowed = true};
    hooks->guarded = call->request;
    hooks->guarded_object = call->object;
    call->object = LUA_NOREF;
    call->question->answer(call->question, &verdict);
    call->object = hooks->guarded_object;
    hooks->guarded = NULL;
    hooks->guarded_object = LUA_NOREF;
}

static void done_request(void *data, enum task_end how) {
    struct call *call = data;
    struct verdict refused = {.allowed = false};
    if (how == TASK_RETURNED && !call->refused && exchange_open(call->exchange)) {
        let_pass(call);
    } else {
        if (how == TASK_RETURNED) {
            send_response(call);
        } else {
            send_failure(call, how);
        }
        call->question->answer(call->question, &refused);
    }
    call_free(call);
}

static const struct task_kind request_kind = {HOOK_REQUEST, begin_request, end_request,
                                              done_request, NULL,          describe};

static void app_on_request(struct app *app, struct exchange *x, struct question *q) {
    struct hooks *hooks = (struct hooks *)app;
    const struct request *r = exchange_request(x);
    struct target target;
    app_resolve(app, r, &target);
    const struct handler *h = target.settings ? target.settings->table : NULL;
    if (!h || h->hooks[HOOK_REQUEST] == LUA_NOREF) {
        struct verdict verdict = {.allowed = h != NULL};
        if (!h) {
            response_error(x, 503, SPAN("unavailable"), (struct span){NULL, 0});
        }
        q->answer(q, &verdict);
        return;
    }
    struct call *call = call_new(hooks, r, x, h);
    struct scope *scope = scope_of_handler(hooks, h);
    call->question = q;
    call_run(call, &request_kind, scope);
    scope_unref(scope);
}

/* --- routes --- */

static int begin_route(lua_State *L, void *data) {
    struct call *call = data;
    lua_rawgeti(L, LUA_REGISTRYINDEX, call->route->run);
    push_object(L, call);
    request_set_params(L, &call->route->pattern, request_path(call->request));
    return 1;
}

/* After mw.sse the exchange is a stream, and there is nothing more to answer. */
static void end_route(lua_State *L, void *data, int first) {
    struct call *call = data;
    if (exchange_open(call->exchange)) {
        answer_read_http(L, first, &call->response);
    }
}

static void done_route(void *data, enum task_end how) {
    struct call *call = data;
    if (how == TASK_RETURNED) {
        send_response(call);
    } else {
        send_failure(call, how);
    }
    call_free(call);
}

static const struct task_kind route_kind = {HOOK_ROUTE, begin_route, end_route,
                                            done_route, NULL,        describe};

static void app_on_route(struct app *app, struct exchange *x, const struct target *target) {
    struct hooks *hooks = (struct hooks *)app;
    const struct route *route = target->route;
    struct call *call = call_new(hooks, exchange_request(x), x, route->handler);
    struct scope *scope = scope_of_handler(hooks, route->handler);
    call->route = route;
    call_run(call, &route_kind, scope);
    scope_unref(scope);
}

void hooks_http_fill_app(struct app *app) {
    app->resolve = app_resolve;
    app->on_request = app_on_request;
    app->on_route = app_on_route;
}
