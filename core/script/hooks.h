/* What the hooks of a worker share: the app's functions, the scopes that tell a running handler its
 * namespace, the types of the Lua objects. hooks.c fills the app in; session.c, ask.c, timers.c and
 * the lib_*.c files about clients and rooms stand on this. */
#ifndef MOONWIRE_SCRIPT_HOOKS_H
#define MOONWIRE_SCRIPT_HOOKS_H

#include "base/table.h"
#include "script/handler.h"
#include "script/task.h"

struct timer;
struct expiries;

/* What a task is about: the namespace that mw.room means, kept in existence. One per namespace,
 * shared by its clients, tasks and Lua objects. */
struct scope {
    struct task_scope base;
    struct hooks *hooks;
    struct ns *ns; /* owns a reference */
    UT_hash_handle hh;
};

/* The types of our userdata. */
enum type {
    TYPE_CLIENT,
    TYPE_ROOMS,    /* client.rooms */
    TYPE_AUDIENCE, /* a room, rooms, a user, a namespace, a client with options */
    TYPE_SCOPE,    /* never seen by users: what keeps an audience's scope */
    TYPE_REQUEST,
    TYPE_ASK, /* never seen by users: what waits for clients' answers */
    TYPE_COUNT
};

struct hooks {
    struct app app;
    struct script *script;
    struct scope *scopes;          /* by namespace */
    const void *types[TYPE_COUNT]; /* the metatables, to compare with */
    int type_refs[TYPE_COUNT];     /* in the registry */
    int scope_objects;             /* weak tables: scope -> its userdata, */
    int client_objects;            /* session -> its client's object, until it has to stay */
    int header_type;               /* metatable of request.headers */
    uint64_t ask_count;            /* ids of requests to clients */
    bool in_on_emit;               /* the hook runs; what it emits is not told to it */
    struct writer allow;           /* of the last resolve */
    struct buf *no_auth;           /* "{}": what most clients present, kept once */
    LIST_HEAD(, timer) timers;
    struct expiries *expiries; /* identities that end; NULL until there is one */
    /* The request whose on_request has just allowed it, and its Lua object, which may carry what
     * the guard has set: only while the question is being answered. */
    const struct request *guarded;
    int guarded_object;
};

int hooks_open(struct script *s); /* 0 or UV_ENOMEM */
/* A version has gone into service; the one before is still there: namespaces, timers and static
 * folders follow, then on_reload. */
void hooks_commit(struct script *s);
void hooks_stop(struct script *s);
void hooks_close(struct script *s); /* after the Lua state has been closed */

/* A new reference to the scope of a namespace. */
struct scope *scope_get(struct hooks *hooks, struct ns *ns);
void scope_unref(struct scope *scope); /* NULL is allowed */
/* The scope of a table, whose namespace is made if need be; NULL where its namespace has
 * parameters. A new reference. */
struct scope *scope_of_handler(struct hooks *hooks, const struct handler *h);
/* Finds the namespace at this path or makes it, with the settings of the tables in service. */
struct ns *hooks_find_ns(struct hooks *hooks, struct span path);
/* The table that serves a namespace at the moment: never NULL once a version is in service. */
struct handler *hooks_handler(const struct ns *ns);

/* Makes the metatable of a type, with these functions, and leaves it on the stack. */
void type_new(lua_State *L, enum type type, const char *name, const luaL_Reg *functions);
/* A new userdata of the type on the stack. */
void *type_push(lua_State *L, enum type type, size_t size, int uservalues);
/* The userdata of that type; raises an error that names what was called. */
void *type_check(lua_State *L, int arg, enum type type, const char *called);

int luaopen_moonwire_hub(lua_State *L); /* room, rooms, user, client, namespace, sse */

#endif
