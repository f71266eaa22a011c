/* A ring of packets. What is in them is recovery.c's business; only its files call this. */
#include "hub/recovery_log.h"

#include "base/memory.h"
#include "base/random.h"

#include <stdlib.h>

struct logged {
    struct buf *bytes;
    uint64_t position;
    uint64_t said;
};

void recovery_log_init(struct recovery_log *log, uint32_t size) {
    unsigned char random[EPOCH_LEN / 4 * 3];
    *log = (struct recovery_log){.size = size, .last = 1, .visible = 1, .gone = 1};
    random_bytes(random, sizeof random);
    base64url_encode(log->epoch, random, sizeof random);
    log->epoch[EPOCH_LEN] = '\0';
}

static struct logged *at(const struct recovery_log *log, uint32_t index) {
    return &log->ring[(log->first + index) % log->size];
}

static void drop_oldest(struct recovery_log *log) {
    log->gone = at(log, 0)->position;
    buf_unref(at(log, 0)->bytes);
    log->first = (log->first + 1) % log->size;
    log->count--;
}

void recovery_log_deinit(struct recovery_log *log) {
    while (log->count) {
        drop_oldest(log);
    }
    free(log->ring);
    log->ring = NULL;
}

void recovery_log_resize(struct recovery_log *log, uint32_t size) {
    if (size == log->size) {
        return;
    }
    while (log->count > size) {
        drop_oldest(log);
    }
    if (log->ring) {
        struct logged *ring = memory_array(size, sizeof *ring);
        for (uint32_t i = 0; i < log->count; i++) {
            ring[i] = *at(log, i);
        }
        free(log->ring);
        log->ring = ring;
    }
    log->size = size;
    log->first = 0;
}

void recovery_log_append(struct recovery_log *log, uint64_t position, struct buf *bytes,
                         uint64_t now) {
    if (!log->ring) {
        log->ring = memory_array(log->size, sizeof *log->ring);
    }
    if (log->count == log->size) {
        drop_oldest(log);
    }
    *at(log, log->count) = (struct logged){bytes, position, now};
    log->count++;
    log->last = position;
}

void recovery_log_trim(struct recovery_log *log, uint64_t before) {
    while (log->count && at(log, 0)->said < before && at(log, 0)->position <= log->visible) {
        drop_oldest(log);
    }
}

/* The index of the first one after the position. */
static uint32_t find(const struct recovery_log *log, uint64_t position) {
    uint32_t low = 0, high = log->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (at(log, middle)->position > position) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

struct span recovery_log_next(const struct recovery_log *log, uint64_t *position) {
    uint32_t index = find(log, *position);
    if (index == log->count || at(log, index)->position > log->visible) {
        return (struct span){0};
    }
    *position = at(log, index)->position;
    return (struct span){at(log, index)->bytes->bytes, at(log, index)->bytes->len};
}
