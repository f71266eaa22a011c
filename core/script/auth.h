/* on_auth: asked before there is a client, and again when its identity is about to end. */
#ifndef MOONWIRE_SCRIPT_AUTH_H
#define MOONWIRE_SCRIPT_AUTH_H

#include "script/hooks.h"

struct expiry;

void auth_fill_app(struct app *app);
/* The client has answered the question of expiry.c with these values, of which the first counts:
 * what request.auth becomes. Ends with expiry_refreshed. ack, which may be NULL, hears whether the
 * identity goes on. */
void auth_again(struct expiry *e, struct span args, struct span attachments, struct ack *ack);

/* Within Lua: the `id` of the user's table at the index as text, on top of the stack. Raises an
 * error if it is neither a string nor a whole number. */
const char *auth_user_id(lua_State *L, int user);
/* Within Lua: until when the user's table at the index holds, in seconds since 1970; EXPIRY_NEVER:
 * for ever. Raises an error if that is no time. */
double auth_expires(lua_State *L, int user);

#endif
