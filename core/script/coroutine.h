/* The library `coroutine`, with the same functions as Lua's own, in a form in which the running
 * coroutine is known to the watchdog, and what waits (mw.sleep) works inside coroutines that the
 * app makes: the wait passes through to the handler's own coroutine, and only the handler waits. */
#ifndef MOONWIRE_SCRIPT_COROUTINE_H
#define MOONWIRE_SCRIPT_COROUTINE_H

#include <lua.h>

int luaopen_moonwire_coroutine(lua_State *L);

#endif
