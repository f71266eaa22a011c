/* The part of `moonwire` that needs no neighbours: sleep, spawn, log, env, now, iso, state. What
 * else of core/script must know about it is here. */
#ifndef MOONWIRE_SCRIPT_LIB_CORE_H
#define MOONWIRE_SCRIPT_LIB_CORE_H

#include "script/state.h"

/* Runs what mw.spawn was given while the version's files ran. */
void core_begin_spawned(struct script *s, struct version *v);
/* Closes the timers of mw.sleep; after tasks_stop. */
void core_stop(struct script *s);

#endif
