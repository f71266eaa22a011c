/* Readers that have fallen behind, and what becomes of messages that they have no room for: the
 * policies "close", "drop" and "latest". Within the hub only: publish.c asks for every client that
 * is not like the others, and nothing here runs while everybody reads. */
#ifndef MOONWIRE_HUB_SLOW_H
#define MOONWIRE_HUB_SLOW_H

#include "hub/hub_internal.h"

/* client->apart of a client that closes. Of one that is slow: its number in hub->slow, plus one. */
#define APART_CLOSING UINT32_MAX

/* Out of the loop over recipients, into which link-time optimisation would put it. */
#define SLOW_APART __attribute__((cold, noinline))

struct slow;
struct slow_row;

/* One message on its way to its recipients. */
struct delivery {
    struct message *message;
    const struct slow_rule *rule; /* NULL: it is owed to the client, whatever waits */
    struct slow_row *row;         /* what is shared by all who park it; NULL until one does */
    bool yields;                  /* ask first whether the socket refuses bytes */
};
void delivery_init(struct delivery *d, struct message *m, const struct slow_rule *rule);
void delivery_deinit(struct delivery *d);

const struct slow_rule *slow_rule_of_ns(const struct ns *ns);
const struct slow_rule *slow_rule_of_room(const struct room *room);

/* Asked before a message is queued to a client that is apart, or whose socket refuses bytes while
 * the message yields. True: it has been dropped or parked, or it closed the client. */
SLOW_APART bool slow_takes(struct delivery *d, struct client *c);
/* More than the high mark waits for the client, now that the message is queued. */
SLOW_APART void slow_above_mark(const struct delivery *d, struct client *c);
/* Closes a reader that leaves too much unread. */
SLOW_APART void slow_close(struct client *c);
/* Its output has drained: tells it what it missed, and sends what was parked. */
void slow_drained(struct client *c);
/* The offset of the first message in a room's log that is parked; empty: none is. */
struct span slow_first_parked(const struct client *c, const struct room *room);
/* Forgets what is parked of a room that the client has left. */
void slow_left(struct client *c, struct span room);
/* The position of the first message that it has not been sent, while later ones may have been; 0:
 * there is none. See hub/recovery.h. */
uint64_t slow_gap(const struct client *c);
void slow_forget(struct client *c); /* It closes. */

#endif
