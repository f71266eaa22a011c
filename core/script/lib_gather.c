/* Reading an audience from Lua: who is there, and what was said (room:history). Its functions are
 * methods in the tables of lib_room.c. */
#include "hub/replay.h"
#include "script/audience_internal.h"
#include "script/binding.h"
#include "script/json_bridge.h"

struct collect {
    struct client **clients;
    size_t count;
    size_t room;    /* for how many there is memory */
    uint64_t stamp; /* of those who are not to be taken (any more) */
};

static void collect(struct client *c, void *data) {
    struct collect *into = data;
    if (c && c->stamp != into->stamp && !c->closing && into->count < into->room) {
        c->stamp = into->stamp;
        into->clients[into->count++] = c;
    }
}

static void ignore(struct client *c, void *data) {
    (void)c;
    (void)data;
}

static void collect_room(struct ns *ns, struct span name, struct collect *into) {
    size_t count = room_count(ns, name);
    for (size_t i = 0; i < count; i++) {
        collect(room_member(ns, name, i), into);
    }
}

static void collect_rooms(const struct audience *a, struct collect *into) {
    struct span names[MAX_ROOMS];
    size_t count = audience_rooms_named(a, names);
    for (size_t i = 0; i < count; i++) {
        collect_room(a->scope->ns, names[i], into);
    }
}

/* How many are in it at most: in several rooms somebody may be more than once. */
static size_t size_of(const struct audience *a) {
    struct span names[MAX_ROOMS];
    size_t size = 0;
    switch (a->kind) {
    case AUDIENCE_ROOM:
        return room_count(a->scope->ns, audience_name(a));
    case AUDIENCE_ROOMS:
        for (size_t i = audience_rooms_named(a, names); i > 0; i--) {
            size += room_count(a->scope->ns, names[i - 1]);
        }
        return size;
    case AUDIENCE_USER:
        return hub_each_of_user(a->scope->ns, audience_name(a), ignore, NULL);
    default:
        return ns_count(a->scope->ns);
    }
}

struct client **audience_clients(lua_State *L, const struct audience *a, size_t *count) {
    struct ns *ns = a->scope->ns;
    struct left_out memory;
    struct collect into = {.room = size_of(a)};
    into.clients = lua_newuserdatauv(L, (into.room + 1) * sizeof(struct client *), 0);
    into.stamp = hub_leave_out(ns, audience_except(L, &memory));
    switch (a->kind) {
    case AUDIENCE_ROOM:
        collect_room(ns, audience_name(a), &into);
        break;
    case AUDIENCE_ROOMS:
        collect_rooms(a, &into);
        break;
    case AUDIENCE_USER:
        hub_each_of_user(ns, audience_name(a), collect, &into);
        break;
    default:
        for (size_t i = 0; i < into.room; i++) {
            collect(ns_client(ns, i), &into);
        }
    }
    *count = into.count;
    return into.clients;
}

int gather_count(lua_State *L) {
    const struct audience *a = audience_check(L, "count");
    size_t count;
    if (lua_getiuservalue(L, 1, 2) == LUA_TNIL && a->kind != AUDIENCE_ROOMS) {
        count = size_of(a);
    } else {
        (void)audience_clients(L, a, &count);
    }
    lua_pushinteger(L, (lua_Integer)count);
    return 1;
}

int gather_clients(lua_State *L) {
    const struct audience *a = audience_check(L, "clients");
    size_t count;
    struct client **clients = audience_clients(L, a, &count);
    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        session_push_object(L, session_of(script_of(L)->hooks, clients[i]));
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    return 1;
}

/* The users' tables, each user once however many connections he has: by the id of on_auth. */
int gather_members(lua_State *L) {
    const struct audience *a = audience_check(L, "members");
    size_t count;
    lua_Integer found = 0;
    struct client **clients = audience_clients(L, a, &count);
    lua_newtable(L);
    int seen = lua_gettop(L);
    lua_createtable(L, (int)count, 0);
    json_mark_array(L, -1);
    for (size_t i = 0; i < count; i++) {
        session_push_user(L, session_of(script_of(L)->hooks, clients[i]));
        lua_getfield(L, -1, "id");
        lua_pushvalue(L, -1);
        if (lua_isnil(L, -1) || lua_rawget(L, seen) != LUA_TNIL) {
            lua_pop(L, 3);
            continue;
        }
        lua_pop(L, 1);
        lua_pushboolean(L, 1);
        lua_rawset(L, seen);
        lua_rawseti(L, -2, ++found);
    }
    return 1;
}

struct rooms_of {
    lua_State *L;
    struct scope *scope;
};

static void push_room(struct span name, void *data) {
    const struct rooms_of *into = data;
    lua_pushlstring(into->L, name.at, name.len);
    audience_push_room(into->L, into->scope, name, 0);
    lua_rawset(into->L, -3);
}

/* As client.rooms: by name, those with somebody in them. What raises leaves no C behind. */
int gather_rooms(lua_State *L) {
    const struct audience *a = audience_check(L, "rooms");
    struct rooms_of into = {L, a->scope};
    lua_newtable(L);
    ns_each_room(a->scope->ns, push_room, &into);
    return 1;
}

/* --- history --- */

static struct span option_span(lua_State *L, const char *name) {
    struct span span = {NULL, 0};
    int kind = lua_getfield(L, 2, name);
    if (kind == LUA_TSTRING) {
        span = binding_span(L, -1); /* The table keeps it. */
    } else if (kind != LUA_TNIL && !json_is_null(L, -1)) {
        luaL_error(L, "history: %s is an offset (a string), not a %s", name, luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return span;
}

static uint32_t option_limit(lua_State *L) {
    uint32_t limit = UINT32_MAX;
    int kind = lua_getfield(L, 2, "limit");
    if (kind == LUA_TNUMBER) {
        int whole;
        lua_Integer value = lua_tointegerx(L, -1, &whole);
        if (!whole || value < 0) {
            luaL_error(L, "history: limit is a whole number, 0 or more, not %s",
                       luaL_tolstring(L, -1, NULL));
        }
        limit = value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
    } else if (kind != LUA_TNIL && !json_is_null(L, -1)) {
        luaL_error(L, "history: limit is a number, not a %s", luaL_typename(L, -1));
    }
    lua_pop(L, 1);
    return limit;
}

/* Messages are counted, then noted, and only then turned into Lua values, which may raise. */
struct notes {
    const struct message **messages;
    size_t count;
};

static void note(const struct message *m, void *data) {
    struct notes *notes = data;
    if (notes->messages) {
        notes->messages[notes->count] = m;
    }
    notes->count++;
}

static void set_text(lua_State *L, const char *name, struct span text) {
    if (text.len) {
        lua_pushlstring(L, text.at, text.len);
        lua_setfield(L, -2, name);
    }
}

/* The same words as on the WebSocket wire: event, data or args, offset. */
static void push_message(lua_State *L, const struct message *m) {
    struct json_fault fault;
    lua_createtable(L, 0, 3);
    set_text(L, "event", m->event);
    set_text(L, "offset", m->offset);
    if (m->kind != MESSAGE_EVENT) {
        lua_pushlstring(L, m->data.at, m->data.len);
        lua_setfield(L, -2, "data");
        lua_pushstring(L, m->kind == MESSAGE_BINARY ? "binary" : "text");
        lua_setfield(L, -2, "kind");
        return;
    }
    int count = json_push_values(L, m->data, m->attachments, &fault);
    if (count == 1) {
        lua_setfield(L, -2, "data");
    } else if (count > 1) {
        lua_createtable(L, count, 0);
        lua_insert(L, -count - 1);
        for (int i = count; i >= 1; i--) {
            lua_rawseti(L, -i - 1, i);
        }
        json_mark_array(L, -1);
        lua_setfield(L, -2, "args");
    }
}

/* What an on_join has read of the room that it is about, it hands out itself: the client is to get
 * what comes after that. */
static void tell_replay(lua_State *L, const struct audience *a, const struct history *h,
                        const struct notes *notes, enum history_status status, bool after) {
    struct client *c = session_joining(script_of(L), a->scope->ns, audience_name(a));
    char text[OFFSET_MAX];
    if (c) {
        struct span position = notes->count ? notes->messages[notes->count - 1]->offset
                                            : history_offset(h, history_last(h), text);
        replay_note_read(c, position, status, after);
    }
}

/* Why nothing is known of an offset (empty: nothing was asked) in a room without a log. */
static const char *reason_of_none(const struct audience *a, struct span offset) {
    uint64_t sequence;
    if (!offset.len) {
        return NULL;
    }
    return room_is_remembered(a->scope->ns, audience_name(a))
               ? history_reason(history_after(NULL, offset, &sequence))
               : "no_history";
}

int gather_history(lua_State *L) {
    const struct audience *a = audience_check(L, "history");
    if (lua_isnoneornil(L, 2)) {
        lua_settop(L, 1);
        lua_newtable(L);
    }
    luaL_checktype(L, 2, LUA_TTABLE);
    struct span after = option_span(L, "after");
    struct span before = option_span(L, "before");
    uint32_t limit = option_limit(L);
    struct history *h = room_history(a->scope->ns, audience_name(a));
    struct notes notes = {NULL, 0};
    enum history_status status = HISTORY_OK;

    if (!h && room_is_durable(a->scope->ns, audience_name(a))) {
        return binding_refuse(L, "unavailable", "it cannot be read from disk");
    }
    if (h) {
        (void)history_read(h, after, before, limit, note, &notes);
        notes.messages = lua_newuserdatauv(L, (notes.count + 1) * sizeof *notes.messages, 0);
        notes.count = 0;
        status = history_read(h, after, before, limit, note, &notes);
        if (limit && (!before.len || (after.len && notes.count))) {
            tell_replay(L, a, h, &notes, status, after.len > 0);
        }
    }
    lua_createtable(L, (int)notes.count, 0);
    json_mark_array(L, -1);
    for (size_t i = 0; i < notes.count; i++) {
        push_message(L, notes.messages[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    const char *reason = h ? history_reason(status) : reason_of_none(a, after.len ? after : before);
    lua_pushboolean(L, reason == NULL);
    if (!reason) {
        return 2;
    }
    lua_pushstring(L, reason);
    return 3;
}
