/* The handlers behind the items of a client's line, as tasks whose data is the session. */
#ifndef MOONWIRE_SCRIPT_ITEM_H
#define MOONWIRE_SCRIPT_ITEM_H

#include "script/session.h"

extern const struct task_kind item_kinds[]; /* by enum item_kind */

/* The running item's ack, until it is answered; NULL: there is none. */
struct ack *item_ack(const struct session *s);
/* Answers the running item's ack, if it has one and it has not been answered. */
void item_answer(struct session *s, const struct reply *reply);
void item_answer_code(struct session *s, const char *code);
const char *item_join_code(int error); /* what hub_join's error is called in answers */

#endif
