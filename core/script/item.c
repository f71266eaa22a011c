/* The items of a client's line as tasks: what each handler is called with, and what its results
 * mean. When one begins, and what follows when it has ended, is session.c's. */
#include "script/item.h"
#include "hub/replay.h"
#include "script/answer.h"
#include "script/audience.h"
#include "script/binding.h"
#include "script/json_bridge.h"

struct ack *item_ack(const struct session *s) {
    return s->item && !s->answered ? s->item->ack : NULL;
}

void item_answer(struct session *s, const struct reply *reply) {
    struct ack *ack = item_ack(s);
    s->answered = true;
    if (ack) {
        ack->answer(ack, reply);
    }
}

void item_answer_code(struct session *s, const char *code) {
    struct reply reply = {.code = span_of(code)};
    item_answer(s, &reply);
}

static void describe(const void *data, struct log_line *line) {
    const struct session *s = data;
    char id[CLIENT_ID_LEN + 1];
    client_id(s->client, id);
    if (s->item->name.len) {
        log_field(line, s->item->kind == ITEM_EVENT ? "event" : "room", s->item->name);
    }
    if (s->guarded) {
        log_field(line, "in", SPAN("on_event"));
    }
    log_field(line, "client", span_of(id));
    log_field(line, "namespace", ns_name(s->client->ns));
}

static void push_hook(lua_State *L, struct session *s, enum hook hook) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, hooks_handler(s->client->ns)->hooks[hook]);
    session_push_object(L, s);
}

static int begin_connect(lua_State *L, void *data) {
    push_hook(L, data, HOOK_CONNECT);
    return 1;
}

static int begin_message(lua_State *L, void *data) {
    struct session *s = data;
    push_hook(L, s, HOOK_MESSAGE);
    lua_pushlstring(L, s->item->data.at, s->item->data.len);
    if (s->item->binary) {
        lua_pushliteral(L, "binary");
    } else {
        lua_pushliteral(L, "text");
    }
    return 3;
}

/* The arguments were no JSON: said in the ack, or in a reply without an id. */
static int refuse_bad(struct session *s) {
    if (item_ack(s)) {
        item_answer_code(s, "bad_message");
    } else if (s->item->kind == ITEM_EVENT) {
        struct message m;
        message_init(&m, MESSAGE_REPLY);
        m.code = SPAN("bad_message");
        (void)!client_send(s->client, &m);
        message_deinit(&m);
    }
    return -1;
}

/* --- on_event --- */

static int after_handler(lua_State *L, int status, lua_KContext top) {
    (void)status;
    return lua_gettop(L) - (int)top;
}

/* on_event has returned, its results are behind `top`; see run_guarded. */
static int after_guard(lua_State *L, int status, lua_KContext ctx) {
    struct session *s = task_current(script_of(L))->data;
    int top = (int)ctx;
    bool named = lua_toboolean(L, 3);
    (void)status;
    s->guarded = false;
    if (lua_isnil(L, top + 1) && lua_type(L, top + 2) == LUA_TSTRING) {
        return lua_gettop(L) - top;
    }
    bool refused = lua_isboolean(L, top + 1) && !lua_toboolean(L, top + 1);
    lua_settop(L, top);
    if (refused || lua_isnil(L, 2)) {
        lua_pushnil(L);
        lua_pushstring(L, refused ? "forbidden" : "not_found");
        return 2;
    }
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 4);
    for (int i = named ? 5 : 6; i <= top; i++) {
        lua_pushvalue(L, i);
    }
    lua_callk(L, lua_gettop(L) - top - 1, LUA_MULTRET, top, after_handler);
    return after_handler(L, LUA_OK, top);
}

/* In place of the handler where there is the hook: (hook, handler or nil, whether the handler wants
 * the event's name, client, event, ...). Both may wait: they are one call of the client's line. */
static int run_guarded(lua_State *L) {
    int top = lua_gettop(L);
    luaL_checkstack(L, top + 2, "too many arguments");
    lua_pushvalue(L, 1);
    for (int i = 4; i <= top; i++) {
        lua_pushvalue(L, i);
    }
    lua_callk(L, top - 3, LUA_MULTRET, top, after_guard);
    return after_guard(L, LUA_OK, top);
}

static int push_arguments(lua_State *L, struct session *s, int before) {
    struct json_fault fault;
    int count = json_push_values(L, s->item->data, s->item->attachments, &fault);
    return count < 0 ? refuse_bad(s) : before + count;
}

/* The handler, or nil, is at 1. */
static int begin_guarded(lua_State *L, struct session *s, const struct handler *h, bool named) {
    lua_pushcfunction(L, run_guarded);
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->hooks[HOOK_ANY]);
    lua_pushvalue(L, 1);
    lua_pushboolean(L, named);
    session_push_object(L, s);
    lua_pushlstring(L, s->item->name.at, s->item->name.len);
    int count = push_arguments(L, s, 5);
    if (count >= 0) {
        s->guarded = true;
        s->scope->hooks->script->env.metrics->handler_calls[HOOK_ANY]++;
    }
    return count;
}

/* Leaves the event's handler at 1, or nil. Does it want the event's name? */
static bool find_handler(lua_State *L, const struct session *s, const struct handler *h) {
    lua_settop(L, 0);
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->events);
    lua_pushlstring(L, s->item->name.at, s->item->name.len);
    bool named = h->events == LUA_NOREF || lua_rawget(L, 1) == LUA_TNIL;
    if (named) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, h->any);
    }
    lua_replace(L, 1);
    lua_settop(L, 1);
    return named;
}

static int begin_event(lua_State *L, void *data) {
    struct session *s = data;
    const struct handler *h = hooks_handler(s->client->ns);
    bool named = find_handler(L, s, h);
    if (h->hooks[HOOK_ANY] != LUA_NOREF) {
        return begin_guarded(L, s, h, named);
    }
    if (lua_isnil(L, 1)) {
        item_answer_code(s, "not_found");
        log_printf(s->scope->hooks->script->env.log, LOG_DEBUG, "no handler for the event %.*s",
                   (int)s->item->name.len, s->item->name.at);
        return -1;
    }
    session_push_object(L, s);
    if (named) {
        lua_pushlstring(L, s->item->name.at, s->item->name.len);
    }
    return push_arguments(L, s, named ? 2 : 1);
}

static void end_event(lua_State *L, void *data, int first) {
    struct session *s = data;
    if (item_ack(s)) {
        struct reply reply;
        answer_read(L, first, &reply);
        item_answer(s, &reply);
    }
}

/* Of the options, on top of the stack: what the client has seen of this room, as the join or its
 * URL says, and what it is going to hear about what it has missed. */
static void add_replay(lua_State *L, struct session *s) {
    struct span own = {NULL, 0};
    struct span after;
    int kind = lua_getfield(L, -1, "after");
    if (kind == LUA_TSTRING) {
        own = binding_span(L, -1);
    } else if (kind != LUA_TNIL && !json_is_null(L, -1)) {
        own = SPAN("not an offset");
    }
    enum replay_result result = replay_ask(s->client, s->item->name, own, &after);
    if (result != REPLAY_NONE) {
        if (kind == LUA_TSTRING || !own.len) {
            lua_pushlstring(L, after.at, after.len);
            lua_setfield(L, -3, "after");
        }
        lua_pushboolean(L, result == REPLAY_DONE);
        lua_setfield(L, -3, "recovered");
        lua_pushstring(L, replay_reason(result));
        lua_setfield(L, -3, "reason");
    }
    lua_pop(L, 1);
}

static int begin_join(lua_State *L, void *data) {
    struct session *s = data;
    struct json_fault fault;
    push_hook(L, s, HOOK_JOIN);
    audience_push_room(L, s->scope, s->item->name, 0);
    if (s->item->data.len == 0) {
        lua_newtable(L);
    } else if (json_push(L, s->item->data, &fault) < 0) {
        return refuse_bad(s);
    }
    if (lua_istable(L, -1)) {
        add_replay(L, s);
    }
    return 3;
}

const char *item_join_code(int error) {
    switch (error) {
    case UV_ENOSPC:
        return "too_many_rooms";
    case UV_ECANCELED:
        return "closed";
    default:
        return "bad_room";
    }
}

/* The membership, the reply and the replay of what was missed begin in one step: nothing can come
 * between these lines. */
static void end_join(lua_State *L, void *data, int first) {
    struct session *s = data;
    struct reply reply;
    struct joined joined;
    if (lua_isboolean(L, first) && !lua_toboolean(L, first)) {
        item_answer_code(s, "forbidden");
        return;
    }
    answer_read(L, first, &reply);
    if (reply.code.len == 0) {
        int error = replay_join(s->client, s->item->name, true, (struct span){NULL, 0}, &joined);
        if (error) {
            reply = (struct reply){.code = span_of(item_join_code(error))};
        } else {
            reply.replay = joined.result;
            reply.offset = joined.offset;
        }
    }
    item_answer(s, &reply);
    replay_start(s->client);
}

static int begin_leave(lua_State *L, void *data) {
    struct session *s = data;
    struct span reason = s->item->kind == ITEM_LEAVE ? SPAN("left") : s->item->data;
    push_hook(L, s, HOOK_LEAVE);
    audience_push_room(L, s->scope, s->item->name, 0);
    lua_pushlstring(L, reason.at, reason.len);
    return 3;
}

static int begin_disconnect(lua_State *L, void *data) {
    struct session *s = data;
    push_hook(L, s, HOOK_DISCONNECT);
    lua_pushlstring(L, s->item->data.at, s->item->data.len);
    return 2;
}

static int begin(lua_State *L, void *data) {
    static int (*const begins[])(lua_State *, void *) = {
        [ITEM_CONNECT] = begin_connect,       [ITEM_MESSAGE] = begin_message,
        [ITEM_EVENT] = begin_event,           [ITEM_JOIN] = begin_join,
        [ITEM_LEAVE] = begin_leave,           [ITEM_LEFT] = begin_leave,
        [ITEM_DISCONNECT] = begin_disconnect,
    };
    struct session *s = data;
    int count = begins[s->item->kind](L, s);
    s->begun = true;
    return count;
}

const struct task_kind item_kinds[] = {
    [ITEM_CONNECT] = {HOOK_CONNECT, begin, NULL, session_done, NULL, describe},
    [ITEM_MESSAGE] = {HOOK_MESSAGE, begin, NULL, session_done, NULL, describe},
    [ITEM_EVENT] = {HOOK_EVENT, begin, end_event, session_done, NULL, describe},
    [ITEM_JOIN] = {HOOK_JOIN, begin, end_join, session_done, NULL, describe},
    [ITEM_LEAVE] = {HOOK_LEAVE, begin, NULL, session_done, NULL, describe},
    [ITEM_LEFT] = {HOOK_LEAVE, begin, NULL, session_done, NULL, describe},
    [ITEM_DISCONNECT] = {HOOK_DISCONNECT, begin, NULL, session_done, NULL, describe},
};
