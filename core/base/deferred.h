/* Work put off to the end of the loop turn, where nobody is in the middle of anything. Who runs it,
 * and when, is net/io's business; it stands here because the hub puts off work too and does not
 * know net. */
#ifndef MOONWIRE_BASE_DEFERRED_H
#define MOONWIRE_BASE_DEFERRED_H

#include <stdbool.h>
#include <sys/queue.h>

/* Embedded by its owner, who may free it in run. Queued at most once at a time. */
struct deferred {
    STAILQ_ENTRY(deferred) link;
    void (*run)(struct deferred *deferred);
    bool queued;
};
STAILQ_HEAD(deferred_list, deferred);

#endif
