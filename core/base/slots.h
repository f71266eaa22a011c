/* Things under small numbers, which are used again once they are free: what is found by an id that
 * carries its number needs no hash, and pays a pointer. */
#ifndef MOONWIRE_BASE_SLOTS_H
#define MOONWIRE_BASE_SLOTS_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty and valid. */
struct slots {
    void **at;       /* NULL where nothing is */
    uint32_t *spare; /* numbers below `end` that are free */
    uint32_t end;    /* no number is as high */
    uint32_t cap;
    uint32_t spare_count;
    uint32_t spare_cap;
};

void slots_deinit(struct slots *slots);
uint32_t slots_add(struct slots *slots, void *thing); /* its number, until slots_remove */
void slots_remove(struct slots *slots, uint32_t number);
void *slots_get(const struct slots *slots,
                uint32_t number); /* NULL: nothing; any number may be asked */
size_t slots_count(const struct slots *slots);

#endif
