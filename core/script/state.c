/* Opens and closes a worker's Lua (see state.h): the order in which its parts come and go. */
#include "script/state.h"

#include "base/memory.h"
#include "script/alloc.h"
#include "script/budget.h"
#include "script/environment.h"
#include "script/http_pool.h"
#include "script/json_bridge.h"
#include "script/lib_core.h"
#include "script/task.h"
#include "script/version.h"

#include <stdlib.h>

/* Whatever is not protected is a bug of ours: Lua would abort, and this says why. */
static int panic(lua_State *L) {
    const char *message = lua_tostring(L, -1);
    log_printf(script_of(L)->env.log, LOG_ERROR, "Lua error outside of a protected call: %s",
               message != NULL ? message : "?");
    return 0;
}

static void warn(void *data, const char *message, int to_continue) {
    struct script *s = data;
    if (*message != '@') {
        log_printf(s->env.log, LOG_WARN, "%s%s", message, to_continue ? "..." : "");
    }
}

static int set_up(lua_State *L) {
    json_bridge_open(L);
    environment_open(L, script_of(L)->path);
    return 0;
}

int state_open(struct script *s, const struct script_env *env, const char *path) {
    s->env = *env;
    s->path = memory_strdup(path);
    s->alloc = alloc_new(env->config->lua_memory);
    s->L = lua_newstate(alloc_lua, s->alloc);
    s->budget = budget_new(env->config->handler_budget);
    if (s->L == NULL || s->budget == NULL) {
        state_close(s);
        return UV_ENOMEM;
    }
    *(struct script **)lua_getextraspace(s->L) = s;
    lua_atpanic(s->L, panic);
    lua_setwarnf(s->L, warn, s);
    /* A server's objects live either for one event or for long; see design, "Memory and speed". */
    lua_gc(s->L, LUA_GCGEN, 0, 0);
    int r = tasks_open(s);
    if (r == 0) {
        r = task_protect(s, set_up, NULL);
    }
    if (r != 0) {
        state_stop(s);
        uv_run(env->io->loop, UV_RUN_NOWAIT); /* for the close callbacks */
        state_close(s);
    }
    return r;
}

void state_stop(struct script *s) {
    s->stopping = true;
    tasks_stop(s);
    core_stop(s);
    http_pool_stop(s->http);
}

void state_close(struct script *s) {
    if (s->tasks != NULL) {
        tasks_close(s);
    }
    version_unref(s->version);
    if (s->L != NULL) {
        lua_close(s->L);
    }
    http_pool_free(s->http);
    budget_free(s->budget);
    alloc_free(s->alloc);
    json_reader_deinit(&s->reader);
    writer_deinit(&s->json);
    writer_deinit(&s->attachments);
    free(s->path);
}

size_t script_memory(const struct script *s) {
    return alloc_used(s->alloc);
}
