/* JSON text to Lua values (see json_bridge.h): the pull reader of base/json drives the stack. The
 * other direction is json_encode.c. Called by item.c for events, by ask.c and
 * lib_gather.c, and from Lua as mw.json.decode. */
#include "script/json_bridge.h"

#include "script/binding.h"

#define FIRST_VALUES 32 /* of an array, gathered on the stack to make the table in its size */
#define OBJECT_SIZE 4   /* keys that a new object has room for */

/* --- the marks -------------------------------------------------------------------------------- */

static void push_null(lua_State *L) {
    lua_pushlightuserdata(L, NULL);
}

bool json_is_null(lua_State *L, int index) {
    return lua_islightuserdata(L, index) && lua_touserdata(L, index) == NULL;
}

void json_mark_array(lua_State *L, int index) {
    index = lua_absindex(L, index);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->marks.array_ref);
    lua_setmetatable(L, index);
}

static int null_tostring(lua_State *L) {
    lua_pushstring(L, json_is_null(L, 1) ? "null" : "light userdata");
    return 1;
}

static int make_mark(lua_State *L, const char *name, const void **identity) {
    lua_createtable(L, 0, 1);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    *identity = lua_topointer(L, -1);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

void json_bridge_open(lua_State *L) {
    struct json_marks *marks = &script_of(L)->marks;
    marks->array_ref = make_mark(L, "mw.array", &marks->array);
    marks->object_ref = make_mark(L, "mw.object", &marks->object);
    /* All light userdata share one metatable; mw.null is the one that users meet. */
    push_null(L);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, null_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

/* --- decoding --------------------------------------------------------------------------------- */

/* The depth is bounded by the reader. Both leave the stack unbalanced when the text is wrong. */
static bool push_token(lua_State *L, struct json_reader *r, enum json_token token);

static bool push_object(lua_State *L, struct json_reader *r) {
    enum json_token token;
    luaL_checkstack(L, 4, "JSON");
    lua_createtable(L, 0, OBJECT_SIZE);
    while ((token = json_next(r)) == JSON_KEY) {
        lua_pushlstring(L, r->text.at, r->text.len);
        if (!push_token(L, r, json_next(r))) {
            return false;
        }
        lua_rawset(L, -3);
    }
    return token == JSON_OBJECT_END;
}

/* The values wait on the stack, above the place of the table. */
static void make_array(lua_State *L, int table, int count) {
    lua_createtable(L, count, 0);
    json_mark_array(L, -1);
    lua_replace(L, table);
    while (count > 0) {
        lua_rawseti(L, table, count--);
    }
}

static bool push_array(lua_State *L, struct json_reader *r) {
    enum json_token token;
    lua_Integer count = 0;
    luaL_checkstack(L, FIRST_VALUES + 4, "JSON");
    lua_pushnil(L);
    int table = lua_gettop(L);
    while ((token = json_next(r)) != JSON_ARRAY_END) {
        if (!push_token(L, r, token)) {
            return false;
        }
        count++;
        if (count == FIRST_VALUES) {
            make_array(L, table, FIRST_VALUES);
        } else if (count > FIRST_VALUES) {
            lua_rawseti(L, table, count);
        }
    }
    if (count < FIRST_VALUES) {
        make_array(L, table, (int)count);
    }
    return true;
}

static bool push_token(lua_State *L, struct json_reader *r, enum json_token token) {
    switch (token) {
    case JSON_OBJECT:
        return push_object(L, r);
    case JSON_ARRAY:
        return push_array(L, r);
    case JSON_STRING:
        lua_pushlstring(L, r->text.at, r->text.len);
        return true;
    case JSON_INTEGER:
        lua_pushinteger(L, r->integer);
        return true;
    case JSON_NUMBER:
        lua_pushnumber(L, r->number);
        return true;
    case JSON_TRUE:
    case JSON_FALSE:
        lua_pushboolean(L, token == JSON_TRUE);
        return true;
    case JSON_NULL:
        push_null(L);
        return true;
    default:
        return false;
    }
}

/* The script's reader: the one before it may have been left by an error of Lua's. */
static struct json_reader *fresh_reader(lua_State *L) {
    struct json_reader *r = &script_of(L)->reader;
    json_reader_deinit(r);
    return r;
}

static int refuse(lua_State *L, int top, const char *what, size_t offset,
                  struct json_fault *fault) {
    lua_settop(L, top);
    *fault = (struct json_fault){what, offset};
    return -1;
}

static int refuse_text(lua_State *L, int top, struct json_reader *r, struct json_fault *fault) {
    return refuse(L, top, r->error != NULL ? r->error : "a value is missing", json_offset(r),
                  fault);
}

int json_push(lua_State *L, struct span text, struct json_fault *fault) {
    struct json_reader *r = fresh_reader(L);
    int top = lua_gettop(L);
    luaL_checkstack(L, 2, "JSON");
    json_reader_init(r, text.at, text.len);
    if (!push_token(L, r, json_next(r)) || json_next(r) != JSON_END) {
        return refuse_text(L, top, r, fault);
    }
    return 1;
}

int json_push_list(lua_State *L, struct span text, struct json_fault *fault) {
    struct json_reader *r = fresh_reader(L);
    int top = lua_gettop(L);
    enum json_token token;
    json_reader_init_list(r, text.at, text.len);
    while ((token = json_next(r)) != JSON_END) {
        if (lua_gettop(L) - top == JSON_MAX_ARGS) {
            return refuse(L, top, "too many values", json_offset(r), fault);
        }
        luaL_checkstack(L, 2, "JSON");
        if (!push_token(L, r, token)) {
            return refuse_text(L, top, r, fault);
        }
    }
    return lua_gettop(L) - top;
}

/* --- mw.json ---------------------------------------------------------------------------------- */

static int encode(lua_State *L) {
    luaL_checkany(L, 1);
    struct span text = json_write(L, 1, 1, "value");
    lua_pushlstring(L, text.at, text.len);
    return 1;
}

static int decode(lua_State *L) {
    struct json_fault fault;
    struct span text = binding_check_span(L, 1);
    if (json_push(L, text, &fault) == 1) {
        return 1;
    }
    lua_pushnil(L);
    lua_pushliteral(L, "bad_json");
    lua_pushfstring(L, "%s at byte %I", fault.what, (lua_Integer)fault.offset + 1);
    return 3;
}

/* mw.array(t): the table, or a new one, carries the mark. */
static int mark(lua_State *L, int ref, const char *name) {
    if (lua_isnoneornil(L, 1)) {
        lua_settop(L, 0);
        lua_newtable(L);
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->marks.array_ref);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->marks.object_ref);
    if (lua_getmetatable(L, 1) && !lua_rawequal(L, -1, 2) && !lua_rawequal(L, -1, 3)) {
        return luaL_error(L, "%s: the table has another metatable", name);
    }
    lua_settop(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_setmetatable(L, 1);
    return 1;
}

static int mark_array(lua_State *L) {
    return mark(L, script_of(L)->marks.array_ref, "mw.array");
}

static int mark_object(lua_State *L) {
    return mark(L, script_of(L)->marks.object_ref, "mw.object");
}

static const luaL_Reg functions[] = {
    {"encode", encode},      {"decode", decode}, {"array", mark_array},
    {"object", mark_object}, {NULL, NULL},
};

int luaopen_moonwire_json(lua_State *L) {
    luaL_newlib(L, functions);
    push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
