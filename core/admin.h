/* The operator's side door: GET /healthz and GET /metrics (Prometheus), on an address of its own.
 */
#ifndef MOONWIRE_ADMIN_H
#define MOONWIRE_ADMIN_H

#include "http/http.h"
#include "net/listener.h"
#include "script/script.h"

struct admin {
    struct http_server http;
    struct listener *listener;
    const struct metrics *metrics;
    const struct script *script;
    double started; /* wall clock, seconds */
    bool draining;  /* /healthz answers 503 */
};

/* address is ADDR:PORT, or a port alone for loopback. 0 or UV_E*. */
int admin_start(struct admin *admin, struct io *io, const struct config *config,
                const struct metrics *metrics, const struct script *script, const char *address);
int admin_port(const struct admin *admin);
void admin_stop(struct admin *admin);
void admin_deinit(struct admin *admin);

#endif
