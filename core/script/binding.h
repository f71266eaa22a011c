/* The C half of the Lua library. Each part of `moonwire` is a file lib_x.c with one luaL_Reg table
 * and a luaopen function, listed in libs.c under the name by which lua/moonwire/init.lua (or
 * another file of lua/) requires it: "moonwire.core". A part is opened anew in every version, so
 * that versions share no table; metatables of userdata are made once (luaL_newmetatable) and stay.
 */
#ifndef MOONWIRE_SCRIPT_BINDING_H
#define MOONWIRE_SCRIPT_BINDING_H

#include "script/state.h"

struct lib {
    const char *name; /* what `require` takes */
    lua_CFunction open;
};
extern const struct lib libs[]; /* ends with a NULL name */

/* Pushes nil, code and (if it is not NULL) detail: `return binding_refuse(L, "closed", NULL);` */
int binding_refuse(lua_State *L, const char *code, const char *detail);
/* A duration argument in seconds, as milliseconds: raises unless it is a finite number from 0 to
 * ten years; rounds up, so that a wait is never shorter than asked. */
uint64_t binding_seconds(lua_State *L, int arg);
/* The string at an index, borrowed while it is there. */
struct span binding_span(lua_State *L, int index);
/* As luaL_checkstring, but of text that may hold NUL. */
struct span binding_check_span(lua_State *L, int arg);

/* One log line without fields of its own; it carries the version. */
void binding_log(struct script *s, enum log_level level, const char *text);

int luaopen_moonwire_core(lua_State *L);   /* sleep, spawn, log, env, now, iso, state */
int luaopen_moonwire_http(lua_State *L);   /* the request that lua/moonwire/http.lua stands on */
int luaopen_moonwire_crypto(lua_State *L); /* mw.crypto */
int luaopen_moonwire_jwt(lua_State *L);    /* what lua/moonwire/jwt.lua stands on */

#endif
