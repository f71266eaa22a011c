/* Rooms, users and namespaces as Lua objects (audience.h): making them, and speaking to them. What
 * reads a room (members, history) is in lib_gather.c. One userdata type serves all kinds; which
 * methods a kind has is in the tables at the bottom. */
#include "base/utf8.h"
#include "hub/history.h"
#include "hub/recovery.h"
#include "script/ask.h"
#include "script/audience.h"
#include "script/audience_internal.h"
#include "script/binding.h"
#include "script/json_bridge.h"
#include "script/on_emit.h"

#include <stddef.h>
#include <string.h>

static struct hooks *hooks_of(lua_State *L) {
    return script_of(L)->hooks;
}

/* --- making --- */

/* Pushes the userdata that keeps a scope for the audiences made of it. */
static void push_scope(lua_State *L, struct scope *scope) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, scope->hooks->scope_objects);
    if (lua_rawgetp(L, -1, scope) == LUA_TNIL) {
        lua_pop(L, 1);
        struct scope **box = type_push(L, TYPE_SCOPE, sizeof *box, 0);
        scope->base.refs++;
        *box = scope;
        lua_pushvalue(L, -1);
        lua_rawsetp(L, -3, scope);
    }
    lua_remove(L, -2);
}

static int scope_free(lua_State *L) {
    struct scope **box = lua_touserdata(L, 1);
    scope_unref(*box);
    *box = NULL;
    return 0;
}

static struct audience *push(lua_State *L, struct scope *scope, enum audience_kind kind,
                             size_t bytes) {
    struct audience *a = type_push(L, TYPE_AUDIENCE, sizeof *a + bytes, 2);
    memset(a, 0, sizeof *a);
    a->scope = scope;
    a->kind = (uint8_t)kind;
    a->bytes = (uint32_t)bytes;
    push_scope(L, scope);
    lua_setiuservalue(L, -2, 1);
    return a;
}

static void set_except(lua_State *L, int client) {
    if (client) {
        lua_pushvalue(L, client);
        lua_setiuservalue(L, -2, 2);
    }
}

static void push_named(lua_State *L, struct scope *scope, enum audience_kind kind,
                       struct span name) {
    struct audience *a = push(L, scope, kind, name.len);
    memcpy(a->name, name.at, name.len);
}

void audience_push_room(lua_State *L, struct scope *scope, struct span name, int except) {
    push_named(L, scope, AUDIENCE_ROOM, name);
    set_except(L, except);
}

void audience_push_namespace(lua_State *L, struct scope *scope, int except) {
    push_named(L, scope, AUDIENCE_NAMESPACE, (struct span){"", 0});
    set_except(L, except);
}

void audience_push_client(lua_State *L, struct scope *scope, int client, bool is_volatile,
                          uint64_t timeout) {
    struct audience *a = push(L, scope, AUDIENCE_CLIENT, 0);
    a->is_volatile = is_volatile;
    a->timeout = timeout;
    set_except(L, client);
}

struct audience *audience_push_copy(lua_State *L, const struct audience *a) {
    struct audience *copy = type_push(L, TYPE_AUDIENCE, sizeof *a + a->bytes, 2);
    memcpy(copy, a, sizeof *a + a->bytes);
    for (int i = 1; i <= 2; i++) {
        lua_getiuservalue(L, 1, i);
        lua_setiuservalue(L, -2, i);
    }
    return copy;
}

struct scope *audience_scope(lua_State *L, const char *what) {
    const struct task *task = task_current(script_of(L));
    if (!task || !task->scope) {
        luaL_error(L, "%s needs a namespace, and there is none here: use mw.namespace(\"/name\")",
                   what);
        return NULL;
    }
    return (struct scope *)task->scope;
}

struct span audience_check_name(lua_State *L, int arg) {
    struct span name = binding_check_span(L, arg);
    size_t max = (size_t)script_of(L)->env.config->max_room_name;
    luaL_argcheck(L, name.len > 0 && name.len <= max && utf8_valid(name.at, name.len), arg,
                  "a room's name is text, not empty and not too long");
    return name;
}

int audience_room(lua_State *L) {
    struct span name = audience_check_name(L, 1);
    audience_push_room(L, audience_scope(L, "mw.room"), name, 0);
    return 1;
}

int audience_user(lua_State *L) {
    struct span id = binding_check_span(L, 1);
    push_named(L, audience_scope(L, "mw.user"), AUDIENCE_USER, id);
    return 1;
}

/* The names lie one after another, each behind its length. */
int audience_rooms(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    struct scope *scope = audience_scope(L, "mw.rooms");
    lua_Unsigned count = lua_rawlen(L, 1);
    size_t bytes = 0;
    luaL_argcheck(L, count <= MAX_ROOMS, 1, "too many rooms");
    for (lua_Unsigned i = 1; i <= count; i++) {
        if (lua_rawgeti(L, 1, (lua_Integer)i) != LUA_TSTRING) {
            return luaL_argerror(L, 1, "expected a list of room names");
        }
        bytes += sizeof(uint32_t) + audience_check_name(L, lua_gettop(L)).len;
        lua_pop(L, 1);
    }
    struct audience *a = push(L, scope, AUDIENCE_ROOMS, bytes);
    char *at = a->name;
    a->count = (uint32_t)count;
    for (lua_Unsigned i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, (lua_Integer)i);
        struct span name = binding_span(L, -1);
        uint32_t len = (uint32_t)name.len;
        memcpy(at, &len, sizeof len);
        memcpy(at + sizeof len, name.at, name.len);
        at += sizeof len + name.len;
        lua_pop(L, 1);
    }
    return 1;
}

int audience_namespace(lua_State *L) {
    if (lua_isnoneornil(L, 1)) {
        audience_push_namespace(L, audience_scope(L, "mw.namespace()"), 0);
        return 1;
    }
    struct span name = binding_check_span(L, 1);
    struct ns *ns = script_of(L)->env.hub ? hooks_find_ns(hooks_of(L), name) : NULL;
    if (!ns) {
        return luaL_error(L, "no handler table has the namespace '%s'", name.at);
    }
    /* Our reference must not be lost to an error, so a userdata has it. */
    struct scope **box = type_push(L, TYPE_SCOPE, sizeof *box, 0);
    *box = scope_get(hooks_of(L), ns);
    audience_push_namespace(L, *box, 0);
    return 1;
}

/* --- speaking --- */

struct audience *audience_check(lua_State *L, const char *method) {
    return type_check(L, 1, TYPE_AUDIENCE, method);
}

struct span audience_name(const struct audience *a) {
    return (struct span){a->name, a->bytes};
}

/* The one client that is meant. NULL: gone. */
static struct client *named_client(lua_State *L) {
    lua_getiuservalue(L, 1, 2);
    const struct client_box *box = lua_touserdata(L, -1);
    lua_pop(L, 1);
    return box->session ? box->session->client : NULL;
}

void audience_event(lua_State *L, struct message *m) {
    message_init(m, MESSAGE_EVENT);
    m->event = binding_check_span(L, 2);
    luaL_argcheck(L, m->event.len > 0 && utf8_valid(m->event.at, m->event.len), 2,
                  "an event's name is text");
    int top = lua_gettop(L);
    m->argc = (uint32_t)(top - 2);
    m->data = json_write_values(L, 3, top, "data", &m->attachments);
}

void audience_frame(lua_State *L, struct message *m) {
    struct span data = binding_check_span(L, 2);
    struct span kind = lua_isnoneornil(L, 3) ? SPAN("text") : binding_check_span(L, 3);
    bool binary = span_equal(kind, SPAN("binary"));
    luaL_argcheck(L, binary || span_equal(kind, SPAN("text")), 3,
                  "expected \"text\" or \"binary\"");
    luaL_argcheck(L, binary || utf8_valid(data.at, data.len), 2,
                  "is not UTF-8: send it as \"binary\"");
    message_init(m, binary ? MESSAGE_BINARY : MESSAGE_TEXT);
    m->data = data;
}

size_t audience_rooms_named(const struct audience *a, struct span *names) {
    const char *at = a->name;
    for (uint32_t i = 0; i < a->count; i++) {
        uint32_t len;
        memcpy(&len, at, sizeof len);
        names[i] = (struct span){at + sizeof len, len};
        at += sizeof len + len;
    }
    return a->count;
}

static int publish_rooms(const struct audience *a, struct message *m, const struct except *except) {
    struct span names[MAX_ROOMS];
    size_t count = audience_rooms_named(a, names);
    return hub_publish_rooms(a->scope->ns, names, count, m, except);
}

static int send_to_client(struct client *c, struct message *m) {
    return c ? hub_publish_client(c, m) : UV_ECANCELED;
}

/* What is to be kept on disk and cannot be. */
static int unwritten(lua_State *L, int error) {
    return binding_refuse(L, "unavailable",
                          error == UV_ENOBUFS ? "too much waits for the disk" : uv_strerror(error));
}

/* --- speaking, and waiting until it is on disk --- */

struct commit_wait {
    struct wait wait;
    struct commit commit;
    int status;
    char offset[OFFSET_MAX];
};

static void on_committed(struct commit *commit, int status) {
    struct commit_wait *w =
        (struct commit_wait *)((char *)commit - offsetof(struct commit_wait, commit));
    w->status = status;
    task_wake(&w->wait);
}

static void cancel_commit(struct wait *wait) {
    commit_cancel(&((struct commit_wait *)wait)->commit);
}

static int is_committed(lua_State *L, int status, lua_KContext ctx) {
    const struct commit_wait *w = (const struct commit_wait *)ctx;
    (void)status;
    if (w->status) {
        return unwritten(L, w->status);
    }
    lua_pushstring(L, w->offset);
    return 1;
}

static int speak_durably(lua_State *L, const struct audience *a, struct message *m) {
    struct left_out memory;
    struct span name = audience_name(a);
    struct commit_wait *w = lua_newuserdatauv(L, sizeof *w, 0);
    memset(w, 0, sizeof *w);
    w->wait.cancel = cancel_commit;
    w->commit.done = on_committed;
    m->flags = a->is_volatile ? MESSAGE_VOLATILE : 0;
    int error = hub_publish_durable(a->scope->ns, name, m, audience_except(L, &memory), w->offset,
                                    &w->commit);
    message_deinit(m);
    if (error == UV_ENOTSUP && !room_is_durable(a->scope->ns, name)) {
        lua_pushlstring(L, name.at, name.len);
        return luaL_error(L, "durable: the history of '%s' is not durable (rooms says so)",
                          lua_tostring(L, -1));
    }
    return error ? unwritten(L, error) : task_park(L, &w->wait, (lua_KContext)w, is_committed);
}

/* Sends to whomever the audience is, and pushes the result of emit and send. */
static int speak(lua_State *L, const struct audience *a, struct message *m) {
    struct ns *ns = a->scope->ns;
    struct left_out memory;
    const struct except *except = a->kind == AUDIENCE_CLIENT ? NULL : audience_except(L, &memory);
    char offset[OFFSET_MAX];
    int error = 0;
    m->flags = a->is_volatile ? MESSAGE_VOLATILE : 0;
    switch (a->kind) {
    case AUDIENCE_ROOM:
        m->room = audience_name(a);
        error = hub_publish(ns, m->room, m, except, offset);
        break;
    case AUDIENCE_ROOMS:
        error = publish_rooms(a, m, except);
        break;
    case AUDIENCE_USER:
        hub_publish_user(ns, audience_name(a), m, except);
        break;
    case AUDIENCE_NAMESPACE:
        hub_publish_ns(ns, m, except);
        break;
    default:
        error = send_to_client(named_client(L), m);
    }
    struct span told = a->kind == AUDIENCE_ROOM ? m->offset : (struct span){NULL, 0};
    message_deinit(m);
    if (error) {
        return a->kind == AUDIENCE_CLIENT ? binding_refuse(L, "closed", NULL) : unwritten(L, error);
    }
    if (told.len) {
        lua_pushlstring(L, told.at, told.len);
    } else {
        lua_pushboolean(L, 1);
    }
    return 1;
}

/* Before anything is done that cannot be undone. */
static void check_wait(lua_State *L, const struct audience *a) {
    if (a->is_durable) {
        task_check_wait(L, "room:durable()");
    }
}

/* What goes to nobody any more is not told. */
static void tell(lua_State *L, const struct audience *a) {
    if (a->kind != AUDIENCE_CLIENT || named_client(L)) {
        on_emit(L, a->scope, 1, lua_gettop(L));
    }
}

static int emit(lua_State *L) {
    const struct audience *a = audience_check(L, "emit");
    struct message m;
    check_wait(L, a);
    tell(L, a);
    audience_event(L, &m);
    return a->is_durable ? speak_durably(L, a, &m) : speak(L, a, &m);
}

static int send_frame(lua_State *L) {
    const struct audience *a = audience_check(L, "send");
    struct message m;
    check_wait(L, a);
    audience_frame(L, &m);
    return a->is_durable ? speak_durably(L, a, &m) : speak(L, a, &m);
}

static int request(lua_State *L) {
    const struct audience *a = audience_check(L, "request");
    uint64_t timeout = a->timeout ? a->timeout : ASK_TIMEOUT;
    struct span event = binding_check_span(L, 2);
    int last = lua_gettop(L);
    tell(L, a);
    if (a->kind == AUDIENCE_CLIENT) {
        struct client *c = named_client(L);
        if (!c) {
            return binding_refuse(L, "closed", NULL);
        }
        return ask_clients(L, hooks_of(L), &c, 1, event, 3, last, timeout, true);
    }
    size_t count;
    struct client **clients = audience_clients(L, a, &count);
    return ask_clients(L, hooks_of(L), clients, count, event, 3, last, timeout, false);
}

/* --- modifiers --- */

static int be_volatile(lua_State *L) {
    const struct audience *a = audience_check(L, "volatile");
    audience_push_copy(L, a)->is_volatile = true;
    return 1;
}

static int be_durable(lua_State *L) {
    const struct audience *a = audience_check(L, "durable");
    audience_push_copy(L, a)->is_durable = true;
    return 1;
}

static int timeout(lua_State *L) {
    const struct audience *a = audience_check(L, "timeout");
    uint64_t ms = binding_seconds(L, 2);
    audience_push_copy(L, a)->timeout = ms ? ms : 1;
    return 1;
}

static int room_in(lua_State *L) {
    const struct audience *a = audience_check(L, "room");
    audience_push_room(L, a->scope, audience_check_name(L, 2), 0);
    return 1;
}

static int user_in(lua_State *L) {
    const struct audience *a = audience_check(L, "user");
    push_named(L, a->scope, AUDIENCE_USER, binding_check_span(L, 2));
    return 1;
}

static int disconnect(lua_State *L) {
    const struct audience *a = audience_check(L, "disconnect");
    size_t count;
    (void)luaL_optstring(L, 2, NULL);
    lua_settop(L, 3); /* What comes on top must not be read as an argument. */
    struct client **clients = audience_clients(L, a, &count);
    for (size_t i = 0; i < count; i++) {
        disconnect_client(L, clients[i]);
    }
    if (a->kind == AUDIENCE_USER) {
        recovery_forget_user(a->scope->ns, audience_name(a));
    }
    lua_pushinteger(L, (lua_Integer)count);
    return 1;
}

/* Without on_join, as client:join. Those that are in too many rooms already stay out. */
static int join(lua_State *L) {
    const struct audience *a = audience_check(L, "join");
    struct span room = audience_check_name(L, 2);
    size_t count;
    lua_Integer joined = 0;
    struct client **clients = audience_clients(L, a, &count);
    for (size_t i = 0; i < count; i++) {
        joined += hub_join(clients[i], room) == 0;
    }
    lua_pushinteger(L, joined);
    return 1;
}

static int leave(lua_State *L) {
    const struct audience *a = audience_check(L, "leave");
    struct span room = audience_check_name(L, 2);
    size_t count;
    lua_Integer left = 0;
    struct client **clients = audience_clients(L, a, &count);
    for (size_t i = 0; i < count; i++) {
        left += session_leave(session_of(hooks_of(L), clients[i]), room, "left");
    }
    lua_pushinteger(L, left);
    return 1;
}

/* --- the type --- */

static const char *const kind_names[AUDIENCE_KINDS] = {"a room", "mw.rooms", "a user",
                                                       "a namespace", "a client with options"};

/* Upvalues: a table of methods for each kind. */
static int index_audience(lua_State *L) {
    const struct audience *a = type_check(L, 1, TYPE_AUDIENCE, "this");
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(a->kind + 1)) != LUA_TNIL) {
        return 1;
    }
    struct span key = lua_type(L, 2) == LUA_TSTRING ? binding_span(L, 2) : (struct span){"?", 1};
    struct span name = a->kind == AUDIENCE_NAMESPACE ? ns_name(a->scope->ns) : audience_name(a);
    bool named = a->kind == AUDIENCE_ROOM || a->kind == AUDIENCE_NAMESPACE;
    if ((named && span_is(key, "name")) || (a->kind == AUDIENCE_USER && span_is(key, "id"))) {
        lua_pushlstring(L, name.at, name.len);
        return 1;
    }
    return luaL_error(L, "%s has no '%s'", kind_names[a->kind], key.at);
}

static int audience_tostring(lua_State *L) {
    const struct audience *a = type_check(L, 1, TYPE_AUDIENCE, "this");
    struct span name = audience_name(a);
    if (a->kind == AUDIENCE_ROOMS || a->kind == AUDIENCE_CLIENT) {
        lua_pushstring(L, kind_names[a->kind]);
    } else {
        name = a->kind == AUDIENCE_NAMESPACE ? ns_name(a->scope->ns) : name;
        lua_pushfstring(L, "%s: ", kind_names[a->kind]);
        lua_pushlstring(L, name.at, name.len);
        lua_concat(L, 2);
    }
    return 1;
}

static const luaL_Reg room_methods[] = {
    {"emit", emit},
    {"send", send_frame},
    {"request", request},
    {"except", except_method},
    {"volatile", be_volatile},
    {"durable", be_durable},
    {"timeout", timeout},
    {"count", gather_count},
    {"members", gather_members},
    {"clients", gather_clients},
    {"history", gather_history},
    {"join", join},
    {"leave", leave},
    {"disconnect", disconnect},
    {NULL, NULL},
};
static const luaL_Reg rooms_methods[] = {
    {"emit", emit},
    {"send", send_frame},
    {"request", request},
    {"except", except_method},
    {"volatile", be_volatile},
    {"timeout", timeout},
    {"count", gather_count},
    {"members", gather_members},
    {"clients", gather_clients},
    {"join", join},
    {"leave", leave},
    {"disconnect", disconnect},
    {NULL, NULL},
};
static const luaL_Reg user_methods[] = {
    {"emit", emit},
    {"send", send_frame},
    {"request", request},
    {"except", except_method},
    {"volatile", be_volatile},
    {"timeout", timeout},
    {"count", gather_count},
    {"clients", gather_clients},
    {"join", join},
    {"leave", leave},
    {"disconnect", disconnect},
    {NULL, NULL},
};
static const luaL_Reg namespace_methods[] = {
    {"emit", emit},
    {"send", send_frame},
    {"request", request},
    {"except", except_method},
    {"volatile", be_volatile},
    {"timeout", timeout},
    {"count", gather_count},
    {"members", gather_members},
    {"clients", gather_clients},
    {"room", room_in},
    {"rooms", gather_rooms},
    {"user", user_in},
    {"join", join},
    {"leave", leave},
    {"disconnect", disconnect},
    {NULL, NULL},
};
static const luaL_Reg client_methods[] = {
    {"emit", emit},       {"send", send_frame}, {"request", request}, {"volatile", be_volatile},
    {"timeout", timeout}, {NULL, NULL},
};

static const luaL_Reg audience_functions[] = {{"__tostring", audience_tostring}, {NULL, NULL}};
static const luaL_Reg scope_functions[] = {{"__gc", scope_free}, {NULL, NULL}};
static const luaL_Reg ask_functions[] = {{"__gc", ask_free}, {NULL, NULL}};

void audience_open(lua_State *L) {
    static const luaL_Reg *const methods[AUDIENCE_KINDS] = {
        room_methods, rooms_methods, user_methods, namespace_methods, client_methods};
    type_new(L, TYPE_SCOPE, "scope", scope_functions);
    type_new(L, TYPE_ASK, "ask", ask_functions);
    type_new(L, TYPE_AUDIENCE, "audience", audience_functions);
    for (int i = 0; i < AUDIENCE_KINDS; i++) {
        lua_newtable(L);
        luaL_setfuncs(L, methods[i], 0);
    }
    lua_pushcclosure(L, index_audience, AUDIENCE_KINDS);
    lua_setfield(L, -2, "__index");
}
