/* Sessions: the life of a client as the app sees it. Each item of a client's line is a task whose
 * data is the session; what the handler returns is answered in item.c. Called by the transports
 * through the app, and by lib_client.c. */
#include "script/session.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "http/request.h"
#include "hub/recovery.h"
#include "hub/replay.h"
#include "script/ask.h"
#include "script/expiry.h"
#include "script/item.h"
#include "script/keep.h"

#include <stdlib.h>
#include <string.h>

static line_run run_item;

static struct script *script_in(const struct session *s) {
    return s->scope->hooks->script;
}

struct session *session_new(struct hooks *hooks, struct ns *ns, const struct request *request) {
    struct session *s = memory_zalloc(sizeof *s);
    line_init(&s->line);
    s->request = request ? request_keep(request) : NULL;
    s->scope = scope_get(hooks, ns);
    s->object = LUA_NOREF;
    s->user = LUA_NOREF;
    return s;
}

/* Empties the Lua object, if there still is one. What Lua keeps of it has the user. Outside of
 * Lua: nothing here allocates, so nothing raises. */
static void empty_object(lua_State *L, struct session *s) {
    int top = lua_gettop(L);
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->scope->hooks->client_objects);
    if (s->object != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->object);
    } else {
        lua_rawgetp(L, -1, s);
    }
    struct client_box *box = lua_touserdata(L, -1);
    if (box) {
        box->session = NULL;
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->user);
        lua_setiuservalue(L, -2, CLIENT_USER);
    }
    if (box && s->object == LUA_NOREF) {
        lua_pushnil(L);
        lua_rawsetp(L, top + 1, s);
    }
    lua_settop(L, top);
}

void session_drop(struct session *s) {
    lua_State *L = script_in(s)->L;
    if (s->seen) {
        empty_object(L, s);
    }
    expiry_set(s, EXPIRY_NEVER);
    luaL_unref(L, LUA_REGISTRYINDEX, s->object);
    luaL_unref(L, LUA_REGISTRYINDEX, s->user);
    if (s->request) {
        request_unref(s->request);
    }
    buf_unref(s->auth);
    scope_unref(s->scope);
    free(s);
}

struct session *session_of(struct hooks *hooks, struct client *c) {
    struct session *s = c->script;
    if (!s) {
        s = session_new(hooks, c->ns, NULL);
        c->script = s;
    }
    s->client = c;
    return s;
}

/* --- the line --- */

/* After anything that may have moved the line: counts, reads on, frees what is over. The session
 * may be gone afterwards. */
static void settle(struct session *s) {
    const struct script_env *env = &script_in(s)->env;
    if (s->line.draining) {
        return;
    }
    env->metrics->queued_events += (int64_t)s->line.count - s->counted;
    s->counted = s->line.count;
    if (s->released) {
        session_drop(s);
        return;
    }
    if (s->stopped && s->line.count <= (uint32_t)env->config->max_queue / 2) {
        s->stopped = false;
        if (!s->client->closing) {
            s->client->ops->resume(s->client);
        }
    }
}

/* While a handler waits for its own client's answer, reading goes on to four times the bound, for
 * the answer stands behind the events. Beyond that the handler hears of it and reading stops. */
#define AWAIT_FACTOR 4

static bool awaits(const struct session *s) {
    return s->asks && s->asks->awaited;
}

static bool has_room(struct session *s) {
    uint32_t bound = (uint32_t)script_in(s)->env.config->max_queue;
    if (awaits(s) && s->line.count >= bound * AWAIT_FACTOR) {
        ask_fail(s, "backpressure");
    }
    return s->line.count < (awaits(s) ? bound * AWAIT_FACTOR : bound);
}

/* Puts an item into the line; false when the line is full. */
static bool push(struct session *s, const struct item *item) {
    if (s->closed) {
        if (item->ack) {
            struct reply reply = {.code = SPAN("closed")};
            item->ack->answer(item->ack, &reply);
        }
        return true;
    }
    line_push(&s->line, item, run_item);
    bool room = has_room(s);
    s->stopped = s->stopped || !room;
    settle(s);
    return room;
}

/* Its client may come back: until then nothing of it is wanted but its user and its object. */
static void rest(struct session *s) {
    if (s->request) {
        request_unref(s->request);
        s->request = NULL;
    }
    buf_unref(s->auth);
    s->auth = NULL;
}

/* The item has ended, whether a handler ran or not. */
static void finish(struct session *s) {
    uint8_t kind = s->item->kind;
    s->item = NULL;
    recovery_touch(s->client);
    if (s->asks) {
        s->asks->awaited = 0;
    }
    if (kind == ITEM_JOIN) {
        replay_forget(s->client);
    } else if (kind == ITEM_DISCONNECT) {
        struct client *c = s->client;
        s->client = NULL;
        if (recovery_keeps(c) && !script_in(s)->stopping) {
            rest(s);
        } else {
            s->released = true;
            c->script = NULL;
        }
        client_release(c);
    }
    line_done(&s->line, run_item);
    settle(s);
}

void session_done(void *data, enum task_end how) {
    struct session *s = data;
    if (s->guarded) {
        script_in(s)->env.metrics->handler_errors[HOOK_ANY] += how == TASK_FAILED;
        s->guarded = false;
    }
    if (item_ack(s)) {
        item_answer_code(s, how == TASK_ABANDONED ? "unavailable" : "internal_error");
    }
    finish(s);
}

/* --- running an item --- */

static bool room_name_ok(const struct session *s, struct span room) {
    return room.len > 0 && room.len <= (size_t)script_in(s)->env.config->max_room_name &&
           utf8_valid(room.at, room.len);
}

/* What needs no handler is done here; true if one is to run. */
static bool prepare(struct session *s, const struct item *item) {
    const struct handler *h = hooks_handler(s->client->ns);
    struct reply empty = {.argc = 0};
    if (script_in(s)->stopping) {
        if (item_ack(s)) {
            item_answer_code(s, "unavailable");
        }
        return false;
    }
    switch (item->kind) {
    case ITEM_JOIN:
        if (h->hooks[HOOK_JOIN] == LUA_NOREF) {
            item_answer_code(s, "forbidden");
            return false;
        }
        if (!room_name_ok(s, item->name)) {
            item_answer_code(s, "bad_room");
            return false;
        }
        return true;
    case ITEM_LEAVE:
        if (s->client->closing) { /* Then every room is left with the end, and only once. */
            item_answer_code(s, "closed");
            return false;
        }
        if (!hub_leave(s->client, item->name)) {
            item_answer_code(s, "not_in_room");
            return false;
        }
        item_answer(s, &empty);
        return h->hooks[HOOK_LEAVE] != LUA_NOREF;
    case ITEM_EVENT:
        return true;
    case ITEM_DISCONNECT: /* A one-shot POST was never announced, so its going is not either. */
        return h->hooks[HOOK_DISCONNECT] != LUA_NOREF && s->client->ops->wire != WIRE_POST;
    default:
        return h->hooks[item_kinds[item->kind].hook] != LUA_NOREF;
    }
}

static void run_item(struct line *line, const struct item *item) {
    struct session *s = (struct session *)line;
    s->item = item;
    s->begun = false;
    s->answered = false;
    if (!prepare(s, item)) {
        finish(s);
        return;
    }
    struct version *version = hooks_handler(s->client->ns)->set->version;
    task_run(script_in(s), &item_kinds[item->kind], s, version, &s->scope->base);
    if (s->item ==
        item) { /* Lua was busy and it begins later, or it waits and has seen its data. */
        struct item rest = *item;
        rest.data.len = s->begun ? 0 : item->data.len;
        rest.attachments.len = s->begun ? 0 : item->attachments.len;
        s->item = line_keep(line, &rest);
    }
}

struct client *session_joining(const struct script *script, const struct ns *ns, struct span room) {
    const struct task *task = task_current(script);
    if (!task || task->kind != &item_kinds[ITEM_JOIN]) {
        return NULL;
    }
    const struct session *s = task->data;
    return s->client->ns == ns && span_equal(s->item->name, room) ? s->client : NULL;
}

bool session_is_running(const struct session *s) {
    const struct task *task = task_current(script_in(s));
    return task && task->data == s;
}

/* Reads on at the end of the turn, for the handler that asked is still on the stack and the answer
 * must not come before it waits. By id, since the client may be gone by then. */
struct reread {
    struct deferred deferred;
    struct hub *hub;
    char id[CLIENT_ID_LEN + 1];
};

static void run_reread(struct deferred *deferred) {
    struct reread *reread = (struct reread *)deferred;
    struct client *c = hub_client(reread->hub, span_of(reread->id));
    free(reread);
    if (c) {
        c->ops->resume(c);
    }
}

void session_await(struct session *s) {
    s->asks->awaited++;
    if (s->stopped &&
        s->line.count < (uint32_t)script_in(s)->env.config->max_queue * AWAIT_FACTOR) {
        struct reread *reread = memory_zalloc(sizeof *reread);
        s->stopped = false;
        reread->deferred.run = run_reread;
        reread->hub = ns_hub(s->client->ns);
        client_id(s->client, reread->id);
        io_defer_closed(script_in(s)->env.io, &reread->deferred);
    }
}

/* --- leaving and closing --- */

bool session_leave(struct session *s, struct span room, const char *reason) {
    if (!s->client || s->client->closing || !hub_leave(s->client, room)) {
        return false;
    }
    struct item item = {.kind = ITEM_LEFT, .name = room, .data = span_of(reason)};
    (void)push(s, &item);
    return true;
}

static void push_left(struct span room, void *data) {
    struct session *s = data;
    struct item item = {
        .kind = ITEM_LEFT, .name = room, .data = span_of(s->client->closing->reason)};
    line_push(&s->line, &item, run_item);
}

static void close_session(struct session *s, const char *reason) {
    struct client *c = s->client;
    struct item last = {.kind = ITEM_DISCONNECT, .data = span_of(reason)};
    ask_fail(s, "closed");
    s->closed = true;
    if (hooks_handler(c->ns)->hooks[HOOK_LEAVE] != LUA_NOREF) {
        client_each_room(c, push_left, s);
    }
    line_push(&s->line, &last, run_item);
    settle(s);
}

/* --- Lua's side --- */

/* Above the table of objects on the stack. */
static void push_new_object(lua_State *L, struct session *s, struct span id) {
    struct client_box *box = type_push(L, TYPE_CLIENT, sizeof *box, CLIENT_USERVALUES);
    memcpy(box->id, id.at, CLIENT_ID_LEN);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, -3, s);
    /* Only now, for the box is emptied through the table. */
    box->session = s;
    s->seen = true;
}

/* Most clients are idle, and Lua has seen them once, in on_connect. So the object is held by a weak
 * table until it is wanted a second time, or holds something. */
void session_push_object(lua_State *L, struct session *s) {
    if (s->object != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->object);
        return;
    }
    bool again = s->seen;
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->scope->hooks->client_objects);
    if (lua_rawgetp(L, -1, s) == LUA_TNIL) {
        char id[CLIENT_ID_LEN + 1];
        lua_pop(L, 1);
        client_id(s->client, id);
        push_new_object(L, s, span_of(id));
    }
    lua_remove(L, -2);
    if (again) {
        session_pin_object(L, s, lua_gettop(L));
    }
}

void session_push_early_object(lua_State *L, struct session *s, struct span id) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->scope->hooks->client_objects);
    push_new_object(L, s, id);
    lua_remove(L, -2);
    session_pin_object(L, s, lua_gettop(L));
}

void session_pin_object(lua_State *L, struct session *s, int index) {
    if (s->object == LUA_NOREF) {
        lua_pushvalue(L, index);
        s->object = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->scope->hooks->client_objects);
        lua_pushnil(L);
        lua_rawsetp(L, -2, s);
        lua_pop(L, 1);
    }
}

static void push_default_user(lua_State *L, const struct client *c) {
    char id[CLIENT_ID_LEN + 1];
    client_id(c, id);
    lua_createtable(L, 0, 1);
    lua_pushstring(L, id);
    lua_setfield(L, -2, "id");
}

void session_push_user(lua_State *L, struct session *s) {
    if (s->user == LUA_NOREF) {
        push_default_user(L, s->client);
        s->user = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, s->user);
}

/* --- the app's functions --- */

static struct session *session_in(struct app *app, struct client *c) {
    return session_of((struct hooks *)app, c);
}

/* client.request and what else was seen of the last connection; outside of Lua, see empty_object.
 */
static void forget_views(lua_State *L, struct session *s) {
    if (s->object != LUA_NOREF) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, s->object);
        lua_pushnil(L);
        lua_setiuservalue(L, -2, CLIENT_VIEWS);
        lua_pop(L, 1);
    }
}

static bool app_on_return(struct app *app, void *script, struct request *r, struct span auth) {
    struct session *s = script;
    double expires = s ? expiry_of(s) : EXPIRY_NEVER;
    (void)app;
    if (!s || (expires != EXPIRY_NEVER && expiry_is_over(expires))) {
        return false;
    }
    if (expires != EXPIRY_NEVER) {
        expiry_set(s, expires); /* Its client can be asked again. */
    }
    s->request = request_keep(r);
    s->auth = buf_copy(auth.at, auth.len);
    s->closed = s->stopped = false;
    forget_views(script_in(s)->L, s);
    return true;
}

static void app_on_connect(struct app *app, struct client *c) {
    struct session *s = session_in(app, c);
    struct item item = {.kind = ITEM_CONNECT};
    (void)push(s, &item);
}

static bool app_on_message(struct app *app, struct client *c, struct span data, bool binary) {
    struct item item = {.kind = ITEM_MESSAGE, .binary = binary, .data = data};
    return push(session_in(app, c), &item);
}

static bool app_on_event(struct app *app, struct client *c, struct span event, struct span args,
                         struct span attachments, struct ack *ack) {
    struct session *s = session_in(app, c);
    if (s->expires && expiry_event(s, event, args, attachments, ack)) {
        return true;
    }
    struct item item = {
        .kind = ITEM_EVENT, .name = event, .data = args, .attachments = attachments, .ack = ack};
    return push(s, &item);
}

static bool app_on_join(struct app *app, struct client *c, struct span room, struct span options,
                        struct ack *ack) {
    struct item item = {.kind = ITEM_JOIN, .name = room, .data = options, .ack = ack};
    return push(session_in(app, c), &item);
}

static bool app_on_leave(struct app *app, struct client *c, struct span room, struct ack *ack) {
    struct item item = {.kind = ITEM_LEAVE, .name = room, .ack = ack};
    return push(session_in(app, c), &item);
}

static void app_on_answer(struct app *app, struct client *c, uint64_t id, struct span args,
                          struct span attachments, struct span error) {
    struct session *s = session_in(app, c);
    if (!s->expires || !expiry_answer(s, id, args, attachments, error)) {
        ask_answer(s, id, args, attachments, error);
    }
}

static bool app_is_busy(struct app *app, const struct client *c) {
    (void)app;
    const struct session *s = c->script;
    return s && (s->line.busy || s->line.count);
}

static void app_on_close(struct app *app, struct client *c, const char *reason) {
    close_session(session_in(app, c), reason);
}

void session_fill_app(struct app *app) {
    app->on_connect = app_on_connect;
    app->on_return = app_on_return;
    keep_fill_app(app);
    app->on_message = app_on_message;
    app->on_event = app_on_event;
    app->on_join = app_on_join;
    app->on_leave = app_on_leave;
    app->on_answer = app_on_answer;
    app->is_busy = app_is_busy;
    app->on_close = app_on_close;
}
