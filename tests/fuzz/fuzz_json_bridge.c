/* Fuzzes core/script's JSON bridge: what decodes must encode, and decode again to the same values,
 * alone and as a list of arguments. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "script/json_bridge.h"
#include "script/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A float beyond 2^53 is written as JavaScript does, and reads back as an integer near it: the same
 * float, but not the same number to Lua. */
static const char compare[] =
    "local a, b = ... "
    "local function same(x, y) "
    "  if type(x) == 'number' and type(y) == 'number' then return x + 0.0 == y + 0.0 end "
    "  if type(x) ~= 'table' then return x == y end "
    "  if type(y) ~= 'table' or getmetatable(x) ~= getmetatable(y) then return false end "
    "  for k, v in pairs(x) do if not same(v, y[k]) then return false end end "
    "  for k in pairs(y) do if x[k] == nil then return false end end "
    "  return true "
    "end "
    "assert(same(a, b))";

static struct {
    uv_loop_t loop;
    struct config config;
    struct metrics metrics;
    struct io io;
    struct log log;
    struct script script;
    int compare;
} world;

static int load_compare(lua_State *L) {
    if (luaL_loadstring(L, compare) != LUA_OK) {
        lua_error(L);
    }
    world.compare = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void make_world(void) {
    uv_loop_init(&world.loop);
    config_init(&world.config);
    world.config.handler_budget = 0;
    io_init(&world.io, &world.loop, &world.config, &world.metrics);
    world.log = (struct log){LOG_INFO, false, 2};
    struct script_env env = {
        .io = &world.io, .config = &world.config, .log = &world.log, .metrics = &world.metrics};
    int r = state_open(&world.script, &env, "app.lua");
    assert(r == 0);
    r = task_protect(&world.script, load_compare, NULL);
    assert(r == 0);
}

/* Everything at the index and above was decoded; 1 is the input. */
static void check_round_trip(lua_State *L, int first, int last) {
    struct json_fault fault;
    struct span text = json_write(L, first, last, "value");
    lua_pushlstring(L, text.at, text.len); /* the writer is used again */
    text.at = lua_tolstring(L, -1, &text.len);
    int count = json_push_values(L, text, (struct span){NULL, 0}, &fault);
    assert(count == last - first + 1);
    for (int i = 0; i < count; i++) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, world.compare);
        lua_pushvalue(L, first + i);
        lua_pushvalue(L, last + 2 + i);
        lua_call(L, 2, 0);
    }
}

static int try_both(lua_State *L) {
    const struct span *text = lua_touserdata(L, 1);
    struct json_fault fault;
    int alone = json_push(L, *text, &fault);
    if (alone == 1) {
        check_round_trip(L, 2, 2);
    } else {
        assert(fault.what != NULL && fault.offset <= text->len && lua_gettop(L) == 1);
    }
    lua_settop(L, 1);
    int count = json_push_values(L, *text, (struct span){NULL, 0}, &fault);
    assert(alone != 1 || count == 1);
    if (count > 0) {
        luaL_checkstack(L, 2 * count + 10, "list");
        check_round_trip(L, 2, 1 + count);
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (world.script.L == NULL) {
        make_world();
    }
    struct span text = {(const char *)data, size};
    int r = task_protect(&world.script, try_both, &text);
    assert(r == 0);
    return 0;
}
