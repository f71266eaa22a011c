/* Requests as one block: a fixed part, then the text: method, target, decoded path, address, and
 * the fields as name NUL value NUL, one after the other. There are few fields, so that looking one
 * up by walking is quick, and a client that keeps its request pays two bytes a field; those that
 * browsers of a kind have in common stand in a block that all of them share. It parses no protocol:
 * http/parse hands over the parts. */
#include "http/request.h"

#include "base/memory.h"
#include "http/shared_fields.h"
#include "http/url.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uv.h>

struct request {
    uint32_t refs;
    uint32_t target_len; /* behind the method */
    union {
        struct shared_fields *shared; /* until it has a body; NULL: there is none to share with */
        struct buf *body;             /* if has_body */
        struct buf *common;           /* if kept: the rest of the fields; NULL: no more */
    };
    uint32_t path; /* where in text: within the target if it needed no decoding */
    uint32_t path_len;
    uint32_t query;   /* to the end of the target; 0: none */
    uint32_t address; /* NUL-terminated; behind it the fields, up to an empty name */
    uint32_t time;    /* seconds since 1970 (until 2106) */
    uint8_t method_len;
    uint8_t minor : 1;
    bool secure : 1;
    bool has_body : 1;
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
    return at;
}

static void put_fields(struct request *r, uint32_t at, const struct request_parts *parts,
                       struct span authority) {
    if (authority.len) {
        at = put(r, at, (struct span){"host", sizeof "host"});
        at = put(r, at, authority);
        r->text[at++] = '\0';
    }
    for (size_t i = 0; i < parts->field_count; i++) {
        if (!authority.len || !span_equal_nocase(parts->fields[i].name, SPAN("host")))
            at = put_field(r, at, parts->fields, parts->field_count, i);
    }
    r->text[at] = '\0';
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
    r->has_body = true;
}

void request_share_fields(struct request *r, struct shared_fields *shared) {
    if (!r->has_body)
        r->shared = shared;
}

struct request *request_ref(struct request *r) {
    r->refs++;
    return r;
}

void request_unref(struct request *r) {
    if (!r || --r->refs)
        return;
    if (r->has_body || r->kept)
        buf_unref(r->kept ? r->common : r->body);
    free(r);
}

static bool starts_with(struct span name, struct span prefix) {
    return name.len >= prefix.len && memcmp(name.at, prefix.at, prefix.len) == 0;
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
    return !starts_with(name, SPAN("sec-websocket-"));
}

/* Fields that say what is the same for many: a browser, its language, the server, the proxy. */
static bool is_common(struct span name) {
    static const char *const common[] = {
        "host",
        "origin",
        "user-agent",
        "accept",
        "accept-encoding",
        "cache-control",
        "accept-language",
        "x-forwarded-host",
        "pragma",
        "x-forwarded-proto",
        "via",
        "dnt",
        "x-forwarded-port",
        "priority",
    };
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        if (span_is(name, common[i]))
            return true;
    }
    return starts_with(name, SPAN("sec-fetch-")) || starts_with(name, SPAN("sec-ch-"));
}

/* Walks over the fields, of a kept request first its own and then the common ones. */
struct walk {
    const char *at;
    const struct buf *common; /* to come; NULL: nothing */
};

static struct walk walk_fields(const struct request *r) {
    const char *address = r->text + r->address;
    return (struct walk){address + strlen(address) + 1, r->kept ? r->common : NULL};
}

static bool next_field(struct walk *walk, struct span *name, struct span *value) {
    if (!*walk->at && walk->common) {
        walk->at = walk->common->bytes;
        walk->common = NULL;
    }
    if (!*walk->at)
        return false;
    *name = span_of(walk->at);
    *value = span_of(name->at + name->len + 1);
    walk->at += name->len + value->len + 2;
    return true;
}

enum { OWN = 1, COMMON = 2 };

/* The size of these fields with their end, of those that are worth keeping. They are copied to
 * `out` unless that is NULL. */
static size_t keep_fields(const struct request *r, int which, char *out) {
    struct walk walk = walk_fields(r);
    struct span name;
    struct span value;
    size_t size = 0;
    while (next_field(&walk, &name, &value)) {
        if (!worth_keeping(name) || !(which & (is_common(name) ? COMMON : OWN)))
            continue;
        size_t len = name.len + value.len + 2;
        if (out)
            memcpy(out + size, name.at, len);
        size += len;
    }
    if (out)
        out[size] = '\0';
    return size + 1;
}

static struct buf *keep_common(const struct request *r, size_t size) {
    char fields[SHARED_FIELDS_MAX];
    keep_fields(r, COMMON, fields);
    return shared_fields_get(r->shared, (struct span){fields, size});
}

/* Measured before it is made: a block that shrinks afterwards leaves a hole behind every client. */
struct request *request_keep(const struct request *r) {
    /* One more reference changes nothing that the request says. */
    if (r->kept)
        return request_ref((struct request *)(uintptr_t)r);
    size_t common = r->has_body || !r->shared ? 0 : keep_fields(r, COMMON, NULL);
    if (common > SHARED_FIELDS_MAX)
        common = 0;
    int own = common ? OWN : OWN | COMMON;
    size_t head = r->address + strlen(r->text + r->address) + 1;
    size_t fixed = offsetof(struct request, text) + head;
    struct request *kept = memory_alloc(fixed + keep_fields(r, own, NULL));
    memcpy(kept, r, fixed);
    kept->refs = 1;
    kept->has_body = false;
    kept->kept = true;
    kept->common = common ? keep_common(r, common) : NULL;
    keep_fields(r, own, kept->text + head);
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
    return r->has_body && r->body ? (struct span){r->body->bytes, r->body->len} : SPAN("");
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
    struct walk walk = walk_fields(r);
    while (next_field(&walk, &found, &value)) {
        if (span_equal_nocase(found, wanted))
            return value;
    }
    return (struct span){NULL, 0};
}

size_t request_header_count(const struct request *r) {
    struct span name;
    struct span value;
    struct walk walk = walk_fields(r);
    size_t count = 0;
    while (next_field(&walk, &name, &value))
        count++;
    return count;
}

void request_header_at(const struct request *r, size_t index, struct span *name,
                       struct span *value) {
    struct walk walk = walk_fields(r);
    for (size_t i = 0; i <= index; i++)
        (void)next_field(&walk, name, value);
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
