/* The log behind hub/recovery: packets by their position, the newest `size` of them. */
#ifndef MOONWIRE_HUB_RECOVERY_LOG_H
#define MOONWIRE_HUB_RECOVERY_LOG_H

#include "hub/offset.h"

struct recovery_log {
    struct logged *ring; /* NULL until the first packet */
    uint32_t size;
    uint32_t first; /* the place of the oldest */
    uint32_t count;
    uint64_t last; /* the newest position; an empty log stands at 1 */
    char epoch[EPOCH_LEN + 1];
};

void recovery_log_init(struct recovery_log *log, uint32_t size);
void recovery_log_deinit(struct recovery_log *log);
void recovery_log_resize(struct recovery_log *log, uint32_t size); /* keeps the newest */
/* The bytes are taken. */
void recovery_log_append(struct recovery_log *log, struct buf *bytes_take, uint64_t now);
/* Drops what was said before this time, in ms. */
void recovery_log_trim(struct recovery_log *log, uint64_t before);
uint64_t recovery_log_oldest(const struct recovery_log *log); /* last + 1: nothing is there */
struct span recovery_log_at(const struct recovery_log *log, uint64_t position); /* or empty */

#endif
