/* The packets of Socket.IO 5, as they stand in a message of Engine.IO: "2/chat,7["say",{"a":1}]".
 * A pure function of bytes. Arguments stay JSON text. */
#ifndef MOONWIRE_PROTO_SIO_CODEC_H
#define MOONWIRE_PROTO_SIO_CODEC_H

#include "base/buf.h"

struct message;

enum sio_type {
    SIO_CONNECT,
    SIO_DISCONNECT,
    SIO_EVENT,
    SIO_ACK,
    SIO_CONNECT_ERROR,
    SIO_BINARY_EVENT,
    SIO_BINARY_ACK,
};

#define SIO_ID_MAX 15 /* digits of an ack id: what a JavaScript number can say */

struct sio_packet {
    enum sio_type type;
    uint32_t attachments; /* frames that follow */
    struct span ns;       /* without a query */
    struct span id;       /* digits; empty: none */
    uint64_t number;      /* the same */
    struct span event;    /* unescaped; borrowed from the text, or from scratch */
    struct span args;     /* of an event (without its name) or ack: JSON values with commas */
    struct span payload;  /* of the others: JSON, "{}" for a CONNECT without one */
    struct writer scratch;
};

/* Fills *p, whatever was there. False: malformed, or of no use: unknown type, JSON that is none or
 * of the wrong kind for the type, an event without or with a reserved name, no attachments where
 * there should be some, more than ATTACHMENTS_MAX, or a placeholder that stands for none. The text
 * is borrowed until sio_packet_deinit, which must follow in any case. */
bool sio_packet_read(struct sio_packet *p, struct span text);
void sio_packet_deinit(struct sio_packet *p);
/* What a client that comes back says in the payload of its CONNECT: whose session it was, and the
 * last offset that it has seen, empty if it has seen none. Borrowed. False: it says nothing. */
bool sio_read_recovery(struct span payload, struct span *pid, struct span *offset);

/* Appending packets, without Engine.IO's type. */
/* pid: what the client presents when it comes back; NULL: it need not. */
void sio_put_connect(struct writer *out, struct span ns, const char *sid, const char *pid);
/* message and detail: text, and JSON or empty. */
void sio_put_connect_error(struct writer *out, struct span ns, struct span message,
                           struct span detail);
void sio_put_disconnect(struct writer *out, struct span ns);
/* An EVENT, a REPLY (as ack), TEXT or BINARY (as an event "message"). Appends nothing, and says
 * false, where there is no packet for it: a REPLY to nothing. A BINARY itself is the packet's only
 * attachment; those of the others are m->attachments. `offset` becomes the last argument of what
 * asks for no answer, unless it is empty: base64url, digits and colons. */
bool sio_put_message(struct writer *out, struct span ns, const struct message *m,
                     struct span offset);

#endif
