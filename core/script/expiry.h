/* When identities end. on_auth may say until when its answer holds; shortly before, the client is
 * asked to show who it is again, and at the time it is disconnected. One heap and one timer per
 * worker, with an entry for each session that has an end and nothing for the others. */
#ifndef MOONWIRE_SCRIPT_EXPIRY_H
#define MOONWIRE_SCRIPT_EXPIRY_H

#include "script/session.h"

struct expiry;

#define EXPIRY_NEVER 0

/* The session ends at this time (seconds since 1970), whatever was said before; EXPIRY_NEVER: it
 * does not. Asks before that, unless it is no later than what was said before. */
void expiry_set(struct session *s, double expires);
double expiry_of(const struct session *s); /* EXPIRY_NEVER: it has no end */
bool expiry_is_over(double expires);       /* is this time past? */

/* The client's answer to a request of ours: was it the one that expiry had sent? */
bool expiry_answer(struct session *s, uint64_t id, struct span args, struct span attachments,
                   struct span error);
/* An event of a client that cannot answer otherwise (on a stream): was it the answer? Then ack,
 * which may be NULL, hears whether the client may stay. */
bool expiry_event(struct session *s, struct span event, struct span args, struct span attachments,
                  struct ack *ack);

/* For auth.c, which asks on_auth again: whose identity it is, NULL once the session is gone; and
 * the end of it, after which the expiry may be gone. */
struct session *expiry_session(const struct expiry *e);
void expiry_refreshed(struct expiry *e);

void expiries_stop(struct hooks *hooks); /* closes the timer; the loop must run once more */
void expiries_free(struct hooks *hooks); /* after that */

#endif
