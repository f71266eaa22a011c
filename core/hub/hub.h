/* Namespaces, rooms, users and delivery within one worker. Membership is a node in the room's dense
 * array (removed by swapping with the last) and in the client's list; hash tables serve names only.
 * A room vanishes with its last member unless it has a history. */
#ifndef MOONWIRE_HUB_HUB_H
#define MOONWIRE_HUB_HUB_H

#include "base/config.h"
#include "base/metrics.h"
#include "hub/app.h"
#include "hub/client.h"

struct pending;
struct room;
struct store;

/* What becomes of a message to a reader whose unread output is above the high mark. */
enum slow_policy {
    SLOW_CLOSE,  /* the client is closed */
    SLOW_DROP,   /* the message is dropped, and the client told how many were */
    SLOW_LATEST, /* it is held back, also while the socket refuses bytes, and replaced by the next
                  */
};
struct slow_rule {
    enum slow_policy policy;
    char *key; /* LATEST: replaced by a message with the same value of this field of its first
                  argument; NULL: by the next of the same event */
};

/* What a namespace's table says of rooms whose name matches: "room:*" (one star, at the end) or an
 * exact name. The first that matches counts: the app puts the more exact one first. */
struct room_policy {
    char *pattern;
    uint32_t history_size; /* 0: none */
    uint64_t history_ttl;  /* ms that a log outlives its last message; 0: the default of an hour */
    struct slow_rule slow;
    bool durable; /* the history is on disk */
};

/* Whether, and for how long, a client that has gone may come back and miss nothing. */
struct recovery_rule {
    uint32_t size; /* of the log, in messages; 0: off */
    uint64_t ttl;  /* ms */
    bool durable;  /* on disk, so that it may come back to another process */
};

/* The settings of a namespace, owned by the app, swapped at a reload. */
struct ns_settings {
    bool events;        /* protocol = "events" */
    bool engine;        /* protocol = "engine.io": its endpoint speaks that, in raw messages */
    size_t max_payload; /* bytes */
    uint32_t rate;      /* events a second and client; 0: no limit */
    uint32_t burst;
    struct slow_rule slow; /* of messages to no room, and to rooms that no policy matches */
    struct recovery_rule recovery;
    struct room_policy *rooms;
    size_t room_count;
    char **subprotocols; /* WebSocket, in order of preference */
    size_t subprotocol_count;
    void *origins; /* struct origins of http/origin.h */
    void *table;   /* the app's: which handler table it is */
};

struct hub;
/* `defer` puts work off to the end of the turn (io_defer_closed in this form, for the hub does not
 * know net). */
struct hub *hub_new(const struct config *config, struct metrics *metrics, struct arena *arena,
                    struct app *app, void (*defer)(void *io, struct deferred *deferred), void *io);
void hub_free(struct hub *hub);
/* Where durable history goes. The hub outlives store_stop, and the store outlives the hub. */
void hub_set_store(struct hub *hub, struct store *store);
size_t hub_count(const struct hub *hub);            /* clients that have not been released yet */
void hub_set_now(struct hub *hub, uint64_t now_ms); /* loop time, at each turn's start */
/* Once a second: drops logs whose time is over, and namespaces that nothing needs. */
void hub_sweep(struct hub *hub);

/* A concrete namespace ("/chat", "/tenant/42"), found or made. One without references, clients and
 * rooms goes at a sweep: who keeps a pointer over a turn's end holds a reference. */
struct ns *hub_ns(struct hub *hub, struct span name, bool create);
struct ns *ns_ref(struct ns *ns);
void ns_unref(struct ns *ns);
struct span ns_name(const struct ns *ns);
struct hub *ns_hub(const struct ns *ns);
const struct ns_settings *ns_settings(const struct ns *ns);
void ns_configure(
    struct ns *ns,
    const struct ns_settings *settings); /* borrowed until the next configure; rooms follow */
size_t ns_count(const struct ns *ns);
struct client *ns_client(const struct ns *ns, size_t index); /* any order; valid within the turn */
void hub_each_ns(struct hub *hub, void (*visit)(struct ns *ns, void *data), void *data);

struct client *hub_client(struct hub *hub, struct span id); /* NULL: none such, or gone */
/* Everybody who is connected, by the place in the hub's table: NULL where nobody is, or who goes by
 * himself. */
uint32_t hub_slot_count(const struct hub *hub);
struct client *hub_client_at(const struct hub *hub, uint32_t slot);

/* Rooms. Join: 0, also when already in; UV_EINVAL bad name (empty, too long, not UTF-8), UV_ENOSPC
 * too many, UV_ECANCELED closing. */
int hub_join(struct client *c, struct span room);
bool hub_leave(struct client *c, struct span room); /* was it in? */
bool hub_is_member(const struct client *c, struct span room);
/* Those with somebody in them. */
void ns_each_room(struct ns *ns, void (*visit)(struct span name, void *data), void *data);
size_t room_count(struct ns *ns, struct span room);
struct client *room_member(struct ns *ns, struct span room, size_t index);
void client_each_room(const struct client *c, void (*visit)(struct span name, void *data),
                      void *data);
/* What has been said in the room; a history on disk is read if it is not in memory. NULL: none is
 * kept, or there is nothing yet, or it cannot be read: room_is_durable. */
struct history *room_history(struct ns *ns, struct span room);
bool room_is_durable(const struct ns *ns, struct span room); /* as the settings have it */
/* Would the room keep in memory what is said in it? */
bool room_is_remembered(const struct ns *ns, struct span room);

/* Whom a publication leaves out: these clients, and whoever is in these rooms of the namespace when
 * it is delivered. Borrowed for the call. */
struct except {
    struct client *const *clients;
    size_t client_count;
    const struct span *ids; /* of clients that have gone and may come back */
    size_t id_count;
    const struct span *rooms;
    size_t room_count;
};
/* A new stamp, which those who are left out now bear (client->stamp), and nobody else. It holds
 * until the next one is made. `except` may be NULL. */
uint64_t hub_leave_out(struct ns *ns, const struct except *except);

/* Delivery. `except` may be NULL. m->room is set for rooms; where the room has a history, m->offset
 * is set too (borrowed from offset_text). Where that is on disk, delivery follows the commit, and
 * the result may be UV_E*: it cannot be written, and nobody will hear of it. Otherwise 0. */
int hub_publish(struct ns *ns, struct span room, struct message *m, const struct except *except,
                char *offset_text);
/* As hub_publish in a room whose history is on disk, and tells when it has been committed: once,
 * with the status, after the delivery and never from within this function. UV_ENOTSUP: its history
 * is not on disk. */
struct commit {
    void (*done)(struct commit *commit, int status);
    struct pending *pending; /* the hub's */
};
int hub_publish_durable(struct ns *ns, struct span room, struct message *m,
                        const struct except *except, char *offset_text, struct commit *commit);
void commit_cancel(struct commit *commit); /* Nobody waits any more; the message takes its way. */
/* Each recipient once: it gets the message of the first named room it is in. m is the template;
 * every room's own goes to its history. 0, or UV_E* of the first room in which it failed. */
int hub_publish_rooms(struct ns *ns, const struct span *rooms, size_t count, struct message *m,
                      const struct except *except);
void hub_publish_user(struct ns *ns, struct span user, struct message *m,
                      const struct except *except);
void hub_publish_ns(struct ns *ns, struct message *m, const struct except *except);
/* To one client: what a handler says to it. As client_send, but for "drop" and "latest" as the slow
 * policy of its namespace. "close" leaves it to the hard limit: above the mark no more is read from
 * the client, so that it cannot make us say more than it reads. */
int hub_publish_client(struct client *c, struct message *m);
/* All connections of a user: how many; each is visited. */
size_t hub_each_of_user(struct ns *ns, struct span user,
                        void (*visit)(struct client *c, void *data), void *data);

#endif
