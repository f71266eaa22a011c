/* See coroutine.h. A wait inside a coroutine yields the mark of task.h; whoever resumed that
 * coroutine leaves the mark on its stack and yields the mark in turn, down to the task. When the
 * task goes on, each of them resumes the coroutine above it, so that the innermost continues where
 * it waited. Opened by state.c in every version. */
#include "script/coroutine.h"

#include "script/budget.h"
#include "script/task.h"

static lua_State *check_coroutine(lua_State *L, int arg) {
    lua_State *co = lua_tothread(L, arg);
    luaL_argexpected(L, co != NULL, arg, "coroutine");
    return co;
}

/* --- resume and wrap -------------------------------------------------------------------------- */

/* What became of a coroutine that has been resumed. */
enum outcome { FINISHED, RAISED, WAITS, OVER_BUDGET };

/* Resumes co with nargs values on its stack. FINISHED (or it has yielded): *results values are on
 * its stack. RAISED: the error is. */
static enum outcome resume(lua_State *L, lua_State *co, int nargs, int *results) {
    struct script *s = script_of(L);
    struct task_frame frame;
    task_enter_frame(s, &frame, co, NULL);
    int status = lua_resume(co, L, nargs, results);
    task_leave_frame(s, &frame);
    if (task_has_mark(co)) {
        return WAITS; /* even if the budget ended on the way: the task is parked already */
    }
    if (budget_over(s->budget)) {
        return OVER_BUDGET;
    }
    return status == LUA_OK || status == LUA_YIELD ? FINISHED : RAISED;
}

/* Moves the results to L: `true, ...` */
static int move_results(lua_State *L, lua_State *co, int results, bool flag) {
    luaL_checkstack(L, results + 1, "too many results to resume");
    if (flag) {
        lua_pushboolean(L, 1);
    }
    lua_xmove(co, L, results);
    return results + (flag ? 1 : 0);
}

/* The error of a coroutine made by wrap goes on in who called it, with the place where that was. */
static int raise_again(lua_State *L, lua_State *co) {
    if (lua_status(co) != LUA_OK && lua_status(co) != LUA_YIELD) {
        task_reset(script_of(L), co); /* leaves the error */
    }
    lua_xmove(co, L, 1);
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int woken(lua_State *L, int status, lua_KContext wrapped);

static int act_on(lua_State *L, lua_State *co, enum outcome outcome, int results, bool wrapped) {
    switch (outcome) {
    case WAITS:
        task_push_mark(L);
        return lua_yieldk(L, 1, wrapped, woken);
    case OVER_BUDGET:
        return budget_stop(script_of(L)->budget, L, task_may_yield(L));
    case RAISED:
        if (wrapped) {
            return raise_again(L, co);
        }
        lua_xmove(co, L, 1); /* before `false`, for co may be L itself */
        lua_pushboolean(L, 0);
        lua_insert(L, -2);
        return 2;
    default:
        return move_results(L, co, results, !wrapped);
    }
}

/* The coroutine to resume is the upvalue of a wrap's function and else the first argument. */
static lua_State *own_coroutine(lua_State *L, bool wrapped) {
    return lua_tothread(L, wrapped ? lua_upvalueindex(1) : 1);
}

static int woken(lua_State *L, int status, lua_KContext wrapped) {
    (void)status;
    lua_State *co = own_coroutine(L, wrapped != 0);
    int results;
    lua_pop(co, 1); /* the mark */
    enum outcome outcome = resume(L, co, 0, &results);
    return act_on(L, co, outcome, results, wrapped != 0);
}

static int begin(lua_State *L, lua_State *co, int nargs, bool wrapped) {
    int results;
    if (task_has_mark(co)) {
        lua_pushliteral(L, "cannot resume a coroutine that waits (in mw.sleep or the like)");
    } else if (!lua_checkstack(co, nargs)) {
        lua_pushliteral(L, "too many arguments to resume");
    } else {
        lua_xmove(L, co, nargs);
        enum outcome outcome = resume(L, co, nargs, &results);
        return act_on(L, co, outcome, results, wrapped);
    }
    if (wrapped) {
        return lua_error(L);
    }
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

static int co_resume(lua_State *L) {
    return begin(L, check_coroutine(L, 1), lua_gettop(L) - 1, false);
}

static int call_wrapped(lua_State *L) {
    return begin(L, own_coroutine(L, true), lua_gettop(L), true);
}

static int co_create(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    return 1;
}

static int co_wrap(lua_State *L) {
    co_create(L);
    lua_pushcclosure(L, call_wrapped, 1);
    return 1;
}

/* --- the others ------------------------------------------------------------------------------- */

/* The coroutine of a handler is to the app what the main program is to others. */
static bool is_outermost(lua_State *L) {
    const struct task *task = task_current(script_of(L));
    return task == NULL || task->L == L;
}

static int co_yield (lua_State *L) {
    if (is_outermost(L)) {
        return luaL_error(L, "attempt to yield from outside a coroutine");
    }
    return lua_yield(L, lua_gettop(L));
}

static int co_isyieldable(lua_State *L) {
    lua_State *co = lua_isnone(L, 1) ? L : check_coroutine(L, 1);
    lua_pushboolean(L, !is_outermost(co) && lua_isyieldable(co));
    return 1;
}

static int co_running(lua_State *L) {
    lua_pushthread(L);
    lua_pushboolean(L, is_outermost(L));
    return 2;
}

static const char *status_of(lua_State *L, lua_State *co) {
    lua_Debug ar;
    if (L == co) {
        return "running";
    }
    switch (lua_status(co)) {
    case LUA_YIELD:
        return task_has_mark(co) ? "normal" : "suspended";
    case LUA_OK:
        if (lua_getstack(co, 0, &ar)) {
            return "normal"; /* it has resumed another one */
        }
        return lua_gettop(co) == 0 ? "dead" : "suspended"; /* ended, or has not begun */
    default:
        return "dead";
    }
}

static int co_status(lua_State *L) {
    lua_pushstring(L, status_of(L, check_coroutine(L, 1)));
    return 1;
}

static int co_close(lua_State *L) {
    lua_State *co = check_coroutine(L, 1);
    const char *status = status_of(L, co);
    if (*status != 'd' && *status != 's') {
        return luaL_error(L, "cannot close a %s coroutine", status);
    }
    if (task_reset(script_of(L), co) == LUA_OK) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushboolean(L, 0);
    lua_xmove(co, L, 1);
    return 2;
}

static const luaL_Reg functions[] = {
    {"create", co_create},
    {"resume", co_resume},
    {"wrap", co_wrap},
    {"yield", co_yield },
    {"isyieldable", co_isyieldable},
    {"running", co_running},
    {"status", co_status},
    {"close", co_close},
    {NULL, NULL},
};

int luaopen_moonwire_coroutine(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
