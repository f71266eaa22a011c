/* Blocks of header fields that many clients send alike: who keeps one of them keeps the one that is
 * there already. It remembers a bounded number of them, the last for each place in a table, and
 * knows nothing of what they say. Made by http/http for each server, used by http/request. */
#ifndef MOONWIRE_HTTP_SHARED_FIELDS_H
#define MOONWIRE_HTTP_SHARED_FIELDS_H

#include "base/buf.h"

#define SHARED_FIELDS_PLACES 256 /* a power of two */
#define SHARED_FIELDS_MAX 1024   /* bytes of a block */

/* Zero-initialised is empty and valid. */
struct shared_fields {
    struct buf *at[SHARED_FIELDS_PLACES];
};

void shared_fields_deinit(struct shared_fields *shared);
/* A reference to a block of these bytes, at most SHARED_FIELDS_MAX, which is not to be changed. */
struct buf *shared_fields_get(struct shared_fields *shared, struct span bytes);

#endif
