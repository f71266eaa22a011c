/* Recovery of clients whose transport has no memory of its own (Socket.IO): a namespace with
 * recovery keeps one bounded log of what was said in it, with its targets, and a session for each
 * client that may come back. What a client has seen, it says itself; what it has missed is what
 * the log has for it after that, whether it was sent or not.
 *
 * A position is a sequence of the namespace's log. A client is in a room from one position to
 * another, so that it gets what was said while it was a member and nothing else.
 *
 * Within the hub, publish.c gives messages their positions here, and client.c and room.c tell what
 * becomes of clients; the wire (proto/sio) begins and resumes sessions. */
#ifndef MOONWIRE_HUB_RECOVERY_H
#define MOONWIRE_HUB_RECOVERY_H

#include "hub/hub.h"
#include "hub/offset.h"
#include "hub/packet.h"

struct recovery_session;

#define PID_LEN 44 /* of a session's secret name: the log's epoch, and 24 random bytes */

enum recovery_result {
    RECOVERY_NONE,     /* it has not asked, or nothing is kept here */
    RECOVERY_DONE,     /* otherwise it begins anew, because: */
    RECOVERY_INVALID,  /* what it presented makes no sense, */
    RECOVERY_EPOCH,    /* the server has started again since, */
    RECOVERY_EXPIRED,  /* it was away for too long, or its session had been ended, */
    RECOVERY_TRIMMED,  /* newer messages have taken the place of some that it missed, */
    RECOVERY_SKIPPED,  /* it was too slow for some before it went, */
    RECOVERY_IDENTITY, /* its identity has ended */
    RECOVERY_BUSY,     /* no result: its last connection has not ended yet */
};
/* "invalid", "epoch", "expired", "trimmed", "skipped", "identity"; NULL for the others. */
const char *recovery_reason(enum recovery_result result);

bool recovery_is_on(const struct ns *ns);

/* --- the wire's side ------------------------------------------------------------------------- */

/* A new client may come back: writes its pid. */
void recovery_begin(struct client *c, char pid[PID_LEN + 1]);
/* Whose session is this? RECOVERY_DONE: *out can be resumed, now. RECOVERY_BUSY: *out is in use,
 * see recovery_take_over. In all other cases there is none (any more). */
enum recovery_result recovery_find(struct ns *ns, struct span pid, struct span offset,
                                   struct recovery_session **out);
/* Ends the connection that still has the session; `done` runs from the end of a turn, once the app
 * is done with that client. Then look again. */
struct recovery_wait {
    struct deferred deferred;
    LIST_ENTRY(recovery_wait) link;
};
void recovery_take_over(struct recovery_session *s, struct recovery_wait *wait);
const char *recovery_user(const struct recovery_session *s); /* NULL: none of its own */
void *recovery_script(const struct recovery_session *s);     /* the app's; NULL: none */
void recovery_drop(struct recovery_session *s);              /* It is not to be resumed. */
/* A client that has just been opened, with the session's user and script, is the one that was gone:
 * it gets its id and its rooms. What it has missed follows with recovery_replay. */
void recovery_resume(struct recovery_session *s, struct client *c, char pid[PID_LEN + 1]);
void recovery_replay(struct client *c);
/* The low bits of the position from which a client that is sent nothing has missed nothing. */
uint32_t recovery_seen(const struct client *c);
/* The client will not come back: it has left, or has been sent away. */
void recovery_forget(struct client *c);
/* Nor will any client of this user that is gone, or about to be. */
void recovery_forget_user(struct ns *ns, struct span user);
/* As clients know it. */
struct span recovery_offset(const struct ns *ns, uint64_t position, char text[OFFSET_MAX]);

/* --- the app's side -------------------------------------------------------------------------- */

/* Asked before client_release: the client may come back, and then c->script is what it was. It
 * stays the app's until app->drop_session. */
bool recovery_keeps(const struct client *c);
/* The app's part has changed, and is to be on disk soon, if anything is. */
void recovery_touch(struct client *c);
/* The app ends: drops the sessions of all who are gone. */
void recovery_stop(struct hub *hub);

/* --- within the hub -------------------------------------------------------------------------- */

/* A message is about to go out: gives it its position, and keeps it unless it is volatile. */
void recovery_note(struct ns *ns, struct message *m, enum packet_target target,
                   const struct span *names, size_t count, const struct except *except);
/* Those who are still being told what they missed bear the stamp from now on: they get this from
 * the log, too. */
void recovery_hold(struct ns *ns, uint64_t stamp);
bool recovery_is_behind(const struct client *c);
/* Where a message stands that is for this client alone, and not in the log. */
uint64_t recovery_position(const struct client *c);

void recovery_joined(struct client *c, struct span room);
void recovery_left(struct client *c, struct span room);
void recovery_closing(struct client *c);  /* is sent nothing more */
void recovery_released(struct client *c); /* and the app is done with it */
void recovery_drained(struct client *c);

void recovery_configure(struct ns *ns); /* The settings have changed. */
void recovery_expire(struct ns *ns);    /* once a second */
void recovery_free(struct ns *ns);

#endif
