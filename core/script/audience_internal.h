/* What lib_room.c and lib_gather.c share of an audience; nobody else includes this. */
#ifndef MOONWIRE_SCRIPT_AUDIENCE_INTERNAL_H
#define MOONWIRE_SCRIPT_AUDIENCE_INTERNAL_H

#include "script/audience.h"

#define MAX_ROOMS 256     /* in one mw.rooms */
#define CLOSE_NORMAL 1000 /* RFC 6455 section 7.4.1 */

/* Uservalue 1: the scope's userdata. Uservalue 2: the client to leave out (CLIENT: who is meant).
 */
struct audience {
    struct scope *scope;
    uint64_t timeout; /* ms, of request; 0: the default */
    uint32_t bytes;   /* of name */
    uint32_t count;   /* ROOMS: how many names */
    uint8_t kind;
    bool is_volatile;
    char name[];
};

struct audience *audience_check(lua_State *L, const char *method);
struct span audience_name(const struct audience *a);
/* The clients in it without `except`, in memory that a userdata pushed on the stack holds. Valid
 * until Lua waits. */
struct client **audience_clients(lua_State *L, const struct audience *a,
                                 const struct client *except, size_t *count);

/* Why a client is sent away, where the handler does not say: Socket.IO has words for it. */
const char *disconnect_reason(const struct client *c);

int gather_count(lua_State *L);
int gather_members(lua_State *L);
int gather_clients(lua_State *L);
int gather_history(lua_State *L);

#endif
