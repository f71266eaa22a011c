/* A room's log: a ring of kept messages. The sequence of the oldest is derived, so an offset is
 * found without a search. */
#include "hub/history.h"

#include "base/memory.h"
#include "base/random.h"

#include <stdlib.h>
#include <string.h>

#define EPOCH_BYTES (EPOCH_LEN / 4 * 3)

struct history {
    struct message **ring;
    uint32_t size;
    uint32_t first; /* the place of the oldest */
    uint32_t count;
    uint64_t last;    /* the sequence of the newest; 0: none yet */
    uint64_t expired; /* the last sequence that went because of its time */
    char epoch[EPOCH_LEN + 1];
};

struct history *history_new(uint32_t size) {
    struct history *h = memory_zalloc(sizeof *h);
    char random[EPOCH_BYTES];
    h->size = size;
    random_bytes(random, sizeof random);
    base64url_encode(h->epoch, random, sizeof random);
    return h;
}

static struct message *at(const struct history *h, uint32_t index) {
    return h->ring[(h->first + index) % h->size];
}

static void drop_oldest(struct history *h) {
    struct message *oldest = at(h, 0);
    message_free(oldest);
    h->first = (h->first + 1) % h->size;
    h->count--;
}

void history_clear(struct history *h) {
    if (h->count) {
        h->expired = h->last;
    }
    while (h->count) {
        drop_oldest(h);
    }
}

void history_free(struct history *h) {
    history_clear(h);
    free(h->ring);
    free(h);
}

void history_resize(struct history *h, uint32_t size) {
    if (size == h->size) {
        return;
    }
    while (h->count > size) {
        drop_oldest(h);
    }
    if (h->ring) {
        struct message **ring = memory_array(size, sizeof(struct message *));
        for (uint32_t i = 0; i < h->count; i++) {
            ring[i] = at(h, i);
        }
        free(h->ring);
        h->ring = ring;
    }
    h->size = size;
    h->first = 0;
}

void history_append(struct history *h, struct message *m, char offset_text[OFFSET_MAX]) {
    if (!h->ring) {
        h->ring = memory_array(h->size, sizeof(struct message *));
    }
    if (h->count == h->size) {
        drop_oldest(h);
    }
    h->last++;
    m->offset = offset_write(offset_text, h->epoch, h->last);
    h->ring[(h->first + h->count) % h->size] = message_keep(m);
    h->count++;
}

const char *history_reason(enum history_status status) {
    static const char *const reasons[] = {[HISTORY_TRIMMED] = "trimmed",
                                          [HISTORY_EXPIRED] = "expired",
                                          [HISTORY_EPOCH] = "epoch",
                                          [HISTORY_INVALID] = "invalid"};
    return reasons[status];
}

uint64_t history_last(const struct history *h) {
    return h->last;
}

static uint64_t oldest_of(const struct history *h) {
    return h->last - h->count + 1;
}

const struct message *history_at(const struct history *h, uint64_t sequence) {
    uint64_t oldest = oldest_of(h);
    return sequence < oldest || sequence > h->last ? NULL : at(h, (uint32_t)(sequence - oldest));
}

struct span history_offset(const struct history *h, uint64_t sequence, char text[OFFSET_MAX]) {
    return offset_write(text, h->epoch, sequence);
}

bool history_has_epoch(const struct history *h, struct span offset) {
    struct offset o;
    return offset_read(&o, offset) && span_is(o.epoch, h->epoch);
}

/* Of a sequence of this log. */
static enum history_status status_of(const struct history *h, uint64_t sequence) {
    if (sequence > h->last) {
        return HISTORY_INVALID;
    }
    if (sequence + 1 >= oldest_of(h)) {
        return HISTORY_OK;
    }
    return sequence < h->expired ? HISTORY_EXPIRED : HISTORY_TRIMMED;
}

enum history_status history_after(const struct history *h, struct span after, uint64_t *sequence) {
    enum history_status status = HISTORY_INVALID;
    struct span entry;
    while (offset_next(&after, &entry)) {
        struct offset o;
        if (!offset_read(&o, entry)) {
            continue;
        }
        if (span_is(o.epoch, h->epoch)) {
            *sequence = o.sequence;
            return status_of(h, o.sequence);
        }
        status = HISTORY_EPOCH;
    }
    return status;
}

enum history_status history_read(const struct history *h, struct span after, struct span before,
                                 uint32_t limit, void (*visit)(const struct message *m, void *data),
                                 void *data) {
    uint64_t from = oldest_of(h);
    uint64_t to = h->last; /* inclusive */
    uint64_t sequence;
    enum history_status status = after.len ? history_after(h, after, &sequence) : HISTORY_OK;
    bool bounded = after.len && status != HISTORY_EPOCH && status != HISTORY_INVALID;
    if (bounded && sequence + 1 > from) {
        from = sequence + 1;
    }
    if (before.len && history_after(h, before, &sequence) < HISTORY_EPOCH && sequence <= to) {
        to = sequence ? sequence - 1 : 0;
    }
    uint64_t found = to + 1 > from ? to + 1 - from : 0;
    if (found > limit) {
        if (bounded) {
            to = from + limit - 1;
        } else {
            from = to - limit + 1;
        }
    }
    for (uint64_t s = from; found && limit && s <= to; s++) {
        visit(history_at(h, s), data);
    }
    return status;
}
