/* What the code of one version sees: Lua's standard libraries, fresh, with the few changes that a
 * server needs, and a `require` that finds our library, the app's files and Debian's lua-*
 * packages. Called by version.c, and by run_file.c for specs. */
#ifndef MOONWIRE_SCRIPT_ENVIRONMENT_H
#define MOONWIRE_SCRIPT_ENVIRONMENT_H

#include "script/state.h"

/* Makes new globals and a new package.loaded and makes them Lua's own (the registry's), for what is
 * loaded from now on. Modules are looked for beside `path` first. Raises for want of memory. */
void environment_open(lua_State *L, const char *path);

/* The three things that Lua has one of, and each version its own: globals, package.loaded and the
 * metatable of strings. */
struct environment {
    int globals; /* registry references; LUA_NOREF: none */
    int loaded;
    int strings;
};
/* Takes references to what is in force now. May raise. */
void environment_save(lua_State *L, struct environment *env);
/* Puts it in force again. May raise. */
void environment_restore(lua_State *L, const struct environment *env);
void environment_release(lua_State *L, struct environment *env); /* Never raises. */

#endif
