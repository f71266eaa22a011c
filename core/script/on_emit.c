/* Calls on_emit within the call that emits (on_emit.h). It runs in the namespace that is spoken to,
 * as that table's other hooks do, whoever speaks. Called by lib_room.c and lib_client.c. */
#include "script/on_emit.h"
#include "script/binding.h"
#include "script/traceback.h"

/* What went wrong, as the message handler has seen it. */
struct failure {
    struct writer message;
    struct writer lines;
};

/* The message handler of the call. Upvalue 1: the failure. */
static int explain(lua_State *L) {
    struct failure *failure = lua_touserdata(L, lua_upvalueindex(1));
    lua_settop(L, 1);
    traceback_lines(L, &failure->lines);
    traceback_message(script_of(L), L, &failure->message);
    lua_pushnil(L);
    return 1;
}

static void log_failure(const struct scope *scope, struct span event,
                        const struct failure *failure) {
    struct log_line line;
    log_begin(&line, scope->hooks->script->env.log, LOG_ERROR, "handler failed");
    log_field(&line, "hook", span_of(hook_name(HOOK_EMIT)));
    log_field(&line, "event", event);
    log_field(&line, "namespace", ns_name(scope->ns));
    log_field(&line, "error", writer_span(&failure->message));
    if (writer_len(&failure->lines) > 0) {
        log_field(&line, "at", writer_span(&failure->lines));
    }
    log_end(&line);
}

/* The function and its arguments are on the stack, the message handler at its index. */
static int call(lua_State *L, struct scope *scope, int nargs, int handler) {
    struct hooks *hooks = scope->hooks;
    struct task *task = task_current(hooks->script);
    struct task_scope *before = task ? task->scope : NULL;
    scope->base.refs++;
    hooks->in_on_emit = true;
    if (task) {
        task->scope = &scope->base;
    }
    int status = task_pcall_hook(hooks->script, L, nargs, handler, "on_emit");
    if (task) {
        task->scope = before;
    }
    hooks->in_on_emit = false;
    scope_unref(scope);
    return status;
}

void on_emit_call(lua_State *L, struct scope *scope, int to, int last) {
    struct metrics *metrics = scope->hooks->script->env.metrics;
    struct span event = binding_check_span(L, 2);
    struct failure failure = {.message = {NULL}};
    int top = lua_gettop(L);
    if (scope->hooks->in_on_emit) {
        return;
    }
    luaL_checkstack(L, last + 4, "too many arguments");
    lua_pushlightuserdata(L, &failure);
    lua_pushcclosure(L, explain, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, hooks_handler(scope->ns)->hooks[HOOK_EMIT]);
    lua_pushvalue(L, to);
    for (int i = 2; i <= last; i++) {
        lua_pushvalue(L, i);
    }
    metrics->handler_calls[HOOK_EMIT]++;
    if (call(L, scope, last, top + 1) != LUA_OK) {
        metrics->handler_errors[HOOK_EMIT]++;
        /* Lua calls no message handler when memory is short. */
        if (writer_len(&failure.message) == 0) {
            traceback_message(scope->hooks->script, L, &failure.message);
        }
        log_failure(scope, event, &failure);
    }
    writer_deinit(&failure.message);
    writer_deinit(&failure.lines);
    lua_settop(L, top);
}
