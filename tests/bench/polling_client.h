/*
 * The wire of Socket.IO over long-polling: a peer keeps a GET waiting, and its twin carries the
 * POSTs, each on a connection that stays open. Messages are packets of Engine.IO.
 */
#ifndef BENCH_POLLING_CLIENT_H
#define BENCH_POLLING_CLIENT_H

#include "link.h"

#define POLLING_PATH "/socket.io/?EIO=4&transport=polling"

extern const struct wire polling_wire;

#endif
