/* A room's log: a ring of kept messages, ascending in their sequences. Those may have gaps, where
 * something could not be written to disk or the process was killed, so a message is found by
 * bisection. */
#include "hub/history.h"

#include "base/memory.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPOCH_BYTES (EPOCH_LEN / 4 * 3)
#define FIRST_CAP 4

struct entry {
    struct message *message;
    uint64_t sequence;
};

struct history {
    struct entry *ring; /* grows to what is needed */
    uint32_t size;      /* how many messages are kept */
    uint32_t cap;       /* of the ring; at most size */
    uint32_t first;     /* the place of the oldest */
    uint32_t count;
    uint64_t given;   /* the last sequence given to a message */
    uint64_t last;    /* that of the newest message; 0: none yet */
    uint64_t gone;    /* the last sequence that is no longer there; 0: none */
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

struct history *history_restore(uint32_t size, const char *epoch, uint64_t gone, uint64_t expired) {
    struct history *h = memory_zalloc(sizeof *h);
    h->size = size;
    h->given = h->last = h->gone = gone;
    h->expired = expired;
    snprintf(h->epoch, sizeof h->epoch, "%s", epoch);
    return h;
}

static struct entry *at(const struct history *h, uint32_t index) {
    return &h->ring[(h->first + index) % h->cap];
}

static void drop_oldest(struct history *h) {
    struct entry *oldest = at(h, 0);
    message_free(oldest->message);
    h->gone = oldest->sequence;
    h->first = (h->first + 1) % h->cap;
    h->count--;
}

void history_clear(struct history *h) {
    if (h->count) {
        h->expired = h->last;
    }
    while (h->count) {
        drop_oldest(h);
    }
    h->gone = h->last;
}

void history_free(struct history *h) {
    history_clear(h);
    free(h->ring);
    free(h);
}

static void set_cap(struct history *h, uint32_t cap) {
    struct entry *ring = memory_array(cap, sizeof *ring);
    for (uint32_t i = 0; i < h->count; i++) {
        ring[i] = *at(h, i);
    }
    free(h->ring);
    h->ring = ring;
    h->cap = cap;
    h->first = 0;
}

void history_resize(struct history *h, uint32_t size) {
    while (h->count > size) {
        drop_oldest(h);
    }
    if (h->cap > size) {
        set_cap(h, size);
    }
    h->size = size;
}

uint64_t history_give(struct history *h, struct message *m, char offset_text[OFFSET_MAX]) {
    h->given++;
    m->offset = offset_write(offset_text, h->epoch, h->given);
    return h->given;
}

void history_take(struct history *h, struct message *kept, uint64_t sequence) {
    if (h->count == h->size) {
        drop_oldest(h);
    }
    if (h->count == h->cap) {
        uint32_t cap = h->cap ? h->cap * 2 : FIRST_CAP;
        set_cap(h, cap < h->size ? cap : h->size);
    }
    h->last = sequence;
    h->given = sequence > h->given ? sequence : h->given;
    h->ring[(h->first + h->count) % h->cap] = (struct entry){kept, sequence};
    h->count++;
}

void history_skip(struct history *h, uint64_t last) {
    h->given = h->last = last;
}

void history_append(struct history *h, struct message *m, char offset_text[OFFSET_MAX]) {
    uint64_t sequence = history_give(h, m, offset_text);
    history_take(h, message_keep(m), sequence);
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

uint64_t history_gone(const struct history *h) {
    return h->gone;
}

uint64_t history_expired(const struct history *h) {
    return h->expired;
}

const char *history_epoch(const struct history *h) {
    return h->epoch;
}

/* How many messages there are up to this sequence. Without gaps the first guess is right. */
static uint32_t count_to(const struct history *h, uint64_t sequence) {
    uint32_t low = 0;
    uint32_t high = h->count;
    if (!h->count || sequence >= h->last) {
        return h->count;
    }
    uint64_t oldest = at(h, 0)->sequence;
    uint64_t guess = sequence < oldest ? 0 : sequence - oldest + 1;
    if (guess == 0 || (guess <= h->count && at(h, (uint32_t)guess - 1)->sequence == sequence)) {
        return (uint32_t)guess;
    }
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (at(h, middle)->sequence <= sequence) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

const struct message *history_next(const struct history *h, uint64_t *sequence) {
    uint32_t index = count_to(h, *sequence);
    if (index == h->count) {
        return NULL;
    }
    *sequence = at(h, index)->sequence;
    return at(h, index)->message;
}

struct span history_offset(const struct history *h, uint64_t sequence, char text[OFFSET_MAX]) {
    return offset_write(text, h->epoch, sequence);
}

bool history_has_epoch(const struct history *h, struct span offset) {
    struct offset o;
    return offset_read(&o, offset) && span_is(o.epoch, h->epoch);
}

/* Of a sequence of this log. One that has been given and is still on its way to the disk is known
 * to who said it. */
static enum history_status status_of(const struct history *h, uint64_t sequence) {
    if (sequence > h->given) {
        return HISTORY_INVALID;
    }
    if (sequence >= h->gone) {
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
        if (h && span_is(o.epoch, h->epoch)) {
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
    uint32_t from = 0; /* places in the ring, */
    uint32_t to = h->count;
    uint64_t sequence;
    enum history_status status = after.len ? history_after(h, after, &sequence) : HISTORY_OK;
    bool bounded = after.len && status != HISTORY_EPOCH && status != HISTORY_INVALID;
    if (bounded) {
        from = count_to(h, sequence);
    }
    if (before.len) {
        enum history_status end = history_after(h, before, &sequence);
        bool known = end < HISTORY_EPOCH;
        to = known && sequence ? count_to(h, sequence - 1) : 0;
        status = known || status != HISTORY_OK ? status : end;
    }
    if (to > from && to - from > limit) {
        if (bounded) {
            to = from + limit;
        } else {
            from = to - limit;
        }
    }
    for (uint32_t i = from; i < to; i++) {
        visit(at(h, i)->message, data);
    }
    return status;
}
