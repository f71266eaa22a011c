/* What the files about audiences (lib_room.c, lib_gather.c, except.c) and lib_client.c share of
 * them; nobody else includes this. */
#ifndef MOONWIRE_SCRIPT_AUDIENCE_INTERNAL_H
#define MOONWIRE_SCRIPT_AUDIENCE_INTERNAL_H

#include "script/audience.h"

#define MAX_ROOMS 256     /* in one mw.rooms */
#define MAX_EXCEPT 256    /* in one :except */
#define CLOSE_NORMAL 1000 /* RFC 6455 section 7.4.1 */

/* Uservalue 1: the scope's userdata. Uservalue 2: whom to leave out: nil, a client, or a list of
 * clients and names of rooms, which is never changed. CLIENT: the client that is meant. */
struct audience {
    struct scope *scope;
    uint64_t timeout; /* ms, of request; 0: the default */
    uint32_t bytes;   /* of name */
    uint32_t count;   /* ROOMS: how many names */
    uint8_t kind;
    bool is_volatile;
    bool is_durable; /* ROOM: emit and send wait for the commit */
    char name[];
};

struct audience *audience_check(lua_State *L, const char *method);
struct span audience_name(const struct audience *a);
/* The names in an audience of several rooms, into an array for MAX_ROOMS: how many. */
size_t audience_rooms_named(const struct audience *a, struct span *names);
/* Pushes the namespace; `except` is the stack index of a client's object, or 0. */
void audience_push_namespace(lua_State *L, struct scope *scope, int except);
/* A copy of the audience at index 1, for a modifier to change. */
struct audience *audience_push_copy(lua_State *L, const struct audience *a);

/* Whom the audience at index 1 leaves out, in memory of the caller's; NULL: nobody. Clients that
 * are gone for good are none. Valid while the audience is, until Lua waits. Does not raise. */
struct left_out {
    struct except except;
    struct client *clients[MAX_EXCEPT];
    struct span ids[MAX_EXCEPT];
    struct span rooms[MAX_EXCEPT];
};
const struct except *audience_except(lua_State *L, struct left_out *memory);
int except_method(lua_State *L); /* audience:except(...) */

/* The clients in the audience at index 1, each once, without those it leaves out, in memory that a
 * userdata pushed on the stack holds. Valid until Lua waits. */
struct client **audience_clients(lua_State *L, const struct audience *a, size_t *count);

/* Within a method `disconnect(reason, connection)`: sends one client away. */
void disconnect_client(lua_State *L, struct client *c);

int gather_count(lua_State *L);
int gather_members(lua_State *L);
int gather_clients(lua_State *L);
int gather_history(lua_State *L);
int gather_rooms(lua_State *L); /* of a namespace */

#endif
