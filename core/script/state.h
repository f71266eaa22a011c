/* The Lua state of one worker and what belongs to it: `struct script`, which script.h keeps opaque.
 * state.c opens and closes it: memory, libraries, tasks and the watchdog. It knows nothing of
 * handler tables, clients or rooms: those stand on this (hooks.c), and script.c puts both together.
 *
 * Rules for every file of core/script:
 * - Lua is entered at one place, task.c (task_run, task_wake, task_protect; task_pcall and
 * task_reset for user code outside of a call). All else that touches a lua_State is a C function
 * that one of them has called, and so may raise.
 * - Every lua_State leads to its script: script_of(L). */
#ifndef MOONWIRE_SCRIPT_STATE_H
#define MOONWIRE_SCRIPT_STATE_H

#include "base/json.h"
#include "script/script.h"
#include <lauxlib.h>
#include <lua.h>
#include <sys/queue.h>

struct alloc;
struct budget;
struct hooks;
struct sleeper;
struct http_pool;
struct tasks;
struct version;

/* The metatables by which mw.array and mw.object mark a table, and mw.binary makes one. */
struct json_marks {
    const void *array; /* as lua_topointer tells them */
    const void *object;
    const void *binary;
    int array_ref; /* in the registry */
    int object_ref;
    int binary_ref;
};

struct script {
    struct script_env env;
    char *path;            /* the handler file as it was given; error messages show it so */
    lua_State *L;          /* the main thread: holds the registry, runs no handler */
    struct alloc *alloc;   /* Lua's memory */
    struct budget *budget; /* the watchdog; NULL: no budget */
    struct tasks *tasks;   /* coroutines: pooled, running, waiting */
    SLIST_HEAD(, sleeper) sleepers; /* mw.sleep's spare timers */
    struct http_pool *http;         /* mw.http; NULL until it is first used */
    struct version *version;        /* in service; NULL before the first */
    struct version *candidate;      /* loaded and compiled, waits for its commit; mostly NULL */
    struct version *attempt;        /* the one that was loaded last, well or not; NULL before */
    struct version *loading; /* whose file runs at the moment: nothing may wait; mostly NULL */
    unsigned version_count;  /* how many versions have been in service */
    struct json_marks marks;
    struct json_reader reader; /* the JSON bridge's, */
    struct writer json;        /* and its output; valid until the next json_write, */
    struct writer attachments; /* with the binary values in it */
    struct hooks *hooks;       /* what hooks.c keeps; state.c never looks at it */
    bool unlimited;            /* calls have no time budget: script_run_file */
    bool stopping;             /* nothing new begins */
};

static inline struct script *script_of(lua_State *L) {
    return *(struct script **)lua_getextraspace(L);
}

/* Fills in a zeroed script: opens Lua with its libraries and starts the watchdog, so that call it
 * on the thread that will run the handlers. 0 or UV_ENOMEM. */
int state_open(struct script *s, const struct script_env *env, const char *path);
/* Abandons every waiting task (its `done` hears TASK_ABANDONED) and closes handles of the loop. */
void state_stop(struct script *s);
/* After the loop has run once more. Closes Lua: whatever userdata are left are collected. */
void state_close(struct script *s);

#endif
