/* Asking clients (ask.h). The ask is a userdata on the waiting stack; a leg of it is in the list of
 * each client that has not answered. Called by lib_room.c, and by session.c with
 * what came back. */
#include "script/ask.h"
#include "base/memory.h"
#include "script/binding.h"
#include "script/json_bridge.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ask_leg {
    LIST_ENTRY(ask_leg) link;
    struct ask *ask;
    struct session *session; /* NULL: over */
    struct buf *args;        /* the answer */
    struct buf *attachments; /* of the answer; NULL: none */
    struct buf *error;       /* its code, sent by the client */
    const char *code;        /* ours; NULL: an answer came */
    bool own;                /* the session's own handler waits for it */
};

struct ask {
    struct wait wait;
    struct timeout timeout;
    uint64_t id;
    size_t pending;
    size_t count;
    bool single;
    struct ask_leg legs[];
};

static void end_leg(struct ask_leg *leg, const char *code) {
    struct session *s = leg->session;
    if (!s) {
        return;
    }
    struct session_asks *asks = s->asks;
    LIST_REMOVE(leg, link);
    if (leg->own && asks->awaited > 0) {
        asks->awaited--;
    }
    if (--asks->count == 0) {
        free(asks);
        s->asks = NULL;
    }
    leg->session = NULL;
    leg->code = code;
    leg->ask->pending--;
}

/* May run the handler that waits, after which the ask may be gone. */
static void wake_if_over(struct ask *ask) {
    if (ask->pending == 0) {
        timeout_stop(&ask->timeout);
        task_wake(&ask->wait);
    }
}

static void end_all(struct ask *ask, const char *code) {
    timeout_stop(&ask->timeout);
    for (size_t i = 0; i < ask->count; i++) {
        end_leg(&ask->legs[i], code);
    }
}

static void on_timeout(struct timeout *timeout) {
    struct ask *ask = (struct ask *)((char *)timeout - offsetof(struct ask, timeout));
    end_all(ask, "timeout");
    task_wake(&ask->wait);
}

static void on_cancel(struct wait *wait) {
    end_all((struct ask *)wait, "closed");
}

static void drop_answers(struct ask *ask) {
    for (size_t i = 0; i < ask->count; i++) {
        buf_unref(ask->legs[i].args);
        buf_unref(ask->legs[i].attachments);
        buf_unref(ask->legs[i].error);
        ask->legs[i].args = NULL;
        ask->legs[i].attachments = NULL;
        ask->legs[i].error = NULL;
    }
}

int ask_free(lua_State *L) {
    struct ask *ask = lua_touserdata(L, 1);
    end_all(ask, "closed");
    drop_answers(ask);
    return 0;
}

static struct ask_leg *first_leg(const struct session *s) {
    return s->asks ? LIST_FIRST(&s->asks->legs) : NULL;
}

void ask_answer(struct session *s, uint64_t id, struct span args, struct span attachments,
                struct span error) {
    struct ask_leg *leg = first_leg(s);
    for (; leg; leg = LIST_NEXT(leg, link)) {
        if (leg->ask->id == id) {
            struct ask *ask = leg->ask;
            leg->args = buf_copy(args.at, args.len);
            leg->attachments = attachments.len ? buf_copy(attachments.at, attachments.len) : NULL;
            leg->error = error.len ? buf_copy(error.at, error.len) : NULL;
            end_leg(leg, NULL);
            wake_if_over(ask);
            return;
        }
    }
}

void ask_fail(struct session *s, const char *code) {
    /* Who is woken may ask again: only what has been asked until now ends. */
    uint64_t last = s->scope->hooks->ask_count;
    struct ask_leg *leg = first_leg(s);
    while (leg) {
        struct ask *ask = leg->ask;
        if (ask->id > last) {
            leg = LIST_NEXT(leg, link);
            continue;
        }
        end_leg(leg, code);
        wake_if_over(ask);
        leg = first_leg(s);
    }
}

/* --- results --- */

static struct span span_of_buf(const struct buf *buf) {
    return buf ? (struct span){buf->bytes, buf->len} : (struct span){NULL, 0};
}

/* Pushes the values of an answer: their number, or -1 and the code in *code. */
static int push_values(lua_State *L, const struct ask_leg *leg, struct span *code) {
    struct json_fault fault;
    if (leg->code) {
        *code = span_of(leg->code);
        return -1;
    }
    if (leg->error) {
        *code = (struct span){leg->error->bytes, leg->error->len};
        return -1;
    }
    int count = json_push_values(L, span_of_buf(leg->args), span_of_buf(leg->attachments), &fault);
    if (count < 0) {
        *code = SPAN("bad_message");
    }
    return count;
}

static int push_single(lua_State *L, struct ask *ask) {
    struct span code;
    int count = push_values(L, &ask->legs[0], &code);
    if (count < 0) {
        lua_pushnil(L);
        lua_pushlstring(L, code.at, code.len);
        count = 2;
    }
    drop_answers(ask);
    return count;
}

/* { client = ..., [1] = ..., n = 1 } or { client = ..., error = "code" } */
static void push_answer(lua_State *L, const struct ask_leg *leg, int client) {
    struct span code;
    int top = lua_gettop(L);
    int count = push_values(L, leg, &code);
    luaL_checkstack(L, 3, "answer");
    lua_createtable(L, count > 0 ? count : 0, 2);
    if (count < 0) {
        lua_pushlstring(L, code.at, code.len);
        lua_setfield(L, -2, "error");
    } else {
        for (int i = 1; i <= count; i++) {
            lua_pushvalue(L, top + i);
            lua_rawseti(L, -2, i);
        }
        lua_pushinteger(L, count);
        lua_setfield(L, -2, "n");
    }
    lua_pushvalue(L, client);
    lua_setfield(L, -2, "client");
    lua_insert(L, top + 1); /* below the values, where there are any */
    lua_settop(L, top + 1);
}

/* `clients` is the stack index of the list of the legs' client objects. */
static int push_gathered(lua_State *L, struct ask *ask, int clients) {
    lua_createtable(L, (int)ask->count, 0);
    int answers = lua_gettop(L);
    lua_newtable(L);
    int silent = answers + 1;
    for (size_t i = 0; i < ask->count; i++) {
        const struct ask_leg *leg = &ask->legs[i];
        lua_rawgeti(L, clients, (lua_Integer)i + 1);
        if (leg->code) {
            lua_rawseti(L, silent, (lua_Integer)lua_rawlen(L, silent) + 1);
        } else {
            push_answer(L, leg, silent + 1);
            lua_rawseti(L, answers, (lua_Integer)lua_rawlen(L, answers) + 1);
            lua_settop(L, silent);
        }
    }
    drop_answers(ask);
    return 2;
}

/* The ask is at index `ctx`, its clients' objects behind it. */
static int resumed(lua_State *L, int status, lua_KContext ctx) {
    struct ask *ask = lua_touserdata(L, (int)ctx);
    (void)status;
    return ask->single ? push_single(L, ask) : push_gathered(L, ask, (int)ctx + 1);
}

/* --- asking --- */

static struct ask *new_ask(lua_State *L, struct hooks *hooks, size_t count, bool single) {
    struct ask *ask = lua_newuserdatauv(L, sizeof *ask + count * sizeof *ask->legs, 0);
    memset(ask, 0, sizeof *ask + count * sizeof *ask->legs);
    ask->wait.cancel = on_cancel;
    ask->timeout.expired = on_timeout;
    ask->id = ++hooks->ask_count;
    ask->single = single;
    for (size_t i = 0; i < count; i++) {
        ask->legs[i].ask = ask;
        ask->legs[i].code = "closed";
    }
    ask->count = count;
    lua_rawgeti(L, LUA_REGISTRYINDEX, hooks->type_refs[TYPE_ASK]);
    lua_setmetatable(L, -2);
    return ask;
}

static void send_leg(struct hooks *hooks, struct ask_leg *leg, struct client *c,
                     struct message *m) {
    struct session *s = session_of(hooks, c);
    if (s->asks && s->asks->count >= (uint32_t)hooks->script->env.config->max_acks) {
        leg->code = "backpressure";
        return;
    }
    if (client_send(c, m) < 0) {
        return;
    }
    leg->session = s;
    leg->code = NULL;
    leg->own = session_is_running(s);
    if (!s->asks) {
        s->asks = memory_zalloc(sizeof *s->asks);
    }
    LIST_INSERT_HEAD(&s->asks->legs, leg, link);
    s->asks->count++;
    leg->ask->pending++;
    if (leg->own) {
        session_await(s);
    }
}

int ask_clients(lua_State *L, struct hooks *hooks, struct client **clients, size_t count,
                struct span event, int first_arg, int last_arg, uint64_t timeout, bool single) {
    char id[24];
    task_check_wait(L, "request");
    struct ask *ask = new_ask(L, hooks, count, single);
    int place = lua_gettop(L);
    lua_createtable(L, single ? 0 : (int)count, 0);
    for (size_t i = 0; i < count && !single; i++) {
        session_push_object(L, session_of(hooks, clients[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }

    struct message m;
    message_init(&m, MESSAGE_EVENT);
    m.event = event;
    m.argc = (uint32_t)(last_arg - first_arg + 1);
    m.data = json_write_values(L, first_arg, last_arg, "request", &m.attachments);
    m.id = (struct span){id, (size_t)snprintf(id, sizeof id, "%" PRIu64, ask->id)};
    for (size_t i = 0; i < count; i++) {
        send_leg(hooks, &ask->legs[i], clients[i], &m);
    }
    message_deinit(&m);
    if (ask->pending == 0) {
        return resumed(L, LUA_OK, place);
    }
    timeout_start(hooks->script->env.io, &ask->timeout, timeout);
    return task_park(L, &ask->wait, place, resumed);
}
