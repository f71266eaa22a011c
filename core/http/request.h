/* One HTTP request as it was received: immutable, reference-counted, one block of memory, so that a
 * client can keep the request it came with for as long as it lives. */
#ifndef MOONWIRE_HTTP_REQUEST_H
#define MOONWIRE_HTTP_REQUEST_H

#include "base/buf.h"
#include "http/url.h"
#include <time.h>

struct request;
struct shared_fields;

/* What a request is made of, all borrowed; http/parse fills it in. */
struct request_field {
    struct span name;
    struct span value;
};
struct request_parts {
    struct span method;
    struct span target;
    int minor;
    bool secure;
    const char *address;
    const struct request_field *fields; /* as received: repeated, in any case */
    size_t field_count;
};
/* One reference, without body; NULL: the target or the Host is no good, and *error says why
 * (static). A target with a host of its own ("http://host/path") overrides the field (RFC 9112
 * section 3.2.2). */
struct request *request_new(const struct request_parts *parts, const char **error);
void request_set_body(struct request *r, struct buf *take); /* While nobody else has r. */

struct request *request_ref(struct request *r);
void request_unref(struct request *r);
/* A copy without body and hop-by-hop fields (Connection, Upgrade, Sec-WebSocket-*, Content-Length,
 * ...), for keeping; of such a copy, another reference. */
struct request *request_keep(const struct request *r);
/* What many clients say alike (User-Agent, Accept-Language, ...) is then kept once, if the request
 * has no body. `shared` must live as long as request_keep may be called. */
void request_share_fields(struct request *r, struct shared_fields *shared);

struct span request_method(const struct request *r);
struct span request_target(const struct request *r); /* as sent: "/a%20b?x=1" */
struct span
request_path(const struct request *r); /* decoded, dot segments removed, always begins with '/' */
struct span request_query(const struct request *r); /* raw, without '?' */
int request_minor(const struct request *r);         /* HTTP/1.minor */
struct span request_body(const struct request *r);
const char *request_address(const struct request *r); /* the peer's, as text */
bool request_secure(const struct request *r);         /* over TLS */
time_t request_time(const struct request *r);         /* when it was received */

/* The first field of that name (case-insensitive); at == NULL if there is none. Repeated fields
 * were joined with ", " (Cookie with "; ") when the request was received. */
struct span request_header(const struct request *r, const char *name);
size_t request_header_count(const struct request *r);
/* Names are lower-case. */
void request_header_at(const struct request *r, size_t index, struct span *name,
                       struct span *value);
/* Does a comma-separated field name this token (case-insensitive)? */
bool request_header_has_token(const struct request *r, const char *name, const char *token);

/* The decoded value of a query parameter, appended to out; false if it is not there or malformed.
 */
bool request_query_value(const struct request *r, const char *key, struct writer *out);

#endif
