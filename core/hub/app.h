/* The only upward door: what the core asks the application. script/hooks.c answers with Lua; C
 * tests with functions. Whatever may wait takes an object through which the answer comes later;
 * every question is answered exactly once, even when the asker's connection has gone meanwhile.
 * Bytes given to a function are borrowed for the call. */
#ifndef MOONWIRE_HUB_APP_H
#define MOONWIRE_HUB_APP_H

#include "hub/message.h"

struct client;
struct ns;
struct request;  /* http/request.h */
struct exchange; /* http/http.h */
struct static_mount;
struct ns_settings; /* hub/hub.h */

enum hook {
    HOOK_LOAD,
    HOOK_REQUEST,
    HOOK_AUTH,
    HOOK_CONNECT,
    HOOK_MESSAGE,
    HOOK_EVENT,
    HOOK_ANY,  /* on_event, before each event's handler */
    HOOK_EMIT, /* on_emit, before what Lua emits goes out */
    HOOK_JOIN,
    HOOK_LEAVE,
    HOOK_DISCONNECT,
    HOOK_ROUTE,
    HOOK_TIMER,
    HOOK_RELOAD,
    HOOK_SPAWN,
    HOOK_COUNT
};
const char *hook_name(enum hook hook);

/* The result of an event handler or a join: values, or an error. */
struct reply {
    struct span args; /* JSON values separated by commas */
    uint32_t argc;
    struct span attachments; /* binary values in args, packed (hub/attachments.h) */
    struct span code;        /* an error if not empty */
    struct span detail;      /* JSON or empty */
    /* Of a join: */
    enum replay_result replay;
    struct span offset; /* where the client stands; empty in a room without history */
};

/* message_init, with what a reply to a client's event says; borrowed. */
void message_init_reply(struct message *m, const struct reply *reply);

/* Where a reply goes: made by the transport for an event that wants one. answer consumes it, and
 * may come after the client has gone. */
struct ack {
    void (*answer)(struct ack *ack, const struct reply *reply);
};

/* May this go on? Embedded by the asker. */
struct verdict {
    bool allowed;
    struct span code; /* refused: */
    struct span detail;
    const char *user_id; /* on_auth: NULL without the hook */
    void *script;        /* on_auth: becomes client.script, or goes back through drop_session */
};
struct question {
    void (*answer)(struct question *q, const struct verdict *verdict);
};

/* Where a request leads, as far as the tables say. Valid only until the app may run again: resolve
 * anew after waiting. */
enum target_kind {
    TARGET_NONE,
    TARGET_ROUTE,
    TARGET_METHOD, /* a route's path with another method: 405 with `allow` */
    TARGET_NS,     /* the path of a namespace's endpoint */
};
struct target {
    enum target_kind kind;
    void *route;                        /* the app's */
    struct span allow;                  /* "GET, POST" */
    const struct ns_settings *settings; /* of the table that owns it (NONE: that of the static
                                           folder, or the first); origins are there */
};

struct app {
    /* Static folders of all tables (http/static.h), swapped at a reload. */
    const struct static_mount *mounts;
    size_t mount_count;

    void (*resolve)(struct app *app, const struct request *r, struct target *target);
    /* The guard in front of everything: it answers the exchange itself when it refuses; then q
     * hears allowed = false. */
    void (*on_request)(struct app *app, struct exchange *x, struct question *q);
    /* Runs the route just resolved, which answers x, now or later. */
    void (*on_route)(struct app *app, struct exchange *x, const struct target *target);
    /* The namespace at this path (TARGET_NS), made if it is not there yet; NULL: none. */
    struct ns *(*find_ns)(struct app *app, struct span path);

    /* Before a client exists. auth is what the client presented: JSON for Socket.IO, empty for
     * "take it from the request". */
    void (*on_auth)(struct app *app, struct ns *ns, struct request *r, struct span auth,
                    struct question *q);
    void (*drop_session)(struct app *app, void *script);
    /* A session as text that outlives the process, appended; and back: NULL where that cannot be.
     * `id` is the client's. */
    void (*save_session)(struct app *app, void *script, struct writer *out);
    void *(*load_session)(struct app *app, struct ns *ns, struct span id, struct span text);
    /* In place of on_auth: a client comes back to the session that it had (hub/recovery.h), of
     * which `script` is the app's part; NULL: it kept none. `auth` as above. False: its identity
     * has ended, and script is still the app's. */
    bool (*on_return)(struct app *app, void *script, struct request *r, struct span auth);

    /* One client's line: events are handled one after another. on_message, on_event, on_join and
     * on_leave have always taken what they were given, answer in time whatever they return, and
     * return false when that has filled the line: the transport then stops reading until
     * ops->resume. */
    void (*on_connect)(struct app *app, struct client *c);
    bool (*on_message)(struct app *app, struct client *c, struct span data, bool binary);
    /* args: JSON values separated by commas, not validated yet; if they are no JSON the ack (or a
     * reply without id) says bad_message. attachments: binary values that stand in the args, packed
     * (hub/attachments.h); mostly empty. ack may be NULL. */
    bool (*on_event)(struct app *app, struct client *c, struct span event, struct span args,
                     struct span attachments, struct ack *ack);
    bool (*on_join)(struct app *app, struct client *c, struct span room, struct span options,
                    struct ack *ack);
    bool (*on_leave)(struct app *app, struct client *c, struct span room, struct ack *ack);
    /* The client's answer to a request of ours, which never waits in the line. error: a code or
     * empty. */
    void (*on_answer)(struct app *app, struct client *c, uint64_t id, struct span args,
                      struct span attachments, struct span error);
    /* Is a handler of this client at work or waiting, or something in its line? */
    bool (*is_busy)(struct app *app, const struct client *c);
    /* The client is gone: queued events still run, then on_leave once per room, then on_disconnect,
     * then client_release. */
    void (*on_close)(struct app *app, struct client *c, const char *reason);
};

#endif
