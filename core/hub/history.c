/* A room's log: a ring of kept messages. The sequence of the oldest is derived, so an offset is
 * found without a search. */
#include "hub/history.h"

#include "base/memory.h"
#include "base/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPOCH_BYTES 9
#define EPOCH_LEN 12 /* its base64url form */

struct history {
    struct message **ring;
    uint32_t size;
    uint32_t first; /* the place of the oldest */
    uint32_t count;
    uint64_t last; /* the sequence of the newest; 0: none yet */
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
    int len = snprintf(offset_text, OFFSET_MAX, "%s:%" PRIu64, h->epoch, h->last);
    m->offset = (struct span){offset_text, (size_t)len};
    h->ring[(h->first + h->count) % h->size] = message_keep(m);
    h->count++;
}

/* The sequence of an offset of this log; false for any other text. */
static bool sequence_of(const struct history *h, struct span offset, uint64_t *sequence) {
    char digits[24];
    size_t len = offset.len - EPOCH_LEN - 1;
    if (offset.len < EPOCH_LEN + 2 || len >= sizeof digits ||
        memcmp(offset.at, h->epoch, EPOCH_LEN) != 0 || offset.at[EPOCH_LEN] != ':') {
        return false;
    }
    memcpy(digits, offset.at + EPOCH_LEN + 1, len);
    digits[len] = '\0';
    char *end;
    *sequence = strtoull(digits, &end, 10);
    return digits[0] >= '0' && digits[0] <= '9' && *end == '\0' && *sequence <= h->last;
}

void history_read(const struct history *h, struct span after, struct span before, uint32_t limit,
                  bool *complete, void (*visit)(const struct message *m, void *data), void *data) {
    uint64_t oldest = h->last - h->count + 1;
    uint64_t from = oldest;
    uint64_t to = h->last; /* inclusive */
    uint64_t sequence;
    bool bounded = after.len && sequence_of(h, after, &sequence);
    *complete = !after.len || bounded;
    if (bounded) {
        *complete = sequence + 1 >= oldest;
        from = sequence + 1 > oldest ? sequence + 1 : oldest;
    }
    if (before.len && sequence_of(h, before, &sequence) && sequence <= to) {
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
        visit(at(h, (uint32_t)(s - oldest)), data);
    }
}
