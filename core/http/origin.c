/* Origins: reads the Origin field, compares it with the request's own host and with the allow list,
 * and writes what the Fetch standard's CORS protocol wants. The worker calls it in front of every
 * handshake and route; it decides nothing else. */
#include "http/origin.h"

#include "http/response.h"
#include <string.h>

/* An origin or a pattern in its parts (RFC 6454 section 4). */
struct origin {
    struct span scheme;
    struct span host; /* of a pattern: may begin with "*." */
    unsigned port;    /* the scheme's own where none is given; 0: unknown */
};

static unsigned default_port(struct span scheme) {
    if (span_equal_nocase(scheme, SPAN("http")))
        return 80;
    return span_equal_nocase(scheme, SPAN("https")) ? 443 : 0;
}

/* Splits "host[:port]", where the host may be an IPv6 address in brackets. */
static bool split_host(struct span text, unsigned standard, struct span *host, unsigned *port) {
    const char *bracket = memrchr(text.at, ']', text.len);
    const char *from = bracket ? bracket : text.at;
    const char *colon = memchr(from, ':', (size_t)(text.at + text.len - from));
    *host = (struct span){text.at, colon ? (size_t)(colon - text.at) : text.len};
    *port = standard;
    if (!colon)
        return host->len;
    *port = 0;
    for (const char *at = colon + 1; at < text.at + text.len; at++) {
        if (*at < '0' || *at > '9' || *port > 6553)
            return false;
        *port = *port * 10 + (unsigned)(*at - '0');
    }
    return host->len && *port && *port <= 65535;
}

static bool parse(struct span text, struct origin *out) {
    const char *mark = text.len ? memmem(text.at, text.len, "://", 3) : NULL;
    if (!mark || mark == text.at)
        return false;
    out->scheme = (struct span){text.at, (size_t)(mark - text.at)};
    struct span rest = {mark + 3, text.len - out->scheme.len - 3};
    if (memchr(rest.at, '/', rest.len) || memchr(rest.at, '@', rest.len))
        return false;
    return split_host(rest, default_port(out->scheme), &out->host, &out->port);
}

/* "*.a.example" stands for any name below a.example, and not for that name itself. */
static bool host_matches(struct span pattern, struct span host) {
    if (pattern.len < 2 || pattern.at[0] != '*' || pattern.at[1] != '.')
        return span_equal_nocase(pattern, host);
    struct span suffix = {pattern.at + 1, pattern.len - 1};
    if (host.len <= suffix.len)
        return false;
    struct span tail = {host.at + host.len - suffix.len, suffix.len};
    return span_equal_nocase(suffix, tail);
}

enum match { MATCH_NONE, MATCH_STAR, MATCH_LISTED };

/* An origin that is listed by name stays so where "*" is listed too. */
static enum match match_list(const struct origins *origins, struct span text) {
    enum match match = MATCH_NONE;
    struct origin origin;
    bool parsed = parse(text, &origin);
    for (size_t i = 0; origins && i < origins->count; i++) {
        struct span allowed = span_of(origins->allowed[i]);
        struct origin pattern;
        if (span_is(allowed, "*"))
            match = MATCH_STAR;
        else if (!parsed && span_is(text, "null") && span_is(allowed, "null"))
            return MATCH_LISTED;
        else if (parsed && parse(allowed, &pattern) && pattern.port == origin.port &&
                 span_equal_nocase(pattern.scheme, origin.scheme) &&
                 host_matches(pattern.host, origin.host))
            return MATCH_LISTED;
    }
    return match;
}

/* The Host field names no scheme, and in front of us a proxy may have ended TLS: where it has no
 * port either, it means the standard port of the Origin's scheme. */
static bool same_host(const struct request *r, struct span text) {
    struct origin origin;
    struct span host;
    unsigned port;
    struct span field = request_header(r, "host");
    if (!field.at || !parse(text, &origin))
        return false;
    return split_host(field, default_port(origin.scheme), &host, &port) && port == origin.port &&
           span_equal_nocase(host, origin.host);
}

bool origin_allowed(const struct origins *origins, const struct request *r) {
    struct span origin = request_header(r, "origin");
    return !origin.at || same_host(r, origin) || match_list(origins, origin) != MATCH_NONE;
}

/* --- CORS ----------------------------------------------------------------------------------- */

static void put_field(struct writer *w, const char *name, struct span value) {
    writer_puts(w, name);
    writer_puts(w, ": ");
    writer_put_span(w, value);
    writer_puts(w, "\r\n");
}

/* What the page asks for may be asked: whether the request itself is allowed is decided when it
 * comes. */
static void answer_preflight(struct exchange *x, bool allowed) {
    const struct request *r = exchange_request(x);
    struct span fields = request_header(r, "access-control-request-headers");
    struct response answer;
    if (!allowed) {
        response_text(x, 403, "this origin is not allowed here");
        return;
    }
    response_init(&answer, 204);
    put_field(&answer.headers, "Access-Control-Allow-Methods",
              request_header(r, "access-control-request-method"));
    if (fields.len)
        put_field(&answer.headers, "Access-Control-Allow-Headers", fields);
    put_field(&answer.headers, "Access-Control-Max-Age", SPAN("600"));
    put_field(&answer.headers, "Vary",
              SPAN("Access-Control-Request-Method, Access-Control-Request-Headers"));
    response_send(x, &answer);
}

bool cors_handle(const struct origins *origins, struct exchange *x) {
    const struct request *r = exchange_request(x);
    struct writer *extra = exchange_extra_headers(x);
    struct span origin = request_header(r, "origin");
    bool foreign = origin.at && !same_host(r, origin);
    enum match match = foreign ? match_list(origins, origin) : MATCH_NONE;
    /* The answer differs by Origin wherever there is a list, also for those who send none. */
    if (origins && origins->count && match != MATCH_STAR)
        put_field(extra, "Vary", SPAN("Origin"));
    if (match == MATCH_STAR) {
        put_field(extra, "Access-Control-Allow-Origin", SPAN("*"));
    } else if (match == MATCH_LISTED) {
        put_field(extra, "Access-Control-Allow-Origin", origin);
        put_field(extra, "Access-Control-Allow-Credentials", SPAN("true"));
    }
    if (!foreign || !span_is(request_method(r), "OPTIONS") ||
        !request_header(r, "access-control-request-method").at)
        return false;
    answer_preflight(x, match != MATCH_NONE);
    return true;
}
