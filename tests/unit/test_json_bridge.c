/* JSON to Lua and back: what each value becomes, what is refused and how the place is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script/json_bridge.h"
#include "script_fixture.h"

static struct script_fixture f;

static int open_lua(void **state) {
    (void)state;
    script_fixture_open(&f, 0, 0);
    return 0;
}

static int close_lua(void **state) {
    (void)state;
    script_fixture_close(&f);
    return 0;
}

/* Evaluates an expression with `json`, `array`, `object` and `null` at hand. */
static const char *evaluate(const char *expression) {
    static struct piece piece;
    static char code[2048];
    snprintf(code, sizeof(code),
             "local m = require 'moonwire.json' local json, array, object, null = m, m.array, "
             "m.object, m.null return %s",
             expression);
    return run_to_end(&f, &piece, code);
}

static void encodes(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"{}", "{}"},
        {"array{}", "[]"},
        {"array()", "[]"},
        {"object()", "{}"},
        {"{1, 2, 3}", "[1,2,3]"},
        {"object{1, 2}", "{\"1\":1,\"2\":2}"},
        {"{[2] = 'b'}", "{\"2\":\"b\"}"},
        {"{[1] = 'a', [3] = 'c'}", "{\"1\":\"a\",\"3\":\"c\"}"},
        {"{[0] = 'a'}", "{\"0\":\"a\"}"},
        {"{[-5] = 1}", "{\"-5\":1}"},
        {"{[1.5] = 1}", "{\"1.5\":1}"},
        {"{a = {b = {array{}}}}", "{\"a\":{\"b\":[[]]}}"},
        {"array{1, nil, 3}", "[1,null,3]"},
        {"null", "null"},
        {"{null, null}", "[null,null]"},
        {"{a = null}", "{\"a\":null}"},
        {"nil", "null"},
        {"true", "true"},
        {"false", "false"},
        {"1", "1"},
        {"1.0", "1"},
        {"1.5", "1.5"},
        {"-0.0", "0"},
        {"1e21", "1e+21"},
        {"1e20", "100000000000000000000"},
        {"0.1", "0.1"},
        {"math.maxinteger", "9223372036854775807"},
        {"math.mininteger", "-9223372036854775808"},
        {"2^53 + 1", "9007199254740992"},
        {"'a\"b\\\\\\n\\0\\x7f'", "\"a\\\"b\\\\\\n\\u0000\x7f\""},
        {"'\\u{1F319}'", "\"\xf0\x9f\x8c\x99\""},
        {"'\\u{D800}'", "\"\\ud800\""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char expression[256];
        snprintf(expression, sizeof(expression), "json.encode(%s)", rows[i][0]);
        assert_string_equal(evaluate(expression), rows[i][1]);
    }
}

/* A table of which a part of the keys stands in the array and a part in the hash. */
static void tells_arrays_from_objects(void **state) {
    (void)state;
    assert_string_equal(evaluate("(function() local t = {} for i = 3, 1, -1 do t[i] = i end "
                                 "return json.encode(t) end)()"),
                        "[1,2,3]");
    assert_string_equal(evaluate("(function() local t = {1, 2, 3} t[2] = nil "
                                 "local s = json.encode(t) "
                                 "return s == '{\"1\":1,\"3\":3}' or s == '{\"3\":3,\"1\":1}' "
                                 "end)()"),
                        "true");
    assert_string_equal(evaluate("(function() local t = {1, 2} t.x = 3 "
                                 "return #json.encode(t) end)()"),
                        "19");
    assert_string_equal(evaluate("(function() local t = {1, nil, 3} t.x = 2 "
                                 "local back = json.decode(json.encode(t)) "
                                 "return back['1'] .. back['3'] .. back.x end)()"),
                        "132");
}

static void names_the_place_of_what_is_no_json(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"0/0", "value: NaN is not JSON"},
        {"{items = {1, 2, 1/0}}", "value.items[3]: infinity is not JSON"},
        {"{a = {['b c'] = print}}", "value.a[\"b c\"]: this (function) is not JSON"},
        {"{[true] = 1}",
         "value[boolean]: a key that is neither text nor number (boolean) is not JSON"},
        {"{x = io.stdout}", "value.x: this (FILE*) is not JSON"},
        {"array{'\\xff'}", "value[1]: a string that is not UTF-8 is not JSON"},
        {"{['\\xff'] = 1}", "a string that is not UTF-8 is not JSON"},
        {"{[1/0] = 1}", "infinity is not JSON"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        char expression[256];
        snprintf(expression, sizeof(expression), "json.encode(%s)", rows[i][0]);
        const char *message = evaluate(expression);
        assert_memory_equal(message, "piece:1: value", 14);
        assert_non_null(strstr(message, rows[i][1]));
    }
}

static void refuses_circles_and_depth(void **state) {
    (void)state;
    assert_string_equal(evaluate("(function() local t = {a = {}} t.a.self = t "
                                 "json.encode(t) end)()"),
                        "piece:1: value.a.self: a table that contains itself is not JSON");
    assert_string_equal(evaluate("(function() local t = {} for i = 1, 63 do t = {t} end "
                                 "return #json.encode(t) end)()"),
                        "128");
    assert_non_null(strstr(evaluate("(function() local t = {} for i = 1, 64 do t = {t} end "
                                    "return json.encode(t) end)()"),
                           "[1]: a table nested deeper than 64 is not JSON"));
    assert_string_equal(evaluate("(function() local t = {} "
                                 "return json.encode({t, t}) end)()"),
                        "[{},{}]");
}

/* Its text is not Lua's memory, and has a bound all the same. */
static void what_is_too_large_is_an_error(void **state) {
    (void)state;
    script_fixture_close(&f);
    script_fixture_open(&f, 0, 8 << 20);
    assert_non_null(strstr(evaluate("(function() local t = {} for i = 1, 60 do t = {t, t} end "
                                    "return json.encode(t) end)()"),
                           "too large for JSON"));
    assert_string_equal(evaluate("json.encode {1}"), "[1]");
    assert_true(f.script.json.buf->cap < 4096);
}

static void decodes(void **state) {
    (void)state;
    assert_string_equal(evaluate("json.decode('{\"room\":\"general\",\"n\":[1,2]}').room"),
                        "general");
    assert_string_equal(evaluate("json.decode('{\"a\":1,\"a\":2}').a"), "2");
    assert_string_equal(evaluate("json.encode(json.decode('[]'))"), "[]");
    assert_string_equal(evaluate("json.encode(json.decode('{\"a\":[]}'))"), "{\"a\":[]}");
    assert_string_equal(evaluate("json.decode('null') == null"), "true");
    assert_string_equal(evaluate("tostring(json.decode('[null]')[1])"), "null");
    assert_string_equal(evaluate("math.type(json.decode('1'))"), "integer");
    assert_string_equal(evaluate("math.type(json.decode('1.0'))"), "float");
    assert_string_equal(evaluate("math.type(json.decode('9223372036854775807'))"), "integer");
    assert_string_equal(evaluate("math.type(json.decode('9223372036854775808'))"), "float");
    assert_string_equal(evaluate("#json.decode('\"\\\\u0000\"')"), "1");
    assert_string_equal(evaluate("json.encode(json.decode('\"\\\\ud800x\"'))"), "\"\\ud800x\"");
}

static void long_arrays_keep_their_order(void **state) {
    (void)state;
    static const int lengths[] = {1, 31, 32, 33, 64, 1000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
        char expression[512];
        snprintf(expression, sizeof(expression),
                 "(function() local t = {} for i = 1, %d do t[i] = i %% 7 == 0 and {i} or i end "
                 "local s = json.encode(t) local back = json.decode(s) "
                 "return #back == %d and json.encode(back) == s end)()",
                 lengths[i], lengths[i]);
        assert_string_equal(evaluate(expression), "true");
    }
}

static void says_what_is_wrong_where(void **state) {
    (void)state;
    assert_string_equal(evaluate("select(2, json.decode('{\"a\":}'))"), "bad_json");
    assert_non_null(strstr(evaluate("select(3, json.decode('{\"a\":}'))"), " at byte 6"));
    assert_string_equal(evaluate("select(2, json.decode(''))"), "bad_json");
    assert_string_equal(evaluate("select(2, json.decode('1 2'))"), "bad_json");
    assert_string_equal(evaluate("select(2, json.decode('[1'))"), "bad_json");
    assert_string_equal(evaluate("select(2, json.decode(('['):rep(65) .. (']'):rep(65)))"),
                        "bad_json");
    assert_string_equal(evaluate("select('#', json.decode(('['):rep(64) .. (']'):rep(64)))"), "1");
}

static void marks_leave_other_metatables_alone(void **state) {
    (void)state;
    assert_non_null(strstr(evaluate("array(setmetatable({}, {}))"), "another metatable"));
    assert_string_equal(evaluate("json.encode(object(array{1}))"), "{\"1\":1}");
}

/* --- lists of values, as events carry them ---------------------------------------------------- */

struct list {
    struct span text;
    int count;
    size_t offset;
    char back[256];
};

static int push_and_write(lua_State *L) {
    struct list *list = lua_touserdata(L, 1);
    struct json_fault fault = {NULL, 0};
    list->count = json_push_values(L, list->text, (struct span){NULL, 0}, &fault);
    list->offset = fault.offset;
    if (list->count < 0) {
        assert_int_equal(lua_gettop(L), 1);
        assert_non_null(fault.what);
        return 0;
    }
    struct span back = json_write(L, 2, lua_gettop(L), "args");
    assert_in_range(back.len, 0, sizeof(list->back) - 1);
    if (back.len > 0) {
        memcpy(list->back, back.at, back.len);
    }
    list->back[back.len] = '\0';
    return 0;
}

static struct list read_list(const char *text) {
    struct list list = {.text = span_of(text)};
    assert_int_equal(task_protect(&f.script, push_and_write, &list), 0);
    return list;
}

static void reads_lists(void **state) {
    (void)state;
    struct list list = read_list("");
    assert_int_equal(list.count, 0);
    assert_string_equal(list.back, "");
    list = read_list("{\"a\":1}");
    assert_int_equal(list.count, 1);
    assert_string_equal(list.back, "{\"a\":1}");
    list = read_list(" 1 , \"two\" ,[3], null");
    assert_int_equal(list.count, 4);
    assert_string_equal(list.back, "1,\"two\",[3],null");
    assert_int_equal(read_list("1,").count, -1);
    assert_int_equal(read_list("1 2").count, -1);
    assert_int_equal(read_list("1,[2").count, -1);
    list = read_list("1,2]");
    assert_int_equal(list.count, -1);
    assert_int_equal(list.offset, 3);
}

static void a_list_is_bounded(void **state) {
    (void)state;
    char text[2 * JSON_MAX_ARGS + 2];
    for (int i = 0; i <= JSON_MAX_ARGS; i++) {
        text[2 * i] = '1';
        text[2 * i + 1] = ',';
    }
    text[2 * JSON_MAX_ARGS - 1] = '\0';
    assert_int_equal(read_list(text).count, JSON_MAX_ARGS);
    text[2 * JSON_MAX_ARGS - 1] = ',';
    text[2 * JSON_MAX_ARGS + 1] = '\0';
    assert_int_equal(read_list(text).count, -1);
}

static int write_bad_second(lua_State *L) {
    lua_pushinteger(L, 1);
    lua_newtable(L);
    lua_pushcfunction(L, write_bad_second);
    lua_setfield(L, -2, "f");
    json_write(L, 2, 3, "args");
    return 0;
}

static void of_several_values_the_second_is_named(void **state) {
    (void)state;
    assert_int_equal(task_protect(&f.script, write_bad_second, NULL), UV_ENOMEM);
    assert_non_null(strstr(fixture_log(&f).at, "args[2].f: this (function) is not JSON"));
}

/* Memory that runs out in the middle of a text leaves nothing behind (LeakSanitizer looks). */
static void survives_want_of_memory(void **state) {
    (void)state;
    struct piece piece;
    script_fixture_close(&f);
    script_fixture_open(&f, 0, 1 << 20);
    for (int i = 0; i < 5; i++) {
        run_to_end(&f, &piece,
                   "local json = require 'moonwire.json' "
                   "return json.decode('[' .. ('\"\\\\n0123456789\",'):rep(40000) .. '1]')");
        assert_string_equal(piece.message, "not enough memory");
    }
    assert_string_equal(evaluate("json.encode(json.decode('[1,\"\\\\n\"]'))"), "[1,\"\\n\"]");
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_lua, close_lua)
    const struct CMUnitTest tests[] = {
        TEST(encodes),
        TEST(tells_arrays_from_objects),
        TEST(names_the_place_of_what_is_no_json),
        TEST(refuses_circles_and_depth),
        TEST(what_is_too_large_is_an_error),
        TEST(decodes),
        TEST(long_arrays_keep_their_order),
        TEST(says_what_is_wrong_where),
        TEST(marks_leave_other_metatables_alone),
        TEST(reads_lists),
        TEST(a_list_is_bounded),
        TEST(of_several_values_the_second_is_named),
        TEST(survives_want_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
