/* 1 KiB of JSON made a Lua value, and a Lua value made JSON, as the arguments of events are. The
 * garbage is collected as it arises, and that is counted. */
#include "app_fixture.h"
#include "micro.h"
#include "sample.h"

#include "script/json_bridge.h"
#include "script/task.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const char sample[] =
    "{\"kind\":\"people\",\"page\":1,\"next\":null,\"people\":["
    "{\"id\":1001,\"name\":\"Ada Lovelace\",\"online\":true,\"score\":12.25,"
    "\"tags\":[\"a\",\"b\",\"c\"],\"note\":\"says \\\"déjà vu\\\" a lot\"},"
    "{\"id\":1002,\"name\":\"Alan Turing\",\"online\":false,\"score\":7,"
    "\"tags\":[\"a\",\"b\",\"c\"],\"note\":\"says \\\"déjà vu\\\" a lot\"},"
    "{\"id\":1003,\"name\":\"Grace Hopper\",\"online\":true,\"score\":0.5,"
    "\"tags\":[\"a\",\"b\",\"c\"],\"note\":\"says \\\"déjà vu\\\" a lot\"},"
    "{\"id\":1004,\"name\":\"Edsger Dijkstra\",\"online\":false,\"score\":1000,"
    "\"tags\":[\"a\",\"b\",\"c\"],\"note\":\"says \\\"déjà vu\\\" a lot\"},"
    "{\"id\":1005,\"name\":\"Barbara Liskov\",\"online\":true,\"score\":12.25,"
    "\"tags\":[\"a\",\"b\",\"c\"],\"note\":\"says \\\"déjà vu\\\" a lot\"},"
    "{\"id\":1006,\"name\":\"Donald Knuth\",\"online\":false,\"score\":7,"
    "\"tags\":[\"a\",\"b\",\"c\"],\"note\":\"says \\\"déjà vu\\\" a lot\"},"
    "{\"id\":1007,\"name\":\"Margaret Hamilton\",\"online\":true,\"score\":0.5,"
    "\"tags\":[\"a\",\"b\",\"c\"],\"note\":\"says \\\"déjà vu\\\" a lot\"},"
    "{\"id\":1008,\"name\":\"Ken Thompson\",\"online\":false,\"score\":1000,"
    "\"tags\":[\"a\",\"b\",\"c\"],\"note\":\"says \\\"déjà vu\\\" a lot\"}]}";

struct span sample_json(void) {
    return (struct span){sample, sizeof sample - 1};
}

static int to_lua(lua_State *L) {
    struct run *run = lua_touserdata(L, 1);
    struct json_fault fault;
    while (run_next(run)) {
        count_on(run);
        int values = json_push(L, sample_json(), &fault);
        lua_pop(L, 1);
        count_off(run);
        assert_int_equal(values, 1);
    }
    return 0;
}

static int from_lua(lua_State *L) {
    struct run *run = lua_touserdata(L, 1);
    struct json_fault fault;
    assert_int_equal(json_push(L, sample_json(), &fault), 1);
    while (run_next(run)) {
        count_on(run);
        struct span text = json_write(L, 2, 2, "data");
        count_off(run);
        assert_int_equal(text.len, sample_json().len);
    }
    return 0;
}

static void within_lua(lua_CFunction function, struct run *run) {
    struct app_fixture f;
    app_fixture_open(&f);
    app_serve(&f, "return {}");
    assert_int_equal(task_protect(f.script, function, run), 0);
    app_fixture_close(&f);
}

static void json_to_lua(struct run *run) {
    within_lua(to_lua, run);
}

static void json_from_lua(struct run *run) {
    within_lua(from_lua, run);
}

const struct bench json_benches[] = {
    {"json-to-lua", json_to_lua, 800, 1},
    {"json-from-lua", json_from_lua, 800, 1},
    {NULL, NULL, 0, 0},
};
