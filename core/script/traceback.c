/* Error values and stacks as text (see traceback.h). Written with lua_getinfo into a writer of C's
 * and not with luaL_traceback, so that it needs none of Lua's memory, which may be what is missing,
 * and leaves out the lines of C and of our own library. Called by task.c, where errors end. */
#include "script/traceback.h"

#include "script/alloc.h"
#include "script/json_bridge.h"
#include "script/task.h"

#include <string.h>

#define MAX_LINES 20

/* On the main thread: the error value that is neither text nor number, as text. */
static int describe(lua_State *L) {
    if (luaL_getmetafield(L, 1, "__tostring") == LUA_TNIL && lua_istable(L, 1)) {
        struct span json = json_write(L, 1, 1, "error");
        lua_pushlstring(L, json.at, json.len);
    } else {
        luaL_tolstring(L, 1, NULL);
    }
    return 1;
}

void traceback_message(struct script *s, lua_State *L, struct writer *out) {
    size_t len;
    const char *text;
    int main_top = lua_gettop(s->L);

    if (lua_type(L, -1) == LUA_TSTRING) {
        text = lua_tolstring(L, -1, &len);
        writer_put(out, text, len);
        lua_pop(L, 1);
        return;
    }
    alloc_use_reserve(s->alloc, true);
    if (lua_checkstack(s->L, 4)) {
        lua_pushcfunction(s->L, describe);
        if (L != s->L) {
            lua_xmove(L, s->L, 1);
        } else {
            lua_rotate(L, -2, 1);
            main_top--;
        }
        if (task_pcall(s, s->L, 1, 1) == LUA_OK && lua_type(s->L, -1) == LUA_TSTRING) {
            text = lua_tolstring(s->L, -1, &len);
            writer_put(out, text, len);
        } else {
            writer_puts(out, "an error value that cannot be shown");
        }
    }
    lua_settop(s->L, main_top);
    alloc_use_reserve(s->alloc, false);
}

/* Chunks of the embedded library are named "=lua/moonwire/...". */
static bool is_ours(const lua_Debug *ar) {
    return *ar->what == 'C' || strncmp(ar->source, "=lua/", 5) == 0;
}

void traceback_lines(lua_State *L, struct writer *out) {
    lua_Debug ar;
    int lines = 0;
    for (int level = 0; lua_getstack(L, level, &ar); level++) {
        lua_getinfo(L, "nSl", &ar);
        if (is_ours(&ar)) {
            continue;
        }
        writer_puts(out, lines > 0 ? " < " : "");
        if (lines++ == MAX_LINES) {
            writer_puts(out, "...");
            return;
        }
        writer_printf(out, "%s:%d in ", ar.short_src, ar.currentline);
        if (*ar.what == 'm') {
            writer_puts(out, "the main chunk");
        } else if (*ar.namewhat != '\0') {
            writer_printf(out, "%s '%s'", ar.namewhat, ar.name);
        } else {
            writer_printf(out, "the function at line %d", ar.linedefined);
        }
    }
}
