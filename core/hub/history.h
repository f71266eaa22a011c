/* The bounded log of a room, in memory. An offset is "epoch:sequence": the epoch is made when the
 * log is, unique across restarts; the sequence begins at 1 and never repeats or goes back within
 * it. */
#ifndef MOONWIRE_HUB_HISTORY_H
#define MOONWIRE_HUB_HISTORY_H

#include "hub/message.h"
#include "hub/offset.h"

struct history;

/* Is everything after an offset still there? */
enum history_status {
    HISTORY_OK,
    HISTORY_TRIMMED, /* no: newer messages have taken the place */
    HISTORY_EXPIRED, /* no: its time was over */
    HISTORY_EPOCH,   /* it is an offset of another log, or of this room's before a restart */
    HISTORY_INVALID, /* it is none, or of a message that was never said */
};
/* "trimmed", "expired", "epoch", "invalid"; NULL for HISTORY_OK. */
const char *history_reason(enum history_status status);

struct history *history_new(uint32_t size);
void history_free(struct history *h);
void history_resize(struct history *h, uint32_t size); /* keeps the newest */
/* Gives m its offset (into offset_text, which m->offset then borrows) and keeps a copy. */
void history_append(struct history *h, struct message *m, char offset_text[OFFSET_MAX]);
/* Its time is over: drops every message. The offsets go on where they were. */
void history_clear(struct history *h);

/* history_append in two steps, for a log on disk: a message has its place when it is said, and is
 * in the log once it is written. Sequences are taken in ascending order; one may never be. */
uint64_t history_give(struct history *h, struct message *m, char offset_text[OFFSET_MAX]);
void history_take(struct history *h, struct message *kept, uint64_t sequence); /* owns it */
/* A log that was there before: its messages are then taken. All up to `gone` are no longer there.
 */
struct history *history_restore(uint32_t size, const char *epoch, uint64_t gone, uint64_t expired);
void history_skip(struct history *h, uint64_t last); /* up to here no sequence is given any more */
const char *history_epoch(const struct history *h);
uint64_t history_gone(const struct history *h);    /* the last sequence that is no longer there */
uint64_t history_expired(const struct history *h); /* and the last that went because of its time */

uint64_t history_last(const struct history *h); /* the newest sequence; 0: none yet */
/* The first message after this sequence, which is set to its own: sequences may have gaps, where
 * nothing was ever said. It stays owned by the log. NULL: there is none, nothing is set. */
const struct message *history_next(const struct history *h, uint64_t *sequence);
struct span history_offset(const struct history *h, uint64_t sequence, char text[OFFSET_MAX]);
/* Is this an offset of this log, valid or not? */
bool history_has_epoch(const struct history *h, struct span offset);
/* Where a reader stands who has seen everything up to `after`: an offset, or a list of them
 * (hub/offset.h) of which the one with this log's epoch is meant. *sequence is set for HISTORY_OK,
 * HISTORY_TRIMMED and HISTORY_EXPIRED. NULL: a log that has yet to begin, of which no offset is. */
enum history_status history_after(const struct history *h, struct span after, uint64_t *sequence);

/* Reads oldest first: those after (exclusive) and before (exclusive) these offsets, at most
 * `limit`: the newest ones, or the oldest ones if `after` is given. Empty spans: no bound. An
 * `after` that is HISTORY_EPOCH or HISTORY_INVALID is as if not given, and before such a `before`
 * is nothing; the result says so, or that some after `after` are gone. visit gets messages that
 * stay owned by the history. */
enum history_status history_read(const struct history *h, struct span after, struct span before,
                                 uint32_t limit, void (*visit)(const struct message *m, void *data),
                                 void *data);

#endif
