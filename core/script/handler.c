/* Copies what lua/moonwire/validate.lua has checked and sorted into the structs of handler.h. What
 * is wrong with a file is said there, in Lua; this side trusts the shape of the result. Called by
 * script.c when a version is prepared. */
#include "script/handler.h"
#include "base/memory.h"
#include "script/embedded.h"
#include "script/task.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* --- reading fields of the table at the top of the stack --- */

static char *field_text(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    size_t len;
    const char *value = luaL_checklstring(L, -1, &len);
    char *text = memory_strndup(value, len);
    lua_pop(L, 1);
    return text;
}

static lua_Number field_number(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    lua_Number value = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return value;
}

/* A reference to the field's value, LUA_NOREF if it is nil. */
static int field_ref(lua_State *L, const char *name) {
    if (lua_getfield(L, -1, name) == LUA_TNIL) {
        lua_pop(L, 1);
        return LUA_NOREF;
    }
    return luaL_ref(L, LUA_REGISTRYINDEX);
}

/* Pushes the list of that name and returns its length. */
static size_t field_list(lua_State *L, const char *name) {
    lua_getfield(L, -1, name);
    return (size_t)lua_rawlen(L, -1);
}

static void read_pattern(lua_State *L, struct pattern *pattern) {
    pattern_init(pattern, field_list(L, "segments"));
    for (size_t i = 0; i < pattern->count; i++) {
        struct span text;
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        text.at = luaL_checklstring(L, -1, &text.len);
        pattern_set(pattern, i, text);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static char **read_strings(lua_State *L, const char *name, size_t *count) {
    size_t wanted = field_list(L, name);
    char **strings = memory_zalloc((wanted + 1) * sizeof *strings);
    for (*count = 0; *count < wanted; (*count)++) {
        lua_rawgeti(L, -1, (lua_Integer)*count + 1);
        size_t len;
        const char *value = luaL_checklstring(L, -1, &len);
        strings[*count] = memory_strndup(value, len);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return strings;
}

/* --- a table --- */

/* `slow` and `key` of the table on top. */
static void read_slow(lua_State *L, struct slow_rule *rule) {
    char *policy = field_text(L, "slow");
    rule->policy = strcmp(policy, "drop") == 0     ? SLOW_DROP
                   : strcmp(policy, "latest") == 0 ? SLOW_LATEST
                                                   : SLOW_CLOSE;
    free(policy);
    lua_getfield(L, -1, "key");
    size_t len;
    const char *key = lua_tolstring(L, -1, &len);
    rule->key = key ? memory_strndup(key, len) : NULL;
    lua_pop(L, 1);
}

static void read_rooms(lua_State *L, struct ns_settings *settings) {
    size_t wanted = field_list(L, "rooms");
    settings->rooms = memory_zalloc((wanted + 1) * sizeof *settings->rooms);
    while (settings->room_count < wanted) {
        struct room_policy *room = &settings->rooms[settings->room_count];
        lua_rawgeti(L, -1, (lua_Integer)settings->room_count + 1);
        room->history_size = (uint32_t)field_number(L, "size");
        room->history_ttl = (uint64_t)(field_number(L, "ttl") * 1000);
        lua_getfield(L, -1, "durable");
        room->durable = lua_toboolean(L, -1);
        lua_pop(L, 1);
        room->pattern = field_text(L, "pattern");
        read_slow(L, &room->slow);
        settings->room_count++;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_recovery(lua_State *L, struct recovery_rule *rule) {
    lua_getfield(L, -1, "recovery");
    rule->size = (uint32_t)field_number(L, "size");
    rule->ttl = (uint64_t)(field_number(L, "ttl") * 1000);
    lua_getfield(L, -1, "durable");
    rule->durable = lua_toboolean(L, -1);
    lua_pop(L, 2);
}

static void read_limits(lua_State *L, struct ns_settings *settings, const struct config *config) {
    lua_getfield(L, -1, "limits");
    settings->rate = (uint32_t)field_number(L, "rate");
    settings->burst = (uint32_t)field_number(L, "burst");
    settings->max_payload = (size_t)field_number(L, "max_payload");
    if (settings->max_payload == 0) {
        settings->max_payload = config->max_payload;
    }
    read_slow(L, &settings->slow);
    lua_pop(L, 1);
}

static void read_hooks(lua_State *L, struct handler *h) {
    static const struct {
        enum hook hook;
        const char *name;
    } hooks[] = {
        {HOOK_REQUEST, "on_request"}, {HOOK_AUTH, "on_auth"},   {HOOK_CONNECT, "on_connect"},
        {HOOK_MESSAGE, "on_message"}, {HOOK_ANY, "on_event"},   {HOOK_EMIT, "on_emit"},
        {HOOK_JOIN, "on_join"},       {HOOK_LEAVE, "on_leave"}, {HOOK_DISCONNECT, "on_disconnect"},
        {HOOK_RELOAD, "on_reload"},
    };
    lua_getfield(L, -1, "hooks");
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++) {
        h->hooks[hooks[i].hook] = field_ref(L, hooks[i].name);
    }
    lua_pop(L, 1);
}

static void handler_init(struct handler *h, struct handlers *set) {
    h->set = set;
    h->settings.table = h;
    h->settings.origins = &h->origins;
    h->events = LUA_NOREF;
    h->any = LUA_NOREF;
    for (int i = 0; i < HOOK_COUNT; i++) {
        h->hooks[i] = LUA_NOREF;
    }
}

static void read_handler(lua_State *L, struct handler *h, const struct config *config) {
    h->name = field_text(L, "namespace");
    h->rank = (unsigned)field_number(L, "rank");
    read_pattern(L, &h->pattern);
    h->plain = pattern_is_plain(&h->pattern);
    lua_getfield(L, -1, "protocol_events");
    h->settings.events = lua_toboolean(L, -1);
    lua_pop(L, 1);
    lua_getfield(L, -1, "protocol_engine");
    h->settings.engine = lua_toboolean(L, -1);
    lua_pop(L, 1);
    read_recovery(L, &h->settings.recovery);
    read_rooms(L, &h->settings);
    read_limits(L, &h->settings, config);
    h->settings.subprotocols = read_strings(L, "subprotocols", &h->settings.subprotocol_count);
    h->origins.allowed = read_strings(L, "origins", &h->origins.count);
    read_hooks(L, h);
    h->any = field_ref(L, "any");
    h->events = field_ref(L, "events");
}

static void handler_deinit(lua_State *L, struct handler *h) {
    for (int i = 0; i < HOOK_COUNT; i++) {
        luaL_unref(L, LUA_REGISTRYINDEX, h->hooks[i]);
    }
    luaL_unref(L, LUA_REGISTRYINDEX, h->events);
    luaL_unref(L, LUA_REGISTRYINDEX, h->any);
    for (size_t i = 0; i < h->settings.room_count; i++) {
        free(h->settings.rooms[i].pattern);
        free(h->settings.rooms[i].slow.key);
    }
    for (size_t i = 0; i < h->settings.subprotocol_count; i++) {
        free(h->settings.subprotocols[i]);
    }
    for (size_t i = 0; i < h->origins.count; i++) {
        free(h->origins.allowed[i]);
    }
    free(h->settings.slow.key);
    free(h->settings.rooms);
    free(h->settings.subprotocols);
    free(h->origins.allowed);
    pattern_deinit(&h->pattern);
    free(h->name);
}

/* --- all of them --- */

static void read_mounts(lua_State *L, struct handlers *set, struct handler *h) {
    size_t wanted = field_list(L, "mounts");
    size_t room = set->mount_count + wanted + 1;
    set->mounts = memory_resize(set->mounts, room * sizeof *set->mounts);
    set->mount_owners = memory_resize(set->mount_owners, room * sizeof(struct handler *));
    for (size_t i = 0; i < wanted; i++) {
        struct static_mount *mount = &set->mounts[set->mount_count];
        *mount = (struct static_mount){NULL, NULL};
        set->mount_owners[set->mount_count++] = h;
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        mount->prefix = field_text(L, "prefix");
        mount->folder = field_text(L, "folder");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* The timers of one table, behind those of the tables before it. */
static void read_timers(lua_State *L, struct handlers *set, struct handler *h) {
    size_t wanted = field_list(L, "timers");
    set->timers = memory_resize(set->timers, (set->timer_count + wanted + 1) * sizeof *set->timers);
    for (size_t i = 0; i < wanted; i++) {
        struct timer_spec *timer = &set->timers[set->timer_count];
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        timer->handler = h;
        timer->every = (uint64_t)(field_number(L, "every") * 1000 + 0.5);
        timer->name = field_text(L, "name");
        timer->run = LUA_NOREF;
        set->timer_count++;
        timer->run = field_ref(L, "run");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_tables(lua_State *L, struct handlers *set, const struct config *config) {
    size_t wanted = field_list(L, "tables");
    set->items = memory_zalloc((wanted + 1) * sizeof *set->items);
    while (set->count < wanted) {
        struct handler *h = &set->items[set->count++];
        handler_init(h, set);
        lua_rawgeti(L, -1, (lua_Integer)set->count);
        read_handler(L, h, config);
        read_mounts(L, set, h);
        read_timers(L, set, h);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_routes(lua_State *L, struct handlers *set) {
    size_t wanted = field_list(L, "routes");
    set->routes = memory_zalloc((wanted + 1) * sizeof *set->routes);
    while (set->route_count < wanted) {
        struct route *route = &set->routes[set->route_count++];
        route->run = LUA_NOREF;
        lua_rawgeti(L, -1, (lua_Integer)set->route_count);
        route->handler = &set->items[(size_t)field_number(L, "table") - 1];
        route->method = field_text(L, "method");
        read_pattern(L, &route->pattern);
        route->run = field_ref(L, "run");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* Lua: (folder) -> the absolute, resolved path, or nil and what is wrong. Upvalue 1: the file. */
static int resolve_folder(lua_State *L) {
    const char *folder = luaL_checkstring(L, 1);
    const char *file = lua_tostring(L, lua_upvalueindex(1));
    const char *slash = strrchr(file, '/');
    if (folder[0] != '/' && slash) {
        lua_pushlstring(L, file, (size_t)(slash - file) + 1);
        lua_pushstring(L, folder);
        lua_concat(L, 2);
        folder = lua_tostring(L, -1);
    }
    char path[PATH_MAX];
    if (!realpath(folder, path)) {
        lua_pushnil(L);
        lua_pushfstring(L, "cannot open the folder %s: %s%s", folder, strerror(errno),
                        strstr(folder, "node_modules/") ? " (`npm ci` makes it)" : "");
        return 2;
    }
    lua_pushstring(L, path);
    return 1;
}

/* --- a version's --- */

struct compile {
    struct handlers *set;
    struct writer *error;
};

/* Pushes the function that lua/moonwire/validate.lua returns: not by `require`, for the app's code
 * may have changed what that finds. */
static void push_validate(lua_State *L) {
    const struct embedded_module *module = embedded_modules;
    while (module->name && strcmp(module->name, "moonwire.validate") != 0) {
        module++;
    }
    if (luaL_loadbufferx(L, (const char *)module->bytes, module->length, "=moonwire/validate.lua",
                         "t") != LUA_OK) {
        lua_error(L);
    }
    lua_call(L, 0, 1);
}

/* Runs protected. What it raises is an error of a metamethod of the user's tables. */
static int compile_tables(lua_State *L) {
    struct compile *job = lua_touserdata(L, 1);
    struct version *version = job->set->version;
    struct script *s = version->script;
    lua_settop(L, 0);
    push_validate(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, version->value);
    lua_pushstring(L, s->path);
    lua_pushvalue(L, -1);
    lua_pushcclosure(L, resolve_folder, 1);
    lua_call(L, 3, 2);
    if (lua_isnil(L, -2)) {
        size_t len;
        const char *problems = luaL_checklstring(L, -1, &len);
        writer_put(job->error, problems, len);
        return 0;
    }
    lua_pop(L, 1);
    read_tables(L, job->set, s->env.config);
    read_routes(L, job->set);
    return 0;
}

static int compile_protected(lua_State *L) {
    struct compile *job = lua_touserdata(L, 1);
    lua_pushcfunction(L, compile_tables);
    lua_insert(L, 1);
    if (task_pcall(script_of(L), L, 1, 0) != LUA_OK) {
        size_t len;
        const char *text = luaL_tolstring(L, -1, &len);
        writer_put(job->error, text, len);
    }
    return 0;
}

static void handlers_free(struct script *s, void *handlers) {
    struct handlers *set = handlers;
    for (size_t i = 0; i < set->count; i++) {
        handler_deinit(s->L, &set->items[i]);
    }
    handler_deinit(s->L, &set->retired);
    for (size_t i = 0; i < set->route_count; i++) {
        luaL_unref(s->L, LUA_REGISTRYINDEX, set->routes[i].run);
        pattern_deinit(&set->routes[i].pattern);
        free(set->routes[i].method);
    }
    for (size_t i = 0; i < set->timer_count; i++) {
        luaL_unref(s->L, LUA_REGISTRYINDEX, set->timers[i].run);
        free(set->timers[i].name);
    }
    for (size_t i = 0; i < set->mount_count; i++) {
        free(set->mounts[i].prefix);
        free(set->mounts[i].folder);
    }
    free(set->items);
    free(set->routes);
    free(set->timers);
    free(set->mounts);
    free(set->mount_owners);
    free(set);
}

int handlers_compile(struct version *version, struct writer *error) {
    struct handlers *set = memory_zalloc(sizeof *set);
    struct compile job = {.set = set, .error = error};
    size_t before = writer_len(error);
    set->version = version;
    handler_init(&set->retired, set);
    set->retired.settings.events = true;
    set->retired.settings.max_payload = version->script->env.config->max_payload;
    version->handlers = set;
    version->free_handlers = handlers_free;
    if (task_protect(version->script, compile_protected, &job) != 0) {
        writer_puts(error, "not enough memory to compile the handler tables");
    }
    return writer_len(error) > before ? UV_EINVAL : 0;
}

bool handlers_need_store(const struct handlers *set) {
    for (size_t i = 0; i < set->count; i++) {
        const struct ns_settings *settings = &set->items[i].settings;
        if (settings->recovery.durable) {
            return true;
        }
        for (size_t k = 0; k < settings->room_count; k++) {
            if (settings->rooms[k].durable) {
                return true;
            }
        }
    }
    return false;
}

struct handlers *handlers_current(const struct script *s) {
    return s->version ? s->version->handlers : NULL;
}

struct handler *handlers_find(const struct handlers *set, struct span path) {
    struct handler *found = NULL;
    for (size_t i = 0; i < set->count; i++) {
        struct handler *h = &set->items[i];
        if ((!found || h->rank < found->rank) && pattern_matches(&h->pattern, path)) {
            found = h;
        }
    }
    return found;
}

struct handler *handlers_find_mount(const struct handlers *set, struct span path) {
    struct handler *owner = NULL;
    long longest = -1;
    for (size_t i = 0; i < set->mount_count; i++) {
        long covered = static_mount_covers(&set->mounts[i], path);
        if (covered > longest) {
            longest = covered;
            owner = set->mount_owners[i];
        }
    }
    return owner;
}
