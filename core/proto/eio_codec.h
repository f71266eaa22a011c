/* The packets of Engine.IO 4: one in each frame of a WebSocket, several joined by U+001E in the
 * body of a polling request. A pure function of bytes. */
#ifndef MOONWIRE_PROTO_EIO_CODEC_H
#define MOONWIRE_PROTO_EIO_CODEC_H

#include "base/buf.h"

enum eio_type {
    EIO_OPEN,
    EIO_CLOSE,
    EIO_PING,
    EIO_PONG,
    EIO_MESSAGE,
    EIO_UPGRADE,
    EIO_NOOP,
};

#define EIO_SEPARATOR '\x1e'

struct eio_packet {
    enum eio_type type;
    bool binary; /* a MESSAGE of bytes */
    struct span data;
};

/* Reads one packet from text: a digit and its data, or "b" and a binary message in base64, whose
 * bytes are put into scratch. False: it is none. What is read is borrowed from the text or from
 * scratch, until either changes. */
bool eio_packet_read(struct eio_packet *p, struct span text, struct writer *scratch);

/* Takes the first packet off a payload. False: nothing is left. An empty payload is not one
 * without packets, but one with an empty packet: `rest->at` becomes NULL after the last. */
bool eio_payload_next(struct span *rest, struct span *packet);

/* Appends a binary message as a payload has it. */
void eio_put_base64(struct writer *out, struct span bytes);

#endif
