/* Timers run as tasks and never overlap with themselves: a tick that comes while the one before is
 * still waiting is left out. Called by hooks.c. */
#include "script/timers.h"

#include <string.h>

struct timer {
    uv_timer_t handle;
    LIST_ENTRY(timer) link;
    struct hooks *hooks;
    const struct timer_spec *spec; /* of the version in service */
    char *table;                   /* the namespace of its table, and */
    char *name;                    /* its name there: what it is compared by */
    uint64_t every;                /* ms */
    bool kept;                     /* by the commit that is under way */
    bool running;
    bool closed; /* libuv has done with the handle */
};

static void free_when_over(struct timer *timer) {
    if (timer->closed && !timer->running) {
        free(timer->table);
        free(timer->name);
        free(timer);
    }
}

static int begin(lua_State *L, void *data) {
    const struct timer *timer = data;
    if (!timer->spec) {
        return -1;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, timer->spec->run);
    return 0;
}

static void done(void *data, enum task_end how) {
    struct timer *timer = data;
    (void)how;
    timer->running = false;
    free_when_over(timer);
}

static void describe(const void *data, struct log_line *line) {
    const struct timer *timer = data;
    log_field(line, "timer", span_of(timer->name));
    log_field(line, "namespace", span_of(timer->table));
}

static const struct task_kind timer_kind = {HOOK_TIMER, begin, NULL, done, NULL, describe};

static void on_tick(uv_timer_t *handle) {
    struct timer *timer = handle->data;
    if (timer->running) {
        return;
    }
    const struct handler *h = timer->spec->handler;
    struct scope *scope = scope_of_handler(timer->hooks, h);
    timer->running = true;
    task_run(timer->hooks->script, &timer_kind, timer, h->set->version,
             scope ? &scope->base : NULL);
    scope_unref(scope);
}

static void on_closed(uv_handle_t *handle) {
    struct timer *timer = handle->data;
    timer->closed = true;
    free_when_over(timer);
}

static void timer_close(struct timer *timer) {
    LIST_REMOVE(timer, link);
    timer->spec = NULL;
    uv_close((uv_handle_t *)&timer->handle, on_closed);
}

static struct timer *find(const struct hooks *hooks, const struct timer_spec *spec) {
    struct timer *timer;
    LIST_FOREACH (timer, &hooks->timers, link) {
        if (strcmp(timer->table, spec->handler->name) == 0 &&
            strcmp(timer->name, spec->name) == 0) {
            return timer;
        }
    }
    return NULL;
}

static struct timer *timer_new(struct hooks *hooks, const struct timer_spec *spec) {
    struct timer *timer = memory_zalloc(sizeof *timer);
    timer->hooks = hooks;
    timer->table = memory_strdup(spec->handler->name);
    timer->name = memory_strdup(spec->name);
    timer->handle.data = timer;
    uv_timer_init(hooks->script->env.io->loop, &timer->handle);
    LIST_INSERT_HEAD(&hooks->timers, timer, link);
    return timer;
}

void timers_commit(struct hooks *hooks, struct handlers *set) {
    for (size_t i = 0; i < set->timer_count; i++) {
        const struct timer_spec *spec = &set->timers[i];
        struct timer *timer = find(hooks, spec);
        if (!timer) {
            timer = timer_new(hooks, spec);
        }
        if (timer->every != spec->every) {
            timer->every = spec->every;
            uv_timer_start(&timer->handle, on_tick, spec->every, spec->every);
        }
        timer->spec = spec;
        timer->kept = true;
    }
    struct timer *next;
    for (struct timer *timer = LIST_FIRST(&hooks->timers); timer; timer = next) {
        next = LIST_NEXT(timer, link);
        if (!timer->kept) {
            timer_close(timer);
        } else {
            timer->kept = false;
        }
    }
}

void timers_stop(struct hooks *hooks) {
    while (!LIST_EMPTY(&hooks->timers)) {
        timer_close(LIST_FIRST(&hooks->timers));
    }
}
