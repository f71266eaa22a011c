/* The C half of mw.sleep, spawn, log, env, now, iso and state (lua/moonwire/init.lua is the other).
 * See lib_core.h and binding.h. */
#include "script/lib_core.h"

#include "base/memory.h"
#include "base/nearest.h"
#include "script/binding.h"
#include "script/json_bridge.h"
#include "script/task.h"
#include "script/version.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

/* --- sleep ------------------------------------------------------------------------------------ */

/* A libuv timer may not go before its close has been answered, so these are kept and used again. */
struct sleeper {
    uv_timer_t timer;
    uint64_t due;              /* ns */
    SLIST_ENTRY(sleeper) link; /* in script->sleepers while nobody uses it */
    struct script *s;
    struct wait wait;
};

static void put_away(struct sleeper *sleeper) {
    SLIST_INSERT_HEAD(&sleeper->s->sleepers, sleeper, link);
}

/* The loop's clock counts whole milliseconds and so may be one ahead: a sleep is never shorter than
 * asked. */
static void on_timer(uv_timer_t *timer) {
    struct sleeper *sleeper = timer->data;
    if (uv_hrtime() < sleeper->due) {
        uv_timer_start(timer, on_timer, 1, 0);
        return;
    }
    put_away(sleeper);
    task_wake(&sleeper->wait);
}

static void cancel_sleep(struct wait *wait) {
    struct sleeper *sleeper = (struct sleeper *)((char *)wait - offsetof(struct sleeper, wait));
    uv_timer_stop(&sleeper->timer);
    put_away(sleeper);
}

static struct sleeper *take_sleeper(struct script *s) {
    struct sleeper *sleeper = SLIST_FIRST(&s->sleepers);
    if (sleeper != NULL) {
        SLIST_REMOVE_HEAD(&s->sleepers, link);
        return sleeper;
    }
    sleeper = memory_zalloc(sizeof(*sleeper));
    sleeper->s = s;
    sleeper->timer.data = sleeper;
    sleeper->wait.cancel = cancel_sleep;
    uv_timer_init(s->env.io->loop, &sleeper->timer);
    return sleeper;
}

static int has_slept(lua_State *L, int status, lua_KContext ctx) {
    (void)L;
    (void)status;
    (void)ctx;
    return 0;
}

static int core_sleep(lua_State *L) {
    struct script *s = script_of(L);
    uint64_t ms = binding_seconds(L, 1);
    task_check_wait(L, "mw.sleep");
    struct sleeper *sleeper = take_sleeper(s);
    sleeper->due = uv_hrtime() + ms * 1000000;
    uv_update_time(s->env.io->loop);
    /* The loop's clock has whole milliseconds, and the current one may be nearly over. */
    uv_timer_start(&sleeper->timer, on_timer, ms ? ms + 1 : 0, 0);
    return task_park(L, &sleeper->wait, 0, has_slept);
}

static void on_timer_closed(uv_handle_t *handle) {
    free(handle->data);
}

void core_stop(struct script *s) {
    struct sleeper *sleeper;
    while ((sleeper = SLIST_FIRST(&s->sleepers)) != NULL) {
        SLIST_REMOVE_HEAD(&s->sleepers, link);
        uv_close((uv_handle_t *)&sleeper->timer, on_timer_closed);
    }
}

/* --- spawn ------------------------------------------------------------------------------------ */

/* The data of a spawned task is the reference of a table: the function and its arguments, as
 * table.pack makes it, for any of them may be nil. */
static int begin_spawned(lua_State *L, void *data) {
    int ref = (int)(intptr_t)data;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
    lua_getfield(L, 1, "n");
    int count = (int)lua_tointeger(L, -1);
    luaL_checkstack(L, count, "mw.spawn");
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, i);
    }
    return count - 1;
}

static const struct task_kind spawned = {.hook = HOOK_SPAWN, .begin = begin_spawned};

/* While a file loads, the call is kept for the moment when its version is in service. */
static void keep_for_commit(lua_State *L, struct version *v) {
    if (v->spawned == LUA_NOREF) {
        lua_newtable(L);
        v->spawned = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, v->spawned);
    lua_insert(L, -2);
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static int core_spawn(lua_State *L) {
    struct script *s = script_of(L);
    const struct task *task = task_current(s);
    int count = lua_gettop(L);
    luaL_checktype(L, 1, LUA_TFUNCTION);
    if (task == NULL) {
        return luaL_error(L, "mw.spawn: nothing begins while a handler table is read");
    }
    lua_createtable(L, count, 1);
    lua_pushinteger(L, count);
    lua_setfield(L, -2, "n");
    lua_insert(L, 1);
    for (int i = count; i >= 1; i--) {
        lua_rawseti(L, 1, i);
    }
    if (s->loading != NULL) {
        keep_for_commit(L, s->loading);
    } else {
        int ref = luaL_ref(L, LUA_REGISTRYINDEX);
        task_run(s, &spawned, (void *)(intptr_t)ref, task->version, task->scope);
    }
    return 0;
}

struct kept_calls {
    int array;
    int ref; /* of the one taken out; LUA_NOREF: there are no more */
    lua_Integer next;
};

static int take_kept(lua_State *L) {
    struct kept_calls *kept = lua_touserdata(L, 1);
    lua_rawgeti(L, LUA_REGISTRYINDEX, kept->array);
    lua_rawgeti(L, -1, kept->next++);
    kept->ref = lua_isnil(L, -1) ? LUA_NOREF : luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

void core_begin_spawned(struct script *s, struct version *v) {
    struct kept_calls kept = {v->spawned, LUA_NOREF, 1};
    if (v->spawned == LUA_NOREF) {
        return;
    }
    while (task_protect(s, take_kept, &kept) == 0 && kept.ref != LUA_NOREF) {
        task_run(s, &spawned, (void *)(intptr_t)kept.ref, v, NULL);
    }
    luaL_unref(s->L, LUA_REGISTRYINDEX, v->spawned);
    v->spawned = LUA_NOREF;
}

/* --- log -------------------------------------------------------------------------------------- */

static void add_version(struct script *s, struct log_line *line) {
    const struct version *v = version_current(s);
    if (v != NULL && v->number != 0) {
        log_fieldf(line, "version", "%u", v->number);
    }
}

void binding_log(struct script *s, enum log_level level, const char *text) {
    struct log_line line;
    log_begin(&line, s->env.log, level, text);
    add_version(s, &line);
    log_end(&line);
}

/* A field's value as text, in its place: tables as JSON. */
static void make_text(lua_State *L, int index) {
    int top = lua_gettop(L);
    luaL_checkstack(L, 4, "mw.log");
    if (lua_istable(L, index) && luaL_getmetafield(L, index, "__tostring") == LUA_TNIL) {
        struct span json = json_write(L, index, index, lua_tostring(L, index - 1));
        lua_pushlstring(L, json.at, json.len);
    } else {
        luaL_tolstring(L, index, NULL);
    }
    lua_replace(L, index);
    lua_settop(L, top);
}

/* log(level, text, key, value, key, value...): everything is text before the line begins, because
 * nothing may raise while C holds it. */
static int core_log(lua_State *L) {
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    struct script *s = script_of(L);
    enum log_level level = (enum log_level)luaL_checkoption(L, 1, NULL, levels);
    int top = lua_gettop(L);
    struct log_line line;
    if (level < s->env.log->level) {
        return 0;
    }
    luaL_tolstring(L, 2, NULL);
    lua_replace(L, 2);
    for (int i = 3; i < top; i += 2) {
        luaL_checkstring(L, i);
        make_text(L, i + 1);
    }
    log_begin(&line, s->env.log, level, lua_tostring(L, 2));
    for (int i = 3; i < top; i += 2) {
        log_field(&line, lua_tostring(L, i), binding_span(L, i + 1));
    }
    add_version(s, &line);
    log_end(&line);
    return 0;
}

/* --- time ------------------------------------------------------------------------------------- */

static double wall_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int core_now(lua_State *L) {
    lua_pushnumber(L, wall_clock());
    return 1;
}

static int core_iso(lua_State *L) {
    double seconds = luaL_optnumber(L, 1, wall_clock());
    char text[64];
    struct tm tm;
    /* The years 0 to 9999, which is what four digits can say. */
    luaL_argcheck(L, seconds >= -62167219200.0 && seconds < 253402300800.0, 1,
                  "not a time in seconds");
    double ms = floor(seconds * 1000);
    time_t whole = (time_t)floor(ms / 1000);
    gmtime_r(&whole, &tm);
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + len, sizeof(text) - len, ".%03dZ", (int)(ms - (double)whole * 1000));
    lua_pushstring(L, text);
    return 1;
}

/* --- state and env ---------------------------------------------------------------------------- */

/* state(name, default): what was kept under the name, or the default, which is kept from now on. */
static int core_state(lua_State *L) {
    luaL_checkstring(L, 1);
    lua_settop(L, 2);
    luaL_getsubtable(L, LUA_REGISTRYINDEX, "moonwire.state");
    lua_pushvalue(L, 1);
    if (lua_rawget(L, 3) == LUA_TNIL && !lua_isnil(L, 2)) {
        lua_pushvalue(L, 1);
        lua_pushvalue(L, 2);
        lua_rawset(L, 3);
        lua_pushvalue(L, 2);
    }
    return 1;
}

static void push_environment(lua_State *L) {
    lua_newtable(L);
    for (char **variable = environ; *variable != NULL; variable++) {
        const char *equals = strchr(*variable, '=');
        if (equals != NULL) {
            lua_pushlstring(L, *variable, (size_t)(equals - *variable));
            lua_pushstring(L, equals + 1);
            lua_rawset(L, -3);
        }
    }
}

/* --- for validate.lua ------------------------------------------------------------------------- */

/* nearest(word, names): the one of the list that was probably meant, or nil. */
static int core_nearest(lua_State *L) {
    struct span word = binding_check_span(L, 1);
    unsigned least = nearest_limit(word) + 1;
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_pushnil(L);
    for (lua_Integer i = 1; lua_rawgeti(L, 2, i) == LUA_TSTRING; i++) {
        unsigned distance = nearest_distance(word, binding_span(L, 4));
        if (distance < least) {
            least = distance;
            lua_copy(L, 4, 3);
        }
        lua_pop(L, 1);
    }
    lua_settop(L, 3);
    return 1;
}

static const luaL_Reg functions[] = {
    {"sleep", core_sleep}, {"spawn", core_spawn}, {"log", core_log},         {"now", core_now},
    {"iso", core_iso},     {"state", core_state}, {"nearest", core_nearest}, {NULL, NULL},
};

int luaopen_moonwire_core(lua_State *L) {
    luaL_newlib(L, functions);
    push_environment(L);
    lua_setfield(L, -2, "env");
    return 1;
}
