/* The time budget of a handler call. A standing count hook would halve Lua's speed; instead a
 * watchdog thread signals the worker's thread when a call is over its budget, and the signal
 * handler sets a hook on the coroutine that runs, which then stops at its next instruction. One
 * long call of C (a pattern match, string.rep) stops when it returns. Used by task.c, and by
 * coroutine.c, which keeps the running coroutine known. */
#ifndef MOONWIRE_SCRIPT_BUDGET_H
#define MOONWIRE_SCRIPT_BUDGET_H

#include "base/buf.h"
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct budget;

/* For handlers that run on the calling thread, whose SIGRTMIN it takes; ms 0: nothing is ever
 * stopped. NULL: the thread could not be started. One budget per thread. */
struct budget *budget_new(uint64_t ms);
/* On the same thread. NULL is allowed. */
void budget_free(struct budget *b);

/* A call begins in L; calls do not nest. One that is not limited may take as long as it likes. */
void budget_enter(struct budget *b, lua_State *L, bool limited);
/* It has ended (or waits). True: it was over its budget at some time. */
bool budget_leave(struct budget *b);
/* Within a call another coroutine runs from here on; the one that ran before. */
lua_State *budget_switch(struct budget *b, lua_State *L);
bool budget_over(const struct budget *b); /* the call that runs now is */
/* Called by a C function (or the hook) in a call that is over: ends the call as far as C can: by a
 * yield that nobody resumes, which no pcall can catch, or, where L cannot yield (may_yield tells),
 * by an error that returns at the next instruction for as long as a pcall catches it. Return what
 * it returns. */
int budget_stop(struct budget *b, lua_State *L, bool may_yield);
/* The lines of user code where the yield stopped it (see traceback.h); until the next call. */
struct span budget_lines(const struct budget *b);
/* What is wrong, in words. */
const char *budget_message(const struct budget *b);

#endif
