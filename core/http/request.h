/* One HTTP request as it was received: immutable, reference-counted, one block of memory, so that a
 * client can keep the request it came with for as long as it lives. */
#ifndef MOONWIRE_HTTP_REQUEST_H
#define MOONWIRE_HTTP_REQUEST_H

#include "base/buf.h"

struct request;

struct request *request_ref(struct request *r);
void request_unref(struct request *r);
/* A copy without body and hop-by-hop fields (Connection, Upgrade, Sec-WebSocket-*, Content-Length,
 * ...), for keeping. */
struct request *request_keep(const struct request *r);

struct span request_method(const struct request *r);
struct span request_target(const struct request *r); /* as sent: "/a%20b?x=1" */
struct span
request_path(const struct request *r); /* decoded, dot segments removed, always begins with '/' */
struct span request_query(const struct request *r); /* raw, without '?' */
int request_minor(const struct request *r);         /* HTTP/1.minor */
struct span request_body(const struct request *r);
const char *request_address(const struct request *r); /* the peer's, as text */
bool request_secure(const struct request *r);

/* The first field of that name (case-insensitive); at == NULL if there is none. Repeated fields
 * were joined with ", " (Cookie with "; ") when the request was received. */
struct span request_header(const struct request *r, const char *name);
size_t request_header_count(const struct request *r);
/* Names are lower-case. */
void request_header_at(const struct request *r, size_t index, struct span *name,
                       struct span *value);
/* Does a comma-separated field name this token (case-insensitive)? */
bool request_header_has_token(const struct request *r, const char *name, const char *token);

/* Walks "a=1&b=2": true while there is another pair; *key and *value are raw. */
bool query_next(struct span *rest, struct span *key, struct span *value);
/* Decodes %XX and (in queries) '+'. False: a malformed escape. Appends to out. */
bool url_decode(struct writer *out, struct span text, bool plus);
/* The decoded value of a query parameter, appended to out; false if it is not there or malformed.
 */
bool request_query_value(const struct request *r, const char *key, struct writer *out);
/* Walks a Cookie field: pairs of name and value (quotes removed). */
bool cookie_next(struct span *rest, struct span *name, struct span *value);

#endif
