/* Audiences: the light Lua objects that one speaks to: mw.room(name), mw.rooms{...}, mw.user(id),
 * mw.namespace(name), client:to(name), and a client with options (client:volatile()). An audience
 * is a name; it stays valid while nobody is there. */
#ifndef MOONWIRE_SCRIPT_AUDIENCE_H
#define MOONWIRE_SCRIPT_AUDIENCE_H

#include "script/session.h"

enum audience_kind {
    AUDIENCE_ROOM,
    AUDIENCE_ROOMS,
    AUDIENCE_USER,
    AUDIENCE_NAMESPACE,
    AUDIENCE_CLIENT,
    AUDIENCE_KINDS
};

/* Pushes the room; `except` is the stack index of a client's object, or 0. */
void audience_push_room(lua_State *L, struct scope *scope, struct span name, int except);
/* Pushes the client (its object is at the index) with one option set. */
void audience_push_client(lua_State *L, struct scope *scope, int client, bool is_volatile,
                          uint64_t timeout);
/* The argument as a room's name: raises unless it is one that hub_join would take. */
struct span audience_check_name(lua_State *L, int arg);
/* The scope of the running task; raises an error where there is none. */
struct scope *audience_scope(lua_State *L, const char *what);

/* Fill in the message from the arguments of a Lua function, behind self: emit(event, ...) and
 * send(data, kind). */
void audience_event(lua_State *L, struct message *m);
void audience_frame(lua_State *L, struct message *m);
void audience_open(lua_State *L); /* makes the types */

int audience_room(lua_State *L);      /* mw.room(name) */
int audience_rooms(lua_State *L);     /* mw.rooms{...} */
int audience_user(lua_State *L);      /* mw.user(id) */
int audience_namespace(lua_State *L); /* mw.namespace([name]) */

#endif
