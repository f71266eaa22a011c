/* The Lua library (lua/) as it is embedded in the binary, so that a moonwire is one file. The
 * table is generated at build time by scripts/embed_lua.cmake; the script state's searcher reads
 * it. */
#ifndef SCRIPT_EMBEDDED_H
#define SCRIPT_EMBEDDED_H

#include <stddef.h>

struct embedded_module {
    const char *name; /* what `require` takes: "moonwire.http" */
    const char *path; /* where it stands in the repository, for tracebacks */
    const unsigned char *bytes;
    size_t length;
};

/* Ends with an entry whose name is NULL. */
extern const struct embedded_module embedded_modules[];

#endif
