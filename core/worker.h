/* A worker: one loop with its hub, its Lua state and its transports. The only place that knows
 * everybody. */
#ifndef MOONWIRE_WORKER_H
#define MOONWIRE_WORKER_H

#include "base/config.h"
#include "base/log.h"

struct worker;

/* `dev`: the handler's files are watched and reloaded on save, and the end is a quick one. On
 * failure UV_E* and the reason, for people, in `error`: a handler that does not load or validate, a
 * port that is taken. */
int worker_start(struct worker **out, const struct config *config, const struct log *log,
                 const char *app, bool dev, struct writer *error);
int worker_port(const struct worker *worker);
int worker_admin_port(const struct worker *worker); /* 0: off */
/* Runs the loop until the worker has shut down: after SIGINT or SIGTERM, when everybody has been
 * told or the deadline is over. */
void worker_run(struct worker *worker);
void worker_free(struct worker *worker);

/* Loads and validates, as worker_start would, and serves nothing. */
int worker_check(const struct config *config, const struct log *log, const char *app,
                 struct writer *error);
/* Runs a Lua file in a worker's runtime: the exit code for the process. argv[0] is the file. */
int worker_run_lua(const struct config *config, const struct log *log, const char *file, int argc,
                   char **argv);

#endif
