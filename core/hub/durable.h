/* Rooms whose history is on disk. A message has its offset when it is said, and is in the history
 * and on its way to the members once it is committed. The room's ring in memory is a cache of the
 * log, read when somebody first needs it. Within the hub only; room.c decides which rooms these
 * are, publish.c sends their messages here. */
#ifndef MOONWIRE_HUB_DURABLE_H
#define MOONWIRE_HUB_DURABLE_H

#include "hub/hub_internal.h"

/* Puts the room's history on disk: what is there is read, and what is in memory (the room was not
 * durable until now) is written. 0, or UV_E*: then nothing has changed. */
int durable_begin(struct room *room, uint32_t size);
/* Does a message wait for its commit? The room is durable as long, whatever the settings say, so
 * that nothing overtakes it. */
bool durable_is_pending(const struct room *room);
/* The policy does not want it any more, and nothing is pending: the history is in memory only, or,
 * where there is to be none, stays on disk for who wants it again. */
void durable_end(struct room *room);
/* Whatever is pending has been waited for. */
void durable_free(struct room *room);

/* As hub_publish; commit may be NULL. */
int durable_publish(struct room *room, struct message *m, const struct except *except,
                    char *offset_text, struct commit *commit);
/* Somebody is told where he is in the history: from now on there is one, though nothing may have
 * been said yet. */
void durable_found(struct room *room);
void durable_touch(struct room *room); /* It is used: it stays in memory for a while. */
/* Nobody has used it for a while, and all that memory has is on disk, too. */
bool durable_is_idle(const struct room *room);

#endif
