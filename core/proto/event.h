/* The JSON event of the WebSocket and POST wires (design, "The same event on every wire"): reading
 * one, and writing each kind of message. A pure function of bytes. */
#ifndef MOONWIRE_PROTO_EVENT_H
#define MOONWIRE_PROTO_EVENT_H

#include "base/buf.h"

struct message;

enum event_kind {
    EVENT_BAD,    /* no JSON object, or of no known form: answered with bad_message */
    EVENT_EVENT,  /* {"event":"say","data":t | "args":[...],"id":7} */
    EVENT_JOIN,   /* {"join":"room:1","id":8, ...options}: options = the whole object */
    EVENT_LEAVE,  /* {"leave":"room:1","id":9} */
    EVENT_ANSWER, /* {"id":3,"data":...} or {"id":3,"error":{"code":...}}: to a request of ours */
};

struct event {
    enum event_kind kind;
    struct span name;  /* event or room, unescaped; borrowed from the text, or from scratch */
    struct span args;  /* values without brackets, not validated */
    struct span id;    /* JSON, a string or a number of at most EVENT_ID_MAX bytes; empty: no reply
                          wanted */
    struct span error; /* EVENT_ANSWER: the code, unescaped; empty: a success */
    uint64_t number;   /* EVENT_ANSWER: the id as a number */
    struct writer scratch;
};

#define EVENT_ID_MAX 128

/* Fills *e, whatever was there. "args" wins over "data"; unknown keys are ignored. The text is
 * borrowed until event_deinit. */
void event_read(struct event *e, struct span text);
void event_deinit(struct event *e);
/* Splits a JSON array into its elements, which event_read may be asked about; *array: it is one,
 * and not a single event. How many there are, -1: it is broken, or has more than `most`. */
int event_split(struct span text, struct span *events, int most, bool *array);

/* Appends the JSON text of an EVENT or REPLY message. */
void event_write(struct writer *out, const struct message *m);
/* Appends the arguments as one value, where a format has room for one: the only one as it is,
 * several as an array, none as null. */
void event_write_args(struct writer *out, struct span args, uint32_t argc);

#endif
