/* The request's Lua object. Its fields are made when they are first read and then kept in its
 * uservalue; only `user` can be set. It never writes a token anywhere. */
#include "script/lib_request.h"
#include "http/http.h"
#include "script/binding.h"
#include "script/json_bridge.h"

#include <string.h>

struct request_box {
    struct request *request;
    struct exchange *exchange; /* NULL: nothing to turn into a stream */
};

void request_push(lua_State *L, const struct request *r, struct exchange *x) {
    struct request_box *box = type_push(L, TYPE_REQUEST, sizeof *box, 1);
    box->request = request_ref((struct request *)r);
    box->exchange = x ? exchange_ref(x) : NULL;
    lua_newtable(L);
    lua_setiuservalue(L, -2, 1);
}

static int request_free(lua_State *L) {
    struct request_box *box = lua_touserdata(L, 1);
    if (box->request) {
        request_unref(box->request);
    }
    if (box->exchange) {
        exchange_unref(box->exchange);
    }
    *box = (struct request_box){NULL, NULL};
    return 0;
}

struct request *request_check(lua_State *L, int arg, struct exchange **x) {
    struct request_box *box = type_check(L, arg, TYPE_REQUEST, "a request");
    if (x) {
        *x = box->exchange;
    }
    return box->request;
}

void request_push_params(lua_State *L, const struct pattern *pattern, struct span path) {
    lua_newtable(L);
    for (size_t i = 0; i < pattern->count; i++) {
        if (pattern->segments[i].parameter) {
            struct span value = pattern_value(path, i);
            lua_pushlstring(L, value.at, value.len);
            lua_setfield(L, -2, pattern->segments[i].text);
        }
    }
}

void request_set_params(lua_State *L, const struct pattern *pattern, struct span path) {
    lua_getiuservalue(L, -1, 1);
    request_push_params(L, pattern, path);
    lua_setfield(L, -2, "params");
    lua_pop(L, 1);
}

void request_set_auth(lua_State *L, const struct buf *json) {
    struct json_fault fault;
    if (!json) {
        return;
    }
    if (json_push(L, (struct span){json->bytes, json->len}, &fault) < 0) {
        luaL_error(L, "the client's auth is not JSON: %s", fault.what);
    }
    request_put_auth(L);
}

void request_put_auth(lua_State *L) {
    lua_getiuservalue(L, -2, 1);
    lua_insert(L, -2);
    lua_setfield(L, -2, "auth");
    lua_pop(L, 1);
}

/* --- fields --- */

static void push_span(lua_State *L, struct span span) {
    lua_pushlstring(L, span.at ? span.at : "", span.len);
}

static void push_method(lua_State *L, const struct request *r) {
    push_span(L, request_method(r));
}

static void push_path(lua_State *L, const struct request *r) {
    push_span(L, request_path(r));
}

static void push_body(lua_State *L, const struct request *r) {
    push_span(L, request_body(r));
}

static void push_ip(lua_State *L, const struct request *r) {
    lua_pushstring(L, request_address(r));
}

static void push_secure(lua_State *L, const struct request *r) {
    lua_pushboolean(L, request_secure(r));
}

static void push_time(lua_State *L, const struct request *r) {
    lua_pushinteger(L, (lua_Integer)request_time(r));
}

static void push_empty(lua_State *L, const struct request *r) {
    (void)r;
    lua_newtable(L);
}

/* nil where the body is no JSON. */
static void push_json(lua_State *L, const struct request *r) {
    struct json_fault fault;
    if (json_push(L, request_body(r), &fault) < 0) {
        lua_pushnil(L);
    }
}

/* The decoded text, through a Lua buffer: url_decode writes no more than it reads. False: it is
 * malformed. */
static bool push_decoded(lua_State *L, struct span text) {
    struct script *s = script_of(L);
    writer_clear(&s->json);
    if (!url_decode(&s->json, text, true)) {
        return false;
    }
    push_span(L, writer_span(&s->json));
    return true;
}

/* Sets the key to the value on top of it, unless it is there: of a name that comes twice the first
 * counts, as for request_query_value. */
static void set_first(lua_State *L) {
    lua_pushvalue(L, -2);
    if (lua_rawget(L, -4) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_rawset(L, -3);
    } else {
        lua_pop(L, 3);
    }
}

static void push_query(lua_State *L, const struct request *r) {
    struct span rest = request_query(r), key, value;
    lua_newtable(L);
    while (query_next(&rest, &key, &value)) {
        if (!push_decoded(L, key)) {
            continue;
        }
        if (push_decoded(L, value)) {
            set_first(L);
        } else {
            lua_pop(L, 1);
        }
    }
}

static void push_headers(lua_State *L, const struct request *r) {
    size_t count = request_header_count(r);
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++) {
        struct span name, value;
        request_header_at(r, i, &name, &value);
        push_span(L, name);
        push_span(L, value);
        lua_rawset(L, -3);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->hooks->header_type);
    lua_setmetatable(L, -2);
}

static void push_cookies(lua_State *L, const struct request *r) {
    struct span rest = request_header(r, "cookie"), name, value;
    lua_newtable(L);
    while (cookie_next(&rest, &name, &value)) {
        push_span(L, name);
        push_span(L, value);
        set_first(L);
    }
}

/* RFC 6750: the Bearer token of the Authorization field; or the query's `token`. */
static void push_auth(lua_State *L, const struct request *r) {
    static const char scheme[] = "bearer ";
    const size_t len = sizeof scheme - 1;
    struct span field = request_header(r, "authorization");
    struct script *s = script_of(L);
    lua_newtable(L);
    writer_clear(&s->json);
    if (field.len > len && span_equal_nocase((struct span){field.at, len}, SPAN("bearer "))) {
        while (field.len > len && field.at[len] == ' ') {
            field.at++;
            field.len--;
        }
        push_span(L, (struct span){field.at + len, field.len - len});
    } else if (request_query_value(r, "token", &s->json)) {
        push_span(L, writer_span(&s->json));
    } else {
        return;
    }
    lua_setfield(L, -2, "token");
}

static void push_user(lua_State *L, const struct request *r) {
    (void)r;
    lua_pushnil(L);
}

typedef void push_field(lua_State *L, const struct request *r);
static const struct {
    const char *name;
    push_field *push;
} fields[] = {
    {"method", push_method}, {"path", push_path},       {"params", push_empty},
    {"query", push_query},   {"headers", push_headers}, {"cookies", push_cookies},
    {"body", push_body},     {"json", push_json},       {"ip", push_ip},
    {"secure", push_secure}, {"time", push_time},       {"user", push_user},
    {"auth", push_auth},
};

/* Upvalue 1: name -> number of the field. */
static int request_index(lua_State *L) {
    const struct request *r = request_check(L, 1, NULL);
    lua_settop(L, 2);
    lua_getiuservalue(L, 1, 1);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, 3) != LUA_TNIL) {
        return 1;
    }
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNUMBER) {
        return luaL_error(L, "a request has no '%s'", luaL_tolstring(L, 2, NULL));
    }
    fields[lua_tointeger(L, -1)].push(L, r);
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 3);
    return 1;
}

static int request_newindex(lua_State *L) {
    request_check(L, 1, NULL);
    if (lua_type(L, 2) != LUA_TSTRING || !span_is(binding_span(L, 2), "user")) {
        return luaL_error(L, "request.%s cannot be set; only request.user can",
                          luaL_tolstring(L, 2, NULL));
    }
    lua_settop(L, 3);
    lua_getiuservalue(L, 1, 1);
    lua_insert(L, 2);
    lua_rawset(L, 2);
    return 0;
}

/* Header names are kept in lower case; this finds them however they are written. */
static int headers_index(lua_State *L) {
    if (lua_type(L, 2) != LUA_TSTRING) {
        return 0;
    }
    struct span name = binding_span(L, 2);
    luaL_Buffer lower;
    char *at = luaL_buffinitsize(L, &lower, name.len);
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];
        at[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    luaL_pushresultsize(&lower, name.len);
    lua_rawget(L, 1);
    return 1;
}

static const luaL_Reg functions[] = {
    {"__newindex", request_newindex},
    {"__gc", request_free},
    {NULL, NULL},
};

void lib_request_open(lua_State *L) {
    struct hooks *hooks = script_of(L)->hooks;
    type_new(L, TYPE_REQUEST, "request", functions);
    lua_newtable(L);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        lua_pushinteger(L, (lua_Integer)i);
        lua_setfield(L, -2, fields[i].name);
    }
    lua_pushcclosure(L, request_index, 1);
    lua_setfield(L, -2, "__index");

    lua_newtable(L);
    lua_pushcfunction(L, headers_index);
    lua_setfield(L, -2, "__index");
    hooks->header_type = luaL_ref(L, LUA_REGISTRYINDEX);
}
