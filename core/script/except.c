/* audience:except(...): clients, rooms, and lists of both, that an audience leaves out. Its result
 * is an audience that remembers them (audience_internal.h); lib_room.c and lib_gather.c ask here
 * for what the hub is to know of it. */
#include "script/audience_internal.h"
#include "script/binding.h"

static struct client *client_of(const struct client_box *box) {
    return box->session ? box->session->client : NULL;
}

static bool is_of_type(lua_State *L, int index, enum type type) {
    bool same = false;
    if (lua_touserdata(L, index) && lua_getmetatable(L, index)) {
        same = lua_topointer(L, -1) == script_of(L)->hooks->types[type];
        lua_pop(L, 1);
    }
    return same;
}

/* --- remembering --- */

/* Appends the value on top of the stack, which it pops, to the list. */
static void append(lua_State *L, int list) {
    lua_Integer count = (lua_Integer)lua_rawlen(L, list);
    luaL_argcheck(L, count < MAX_EXCEPT, 2, "too many to leave out");
    lua_rawseti(L, list, count + 1);
}

/* A room that itself leaves somebody out is not the set of its members. */
static void append_room(lua_State *L, int index, int list, const struct scope *scope) {
    const struct audience *room = lua_touserdata(L, index);
    if (room->kind != AUDIENCE_ROOM) {
        luaL_argerror(L, 2, "of audiences only a room can be left out");
    }
    luaL_argcheck(L, room->scope == scope, 2, "the room is of another namespace");
    if (lua_getiuservalue(L, index, 2) != LUA_TNIL) {
        luaL_argerror(L, 2, "the room has exceptions of its own");
    }
    lua_pop(L, 1);
    lua_pushlstring(L, room->name, room->bytes);
    append(L, list);
}

static void append_value(lua_State *L, int index, int list, const struct scope *scope) {
    if (is_of_type(L, index, TYPE_AUDIENCE)) {
        append_room(L, index, list, scope);
        return;
    }
    if (!is_of_type(L, index, TYPE_CLIENT) && lua_type(L, index) != LUA_TSTRING) {
        luaL_error(L, "except: expected clients, rooms or their names, got a %s",
                   luaL_typename(L, index));
    }
    lua_pushvalue(L, index);
    append(L, list);
}

/* Appends an argument: one of these values, or a list of them. */
static void append_argument(lua_State *L, int arg, int list, const struct scope *scope) {
    if (!lua_istable(L, arg)) {
        append_value(L, arg, list, scope);
        return;
    }
    for (lua_Integer i = 1; lua_rawgeti(L, arg, i) != LUA_TNIL; i++) {
        append_value(L, lua_gettop(L), list, scope);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

int except_method(lua_State *L) {
    const struct audience *a = audience_check(L, "except");
    int last = lua_gettop(L);
    luaL_argcheck(L, last > 1, 2, "who is to be left out?");
    lua_newtable(L);
    int list = last + 1;
    if (lua_getiuservalue(L, 1, 2) == LUA_TNIL) {
        lua_pop(L, 1);
    } else {
        append_argument(L, list + 1, list, a->scope);
        lua_settop(L, list);
    }
    for (int arg = 2; arg <= last; arg++) {
        append_argument(L, arg, list, a->scope);
    }
    /* A client alone, which is what is left out most, needs no list. */
    if (lua_rawlen(L, list) == 1 && lua_rawgeti(L, list, 1) == LUA_TUSERDATA) {
        lua_replace(L, list);
    }
    lua_settop(L, list);
    audience_push_copy(L, a);
    lua_pushvalue(L, list);
    lua_setiuservalue(L, -2, 2);
    return 1;
}

/* --- telling --- */

/* Notes the entry on top of the stack, and pops it: the list keeps it. */
static void note(lua_State *L, struct left_out *out) {
    if (lua_type(L, -1) == LUA_TSTRING) {
        out->rooms[out->except.room_count++] = binding_span(L, -1);
    } else {
        const struct client_box *box = lua_touserdata(L, -1);
        struct client *c = client_of(box);
        if (c) {
            out->clients[out->except.client_count++] = c;
        } else if (box->session) { /* It may come back. */
            out->ids[out->except.id_count++] = span_of(box->id);
        }
    }
    lua_pop(L, 1);
}

const struct except *audience_except(lua_State *L, struct left_out *out) {
    int kind = lua_getiuservalue(L, 1, 2);
    if (kind == LUA_TNIL) {
        lua_pop(L, 1);
        return NULL;
    }
    out->except = (struct except){.clients = out->clients, .ids = out->ids, .rooms = out->rooms};
    if (kind == LUA_TUSERDATA) {
        note(L, out);
        return &out->except;
    }
    for (lua_Integer i = 1; lua_rawgeti(L, -1, i) != LUA_TNIL; i++) {
        note(L, out);
    }
    lua_pop(L, 2);
    return &out->except;
}
