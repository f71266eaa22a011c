/* Runs Lua (see task.h): the pool of coroutines, the queue of those that are ready, and what
 * becomes of an error. It does not know what it runs: that is in struct task_kind. Called by
 * whatever runs a function of the app's, and by the parts of the library that wait. */
#include "script/task.h"

#include "base/memory.h"
#include "script/alloc.h"
#include "script/budget.h"
#include "script/json_bridge.h"
#include "script/traceback.h"
#include "script/version.h"

#include <stdlib.h>
#include <string.h>

#define POOL_SIZE 256      /* coroutines kept for later */
#define STEPS_AT_ONCE 1000 /* before the loop gets its turn */

TAILQ_HEAD(task_list, task);

struct tasks {
    struct script *script;
    struct task_list ready; /* to be run or gone on with, oldest first */
    struct task_list waiting;
    struct task_list pool;
    size_t pooled;
    size_t waiting_count;
    struct task_frame *frame; /* the innermost lua_State that runs; NULL: none does */
    struct task *current;
    bool busy;      /* somebody is running the ready ones */
    uv_idle_t rest; /* runs while some are left for the next turn of the loop */
};

static const char mark; /* its address is the mark */
static const char metamethod[] = "a metamethod";

/* --- frames ---------------------------------------------------------------------------------- */

void task_enter_frame(struct script *s, struct task_frame *frame, lua_State *L, const char *fixed) {
    *frame = (struct task_frame){s->tasks->frame, L, NULL, fixed};
    s->tasks->frame = frame;
    frame->before = budget_switch(s->budget, L);
}

void task_leave_frame(struct script *s, struct task_frame *frame) {
    s->tasks->frame = frame->up;
    budget_switch(s->budget, frame->before);
}

bool task_may_yield(lua_State *L) {
    const struct task_frame *frame = script_of(L)->tasks->frame;
    return frame != NULL && frame->L == L && !frame->fixed && lua_isyieldable(L);
}

void task_push_mark(lua_State *L) {
    lua_pushlightuserdata(L, (void *)&mark);
}

bool task_has_mark(lua_State *co) {
    return lua_status(co) == LUA_YIELD && lua_gettop(co) > 0 && lua_touserdata(co, -1) == &mark;
}

struct task *task_current(const struct script *s) {
    return s->tasks->current;
}

/* --- the pool -------------------------------------------------------------------------------- */

static int new_thread(lua_State *L) {
    struct task *task = lua_touserdata(L, 1);
    task->L = lua_newthread(L);
    task->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static struct task *take_task(struct script *s) {
    struct tasks *tasks = s->tasks;
    struct task *task = TAILQ_FIRST(&tasks->pool);
    if (task != NULL) {
        TAILQ_REMOVE(&tasks->pool, task, link);
        tasks->pooled--;
        return task;
    }
    task = memory_zalloc(sizeof(*task));
    if (task_protect(s, new_thread, task) != 0) {
        free(task);
        return NULL;
    }
    task->script = s;
    return task;
}

static void drop_task(struct script *s, struct task *task) {
    luaL_unref(s->L, LUA_REGISTRYINDEX, task->anchor);
    free(task);
}

/* Its stack is empty. */
static void give_back(struct script *s, struct task *task) {
    if (s->tasks->pooled == POOL_SIZE) {
        drop_task(s, task);
        return;
    }
    TAILQ_INSERT_HEAD(&s->tasks->pool, task, link);
    s->tasks->pooled++;
}

/* --- errors ---------------------------------------------------------------------------------- */

static void log_failure(struct script *s, const struct task *task, struct span message,
                        struct span lines) {
    struct log_line line;
    log_begin(&line, s->env.log, LOG_ERROR, "handler failed");
    log_field(&line, "hook", span_of(hook_name(task->kind->hook)));
    if (task->kind->describe != NULL) {
        task->kind->describe(task->data, &line);
    }
    if (task->version != NULL) {
        log_fieldf(&line, "version", "%u", task->version->number);
    }
    log_field(&line, "error", message);
    if (lines.len > 0) {
        log_field(&line, "at", lines);
    }
    log_end(&line);
}

/* The coroutine is as the error, or the watchdog, has left it. */
static void report_failure(struct script *s, struct task *task, int status) {
    struct writer message = {NULL};
    struct writer lines = {NULL};

    if (status == LUA_YIELD) {
        writer_puts(&message, budget_message(s->budget));
        writer_put_span(&lines, budget_lines(s->budget));
    } else {
        traceback_message(s, task->L, &message);
        traceback_lines(task->L, &lines);
    }
    if (task->kind->failed != NULL) {
        task->kind->failed(task->data, writer_span(&message), writer_span(&lines));
    } else {
        log_failure(s, task, writer_span(&message), writer_span(&lines));
    }
    writer_deinit(&message);
    writer_deinit(&lines);
}

/* Around user code that is no handler's own call. */
static bool enter_fixed(struct script *s, struct task_frame *frame, lua_State *L,
                        const char *fixed) {
    bool outermost = s->tasks->frame == NULL;
    if (outermost) {
        budget_enter(s->budget, L, !s->unlimited);
    }
    task_enter_frame(s, frame, L, fixed);
    return outermost;
}

static void leave_fixed(struct script *s, struct task_frame *frame, bool outermost) {
    lua_State *L = frame->L;
    task_leave_frame(s, frame);
    if (outermost) {
        budget_leave(s->budget);
    }
    lua_sethook(L, NULL, 0, 0);
}

int task_reset(struct script *s, lua_State *co) {
    struct task_frame frame;
    bool outermost = enter_fixed(s, &frame, co, metamethod);
    int status = lua_resetthread(co);
    leave_fixed(s, &frame, outermost);
    return status;
}

static int call_fixed(struct script *s, lua_State *L, int nargs, int nresults, int handler,
                      const char *fixed) {
    struct task_frame frame;
    bool outermost = enter_fixed(s, &frame, L, fixed);
    int status = lua_pcall(L, nargs, nresults, handler);
    leave_fixed(s, &frame, outermost);
    return status;
}

int task_pcall(struct script *s, lua_State *L, int nargs, int nresults) {
    return call_fixed(s, L, nargs, nresults, 0, metamethod);
}

int task_pcall_hook(struct script *s, lua_State *L, int nargs, int handler, const char *name) {
    return call_fixed(s, L, nargs, 0, handler, name);
}

/* --- waiting ---------------------------------------------------------------------------------- */

/* The C function that stands between the waiting code and its coroutine's bottom: "sort", "gsub".
 */
static const char *name_boundary(lua_State *L, lua_State *of, lua_Debug *ar) {
    for (int level = 1; lua_getstack(of, level, ar); level++) {
        lua_getinfo(of, "Sn", ar);
        if (*ar->what == 'C' && ar->name != NULL && strstr(ar->name, "pcall") == NULL) {
            return lua_pushfstring(L, "'%s'", ar->name);
        }
    }
    return "a C function";
}

void task_check_wait(lua_State *L, const char *what) {
    struct script *s = script_of(L);
    lua_Debug ar;
    if (s->loading != NULL) {
        luaL_error(L,
                   "%s: nothing can wait while a file loads; wait in a hook, a timer or mw.spawn",
                   what);
    }
    for (struct task_frame *frame = s->tasks->frame; frame != NULL; frame = frame->up) {
        if (frame->fixed && frame->fixed != metamethod) {
            luaL_error(L, "%s cannot wait inside %s, for which the caller of emit waits", what,
                       frame->fixed);
        }
        if (frame->fixed || !lua_isyieldable(frame->L)) {
            luaL_error(L,
                       "%s cannot wait inside %s, which calls Lua from C (as table.sort, "
                       "string.gsub, require and metamethods do)",
                       what, frame->fixed ? frame->fixed : name_boundary(L, frame->L, &ar));
        }
    }
}

int task_park(lua_State *L, struct wait *wait, lua_KContext ctx, lua_KFunction resumed) {
    struct task *task = script_of(L)->tasks->current;
    wait->task = task;
    task->wait = wait;
    task_push_mark(L);
    return lua_yieldk(L, 1, ctx, resumed);
}

/* --- running --------------------------------------------------------------------------------- */

static int after_call(lua_State *L, int status, lua_KContext first) {
    (void)status;
    struct task *task = script_of(L)->tasks->current;
    if (task->kind->end != NULL) {
        task->kind->end(L, task->data, (int)first);
    }
    return 0;
}

/* The bottom of each task's stack: everything C does with Lua for a handler, pushing its arguments
 * and reading its results, happens in here and is protected. */
static int run_task(lua_State *L) {
    struct task *task = script_of(L)->tasks->current;
    int nargs = task->kind->begin(L, task->data);
    if (nargs < 0) {
        return 0;
    }
    int first = lua_gettop(L) - nargs;
    lua_callk(L, nargs, LUA_MULTRET, first, after_call);
    return after_call(L, LUA_OK, first);
}

static void end_task(struct script *s, struct task *task, enum task_end how) {
    const struct task_kind *kind = task->kind;
    void *data = task->data;
    struct version *version = task->version;
    struct task_scope *scope = task->scope;

    /* After an error raised from the watchdog's hook Lua leaves hooks off in that coroutine. */
    if (how == TASK_RETURNED) {
        give_back(s, task);
    } else {
        drop_task(s, task);
    }
    if (kind->done != NULL) {
        kind->done(data, how);
    }
    if (scope != NULL && --scope->refs == 0) {
        scope->free(scope);
    }
    version_unref(version);
}

static int collect_garbage(lua_State *L) {
    lua_gc(L, LUA_GCCOLLECT);
    return 0;
}

static void finish(struct script *s, struct task *task, int status) {
    struct metrics *metrics = s->env.metrics;
    metrics->handler_calls[task->kind->hook]++;
    histogram_add(&metrics->handler_time, (double)task->spent / 1e9);
    if (status != LUA_OK) {
        metrics->handler_errors[task->kind->hook]++;
        s->tasks->current = task; /* __tostring and __close are still its code */
        report_failure(s, task, status);
        task_reset(s, task->L);
        s->tasks->current = NULL;
    }
    lua_settop(task->L, 0);
    end_task(s, task, status == LUA_OK ? TASK_RETURNED : TASK_FAILED);
    /* Lua's string buffers give up without a collection, and a failed allocation brings the next
     * one no nearer: without this, garbage up to the cap could fail one handler after another. */
    if (status != LUA_OK && alloc_was_short(s->alloc)) {
        (void)task_protect(s, collect_garbage, NULL);
    }
}

/* Runs a task until it waits or ends. */
static void step(struct script *s, struct task *task) {
    lua_State *L = task->L;
    struct task_frame frame;
    struct io *io = s->env.io;
    /* The clock costs as much as a small handler: of many messages in one read, each begins when
     * the one before it has ended. */
    uint64_t start = io->lap ? io->lap : uv_hrtime();
    int results;

    if (task->started) {
        lua_pop(L, 1); /* the mark */
    } else {
        lua_pushcfunction(L, run_task);
        task->started = true;
    }
    s->tasks->current = task;
    budget_enter(s->budget, L, !s->unlimited);
    task_enter_frame(s, &frame, L, NULL);
    int status = lua_resume(L, NULL, 0, &results);
    task_leave_frame(s, &frame);
    if (budget_leave(s->budget)) {
        lua_sethook(L, NULL, 0, 0);
    }
    s->tasks->current = NULL;
    io->lap = uv_hrtime();
    task->spent += io->lap - start;

    if (status == LUA_YIELD && task->wait != NULL) {
        TAILQ_INSERT_TAIL(&s->tasks->waiting, task, link);
        s->tasks->waiting_count++;
    } else {
        finish(s, task, status);
    }
}

static void go_on_next_turn(uv_idle_t *idle);

/* Runs the ready ones until there are none, but not for ever: the rest waits for the loop, so that
 * tasks which wake each other do not keep it from its sockets. */
static void run_ready(struct script *s) {
    struct tasks *tasks = s->tasks;
    struct task *task;
    if (tasks->busy) {
        return;
    }
    tasks->busy = true;
    for (int steps = 0; (task = TAILQ_FIRST(&tasks->ready)) != NULL; steps++) {
        if (steps == STEPS_AT_ONCE) {
            uv_idle_start(&tasks->rest, go_on_next_turn);
            break;
        }
        TAILQ_REMOVE(&tasks->ready, task, link);
        step(s, task);
    }
    tasks->busy = false;
}

static void go_on_next_turn(uv_idle_t *idle) {
    struct tasks *tasks = idle->data;
    uv_idle_stop(idle);
    run_ready(tasks->script);
}

void task_run(struct script *s, const struct task_kind *kind, void *data, struct version *version,
              struct task_scope *scope) {
    struct task *task = s->stopping ? NULL : take_task(s);
    if (task == NULL) {
        if (kind->done != NULL) {
            kind->done(data, s->stopping ? TASK_ABANDONED : TASK_FAILED);
        }
        return;
    }
    task->kind = kind;
    task->data = data;
    task->version = version != NULL ? version_ref(version) : NULL;
    task->scope = scope;
    task->spent = 0;
    task->wait = NULL;
    task->started = false;
    if (scope != NULL) {
        scope->refs++;
    }
    if (s->loading != NULL) {
        TAILQ_INSERT_HEAD(&s->tasks->ready, task, link);
    } else {
        TAILQ_INSERT_TAIL(&s->tasks->ready, task, link);
    }
    run_ready(s);
}

void task_wake(struct wait *wait) {
    struct task *task = wait->task;
    if (task == NULL) {
        return;
    }
    struct tasks *tasks = task->script->tasks;
    wait->task = NULL;
    task->wait = NULL;
    TAILQ_REMOVE(&tasks->waiting, task, link);
    tasks->waiting_count--;
    TAILQ_INSERT_TAIL(&tasks->ready, task, link);
    run_ready(task->script);
}

int task_protect(struct script *s, lua_CFunction function, void *data) {
    if (!lua_checkstack(s->L, 3)) {
        return UV_ENOMEM;
    }
    lua_pushcfunction(s->L, function);
    lua_pushlightuserdata(s->L, data);
    if (lua_pcall(s->L, 1, 0, 0) == LUA_OK) {
        return 0;
    }
    struct writer message = {NULL};
    traceback_message(s, s->L, &message);
    struct span text = writer_span(&message);
    log_printf(s->env.log, LOG_ERROR, "%.*s", (int)text.len, text.at);
    writer_deinit(&message);
    return UV_ENOMEM;
}

/* --- life ------------------------------------------------------------------------------------- */

int tasks_open(struct script *s) {
    struct tasks *tasks = memory_zalloc(sizeof(*tasks));
    tasks->script = s;
    tasks->rest.data = tasks;
    TAILQ_INIT(&tasks->ready);
    TAILQ_INIT(&tasks->waiting);
    TAILQ_INIT(&tasks->pool);
    s->tasks = tasks;
    return uv_idle_init(s->env.io->loop, &tasks->rest);
}

/* Their coroutines stay as they are until Lua is closed: no code of theirs runs any more. */
void tasks_abandon(struct script *s) {
    struct tasks *tasks = s->tasks;
    struct task *task;
    while ((task = TAILQ_FIRST(&tasks->waiting)) != NULL) {
        TAILQ_REMOVE(&tasks->waiting, task, link);
        tasks->waiting_count--;
        task->wait->task = NULL;
        task->wait->cancel(task->wait);
        end_task(s, task, TASK_ABANDONED);
    }
    while ((task = TAILQ_FIRST(&tasks->ready)) != NULL) {
        TAILQ_REMOVE(&tasks->ready, task, link);
        end_task(s, task, TASK_ABANDONED);
    }
}

void tasks_stop(struct script *s) {
    tasks_abandon(s);
    uv_close((uv_handle_t *)&s->tasks->rest, NULL);
}

void tasks_close(struct script *s) {
    struct task *task;
    while ((task = TAILQ_FIRST(&s->tasks->pool)) != NULL) {
        TAILQ_REMOVE(&s->tasks->pool, task, link);
        drop_task(s, task);
    }
    free(s->tasks);
}

size_t tasks_waiting(const struct script *s) {
    return s->tasks->waiting_count;
}
