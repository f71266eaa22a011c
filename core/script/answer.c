/* The meaning of returned values; see answer.h. Called by item.c for events and joins, and by
 * hooks_http.c for on_request, on_auth and routes. */
#include "script/answer.h"
#include "base/json.h"
#include "script/binding.h"
#include "script/json_bridge.h"

bool answer_is_error(lua_State *L, int first) {
    return lua_isnil(L, first) && lua_type(L, first + 1) == LUA_TSTRING;
}

void answer_read(lua_State *L, int first, struct reply *reply) {
    int top = lua_gettop(L);
    *reply = (struct reply){.argc = 0};
    if (answer_is_error(L, first)) {
        reply->code = binding_span(L, first + 1);
        if (reply->code.len == 0) {
            reply->code = SPAN("error");
        }
        if (!lua_isnoneornil(L, first + 2)) {
            reply->detail = json_write(L, first + 2, first + 2, "detail");
        }
        return;
    }
    reply->argc = (uint32_t)(top - first + 1);
    reply->args = json_write_values(L, first, top, "answer", &reply->attachments);
}

static void add_header(lua_State *L, struct response *response, struct span name, int index) {
    if (!lua_isstring(L, index)) {
        luaL_error(L, "the header '%s' is a %s: expected a string or a list of strings", name.at,
                   luaL_typename(L, index));
    }
    if (response_header(response, name, binding_span(L, index)) != 0) {
        luaL_error(L, "the header '%s' cannot be set, or its value holds a line break", name.at);
    }
}

static void add_headers(lua_State *L, struct response *response, int index, bool *typed) {
    luaL_argexpected(L, lua_istable(L, index), index, "table of headers");
    lua_pushnil(L);
    while (lua_next(L, index)) {
        if (lua_type(L, -2) != LUA_TSTRING) {
            luaL_error(L, "a header's name must be a string");
        }
        struct span name = binding_span(L, -2);
        *typed = *typed || span_equal_nocase(name, SPAN("content-type"));
        if (lua_istable(L, -1)) {
            lua_Integer count = luaL_len(L, -1);
            for (lua_Integer i = 1; i <= count; i++) {
                lua_rawgeti(L, -1, i);
                lua_pushvalue(L, -1);
                add_header(L, response, name, -1);
                lua_pop(L, 2);
            }
        } else {
            /* A copy, for a number becomes a string in place, which would upset lua_next. */
            lua_pushvalue(L, -1);
            add_header(L, response, name, -1);
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
}

static void set_body(struct response *response, struct span body) {
    response->body = buf_copy(body.at, body.len);
}

/* A string is text, a table (or mw.null) JSON, unless the headers say otherwise. */
static void add_body(lua_State *L, struct response *response, int index, bool typed) {
    struct span type = {NULL, 0};
    if (lua_isnoneornil(L, index)) {
        return;
    }
    if (lua_isstring(L, index)) {
        set_body(response, binding_span(L, index));
        type = SPAN("text/plain; charset=utf-8");
    } else {
        set_body(response, json_write(L, index, index, "body"));
        type = SPAN("application/json");
    }
    if (!typed) {
        (void)!response_header(response, SPAN("Content-Type"), type);
    }
}

void answer_error_http(struct response *response, struct span code, struct span detail) {
    struct writer body = {NULL};
    writer_puts(&body, "{\"error\":{\"code\":");
    if (json_put_string(&body, code) != 0) {
        writer_puts(&body, "\"error\"");
    }
    if (detail.len) {
        writer_puts(&body, ",\"detail\":");
        writer_put_span(&body, detail);
    }
    writer_puts(&body, "}}");
    response->status = status_of_code(code);
    response->body = writer_take(&body);
    (void)!response_header(response, SPAN("Content-Type"), SPAN("application/json"));
}

static int read_status(lua_State *L, int index) {
    int exact;
    lua_Integer status = lua_tointegerx(L, index, &exact);
    if (!exact || status < 200 || status > 599) {
        luaL_error(L, "the status must be a whole number from 200 to 599");
    }
    return (int)status;
}

void answer_read_http(lua_State *L, int first, struct response *response) {
    bool typed = false;
    int kind = lua_type(L, first);
    if (answer_is_error(L, first)) {
        struct reply reply;
        answer_read(L, first, &reply);
        answer_error_http(response, reply.code, reply.detail);
    } else if (kind == LUA_TNONE || kind == LUA_TNIL) {
        response->status = 204;
    } else if (kind == LUA_TNUMBER) {
        response->status = read_status(L, first);
        if (!lua_isnoneornil(L, first + 2)) {
            add_headers(L, response, first + 2, &typed);
        }
        add_body(L, response, first + 1, typed);
    } else if (kind == LUA_TSTRING || kind == LUA_TTABLE) {
        response->status = 200;
        add_body(L, response, first, false);
    } else {
        luaL_error(L, "expected status, body, headers (or a table, or a string), got a %s",
                   luaL_typename(L, first));
    }
}
