/* A client: somebody connected, whatever the wire. A transport embeds it; the hub and the app see
 * nothing else. */
#ifndef MOONWIRE_HUB_CLIENT_H
#define MOONWIRE_HUB_CLIENT_H

#include "base/deferred.h"
#include "hub/message.h"
#include <sys/types.h>

struct client;
struct hub;
struct ns;
struct membership;
struct room;

/* One static const per wire. Nothing here calls back into the hub or the app. */
struct client_ops {
    enum wire wire;
    /* The bytes of m on this wire, made in the arena. The slice owns a reference; slice.buf NULL:
     * this wire has no form for it, nothing is sent. `c` is any client on this wire: it lends its
     * worker's tools (a deflater), and the bytes are the same for all. */
    struct slice (*encode)(const struct client *c, struct arena *arena, const struct message *m);
    /* Queues encoded bytes. The bytes now waiting, as conn_write. */
    ssize_t (*send)(struct client *c, const struct message *m, const struct slice *encoded);
    bool (*blocked)(const struct client *c);  /* the socket refuses bytes at the moment */
    size_t (*queued)(const struct client *c); /* the bytes now waiting */
    /* The low bits of message->position of the last one that is in the log and was sent. NULL: the
     * wire's clients cannot be recovered (hub/recovery.h). */
    uint32_t (*sent)(const struct client *c);
    /* Starts to close: says goodbye in the wire's way with this code (RFC 6455 section 7.4) and
     * reason. Code 0: at once and without a word, for a reader that has stopped. */
    void (*close)(struct client *c, int code, const char *reason);
    /* Where clients share a connection: the same, for all of them, and then the connection ends.
     * NULL: close does that. */
    void (*close_connection)(struct client *c, int code, const char *reason);
    /* Starts to close because the server goes: says, in the wire's way, that coming back in so many
     * ms is welcome. NULL: a one-shot client, who is answered and goes by himself. */
    void (*go_away)(struct client *c, uint32_t retry_ms);
    const char *shutdown; /* What on_disconnect hears then; NULL: "shutdown". */
    /* The app's line for this client has room again: read on. */
    void (*resume)(struct client *c);
    /* The app has run the last handler of a closed client: free it, or, while its connection is
     * still closing, when that has ended. */
    void (*free)(struct client *c);
};

#define CLIENT_ID_LEN 16

/* Of a client that closes. */
struct client_closing {
    struct deferred hooks; /* app->on_close, at the end of the turn */
    struct client *client;
    char reason[];
};

struct client {
    const struct client_ops *ops;
    struct ns *ns;
    void *script; /* the app's, made when it first needs one; see hub/app.h */
    LIST_HEAD(, membership) rooms;
    struct membership *user; /* among its user's connections; NULL: its own id is its user's */
    struct client_closing *closing; /* receives nothing more; NULL until then */
    uint32_t apart; /* 0, unless it closes or is slow (slow.h): all that a delivery looks at */
    uint32_t room_count;
    uint64_t nonce;        /* the unguessable part of the id */
    uint64_t stamp;        /* of the last publication that marked it; see hub_leave_out */
    uint32_t slot : 27;    /* in the hub's table of clients; the other part of the id, unless: */
    uint32_t renamed : 1;  /* it goes by the id of one that was there before */
    uint32_t kept : 1;     /* it may come back: hub/recovery knows it */
    uint32_t recovery : 3; /* enum recovery_result: has it come back? */
    uint32_t ns_index;     /* in the namespace's dense array */
    uint32_t rate_tokens;  /* in thousandths of an event */
    uint32_t rate_time;    /* ms, wraps */
};

/* The transport's side. Before client_open the transport fills in ops. */
/* Connects: registers with hub and namespace. user_id may be NULL (copied otherwise). */
void client_open(struct client *c, struct ns *ns, const char *user_id);
/* The connection is gone (or being closed): the client receives nothing more and is in nobody's
 * way: out of rooms' arrays, while client.rooms stays as it was for the app's last hooks. Runs
 * app->on_close from the end of the turn. The reason is copied; the first one counts. */
void client_closed(struct client *c, const char *reason);
/* The app is done with a closed client: leaves the hub and frees through ops->free. */
void client_release(struct client *c);

/* The id of its user; empty: its own is its user's. Borrowed while the client is there. */
struct span client_user(const struct client *c);
void client_id(const struct client *c, char out[CLIENT_ID_LEN + 1]);
/* Before anybody knows its id: it has this one, which a client had that is there no more. */
void client_rename(struct client *c, struct span id);
/* To this client only, and whatever waits: replies, requests, what the core itself has to say.
 * Zero, or UV_ECANCELED when it is closing, UV_ENOBUFS when that closed it. */
int client_send(struct client *c, struct message *m);
/* The transport's: all output has been written after the socket had refused some, or a poll has
 * come. May send, and close the client. */
void client_drained(struct client *c);
/* Closes from our side: as client_closed, and ops->close. With a code it will not come back. */
void client_disconnect(struct client *c, int code, const char *reason);
/* The same for it and whoever shares its connection, which ends. */
void client_end_connection(struct client *c, int code, const char *reason);
/* The server goes: as client_closed, and ops->go_away. */
void client_go_away(struct client *c, uint32_t retry_ms);
/* Takes one token of the namespace's rate limit; false: over it. */
bool client_admit(struct client *c, uint64_t now_ms);

#endif
