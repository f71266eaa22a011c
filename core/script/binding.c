/* What the parts of the library have in common (see binding.h): arguments and refusals. */
#include "script/binding.h"

#include <math.h>

#define TEN_YEARS (10 * 366 * 86400.0)

int binding_refuse(lua_State *L, const char *code, const char *detail) {
    lua_pushnil(L);
    lua_pushstring(L, code);
    if (detail == NULL) {
        return 2;
    }
    lua_pushstring(L, detail);
    return 3;
}

uint64_t binding_seconds(lua_State *L, int arg) {
    lua_Number seconds = luaL_checknumber(L, arg);
    luaL_argcheck(L, seconds >= 0 && seconds <= TEN_YEARS, arg, "not a number of seconds");
    return (uint64_t)ceil(seconds * 1000);
}

struct span binding_span(lua_State *L, int index) {
    struct span text = {NULL, 0};
    text.at = lua_tolstring(L, index, &text.len);
    return text;
}

struct span binding_check_span(lua_State *L, int arg) {
    struct span text;
    text.at = luaL_checklstring(L, arg, &text.len);
    return text;
}
