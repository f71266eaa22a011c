/* The log behind hub/recovery: packets by their position, the newest `size` of them. Positions only
 * go up, and may have gaps. */
#ifndef MOONWIRE_HUB_RECOVERY_LOG_H
#define MOONWIRE_HUB_RECOVERY_LOG_H

#include "hub/offset.h"

struct recovery_log {
    struct logged *ring; /* NULL until the first packet */
    uint32_t size;
    uint32_t first; /* the place of the oldest */
    uint32_t count;
    uint64_t last;    /* the newest position; a new log stands at 1 */
    uint64_t visible; /* up to here packets are on their way to clients; see recovery_disk.c */
    uint64_t gone;    /* the newest position that the log has lost, or of which it never knew */
    char epoch[EPOCH_LEN + 1];
};

void recovery_log_init(struct recovery_log *log, uint32_t size);
void recovery_log_deinit(struct recovery_log *log);
void recovery_log_resize(struct recovery_log *log, uint32_t size); /* keeps the newest */
/* The bytes are taken. The position is later than the last. */
void recovery_log_append(struct recovery_log *log, uint64_t position, struct buf *bytes_take,
                         uint64_t now);
/* Drops what was said before this time, in ms. */
void recovery_log_trim(struct recovery_log *log, uint64_t before);
/* The first visible packet after *position, which is then its own. Empty: there is none. */
struct span recovery_log_next(const struct recovery_log *log, uint64_t *position);

#endif
