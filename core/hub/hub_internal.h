/* What the files of the hub share among themselves; nobody else includes this. */
#ifndef MOONWIRE_HUB_HUB_INTERNAL_H
#define MOONWIRE_HUB_HUB_INTERNAL_H

#include "base/slots.h"
#include "base/table.h"
#include "hub/history.h"
#include "hub/hub.h"

/* One client in one room. In the room's array while the client is connected; in the client's list
 * until it is released, so that client.rooms stays readable for its last hooks. */
struct membership {
    struct client *client;
    struct room *room;
    LIST_ENTRY(membership) link; /* in client->rooms; unused for a user */
    uint32_t index;              /* in room->members, or DETACHED */
};
#define DETACHED UINT32_MAX

/* The set of all memberships of a hub, by client and room: open addressing, linear probing. */
struct membership_set {
    struct membership **slots;
    size_t cap; /* a power of two, or 0 */
    size_t count;
};

void membership_set_deinit(struct membership_set *set);
void membership_set_add(struct membership_set *set,
                        struct membership *m); /* It must not be there. */
void membership_set_remove(struct membership_set *set, const struct membership *m);
struct membership *membership_set_find(const struct membership_set *set, const struct client *c,
                                       const struct room *room);

struct replay;
struct durable;

/* A room, or the connections of one user, which are the same thing in another table. */
struct room {
    UT_hash_handle hh;
    struct ns *ns;
    struct room **table; /* ns->rooms or ns->users */
    struct client **members;
    uint32_t count;
    uint32_t cap;
    uint32_t held; /* memberships that point here, detached ones too, and messages that wait for
                      their commit */
    struct history *history;
    LIST_HEAD(, replay) replays;      /* members that are behind in its history */
    struct durable *durable;          /* of a room whose history is on disk; NULL: it is not */
    const struct room_policy *policy; /* NULL: none matches */
    TAILQ_ENTRY(room)
    log_link;              /* in hub->logs while it has a history, the least recently used first */
    uint64_t last_publish; /* ms */
    uint32_t name_len;
    char name[];
};

struct recovery;
struct ns {
    UT_hash_handle hh;
    struct hub *hub;
    const struct ns_settings *settings;
    struct recovery *recovery; /* NULL: off */
    struct room *rooms;
    struct room *users;
    struct client **clients;
    uint32_t count;
    uint32_t cap;
    uint32_t refs; /* clients, and whoever else needs it to stay */
    uint32_t name_len;
    char name[];
};

struct hub {
    const struct config *config;
    struct metrics *metrics;
    struct arena *arena;
    struct app *app;
    void (*defer)(void *io, struct deferred *deferred);
    void *io;
    uint64_t now;
    uint64_t stamp;
    struct ns *namespaces;
    struct membership_set memberships;
    TAILQ_HEAD(, room) logs;
    struct replayer *replayers; /* by client: who has something to catch up with */
    struct slots clients;       /* by client->slot */
    struct slots slow;          /* what slow.c knows of a client, by client->apart - 1 */
    struct renamed *renamed;    /* clients whose id names another slot */
    struct store *store;        /* NULL: nothing is durable */
};

/* room.c */
struct room *room_find(struct room *table, struct span name);
struct room *room_get(struct ns *ns, struct room **table,
                      struct span name); /* made if it is not there */
void room_unuse(struct room *room);      /* frees it if nothing needs it */
struct membership *room_add(struct room *room, struct client *c);
void room_detach(struct membership *m); /* out of the room's array; the node stays */
void room_release(
    struct membership *m); /* frees a detached node, and the room if it was the last reason */
void room_apply_policy(struct room *room);
void room_free(struct room *room);
void rooms_expire(struct hub *hub); /* drops logs whose time is over */
struct span room_name(const struct room *room);
uint64_t room_ttl(const struct room *room); /* ms that its log outlives its last message */
void room_keep_log(struct room *room, struct history *h); /* h becomes its history */
void room_log_used(struct room *room);                    /* something has been said */
bool room_wants_disk(const struct room *room);            /* as its policy has it */
/* Its history is to be on disk, and is: 0, also where it is not to be; UV_E*: it could not be. */
int room_need_disk(struct room *room);

/* publish.c: to the members of a room, but for those left out. */
void publish_to_room(struct room *room, struct message *m, const struct except *except);

/* replay.c */
/* A message of this room is about to go to all who do not bear the stamp: those who are behind get
 * it from the log. */
void replay_hold(struct room *room, const struct message *m, uint64_t stamp);
void replay_lost(struct room *room); /* Its log is about to go. */
void replay_left(struct client *c, const struct room *room);
void replay_drop_client(struct client *c);
bool replay_is_behind(const struct client *c); /* in a room */

/* hub.c: a dense array of clients that grows. */
void clients_push(struct client ***array, uint32_t *count, uint32_t *cap, struct client *c);

#endif
