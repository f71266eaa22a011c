/* The client's Lua object: what a handler gets first, and mw.client(id). The object is a box that
 * is emptied when the client is released; what Lua keeps of it (user, data, id) stays readable.
 * Uservalues: the user once it is over, client.data, a table of views made on first sight. */
#include "script/lib_client.h"
#include "http/request.h"
#include "hub/recovery.h"
#include "hub/replay.h"
#include "script/audience.h"
#include "script/audience_internal.h"
#include "script/binding.h"
#include "script/item.h"
#include "script/json_bridge.h"
#include "script/lib_request.h"
#include "script/on_emit.h"

static struct client_box *check(lua_State *L, const char *method) {
    return type_check(L, 1, TYPE_CLIENT, method);
}

/* The client behind the object, NULL when it is over. */
static struct client *client_in(const struct client_box *box) {
    return box->session ? box->session->client : NULL;
}

static int closed(lua_State *L) {
    return binding_refuse(L, "closed", NULL);
}

/* --- methods --- */

static int speak(lua_State *L, struct client *c, struct message *m) {
    int error = c ? hub_publish_client(c, m) : UV_ECANCELED;
    message_deinit(m);
    if (error) {
        return closed(L);
    }
    lua_pushboolean(L, 1);
    return 1;
}

static int client_emit(lua_State *L) {
    const struct client_box *box = check(L, "emit");
    struct client *c = client_in(box);
    struct message m;
    if (c) {
        on_emit(L, box->session->scope, 1, lua_gettop(L));
    }
    audience_event(L, &m);
    return speak(L, c, &m);
}

static int client_send_frame(lua_State *L) {
    struct client *c = client_in(check(L, "send"));
    struct message m;
    audience_frame(L, &m);
    return speak(L, c, &m);
}

/* The offset in the options, at 3. */
static struct span join_after(lua_State *L) {
    struct span after = {NULL, 0};
    luaL_checktype(L, 3, LUA_TTABLE);
    int kind = lua_getfield(L, 3, "after");
    if (kind == LUA_TSTRING) {
        after = binding_span(L, -1); /* The table keeps it. */
    } else if (kind != LUA_TNIL && !json_is_null(L, -1)) {
        luaL_error(L, "join: after is an offset (a string), not a %s", luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return after;
}

static void push_joined(lua_State *L, const struct joined *joined) {
    const char *reason = replay_reason(joined->result);
    lua_createtable(L, 0, 3);
    if (joined->result != REPLAY_NONE) {
        lua_pushboolean(L, joined->result == REPLAY_DONE);
        lua_setfield(L, -2, "recovered");
    }
    if (reason) {
        lua_pushstring(L, reason);
        lua_setfield(L, -2, "reason");
    }
    if (joined->offset.len) {
        lua_pushlstring(L, joined->offset.at, joined->offset.len);
        lua_setfield(L, -2, "offset");
    }
}

static int client_join(lua_State *L) {
    struct client *c = client_in(check(L, "join"));
    struct span room = binding_check_span(L, 2);
    struct span after = {NULL, 0};
    struct joined joined;
    bool options = !lua_isnoneornil(L, 3);
    if (options) {
        after = join_after(L);
    }
    int error = c ? replay_join(c, room, false, after, &joined) : UV_ECANCELED;
    if (error) {
        return binding_refuse(L, item_join_code(error), NULL);
    }
    replay_start(c);
    lua_pushboolean(L, 1);
    if (!options) {
        return 1;
    }
    push_joined(L, &joined);
    return 2;
}

static int client_leave(lua_State *L) {
    struct client_box *box = check(L, "leave");
    struct span room = binding_check_span(L, 2);
    if (!client_in(box)) {
        return closed(L);
    }
    lua_pushboolean(L, session_leave(box->session, room, "left"));
    return 1;
}

/* An audience of the client's namespace; of a client that is over, of nobody's. */
static struct scope *scope_in(lua_State *L, const struct client_box *box, const char *method) {
    if (box->session) {
        return box->session->scope;
    }
    return audience_scope(L, method);
}

static int client_to(lua_State *L) {
    const struct client_box *box = check(L, "to");
    struct span room = audience_check_name(L, 2);
    audience_push_room(L, scope_in(L, box, "client:to"), room, 1);
    return 1;
}

/* The namespace without this client and those named: what broadcast has with exceptions. */
static int client_except(lua_State *L) {
    const struct client_box *box = check(L, "except");
    audience_push_namespace(L, scope_in(L, box, "client:except"), 1);
    lua_replace(L, 1);
    return except_method(L);
}

/* Tells on_emit of whom the client speaks to. */
static void tell_broadcast(lua_State *L, struct scope *scope) {
    int last = lua_gettop(L);
    audience_push_namespace(L, scope, 1);
    on_emit_call(L, scope, last + 1, last);
    lua_settop(L, last);
}

static int client_broadcast(lua_State *L) {
    struct client_box *box = check(L, "broadcast");
    struct client *c = client_in(box);
    struct message m;
    if (c && hooks_handler(c->ns)->hooks[HOOK_EMIT] != LUA_NOREF) {
        tell_broadcast(L, box->session->scope);
    }
    audience_event(L, &m);
    if (!c) {
        return closed(L);
    }
    struct except me = {.clients = &c, .client_count = 1};
    hub_publish_ns(c->ns, &m, &me);
    message_deinit(&m);
    lua_pushboolean(L, 1);
    return 1;
}

static int client_be_volatile(lua_State *L) {
    const struct client_box *box = check(L, "volatile");
    audience_push_client(L, scope_in(L, box, "client:volatile"), 1, true, 0);
    return 1;
}

static int client_timeout(lua_State *L) {
    const struct client_box *box = check(L, "timeout");
    uint64_t ms = binding_seconds(L, 2);
    audience_push_client(L, scope_in(L, box, "client:timeout"), 1, false, ms ? ms : 1);
    return 1;
}

/* Why a client is sent away, where the handler does not say: Socket.IO has words for it. */
static const char *disconnect_reason(const struct client *c) {
    bool socketio = c->ops->wire == WIRE_SIO_WS || c->ops->wire == WIRE_SIO_POLLING;
    return socketio ? "server namespace disconnect" : "disconnected";
}

void disconnect_client(lua_State *L, struct client *c) {
    const char *reason = lua_tostring(L, 2);
    reason = reason ? reason : disconnect_reason(c);
    if (lua_toboolean(L, 3)) {
        client_end_connection(c, CLOSE_NORMAL, reason);
    } else {
        client_disconnect(c, CLOSE_NORMAL, reason);
    }
}

static int disconnect(lua_State *L) {
    struct client *c = client_in(check(L, "disconnect"));
    (void)luaL_optstring(L, 2, NULL);
    if (!c) {
        return closed(L);
    }
    disconnect_client(L, c);
    lua_pushboolean(L, 1);
    return 1;
}

/* --- client.rooms: a view of its memberships --- */

struct rooms_view {
    struct client_box *box; /* kept by uservalue 1 */
};

static const struct client_box *view_box(lua_State *L) {
    const struct rooms_view *view = type_check(L, 1, TYPE_ROOMS, "client.rooms");
    return view->box;
}

static int rooms_index(lua_State *L) {
    const struct client_box *box = view_box(L);
    const struct client *c = client_in(box);
    if (!c || lua_type(L, 2) != LUA_TSTRING) {
        return 0;
    }
    struct span name = binding_span(L, 2);
    if (!hub_is_member(c, name)) {
        return 0;
    }
    audience_push_room(L, box->session->scope, name, 0);
    return 1;
}

struct names {
    struct span *spans;
    uint32_t count;
    uint32_t room;
};

static void note_name(struct span name, void *data) {
    struct names *names = data;
    if (names->count < names->room) {
        names->spans[names->count++] = name;
    }
}

static int rooms_next(lua_State *L) {
    lua_settop(L, 2);
    return lua_next(L, 1) ? 2 : 0;
}

/* pairs(client.rooms): over a table made now, so that the loop may join and leave. */
static int rooms_pairs(lua_State *L) {
    const struct client_box *box = view_box(L);
    const struct client *c = client_in(box);
    struct names names = {.room = c ? c->room_count : 0};
    names.spans = lua_newuserdatauv(L, (names.room + 1) * sizeof *names.spans, 0);
    if (c) {
        client_each_room(c, note_name, &names);
    }
    lua_pushcfunction(L, rooms_next);
    lua_createtable(L, 0, (int)names.count);
    for (uint32_t i = 0; i < names.count; i++) {
        lua_pushlstring(L, names.spans[i].at, names.spans[i].len);
        audience_push_room(L, box->session->scope, names.spans[i], 0);
        lua_rawset(L, -3);
    }
    lua_pushnil(L);
    return 3;
}

static int rooms_len(lua_State *L) {
    const struct client *c = client_in(view_box(L));
    lua_pushinteger(L, c ? c->room_count : 0);
    return 1;
}

static int rooms_newindex(lua_State *L) {
    return luaL_error(L, "client.rooms is read-only: use client:join and client:leave");
}

static void push_rooms(lua_State *L, struct client_box *box) {
    struct rooms_view *view = type_push(L, TYPE_ROOMS, sizeof *view, 1);
    view->box = box;
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1);
}

/* --- fields --- */

enum field {
    FIELD_ID,
    FIELD_USER,
    FIELD_DATA,
    FIELD_WIRE,
    FIELD_CONNECTED,
    FIELD_RECOVERED,
    FIELD_RECOVERY_REASON,
    FIELD_NAMESPACE,
    FIELD_PARAMS,
    FIELD_REQUEST,
    FIELD_ROOMS,
    FIELD_COUNT
};
static const char *const field_names[FIELD_COUNT] = {
    "id",        "user",   "data",    "wire", "connected", "recovered", "recovery_reason",
    "namespace", "params", "request", "rooms"};

static void push_user(lua_State *L, struct client_box *box) {
    if (box->session && (box->session->client || box->session->user != LUA_NOREF)) {
        session_push_user(L, box->session);
    } else if (lua_getiuservalue(L, 1, CLIENT_USER) == LUA_TNIL) {
        lua_createtable(L, 0, 1);
        lua_pushstring(L, box->id);
        lua_setfield(L, -2, "id");
    }
}

/* Keeps the value on top of the stack in the object at index 1, and the object in existence. */
static void keep(lua_State *L, struct client_box *box, int uservalue) {
    if (box->session) {
        session_pin_object(L, box->session, 1);
    }
    lua_pushvalue(L, -1);
    lua_setiuservalue(L, 1, uservalue);
}

/* Pushes the table that is kept there, made if need be. */
static void push_table(lua_State *L, struct client_box *box, int uservalue) {
    if (lua_getiuservalue(L, 1, uservalue) == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
        keep(L, box, uservalue);
    }
}

static void push_params(lua_State *L, const struct client_box *box) {
    const struct handler *h = hooks_handler(box->session->scope->ns);
    request_push_params(L, &h->pattern, ns_name(box->session->scope->ns));
}

/* The views need the session to be made; afterwards they stay. */
static void push_view(lua_State *L, struct client_box *box, enum field field) {
    push_table(L, box, CLIENT_VIEWS);
    if (lua_rawgeti(L, -1, field) != LUA_TNIL || (!box->session && field != FIELD_ROOMS)) {
        return;
    }
    lua_pop(L, 1);
    if (field == FIELD_ROOMS) {
        push_rooms(L, box);
    } else if (field == FIELD_PARAMS) {
        push_params(L, box);
    } else if (box->session->request) {
        request_push(L, box->session->request, NULL);
        request_set_auth(L, box->session->auth);
    } else {
        lua_pushnil(L);
        return;
    }
    lua_pushvalue(L, -1);
    lua_rawseti(L, -3, field);
}

static void push_field(lua_State *L, struct client_box *box, enum field field) {
    const struct client *c = client_in(box);
    switch (field) {
    case FIELD_ID:
        lua_pushstring(L, box->id);
        break;
    case FIELD_USER:
        push_user(L, box);
        break;
    case FIELD_DATA:
        push_table(L, box, CLIENT_DATA);
        break;
    case FIELD_WIRE:
        lua_pushstring(L, c ? wire_name(c->ops->wire) : NULL);
        break;
    case FIELD_CONNECTED:
        lua_pushboolean(L, c && !c->closing);
        break;
    case FIELD_RECOVERED:
        lua_pushboolean(L, c && c->recovery == RECOVERY_DONE);
        break;
    case FIELD_RECOVERY_REASON:
        lua_pushstring(L, c ? recovery_reason(c->recovery) : NULL);
        break;
    case FIELD_NAMESPACE:
        if (box->session) {
            struct span name = ns_name(box->session->scope->ns);
            lua_pushlstring(L, name.at, name.len);
        } else {
            lua_pushnil(L);
        }
        break;
    default:
        push_view(L, box, field);
    }
}

/* Upvalue 1: name -> method, or the number of a field. Every call of a method passes here, so that
 * methods, which check their client themselves, come first. */
static int client_index(lua_State *L) {
    lua_pushvalue(L, 2);
    int kind = lua_rawget(L, lua_upvalueindex(1));
    if (kind == LUA_TFUNCTION) {
        return 1;
    }
    if (kind == LUA_TNUMBER) {
        enum field field = (enum field)lua_tointeger(L, -1);
        push_field(L, check(L, field_names[field]), field);
        return 1;
    }
    return luaL_error(L, "a client has no '%s' (an app's own fields live in client.data)",
                      luaL_tolstring(L, 2, NULL));
}

static int client_newindex(lua_State *L) {
    struct client_box *box = check(L, "this");
    if (lua_type(L, 2) == LUA_TSTRING && span_is(binding_span(L, 2), "data")) {
        luaL_checktype(L, 3, LUA_TTABLE);
        keep(L, box, CLIENT_DATA);
        return 0;
    }
    return luaL_error(L, "client.%s cannot be set: an app's own fields live in client.data",
                      luaL_tolstring(L, 2, NULL));
}

static int client_tostring(lua_State *L) {
    const struct client_box *box = check(L, "this");
    lua_pushfstring(L, "client: %s", box->id);
    return 1;
}

int lib_client_find(lua_State *L) {
    struct span id = binding_check_span(L, 1);
    struct hub *hub = script_of(L)->env.hub;
    struct client *c = hub ? hub_client(hub, id) : NULL;
    if (!c) {
        return 0;
    }
    session_push_object(L, session_of(script_of(L)->hooks, c));
    return 1;
}

/* There is no method `request`, which is a field: client:timeout(s):request(...) asks. */
static const luaL_Reg methods[] = {
    {"emit", client_emit},
    {"send", client_send_frame},
    {"join", client_join},
    {"leave", client_leave},
    {"to", client_to},
    {"broadcast", client_broadcast},
    {"except", client_except},
    {"volatile", client_be_volatile},
    {"timeout", client_timeout},
    {"disconnect", disconnect},
    {NULL, NULL},
};

static const luaL_Reg client_functions[] = {
    {"__newindex", client_newindex},
    {"__tostring", client_tostring},
    {NULL, NULL},
};

static const luaL_Reg rooms_functions[] = {
    {"__index", rooms_index},
    {"__newindex", rooms_newindex},
    {"__pairs", rooms_pairs},
    {"__len", rooms_len},
    {NULL, NULL},
};

void lib_client_open(lua_State *L) {
    type_new(L, TYPE_ROOMS, "client.rooms", rooms_functions);
    type_new(L, TYPE_CLIENT, "client", client_functions);
    luaL_newlib(L, methods);
    for (int i = 0; i < FIELD_COUNT; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, field_names[i]);
    }
    lua_pushcclosure(L, client_index, 1);
    lua_setfield(L, -2, "__index");
}
