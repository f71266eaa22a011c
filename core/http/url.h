/* The small grammars inside request targets and fields: escapes, paths, queries, cookies and
 * comma-separated lists. Pure functions of bytes. */
#ifndef MOONWIRE_HTTP_URL_H
#define MOONWIRE_HTTP_URL_H

#include "base/buf.h"

/* Decodes %XX and (in queries) '+'. False: a malformed escape, and nothing is appended. Appends to
 * out. */
bool url_decode(struct writer *out, struct span text, bool plus);
/* Decodes a path and removes its dot segments in place; ".." does not climb above the root. The new
 * length, or UV_EINVAL: a malformed escape or a NUL. */
long url_path(char *path, size_t len);
/* Walks "a=1&b=2": true while there is another pair; *key and *value are raw. */
bool query_next(struct span *rest, struct span *key, struct span *value);
/* Walks a Cookie field: pairs of name and value (quotes removed). */
bool cookie_next(struct span *rest, struct span *name, struct span *value);
/* Walks a comma-separated field: items without white space around them, empty ones left out. */
bool list_next(struct span *rest, struct span *item);
/* An ASCII letter or digit, or one of `others`? */
bool char_is(char c, const char *others);
/* May it stand in a token (RFC 9110 section 5.6.2)? Is all of it one? An empty one is none. */
bool token_char(char c);
bool token_valid(struct span text);
struct span span_trim(struct span text); /* without spaces and tabs around it */

#endif
