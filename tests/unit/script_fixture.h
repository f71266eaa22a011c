/* A worker's Lua on a loop of its own, for the tests of core/script: real io, a log that lands in a
 * file, and small pieces of Lua run as tasks. */
#ifndef MOONWIRE_TESTS_SCRIPT_FIXTURE_H
#define MOONWIRE_TESTS_SCRIPT_FIXTURE_H

#include "script/state.h"
#include "script/task.h"

struct script_fixture {
    uv_loop_t loop;
    struct io io;
    struct config config;
    struct metrics metrics;
    struct log log;
    struct writer logged; /* filled by fixture_log */
    struct script script;
    char dir[64]; /* of its own, with the handler file in it */
    char path[96];
};

/* What became of a piece of Lua. */
struct piece {
    const char *code;
    uv_loop_t *loop;
    int runs; /* how often done was called */
    enum task_end how;
    char result[2048]; /* the first result as text */
    char message[1024];
    char lines[1024];
};

/* cmocka's group or test setup; the config is as config_init leaves it, but for these. */
void script_fixture_open(struct script_fixture *f, uint64_t budget_ms, size_t lua_memory);
void script_fixture_close(struct script_fixture *f);
/* Runs code as a task; loop_until_done when it waits. The chunk is called "piece". */
void run_piece(struct script_fixture *f, struct piece *piece, const char *code);
/* Likewise, and runs the loop until it has ended; returns its result as text. */
const char *run_to_end(struct script_fixture *f, struct piece *piece, const char *code);
struct span fixture_log(struct script_fixture *f); /* everything that was logged so far */
void fixture_write(struct script_fixture *f, const char *name, const char *text);

#endif
