/* What a client that comes back has missed: it joins a room with the offset up to which it has seen
 * everything, and gets the messages after that, in order and once, then the live ones. The reply to
 * the join, the membership and the replay are one step, in this order: replay_join, the reply,
 * replay_start. */
#ifndef MOONWIRE_HUB_REPLAY_H
#define MOONWIRE_HUB_REPLAY_H

#include "hub/history.h"
#include "hub/hub.h"

/* What became of a join. */
struct joined {
    enum replay_result result;
    /* Where the client stands before anything is replayed: wherever its connection breaks, it may
     * come back with that, or with the offset of a later message. Empty in a room without history.
     */
    struct span offset;
    char text[OFFSET_MAX];
};

/* The offsets that a client brings when it connects: they are for joins without one of their own,
 * each for one join. Copied. */
void replay_offer(struct client *c, struct span offsets);
/* Nothing more will ask for them. */
void replay_withdraw(struct client *c);

/* A join begins that the application has yet to allow: a client has one such join at a time. `own`
 * is the offset (or list of them) in the join itself, empty: none. What would become of it now;
 * *after is the offset that is meant, borrowed until replay_forget. REPLAY_NONE: nobody asks. */
enum replay_result replay_ask(struct client *c, struct span room, struct span own,
                              struct span *after);
/* The application has read the room's log meanwhile, up to here, for the client: what follows is
 * all that is to be replayed. `after`: it began behind an offset of its choice. */
void replay_note_read(struct client *c, struct span position, enum history_status status,
                      bool after);
void replay_forget(struct client *c); /* That join is over. */

/* As hub_join. `asked`: it is the join of replay_ask; otherwise `own` says what is missing. */
int replay_join(struct client *c, struct span room, bool asked, struct span own, struct joined *j);
/* Sends what has been missed: now as much as fits, the rest as the client reads. */
void replay_start(struct client *c);
/* To a stream: a position, before the first message brings one. */
void replay_tell_position(struct client *c, struct span offset);
/* The event "unrecovered", for clients that have no reply in which this could stand. */
void replay_tell(struct client *c, struct span room, enum replay_result result);

/* Where a client stands in all its rooms with history when it has seen the message with this
 * offset, which it is about to be sent: a list of offsets, appended to out, that it has to say when
 * it comes back. At most POSITION_MAX bytes; what does not fit is left out. False: the offset
 * itself is all there is to say. */
#define POSITION_MAX 4096
bool replay_position(const struct client *c, struct span offset, struct writer *out);

#endif
