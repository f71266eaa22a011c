/* base/json and base/number: what the reader accepts and refuses, what it makes of it, skipping,
 * lists, and what the writer prints. The tables beside this file say what JavaScript does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/json.h"
#include "base/number.h"

/* Writes what the reader gives, in the shortest form; the error's text if it refuses. The bytes lie
 * in a block of exactly their length, so that ASan sees a step beyond. */
static const char *rewrite_as(struct span text, bool list) {
    static char out[65536];
    struct writer w = {NULL};
    struct json_reader r;
    char *exact = malloc(text.len != 0 ? text.len : 1);
    memcpy(exact, text.at, text.len);
    if (list) {
        json_reader_init_list(&r, exact, text.len);
    } else {
        json_reader_init(&r, exact, text.len);
    }
    bool comma = false;
    enum json_token token;
    while ((token = json_next(&r)) != JSON_END && token != JSON_ERROR) {
        bool closes = token == JSON_OBJECT_END || token == JSON_ARRAY_END;
        if (comma && !closes) {
            writer_putc(&w, ',');
        }
        comma = true;
        switch (token) {
        case JSON_OBJECT:
        case JSON_ARRAY:
            writer_putc(&w, token == JSON_OBJECT ? '{' : '[');
            comma = false;
            break;
        case JSON_OBJECT_END:
        case JSON_ARRAY_END:
            writer_putc(&w, token == JSON_OBJECT_END ? '}' : ']');
            break;
        case JSON_KEY:
        case JSON_STRING:
            assert_int_equal(json_put_string(&w, r.text), 0);
            if (token == JSON_KEY) {
                writer_putc(&w, ':');
                comma = false;
            }
            break;
        case JSON_INTEGER:
            json_put_integer(&w, r.integer);
            break;
        case JSON_NUMBER:
            writer_putc(&w, '~');
            assert_int_equal(json_put_number(&w, r.number), 0);
            break;
        case JSON_TRUE:
        case JSON_FALSE:
        case JSON_NULL:
            writer_puts(&w, token == JSON_TRUE ? "true" : token == JSON_FALSE ? "false" : "null");
            break;
        case JSON_END:
        case JSON_ERROR:
            fail();
        }
    }
    assert_true(json_offset(&r) <= text.len);
    if (token == JSON_ERROR) {
        assert_int_equal(json_next(&r), JSON_ERROR); /* It stays there. */
        snprintf(out, sizeof out, "!%zu %s", json_offset(&r), r.error);
    } else {
        assert_int_equal(json_next(&r), JSON_END);
        assert_int_equal(r.depth, 0);
        snprintf(out, sizeof out, "%.*s", (int)writer_len(&w), writer_span(&w).at);
    }
    json_reader_deinit(&r);
    writer_deinit(&w);
    free(exact);
    return out;
}

static const char *rewrite(struct span text) {
    return rewrite_as(text, false);
}

struct pair {
    struct span text;
    const char *result;
};
#define PAIR(text, result) \
    { SPAN(text), result }
#define EACH(pairs) (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)

static void documents_are_read(void **state) {
    (void)state;
    static const struct pair PAIRS[] = {
        PAIR("{}", "{}"),
        PAIR("[]", "[]"),
        PAIR(" \t\r\n[ ] \t\r\n", "[]"),
        PAIR("{ \"a\" : 1 , \"b\" : [ true , false , null ] }",
             "{\"a\":1,\"b\":[true,false,null]}"),
        PAIR("{\"\":{\"a\":{}},\"a\":[[],[{}]]}", "{\"\":{\"a\":{}},\"a\":[[],[{}]]}"),
        PAIR("{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"), /* The driver assigns in order. */
        PAIR("\"text\"", "\"text\""),
        PAIR("true", "true"),
        PAIR("false", "false"),
        PAIR("null", "null"),
        PAIR("42", "42"),
        PAIR("[1,2,3]", "[1,2,3]"),
        PAIR("\"\x7f\"", "\"\x7f\""),
        PAIR("\"/\\/\"", "\"//\""),
        PAIR("\"\\\"\\\\\\b\\f\\n\\r\\t\"", "\"\\\"\\\\\\b\\f\\n\\r\\t\""),
        PAIR("\"\\u0000\\u001F\\u007f\"", "\"\\u0000\\u001f\x7f\""),
        PAIR("\"a\\u00e9b\\u20ACc\\uD834\\udd1ed\"", "\"a\xc3\xa9"
                                                     "b\xe2\x82\xac"
                                                     "c\xf0\x9d\x84\x9e"
                                                     "d\""),
        PAIR("\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9d\x84\x9e \xf4\x8f\xbf\xbf\"",
             "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9d\x84\x9e \xf4\x8f\xbf\xbf\""),
        PAIR("\"\\u2028\xe2\x80\xa9\"", "\"\xe2\x80\xa8\xe2\x80\xa9\""),
        PAIR("{\"k\\u0041\":1}", "{\"kA\":1}"),
    };
    for
        EACH(PAIRS) {
            assert_string_equal(rewrite(PAIRS[i].text), PAIRS[i].result);
        }
}

static void lone_surrogates_survive(void **state) {
    (void)state;
    static const struct pair PAIRS[] = {
        PAIR("\"\\ud800\"", "\"\\ud800\""),
        PAIR("\"\\uDFFF\"", "\"\\udfff\""),
        PAIR("\"a\\ud834b\"", "\"a\\ud834b\""),
        PAIR("\"\\udd1e\\ud834\"", "\"\\udd1e\\ud834\""),
        PAIR("\"\\ud834\\ud834\\udd1e\"", "\"\\ud834\xf0\x9d\x84\x9e\""),
        PAIR("\"\\ud834\\n\"", "\"\\ud834\\n\""),
        PAIR("\"\\ud834\\u0041\xc3\xbc\"", "\"\\ud834A\xc3\xbc\""),
        PAIR("{\"\\udbff\":\"\\udc00\"}", "{\"\\udbff\":\"\\udc00\"}"),
    };
    for
        EACH(PAIRS) {
            assert_string_equal(rewrite(PAIRS[i].text), PAIRS[i].result);
        }
    struct json_reader r;
    json_reader_init(&r, "\"\\udc01\"", 8);
    assert_int_equal(json_next(&r), JSON_STRING);
    assert_true(span_equal(r.text, SPAN("\xed\xb0\x81")));
    json_reader_deinit(&r);
}

static void mistakes_are_named_with_their_place(void **state) {
    (void)state;
    static const struct pair PAIRS[] = {
        PAIR("", "!0 unexpected end"),
        PAIR("  ", "!2 unexpected end"),
        PAIR("[", "!1 unexpected end"),
        PAIR("[1", "!2 unexpected end"),
        PAIR("[1,", "!3 unexpected end"),
        PAIR("{", "!1 unexpected end"),
        PAIR("{\"a\"", "!4 unexpected end"),
        PAIR("{\"a\":", "!5 unexpected end"),
        PAIR("{\"a\":1", "!6 unexpected end"),
        PAIR("{\"a\":1,", "!7 unexpected end"),
        PAIR("\"a", "!2 unexpected end"),
        PAIR("tru", "!3 unexpected end"),
        PAIR("-", "!1 unexpected end"),
        PAIR("1.", "!2 unexpected end"),
        PAIR("1e", "!2 unexpected end"),
        PAIR("1e+", "!3 unexpected end"),
        PAIR("[1,]", "!3 unexpected character"),
        PAIR("[,1]", "!1 unexpected character"),
        PAIR("[1,,2]", "!3 unexpected character"),
        PAIR("[1 2]", "!3 expected a comma or ]"),
        PAIR("[1}", "!2 expected a comma or ]"),
        PAIR("{\"a\":1]", "!6 expected a comma or }"),
        PAIR("{\"a\":1,}", "!7 expected a key"),
        PAIR("{,}", "!1 expected a key"),
        PAIR("{a:1}", "!1 expected a key"),
        PAIR("{'a':1}", "!1 expected a key"),
        PAIR("{1:1}", "!1 expected a key"),
        PAIR("{\"a\" 1}", "!5 expected a colon"),
        PAIR("{\"a\"::1}", "!5 unexpected character"),
        PAIR("{\"a\",\"b\"}", "!4 expected a colon"),
        PAIR("]", "!0 unexpected character"),
        PAIR("}", "!0 unexpected character"),
        PAIR("1 2", "!2 unexpected character after the value"),
        PAIR("[]]", "!2 unexpected character after the value"),
        PAIR("{}x", "!2 unexpected character after the value"),
        PAIR("1,2", "!1 unexpected character after the value"),
        PAIR("truex", "!4 unexpected character after the value"),
        PAIR("True", "!0 unexpected character"),
        PAIR("trve", "!2 unexpected character"),
        PAIR("nul\0", "!3 unexpected character"),
        PAIR("NaN", "!0 unexpected character"),
        PAIR("Infinity", "!0 unexpected character"),
        PAIR("-Infinity", "!1 expected a digit"),
        PAIR("+1", "!0 unexpected character"),
        PAIR(".5", "!0 unexpected character"),
        PAIR("-.5", "!1 expected a digit"),
        PAIR("1.e1", "!2 expected a digit"),
        PAIR("1e1.5", "!3 unexpected character after the value"),
        PAIR("01", "!0 number with a leading zero"),
        PAIR("-01", "!1 number with a leading zero"),
        PAIR("[00.5]", "!1 number with a leading zero"),
        PAIR("0x10", "!1 unexpected character after the value"),
        PAIR("1_0", "!1 unexpected character after the value"),
        PAIR("1e400", "!0 number out of range"),
        PAIR("[-1e309]", "!1 number out of range"),
        PAIR("\"a\nb\"", "!2 control character in a string"),
        PAIR("\"\t\"", "!1 control character in a string"),
        PAIR("\"\0\"", "!1 control character in a string"),
        PAIR("\"0123456789abcdef\x1f\"", "!17 control character in a string"),
        PAIR("\"\\x41\"", "!1 bad escape"),
        PAIR("\"\\a\"", "!1 bad escape"),
        PAIR("\"\\'\"", "!1 bad escape"),
        PAIR("\"\\\0\"", "!1 bad escape"),
        PAIR("\"\\u12\"", "!1 bad escape"),
        PAIR("\"\\u12g4\"", "!1 bad escape"),
        PAIR("\"\\u 123\"", "!1 bad escape"),
        PAIR("\"\\ud834\\u12\"", "!7 bad escape"),
        PAIR("\"\\\xc3\xbc\"", "!1 bad escape"),
        PAIR("\"\\", "!1 bad escape"),
        PAIR("\"\\u123", "!1 bad escape"),
        PAIR("\"a\xff\"", "!2 not UTF-8"),
        PAIR("\"\xc3\"", "!1 not UTF-8"),
        PAIR("\"\xc3\\u00bc\"", "!1 not UTF-8"), /* Never one character across an escape. */
        PAIR("\"\xc0\xaf\"", "!1 not UTF-8"),
        PAIR("\"\xed\xa0\x80\"", "!1 not UTF-8"), /* A surrogate may only be an escape. */
        PAIR("\"\xf4\x90\x80\x80\"", "!1 not UTF-8"),
        PAIR("\"0123456789abcdef\xc3\xbc\xe2\x82\"", "!19 not UTF-8"),
        PAIR("{\"\xff\":1}", "!2 not UTF-8"),
        PAIR("\xef\xbb\xbf{}", "!0 unexpected character"), /* RFC 8259 section 8.1: no BOM. */
        PAIR("[\"\"\"\"]", "!3 expected a comma or ]"),
        PAIR("[1\f]", "!2 expected a comma or ]"),
        PAIR("[\xc2\xa0]", "!1 unexpected character"),
        PAIR("[1]/**/", "!3 unexpected character after the value"),
        PAIR("\0", "!0 unexpected character"),
        PAIR("1\0", "!1 unexpected character after the value"),
    };
    for
        EACH(PAIRS) {
            assert_string_equal(rewrite(PAIRS[i].text), PAIRS[i].result);
        }
}

static void integers_and_floats_are_told_apart(void **state) {
    (void)state;
    static const struct pair PAIRS[] = {
        /* '~' is before a float. */
        PAIR("0", "0"),
        PAIR("-0", "0"),
        PAIR("-1", "-1"),
        PAIR("9007199254740993", "9007199254740993"),
        PAIR("9223372036854775807", "9223372036854775807"),
        PAIR("-9223372036854775808", "-9223372036854775808"),
        PAIR("9223372036854775808", "~9223372036854776000"),
        PAIR("-9223372036854775809", "~-9223372036854776000"),
        PAIR("18446744073709551617", "~18446744073709552000"),
        PAIR("99999999999999999999999", "~1e+23"),
        PAIR("1.0", "~1"),
        PAIR("-0.0", "~0"),
        PAIR("1e2", "~100"),
        PAIR("1E+2", "~100"),
        PAIR("1e-2", "~0.01"),
        PAIR("0.1", "~0.1"),
        PAIR("0e1", "~0"),
        PAIR("1e-400", "~0"),
        PAIR("1.5e-7", "~1.5e-7"),
    };
    for
        EACH(PAIRS) {
            assert_string_equal(rewrite(PAIRS[i].text), PAIRS[i].result);
        }
}

static struct span nested(char *out, size_t depth) {
    memset(out, '[', depth);
    memset(out + depth, ']', depth);
    return (struct span){out, 2 * depth};
}

static void depth_is_bounded(void **state) {
    (void)state;
    char a[2 * JSON_MAX_DEPTH], b[2 * JSON_MAX_DEPTH + 2];
    struct span deepest = nested(a, JSON_MAX_DEPTH), deeper = nested(b, JSON_MAX_DEPTH + 1);
    assert_true(span_is(deepest, rewrite(deepest)));
    assert_string_equal(rewrite(deeper), "!64 nested too deeply");

    struct json_reader r;
    struct span value;
    json_reader_init(&r, deepest.at, deepest.len);
    assert_int_equal(json_skip(&r, &value), JSON_ARRAY);
    assert_int_equal(value.len, deepest.len);
    json_reader_init(&r, deeper.at, deeper.len);
    assert_int_equal(json_skip(&r, &value), JSON_ERROR);
    assert_string_equal(r.error, "nested too deeply");
    /* What is skipped counts from where the reader is. */
    json_reader_init(&r, deeper.at, deeper.len);
    assert_int_equal(json_next(&r), JSON_ARRAY);
    assert_int_equal(json_skip(&r, &value), JSON_ERROR);
    json_reader_init(&r, deepest.at, deepest.len);
    assert_int_equal(json_next(&r), JSON_ARRAY);
    assert_int_equal(json_skip(&r, &value), JSON_ARRAY);
    assert_int_equal(value.len, deepest.len - 2);
}

static void lists_have_no_brackets(void **state) {
    (void)state;
    static const struct pair PAIRS[] = {
        PAIR("", ""),
        PAIR("  ", ""),
        PAIR("1", "1"),
        PAIR("1,\"a\" , {\"b\":[1,2]},[]", "1,\"a\",{\"b\":[1,2]},[]"),
        PAIR("1,", "!2 unexpected end"),
        PAIR(",1", "!0 unexpected character"),
        PAIR("1 2", "!2 unexpected character after the value"),
        PAIR("1]", "!1 unexpected character after the value"),
        PAIR("]", "!0 unexpected character"),
    };
    for
        EACH(PAIRS) {
            assert_string_equal(rewrite_as(PAIRS[i].text, true), PAIRS[i].result);
        }
}

static void texts_without_escapes_stay_where_they_are(void **state) {
    (void)state;
    const char *text = "[\"plain\",\"esc\\n\",\"again\"]";
    struct json_reader r;
    json_reader_init(&r, text, strlen(text));
    assert_int_equal(json_next(&r), JSON_ARRAY);
    assert_int_equal(json_next(&r), JSON_STRING);
    assert_ptr_equal(r.text.at, text + 2);
    assert_int_equal(json_next(&r), JSON_STRING);
    assert_true(span_is(r.text, "esc\n"));
    assert_int_equal(json_next(&r), JSON_STRING);
    assert_ptr_equal(r.text.at, text + 18);
    json_reader_deinit(&r);
}

/* Everything at top level of an array or object, skipped: "token:bytes" for each. */
static const char *skipped(struct span text) {
    static const char LETTERS[] = {
        [JSON_OBJECT] = 'o', [JSON_ARRAY] = 'a', [JSON_STRING] = 's', [JSON_NUMBER] = 'n',
        [JSON_TRUE] = 't',   [JSON_FALSE] = 'f', [JSON_NULL] = 'z',   [JSON_KEY] = 'k'};
    static char out[1024];
    struct json_reader r;
    struct span value;
    char *exact = malloc(text.len != 0 ? text.len : 1);
    memcpy(exact, text.at, text.len);
    json_reader_init(&r, exact, text.len);
    size_t len = 0;
    enum json_token token = json_next(&r);
    while (token != JSON_ERROR && (token = json_skip(&r, &value)) != JSON_ERROR) {
        if (token == JSON_END || token == JSON_ARRAY_END || token == JSON_OBJECT_END) {
            assert_int_equal(value.len, 0);
            break;
        }
        len += (size_t)snprintf(out + len, sizeof out - len, "%c:%.*s|", LETTERS[token],
                                (int)value.len, value.at);
    }
    if (token == JSON_ERROR) {
        snprintf(out + len, sizeof out - len, "!%zu %s", json_offset(&r), r.error);
    } else {
        assert_int_equal(json_next(&r), JSON_END);
    }
    json_reader_deinit(&r);
    free(exact);
    return out;
}

static void skipping_gives_the_bytes(void **state) {
    (void)state;
    static const struct pair PAIRS[] = {
        PAIR("[1, -2.5e3 ,true,false , null,\"a\"]", "n:1|n:-2.5e3|t:true|f:false|z:null|s:\"a\"|"),
        PAIR("[{\"a\":[1,{}]} , [ ] ,{}]", "o:{\"a\":[1,{}]}|a:[ ]|o:{}|"),
        PAIR("{\"key\" : {\"b\":\"}\\\"]\"}, \"k\":[\"[\\\\\"]}",
             "k:|o:{\"b\":\"}\\\"]\"}|k:|a:[\"[\\\\\"]|"),
        PAIR("[\"0123456789abcdef\\\"0123456789abcdef\",1]",
             "s:\"0123456789abcdef\\\"0123456789abcdef\"|n:1|"),
        /* What is inside is looked at by whoever reads it. */
        PAIR("[{\"a\":nope,01},trash,-,\"\\q\t\",[,]]",
             "o:{\"a\":nope,01}|t:trash|n:-|s:\"\\q\t\"|a:[,]|"),
        PAIR("[{]}", "!2 unexpected character"),
        PAIR("[[}]", "!2 unexpected character"),
        PAIR("[{[}]", "!3 unexpected character"),
        PAIR("[[", "!2 unexpected end"),
        PAIR("[[1,2,3,4,5,6,7,8,9,10,11,12", "!28 unexpected end"),
        PAIR("[[\"]", "!4 unexpected end"),
        PAIR("[\"abc", "!5 unexpected end"),
        PAIR("[\"abc\\", "!6 unexpected end"),
        PAIR("[\"abc\\\"", "!7 unexpected end"),
        PAIR("[", "!1 unexpected end"),
        PAIR("[1", "n:1|!2 unexpected end"),
        PAIR("[1 x]", "n:1|!3 expected a comma or ]"),
        PAIR("[x]", "!1 unexpected character"),
        PAIR("[:]", "!1 unexpected character"),
        PAIR("[1,]", "n:1|!3 unexpected character"),
        PAIR("[1\"a\"]", "n:1|!2 expected a comma or ]"),
    };
    for
        EACH(PAIRS) {
            assert_string_equal(skipped(PAIRS[i].text), PAIRS[i].result);
        }
}

static void every_prefix_of_a_document_is_incomplete(void **state) {
    (void)state;
    struct span text =
        SPAN("{\"a\":[1,-2.5e-3,true,false,null,\"x\\n\\u00e9\\ud834\\udd1e\xc3\xbc\"],"
             "\"b\":{\"c\":{}},\"a long string of plain text\":[[]]}");
    assert_string_equal(rewrite(text), "{\"a\":[1,~-0.0025,true,false,null,"
                                       "\"x\\n\xc3\xa9\xf0\x9d\x84\x9e\xc3\xbc\"],"
                                       "\"b\":{\"c\":{}},\"a long string of plain text\":[[]]}");
    for (size_t len = 0; len < text.len; len++) {
        assert_int_equal(rewrite((struct span){text.at, len})[0], '!');
        char *exact = malloc(len != 0 ? len : 1);
        memcpy(exact, text.at, len);
        struct json_reader r;
        struct span value;
        json_reader_init(&r, exact, len);
        assert_int_equal(json_skip(&r, &value), JSON_ERROR);
        json_reader_deinit(&r);
        free(exact);
    }
}

/* A special byte at every place of strings of every length around the widths of the fast paths. */
static void every_byte_is_seen_at_every_place(void **state) {
    (void)state;
    static const char SPECIAL[] = {'"',    '\\',   '\0', '\x1f', '\n', '\x80', '\xff',
                                   '\x20', '\x7f', '!',  '#',    '[',  ']'};
    char text[64];
    for (size_t len = 1; len < 50; len++) {
        for (size_t place = 0; place < len; place++) {
            for (size_t i = 0; i < sizeof SPECIAL; i++) {
                memset(text, 'x', sizeof text);
                text[place] = SPECIAL[i];
                struct writer w = {NULL};
                int result = json_put_string(&w, (struct span){text, len});
                bool utf8 = (unsigned char)SPECIAL[i] < 0x80;
                assert_int_equal(result, utf8 ? 0 : UV_EINVAL);
                assert_int_equal(writer_len(&w) != 0, utf8);
                struct json_reader r;
                if (utf8) {
                    struct buf *bytes = writer_take(&w);
                    json_reader_init(&r, bytes->bytes, bytes->len);
                    assert_int_equal(json_next(&r), JSON_STRING);
                    assert_true(span_equal(r.text, (struct span){text, len}));
                    assert_int_equal(json_next(&r), JSON_END);
                    json_reader_deinit(&r);
                    buf_unref(bytes);
                }
                writer_deinit(&w);
                /* The byte as it is: only plain ones are JSON. */
                char quoted[66] = "\"";
                memcpy(quoted + 1, text, len);
                quoted[len + 1] = '"';
                bool plain = utf8 && SPECIAL[i] >= ' ' && SPECIAL[i] != '"' && SPECIAL[i] != '\\';
                assert_int_equal(rewrite((struct span){quoted, len + 2})[0] != '!', plain);
            }
        }
    }
}

static void the_writer_takes_back_what_it_refuses(void **state) {
    (void)state;
    struct writer w = {NULL};
    writer_puts(&w, "[");
    assert_int_equal(json_put_string(&w, SPAN("a\n\xff")), UV_EINVAL);
    assert_int_equal(json_put_string(&w, SPAN("\xed\xa0")), UV_EINVAL);
    assert_int_equal(json_put_string(&w, SPAN("\xed\xa0\x80\xff")), UV_EINVAL);
    assert_int_equal(json_put_number(&w, NAN), UV_EINVAL);
    assert_int_equal(json_put_number(&w, INFINITY), UV_EINVAL);
    assert_int_equal(json_put_number(&w, -INFINITY), UV_EINVAL);
    assert_true(span_is(writer_span(&w), "["));
    assert_int_equal(json_put_string(&w, (struct span){NULL, 0}), 0);
    /* High and low put together by a driver are escaped one by one, and read as one again. */
    assert_int_equal(json_put_string(&w, SPAN("\xed\xa0\xb4\xed\xb4\x9e")), 0);
    assert_true(span_is(writer_span(&w), "[\"\"\"\\ud834\\udd1e\""));
    writer_deinit(&w);
}

static FILE *open_table(const char *name) {
    char path[200];
    snprintf(path, sizeof path, "tests/unit/%s", name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    return file;
}

/* A line of a table without its line break; NULL at the end. Comments are left out. */
static char *next_line(FILE *file) {
    static char line[4096];
    do {
        if (fgets(line, sizeof line, file) == NULL) {
            return NULL;
        }
    } while (line[0] == '#');
    line[strcspn(line, "\n")] = '\0';
    return line;
}

static double from_bits(const char *hex) {
    uint64_t bits = strtoull(hex, NULL, 16);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void numbers_print_as_in_javascript(void **state) {
    (void)state;
    FILE *file = open_table("number_print.txt");
    int count = 0;
    for (char *line; (line = next_line(file)) != NULL; count++) {
        char out[NUMBER_MAX + 1];
        double value = from_bits(line);
        out[number_print(out, value)] = '\0';
        assert_string_equal(out, line + 17);
        double back = number_parse(span_of(out));
        assert_memory_equal(&back, &(double){value + 0.0}, sizeof back); /* -0 + 0 is 0. */
    }
    assert_true(count > 1000);
    fclose(file);
}

static void numbers_read_as_in_javascript(void **state) {
    (void)state;
    FILE *file = open_table("number_parse.txt");
    int count = 0;
    for (char *line; (line = next_line(file)) != NULL; count++) {
        char *hex = strchr(line, ' ') + 1;
        struct json_reader r;
        json_reader_init(&r, line, (size_t)(hex - 1 - line));
        assert_int_equal(json_next(&r), JSON_NUMBER);
        double expected = from_bits(hex);
        assert_memory_equal(&r.number, &expected, sizeof expected);
        assert_int_equal(json_next(&r), JSON_END);
        json_reader_deinit(&r);
    }
    assert_true(count > 200);
    fclose(file);
}

static void integers_print(void **state) {
    (void)state;
    static const long long VALUES[] = {0, 1, -1, 9, 10, 99, 100, INT64_MAX, INT64_MIN, -1234567890};
    for
        EACH(VALUES) {
            char expected[32];
            struct writer w = {NULL};
            snprintf(expected, sizeof expected, "%lld", VALUES[i]);
            json_put_integer(&w, VALUES[i]);
            assert_true(span_is(writer_span(&w), expected));
            writer_deinit(&w);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_are_read),
        cmocka_unit_test(lone_surrogates_survive),
        cmocka_unit_test(mistakes_are_named_with_their_place),
        cmocka_unit_test(integers_and_floats_are_told_apart),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(lists_have_no_brackets),
        cmocka_unit_test(texts_without_escapes_stay_where_they_are),
        cmocka_unit_test(skipping_gives_the_bytes),
        cmocka_unit_test(every_prefix_of_a_document_is_incomplete),
        cmocka_unit_test(every_byte_is_seen_at_every_place),
        cmocka_unit_test(the_writer_takes_back_what_it_refuses),
        cmocka_unit_test(numbers_print_as_in_javascript),
        cmocka_unit_test(numbers_read_as_in_javascript),
        cmocka_unit_test(integers_print),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
