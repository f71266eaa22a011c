/* A session: what the app keeps for a client (client->script), from on_auth to the end of
 * on_disconnect. Its line orders the client's handlers; its Lua object is made when Lua first sees
 * the client. */
#ifndef MOONWIRE_SCRIPT_SESSION_H
#define MOONWIRE_SCRIPT_SESSION_H

#include "script/hooks.h"
#include "script/line.h"

struct ask_leg;

/* Requests that a client has not answered. One that has answered all has no such block. */
struct session_asks {
    LIST_HEAD(, ask_leg) legs;
    uint32_t count;
    uint32_t awaited; /* by the running handler of this client */
};

struct session {
    struct line line;
    struct client *client;     /* NULL before it is connected and after its release */
    struct request *request;   /* the one it came with, kept; may be NULL */
    struct buf *auth;          /* what it presented, as JSON, where that is not in the request */
    struct scope *scope;       /* owns a reference */
    const struct item *item;   /* that is being handled; its data only until the handler begins */
    struct session_asks *asks; /* ask.c's; NULL: none */
    uint32_t counted;          /* of the line, in metrics->queued_events */
    int user;                  /* references in the registry, or LUA_NOREF: the user, */
    int object;                /* and the Lua object once it has to stay */
    bool begun : 1;            /* the item's handler has been called */
    bool answered : 1;         /* and the item's ack */
    bool guarded : 1;          /* on_event runs, and the event's handler has not begun */
    bool stopped : 1;          /* the transport has been told to stop reading */
    bool closed : 1;           /* on_close has been heard */
    bool released : 1;
    bool seen : 1;    /* Lua has had its object */
    bool expires : 1; /* its identity ends: expiry.c knows when */
};

/* The Lua object of a client. */
enum { CLIENT_USER = 1, CLIENT_DATA, CLIENT_VIEWS, CLIENT_USERVALUES = CLIENT_VIEWS };
struct client_box {
    struct session *session; /* NULL once it is released */
    char id[CLIENT_ID_LEN + 1];
};

/* Before there is a client. The request may be NULL. */
struct session *session_new(struct hooks *hooks, struct ns *ns, const struct request *request);
/* Of a client that never came to be. */
void session_drop(struct session *s);
/* The client's session, made if it has none. */
struct session *session_of(struct hooks *hooks, struct client *c);

/* Is it one of this client's own handlers that runs at the moment? */
bool session_is_running(const struct session *s);
/* The client about whose join to this room an on_join runs at the moment; NULL: none does. */
struct client *session_joining(const struct script *script, const struct ns *ns, struct span room);
/* That handler now waits for the client's answer, so that reading must go on. */
void session_await(struct session *s);
/* Ends a membership from Lua: was it in? on_leave follows in the line. */
bool session_leave(struct session *s, struct span room, const char *reason);

/* The running item's task is over. */
void session_done(void *session, enum task_end how);

/* Within Lua: pushes the client's object, or its user's table. */
void session_push_object(lua_State *L, struct session *s);
/* Within Lua: pushes a new object for a client that is to come, with this id. */
void session_push_early_object(lua_State *L, struct session *s, struct span id);
/* Within Lua: the client's object, at this index, holds something from now on and has to stay. */
void session_pin_object(lua_State *L, struct session *s, int index);
void session_push_user(lua_State *L, struct session *s);

/* Fills in the app's functions that concern a client. */
void session_fill_app(struct app *app);

#endif
