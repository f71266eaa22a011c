/* The part of `moonwire` that is about clients, rooms and namespaces: moonwire.hub. Beside the
 * functions of the other lib_*.c files it has mw.sse. */
#include "hub/replay.h"
#include "script/audience.h"
#include "script/auth.h"
#include "script/binding.h"
#include "script/expiry.h"
#include "script/lib_client.h"
#include "script/lib_request.h"
#include "script/session.h"

/* --- mw.sse(request, { rooms = {...}, user = {...} }) --- */

/* Pushes options.rooms (a table, maybe empty) after checking it. */
static void push_room_names(lua_State *L) {
    if (lua_getfield(L, 2, "rooms") == LUA_TNIL) {
        lua_pop(L, 1);
        lua_newtable(L);
    }
    if (!lua_istable(L, -1)) {
        luaL_argerror(L, 2, "rooms is a list of names");
    }
    lua_Integer count = (lua_Integer)lua_rawlen(L, -1);
    luaL_argcheck(L, count <= script_of(L)->env.config->max_rooms, 2, "too many rooms");
    for (lua_Integer i = 1; i <= count; i++) {
        if (lua_rawgeti(L, -1, i) != LUA_TSTRING) {
            luaL_argerror(L, 2, "rooms is a list of names");
        }
        audience_check_name(L, lua_gettop(L));
        lua_pop(L, 1);
    }
}

/* A route's stream has no reply to its joins: it hears only of what it cannot get any more. */
static void join_room(struct client *c, struct span room) {
    struct joined joined;
    struct span after;
    (void)replay_ask(c, room, (struct span){NULL, 0}, &after);
    int error = replay_join(c, room, true, (struct span){NULL, 0}, &joined);
    replay_forget(c);
    if (error == 0 && replay_reason(joined.result)) {
        replay_tell(c, room, joined.result);
    } else if (error == 0 && joined.offset.len) {
        replay_tell_position(c, joined.offset);
    }
    replay_start(c);
}

/* Stack: 1 request, 2 options, 3 the user or nil. */
static int open_stream(lua_State *L) {
    struct script *s = script_of(L);
    struct exchange *x;
    struct request *r = request_check(L, 1, &x);
    struct scope *scope = audience_scope(L, "mw.sse");
    struct verdict verdict = {.allowed = true};
    double expires = EXPIRY_NEVER;
    int user = LUA_NOREF;
    push_room_names(L); /* 4 */
    if (!x || !exchange_open(x)) {
        return binding_refuse(L, "closed", NULL);
    }
    if (!lua_isnil(L, 3)) {
        expires = auth_expires(L, 3);
        if (expires != EXPIRY_NEVER && expiry_is_over(expires)) {
            return binding_refuse(L, "unauthorized", "expired");
        }
        verdict.user_id = auth_user_id(L, 3);
        lua_pushvalue(L, 3);
        user = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    struct session *session = session_new(s->hooks, scope->ns, r);
    session->user = user;
    expiry_set(session, expires);
    verdict.script = session;
    struct client *c = s->env.open_stream(s->env.data, x, scope->ns, &verdict);
    if (!c) {
        return binding_refuse(L, "closed", NULL);
    }
    lua_Integer count = (lua_Integer)lua_rawlen(L, 4);
    for (lua_Integer i = 1; i <= count; i++) {
        lua_rawgeti(L, 4, i);
        join_room(c, binding_span(L, -1));
        lua_pop(L, 1);
    }
    replay_withdraw(c);
    session_push_object(L, session_of(s->hooks, c));
    return 1;
}

/* on_auth has answered, at 3 and behind. */
static int after_auth(lua_State *L, int status, lua_KContext ctx) {
    (void)status;
    (void)ctx;
    if (lua_istable(L, 3)) {
        lua_settop(L, 3);
        return open_stream(L);
    }
    lua_pushnil(L);
    if (lua_type(L, 4) == LUA_TSTRING) {
        lua_pushvalue(L, 4);
        lua_pushvalue(L, 5);
        return 3;
    }
    lua_pushliteral(L, "unauthorized");
    return 2;
}

static int sse(lua_State *L) {
    request_check(L, 1, NULL);
    struct scope *scope = audience_scope(L, "mw.sse");
    const struct handler *h = hooks_handler(scope->ns);
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_newtable(L);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    int given = lua_getfield(L, 2, "user");
    if (given != LUA_TNIL) {
        luaL_checktype(L, 3, LUA_TTABLE);
        return open_stream(L);
    }
    if (h->hooks[HOOK_AUTH] == LUA_NOREF) {
        return open_stream(L);
    }
    lua_settop(L, 2);
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->hooks[HOOK_AUTH]);
    lua_pushvalue(L, 1);
    lua_callk(L, 1, 3, 0, after_auth);
    return after_auth(L, LUA_OK, 0);
}

static const luaL_Reg functions[] = {
    {"room", audience_room},
    {"rooms", audience_rooms},
    {"user", audience_user},
    {"namespace", audience_namespace},
    {"client", lib_client_find},
    {"sse", sse},
    {NULL, NULL},
};

int luaopen_moonwire_hub(lua_State *L) {
    luaL_newlib(L, functions);
    return 1;
}
