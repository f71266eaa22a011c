/* script_run_file: a file of Lua run in the server's own runtime as lua(1) would run it, with
 * `arg`, `moonwire` and os.exit, and with the loop turning so that it may wait. The specs of the
 * library run so. Called by main.c. */
#include "script/task.h"

#include <lualib.h>
#include <stdio.h>

struct run {
    const char *path;
    int argc;
    char **argv;
    uv_loop_t *loop;
    int status;
    bool ended;
    struct wait forever; /* what a file waits for after os.exit */
};

static void cancel_nothing(struct wait *wait) {
    (void)wait;
}

static int never_resumed(lua_State *L, int status, lua_KContext ctx) {
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

/* A turn of the loop in which this happens may have nothing to poll for: it must not wait. */
static void end_with_status(struct run *run, int status) {
    run->status = status;
    run->ended = true;
    uv_stop(run->loop);
}

/* os.exit([code]): the file's coroutine is left where it is. */
static int end_run(lua_State *L) {
    struct run *run = lua_touserdata(L, lua_upvalueindex(1));
    int status = lua_isboolean(L, 1) ? !lua_toboolean(L, 1) : (int)luaL_optinteger(L, 1, 0);
    task_check_wait(L, "os.exit");
    end_with_status(run, status);
    return task_park(L, &run->forever, 0, never_resumed);
}

/* Output is for a terminal here, and not for the log. */
static int print_to_stdout(lua_State *L) {
    int n = lua_gettop(L);
    for (int i = 1; i <= n; i++) {
        size_t len;
        const char *text = luaL_tolstring(L, i, &len);
        fwrite(text, 1, len, stdout);
        putchar(i < n ? '\t' : '\n');
    }
    fflush(stdout);
    return 0;
}

static void set_globals(lua_State *L, struct run *run) {
    lua_getglobal(L, LUA_OSLIBNAME);
    lua_pushlightuserdata(L, run);
    lua_pushcclosure(L, end_run, 1);
    lua_setfield(L, -2, "exit");
    lua_createtable(L, run->argc, 1);
    lua_pushstring(L, run->path);
    lua_rawseti(L, -2, 0);
    for (int i = 0; i < run->argc; i++) {
        lua_pushstring(L, run->argv[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setglobal(L, "arg");
    lua_pushcfunction(L, print_to_stdout);
    lua_setglobal(L, "print");
}

static int begin_run(lua_State *L, void *data) {
    struct run *run = data;
    set_globals(L, run);
    lua_settop(L, 0);
    luaL_checkstack(L, run->argc + 1, "arguments");
    if (luaL_loadfilex(L, run->path, NULL) != LUA_OK) {
        lua_error(L);
    }
    for (int i = 0; i < run->argc; i++) {
        lua_pushstring(L, run->argv[i]);
    }
    return run->argc;
}

static void end_with(void *data, enum task_end how) {
    struct run *run = data;
    if (!run->ended) {
        end_with_status(run, how == TASK_RETURNED ? 0 : 1);
    }
}

static void show_failure(void *data, struct span message, struct span lines) {
    (void)data;
    fprintf(stderr, "moonwire: %.*s\n", (int)message.len, message.at);
    if (lines.len > 0) {
        fprintf(stderr, "  at %.*s\n", (int)lines.len, lines.at);
    }
}

static const struct task_kind run_file = {
    .hook = HOOK_LOAD, .begin = begin_run, .done = end_with, .failed = show_failure};

int script_run_file(struct script *s, const char *path, int argc, char **argv) {
    uv_loop_t *loop = s->env.io->loop;
    struct run run = {
        .path = path, .argc = argc, .argv = argv, .loop = loop, .forever = {NULL, cancel_nothing}};
    s->unlimited = true; /* a whole run of specs is one call */
    task_run(s, &run_file, &run, NULL, NULL);
    do {
        uv_run(loop, UV_RUN_ONCE);
    } while (!run.ended);
    tasks_abandon(s);
    return run.status;
}
