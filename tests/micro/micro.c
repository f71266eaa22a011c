/* micro: names the benchmarks, or runs one of them. Started by scripts/micro under callgrind, which
 * counts; run by hand it shows whether a benchmark works. */
#include "micro.h"

#include <stdio.h>
#include <string.h>

static const struct bench *const all[] = {path_benches, room_benches, encode_benches, json_benches};

static void list(void) {
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (const struct bench *b = all[i]; b->name; b++) {
            printf("%s %u\n", b->name, b->rounds * b->per_round);
        }
    }
}

static const struct bench *find(const char *name) {
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        for (const struct bench *b = all[i]; b->name; b++) {
            if (strcmp(b->name, name) == 0) {
                return b;
            }
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        list();
        return argc == 1 ? 0 : 2;
    }
    const struct bench *b = find(argv[1]);
    if (!b) {
        fprintf(stderr, "micro: there is no %s\n", argv[1]);
        return 2;
    }
    struct run run = {.warm_up = b->rounds / 4 + 1, .rounds = b->rounds};
    b->go(&run);
    return 0;
}
