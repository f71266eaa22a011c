/* The set of all memberships: which answers "is this client in that room?" at the same cost for one
 * room and for ten thousand. Used by room.c only. Removal shifts the run back, so there are no
 * tombstones. */
#include "base/memory.h"
#include "hub/hub_internal.h"

#include <stdlib.h>

#define MIN_CAP 64

static size_t home(const struct membership_set *set, const struct client *c,
                   const struct room *room) {
    /* Pointers of ours, not names of a peer: a multiplicative mix is enough. */
    uint64_t h = (uint64_t)(uintptr_t)c * 0x9E3779B97F4A7C15u;
    h ^= (uint64_t)(uintptr_t)room * 0xC2B2AE3D27D4EB4Fu;
    h *= 0xFF51AFD7ED558CCDu;
    return (size_t)(h >> 32) & (set->cap - 1);
}

static void place(struct membership_set *set, struct membership *m) {
    size_t at = home(set, m->client, m->room);
    while (set->slots[at]) {
        at = (at + 1) & (set->cap - 1);
    }
    set->slots[at] = m;
}

static void resize(struct membership_set *set, size_t cap) {
    struct membership_set old = *set;
    set->slots = memory_array(cap, sizeof *set->slots);
    set->cap = cap;
    for (size_t i = 0; i < old.cap; i++) {
        if (old.slots[i]) {
            place(set, old.slots[i]);
        }
    }
    free(old.slots);
}

void membership_set_deinit(struct membership_set *set) {
    free(set->slots);
    *set = (struct membership_set){0};
}

void membership_set_add(struct membership_set *set, struct membership *m) {
    if (set->count * 4 >= set->cap * 3) {
        resize(set, set->cap ? set->cap * 2 : MIN_CAP);
    }
    place(set, m);
    set->count++;
}

static size_t locate(const struct membership_set *set, const struct client *c,
                     const struct room *room) {
    if (!set->cap) {
        return SIZE_MAX;
    }
    size_t at = home(set, c, room);
    while (set->slots[at]) {
        if (set->slots[at]->client == c && set->slots[at]->room == room) {
            return at;
        }
        at = (at + 1) & (set->cap - 1);
    }
    return SIZE_MAX;
}

struct membership *membership_set_find(const struct membership_set *set, const struct client *c,
                                       const struct room *room) {
    size_t at = locate(set, c, room);
    return at == SIZE_MAX ? NULL : set->slots[at];
}

void membership_set_remove(struct membership_set *set, const struct membership *m) {
    size_t hole = locate(set, m->client, m->room);
    if (hole == SIZE_MAX) {
        return;
    }
    size_t mask = set->cap - 1;
    for (size_t at = (hole + 1) & mask; set->slots[at]; at = (at + 1) & mask) {
        size_t wish = home(set, set->slots[at]->client, set->slots[at]->room);
        /* It may move into the hole unless its home lies between the hole and where it is now. */
        if (((at - wish) & mask) >= ((at - hole) & mask)) {
            set->slots[hole] = set->slots[at];
            hole = at;
        }
    }
    set->slots[hole] = NULL;
    set->count--;
    if (set->cap > MIN_CAP && set->count * 8 < set->cap) {
        resize(set, set->cap / 2);
    }
}
