/* The timers of the handler tables, compared by name from version to version. */
#ifndef MOONWIRE_SCRIPT_TIMERS_H
#define MOONWIRE_SCRIPT_TIMERS_H

#include "script/hooks.h"

/* A timer that stays keeps its phase, one whose `every` has changed starts anew, one that is not in
 * the set any more ends. */
void timers_commit(struct hooks *hooks, struct handlers *set);
void timers_stop(struct hooks *hooks);

#endif
