/* Sessions as text and back: a list of the user, of the time at which its identity ends, and of
 * client.data, each of them null where there is none. What JSON cannot say is not kept: without its
 * data a client still comes back, without its user it is asked again who it is. Called by the hub
 * from the loop, outside of Lua. */
#include "script/keep.h"
#include "script/binding.h"
#include "script/expiry.h"
#include "script/json_bridge.h"
#include "script/session.h"

struct saving {
    struct session *session;
    struct writer *out;
};

static void push_data(lua_State *L, const struct session *s) {
    if (s->object == LUA_NOREF) {
        lua_pushnil(L);
        return;
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->object);
    lua_getiuservalue(L, -1, CLIENT_DATA);
    lua_remove(L, -2);
}

/* (saving, user, expires, data): raises where that is no JSON. */
static int write_values(lua_State *L) {
    struct saving *saving = lua_touserdata(L, 1);
    struct span attachments;
    struct span text = json_write_values(L, 2, 4, "client", &attachments);
    luaL_argcheck(L, attachments.len == 0, 4, "has binary values");
    writer_put_span(saving->out, text);
    return 0;
}

static bool try_write(lua_State *L, struct saving *saving, bool with_data) {
    struct session *s = saving->session;
    double expires = expiry_of(s);
    lua_settop(L, 1);
    lua_pushcfunction(L, write_values);
    lua_pushlightuserdata(L, saving);
    if (s->user == LUA_NOREF) {
        lua_pushnil(L);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->user);
    }
    if (expires == EXPIRY_NEVER) {
        lua_pushnil(L);
    } else {
        lua_pushnumber(L, expires);
    }
    if (with_data) {
        push_data(L, s);
    } else {
        lua_pushnil(L);
    }
    return lua_pcall(L, 4, 0, 0) == LUA_OK;
}

static int save(lua_State *L) {
    struct saving *saving = lua_touserdata(L, 1);
    if (!try_write(L, saving, true)) {
        (void)try_write(L, saving, false);
    }
    return 0;
}

static void app_save_session(struct app *app, void *script, struct writer *out) {
    struct saving saving = {script, out};
    (void)task_protect(((struct hooks *)app)->script, save, &saving);
}

struct loading {
    struct session *session;
    struct span id;
    struct span text;
    bool good;
};

static int load(lua_State *L) {
    struct loading *loading = lua_touserdata(L, 1);
    struct session *s = loading->session;
    struct json_fault fault;
    lua_settop(L, 1);
    if (json_push_values(L, loading->text, (struct span){0}, &fault) != 3) {
        return 0;
    }
    if (lua_istable(L, 2)) {
        lua_pushvalue(L, 2);
        s->user = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    expiry_set(s, lua_isnumber(L, 3) ? lua_tonumber(L, 3) : EXPIRY_NEVER);
    if (lua_istable(L, 4)) {
        session_push_early_object(L, s, loading->id);
        lua_pushvalue(L, 4);
        lua_setiuservalue(L, -2, CLIENT_DATA);
    }
    loading->good = true;
    return 0;
}

static void *app_load_session(struct app *app, struct ns *ns, struct span id, struct span text) {
    struct hooks *hooks = (struct hooks *)app;
    struct loading loading = {.session = session_new(hooks, ns, NULL), .id = id, .text = text};
    (void)task_protect(hooks->script, load, &loading);
    if (!loading.good) {
        session_drop(loading.session);
        return NULL;
    }
    loading.session->closed = true;
    return loading.session;
}

void keep_fill_app(struct app *app) {
    app->save_session = app_save_session;
    app->load_session = app_load_session;
}
