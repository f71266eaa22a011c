/* Asking clients to go, one after another: who is next, how many at a time, and when each may come
 * back. How that is said is each wire's own business (client_ops.go_away). Called by worker.c while
 * it shuts down. */
#include "drain.h"

#include "base/memory.h"
#include "base/random.h"

#include <stdlib.h>

#define PACE 1        /* ms of the window for each client: a thousand a second */
#define EARLIEST 500  /* ms after the window before anybody comes back */
#define JITTER 1000   /* ms at least over which they come */
#define WINDOW_PART 6 /* eighths of the time that is left: what follows needs some, too */
#define PATIENCE 7    /* eighths of it that handlers have to reply */

struct drain {
    struct hub *hub;
    struct app *app;
    uint64_t began;
    uint64_t window;
    uint64_t last_call; /* when also those are asked who have a handler at work */
    uint32_t *slots;    /* of clients: put off, then (from `next`) not asked yet, in random order */
    uint32_t put_off;
    uint32_t next;
    uint32_t count;
};

/* --- the arithmetic -------------------------------------------------------------------------- */

uint64_t drain_window_for(size_t clients, uint64_t longest, uint64_t time_left) {
    uint64_t window = clients * PACE;
    uint64_t most = time_left * WINDOW_PART / 8;
    window = window < longest ? window : longest;
    return window < most ? window : most;
}

size_t drain_due(size_t clients, uint64_t passed, uint64_t window) {
    return passed >= window ? clients : (size_t)(clients * passed / window);
}

uint32_t drain_retry(uint64_t passed, uint64_t window, uint32_t random) {
    uint64_t left = passed < window ? window - passed : 0;
    uint64_t spread = window > JITTER ? window : JITTER;
    return (uint32_t)(left + EARLIEST + (random * spread >> 32));
}

/* --- who is asked ---------------------------------------------------------------------------- */

static uint32_t random_number(void) {
    uint32_t number;
    random_bytes(&number, sizeof number);
    return number;
}

/* Those who are next to each other in the table came at about the same time, and may be of one
 * room. */
static void shuffle(uint32_t *slots, uint32_t count) {
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = random_number() % i;
        uint32_t slot = slots[i - 1];
        slots[i - 1] = slots[other];
        slots[other] = slot;
    }
}

static void gather(struct drain *d) {
    uint32_t slots = hub_slot_count(d->hub);
    d->slots = memory_resize(d->slots, (slots + 1) * sizeof *d->slots);
    d->put_off = d->next = d->count = 0;
    for (uint32_t slot = 0; slot < slots; slot++) {
        if (hub_client_at(d->hub, slot)) {
            d->slots[d->count++] = slot;
        }
    }
    shuffle(d->slots, d->count);
}

/* False: he is to be asked later. */
static bool ask(struct drain *d, uint32_t slot, uint64_t now, bool busy_too) {
    struct client *c = hub_client_at(d->hub, slot);
    if (c && !busy_too && d->app->is_busy(d->app, c)) {
        return false;
    }
    if (c) {
        client_go_away(c, drain_retry(now - d->began, d->window, random_number()));
    }
    return true;
}

/* Asks a part of the list; whom it puts off stands at the list's beginning then, behind `kept` that
 * are there already. Returns how many are there. */
static uint32_t ask_part(struct drain *d, uint32_t from, uint32_t to, uint32_t kept, uint64_t now,
                         bool busy_too) {
    for (uint32_t i = from; i < to; i++) {
        uint32_t slot = d->slots[i];
        if (!ask(d, slot, now, busy_too)) {
            d->slots[kept++] = slot;
        }
    }
    return kept;
}

/* --- the interface --------------------------------------------------------------------------- */

struct drain *drain_new(struct hub *hub, struct app *app, const struct drain_plan *plan) {
    struct drain *d = memory_zalloc(sizeof *d);
    uint64_t left = plan->deadline > plan->now ? plan->deadline - plan->now : 0;
    d->hub = hub;
    d->app = app;
    d->began = plan->now;
    d->last_call = plan->now + left * PATIENCE / 8;
    gather(d);
    d->window = drain_window_for(d->count, plan->longest, left);
    return d;
}

uint64_t drain_window(const struct drain *d) {
    return d->window;
}

bool drain_step(struct drain *d, uint64_t now, bool all) {
    bool busy_too = all || now >= d->last_call;
    all = all || hub_count(d->hub) == 0; /* The window is for those who are there. */
    size_t due = all ? d->count : drain_due(d->count, now - d->began, d->window);
    d->put_off = ask_part(d, 0, d->put_off, 0, now, busy_too);
    d->put_off = ask_part(d, d->next, (uint32_t)due, d->put_off, now, busy_too);
    d->next = (uint32_t)due;
    if (d->put_off || d->next < d->count) {
        return false;
    }
    gather(d); /* Whoever has come meanwhile, over a connection that was there. */
    return d->count == 0;
}

void drain_free(struct drain *d) {
    if (d) {
        free(d->slots);
        free(d);
    }
}
