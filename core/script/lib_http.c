/* The C half of mw.http (lua/moonwire/http.lua is the other): one function that sends a request and
 * waits for the answer. The options, their defaults and their checks are in Lua. See binding.h. */
#include "script/binding.h"
#include "script/http_pool.h"
#include "script/task.h"

#include <string.h>

static const char metatable[] = "moonwire.http.request";

/* Lies on the stack of who waits for it, so that it goes with him. */
struct outgoing {
    struct http_job job;
    struct wait wait;
};

static void on_answer(struct http_job *job) {
    task_wake(&((struct outgoing *)job)->wait);
}

static void on_cancel(struct wait *wait) {
    struct outgoing *o = (struct outgoing *)((char *)wait - offsetof(struct outgoing, wait));
    http_job_deinit(&o->job);
}

static int collect(lua_State *L) {
    struct outgoing *o = lua_touserdata(L, 1);
    http_job_deinit(&o->job);
    return 0;
}

static struct outgoing *new_outgoing(lua_State *L) {
    struct outgoing *o = lua_newuserdatauv(L, sizeof(*o), 0);
    memset(o, 0, sizeof(*o));
    o->job.done = on_answer;
    o->wait.cancel = on_cancel;
    luaL_setmetatable(L, metatable);
    return o;
}

/* --- the answer ------------------------------------------------------------------------------- */

/* Adds a field to the table on top, by its name in lower case; what comes again is joined with ", "
 * (RFC 9110 section 5.3), and a cookie, which that would break, with a line end. */
static void add_field(lua_State *L, const char *line, size_t len) {
    const char *colon = memchr(line, ':', len);
    luaL_Buffer name;
    if (colon == NULL) {
        return;
    }
    size_t name_len = (size_t)(colon - line);
    char *out = luaL_buffinitsize(L, &name, name_len);
    for (size_t i = 0; i < name_len; i++) {
        bool upper = line[i] >= 'A' && line[i] <= 'Z';
        out[i] = (char)(upper ? line[i] + ('a' - 'A') : line[i]);
    }
    luaL_pushresultsize(&name, name_len);

    const char *end = line + len;
    for (colon++; colon < end && (*colon == ' ' || *colon == '\t'); colon++) {
    }
    while (end > colon && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    lua_pushvalue(L, -1);
    bool again = lua_rawget(L, -3) != LUA_TNIL;
    if (again) {
        lua_pushstring(L, strcmp(lua_tostring(L, -2), "set-cookie") == 0 ? "\n" : ", ");
    }
    lua_pushlstring(L, colon, (size_t)(end - colon));
    if (again) {
        lua_concat(L, 3);
    } else {
        lua_remove(L, -2);
    }
    lua_rawset(L, -3);
}

static void push_fields(lua_State *L, struct span head) {
    lua_newtable(L);
    while (head.len > 0) {
        const char *end = memmem(head.at, head.len, "\r\n", 2);
        size_t len = end != NULL ? (size_t)(end - head.at) : head.len;
        size_t step = end != NULL ? len + 2 : len;
        add_field(L, head.at, len);
        head = (struct span){head.at + step, head.len - step};
    }
}

/* status, headers, body; or nil, code, detail. */
static int push_answer(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    struct outgoing *o = lua_touserdata(L, (int)ctx);
    if (o->job.code != NULL) {
        return binding_refuse(L, o->job.code, o->job.detail);
    }
    struct span body = writer_span(&o->job.body);
    lua_pushinteger(L, o->job.status);
    push_fields(L, writer_span(&o->job.head));
    lua_pushlstring(L, body.at, body.len);
    http_job_deinit(&o->job); /* not when the collector comes */
    return 3;
}

/* --- the request ------------------------------------------------------------------------------ */

static struct http_pool *pool_of(lua_State *L) {
    struct script *s = script_of(L);
    if (s->http == NULL) {
        s->http = http_pool_new(s->env.io->loop);
    }
    return s->http;
}

/* send(method, url, fields, body or nil, timeout, max_body, redirects): fields is an array of
 * lines, checked by the caller. */
static int http_send(lua_State *L) {
    struct http_question question = {
        .method = luaL_checkstring(L, 1),
        .url = luaL_checkstring(L, 2),
        .timeout = binding_seconds(L, 5),
        .redirects = (int)luaL_checkinteger(L, 7),
    };
    lua_Integer max_body = luaL_checkinteger(L, 6);
    luaL_checktype(L, 3, LUA_TTABLE);
    if (!lua_isnil(L, 4)) {
        question.body = binding_check_span(L, 4);
    }
    task_check_wait(L, "mw.http");

    struct outgoing *o = new_outgoing(L);
    int index = lua_gettop(L);
    o->job.max_body = (size_t)max_body;
    for (lua_Integer i = 1; lua_rawgeti(L, 3, i) == LUA_TSTRING; i++) {
        http_job_add_field(&o->job, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_settop(L, index);
    struct http_pool *pool = pool_of(L);
    if (pool == NULL || !http_job_start(pool, &o->job, &question)) {
        return binding_refuse(L, "overloaded", "curl has no memory left");
    }
    return task_park(L, &o->wait, index, push_answer);
}

static const luaL_Reg functions[] = {
    {"send", http_send},
    {NULL, NULL},
};

int luaopen_moonwire_http(lua_State *L) {
    luaL_newmetatable(L, metatable);
    lua_pushcfunction(L, collect);
    lua_setfield(L, -2, "__gc");
    lua_pop(L, 1);
    luaL_newlib(L, functions);
    return 1;
}
