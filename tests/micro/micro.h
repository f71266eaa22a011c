/* One operation, so often that what it costs can be told exactly. A benchmark sets things up, which
 * is not counted, and goes round:
 *
 *     while (run_next(run)) {
 *         ...
 *         count_on(run);
 *         what is counted
 *         count_off(run);
 *     }
 *
 * The first rounds warm everything up and are not counted either. Outside of callgrind all of this
 * does nothing but run. */
#ifndef MOONWIRE_TESTS_MICRO_H
#define MOONWIRE_TESTS_MICRO_H

#include <stdbool.h>
#include <stddef.h>
#include <valgrind/callgrind.h>

struct run {
    unsigned warm_up; /* rounds left */
    unsigned rounds;  /* likewise, of those that count */
    bool counted;     /* the round that runs is one of those */
};

struct bench {
    const char *name;
    void (*go)(struct run *run);
    unsigned rounds;    /* as many as even out what does not happen in each, such as collecting
                           garbage */
    unsigned per_round; /* operations in one */
};

static inline bool run_next(struct run *run) {
    if (run->warm_up) {
        run->warm_up--;
        return true;
    }
    run->counted = run->rounds != 0;
    return run->counted && run->rounds--;
}

static inline void count_on(const struct run *run) {
    if (run->counted) {
        CALLGRIND_TOGGLE_COLLECT;
    }
}

static inline void count_off(const struct run *run) {
    if (run->counted) {
        CALLGRIND_TOGGLE_COLLECT;
    }
}

/* Each ends with an entry without a name. */
extern const struct bench path_benches[];   /* paths.c: frame in, Lua, frame out */
extern const struct bench room_benches[];   /* rooms.c: deliveries, joining and leaving */
extern const struct bench encode_benches[]; /* encode.c: a message on each wire */
extern const struct bench json_benches[];   /* json.c: JSON to Lua and back */

#endif
