/* One publication to one room (or user, namespace, client). All that shared bytes may say is in it,
 * so that it is encoded at most once per wire whatever the number of recipients. */
#ifndef MOONWIRE_HUB_MESSAGE_H
#define MOONWIRE_HUB_MESSAGE_H

#include "base/buf.h"

struct arena;

/* What the bytes look like: each value has its own encoding of a message. */
enum wire {
    WIRE_WS,
    WIRE_WS_DEFLATE_9, /* one per window, 9 to 15 */
    WIRE_WS_DEFLATE_15 = WIRE_WS_DEFLATE_9 + 6,
    WIRE_SSE,
    WIRE_POST, /* a one-shot client: what is sent to it goes nowhere */
    WIRE_SIO_WS,
    WIRE_SIO_POLLING,
    WIRE_EIO_WS, /* Engine.IO without Socket.IO above it */
    WIRE_EIO_POLLING,
    WIRE_COUNT
};
const char *wire_name(enum wire wire); /* what client.wire says: "websocket", "sse", "post",
                                          "socket.io", "engine.io" */

enum message_kind {
    MESSAGE_EVENT, /* event + args */
    MESSAGE_TEXT,  /* a raw frame: data, UTF-8 */
    MESSAGE_BINARY,
    MESSAGE_REPLY, /* to a client's event: id, then args, or code and detail */
};

enum message_flags {
    MESSAGE_VOLATILE = 1, /* not to those whose socket is blocked */
    MESSAGE_HELD = 2,     /* not yet to those who may come back: once it is on disk */
};

/* What became of a join of a client that has been here before. */
enum replay_result {
    REPLAY_NONE,       /* it has not said what it has seen */
    REPLAY_DONE,       /* it gets what it has missed; otherwise nothing, because of: */
    REPLAY_TRIMMED,    /* newer messages have taken the place of some, */
    REPLAY_EXPIRED,    /* their time is over, */
    REPLAY_EPOCH,      /* the offset is of another log, or from before a restart, */
    REPLAY_INVALID,    /* it is none, or from the future, */
    REPLAY_NO_HISTORY, /* the room keeps none, */
    REPLAY_JOINED,     /* the client is in the room already */
    REPLAY_COUNT
};
/* "trimmed", "expired", "epoch", "invalid", "no_history", "joined"; NULL for the first two. */
const char *replay_reason(enum replay_result result);

/* On the stack it borrows all its bytes; message_keep makes a copy that owns them. */
struct message {
    uint8_t kind;
    uint8_t flags;
    uint8_t replay; /* REPLY to a join: enum replay_result */
    uint32_t argc;
    uint64_t position; /* in the log of a namespace with recovery; 0: none. See hub/recovery.h */
    struct span room;  /* empty: not to a room */
    struct span event; /* not escaped */
    struct span
        data; /* args as JSON values separated by commas, without brackets; or the raw bytes */
    struct span attachments; /* binary values, packed (hub/attachments.h); where they stand in the
                                args, {"_placeholder":true,"num":0} does */
    struct span offset;      /* "epoch:sequence", empty where the room has no history; of a REPLY to
                                a join: where the client stands with it */
    struct span id;     /* JSON: the client's id of its event (REPLY), or ours of a request (EVENT);
                           empty: none */
    struct span code;   /* REPLY: an error */
    struct span detail; /* REPLY: JSON or empty */
    uint32_t encoded_mask;
    struct slice encoded[WIRE_COUNT]; /* those in the mask; each owns a reference */
};

/* Everything empty except the kind. Cheap: encoded[] is not touched. */
void message_init(struct message *m, enum message_kind kind);
void message_deinit(struct message *m); /* Drops the encodings. */
/* A copy on the heap that owns its bytes, to be read and not sent: it has no room for encodings. */
struct message *message_keep(const struct message *m);
void message_free(struct message *kept);
/* Makes m, on the stack, a message of a kept one's bytes, which can be sent. */
void message_lend(struct message *m, const struct message *kept);

#endif
