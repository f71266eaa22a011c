/*
 * What surrounds a message's payload: nothing, an event of Socket.IO 5, or an event of 1 KiB in
 * JSON of which the server has changed a field. Pure functions of bytes; load.c calls them.
 */
#ifndef BENCH_ENVELOPE_H
#define BENCH_ENVELOPE_H

#include "link.h"

enum envelope_result {
    ENVELOPE_NOTHING, /* part of the opening, or a heartbeat; perhaps with a reply to send */
    ENVELOPE_OPEN,    /* the opening is complete */
    ENVELOPE_MESSAGE, /* data and len are now those of the payload */
};

struct envelope {
    const char *head, *tail; /* of what the generator sends */
    /* Is there an opening of its own after the wire's? */
    bool opens;
    /* Takes a message. Anything but what a correct server says ends the program. */
    enum envelope_result (*take)(struct peer *c, const unsigned char **data, size_t *len,
                                 const char **reply);
};

extern const struct envelope envelope_plain, envelope_socketio, envelope_json;

#endif
