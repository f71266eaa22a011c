/* Who may call from a browser: the Origin check of handshakes, and CORS (Fetch standard) for HTTP.
 */
#ifndef MOONWIRE_HTTP_ORIGIN_H
#define MOONWIRE_HTTP_ORIGIN_H

#include "http/http.h"

/* An allow list: "https://a.example", the same with a star in place of its first label, "*"; empty,
 * or NULL for the whole: the same host only. */
struct origins {
    char **allowed;
    size_t count;
};

/* No Origin field (not a browser), the same host, or listed. "null" only if listed by that name or
 * by "*". */
bool origin_allowed(const struct origins *origins, const struct request *r);
/* Adds Access-Control-* and Vary to the answer if the request has an allowed foreign Origin.
 * Answers a preflight (OPTIONS with Access-Control-Request-Method) by itself: 204 or 403; true
 * then. */
bool cors_handle(const struct origins *origins, struct exchange *x);

#endif
