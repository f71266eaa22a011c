/* Tasks: calls of Lua functions, each in a coroutine from a pool. This is the place where C calls
 * Lua. A task may wait: a C function parks it (task_park) and somebody wakes it later from the loop
 * (task_wake). A task never runs inside another task's stack: what becomes ready while Lua is
 * running is queued and runs when that has returned. Errors are logged once with the lines of the
 * user's code, and counted; they never leave here. */
#ifndef MOONWIRE_SCRIPT_TASK_H
#define MOONWIRE_SCRIPT_TASK_H

#include "script/state.h"
#include <sys/queue.h>

enum task_end {
    TASK_RETURNED,  /* `end` has seen the results */
    TASK_FAILED,    /* it raised an error, which has been logged and counted */
    TASK_ABANDONED, /* the server stops */
};

/* What to call, and what to do with the results. One static const for each use. */
struct task_kind {
    enum hook hook; /* for metrics and the log */
    /* Protected: pushes the function and its arguments and returns the number of the arguments, or
     * -1 to call nothing (then `end` is not called, and the task has returned). May raise. */
    int (*begin)(lua_State *L, void *data);
    /* Protected: the results are the values from `first` to the top of the stack. May raise, which
     * is then the task's error, but not wait. NULL: results are dropped. */
    void (*end)(lua_State *L, void *data, int first);
    /* Outside of Lua, exactly once, when all is over: to answer who asked and to free data. May
     * call task_run. NULL: nobody asks. */
    void (*done)(void *data, enum task_end how);
    /* Outside of Lua, before done: gets the error in place of the log: what is wrong, and the lines
     * of user code that led to it ("app.lua:3 in field 'say' < app.lua:9 in ..."). NULL: it is
     * logged. */
    void (*failed)(void *data, struct span message, struct span lines);
    /* Adds fields (event=say) to the log line of an error. NULL: none. */
    void (*describe)(const void *data, struct log_line *line);
};

/* What stands around a task for as long as it runs, and is inherited by what it spawns: hooks.c
 * embeds it in what tells the namespace that mw.room means. */
struct task_scope {
    unsigned refs;
    void (*free)(struct task_scope *scope);
};

struct wait;

struct task {
    TAILQ_ENTRY(task) link; /* on one of the lists of struct tasks */
    lua_State *L;
    struct script *script;
    const struct task_kind *kind;
    void *data;
    struct task_scope *scope; /* owns a reference; may be NULL */
    struct version *version;  /* owns a reference; NULL only in script_run_file */
    struct wait *wait;        /* what it waits for; NULL: it does not */
    uint64_t spent;           /* ns run so far, without waiting */
    int anchor;               /* in the registry, keeps L */
    bool started;
};

/* Calls kind->begin's function. It runs at once, up to its first wait, and may have ended when this
 * returns; or, if Lua is running already or a `done` asks for it, right after that has returned.
 * What loads a file (s->loading) goes before all that is ready.
 * The version is the one whose code it is (a reference is taken); scope may be NULL (likewise). */
void task_run(struct script *s, const struct task_kind *kind, void *data, struct version *version,
              struct task_scope *scope);
/* The task whose code runs at the moment, also inside coroutines of its own; NULL while a file
 * loads and outside of Lua. */
struct task *task_current(const struct script *s);

/* A short C function run protected, outside of any task: to make or drop Lua values from the loop.
 * It neither calls user code nor waits. 0 or UV_ENOMEM (nothing else can go wrong there; logged).
 */
int task_protect(struct script *s, lua_CFunction function, void *data);

/* --- waiting -------------------------------------------------------------------------------- */

/* One wait of one task. Embedded by whoever wakes it, in memory that a userdata on the waiting
 * stack holds, so that it lives exactly as long as it is waited for and nothing leaks on an error.
 */
struct wait {
    struct task *task; /* NULL: nobody waits (any more) */
    /* The task is abandoned: stop whatever would wake it. Not called once task_wake was. */
    void (*cancel)(struct wait *wait);
};

/* Raises an error in words if waiting is impossible here: while a file loads, in a callback of
 * table.sort or string.gsub, in a metamethod that C has called, in `end` of a task_kind. To be
 * called before anything is started that would wake the task. `what` is the function's name:
 * "mw.sleep". */
void task_check_wait(lua_State *L, const char *what);
/* As the last act of a C function: `return task_park(L, &x->wait, resumed, ctx);`. When it has been
 * woken, `resumed(L, status, ctx)` goes on with the stack as it was, and its results are the
 * function's. */
int task_park(lua_State *L, struct wait *wait, lua_KContext ctx, lua_KFunction resumed);
/* Exactly once, from the loop or from Lua: the task goes on (at once, or when Lua has returned).
 * Harmless when nobody waits. */
void task_wake(struct wait *wait);

/* --- for coroutine.c, budget.c, traceback.c, version.c, handler.c ------------------------------
 */

/* One lua_State that runs now: tasks and the coroutines within them, innermost first. Lives on C's
 * stack while lua_resume or lua_pcall does. */
struct task_frame {
    struct task_frame *up;
    lua_State *L;
    lua_State *before; /* what the budget had as the running one */
    const char *fixed; /* what cannot yield, whatever Lua says, and runs: "a metamethod" that C has
                          called, "on_emit"; NULL: the code of a call */
};
void task_enter_frame(struct script *s, struct task_frame *frame, lua_State *L, const char *fixed);
void task_leave_frame(struct script *s, struct task_frame *frame);
/* May L, the innermost that runs, yield to whoever resumed it? */
bool task_may_yield(lua_State *L);
/* A coroutine that waits has yielded this mark alone, and it lies on top of its stack until it goes
 * on. coroutine.c passes the mark on from one coroutine to that which resumed it, and back. */
void task_push_mark(lua_State *L);
bool task_has_mark(lua_State *co);
/* User code that is not part of a call, with a budget of its own and unable to wait.
 * lua_resetthread, which runs __close metamethods: its result; the message, if it is an error, is
 * on co's stack. */
int task_reset(struct script *s, lua_State *co);
/* lua_pcall without a message handler, of what may ask metamethods of the user's values. */
int task_pcall(struct script *s, lua_State *L, int nargs, int nresults);
/* lua_pcall, without results, of the app's hook of that name, which runs within a call and cannot
 * wait. */
int task_pcall_hook(struct script *s, lua_State *L, int nargs, int handler, const char *name);

/* --- for state.c and script.c ----------------------------------------------------------------- */

int tasks_open(struct script *s);     /* 0 or a negative UV_E* */
void tasks_abandon(struct script *s); /* all that waits or is ready */
void tasks_stop(struct script *s);    /* likewise, and closes the handle */
void tasks_close(struct script *s);
size_t tasks_waiting(const struct script *s);

#endif
