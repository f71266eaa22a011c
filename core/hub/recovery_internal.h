/* What the files of recovery share: recovery.c (sessions), recovery_replay.c (what was for whom,
 * and sending it) and recovery_disk.c (what outlives the process). Nobody else includes this. */
#ifndef MOONWIRE_HUB_RECOVERY_INTERNAL_H
#define MOONWIRE_HUB_RECOVERY_INTERNAL_H

#include "hub/hub_internal.h"
#include "hub/recovery.h"
#include "hub/recovery_log.h"

#define PID_SECRET 24 /* bytes */
#define PID_HANDLE 8  /* of them, by which a session is found; the rest is then compared */
#define STILL UINT64_MAX

/* A membership: of what was said at positions from < p <= to. */
struct stay {
    struct stay *next;
    uint64_t from;
    uint64_t to; /* STILL */
    uint32_t len;
    char name[];
};

struct recovery_session {
    UT_hash_handle hh;        /* by its handle */
    UT_hash_handle of_client; /* by its client, while it has one */
    struct recovery *recovery;
    struct client *client;              /* NULL: gone */
    TAILQ_ENTRY(recovery_session) link; /* among those who are leaving, or gone */
    LIST_ENTRY(recovery_session) behind;
    LIST_HEAD(, recovery_wait) waits;
    struct deferred next; /* goes on with the replay */
    struct stay *stays;
    char *user;
    void *script;
    struct buf *text;  /* of the app's part, as it is on disk; NULL: none */
    uint64_t began;    /* the position of the first CONNECT */
    uint64_t seen;     /* what the client had seen when it came, by its own words */
    uint64_t sent;     /* of a client that is gone: of the last packet that was sent to it, */
    uint64_t left;     /* up to where everything for it was, */
    uint64_t gap;      /* and where something was not, because it was slow; 0: nowhere */
    uint64_t cursor;   /* of one that is behind: it has been sent everything up to here */
    uint64_t deadline; /* ms */
    uint64_t saved;    /* ms: when it was written to disk */
    bool is_behind;
    bool is_leaving; /* its client is closed, and the app not done with it */
    bool changed;    /* the app's part may not be on disk as it is */
    unsigned char secret[PID_SECRET];
    char id[CLIENT_ID_LEN + 1];
};

struct recovery {
    struct ns *ns;
    struct recovery_log log;
    struct recovery_disk *disk; /* NULL: it is in memory only */
    uint64_t ttl;               /* ms */
    struct recovery_session *sessions;
    struct recovery_session *present; /* those with a client, by it */
    TAILQ_HEAD(recovery_sessions, recovery_session) absent;
    struct recovery_sessions leaving;
    uint32_t absent_count;
    LIST_HEAD(, recovery_session) behind;
};

/* recovery.c */
struct recovery_session *recovery_session_of(const struct client *c);
/* A session without a client, from the disk, among those that may be resumed. */
void recovery_add_absent(struct recovery_session *s);
uint64_t recovery_kept(const struct recovery *r); /* ms that a packet may be missed */

/* recovery_replay.c */
void recovery_end_behind(struct recovery_session *s);
void recovery_go_on(struct deferred *deferred);
void recovery_drop_stays(struct recovery_session *s, uint64_t before);
struct stay *recovery_add_stay(struct recovery_session *s, struct span room, uint64_t from,
                               uint64_t to);

/* recovery_disk.c: all but the first do nothing for what is in memory only. */
void recovery_disk_open(struct recovery *r); /* what cannot be on disk stays in memory, logged */
void recovery_disk_close(struct recovery *r);
/* True: the packet that was just appended becomes visible later, when it has been committed. */
bool recovery_disk_append(struct recovery *r, struct span bytes);
/* `with_app`: the app is asked for its part, which it cannot be while it runs. */
void recovery_disk_save(struct recovery_session *s, bool with_app);
void recovery_disk_forget(const struct recovery_session *s);
/* The session with this handle, if it is on disk. */
struct recovery_session *recovery_disk_find(struct recovery *r, const unsigned char *handle);

/* publish.c: to those who may come back, what has been held back from them until now. */
void publish_committed(struct ns *ns, struct packet *p, uint64_t position);

#endif
