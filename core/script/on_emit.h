/* The hook on_emit(to, event, ...): hears what Lua emits into its namespace, once for each
 * publication and before it goes out. */
#ifndef MOONWIRE_SCRIPT_ON_EMIT_H
#define MOONWIRE_SCRIPT_ON_EMIT_H

#include "script/hooks.h"

/* For a method behind `self`: its arguments from 2 to `last` are the event and what goes with it,
 * `to` is the index of whom it goes to. Leaves the stack as it was. The hook's errors are logged;
 * what raises is a wrong event's name, or a want of memory. The hook may have emitted: values in
 * the script's writers are lost. */
void on_emit_call(lua_State *L, struct scope *scope, int to, int last);

static inline void on_emit(lua_State *L, struct scope *scope, int to, int last) {
    if (hooks_handler(scope->ns)->hooks[HOOK_EMIT] != LUA_NOREF) {
        on_emit_call(L, scope, to, last);
    }
}

#endif
