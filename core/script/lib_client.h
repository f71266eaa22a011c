/* The type of the client's Lua object, and finding one by its id. */
#ifndef MOONWIRE_SCRIPT_LIB_CLIENT_H
#define MOONWIRE_SCRIPT_LIB_CLIENT_H

#include <lua.h>

void lib_client_open(lua_State *L); /* makes the types */
int lib_client_find(lua_State *L);  /* Lua: mw.client(id) */

#endif
