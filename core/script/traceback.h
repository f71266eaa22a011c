/* What to tell people about a Lua error: its message and the lines of their code that led to it. */
#ifndef MOONWIRE_SCRIPT_TRACEBACK_H
#define MOONWIRE_SCRIPT_TRACEBACK_H

#include "script/state.h"

/* Pops the error value from the top of L's stack and appends it in words. Never raises. */
void traceback_message(struct script *s, lua_State *L, struct writer *out);
/* Appends the lines of user code on L's stack, which is still as the error left it, innermost
 * first: "app.lua:3 in field 'say' < app.lua:9 in the main chunk". Never raises. */
void traceback_lines(lua_State *L, struct writer *out);

#endif
