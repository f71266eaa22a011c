/* The bounded log of a room, in memory. An offset is "epoch:sequence": the epoch is made when the
 * log is, unique across restarts; the sequence begins at 1 and never repeats or goes back within
 * it. */
#ifndef MOONWIRE_HUB_HISTORY_H
#define MOONWIRE_HUB_HISTORY_H

#include "hub/message.h"

#define OFFSET_MAX 40

struct history;

struct history *history_new(uint32_t size);
void history_free(struct history *h);
void history_resize(struct history *h, uint32_t size); /* keeps the newest */
/* Gives m its offset (into offset_text, which m->offset then borrows) and keeps a copy. */
void history_append(struct history *h, struct message *m, char offset_text[OFFSET_MAX]);
void history_clear(struct history *h); /* The offsets go on where they were. */

/* Reads oldest first: those after (exclusive) and before (exclusive) these offsets, at most
 * `limit`: the newest ones, or the oldest ones if `after` is given. Empty spans: no bound. An
 * offset of another epoch or one that is none: as if not given, and *complete is false; *complete
 * is also false when entries after `after` have been trimmed. visit gets messages that stay owned
 * by the history. */
void history_read(const struct history *h, struct span after, struct span before, uint32_t limit,
                  bool *complete, void (*visit)(const struct message *m, void *data), void *data);

#endif
