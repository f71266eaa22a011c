/* Puts the Lua state and the hooks together: what script.h promises to the worker. Loading is
 * version.c's, the meaning of what was loaded handler.c's and hooks.c's. */
#include "script/script.h"
#include "base/memory.h"
#include "script/handler.h"
#include "script/hooks.h"
#include "script/version.h"

#include <stdlib.h>

int script_new(struct script **out, const struct script_env *env, const char *path) {
    struct script *s = memory_zalloc(sizeof *s);
    int error = state_open(s, env, path);
    if (error) {
        free(s);
        return error;
    }
    error = hooks_open(s);
    if (error) {
        state_close(s);
        hooks_close(s);
        free(s);
        return error;
    }
    *out = s;
    return 0;
}

struct app *script_app(struct script *script) {
    return &script->hooks->app;
}

void script_set_hub(struct script *script, struct hub *hub) {
    script->env.hub = hub;
}

/* --- reload --- */

int script_prepare(struct script *script, struct writer *error) {
    struct version *version;
    script_discard(script);
    int result = version_load(script, &version, error);
    if (result == 0) {
        result = handlers_compile(version, error);
    }
    if (result == 0 && script->env.need_store && handlers_need_store(version->handlers)) {
        result = script->env.need_store(script->env.data, error);
    }
    if (result == 0) {
        script->candidate = version;
    }
    version_unref(script->attempt);
    script->attempt = version_ref(version);
    if (result != 0) {
        version_unref(version);
    }
    return result;
}

void script_commit(struct script *script) {
    struct version *version = script->candidate;
    struct version *before = script->version ? version_ref(script->version) : NULL;
    script->candidate = NULL;
    version_commit(script, version);
    hooks_commit(script);
    version_unref(before);
    version_unref(version);
}

void script_discard(struct script *script) {
    version_unref(script->candidate);
    script->candidate = NULL;
}

unsigned script_version(const struct script *script) {
    return script->version ? script->version->number : 0;
}

static void visit_files(const struct version *version, void (*visit)(const char *path, void *data),
                        void *data) {
    for (size_t i = 0; version && i < version->file_count; i++) {
        visit(version->files[i], data);
    }
}

void script_each_file(const struct script *script, void (*visit)(const char *path, void *data),
                      void *data) {
    visit_files(script->version, visit, data);
    if (script->attempt != script->version) {
        visit_files(script->attempt, visit, data);
    }
}

/* --- the end --- */

void script_stop(struct script *script) {
    script_discard(script);
    hooks_stop(script);
    state_stop(script);
}

void script_free(struct script *script) {
    version_unref(script->attempt);
    state_close(script);
    hooks_close(script);
    free(script);
}
