/* Lua values to JSON text (see json_bridge.h), appended to the script's own writer, so that an
 * error of Lua's leaks nothing. Called for what is emitted (lib_room.c) and answered (answer.c),
 * and from Lua as mw.json.encode. */
#include "base/random.h"
#include "hub/attachments.h"
#include "script/json_bridge.h"

#include "script/budget.h"

#include <math.h>

#define KEPT ((size_t)1 << 20) /* bytes of the writer that stay allocated for the next text */

/* Where in the value we are: one for each table that is open, on C's stack, for error messages. */
struct place {
    const struct place *up;
    const void *table;
    int key; /* stack index of the key of what is written now; 0: `number` */
    lua_Integer number;
};

struct encoder {
    lua_State *L;
    struct writer *w;
    const char *root;
    size_t most;                /* bytes */
    int argument;               /* of several values, which; 0: it is alone */
    struct writer *attachments; /* where binary values go; NULL: into the text, as base64 */
    uint32_t attached;
};

static void put_value(struct encoder *e, int index, const struct place *up, int depth);

/* --- errors ----------------------------------------------------------------------------------- */

static bool is_name(struct span text) {
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9')) {
            return false;
        }
    }
    return text.len > 0;
}

static void put_place(struct encoder *e, const struct place *place) {
    lua_State *L = e->L;
    if (place == NULL) {
        writer_puts(e->w, e->root);
        if (e->argument != 0) {
            writer_printf(e->w, "[%d]", e->argument);
        }
        return;
    }
    put_place(e, place->up);
    if (place->key == 0) {
        writer_printf(e->w, "[%lld]", (long long)place->number);
    } else if (lua_type(L, place->key) == LUA_TSTRING) {
        struct span key;
        key.at = lua_tolstring(L, place->key, &key.len);
        if (is_name(key)) {
            writer_printf(e->w, ".%.*s", (int)key.len, key.at);
        } else {
            writer_printf(e->w, "[\"%.*s\"]", (int)key.len, key.at);
        }
    } else if (lua_isinteger(L, place->key)) {
        writer_printf(e->w, "[%lld]", (long long)lua_tointeger(L, place->key));
    } else {
        writer_printf(e->w, "[%s]", luaL_typename(L, place->key));
    }
}

/* What was written so far is of no use any more, and gives its room to the message. */
static _Noreturn void fail(struct encoder *e, const struct place *place, const char *what) {
    writer_clear(e->w);
    put_place(e, place);
    struct span text = writer_span(e->w);
    luaL_where(e->L, 1);
    lua_pushlstring(e->L, text.at, text.len);
    lua_pushfstring(e->L, ": %s", what);
    lua_concat(e->L, 3);
    lua_error(e->L);
    __builtin_unreachable();
}

/* Too deep: by itself, or because a table contains itself? Then the place is where the circle
 * closes first. */
static _Noreturn void fail_deep(struct encoder *e, const struct place *place) {
    const struct place *closes = NULL;
    for (const struct place *inner = place; inner != NULL; inner = inner->up) {
        for (const struct place *outer = inner->up; outer != NULL; outer = outer->up) {
            if (outer->table == inner->table) {
                closes = inner;
            }
        }
    }
    if (closes != NULL) {
        fail(e, closes->up, "a table that contains itself is not JSON");
    }
    fail(e, place->up, "a table nested deeper than 64 is not JSON");
}

static _Noreturn void fail_type(struct encoder *e, int index, const struct place *place,
                                const char *what) {
    const char *name = luaL_typename(e->L, index);
    if (luaL_getmetafield(e->L, index, "__name") == LUA_TSTRING) {
        name = lua_tostring(e->L, -1);
    }
    fail(e, place, lua_pushfstring(e->L, "%s (%s) is not JSON", what, name));
}

/* --- values ----------------------------------------------------------------------------------- */

static void put_string(struct encoder *e, int index, const struct place *place) {
    struct span text;
    text.at = lua_tolstring(e->L, index, &text.len);
    if (json_put_string(e->w, text) != 0) {
        fail(e, place, "a string that is not UTF-8 is not JSON");
    }
}

static void put_number(struct encoder *e, int index, const struct place *place) {
    if (lua_isinteger(e->L, index)) {
        json_put_integer(e->w, lua_tointeger(e->L, index));
        return;
    }
    lua_Number number = lua_tonumber(e->L, index);
    if (json_put_number(e->w, number) != 0) {
        fail(e, place, isnan(number) ? "NaN is not JSON" : "infinity is not JSON");
    }
}

/* A number as key is converted here and not by lua_tolstring, which would change it in place and so
 * confuse lua_next. */
static void put_key(struct encoder *e, int index, const struct place *place) {
    switch (lua_type(e->L, index)) {
    case LUA_TSTRING:
        put_string(e, index, place);
        break;
    case LUA_TNUMBER:
        writer_putc(e->w, '"');
        put_number(e, index, place);
        writer_putc(e->w, '"');
        break;
    default:
        fail_type(e, index, place, "a key that is neither text nor number");
    }
    writer_putc(e->w, ':');
}

static void put_object(struct encoder *e, int index, struct place *place, int depth) {
    lua_State *L = e->L;
    bool first = true;
    writer_putc(e->w, '{');
    lua_pushnil(L);
    int key = lua_gettop(L);
    place->key = key;
    while (lua_next(L, index)) {
        if (!first) {
            writer_putc(e->w, ',');
        }
        first = false;
        put_key(e, key, place);
        put_value(e, key + 1, place, depth);
        lua_settop(L, key);
    }
    writer_putc(e->w, '}');
}

/* The elements 1 to count. With `exact`, a hole among them ends it: false, and what it has written
 * is the caller's to take back. */
static bool put_elements(struct encoder *e, int index, lua_Integer count, bool exact,
                         struct place *place, int depth) {
    lua_State *L = e->L;
    place->key = 0;
    writer_putc(e->w, '[');
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1) {
            writer_putc(e->w, ',');
        }
        if (lua_rawgeti(L, index, i) == LUA_TNIL && exact) {
            lua_pop(L, 1);
            return false;
        }
        place->number = i;
        put_value(e, lua_gettop(L), place, depth);
        lua_pop(L, 1);
    }
    writer_putc(e->w, ']');
    return true;
}

/* As many keys as the border says, and none of 1..n missing: then those are all. */
static bool has_only_elements(lua_State *L, int index, lua_Integer count) {
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (count-- == 0) {
            lua_pop(L, 1);
            return false;
        }
    }
    return count == 0;
}

static void put_unmarked(struct encoder *e, int index, struct place *place, int depth) {
    lua_Integer count = (lua_Integer)lua_rawlen(e->L, index);
    if (count > 0 && has_only_elements(e->L, index, count)) {
        size_t start = writer_len(e->w);
        if (put_elements(e, index, count, true, place, depth)) {
            return;
        }
        e->w->buf->len = start;
    }
    put_object(e, index, place, depth);
}

static void put_binary(struct encoder *e, int index, const struct place *place) {
    struct span bytes = json_binary(e->L, index);
    if (!bytes.at) {
        fail(e, place, "a binary value without its bytes is not JSON");
    }
    if (!e->attachments) {
        writer_putc(e->w, '"');
        char *at = writer_reserve(e->w, (bytes.len + 2) / 3 * 4 + 1);
        writer_advance(e->w, base64_encode(at, bytes.at, bytes.len));
        writer_putc(e->w, '"');
        return;
    }
    if (e->attached == ATTACHMENTS_MAX) {
        fail(e, place, "one binary value more than the 64 that a message may have");
    }
    attachments_put(e->attachments, bytes);
    writer_printf(e->w, "{\"_placeholder\":true,\"num\":%u}", e->attached++);
}

static void put_table(struct encoder *e, int index, const struct place *up, int depth) {
    lua_State *L = e->L;
    const struct json_marks *marks = &script_of(L)->marks;
    struct place place = {up, lua_topointer(L, index), 0, 0};
    const void *mark = NULL;
    if (depth == JSON_MAX_DEPTH) {
        fail_deep(e, &place);
    }
    /* A few tables that hold each other twice can be more text than there is memory, or time. */
    if (writer_len(e->w) > e->most) {
        fail(e, up, "more than half of Lua's memory is too large for JSON");
    }
    if (budget_over(script_of(L)->budget)) {
        luaL_error(L, "%s", budget_message(script_of(L)->budget));
    }
    luaL_checkstack(L, 6, "JSON");
    if (lua_getmetatable(L, index)) {
        mark = lua_topointer(L, -1);
        lua_pop(L, 1);
    }
    if (mark == marks->array) {
        put_elements(e, index, (lua_Integer)lua_rawlen(L, index), false, &place, depth + 1);
    } else if (mark == marks->object) {
        put_object(e, index, &place, depth + 1);
    } else if (mark == marks->binary) {
        put_binary(e, index, up);
    } else {
        put_unmarked(e, index, &place, depth + 1);
    }
}

static void put_value(struct encoder *e, int index, const struct place *up, int depth) {
    lua_State *L = e->L;
    switch (lua_type(L, index)) {
    case LUA_TTABLE:
        put_table(e, index, up, depth);
        break;
    case LUA_TSTRING:
        put_string(e, index, up);
        break;
    case LUA_TNUMBER:
        put_number(e, index, up);
        break;
    case LUA_TBOOLEAN:
        writer_puts(e->w, lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TNIL:
        writer_put(e->w, "null", 4);
        break;
    default:
        if (!json_is_null(L, index)) {
            fail_type(e, index, up, "this");
        }
        writer_put(e->w, "null", 4);
    }
}

static struct span write_all(lua_State *L, int first, int last, const char *root,
                             struct writer *attachments) {
    struct script *s = script_of(L);
    struct encoder e = {L, &s->json, root, s->env.config->lua_memory / 2, 0, attachments, 0};
    if (e.w->buf != NULL && e.w->buf->cap > KEPT) {
        writer_deinit(e.w);
    }
    writer_clear(e.w);
    for (int index = first; index <= last; index++) {
        if (index > first) {
            writer_putc(e.w, ',');
        }
        e.argument = last > first ? index - first + 1 : 0;
        put_value(&e, index, NULL, 0);
    }
    return writer_span(e.w);
}

struct span json_write(lua_State *L, int first, int last, const char *root) {
    return write_all(L, first, last, root, NULL);
}

struct span json_write_values(lua_State *L, int first, int last, const char *root,
                              struct span *attachments) {
    struct writer *packed = &script_of(L)->attachments;
    writer_clear(packed);
    struct span json = write_all(L, first, last, root, packed);
    *attachments = writer_span(packed);
    return json;
}
