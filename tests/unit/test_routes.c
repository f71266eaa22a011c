/* The hooks that concern HTTP, over the loopback: the guard, routes and their answers, and mw.sse
 * with a real stream. The handler between them does what the worker does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"
#include "http/response.h"
#include "http_fixture.h"
#include "proto/sse.h"
#include "script/script.h"

struct world {
    struct site site;
    struct log log;
    struct script *script;
    struct app *app;
    struct hub *hub;
    struct sse_server *sse;
    char dir[64];
    char path[96];
};

/* --- what the worker does --- */

struct step {
    struct question question;
    struct world *w;
    struct exchange *x;
};

static void after_guard(struct question *q, const struct verdict *verdict) {
    struct step *step = (struct step *)q;
    struct world *w = step->w;
    struct target target;
    if (verdict->allowed) {
        w->app->resolve(w->app, exchange_request(step->x), &target);
        if (target.kind == TARGET_ROUTE) {
            w->app->on_route(w->app, step->x, &target);
        } else if (target.kind == TARGET_METHOD) {
            struct response r;
            response_init(&r, 405);
            assert_int_equal(response_header(&r, SPAN("Allow"), target.allow), 0);
            response_send(step->x, &r);
        } else {
            response_text(step->x, target.kind == TARGET_NS ? 299 : 404, "");
        }
    }
    exchange_unref(step->x);
    free(step);
}

static void on_exchange(struct exchange *x, void *data) {
    struct world *w = data;
    struct step *step = memory_zalloc(sizeof *step);
    *step = (struct step){{after_guard}, w, exchange_ref(x)};
    w->app->on_request(w->app, x, &step->question);
}

static struct client *open_stream(void *data, struct exchange *x, struct ns *ns,
                                  const struct verdict *verdict) {
    struct world *w = data;
    return sse_accept(w->sse, x, ns, verdict, false);
}

static void defer(void *io, struct deferred *deferred) {
    io_defer_closed(io, deferred);
}

static int set_up(void **state) {
    struct world *w = memory_zalloc(sizeof *w);
    struct fixture *f = &w->site.f;
    site_init(&w->site);
    f->config.lua_memory = (size_t)64 << 20;
    f->config.max_rooms = 10;
    f->config.max_room_name = 256;
    f->config.max_queue = 16;
    f->config.max_payload = 65536;
    w->site.answer = on_exchange;
    w->site.data = w;
    strcpy(w->dir, "/tmp/moonwire-test-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->path, sizeof w->path, "%s/app.lua", w->dir);
    FILE *file = tmpfile();
    assert_non_null(file);
    w->log = (struct log){LOG_INFO, false, dup(fileno(file))};
    fclose(file);
    struct script_env env = {.io = &f->io,
                             .config = &f->config,
                             .log = &w->log,
                             .metrics = &f->metrics,
                             .open_stream = open_stream,
                             .data = w};
    assert_int_equal(script_new(&w->script, &env, w->path), 0);
    w->app = script_app(w->script);
    w->hub = hub_new(&f->config, &f->metrics, &f->io.arena, w->app, defer, &f->io);
    script_set_hub(w->script, w->hub);
    w->sse = sse_server_new(&f->io, &f->config, w->app, &f->metrics);
    *state = w;
    return 0;
}

static int tear_down(void **state) {
    struct world *w = *state;
    char command[128];
    script_stop(w->script);
    site_deinit(&w->site);
    sse_server_free(w->sse);
    script_free(w->script);
    hub_free(w->hub);
    close(w->log.fd);
    snprintf(command, sizeof command, "rm -r '%s'", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
    return 0;
}

static void serve(struct world *w, const char *source) {
    struct writer error = {NULL};
    FILE *file = fopen(w->path, "w");
    assert_non_null(file);
    fputs(source, file);
    fclose(file);
    if (script_prepare(w->script, &error) != 0) {
        fail_msg("%.*s", (int)writer_len(&error), writer_span(&error).at);
    }
    script_commit(w->script);
    site_start(&w->site);
}

static const char *ask(struct world *w, const char *line, const char *more) {
    char request[1024];
    snprintf(request, sizeof request, "%s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", line, more);
    return site_ask(&w->site, request);
}

#define HEAD "local mw = require 'moonwire'\nlocal app = { routes = {} }\nlocal r = app.routes\n"

/* --- routes --- */

static void routes_answer_what_they_return(void **state) {
    struct world *w = *state;
    serve(w, HEAD
          "r['GET /table'] = function() return { a = 1 } end\n"
          "r['GET /text'] = function() return 'hello' end\n"
          "r['GET /none'] = function() end\n"
          "r['GET /full'] = function()\n"
          "  return 201, { b = 2 }, { ['X-Own'] = 'yes', ['Set-Cookie'] = { 'a=1', 'b=2' } }\n"
          "end\n"
          "r['GET /html'] = function() return 200, '<p>', { ['content-type'] = 'text/html' } end\n"
          "r['GET /error'] = function() return nil, 'rate_limited', { wait = 3 } end\n"
          "r['GET /bug'] = function() error('oops') end\n"
          "r['GET /odd'] = function() return print end\n"
          "r['GET /header'] = function() return 200, '', { a = 'b\\r\\nc' } end\n"
          "r['GET /users/me'] = function(q) return 'static' end\n"
          "r['GET /users/:id'] = function(q) return q.params.id end\n"
          "r['DELETE /users/:id'] = function(q) return 204 end\n"
          "return app");
    const char *a = ask(w, "GET /table", "");
    assert_int_equal(answer_status(a), 200);
    assert_string_equal(answer_body(a), "{\"a\":1}");
    assert_string_equal(answer_field(a, "content-type"), "application/json");
    a = ask(w, "GET /text", "");
    assert_string_equal(answer_body(a), "hello");
    assert_string_equal(answer_field(a, "content-type"), "text/plain; charset=utf-8");
    assert_int_equal(answer_status(ask(w, "GET /none", "")), 204);
    a = ask(w, "GET /full", "");
    assert_int_equal(answer_status(a), 201);
    assert_string_equal(answer_field(a, "x-own"), "yes");
    assert_non_null(strcasestr(a, "Set-Cookie: a=1\r\n"));
    assert_non_null(strcasestr(a, "Set-Cookie: b=2\r\n"));
    a = ask(w, "GET /html", "");
    assert_string_equal(answer_field(a, "content-type"), "text/html");
    a = ask(w, "GET /error", "");
    assert_int_equal(answer_status(a), 429);
    assert_string_equal(answer_body(a),
                        "{\"error\":{\"code\":\"rate_limited\",\"detail\":{\"wait\":3}}}");
    assert_int_equal(answer_status(ask(w, "GET /bug", "")), 500);
    assert_int_equal(answer_status(ask(w, "GET /odd", "")), 500);
    assert_int_equal(answer_status(ask(w, "GET /header", "")), 500);
    assert_string_equal(answer_body(ask(w, "GET /users/me", "")), "static");
    assert_string_equal(answer_body(ask(w, "GET /users/a%20b", "")), "a b");
    assert_int_equal(answer_status(ask(w, "DELETE /users/7", "")), 204);
    a = ask(w, "PUT /users/7", "");
    assert_int_equal(answer_status(a), 405);
    assert_non_null(strstr(answer_field(a, "allow"), "DELETE"));
    assert_non_null(strstr(answer_field(a, "allow"), "GET, HEAD"));
    assert_int_equal(answer_status(ask(w, "GET /users/7/x", "")), 404);
    assert_int_equal(answer_status(ask(w, "GET /users/", "")), 404);
    assert_int_equal(answer_status(ask(w, "GET /", "")), 299); /* the namespace's endpoint */
}

static void a_route_sees_the_request(void **state) {
    struct world *w = *state;
    serve(w, HEAD "r['POST /look'] = function(q)\n"
                  "  local found = mw.array { q.method, q.path, q.query.a, q.headers['X-Thing'],\n"
                  "    q.cookies.k, q.body, q.json.n, q.ip, q.auth.token, q.json == q.json,\n"
                  "    q.secure, math.type(q.time), os.time() - q.time < 100 }\n"
                  "  local ok, message = pcall(function() return q.nothing end)\n"
                  "  found[#found + 1] = ok\n"
                  "  return found\n"
                  "end\n"
                  "r['POST /bad'] = function(q) return { json = q.json == nil } end\n"
                  "return app");
    const char *a = ask(w, "POST /look?a=x%26y&b&a=z",
                        "x-thing: one\r\nCookie: j=1; k=2; k=3\r\nAuthorization: bearer tok\r\n"
                        "Content-Length: 7\r\n\r\n{\"n\":4}");
    assert_string_equal(answer_body(a),
                        "[\"POST\",\"/look\",\"x&y\",\"one\",\"2\",\"{\\\"n\\\":4}\",4,"
                        "\"127.0.0.1\",\"tok\",true,false,\"integer\",true,false]");
    a = ask(w, "POST /bad", "Content-Length: 1\r\n\r\n{");
    assert_string_equal(answer_body(a), "{\"json\":true}");
}

static void a_waiting_route_answers_later(void **state) {
    struct world *w = *state;
    serve(w, HEAD "r['GET /wait'] = function() mw.sleep(0.001) return mw.room('a').name end\n"
                  "return app");
    assert_string_equal(answer_body(ask(w, "GET /wait", "")), "a");
}

static void head_has_routes_of_its_own_or_those_of_get(void **state) {
    struct world *w = *state;
    serve(w, HEAD "r['GET /a'] = function() return 200, 'a', { ['X-By'] = 'get' } end\n"
                  "r['HEAD /a'] = function() return 200, nil, { ['X-By'] = 'head' } end\n"
                  "r['POST /a'] = function() end\n"
                  "r['POST /:x'] = function() end\n"
                  "r['GET /b'] = function() return 200, '', { ['X-By'] = 'get' } end\n"
                  "return app");
    assert_string_equal(answer_field(ask(w, "HEAD /a", ""), "x-by"), "head");
    assert_string_equal(answer_field(ask(w, "GET /a", ""), "x-by"), "get");
    const char *a = ask(w, "HEAD /b", "");
    assert_string_equal(answer_field(a, "x-by"), "get");
    assert_string_equal(answer_body(a), "");
    assert_string_equal(answer_field(ask(w, "PUT /a", ""), "allow"), "GET, HEAD, POST");
}

/* --- the guard --- */

static void the_guard_lets_pass_refuses_or_answers(void **state) {
    struct world *w = *state;
    serve(w, HEAD "function app.on_request(q)\n"
                  "  if q.query.no then return nil, 'forbidden', 'no' end\n"
                  "  if q.query.own then return 307, nil, { Location = '/x' } end\n"
                  "  if q.query.bug then error('x') end\n"
                  "  if q.query.wait then mw.sleep(0.001) end\n"
                  "  if q.query.stop then return false end\n"
                  "  q.user = { id = 'ann' }\n"
                  "end\n"
                  "r['GET /me'] = function(q) return q.user and q.user.id or 'nobody' end\n"
                  "return app");
    assert_string_equal(answer_body(ask(w, "GET /me", "")), "ann");
    assert_string_equal(answer_body(ask(w, "GET /me?wait=1", "")), "ann");
    const char *a = ask(w, "GET /me?no=1", "");
    assert_int_equal(answer_status(a), 403);
    assert_string_equal(answer_body(a), "{\"error\":{\"code\":\"forbidden\",\"detail\":\"no\"}}");
    a = ask(w, "GET /me?own=1", "");
    assert_int_equal(answer_status(a), 307);
    assert_string_equal(answer_field(a, "location"), "/x");
    assert_int_equal(answer_status(ask(w, "GET /me?bug=1", "")), 500);
    assert_int_equal(answer_status(ask(w, "GET /me?stop=1", "")), 403);
}

static void each_table_guards_its_own(void **state) {
    struct world *w = *state;
    serve(w, "local function guard(name)\n"
             "  return function(q) return 200, name end\n"
             "end\n"
             "return {\n"
             "  { namespace = '/a', on_request = guard 'a' },\n"
             "  { namespace = '/b', on_request = guard 'b', routes = { ['GET /c'] = print } },\n"
             "}");
    assert_string_equal(answer_body(ask(w, "GET /a", "")), "a");
    assert_string_equal(answer_body(ask(w, "GET /b", "")), "b");
    assert_string_equal(answer_body(ask(w, "GET /c", "")), "b");
    assert_string_equal(answer_body(ask(w, "GET /elsewhere", "")), "a");
}

/* Files are behind the guard of the table that names their folder. */
static void static_folders_have_their_tables_guard(void **state) {
    struct world *w = *state;
    serve(w, "local function guard(name)\n"
             "  return function(q) return 200, name end\n"
             "end\n"
             "return {\n"
             "  { namespace = '/a', on_request = guard 'a', static = '.' },\n"
             "  { namespace = '/b', on_request = guard 'b', static = { ['/b/files'] = '.' } },\n"
             "}");
    assert_string_equal(answer_body(ask(w, "GET /app.lua", "")), "a");
    assert_string_equal(answer_body(ask(w, "GET /b/files/app.lua", "")), "b");
    assert_string_equal(answer_body(ask(w, "GET /b/filesystem", "")), "a");
}

/* --- streams --- */

static void mw_sse_turns_a_request_into_a_client(void **state) {
    struct world *w = *state;
    struct fixture *f = &w->site.f;
    serve(w,
          HEAD "function app.on_auth(q)\n"
               "  if not q.query.user then return nil, 'forbidden' end\n"
               "  return { id = q.query.user }\n"
               "end\n"
               "function app.on_connect(client)\n"
               "  client:emit('connected', client.user.id, client.wire, #client.rooms)\n"
               "end\n"
               "function app.on_disconnect(client) mw.state('gone', {})[1] = client.user.id end\n"
               "r['GET /stream'] = function(q)\n"
               "  local client, code = mw.sse(q, { rooms = { 'news' } })\n"
               "  if not client then return nil, code end\n"
               "  mw.user(client.user.id):emit('hello')\n"
               "end\n"
               "r['GET /nowhere'] = function(q)\n"
               "  local ok, message = pcall(mw.sse, q, { rooms = { 'news', '' } })\n"
               "  return message\n"
               "end\n"
               "r['GET /as'] = function(q) return mw.sse(q, { user = { id = 5 } }) end\n"
               "r['GET /push'] = function() mw.room('news'):emit('item', { n = 1 }) end\n"
               "r['GET /gone'] = function() return mw.state('gone', {})[1] end\n"
               "return app");
    assert_int_equal(answer_status(ask(w, "GET /stream", "")), 403);
    assert_non_null(strstr(answer_body(ask(w, "GET /nowhere?user=ann", "")), "a room's name is"));
    struct remote *stream = remote_connect(f);
    remote_sends(stream, "GET /stream?user=ann HTTP/1.1\r\nHost: localhost\r\n\r\n");
    RUN_UNTIL(f, remote_has(stream, "event: connected"));
    assert_true(remote_has(stream, "data: [\"ann\",\"sse\",1]"));
    RUN_UNTIL(f, remote_has(stream, "event: hello"));
    assert_int_equal(answer_status(ask(w, "GET /push", "")), 204);
    RUN_UNTIL(f, remote_has(stream, "data: {\"n\":1}"));
    struct remote *as = remote_connect(f);
    remote_sends(as, "GET /as HTTP/1.1\r\nHost: localhost\r\n\r\n");
    RUN_UNTIL(f, remote_has(as, "data: [5,\"sse\",0]"));
    remote_free(f, stream);
    while (sse_server_count(w->sse) > 1) {
        fixture_turn(f);
    }
    assert_string_equal(answer_body(ask(w, "GET /gone", "")), "ann");
    remote_free(f, as);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(routes_answer_what_they_return),
        T(a_route_sees_the_request),
        T(head_has_routes_of_its_own_or_those_of_get),
        T(a_waiting_route_answers_later),
        T(the_guard_lets_pass_refuses_or_answers),
        T(static_folders_have_their_tables_guard),
        T(each_table_guards_its_own),
        T(mw_sse_turns_a_request_into_a_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
