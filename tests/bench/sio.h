/*
 * What Socket.IO 5 puts around a message on its WebSocket transport, as far as a load generator
 * needs it: the opening, the one event "m" with one string, and heartbeats. It is as unforgiving
 * as ws_client, which carries it; load.c calls it.
 */
#ifndef BENCH_SIO_H
#define BENCH_SIO_H

#include "ws_client.h"

#define SIO_PATH "/socket.io/?EIO=4&transport=websocket"
#define SIO_HEAD "42[\"m\",\""
#define SIO_TAIL "\"]"

enum { SIO_HEAD_LEN = sizeof SIO_HEAD - 1, SIO_TAIL_LEN = sizeof SIO_TAIL - 1 };

enum sio_result {
    SIO_NOTHING, /* part of the opening, or a heartbeat, which has been answered */
    SIO_OPEN,    /* connected to the main namespace */
    SIO_MESSAGE, /* data and len are now those of the event's string */
};

/* Takes a text frame. */
enum sio_result sio_receive(struct ws_io *io, struct ws_client *c, const unsigned char **data,
                            size_t *len);

#endif
