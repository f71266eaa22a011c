/* The hub's promises as a model, and a wire made of memory that holds what a client hears against
 * it. In every room there is an observer whom nothing stops: what it hears is what has been
 * delivered, and to each other member it is due from then on. Whatever a client hears must be the
 * next that it is due, except for what its room's policy lets go. test_hub_model.c takes the steps.
 */
#ifndef MOONWIRE_TESTS_HUB_MODEL_H
#define MOONWIRE_TESTS_HUB_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <uv.h>

#include "hub/replay.h"

#define ROOMS 8
#define EVERYBODY ROOMS /* a room of the model, for what is said to the whole namespace */
#define GUESTS 10
#define SLOTS (ROOMS + GUESTS) /* the first are observers, each of its room */
#define SAID_MAX 24000

extern const char *const model_rooms[ROOMS];
extern const enum slow_policy model_slow[ROOMS + 1];

/* A wire of memory: what is sent is heard at once, and counted while its socket is stopped. One
 * that polls takes everything while a poll is open, which ends with the turn. */
struct fake {
    struct client client;
    int slot;
    bool polls;
    bool stopped;
    size_t queued;
};

/* One message, by its number. */
struct said {
    int room;
    uint8_t event;
    uint8_t key;
    bool is_volatile;
    bool delivered;
    struct client *but[2]; /* whom it leaves out; NULL once they go, */
    unsigned but_rooms;    /* and these rooms */
    char epoch[EPOCH_LEN + 1];
    uint64_t sequence; /* 0: it has no offset */
};

/* A client in a room. */
struct view {
    bool member;
    int *due; /* numbers of messages, in their order */
    int count;
    int cap;
    int next;                  /* those before are done with */
    int heard;                 /* the last number; 0: none yet */
    bool was_member;           /* when its connection broke */
    char position[OFFSET_MAX]; /* that a WebSocket client comes back with */
};

struct slot {
    struct fake *fake; /* NULL: nobody is connected here */
    bool stream;       /* it knows where it stands by the ids of a stream */
    char position[POSITION_MAX + 1];
    struct view views[ROOMS + 1];
};

extern struct world {
    uv_loop_t loop;
    struct config config;
    struct metrics metrics;
    struct log log;
    struct arena arena;
    struct app app;
    struct hub *hub;
    struct store *store;
    struct ns *ns;
    struct ns_settings settings[3];
    struct deferred_list later;
    struct slot slots[SLOTS];
    struct said said[SAID_MAX];
    int said_count;
    int last_delivered[ROOMS]; /* number */
    char epoch[ROOMS][EPOCH_LEN + 1];
    uint64_t last[ROOMS]; /* delivered, in this epoch */
    int commits;          /* waited for */
    bool disk_failed;
    int replayed;
    int given_up;
    uint64_t now;
    uint32_t random;
    bool trace;
    char dir[64];
} model;

/* MOONWIRE_TRACE=1 says what happens. */
#define model_trace(...) (model.trace ? (void)print_message(__VA_ARGS__) : (void)0)

uint32_t model_pick(uint32_t below);
bool model_is_here(const struct slot *s);
void model_split(struct said *m, struct span offset); /* into epoch and sequence */

/* --- what is due */
void model_forget_due(struct view *v);
void model_owe(struct view *v, int number);
bool model_may_miss(const struct view *v, int place, int room);
/* Where a client stands by what it has been told, and whether that is right. */
void model_note_position(struct slot *s, struct view *v, struct span offset);
void model_check_position(const struct slot *s);

/* --- the wire and the loop */
extern const struct client_ops model_wire;
void model_on_close(struct app *app, struct client *c, const char *reason);
void model_defer(void *io, struct deferred *deferred);
void model_end_turn(void);
void model_commit_all(void);

#endif
