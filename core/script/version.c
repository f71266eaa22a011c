/* Loads the app's files into versions (see version.h). Called by script.c, which decides when; and
 * by environment.c, which tells the files that are required. */
#include "script/version.h"

#include "base/memory.h"
#include "script/lib_core.h"
#include "script/task.h"

#include <stdlib.h>
#include <string.h>

/* --- life ------------------------------------------------------------------------------------- */

static struct version *version_new(struct script *s) {
    struct version *v = memory_zalloc(sizeof(*v));
    v->refs = 1;
    v->script = s;
    v->env = (struct environment){LUA_NOREF, LUA_NOREF, LUA_NOREF};
    v->value = LUA_NOREF;
    v->spawned = LUA_NOREF;
    return v;
}

struct version *version_ref(struct version *v) {
    v->refs++;
    return v;
}

void version_unref(struct version *v) {
    if (v == NULL || --v->refs > 0) {
        return;
    }
    struct script *s = v->script;
    if (v->handlers != NULL) {
        v->free_handlers(s, v->handlers);
    }
    environment_release(s->L, &v->env);
    luaL_unref(s->L, LUA_REGISTRYINDEX, v->value);
    luaL_unref(s->L, LUA_REGISTRYINDEX, v->spawned);
    for (size_t i = 0; i < v->file_count; i++) {
        free(v->files[i]);
    }
    free(v->files);
    free(v);
}

void version_add_file(struct version *v, const char *path) {
    for (size_t i = 0; i < v->file_count; i++) {
        if (strcmp(v->files[i], path) == 0) {
            return;
        }
    }
    v->files = memory_resize(v->files, (v->file_count + 1) * sizeof(*v->files));
    v->files[v->file_count++] = memory_strdup(path);
    const struct script *s = v->script;
    if (v == s->version && s->env.on_file) {
        s->env.on_file(s->env.data, path);
    }
}

struct version *version_current(const struct script *s) {
    const struct task *task = task_current(s);
    return task != NULL ? task->version : NULL;
}

/* --- loading ---------------------------------------------------------------------------------- */

struct loading {
    struct script *s;
    struct version *v;
    struct writer *error;
    int result;
};

static int begin_loading(lua_State *L, void *data) {
    struct loading *loading = data;
    const char *path = loading->s->path;
    environment_open(L, path);
    environment_save(L, &loading->v->env);
    if (luaL_loadfilex(L, path, NULL) != LUA_OK) {
        lua_error(L);
    }
    return 0;
}

static void end_loading(lua_State *L, void *data, int first) {
    struct loading *loading = data;
    lua_settop(L, first);
    loading->v->value = luaL_ref(L, LUA_REGISTRYINDEX);
    loading->result = 0;
}

static void tell_failure(void *data, struct span message, struct span lines) {
    struct loading *loading = data;
    writer_put_span(loading->error, message);
    if (lines.len > 0) {
        writer_puts(loading->error, "\n  at ");
        writer_put_span(loading->error, lines);
    }
}

static int put_in_force(lua_State *L) {
    environment_restore(L, lua_touserdata(L, 1));
    return 0;
}

/* At once, for other tasks may be ready and run before task_run has returned. */
static void done_loading(void *data, enum task_end how) {
    struct script *s = ((struct loading *)data)->s;
    (void)how;
    s->loading = NULL;
    if (s->version != NULL) {
        (void)task_protect(s, put_in_force, &s->version->env);
    }
}

static const struct task_kind load_file = {.hook = HOOK_LOAD,
                                           .begin = begin_loading,
                                           .end = end_loading,
                                           .done = done_loading,
                                           .failed = tell_failure};

int version_load(struct script *s, struct version **out, struct writer *error) {
    struct loading loading = {s, version_new(s), error, UV_EINVAL};
    *out = loading.v;
    version_add_file(loading.v, s->path);
    size_t before = writer_len(error);
    s->loading = loading.v;
    task_run(s, &load_file, &loading, loading.v, NULL);
    if (loading.result != 0 && writer_len(error) == before) {
        writer_printf(error, "%s: not enough memory to begin loading it", s->path);
    }
    return loading.result;
}

void version_commit(struct script *s, struct version *v) {
    struct version *before = s->version;
    s->version = version_ref(v);
    v->number = ++s->version_count;
    (void)task_protect(s, put_in_force, &v->env);
    version_unref(before);
    core_begin_spawned(s, v);
}
