/* Reads and writes the JSON event. What "data" and "args" say is not looked at: the bytes go
 * through to the app, which decodes them once. Called by proto/ws for each text frame, by proto/sse
 * for each POST, and by both for what they send. */
#include "proto/event.h"

#include "base/json.h"
#include "hub/attachments.h"
#include "hub/message.h"

#include <string.h>

enum key { KEY_EVENT, KEY_JOIN, KEY_LEAVE, KEY_ID, KEY_DATA, KEY_ARGS, KEY_ERROR, KEY_COUNT };

static const struct span key_names[KEY_COUNT] = {
    [KEY_EVENT] = {"event", 5}, [KEY_JOIN] = {"join", 4}, [KEY_LEAVE] = {"leave", 5},
    [KEY_ID] = {"id", 2},       [KEY_DATA] = {"data", 4}, [KEY_ARGS] = {"args", 4},
    [KEY_ERROR] = {"error", 5},
};

static enum key find_key(struct span name) {
    enum key key = 0;
    while (key < KEY_COUNT && !span_equal(name, key_names[key])) {
        key++;
    }
    return key;
}

/* The raw bytes of the values of those keys that we know. False: the text is no JSON object. */
static bool collect(struct span text, struct span values[KEY_COUNT]) {
    struct json_reader r;
    json_reader_init(&r, text.at, text.len);
    bool good = json_next(&r) == JSON_OBJECT;
    while (good) {
        enum json_token token = json_next(&r);
        if (token == JSON_OBJECT_END) {
            good = json_next(&r) == JSON_END;
            break;
        }
        enum key key = token == JSON_KEY ? find_key(r.text) : KEY_COUNT;
        struct span value;
        good = token == JSON_KEY && json_skip(&r, &value) != JSON_ERROR;
        if (good && key < KEY_COUNT) {
            values[key] = value;
        }
    }
    json_reader_deinit(&r);
    return good;
}

/* The text of a JSON string that stands alone. False: it is something else, or empty. */
static bool read_string(struct event *e, struct span json, struct span *out) {
    struct json_reader r;
    json_reader_init_list(&r, json.at, json.len);
    bool good = json_next(&r) == JSON_STRING && r.text.len > 0;
    if (good) {
        *out = r.text;
        /* Without escapes the reader lends the bytes themselves. */
        if (r.text.at < json.at || r.text.at >= json.at + json.len) {
            writer_clear(&e->scratch);
            writer_put_span(&e->scratch, r.text);
            *out = writer_span(&e->scratch);
        }
        good = json_next(&r) == JSON_END;
    }
    json_reader_deinit(&r);
    return good;
}

/* An id is a string or a number; null is as good as none. */
static bool read_id(struct event *e, struct span json) {
    if (json.len == 0) {
        return true;
    }
    if (json.len > EVENT_ID_MAX) {
        return false;
    }
    struct json_reader r;
    json_reader_init_list(&r, json.at, json.len);
    enum json_token token = json_next(&r);
    if (token == JSON_INTEGER && r.integer >= 0) {
        e->number = (uint64_t)r.integer;
    }
    bool good = (token == JSON_STRING || token == JSON_INTEGER || token == JSON_NUMBER ||
                 token == JSON_NULL) &&
                json_next(&r) == JSON_END;
    json_reader_deinit(&r);
    if (good && token != JSON_NULL) {
        e->id = json;
    }
    return good;
}

/* The arguments without brackets. */
static bool read_args(struct event *e, const struct span values[KEY_COUNT]) {
    struct span list = values[KEY_ARGS];
    if (list.len == 0) {
        e->args = values[KEY_DATA];
        return true;
    }
    if (list.at[0] != '[') {
        return false;
    }
    e->args = (struct span){list.at + 1, list.len - 2};
    return true;
}

/* {"code":"...", ...}; or the code alone. */
static bool read_error(struct event *e, struct span json) {
    if (json.at[0] != '{') {
        return read_string(e, json, &e->error);
    }
    struct json_reader r;
    struct span code = {0};
    json_reader_init(&r, json.at, json.len);
    bool good = json_next(&r) == JSON_OBJECT;
    while (good && json_next(&r) == JSON_KEY) {
        bool is_code = span_is(r.text, "code");
        struct span value;
        good = json_skip(&r, &value) != JSON_ERROR;
        code = good && is_code ? value : code;
    }
    json_reader_deinit(&r);
    return good && code.len > 0 && read_string(e, code, &e->error);
}

static enum event_kind read_kind(struct event *e, struct span text,
                                 const struct span values[KEY_COUNT]) {
    if (!read_id(e, values[KEY_ID])) {
        return EVENT_BAD;
    }
    if (values[KEY_EVENT].len) {
        bool good = read_args(e, values) && read_string(e, values[KEY_EVENT], &e->name);
        return good ? EVENT_EVENT : EVENT_BAD;
    }
    if (values[KEY_JOIN].len) {
        e->args = text;
        return read_string(e, values[KEY_JOIN], &e->name) ? EVENT_JOIN : EVENT_BAD;
    }
    if (values[KEY_LEAVE].len) {
        return read_string(e, values[KEY_LEAVE], &e->name) ? EVENT_LEAVE : EVENT_BAD;
    }
    /* Our ids count from one. */
    if (e->number == 0 || !read_args(e, values)) {
        return EVENT_BAD;
    }
    bool good = values[KEY_ERROR].len == 0 || read_error(e, values[KEY_ERROR]);
    return good ? EVENT_ANSWER : EVENT_BAD;
}

void event_read(struct event *e, struct span text) {
    struct span values[KEY_COUNT] = {{0}};
    *e = (struct event){.kind = EVENT_BAD};
    if (collect(text, values)) {
        e->kind = read_kind(e, text, values);
    }
}

void event_deinit(struct event *e) {
    writer_deinit(&e->scratch);
}

int event_split(struct span text, struct span *events, int most, bool *array) {
    struct json_reader r;
    json_reader_init(&r, text.at, text.len);
    *array = json_next(&r) == JSON_ARRAY;
    int count = *array ? 0 : 1;
    if (!*array) {
        events[0] = text;
    }
    while (*array && count >= 0) {
        struct span element;
        enum json_token token = json_skip(&r, &element);
        if (token == JSON_ARRAY_END) {
            count = json_next(&r) == JSON_END ? count : -1;
            break;
        }
        if (token == JSON_ERROR || count == most) {
            count = -1;
        } else {
            events[count++] = element;
        }
    }
    json_reader_deinit(&r);
    return count;
}

/* --- writing -------------------------------------------------------------------------------- */

/* Separates members; an object begins with its brace. */
static void put_key(struct writer *out, const char *key) {
    writer_puts(out, writer_span(out).at[writer_len(out) - 1] == '{' ? "\"" : ",\"");
    writer_puts(out, key);
    writer_puts(out, "\":");
}

/* A name that JSON cannot say (not UTF-8) becomes an empty one: names are checked where they come
 * from. */
static void put_string(struct writer *out, struct span text) {
    if (json_put_string(out, text)) {
        writer_puts(out, "\"\"");
    }
}

static void put_args(struct writer *out, struct span args, uint32_t argc) {
    if (argc == 1) {
        put_key(out, "data");
        writer_put_span(out, args);
    } else if (argc > 1) {
        put_key(out, "args");
        writer_putc(out, '[');
        writer_put_span(out, args);
        writer_putc(out, ']');
    }
}

static void put_error(struct writer *out, const struct message *m) {
    put_key(out, "error");
    writer_puts(out, "{\"code\":");
    put_string(out, m->code);
    if (m->detail.len) {
        put_key(out, "detail");
        writer_put_span(out, m->detail);
    }
    writer_putc(out, '}');
}

/* Of a join in a room with history. */
static void put_joined(struct writer *out, const struct message *m) {
    const char *reason = replay_reason(m->replay);
    if (m->offset.len) {
        put_key(out, "offset");
        put_string(out, m->offset);
    }
    if (m->replay != REPLAY_NONE) {
        put_key(out, "recovered");
        writer_puts(out, reason ? "false" : "true");
    }
    if (reason) {
        put_key(out, "reason");
        put_string(out, span_of(reason));
    }
}

/* Binary values have no form of their own here. */
static void write_inlined(struct writer *out, const struct message *m) {
    struct writer data = {0};
    struct message plain = *m;
    attachments_inline(&data, m->data, m->attachments);
    plain.data = writer_span(&data);
    plain.attachments = (struct span){0};
    event_write(out, &plain);
    writer_deinit(&data);
}

void event_write(struct writer *out, const struct message *m) {
    if (m->attachments.len) {
        write_inlined(out, m);
        return;
    }
    writer_putc(out, '{');
    if (m->kind == MESSAGE_REPLY) {
        if (m->id.len) {
            put_key(out, "id");
            writer_put_span(out, m->id);
        }
        if (m->code.len) {
            put_error(out, m);
        } else {
            put_args(out, m->data, m->argc);
            put_joined(out, m);
        }
    } else {
        put_key(out, "event");
        put_string(out, m->event);
        put_args(out, m->data, m->argc);
        if (m->room.len) {
            put_key(out, "room");
            put_string(out, m->room);
        }
        if (m->offset.len) {
            put_key(out, "offset");
            put_string(out, m->offset);
        }
        if (m->id.len) {
            put_key(out, "id");
            writer_put_span(out, m->id);
        }
    }
    writer_putc(out, '}');
}

void event_write_args(struct writer *out, struct span args, uint32_t argc) {
    if (argc == 0) {
        writer_puts(out, "null");
    } else if (argc == 1) {
        writer_put_span(out, args);
    } else {
        writer_putc(out, '[');
        writer_put_span(out, args);
        writer_putc(out, ']');
    }
}
