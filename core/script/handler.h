/* One version of the handler tables, validated and compiled into C: settings of namespaces, routes,
 * timers, static folders, and references to the functions. A `struct version` owns it, so that it
 * lives as long as anything that runs on it. */
#ifndef MOONWIRE_SCRIPT_HANDLER_H
#define MOONWIRE_SCRIPT_HANDLER_H

#include "http/origin.h"
#include "http/static.h"
#include "hub/hub.h"
#include "script/pattern.h"
#include "script/version.h"

struct handlers;

/* A handler table. */
struct handler {
    struct handlers *set;
    char *name; /* the namespace as it was written */
    struct pattern pattern;
    unsigned rank; /* of two namespaces that match the same path, the lower one is meant */
    bool plain;    /* the namespace has no parameters: there is exactly one of it */
    struct ns_settings settings; /* .table is this handler */
    struct origins origins;
    int hooks[HOOK_COUNT]; /* references to functions; LUA_NOREF */
    int events;            /* a table: name -> function, without "*" */
    int any;               /* events["*"] */
};

struct route {
    struct handler *handler;
    char *method;
    struct pattern pattern;
    int run;
};

struct timer_spec {
    struct handler *handler;
    char *name;
    uint64_t every; /* ms */
    int run;
};

struct handlers {
    struct version *version; /* that owns this */
    struct handler *items;
    size_t count;
    struct route *routes; /* in the order in which they are tried */
    size_t route_count;
    struct timer_spec *timers;
    size_t timer_count;
    struct static_mount *mounts;
    struct handler **mount_owners; /* whose each of them is */
    size_t mount_count;
    struct handler retired; /* of namespaces that no table names any more: refuses everything */
};

/* Compiles what the version's file returned, and hangs it on the version, which then frees it: 0,
 * or UV_EINVAL with the problems in `error`, one a line. */
int handlers_compile(struct version *version, struct writer *error);

bool handlers_need_store(const struct handlers *set); /* Is something of it durable? */

/* The tables of the version in service; NULL before the first. */
struct handlers *handlers_current(const struct script *s);
/* The table whose namespace this path is in; NULL: none. */
struct handler *handlers_find(const struct handlers *set, struct span path);
/* The table whose static folder this path is in; NULL: none. */
struct handler *handlers_find_mount(const struct handlers *set, struct span path);

#endif
