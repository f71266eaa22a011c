/* The table behind shared_fields.h: a place for each hash, and who comes last has it. What is
 * thrown out stays with those who hold it. */
#include "http/shared_fields.h"

#include "base/hash.h"

void shared_fields_deinit(struct shared_fields *shared) {
    for (size_t i = 0; i < SHARED_FIELDS_PLACES; i++) {
        buf_unref(shared->at[i]);
        shared->at[i] = NULL;
    }
}

struct buf *shared_fields_get(struct shared_fields *shared, struct span bytes) {
    struct buf **place = &shared->at[hash_bytes(bytes.at, bytes.len) & (SHARED_FIELDS_PLACES - 1)];
    if (!*place || !span_equal((struct span){(*place)->bytes, (*place)->len}, bytes)) {
        buf_unref(*place);
        *place = buf_copy(bytes.at, bytes.len);
    }
    return buf_ref(*place);
}
