/* The watchdog (see budget.h). The worker counts calls: an odd number means that one is running.
 * The thread looks at the number a few times per budget; when it has seen the same odd one for long
 * enough it names it as the target and signals the worker. The signal handler compares again, on
 * the worker's own thread, so that a signal which comes late never stops the next call. Called by
 * task.c and coroutine.c alone. */
#include "script/budget.h"

#include "base/memory.h"
#include "script/task.h"
#include "script/traceback.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct budget {
    uint64_t limit; /* ns; 0: no watchdog */
    pthread_t worker;
    clockid_t clock; /* the processor time of the worker's thread */
    pthread_t watchdog;
    pthread_mutex_t lock;
    pthread_cond_t wake; /* `ending` has changed */
    bool ending;
    atomic_uint_fast64_t call;   /* odd: one is running */
    atomic_uint_fast64_t target; /* the call to stop; 0: none */
    /* Of the worker's thread, and read by the signal handler on it: */
    lua_State *volatile running;
    volatile sig_atomic_t over; /* the target was running when the signal came */
    struct writer lines;
    bool limited; /* the call that runs, or ran last */
    char message[80];
};

/* The signal handler has no other way to find the budget of the thread that it interrupts. Set
 * while the thread has one. */
static _Thread_local struct budget *volatile of_this_thread;

#define TICKS 8 /* looks per budget: a call is stopped at most 1/8 late */

static void on_count(lua_State *L, lua_Debug *ar) {
    (void)ar;
    struct script *s = script_of(L);
    if (!budget_over(s->budget)) {
        lua_sethook(L, NULL, 0, 0); /* left over on a coroutine from an earlier call */
    } else {
        budget_stop(s->budget, L, task_may_yield(L));
    }
}

static void arm(lua_State *L) {
    /* Lua documents lua_sethook as safe in a signal handler of the thread that runs L. */
    lua_sethook(L, on_count, LUA_MASKCOUNT, 1);
}

static void on_signal(int signal) {
    (void)signal;
    struct budget *b = of_this_thread;
    if (b != NULL && atomic_load(&b->call) == atomic_load(&b->target)) {
        b->over = 1;
        arm(b->running);
    }
}

/* --- the watchdog's thread ------------------------------------------------------------------- */

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec now = {0};
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void sleep_until(struct budget *b, uint64_t due) {
    struct timespec until = {(time_t)(due / 1000000000), (long)(due % 1000000000)};
    pthread_cond_timedwait(&b->wake, &b->lock, &until);
}

/* What counts is the processor time of the worker's thread: a call that a busy machine keeps
 * waiting has not used it. A call that goes on after the signal is signalled again at every look:
 * it may have been between two coroutines. */
static void *watch_calls(void *data) {
    struct budget *b = data;
    uint_fast64_t seen = 0;
    uint64_t since = 0;

    pthread_mutex_lock(&b->lock);
    while (!b->ending) {
        uint64_t now = nanoseconds(b->clock);
        uint_fast64_t call = atomic_load(&b->call);
        if (call != seen) {
            seen = call;
            since = now;
        } else if (call % 2 == 1 && now - since >= b->limit) {
            atomic_store(&b->target, call);
            pthread_kill(b->worker, SIGRTMIN);
        }
        sleep_until(b, nanoseconds(CLOCK_MONOTONIC) + b->limit / TICKS);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static int start_watchdog(struct budget *b) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigset_t all;
    sigset_t before;
    pthread_condattr_t attr;
    int r;

    sigemptyset(&action.sa_mask);
    sigaction(SIGRTMIN, &action, NULL);
    pthread_mutex_init(&b->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&b->wake, &attr);
    pthread_condattr_destroy(&attr);

    /* The process's signals are the worker's to handle, not the watchdog's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&b->watchdog, NULL, watch_calls, b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r;
}

static void stop_watchdog(struct budget *b) {
    pthread_mutex_lock(&b->lock);
    b->ending = true;
    pthread_cond_signal(&b->wake);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->watchdog, NULL);
}

/* --- the worker's side ------------------------------------------------------------------------ */

struct budget *budget_new(uint64_t ms) {
    struct budget *b = memory_zalloc(sizeof(*b));
    b->limit = ms * 1000000;
    b->worker = pthread_self();
    (void)pthread_getcpuclockid(b->worker, &b->clock); /* fails for a thread that has ended, only */
    snprintf(b->message, sizeof(b->message), "the handler ran longer than %g s without waiting",
             (double)ms / 1000);
    if (b->limit != 0 && start_watchdog(b) != 0) {
        free(b);
        return NULL;
    }
    of_this_thread = b;
    return b;
}

void budget_free(struct budget *b) {
    if (b == NULL) {
        return;
    }
    if (b->limit != 0) {
        stop_watchdog(b);
        pthread_cond_destroy(&b->wake);
        pthread_mutex_destroy(&b->lock);
    }
    of_this_thread = NULL; /* A signal that is still under way finds nothing. */
    writer_deinit(&b->lines);
    free(b);
}

/* Only this thread writes the number; the watchdog needs no more than to see it in time. */
static void count(struct budget *b) {
    uint_fast64_t call = atomic_load_explicit(&b->call, memory_order_relaxed);
    atomic_store_explicit(&b->call, call + 1, memory_order_release);
}

void budget_enter(struct budget *b, lua_State *L, bool limited) {
    b->running = L;
    writer_clear(&b->lines);
    b->over = 0;
    b->limited = limited;
    if (limited) {
        count(b);
    }
}

bool budget_leave(struct budget *b) {
    if (b->limited) {
        count(b);
    }
    return b->over;
}

lua_State *budget_switch(struct budget *b, lua_State *L) {
    lua_State *before = b->running;
    b->running = L;
    if (b->over) {
        arm(L); /* The signal may have met the one before. */
    }
    return before;
}

bool budget_over(const struct budget *b) {
    return b->over;
}

int budget_stop(struct budget *b, lua_State *L, bool may_yield) {
    if (may_yield) {
        /* Now, for the yield moves the line of a stopped function back by one instruction. Where
         * the stop passes on from an inner coroutine, its lines are there already. */
        if (writer_len(&b->lines) == 0) {
            traceback_lines(L, &b->lines);
        }
        return lua_yield(L, 0);
    }
    writer_clear(&b->lines);
    arm(L);
    return luaL_error(L, "%s", b->message);
}

struct span budget_lines(const struct budget *b) {
    return writer_span(&b->lines);
}

const char *budget_message(const struct budget *b) {
    return b->message;
}
