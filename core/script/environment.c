/* See environment.h. Apps are their operator's own code, so this is no sandbox: it refuses what
 * would break the server (os.exit, __gc, hooks) and turns print into a log line. Lua's libraries
 * look globals and loaded modules up in the registry, so that a version is given its own by putting
 * them there while its files are loaded; the functions that load code later do the same first. */
#include "script/environment.h"

#include "script/binding.h"
#include "script/coroutine.h"
#include "script/embedded.h"
#include "script/version.h"

#include <lualib.h>
#include <string.h>

/* --- functions that differ from Lua's --------------------------------------------------------- */

/* Upvalue 1: the original setmetatable. */
static int refuse_gc(lua_State *L) {
    if (lua_istable(L, 2)) {
        lua_pushliteral(L, "__gc");
        if (lua_rawget(L, 2) != LUA_TNIL) {
            return luaL_error(
                L, "a metatable cannot have __gc here: use __close, or let the value go");
        }
        lua_pop(L, 1);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, LUA_MULTRET);
    return lua_gettop(L);
}

static int refuse_exit(lua_State *L) {
    return luaL_error(L, "os.exit would stop the server for everybody: use error()");
}

static int refuse_locale(lua_State *L) {
    return luaL_error(L, "os.setlocale would change how the whole server reads numbers");
}

static int refuse_hook(lua_State *L) {
    return luaL_error(L, "debug.sethook is taken: the server's watchdog uses it");
}

static int print_to_log(lua_State *L) {
    struct script *s = script_of(L);
    int n = lua_gettop(L);
    luaL_Buffer text;
    luaL_buffinit(L, &text);
    for (int i = 1; i <= n; i++) {
        luaL_tolstring(L, i, NULL);
        luaL_addvalue(&text);
        if (i < n) {
            luaL_addchar(&text, '\t');
        }
    }
    luaL_pushresult(&text);
    binding_log(s, LOG_INFO, lua_tostring(L, -1));
    return 0;
}

/* Upvalues: the original, globals, package.loaded. */
static int after_loading(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    return lua_gettop(L);
}

static int load_in_version(lua_State *L) {
    lua_pushvalue(L, lua_upvalueindex(2));
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_pushvalue(L, lua_upvalueindex(3));
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_callk(L, lua_gettop(L) - 1, LUA_MULTRET, 0, after_loading);
    return after_loading(L, LUA_OK, 0);
}

/* --- require ---------------------------------------------------------------------------------- */

/* Our own modules, in C or embedded. */
static int search_built_in(lua_State *L) {
    const char *name = luaL_checkstring(L, 1);
    for (const struct lib *lib = libs; lib->name != NULL; lib++) {
        if (strcmp(lib->name, name) == 0) {
            lua_pushcfunction(L, lib->open);
            lua_pushliteral(L, "built in");
            return 2;
        }
    }
    for (const struct embedded_module *m = embedded_modules; m->name != NULL; m++) {
        if (strcmp(m->name, name) == 0) {
            lua_pushfstring(L, "=%s", m->path);
            if (luaL_loadbufferx(L, (const char *)m->bytes, m->length, lua_tostring(L, -1), "t") !=
                LUA_OK) {
                return lua_error(L);
            }
            lua_pushstring(L, m->path);
            return 2;
        }
    }
    lua_pushfstring(L, "no built-in module '%s'", name);
    return 1;
}

/* Files on package.path, which the version remembers. Upvalue 1: package. */
static int search_files(lua_State *L) {
    struct version *v = version_current(script_of(L));
    const char *name = luaL_checkstring(L, 1);
    lua_getfield(L, lua_upvalueindex(1), "searchpath");
    lua_pushvalue(L, 1);
    lua_getfield(L, lua_upvalueindex(1), "path");
    lua_call(L, 2, 2);
    if (lua_isnil(L, -2)) {
        return 1; /* the places where it is not */
    }
    const char *path = lua_tostring(L, -2);
    if (v != NULL) {
        version_add_file(v, path);
    }
    if (luaL_loadfilex(L, path, NULL) != LUA_OK) {
        return luaL_error(L, "error loading module '%s' from file '%s':\n\t%s", name, path,
                          lua_tostring(L, -1));
    }
    lua_pushstring(L, path);
    return 2;
}

/* package is on top. Our searchers stand behind package.preload, the second one in the place of
 * Lua's own. */
static void install_searchers(lua_State *L) {
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = (lua_Integer)lua_rawlen(L, -1); i >= 2; i--) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -2, i + 1);
    }
    lua_pushcfunction(L, search_built_in);
    lua_rawseti(L, -2, 2);
    lua_pushvalue(L, -2);
    lua_pushcclosure(L, search_files, 1);
    lua_rawseti(L, -2, 3);
    lua_pop(L, 1);
}

/* package is on top. */
static void set_path(lua_State *L, const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash != NULL) {
        lua_pushlstring(L, path, (size_t)(slash - path));
    } else {
        lua_pushliteral(L, ".");
    }
    const char *dir = lua_tostring(L, -1);
    lua_getfield(L, -2, "path");
    lua_pushfstring(L, "%s/?.lua;%s/?/init.lua;%s", dir, dir, lua_tostring(L, -1));
    lua_setfield(L, -4, "path");
    lua_pop(L, 2);
}

/* --- all of it -------------------------------------------------------------------------------- */

static const luaL_Reg standard[] = {
    {LUA_GNAME, luaopen_base},
    {LUA_LOADLIBNAME, luaopen_package},
    {LUA_COLIBNAME, luaopen_moonwire_coroutine},
    {LUA_TABLIBNAME, luaopen_table},
    {LUA_IOLIBNAME, luaopen_io},
    {LUA_OSLIBNAME, luaopen_os},
    {LUA_STRLIBNAME, luaopen_string},
    {LUA_MATHLIBNAME, luaopen_math},
    {LUA_UTF8LIBNAME, luaopen_utf8},
    {LUA_DBLIBNAME, luaopen_debug},
};

/* In the table on top. */
static void set_function(lua_State *L, const char *name, lua_CFunction function) {
    lua_pushcfunction(L, function);
    lua_setfield(L, -2, name);
}

static void wrap_gc_refusal(lua_State *L) {
    lua_getfield(L, -1, "setmetatable");
    lua_pushcclosure(L, refuse_gc, 1);
    lua_setfield(L, -2, "setmetatable");
}

/* Globals are on top. */
static void wrap_loaders(lua_State *L) {
    static const char *const names[] = {"require", "load", "loadfile", "dofile"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        lua_getfield(L, -1, names[i]);
        lua_pushvalue(L, -2);
        lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
        lua_pushcclosure(L, load_in_version, 3);
        lua_setfield(L, -2, names[i]);
    }
}

void environment_open(lua_State *L, const char *path) {
    lua_newtable(L);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    for (size_t i = 0; i < sizeof(standard) / sizeof(*standard); i++) {
        luaL_requiref(L, standard[i].name, standard[i].func, 1);
        lua_pop(L, 1);
    }

    lua_pushglobaltable(L);
    set_function(L, "print", print_to_log);
    wrap_gc_refusal(L);
    wrap_loaders(L);
    lua_getfield(L, -1, LUA_LOADLIBNAME);
    install_searchers(L);
    set_path(L, path);
    lua_getfield(L, -2, LUA_OSLIBNAME);
    set_function(L, "exit", refuse_exit);
    set_function(L, "setlocale", refuse_locale);
    lua_getfield(L, -3, LUA_DBLIBNAME);
    set_function(L, "sethook", refuse_hook);
    wrap_gc_refusal(L);
    lua_pop(L, 4);
}

void environment_save(lua_State *L, struct environment *env) {
    lua_pushglobaltable(L);
    env->globals = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_getfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    env->loaded = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1);
    env->strings = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
}

void environment_restore(lua_State *L, const struct environment *env) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, env->globals);
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_rawgeti(L, LUA_REGISTRYINDEX, env->loaded);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
    lua_pushliteral(L, "");
    lua_rawgeti(L, LUA_REGISTRYINDEX, env->strings);
    lua_setmetatable(L, -2);
    lua_pop(L, 1);
}

void environment_release(lua_State *L, struct environment *env) {
    luaL_unref(L, LUA_REGISTRYINDEX, env->globals);
    luaL_unref(L, LUA_REGISTRYINDEX, env->loaded);
    luaL_unref(L, LUA_REGISTRYINDEX, env->strings);
    *env = (struct environment){LUA_NOREF, LUA_NOREF, LUA_NOREF};
}
