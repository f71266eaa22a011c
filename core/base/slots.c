/* The arrays behind slots.h. They grow with the most things that were there at once, and do not
 * shrink. Used for clients by id, and for sessions of Engine.IO. */
#include "base/slots.h"

#include "base/memory.h"

#include <stdlib.h>

#define MIN_CAP 64

void slots_deinit(struct slots *slots) {
    free(slots->at);
    free(slots->spare);
    *slots = (struct slots){0};
}

uint32_t slots_add(struct slots *slots, void *thing) {
    uint32_t number = slots->end;
    if (slots->spare_count) {
        number = slots->spare[--slots->spare_count];
    } else if (slots->end++ == slots->cap) {
        slots->cap = slots->cap ? slots->cap * 2 : MIN_CAP;
        slots->at = memory_resize(slots->at, slots->cap * sizeof *slots->at);
    }
    slots->at[number] = thing;
    return number;
}

void slots_remove(struct slots *slots, uint32_t number) {
    slots->at[number] = NULL;
    if (slots->spare_count == slots->spare_cap) {
        slots->spare_cap = slots->spare_cap ? slots->spare_cap * 2 : MIN_CAP;
        slots->spare = memory_resize(slots->spare, slots->spare_cap * sizeof *slots->spare);
    }
    slots->spare[slots->spare_count++] = number;
}

void *slots_get(const struct slots *slots, uint32_t number) {
    return number < slots->end ? slots->at[number] : NULL;
}

size_t slots_count(const struct slots *slots) {
    return slots->end - slots->spare_count;
}
