/* Reads and writes Socket.IO's packets (socket.io-protocol, revision 5). It knows no connection:
 * proto/sio calls it for each message of Engine.IO, and for each that is sent. */
#include "proto/sio_codec.h"

#include "base/json.h"
#include "hub/attachments.h"
#include "hub/message.h"

#include <string.h>

/* --- reading -------------------------------------------------------------------------------- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Takes the digits at the front. */
static struct span take_digits(struct span *rest) {
    struct span digits = {rest->at, 0};
    while (digits.len < rest->len && is_digit(rest->at[digits.len])) {
        digits.len++;
    }
    *rest = (struct span){rest->at + digits.len, rest->len - digits.len};
    return digits;
}

/* The digits are few enough to fit. */
static uint64_t to_number(struct span digits) {
    uint64_t number = 0;
    for (size_t i = 0; i < digits.len; i++) {
        number = number * 10 + (uint64_t)(digits.at[i] - '0');
    }
    return number;
}

/* "2-" */
static bool read_attachments(struct sio_packet *p, struct span *rest) {
    struct span digits = take_digits(rest);
    if (digits.len == 0 || digits.len > 9 || rest->len == 0 || rest->at[0] != '-') {
        return false;
    }
    uint64_t count = to_number(digits);
    *rest = (struct span){rest->at + 1, rest->len - 1};
    p->attachments = (uint32_t)count;
    return count > 0 && count <= ATTACHMENTS_MAX;
}

/* "/custom," where the comma may be missing at the end of the packet. */
static void read_ns(struct sio_packet *p, struct span *rest) {
    p->ns = SPAN("/");
    if (rest->len == 0 || rest->at[0] != '/') {
        return;
    }
    const char *comma = memchr(rest->at, ',', rest->len);
    p->ns = (struct span){rest->at, comma ? (size_t)(comma - rest->at) : rest->len};
    size_t used = p->ns.len + (comma ? 1 : 0);
    *rest = (struct span){rest->at + used, rest->len - used};
}

static bool read_id(struct sio_packet *p, struct span *rest) {
    p->id = take_digits(rest);
    if (p->id.len > SIO_ID_MAX) {
        return false;
    }
    p->number = to_number(p->id);
    return true;
}

/* These would be taken for what the library itself tells. */
static bool is_reserved(struct span event) {
    static const char *const names[] = {"connect",       "connect_error", "disconnect",
                                        "disconnecting", "newListener",   "removeListener"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (span_is(event, names[i])) {
            return true;
        }
    }
    return false;
}

/* The first value: a name, or a number in the place of one. */
static bool read_event_name(struct sio_packet *p, struct json_reader *r) {
    const char *start = r->at;
    enum json_token token = json_next(r);
    if (token == JSON_INTEGER || token == JSON_NUMBER) {
        while (*start != '-' && !is_digit(*start)) { /* white space */
            start++;
        }
        p->event = (struct span){start, (size_t)(r->at - start)};
        return true;
    }
    if (token != JSON_STRING || is_reserved(r->text)) {
        return false;
    }
    p->event = r->text;
    /* Without escapes the reader lends the bytes themselves. */
    if (r->text.at < r->start || r->text.at >= r->end) {
        writer_put_span(&p->scratch, r->text);
        p->event = writer_span(&p->scratch);
    }
    return true;
}

/* An object that is open: does it stand for a binary value, and is there one with its number? */
struct placeholder {
    bool marked;
    bool numbered;
};

enum member { MEMBER_NONE, MEMBER_MARK, MEMBER_NUMBER };

static void note_value(struct placeholder *object, enum member member, enum json_token token,
                       long long number, uint32_t attachments) {
    if (member == MEMBER_MARK) {
        object->marked = token == JSON_TRUE;
    } else if (member == MEMBER_NUMBER) {
        object->numbered = token == JSON_INTEGER && number >= 0 && number < attachments;
    }
}

/* Reads on to the end of what has been opened: all of it must be JSON, and where there are
 * attachments, each placeholder must stand for one of them. */
static bool read_rest(struct json_reader *r, uint32_t attachments) {
    struct placeholder open[JSON_MAX_DEPTH + 2];
    enum member member = MEMBER_NONE;
    enum json_token token;
    while ((token = json_next(r)) != JSON_END && token != JSON_ERROR) {
        if (!attachments) {
            continue;
        }
        if (token == JSON_KEY) {
            member = span_is(r->text, "_placeholder") ? MEMBER_MARK
                     : span_is(r->text, "num")        ? MEMBER_NUMBER
                                                      : MEMBER_NONE;
            continue;
        }
        bool opens = token == JSON_OBJECT || token == JSON_ARRAY;
        if (member != MEMBER_NONE) {
            note_value(&open[r->depth - opens], member, token, r->integer, attachments);
        }
        member = MEMBER_NONE;
        if (token == JSON_OBJECT) {
            open[r->depth] = (struct placeholder){false, false};
        } else if (token == JSON_OBJECT_END && open[r->depth + 1].marked &&
                   !open[r->depth + 1].numbered) {
            return false;
        }
    }
    return token == JSON_END;
}

/* ["say", ...] or [...] */
static bool read_array(struct sio_packet *p, struct span json, bool named) {
    struct json_reader r;
    json_reader_init(&r, json.at, json.len);
    bool good = json_next(&r) == JSON_ARRAY;
    const char *from = r.at;
    if (good && named) {
        good = read_event_name(p, &r);
        from = r.at;
    }
    good = good && read_rest(&r, p->attachments);
    json_reader_deinit(&r);
    if (!good) {
        return false;
    }
    const char *end = json.at + json.len;
    while (end[-1] != ']') { /* white space may follow */
        end--;
    }
    struct span args = {from, (size_t)(end - 1 - from)};
    if (named && args.len) { /* the comma behind the name, or white space alone */
        const char *comma = memchr(args.at, ',', args.len);
        size_t used = comma ? (size_t)(comma - args.at) + 1 : args.len;
        args = (struct span){args.at + used, args.len - used};
    }
    p->args = args;
    return true;
}

static bool read_object(struct sio_packet *p, struct span json) {
    struct json_reader r;
    json_reader_init(&r, json.at, json.len);
    bool good = json_next(&r) == JSON_OBJECT && read_rest(&r, 0);
    json_reader_deinit(&r);
    p->payload = json;
    return good;
}

bool sio_packet_read(struct sio_packet *p, struct span text) {
    *p = (struct sio_packet){.attachments = 0};
    if (text.len == 0 || text.at[0] < '0' || text.at[0] > '6') {
        return false;
    }
    struct span rest = {text.at + 1, text.len - 1};
    p->type = (enum sio_type)(text.at[0] - '0');
    bool binary = p->type == SIO_BINARY_EVENT || p->type == SIO_BINARY_ACK;
    if (binary && !read_attachments(p, &rest)) {
        return false;
    }
    read_ns(p, &rest);
    if (!read_id(p, &rest)) {
        return false;
    }
    switch (p->type) {
    case SIO_CONNECT:
        p->payload = SPAN("{}");
        return rest.len == 0 || read_object(p, rest);
    case SIO_DISCONNECT:
        return rest.len == 0;
    case SIO_EVENT:
    case SIO_BINARY_EVENT:
        return read_array(p, rest, true);
    case SIO_ACK:
    case SIO_BINARY_ACK:
        return p->id.len && read_array(p, rest, false);
    default:
        return false; /* CONNECT_ERROR is ours to say */
    }
}

void sio_packet_deinit(struct sio_packet *p) {
    writer_deinit(&p->scratch);
}

/* What we have given out has nothing to escape, so that the bytes between the quotes are it. */
static void read_member(struct json_reader *r, struct span *text) {
    struct span value;
    *text = (struct span){0};
    if (json_skip(r, &value) == JSON_STRING) {
        *text = (struct span){value.at + 1, value.len - 2};
    }
}

bool sio_read_recovery(struct span payload, struct span *pid, struct span *offset) {
    struct json_reader r;
    *pid = *offset = (struct span){0};
    json_reader_init(&r, payload.at, payload.len);
    bool good = json_next(&r) == JSON_OBJECT;
    while (good && json_next(&r) == JSON_KEY) {
        if (span_is(r.text, "pid")) {
            read_member(&r, pid);
        } else if (span_is(r.text, "offset")) {
            read_member(&r, offset);
        } else {
            struct span other;
            read_member(&r, &other);
        }
    }
    json_reader_deinit(&r);
    return pid->len > 0;
}

/* --- writing -------------------------------------------------------------------------------- */

/* A name that JSON cannot say (not UTF-8) becomes an empty one: names are checked where they come
 * from. */
static void put_string(struct writer *out, struct span text) {
    if (json_put_string(out, text)) {
        writer_puts(out, "\"\"");
    }
}

/* The type, and what stands between it and the JSON. */
static void put_head(struct writer *out, enum sio_type type, struct span ns, struct span id,
                     uint32_t attachments) {
    writer_putc(out, (char)('0' + type));
    if (attachments) {
        writer_printf(out, "%u-", attachments);
    }
    if (!span_is(ns, "/")) {
        writer_put_span(out, ns);
        writer_putc(out, ',');
    }
    writer_put_span(out, id);
}

void sio_put_connect(struct writer *out, struct span ns, const char *sid, const char *pid) {
    put_head(out, SIO_CONNECT, ns, (struct span){0}, 0);
    writer_printf(out, "{\"sid\":\"%s\"", sid);
    if (pid) {
        writer_printf(out, ",\"pid\":\"%s\"", pid);
    }
    writer_putc(out, '}');
}

void sio_put_connect_error(struct writer *out, struct span ns, struct span message,
                           struct span detail) {
    put_head(out, SIO_CONNECT_ERROR, ns, (struct span){0}, 0);
    writer_puts(out, "{\"message\":");
    put_string(out, message);
    if (detail.len) {
        writer_puts(out, ",\"data\":");
        writer_put_span(out, detail);
    }
    writer_putc(out, '}');
}

void sio_put_disconnect(struct writer *out, struct span ns) {
    put_head(out, SIO_DISCONNECT, ns, (struct span){0}, 0);
}

/* The end of an event. */
static void put_offset(struct writer *out, struct span offset) {
    if (offset.len) {
        writer_puts(out, ",\"");
        writer_put_span(out, offset);
        writer_putc(out, '"');
    }
    writer_putc(out, ']');
}

static void put_event(struct writer *out, struct span ns, const struct message *m,
                      struct span offset) {
    uint32_t count = attachments_count(m->attachments);
    put_head(out, count ? SIO_BINARY_EVENT : SIO_EVENT, ns, m->id, count);
    writer_putc(out, '[');
    put_string(out, m->event);
    if (m->argc) {
        writer_putc(out, ',');
        writer_put_span(out, m->data);
    }
    put_offset(out, m->id.len ? (struct span){NULL, 0} : offset);
}

static void put_error(struct writer *out, const struct message *m) {
    writer_puts(out, "{\"error\":");
    put_string(out, m->code);
    if (m->detail.len) {
        writer_puts(out, ",\"detail\":");
        writer_put_span(out, m->detail);
    }
    writer_putc(out, '}');
}

static bool put_reply(struct writer *out, struct span ns, const struct message *m) {
    if (!m->id.len) {
        return false;
    }
    uint32_t count = m->code.len ? 0 : attachments_count(m->attachments);
    put_head(out, count ? SIO_BINARY_ACK : SIO_ACK, ns, m->id, count);
    writer_putc(out, '[');
    if (m->code.len) {
        put_error(out, m);
    } else {
        writer_put_span(out, m->data);
    }
    writer_putc(out, ']');
    return true;
}

bool sio_put_message(struct writer *out, struct span ns, const struct message *m,
                     struct span offset) {
    switch (m->kind) {
    case MESSAGE_EVENT:
        put_event(out, ns, m, offset);
        return true;
    case MESSAGE_REPLY:
        return put_reply(out, ns, m);
    case MESSAGE_TEXT:
        put_head(out, SIO_EVENT, ns, (struct span){0}, 0);
        writer_puts(out, "[\"message\",");
        put_string(out, m->data);
        put_offset(out, offset);
        return true;
    case MESSAGE_BINARY:
        put_head(out, SIO_BINARY_EVENT, ns, (struct span){0}, 1);
        writer_puts(out, "[\"message\",{\"_placeholder\":true,\"num\":0}");
        put_offset(out, offset);
        return true;
    }
    return false;
}
