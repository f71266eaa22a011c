/* Requests as one block: a fixed part, then the text: method, target, decoded path, address, and
 * the fields as name NUL value NUL, one after the other. There are few fields, so that looking one
 * up by walking is quick, and a client that keeps its request pays two bytes a field. It parses no
 * protocol: http/parse hands over the parts. */
#include "http/request.h"

#include "base/memory.h"
#include "http/url.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

struct request {
    uint32_t refs;
    uint32_t target_len; /* behind the method */
    struct buf *body;    /* NULL: empty */
    uint32_t path;       /* where in text: within the target if it needed no decoding */
    uint32_t path_len;
    uint32_t query;   /* to the end of the target; 0: none */
    uint32_t address; /* NUL-terminated; the fields are behind it */
    uint32_t time;    /* seconds since 1970 (until 2106) */
    uint16_t field_count;
    uint8_t method_len;
    uint8_t minor : 1;
    bool secure : 1;
    bool kept : 1; /* by request_keep */
    char text[];
};

/* --- making --------------------------------------------------------------------------------- */

/* Where the parts of a target are (RFC 9112 section 3.2). */
struct target {
    struct span path; /* not decoded; empty for "*" and an absolute form without one */
    struct span query;
    struct span authority; /* of the absolute form */
};

static size_t scheme_len(struct span target) {
    struct span http = {target.at, target.len < 7 ? target.len : 7};
    struct span https = {target.at, target.len < 8 ? target.len : 8};
    if (span_equal_nocase(http, SPAN("http://")))
        return http.len;
    return span_equal_nocase(https, SPAN("https://")) ? https.len : 0;
}

static const char *split_target(struct span method, struct span target, struct target *out) {
    *out = (struct target){.path = target};
    if (memchr(target.at, '#', target.len))
        return "the target has a fragment";
    if (span_is(target, "*")) {
        out->path.len = 0;
        return span_is(method, "OPTIONS") ? NULL : "the target * is only for OPTIONS";
    }
    size_t start = scheme_len(target);
    if (start) {
        size_t end = start;
        while (end < target.len && target.at[end] != '/' && target.at[end] != '?')
            end++;
        out->authority = (struct span){target.at + start, end - start};
        out->path = (struct span){target.at + end, target.len - end};
        if (end == start)
            return "the target names no host";
    } else if (!target.len || target.at[0] != '/') {
        return "the target is no path";
    }
    const char *mark = memchr(out->path.at, '?', out->path.len);
    if (mark) {
        out->query = (struct span){mark + 1, (size_t)(out->path.at + out->path.len - mark - 1)};
        out->path.len = (size_t)(mark - out->path.at);
    }
    return NULL;
}

/* uri-host [ ":" port ] (RFC 3986): neither a path nor user information, which would make two
 * readers see two hosts. */
static bool host_valid(struct span host) {
    for (size_t i = 0; i < host.len; i++) {
        if (!char_is(host.at[i], "-._~%!$&'()*+,;=:[]"))
            return false;
    }
    return true;
}

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

static uint32_t put(struct request *r, uint32_t at, struct span bytes) {
    if (bytes.len)
        memcpy(r->text + at, bytes.at, bytes.len);
    return at + (uint32_t)bytes.len;
}

/* Writes the field that begins at `index` with all its repetitions after it; what has already been
 * written as a repetition is left out. */
static uint32_t put_field(struct request *r, uint32_t at, const struct request_field *fields,
                          size_t count, size_t index) {
    struct span name = fields[index].name;
    for (size_t i = 0; i < index; i++) {
        if (span_equal_nocase(fields[i].name, name))
            return at;
    }
    for (size_t i = 0; i < name.len; i++)
        r->text[at++] = lower(name.at[i]);
    r->text[at++] = '\0';
    at = put(r, at, fields[index].value);
    struct span comma = span_equal_nocase(name, SPAN("cookie")) ? SPAN("; ") : SPAN(", ");
    for (size_t i = index + 1; i < count; i++) {
        if (span_equal_nocase(fields[i].name, name))
            at = put(r, put(r, at, comma), fields[i].value);
    }
    r->text[at++] = '\0';
    r->field_count++;
    return at;
}

static void put_fields(struct request *r, uint32_t at, const struct request_parts *parts,
                       struct span authority) {
    if (authority.len) {
        at = put(r, at, (struct span){"host", sizeof "host"});
        at = put(r, at, authority);
        r->text[at++] = '\0';
        r->field_count++;
    }
    for (size_t i = 0; i < parts->field_count; i++) {
        if (!authority.len || !span_equal_nocase(parts->fields[i].name, SPAN("host")))
            at = put_field(r, at, parts->fields, parts->field_count, i);
    }
}

/* Room for all parts, a decoded path and a joint between repeated fields. */
static size_t text_room(const struct request_parts *parts) {
    size_t room = parts->method.len + 2 * parts->target.len + strlen(parts->address) + 16;
    for (size_t i = 0; i < parts->field_count; i++)
        room += parts->fields[i].name.len + parts->fields[i].value.len + 4;
    return room + parts->target.len;
}

/* The path stays within the target where decoding changes nothing. */
static uint32_t put_path(struct request *r, uint32_t at, struct span path, const char **error) {
    char *decoded = r->text + at;
    put(r, at, path.len ? path : SPAN("/"));
    long len = url_path(decoded, path.len ? path.len : 1);
    if (len < 0) {
        *error = "the path has a malformed escape";
        return at;
    }
    r->path = at;
    r->path_len = (uint32_t)len;
    if ((size_t)len != path.len || memcmp(decoded, path.at, path.len) != 0)
        return at + (uint32_t)len;
    r->path = r->method_len + (uint32_t)(path.at - (r->text + r->method_len));
    return at;
}

struct request *request_new(const struct request_parts *parts, const char **error) {
    struct target target;
    *error = split_target(parts->method, parts->target, &target);
    if (*error)
        return NULL;
    for (size_t i = 0; i < parts->field_count; i++) {
        if (span_equal_nocase(parts->fields[i].name, SPAN("host")) &&
            !host_valid(parts->fields[i].value))
            *error = "the Host field is malformed";
    }
    if (!host_valid(target.authority))
        *error = "the target's host is malformed";
    if (*error)
        return NULL;
    struct request *r = memory_zalloc(sizeof *r + text_room(parts));
    r->refs = 1;
    r->minor = parts->minor & 1;
    r->secure = parts->secure;
    r->time = (uint32_t)time(NULL);
    uint32_t at = put(r, 0, parts->method);
    r->method_len = (uint8_t)at;
    at = put(r, at, parts->target);
    r->target_len = (uint32_t)parts->target.len;
    /* From here on the parts of the target are those in our own text. */
    const char *copy = r->text + r->method_len;
    target.path.at = copy + (target.path.at - parts->target.at);
    if (target.query.len)
        r->query = r->method_len + (uint32_t)(target.query.at - parts->target.at);
    at = put_path(r, at, target.path, error);
    if (*error) {
        free(r);
        return NULL;
    }
    r->address = at;
    at = put(r, at, (struct span){parts->address, strlen(parts->address) + 1});
    put_fields(r, at, parts, target.authority);
    return r;
}

void request_set_body(struct request *r, struct buf *take) {
    r->body = take;
}

struct request *request_ref(struct request *r) {
    r->refs++;
    return r;
}

void request_unref(struct request *r) {
    if (!r || --r->refs)
        return;
    buf_unref(r->body);
    free(r);
}

/* Fields that concern one message or one connection (RFC 9110 section 7.6.1, RFC 6455 section 11.3)
 * say nothing about a client. */
static bool worth_keeping(struct span name) {
    static const char *const dropped[] = {
        "connection", "upgrade", "content-length", "transfer-encoding", "keep-alive",
        "te",         "trailer", "expect",         "proxy-connection",  "http2-settings",
    };
    for (size_t i = 0; i < sizeof dropped / sizeof *dropped; i++) {
        if (span_is(name, dropped[i]))
            return false;
    }
    struct span prefix = {name.at, name.len < 14 ? name.len : 14};
    return !span_is(prefix, "sec-websocket-");
}

/* Where in text the fields begin. */
static uint32_t fields_of(const struct request *r) {
    return r->address + (uint32_t)strlen(r->text + r->address) + 1;
}

/* Steps to the next field; *at begins at fields_of(r). */
static void next_field(const struct request *r, uint32_t *at, struct span *name,
                       struct span *value) {
    *name = span_of(r->text + *at);
    *value = span_of(name->at + name->len + 1);
    *at += (uint32_t)(name->len + value->len + 2);
}

/* The bytes of the fields that are worth keeping, which are copied to `out` unless that is NULL. */
static uint32_t keep_fields(const struct request *r, char *out, uint16_t *count) {
    uint32_t from = fields_of(r);
    uint32_t to = 0;
    *count = 0;
    for (uint32_t i = 0; i < r->field_count; i++) {
        struct span name;
        struct span value;
        next_field(r, &from, &name, &value);
        if (!worth_keeping(name))
            continue;
        size_t len = name.len + value.len + 2;
        if (out)
            memcpy(out + to, name.at, len);
        to += (uint32_t)len;
        ++*count;
    }
    return to;
}

/* Measured before it is made: a block that shrinks afterwards leaves a hole behind every client. */
struct request *request_keep(const struct request *r) {
    uint16_t count;
    /* One more reference changes nothing that the request says. */
    if (r->kept)
        return request_ref((struct request *)(uintptr_t)r);
    uint32_t fields = fields_of(r);
    struct request *kept = memory_alloc(sizeof *kept + fields + keep_fields(r, NULL, &count));
    *kept = *r;
    kept->refs = 1;
    kept->body = NULL;
    kept->kept = true;
    memcpy(kept->text, r->text, fields);
    keep_fields(r, kept->text + fields, &kept->field_count);
    return kept;
}

/* --- reading -------------------------------------------------------------------------------- */

struct span request_method(const struct request *r) {
    return (struct span){r->text, r->method_len};
}

struct span request_target(const struct request *r) {
    return (struct span){r->text + r->method_len, r->target_len};
}

struct span request_path(const struct request *r) {
    return (struct span){r->text + r->path, r->path_len};
}

struct span request_query(const struct request *r) {
    uint32_t end = r->method_len + r->target_len;
    return (struct span){r->text + r->query, r->query ? end - r->query : 0};
}

int request_minor(const struct request *r) {
    return r->minor;
}

struct span request_body(const struct request *r) {
    return r->body ? (struct span){r->body->bytes, r->body->len} : SPAN("");
}

const char *request_address(const struct request *r) {
    return r->text + r->address;
}

time_t request_time(const struct request *r) {
    return (time_t)r->time;
}

bool request_secure(const struct request *r) {
    return r->secure;
}

struct span request_header(const struct request *r, const char *name) {
    struct span wanted = span_of(name);
    struct span found;
    struct span value;
    uint32_t at = fields_of(r);
    for (uint32_t i = 0; i < r->field_count; i++) {
        next_field(r, &at, &found, &value);
        if (span_equal_nocase(found, wanted))
            return value;
    }
    return (struct span){NULL, 0};
}

size_t request_header_count(const struct request *r) {
    return r->field_count;
}

void request_header_at(const struct request *r, size_t index, struct span *name,
                       struct span *value) {
    uint32_t at = fields_of(r);
    for (size_t i = 0; i <= index; i++)
        next_field(r, &at, name, value);
}

bool request_header_has_token(const struct request *r, const char *name, const char *token) {
    struct span rest = request_header(r, name);
    struct span item;
    while (list_next(&rest, &item)) {
        if (span_equal_nocase(item, span_of(token)))
            return true;
    }
    return false;
}

bool request_query_value(const struct request *r, const char *key, struct writer *out) {
    struct span rest = request_query(r);
    struct span name;
    struct span value;
    struct writer decoded = {0};
    bool found = false;
    while (!found && query_next(&rest, &name, &value)) {
        writer_clear(&decoded);
        found = url_decode(&decoded, name, true) && span_is(writer_span(&decoded), key);
    }
    writer_deinit(&decoded);
    return found && url_decode(out, value, true);
}
