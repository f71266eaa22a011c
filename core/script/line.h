/* A client's line: what it asks is handled one thing after another, in order, also while a handler
 * waits. What comes while nobody waits is handled at once, from the bytes as they were received;
 * only what has to wait is copied. It knows nothing of Lua: session.c runs the items. */
#ifndef MOONWIRE_SCRIPT_LINE_H
#define MOONWIRE_SCRIPT_LINE_H

#include "hub/app.h"

enum item_kind {
    ITEM_CONNECT,
    ITEM_MESSAGE,
    ITEM_EVENT,
    ITEM_JOIN,
    ITEM_LEAVE,      /* the client asks to leave a room */
    ITEM_LEFT,       /* its membership has ended: on_leave */
    ITEM_DISCONNECT, /* the last one */
};

/* The spans are borrowed until `run` has returned. */
struct item {
    uint8_t kind;
    bool binary;             /* MESSAGE */
    struct span name;        /* the event or room */
    struct span data;        /* arguments, options, bytes; LEFT and DISCONNECT: the reason */
    struct span attachments; /* EVENT: binary values in the arguments, packed */
    struct ack *ack;         /* may be NULL */
};

struct line_entry;
struct line {
    struct line_entry *last;    /* of those that wait; what follows it is the first. NULL: none */
    struct line_entry *current; /* the copied item that is being handled; NULL: it was borrowed */
    uint32_t count;             /* entries that wait */
    bool busy;                  /* an item has begun and not ended */
    bool draining;
};

/* Begins an item; line_done must follow exactly once, at once or later. */
typedef void line_run(struct line *line, const struct item *item);

void line_init(struct line *line);
/* Begins the item at once if nothing is before it, or copies it to the end. */
void line_push(struct line *line, const struct item *item, line_run *run);
/* For `run`: a copy of the item that it has been given, valid until line_done. */
const struct item *line_keep(struct line *line, const struct item *item);
/* The item that had begun has ended: begins the next. From within `run` it only notes that. */
void line_done(struct line *line, line_run *run);

#endif
