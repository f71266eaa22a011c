/* on_auth as a task whose data is a `struct auth`: what it returned is kept there within Lua and
 * acted upon when the task is over, outside of Lua. The first time the answer opens a client; again
 * (see expiry.c, which asks) it replaces the user and the time of one that is there. Called by the
 * transports through the app. */
#include "script/auth.h"
#include "base/utf8.h"
#include "http/request.h"
#include "script/answer.h"
#include "script/binding.h"
#include "script/expiry.h"
#include "script/json_bridge.h"
#include "script/lib_request.h"
#include "script/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct auth {
    struct hooks *hooks;
    const struct handler *handler; /* lives as long as the task's version */
    struct request *request;       /* owns a reference */
    int object;                    /* reference to the request's Lua object */
    struct session *session;       /* the one to be; NULL: asked again, for */
    struct expiry *expiry;         /* the session of this one */
    struct question *question;     /* the first time */
    struct buf *args;              /* asked again: the client's answer */
    struct buf *attachments;
    struct ack *ack; /* who wants to know how it ended; may be NULL */
    /* what on_auth has said */
    bool allowed;
    int user; /* reference to the user's table */
    double expires;
    struct buf *user_id; /* with its NUL */
    struct buf *code;    /* why not */
    struct buf *detail;
};

static struct auth *auth_new(struct hooks *hooks, const struct handler *h, struct request *r) {
    struct auth *auth = memory_zalloc(sizeof *auth);
    auth->hooks = hooks;
    auth->handler = h;
    auth->request = request_ref(r);
    auth->object = LUA_NOREF;
    auth->user = LUA_NOREF;
    return auth;
}

static void auth_free(struct auth *auth) {
    lua_State *L = auth->hooks->script->L;
    luaL_unref(L, LUA_REGISTRYINDEX, auth->object);
    luaL_unref(L, LUA_REGISTRYINDEX, auth->user);
    request_unref(auth->request);
    buf_unref(auth->args);
    buf_unref(auth->attachments);
    buf_unref(auth->user_id);
    buf_unref(auth->code);
    buf_unref(auth->detail);
    free(auth);
}

static struct span span_of_buf(const struct buf *buf) {
    return buf ? (struct span){buf->bytes, buf->len} : (struct span){NULL, 0};
}

/* --- what on_auth returns --- */

const char *auth_user_id(lua_State *L, int user) {
    user = lua_absindex(L, user);
    int kind = lua_getfield(L, user, "id");
    bool number = kind == LUA_TNUMBER && lua_isinteger(L, -1);
    if (!number && kind != LUA_TSTRING) {
        luaL_error(L, "a user's id must be a string or a whole number, not a %s",
                   luaL_typename(L, -1));
    }
    size_t len;
    const char *id = lua_tolstring(L, -1, &len);
    if (len == 0 || strlen(id) != len || !utf8_valid(id, len)) {
        luaL_error(L, "a user's id must be text, and not empty");
    }
    return id;
}

double auth_expires(lua_State *L, int user) {
    double expires = EXPIRY_NEVER;
    int kind = lua_getfield(L, user, "expires");
    if (kind == LUA_TNUMBER) {
        expires = lua_tonumber(L, -1);
    }
    if (kind != LUA_TNIL && (kind != LUA_TNUMBER || isnan(expires))) {
        luaL_error(L,
                   "a user's expires must be a time in seconds since 1970 (mw.now() + 60), "
                   "not a %s",
                   luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    /* A user that ended before 1970 has ended, too. */
    return kind == LUA_TNUMBER && !(expires > 0) ? 0.001 : expires;
}

static void refuse(struct auth *auth, struct span code, struct span detail) {
    auth->code = buf_copy(code.at, code.len);
    auth->detail = detail.len ? buf_copy(detail.at, detail.len) : NULL;
}

static void end_auth(lua_State *L, void *data, int first) {
    struct auth *auth = data;
    if (answer_is_error(L, first)) {
        struct reply reply;
        answer_read(L, first, &reply);
        refuse(auth, reply.code, reply.detail);
    } else if (lua_isnoneornil(L, first) || (lua_isboolean(L, first) && !lua_toboolean(L, first))) {
        refuse(auth, SPAN("unauthorized"), (struct span){NULL, 0});
    } else if (!lua_istable(L, first)) {
        luaL_error(L, "on_auth must return a user (a table with id), not a %s",
                   luaL_typename(L, first));
    } else {
        auth->expires = auth_expires(L, first);
        if (auth->expires != EXPIRY_NEVER && expiry_is_over(auth->expires)) {
            refuse(auth, SPAN("unauthorized"), SPAN("\"expired\""));
            return;
        }
        const char *id = auth_user_id(L, first);
        auth->user_id = buf_copy(id, lua_rawlen(L, -1) + 1);
        lua_pushvalue(L, first);
        auth->user = luaL_ref(L, LUA_REGISTRYINDEX);
        auth->allowed = true;
    }
}

/* The path, and not the target: a token may stand in the query. */
static void describe(const void *data, struct log_line *line) {
    const struct auth *auth = data;
    log_field(line, "method", request_method(auth->request));
    log_field(line, "path", request_path(auth->request));
}

/* Why it was refused, if on_auth itself has not said. */
static struct span code_of(const struct auth *auth, enum task_end how) {
    return how == TASK_FAILED      ? SPAN("internal_error")
           : how == TASK_ABANDONED ? SPAN("unavailable")
                                   : span_of_buf(auth->code);
}

/* --- the first time --- */

static int begin_first(lua_State *L, void *data) {
    struct auth *auth = data;
    lua_rawgeti(L, LUA_REGISTRYINDEX, auth->handler->hooks[HOOK_AUTH]);
    if (auth->object != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, auth->object);
    } else {
        request_push(L, auth->request, NULL);
    }
    request_set_auth(L, auth->session->auth);
    return 1;
}

static void done_first(void *data, enum task_end how) {
    struct auth *auth = data;
    struct session *session = auth->session;
    struct verdict verdict = {.allowed = how == TASK_RETURNED && auth->allowed};
    if (verdict.allowed) {
        verdict.user_id = auth->user_id->bytes;
        verdict.script = session;
        session->user = auth->user;
        auth->user = LUA_NOREF;
        expiry_set(session, auth->expires);
    } else {
        session_drop(session);
        verdict.code = code_of(auth, how);
        verdict.detail = span_of_buf(auth->detail);
    }
    auth->question->answer(auth->question, &verdict);
    auth_free(auth);
}

static const struct task_kind first_kind = {HOOK_AUTH,  begin_first, end_auth,
                                            done_first, NULL,        describe};

static void app_on_auth(struct app *app, struct ns *ns, struct request *r, struct span presented,
                        struct question *q) {
    struct hooks *hooks = (struct hooks *)app;
    const struct handler *h = hooks_handler(ns);
    struct session *session = session_new(hooks, ns, r);
    session->auth = span_is(presented, "{}") ? buf_ref(hooks->no_auth)
                    : presented.len          ? buf_copy(presented.at, presented.len)
                                             : NULL;
    if (h->hooks[HOOK_AUTH] == LUA_NOREF) {
        struct verdict verdict = {.allowed = true, .script = session};
        q->answer(q, &verdict);
        return;
    }
    struct auth *auth = auth_new(hooks, h, r);
    auth->question = q;
    auth->session = session;
    if (hooks->guarded == r) {
        auth->object = hooks->guarded_object;
        hooks->guarded_object = LUA_NOREF;
    }
    task_run(hooks->script, &first_kind, auth, h->set->version, &session->scope->base);
}

/* --- again --- */

/* Pushes what the client has answered, as request.auth wants it. False: nothing of that kind. */
static bool push_answer(lua_State *L, const struct auth *auth) {
    struct json_fault fault;
    int top = lua_gettop(L);
    if (json_push_values(L, span_of_buf(auth->args), span_of_buf(auth->attachments), &fault) < 1) {
        return false;
    }
    lua_settop(L, top + 1);
    if (lua_type(L, -1) == LUA_TSTRING) {
        lua_createtable(L, 0, 1);
        lua_insert(L, -2);
        lua_setfield(L, -2, "token");
    }
    return lua_istable(L, -1);
}

static int begin_again(lua_State *L, void *data) {
    struct auth *auth = data;
    lua_rawgeti(L, LUA_REGISTRYINDEX, auth->handler->hooks[HOOK_AUTH]);
    request_push(L, auth->request, NULL);
    if (!push_answer(L, auth)) {
        refuse(auth, SPAN("bad_message"), (struct span){NULL, 0});
        return -1;
    }
    request_put_auth(L);
    return 1;
}

/* The same client with a new user and a new end, if it is still there and the same user. */
static bool adopt(struct auth *auth) {
    struct session *s = expiry_session(auth->expiry);
    if (!s || !s->client || s->client->closing) {
        refuse(auth, SPAN("closed"), (struct span){NULL, 0});
        return false;
    }
    if (!span_equal(client_user(s->client), span_of(auth->user_id->bytes))) {
        refuse(auth, SPAN("unauthorized"), SPAN("\"another id\""));
        return false;
    }
    luaL_unref(auth->hooks->script->L, LUA_REGISTRYINDEX, s->user);
    s->user = auth->user;
    auth->user = LUA_NOREF;
    expiry_set(s, auth->expires);
    return true;
}

static void done_again(void *data, enum task_end how) {
    struct auth *auth = data;
    struct reply reply = {.argc = 0};
    if (how != TASK_RETURNED || !auth->allowed || !adopt(auth)) {
        reply.code = code_of(auth, how);
        reply.detail = span_of_buf(auth->detail);
    }
    expiry_refreshed(auth->expiry);
    if (auth->ack) {
        auth->ack->answer(auth->ack, &reply);
    }
    auth_free(auth);
}

static const struct task_kind again_kind = {HOOK_AUTH,  begin_again, end_auth,
                                            done_again, NULL,        describe};

void auth_again(struct expiry *e, struct span args, struct span attachments, struct ack *ack) {
    struct session *s = expiry_session(e);
    const struct handler *h = hooks_handler(s->client->ns);
    struct auth *auth = auth_new(s->scope->hooks, h, s->request);
    auth->expiry = e;
    auth->ack = ack;
    auth->args = buf_copy(args.at, args.len);
    auth->attachments = attachments.len ? buf_copy(attachments.at, attachments.len) : NULL;
    if (h->hooks[HOOK_AUTH] == LUA_NOREF) { /* A reload has taken the hook away. */
        refuse(auth, SPAN("unauthorized"), (struct span){NULL, 0});
        done_again(auth, TASK_RETURNED);
        return;
    }
    task_run(auth->hooks->script, &again_kind, auth, h->set->version, &s->scope->base);
}

void auth_fill_app(struct app *app) {
    app->on_auth = app_on_auth;
}
