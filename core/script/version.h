/* One version of the app: the handler file and the modules it requires, run in an environment of
 * their own (globals, libraries and package.loaded are fresh), so that versions do not see each
 * other. version.c runs the files and keeps what they returned; it does not know what a handler
 * table is: handler.c validates the value and hangs what it makes of it on the version. */
#ifndef MOONWIRE_SCRIPT_VERSION_H
#define MOONWIRE_SCRIPT_VERSION_H

#include "script/environment.h"

struct version {
    unsigned refs;
    unsigned number; /* from 1; 0 while it is a candidate */
    struct script *script;
    struct environment env;
    int value;    /* registry reference of what the file returned: its first value */
    int spawned;  /* of an array of what mw.spawn was given while the file ran; begun by
                     version_commit */
    char **files; /* the handler file first, then those required, in order */
    size_t file_count;
    void *handlers; /* handler.c's, freed through */
    void (*free_handlers)(struct script *s, void *handlers);
};

/* Runs the script's handler file in a new version: 0 and one reference, or UV_EINVAL and a text for
 * people (message, then the lines of the user's code) appended to error. *out is set in either
 * case: a version that failed to load still knows its files (so that a watcher sees them mended).
 */
int version_load(struct script *s, struct version **out, struct writer *error);
struct version *version_ref(struct version *v);
/* NULL is allowed. The last reference drops its Lua values and its handlers. Never raises. */
void version_unref(struct version *v);
/* Puts it in service (script->version owns a reference), gives it its number, and then begins what
 * it spawned while it loaded. The one before it lives on until nothing of it waits. */
void version_commit(struct script *s, struct version *v);
void version_add_file(struct version *v, const char *path); /* once per path */
/* The version that the running code belongs to: the task's, or the one that loads. May be NULL. */
struct version *version_current(const struct script *s);

#endif
