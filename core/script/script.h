/* Lua: one state per worker, the handler tables in it, and the app that they make. What is above
 * (worker.c) sees only this header. */
#ifndef MOONWIRE_SCRIPT_SCRIPT_H
#define MOONWIRE_SCRIPT_SCRIPT_H

#include "base/log.h"
#include "http/http.h"
#include "hub/hub.h"

struct script;

/* What Lua may ask of its surroundings. */
struct script_env {
    struct io *io;
    struct hub *hub; /* set before script_prepare */
    const struct config *config;
    const struct log *log;
    struct metrics *metrics;
    /* mw.sse: turns an exchange into a client on a stream (proto/sse), NULL if it has gone. */
    struct client *(*open_stream)(void *data, struct exchange *x, struct ns *ns,
                                  const struct verdict *verdict);
    /* The version in service has required one more file, from within a handler. May be NULL. */
    void (*on_file)(void *data, const char *path);
    /* A version has something durable: the hub is to have a store, if it has none yet. 0, or UV_E*
     * and the reason in `error`; the version is then refused. May be NULL. */
    int (*need_store)(void *data, struct writer *error);
    void *data;
};

/* 0 or UV_ENOMEM. The app's functions are ready; they refuse everything until a version is in
 * service. */
int script_new(struct script **out, const struct script_env *env, const char *path);
struct app *script_app(struct script *script);
void script_set_hub(struct script *script, struct hub *hub);

/* Reload in two steps. prepare loads the file and the modules it requires in a fresh environment
 * and validates; nothing changes but that a candidate is ready. On failure: UV_EINVAL and a text
 * for people (file, line, traceback) in error. */
int script_prepare(struct script *script, struct writer *error);
void script_commit(struct script *script); /* The candidate is in service from the next event on. */
void script_discard(struct script *script);           /* Drops the candidate. */
unsigned script_version(const struct script *script); /* 1 after the first commit, counts up */
/* The files of the version in service, and then those of the last attempt if that failed: mending a
 * module that only the attempt requires must be seen. A path may come twice. */
void script_each_file(const struct script *script, void (*visit)(const char *path, void *data),
                      void *data);
/* Runs a file of tests or a script in the server's own runtime, for `scripts/test`: as lua(1)
 * would, with `moonwire` requirable. */
int script_run_file(struct script *script, const char *path, int argc, char **argv);
size_t script_memory(const struct script *script); /* bytes in use by Lua */

/* Shutdown: timers stop, nothing new begins; handlers that wait are abandoned. Handles close; the
 * loop runs once more before script_free. */
void script_stop(struct script *script);
void script_free(struct script *script);

#endif
