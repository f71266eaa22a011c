/* Fuzzes base/json. What is read and written again reads as the same; skipping lets nothing through
 * that reading would refuse; and cJSON, where the two should agree, takes what we take. */
#include <assert.h>
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void init(struct json_reader *r, struct span text, bool list) {
    if (list) {
        json_reader_init_list(r, text.at, text.len);
    } else {
        json_reader_init(r, text.at, text.len);
    }
}

static void put_scalar(struct writer *w, const struct json_reader *r, enum json_token token) {
    switch (token) {
    case JSON_KEY:
    case JSON_STRING:
        assert(json_put_string(w, r->text) == 0);
        break;
    case JSON_INTEGER:
        json_put_integer(w, r->integer);
        break;
    case JSON_NUMBER:
        assert(json_put_number(w, r->number) == 0);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        writer_puts(w, token == JSON_TRUE ? "true" : "false");
        break;
    default:
        assert(token == JSON_NULL);
        writer_puts(w, "null");
    }
}

/* Reads all of it and writes it without white space. False if it is refused. */
static bool rewrite(struct span text, bool list, struct writer *w) {
    struct json_reader r;
    init(&r, text, list);
    bool comma = false;
    enum json_token token;
    while ((token = json_next(&r)) != JSON_END && token != JSON_ERROR) {
        bool opens = token == JSON_OBJECT || token == JSON_ARRAY;
        bool closes = token == JSON_OBJECT_END || token == JSON_ARRAY_END;
        if (comma && !closes) {
            writer_putc(w, ',');
        }
        if (opens) {
            writer_putc(w, token == JSON_OBJECT ? '{' : '[');
        } else if (closes) {
            writer_putc(w, token == JSON_OBJECT_END ? '}' : ']');
        } else {
            put_scalar(w, &r, token);
        }
        if (token == JSON_KEY) {
            writer_putc(w, ':');
        }
        comma = !opens && token != JSON_KEY;
        assert(r.at >= r.start && r.at <= r.end && r.depth <= JSON_MAX_DEPTH);
    }
    assert(token == JSON_END ? r.at == r.end : r.error != NULL && r.at <= r.end);
    json_reader_deinit(&r);
    return token == JSON_END;
}

/* Steps into containers down to `depth`, skips everything below and reads what was skipped by
 * itself. True if nobody complained. */
static bool accepts_by_skipping(struct span text, bool list, unsigned depth) {
    struct json_reader r;
    init(&r, text, list);
    enum json_token token;
    bool good = true;
    do {
        struct span value = {NULL, 0};
        token = r.depth < depth ? json_next(&r) : json_skip(&r, &value);
        if (value.len != 0) {
            struct writer w = {NULL};
            assert(value.at >= r.start && value.at + value.len == r.at);
            good = rewrite(value, false, &w) && good;
            writer_deinit(&w);
        }
    } while (token != JSON_END && token != JSON_ERROR);
    json_reader_deinit(&r);
    return good && token == JSON_END;
}

static void check(struct span text, bool list) {
    struct writer once = {NULL}, twice = {NULL};
    bool good = rewrite(text, list, &once);
    if (good) {
        assert(rewrite(writer_span(&once), list, &twice));
        assert(span_equal(writer_span(&once), writer_span(&twice)));
    }
    for (unsigned depth = 0; depth < 3; depth++) {
        assert(accepts_by_skipping(text, list, depth) == good);
    }
    writer_deinit(&once);
    writer_deinit(&twice);
}

static bool agree(struct json_reader *r, enum json_token token, const cJSON *tree);

static bool agree_on_members(struct json_reader *r, const cJSON *tree) {
    for (const cJSON *child = tree->child; child != NULL; child = child->next) {
        enum json_token token = json_next(r);
        if (cJSON_IsObject(tree)) {
            if (token != JSON_KEY || !span_is(r->text, child->string)) {
                return false;
            }
            token = json_next(r);
        }
        if (!agree(r, token, child)) {
            return false;
        }
    }
    return json_next(r) == (cJSON_IsObject(tree) ? JSON_OBJECT_END : JSON_ARRAY_END);
}

/* The token just read, and all that belongs to it, against cJSON's tree. */
static bool agree(struct json_reader *r, enum json_token token, const cJSON *tree) {
    switch (token) {
    case JSON_OBJECT:
        return cJSON_IsObject(tree) && agree_on_members(r, tree);
    case JSON_ARRAY:
        return cJSON_IsArray(tree) && agree_on_members(r, tree);
    case JSON_STRING:
        return cJSON_IsString(tree) && span_is(r->text, tree->valuestring);
    case JSON_INTEGER:
        return cJSON_IsNumber(tree) && tree->valuedouble == (double)r->integer;
    case JSON_NUMBER:
        return cJSON_IsNumber(tree) && tree->valuedouble == r->number;
    case JSON_TRUE:
        return cJSON_IsTrue(tree);
    case JSON_FALSE:
        return cJSON_IsFalse(tree);
    case JSON_NULL:
        return cJSON_IsNull(tree);
    default:
        return false;
    }
}

static bool contains(struct span text, const char *part) {
    return memmem(text.at, text.len, part, strlen(part)) != NULL;
}

static size_t longest_number(struct span text) {
    size_t longest = 0, run = 0;
    for (size_t i = 0; i < text.len; i++) {
        run = strchr("0123456789+-.eE", text.at[i]) != NULL ? run + 1 : 0;
        longest = run > longest ? run : longest;
    }
    return longest;
}

/* A document that we take is one for cJSON too, and the same one, but for what it is known not to
 * do: it cuts strings at U+0000, refuses lone surrogates, and cuts numbers at 63 characters. */
static void compare(struct span text) {
    if (contains(text, "\\u0000") || contains(text, "\\ud") || contains(text, "\\uD") ||
        longest_number(text) > 63) {
        return;
    }
    struct json_reader r;
    json_reader_init(&r, text.at, text.len);
    cJSON *tree = cJSON_ParseWithLength(text.at, text.len);
    assert(tree != NULL && agree(&r, json_next(&r), tree));
    cJSON_Delete(tree);
    json_reader_deinit(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span text = {(const char *)data, size};
    struct writer w = {NULL};
    check(text, false);
    check(text, true);
    if (rewrite(text, false, &w)) {
        compare(text);
    }
    writer_deinit(&w);
    return 0;
}
