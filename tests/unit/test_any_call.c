/* Every function that Lua is given takes anything: each is called with values of all kinds, from
 * tasks that wait for each other or for nobody, with the coroutines of others among the arguments.
 * The answer may be an error; the server goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app_fixture.h"

static const char app[] = HEAD
    "local seed = 1\n"
    "local function random(n)\n"
    "  seed = (seed * 1103515245 + 12345) % 2147483648\n"
    "  return seed // 65536 % n + 1\n"
    "end\n"
    "local threads, requests = { coroutine.create(print) }, {}\n"
    "local circle = {} circle[1] = circle\n"
    "local function value(client)\n"
    "  local list = { nil, true, 0, -1, 1e308, 0 / 0, 7, '', 'all', ('x'):rep(300), '\\xff',\n"
    "    'binary', 0.001, {}, { 'all', 'r' }, { 1, { 2 } }, circle, print, client, "
    "mw.room('all'),\n"
    "    mw.null, mw.array {}, { rooms = { 'r' }, user = { id = 1 } }, { limit = 2, after = '1' "
    "},\n"
    "    function(...) return ... end, function() error(circle) end, mw.user('u'), client.rooms,\n"
    "    coroutine.wrap(function(...) mw.sleep(0) return ... end), coroutine.running(),\n"
    "    threads[random(#threads)], requests[random(#requests + 1)], mw.namespace(), '/', "
    "client.id,\n"
    "    setmetatable({}, { __index = function() error 'index' end, __close = print,\n"
    "      __tostring = function() mw.sleep(1) end, __len = function() return 1 << 40 end }) }\n"
    "  return list[random(36)]\n"
    "end\n"
    "local methods = { 'emit', 'send', 'request', 'except', 'volatile', 'timeout', 'count',\n"
    "  'members', 'clients', 'history', 'join', 'leave', 'to', 'broadcast', 'rooms', 'data', "
    "'user',\n"
    "  'room', 'name', 'id', 'wire', 'params', 'json', 'query', 'cookies', 'auth', 'headers' }\n"
    "local functions = { mw.sleep, mw.spawn, mw.now, mw.iso, mw.state, mw.array, mw.object,\n"
    "  mw.json.encode, mw.json.decode, mw.log, mw.log.warn, mw.room, mw.rooms, mw.user, "
    "mw.client,\n"
    "  mw.namespace, mw.sse, coroutine.resume, coroutine.close, coroutine.status,\n"
    "  coroutine.wrap, coroutine.create, coroutine.isyieldable, setmetatable, pairs, tostring,\n"
    "  require, load, print, os.exit, pcall, xpcall, error, select, next }\n"
    "local function call(client)\n"
    "  if random(3) == 1 then\n"
    "    local object = ({ client, mw.room('all'), client:to('all'), mw.rooms { 'all' },\n"
    "      mw.user('u'), mw.namespace(), client:volatile(), client.request })[random(8)]\n"
    "    local method = object[methods[random(#methods)]]\n"
    "    return method(random(9) == 1 and value(client) or object, value(client), value(client),\n"
    "      value(client))\n"
    "  end\n"
    "  return functions[random(#functions)](value(client), value(client), value(client))\n"
    "end\n"
    "function app.on_emit(to)\n"
    "  if random(20) == 1 then call(to) end\n"
    "  if random(9) == 1 then error(value(to)) end\n"
    "end\n"
    "function app.on_connect(client) client:join('all') requests[1] = client.request end\n"
    "function app.events.go(client, new_seed)\n"
    "  seed = new_seed\n"
    "  for i = 1, 200 do\n"
    "    mw.spawn(function()\n"
    "      threads[i % 20 + 1] = coroutine.running()\n"
    "      if random(4) == 1 then return call(client) end\n"
    "      pcall(call, client)\n"
    "    end)\n"
    "  end\n"
    "end\n"
    "app.rooms.all = { history = { size = 2 } }\n"
    "return app";

static void every_function_takes_anything(void **state) {
    struct app_fixture *f = *state;
    struct app_ack ack;
    f->log.level = LOG_ERROR + 1;
    app_serve(f, app);
    struct app_client *a = app_connect(f, "/?token=a"), *b = app_connect(f, "/");
    for (int seed = 1; seed <= 100; seed++) {
        char args[16];
        snprintf(args, sizeof args, "%d", seed * 7919);
        app_event(a, "go", args, &ack);
        app_turn(f);
        if (seed % 10 == 0) {
            app_close(b, "gone");
            app_client_free(b);
            b = app_connect(f, "/");
        }
        assert_int_equal(ack.answers, 1);
        assert_string_equal(ack.code, "");
    }
    assert_true(f->metrics.handler_errors[HOOK_SPAWN] > 1000);
    assert_true(f->metrics.handler_calls[HOOK_SPAWN] > 10000);
    app_client_free(a);
    app_client_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_function_takes_anything, app_set_up, app_tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
