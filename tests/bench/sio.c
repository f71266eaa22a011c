/*
 * The client side of Engine.IO 4 and Socket.IO 5 over a WebSocket, for load.c: it connects to the
 * main namespace, answers heartbeats, and takes the envelope off events. Any other packet ends the
 * program.
 */
#include "sio.h"

#include <string.h>

enum { AWAITS_OPENING, AWAITS_CONNECT, CONNECTED };

static void send_packet(struct ws_io *io, struct ws_client *c, const char *packet) {
    unsigned char frame[WS_HEAD_MAX + 8];
    const size_t len = strlen(packet);
    ws_client_send(io, c, frame, ws_client_frame(frame, (const unsigned char *)packet, len));
}

static bool begins(const unsigned char *data, size_t len, const char *with) {
    return len >= strlen(with) && memcmp(data, with, strlen(with)) == 0;
}

enum sio_result sio_receive(struct ws_io *io, struct ws_client *c, const unsigned char **data,
                            size_t *len) {
    if (*len == 1 && **data == '2') {
        send_packet(io, c, "3");
        return SIO_NOTHING;
    }
    if (c->stage == AWAITS_OPENING && begins(*data, *len, "0{")) {
        c->stage = AWAITS_CONNECT;
        send_packet(io, c, "40");
        return SIO_NOTHING;
    }
    if (c->stage == AWAITS_CONNECT && begins(*data, *len, "40{")) {
        c->stage = CONNECTED;
        return SIO_OPEN;
    }
    if (c->stage != CONNECTED || !begins(*data, *len, SIO_HEAD) ||
        *len < SIO_HEAD_LEN + SIO_TAIL_LEN ||
        memcmp(*data + *len - SIO_TAIL_LEN, SIO_TAIL, SIO_TAIL_LEN) != 0)
        fail("connection %u: unexpected packet \"%.*s\"", c->id, *len < 64 ? (int)*len : 64, *data);
    *data += SIO_HEAD_LEN;
    *len -= SIO_HEAD_LEN + SIO_TAIL_LEN;
    return SIO_MESSAGE;
}
