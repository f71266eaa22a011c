/* The app's functions that concern HTTP requests: where they lead, their guard, routes, and who the
 * asker is. */
#ifndef MOONWIRE_SCRIPT_HOOKS_HTTP_H
#define MOONWIRE_SCRIPT_HOOKS_HTTP_H

#include "script/hooks.h"

void hooks_http_fill_app(struct app *app);
/* Within Lua: the `id` of the user's table at the index as text, on top of the stack. Raises an
 * error if it is neither a string nor a whole number. */
const char *hooks_user_id(lua_State *L, int user);

#endif
