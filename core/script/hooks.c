/* What the hooks stand on: scopes, types, namespaces and their settings, and the exchange of one
 * version for the next. The app's functions are in hooks_http.c (requests) and session.c (clients).
 * Called by script.c. */
#include "script/hooks.h"
#include "hub/recovery.h"
#include "script/audience.h"
#include "script/auth.h"
#include "script/expiry.h"
#include "script/hooks_http.h"
#include "script/lib_client.h"
#include "script/lib_request.h"
#include "script/session.h"
#include "script/timers.h"

#include <stdlib.h>
#include <string.h>

/* --- scopes --- */

static void scope_free(struct task_scope *base) {
    struct scope *scope = (struct scope *)base;
    HASH_DEL(scope->hooks->scopes, scope);
    ns_unref(scope->ns);
    free(scope);
}

struct scope *scope_get(struct hooks *hooks, struct ns *ns) {
    struct scope *scope;
    HASH_FIND_PTR(hooks->scopes, &ns, scope);
    if (!scope) {
        scope = memory_zalloc(sizeof *scope);
        scope->base.free = scope_free;
        scope->hooks = hooks;
        scope->ns = ns_ref(ns);
        HASH_ADD_PTR(hooks->scopes, ns, scope);
    }
    scope->base.refs++;
    return scope;
}

void scope_unref(struct scope *scope) {
    if (scope && --scope->base.refs == 0) {
        scope_free(&scope->base);
    }
}

struct scope *scope_of_handler(struct hooks *hooks, const struct handler *h) {
    struct ns *ns = h->plain ? hooks_find_ns(hooks, span_of(h->name)) : NULL;
    return ns ? scope_get(hooks, ns) : NULL;
}

/* --- namespaces --- */

struct ns *hooks_find_ns(struct hooks *hooks, struct span path) {
    const struct handlers *set = handlers_current(hooks->script);
    struct handler *h = set ? handlers_find(set, path) : NULL;
    if (!h) {
        return NULL;
    }
    struct ns *ns = hub_ns(hooks->script->env.hub, path, true);
    if (ns_settings(ns) != &h->settings) {
        ns_configure(ns, &h->settings);
    }
    return ns;
}

struct handler *hooks_handler(const struct ns *ns) {
    return ns_settings(ns)->table;
}

/* A namespace that the new tables no longer name keeps its clients, but nobody answers them. */
static void reconfigure(struct ns *ns, void *data) {
    struct handlers *set = data;
    struct handler *h = handlers_find(set, ns_name(ns));
    ns_configure(ns, h ? &h->settings : &set->retired.settings);
}

/* --- on_reload --- */

static int begin_reload(lua_State *L, void *data) {
    const struct handler *h = data;
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->hooks[HOOK_RELOAD]);
    return 0;
}

static const struct task_kind reload_kind = {.hook = HOOK_RELOAD, .begin = begin_reload};

static void run_on_reload(struct hooks *hooks, struct handlers *set) {
    for (size_t i = 0; i < set->count; i++) {
        struct handler *h = &set->items[i];
        if (h->hooks[HOOK_RELOAD] != LUA_NOREF) {
            struct scope *scope = scope_of_handler(hooks, h);
            task_run(hooks->script, &reload_kind, h, set->version, scope ? &scope->base : NULL);
            scope_unref(scope);
        }
    }
}

void hooks_commit(struct script *s) {
    struct hooks *hooks = s->hooks;
    struct handlers *set = handlers_current(s);
    hub_each_ns(s->env.hub, reconfigure, set);
    hooks->app.mounts = set->mounts;
    hooks->app.mount_count = set->mount_count;
    timers_commit(hooks, set);
    if (set->version->number > 1) {
        run_on_reload(hooks, set);
    }
}

/* --- types --- */

void type_new(lua_State *L, enum type type, const char *name, const luaL_Reg *functions) {
    struct hooks *hooks = script_of(L)->hooks;
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "__name");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    hooks->types[type] = lua_topointer(L, -1);
    lua_pushvalue(L, -1);
    hooks->type_refs[type] = luaL_ref(L, LUA_REGISTRYINDEX);
}

void *type_push(lua_State *L, enum type type, size_t size, int uservalues) {
    void *userdata = lua_newuserdatauv(L, size, uservalues);
    memset(userdata, 0, size);
    lua_rawgeti(L, LUA_REGISTRYINDEX, script_of(L)->hooks->type_refs[type]);
    lua_setmetatable(L, -2);
    return userdata;
}

/* Comparing the metatable's address is what makes this cheap: no name is looked up. */
void *type_check(lua_State *L, int arg, enum type type, const char *called) {
    void *userdata = lua_touserdata(L, arg);
    if (userdata && lua_getmetatable(L, arg)) {
        bool same = lua_topointer(L, -1) == script_of(L)->hooks->types[type];
        lua_pop(L, 1);
        if (same) {
            return userdata;
        }
    }
    luaL_error(L, "%s: argument %d is of the wrong type (%s); is a method called with a dot?",
               called, arg, luaL_typename(L, arg));
    return NULL;
}

/* A reference to a new table that does not keep its values. */
static int new_weak_table(lua_State *L) {
    lua_newtable(L);
    lua_newtable(L);
    lua_pushliteral(L, "v");
    lua_setfield(L, -2, "__mode");
    lua_setmetatable(L, -2);
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

static int open_types(lua_State *L) {
    struct hooks *hooks = script_of(L)->hooks;
    audience_open(L);
    lib_client_open(L);
    lib_request_open(L);
    hooks->scope_objects = new_weak_table(L);
    hooks->client_objects = new_weak_table(L);
    return 0;
}

/* --- life --- */

static struct ns *app_find_ns(struct app *app, struct span path) {
    return hooks_find_ns((struct hooks *)app, path);
}

static void app_drop_session(struct app *app, void *script) {
    (void)app;
    if (script) {
        session_drop(script);
    }
}

int hooks_open(struct script *s) {
    struct hooks *hooks = memory_zalloc(sizeof *hooks);
    hooks->script = s;
    hooks->guarded_object = LUA_NOREF;
    hooks->no_auth = buf_copy("{}", 2);
    LIST_INIT(&hooks->timers);
    s->hooks = hooks;
    hooks->app.find_ns = app_find_ns;
    hooks->app.drop_session = app_drop_session;
    hooks_http_fill_app(&hooks->app);
    auth_fill_app(&hooks->app);
    session_fill_app(&hooks->app);
    return task_protect(s, open_types, NULL);
}

void hooks_stop(struct script *s) {
    recovery_stop(s->env.hub);
    timers_stop(s->hooks);
    expiries_stop(s->hooks);
}

void hooks_close(struct script *s) {
    struct hooks *hooks = s->hooks;
    writer_deinit(&hooks->allow);
    buf_unref(hooks->no_auth);
    expiries_free(hooks);
    free(hooks);
    s->hooks = NULL;
}
