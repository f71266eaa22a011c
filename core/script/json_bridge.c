/* JSON text to Lua values (see json_bridge.h): the pull reader of base/json drives the stack. The
 * other direction is json_encode.c. Called by item.c for events, by ask.c and
 * lib_gather.c, and from Lua as mw.json.decode.
 * Binary values (mw.binary) are made here too. */
#include "script/json_bridge.h"

#include "hub/attachments.h"
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

/* A binary value is a table { bytes = "..." } of this type. */
static const char *binary_bytes(lua_State *L, int index, size_t *len) {
    lua_pushliteral(L, "bytes");
    lua_rawget(L, lua_absindex(L, index));
    const char *bytes = lua_type(L, -1) == LUA_TSTRING ? lua_tolstring(L, -1, len) : NULL;
    lua_pop(L, 1); /* the table still holds it */
    return bytes;
}

struct span json_binary(lua_State *L, int index) {
    struct span bytes = {NULL, 0};
    if (lua_istable(L, index) && lua_getmetatable(L, index)) {
        bool binary = lua_topointer(L, -1) == script_of(L)->marks.binary;
        lua_pop(L, 1);
        if (binary) {
            bytes.at = binary_bytes(L, index, &bytes.len);
        }
    }
    return bytes;
}

void json_push_binary(lua_State *L, struct span bytes) {
    lua_createtable(L, 0, 1);
    lua_pushlstring(L, bytes.len ? bytes.at : "", bytes.len);
    lua_setfield(L, -2, "bytes");
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->marks.binary_ref);
    lua_setmetatable(L, -2);
}

static int binary_tostring(lua_State *L) {
    struct span bytes = json_binary(L, 1);
    lua_pushlstring(L, bytes.at ? bytes.at : "", bytes.len);
    return 1;
}

static int binary_len(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)json_binary(L, 1).len);
    return 1;
}

static int binary_eq(lua_State *L) {
    struct span a = json_binary(L, 1), b = json_binary(L, 2);
    lua_pushboolean(L, a.at && b.at && span_equal(a, b));
    return 1;
}

static const luaL_Reg binary_functions[] = {
    {"__tostring", binary_tostring}, {"__len", binary_len}, {"__eq", binary_eq}, {NULL, NULL}};

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
    marks->binary_ref = make_mark(L, "mw.binary", &marks->binary);
    lua_rawgeti(L, LUA_REGISTRYINDEX, marks->binary_ref);
    luaL_setfuncs(L, binary_functions, 0);
    lua_pop(L, 1);
    /* All light userdata share one metatable; mw.null is the one that users meet. */
    push_null(L);
    lua_createtable(L, 0, 1);
    lua_pushcfunction(L, null_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

/* --- decoding --------------------------------------------------------------------------------- */

/* A text that is decoded, and the binary values that belong to it. */
struct decoder {
    struct json_reader *r;
    struct span attachments;
};

/* The depth is bounded by the reader. Both leave the stack unbalanced when the text is wrong. */
static bool push_token(lua_State *L, const struct decoder *d, enum json_token token);

/* If the object on top of the stack is a placeholder, puts what it stands for in its place. False:
 * that is nothing. */
static bool replace_placeholder(lua_State *L, const struct decoder *d) {
    struct span bytes;
    lua_getfield(L, -1, "_placeholder");
    lua_getfield(L, -2, "num");
    bool placeholder = lua_isboolean(L, -2) && lua_toboolean(L, -2);
    lua_Integer number = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : -1;
    lua_pop(L, 2);
    if (!placeholder) {
        return true;
    }
    if (number < 0 || !attachments_get(d->attachments, (uint64_t)number, &bytes)) {
        d->r->error = "a placeholder without its binary value";
        return false;
    }
    lua_pop(L, 1);
    json_push_binary(L, bytes);
    return true;
}

static bool push_object(lua_State *L, const struct decoder *d) {
    struct json_reader *r = d->r;
    enum json_token token;
    luaL_checkstack(L, 4, "JSON");
    lua_createtable(L, 0, OBJECT_SIZE);
    while ((token = json_next(r)) == JSON_KEY) {
        lua_pushlstring(L, r->text.at, r->text.len);
        if (!push_token(L, d, json_next(r))) {
            return false;
        }
        lua_rawset(L, -3);
    }
    if (d->attachments.len && token == JSON_OBJECT_END) {
        return replace_placeholder(L, d);
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

static bool push_array(lua_State *L, const struct decoder *d) {
    struct json_reader *r = d->r;
    enum json_token token;
    lua_Integer count = 0;
    luaL_checkstack(L, FIRST_VALUES + 4, "JSON");
    lua_pushnil(L);
    int table = lua_gettop(L);
    while ((token = json_next(r)) != JSON_ARRAY_END) {
        if (!push_token(L, d, token)) {
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

static bool push_token(lua_State *L, const struct decoder *d, enum json_token token) {
    const struct json_reader *r = d->r;
    switch (token) {
    case JSON_OBJECT:
        return push_object(L, d);
    case JSON_ARRAY:
        return push_array(L, d);
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
    struct decoder d = {r, {NULL, 0}};
    if (!push_token(L, &d, json_next(r)) || json_next(r) != JSON_END) {
        return refuse_text(L, top, r, fault);
    }
    return 1;
}

int json_push_values(lua_State *L, struct span text, struct span attachments,
                     struct json_fault *fault) {
    struct json_reader *r = fresh_reader(L);
    struct decoder d = {r, attachments};
    int top = lua_gettop(L);
    enum json_token token;
    json_reader_init_list(r, text.at, text.len);
    while ((token = json_next(r)) != JSON_END) {
        if (lua_gettop(L) - top == JSON_MAX_ARGS) {
            return refuse(L, top, "too many values", json_offset(r), fault);
        }
        luaL_checkstack(L, 2, "JSON");
        if (!push_token(L, &d, token)) {
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

/* mw.binary(s) */
static int make_binary(lua_State *L) {
    json_push_binary(L, binding_check_span(L, 1));
    return 1;
}

static const luaL_Reg functions[] = {
    {"encode", encode},      {"decode", decode},      {"array", mark_array},
    {"object", mark_object}, {"binary", make_binary}, {NULL, NULL},
};

int luaopen_moonwire_json(lua_State *L) {
    luaL_newlib(L, functions);
    push_null(L);
    lua_setfield(L, -2, "null");
    return 1;
}
