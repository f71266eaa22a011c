/* How the clients of a server that ends are asked to go: in random order, evenly over a window,
 * each told when to come back. Nobody is told to come back within the window, for the same port may
 * not have another server before this one has ended; after it they come back as evenly as they
 * were asked. */
#ifndef MOONWIRE_DRAIN_H
#define MOONWIRE_DRAIN_H

#include "hub/hub.h"

/* Loop times and durations in ms. */
struct drain_plan {
    uint64_t now;
    uint64_t longest;  /* that the window may be */
    uint64_t deadline; /* of the whole end */
};

struct drain;
struct drain *drain_new(struct hub *hub, struct app *app, const struct drain_plan *plan);
uint64_t drain_window(const struct drain *drain);
/* Asks those whose time has come. Who has a handler at work is asked once it has replied, or
 * shortly before the deadline. True: everybody has been asked. `all`: everybody, now. */
bool drain_step(struct drain *drain, uint64_t now, bool all);
void drain_free(struct drain *drain); /* may be NULL */

/* Its arithmetic. The window for so many clients: short for few, and never so long that what
 * follows it has no time left. */
uint64_t drain_window_for(size_t clients, uint64_t longest, uint64_t time_left);
/* How many of the clients have their time after this part of the window. */
size_t drain_due(size_t clients, uint64_t passed, uint64_t window);
/* In how many ms a client may come back who is asked after this part of the window. `random` is
 * any number. */
uint32_t drain_retry(uint64_t passed, uint64_t window, uint32_t random);

#endif
