/* Requests of ours to clients: an event with an id, whose answer a handler waits for. One ask may
 * go to many clients; it ends when all have answered, are gone, or the time is over. */
#ifndef MOONWIRE_SCRIPT_ASK_H
#define MOONWIRE_SCRIPT_ASK_H

#include "script/session.h"

#define ASK_TIMEOUT 10000 /* ms, where none was given */

/* Lua, as the last act of a C function: sends the event, whose arguments are the values at these
 * indices, to these clients, and waits. `single`: the results are the one client's
 * values, or nil and a code; otherwise a list of answers and a list of the clients that were silent
 * (lua/moonwire/types.lua describes them). */
int ask_clients(lua_State *L, struct hooks *hooks, struct client **clients, size_t count,
                struct span event, int first_arg, int last_arg, uint64_t timeout, bool single);
/* The client's answer. One to nothing that was asked is dropped. */
void ask_answer(struct session *s, uint64_t id, struct span args, struct span attachments,
                struct span error);
/* Everything that this client has been asked ends with this code. */
void ask_fail(struct session *s, const char *code);

int ask_free(lua_State *L); /* __gc */

#endif
