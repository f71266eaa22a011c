/* The JSON reader: a state machine over bytes, one token a call. The driver (the script bridge, the
 * transports, base/config) keeps whatever it needs; a value that is only passed on is skipped and
 * not read. Writing is in json_write.c. */
#include "base/json.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/number.h"
#include "base/utf8.h"

/* What has been read last says what may stand next. */
enum state {
    AT_VALUE,         /* A value must stand here. */
    AT_LIST,          /* The first value of a list, or its end. */
    AT_FIRST_ELEMENT, /* A value or ']'. */
    AT_FIRST_KEY,     /* A key or '}'. */
    AFTER_VALUE,      /* A comma, or the end of what the value was in. */
    FAILED,
};

enum next { NEXT_VALUE, NEXT_KEY, NEXT_CLOSE, NEXT_END, NEXT_ERROR };

void json_reader_init(struct json_reader *r, const char *bytes, size_t len) {
    memset(r, 0, sizeof *r);
    r->start = r->at = len != 0 ? bytes : "";
    r->end = r->start + len;
    r->state = AT_VALUE;
}

void json_reader_init_list(struct json_reader *r, const char *bytes, size_t len) {
    json_reader_init(r, bytes, len);
    r->list = true;
    r->state = AT_LIST;
}

void json_reader_deinit(struct json_reader *r) {
    writer_deinit(&r->scratch);
}

size_t json_offset(const struct json_reader *r) {
    return (size_t)(r->at - r->start);
}

static enum json_token fail(struct json_reader *r, const char *at, const char *error) {
    r->at = at;
    r->error = error;
    r->state = FAILED;
    return JSON_ERROR;
}

static enum json_token fail_unexpected(struct json_reader *r, const char *at, const char *error) {
    return fail(r, at, at == r->end ? "unexpected end" : error);
}

/* --- between tokens --------------------------------------------------------------------------- */

static inline const char *skip_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    return p;
}

static inline bool in_object(const struct json_reader *r) {
    return (r->objects >> (r->depth - 1) & 1) != 0;
}

static enum next reach_after_value(struct json_reader *r, const char *p) {
    if (r->depth == 0) {
        r->at = p;
        if (p == r->end) {
            return NEXT_END;
        }
        if (!r->list || *p != ',') {
            fail(r, p, "unexpected character after the value");
            return NEXT_ERROR;
        }
        r->at = skip_space(p + 1, r->end);
        return NEXT_VALUE;
    }
    bool object = in_object(r);
    if (p < r->end && *p == ',') {
        r->at = skip_space(p + 1, r->end);
        return object ? NEXT_KEY : NEXT_VALUE;
    }
    if (p < r->end && *p == (object ? '}' : ']')) {
        r->at = p;
        return NEXT_CLOSE;
    }
    fail_unexpected(r, p, object ? "expected a comma or }" : "expected a comma or ]");
    return NEXT_ERROR;
}

/* Moves to the next thing and says what it must be, or which end it is. */
static enum next reach(struct json_reader *r) {
    const char *p = skip_space(r->at, r->end);
    switch ((enum state)r->state) {
    case AFTER_VALUE:
        return reach_after_value(r, p);
    case AT_VALUE:
        r->at = p;
        return NEXT_VALUE;
    case AT_LIST:
        r->at = p;
        return p == r->end ? NEXT_END : NEXT_VALUE;
    case AT_FIRST_ELEMENT:
        r->at = p;
        return p < r->end && *p == ']' ? NEXT_CLOSE : NEXT_VALUE;
    case AT_FIRST_KEY:
        r->at = p;
        return p < r->end && *p == '}' ? NEXT_CLOSE : NEXT_KEY;
    case FAILED:
        break;
    }
    return NEXT_ERROR;
}

static enum json_token open_container(struct json_reader *r, bool object) {
    if (r->depth == JSON_MAX_DEPTH) {
        return fail(r, r->at, "nested too deeply");
    }
    uint64_t bit = (uint64_t)1 << r->depth++;
    r->objects = object ? r->objects | bit : r->objects & ~bit;
    r->state = object ? AT_FIRST_KEY : AT_FIRST_ELEMENT;
    r->at++;
    return object ? JSON_OBJECT : JSON_ARRAY;
}

static enum json_token close_container(struct json_reader *r) {
    enum json_token token = in_object(r) ? JSON_OBJECT_END : JSON_ARRAY_END;
    r->depth--;
    r->state = AFTER_VALUE;
    r->at++;
    return token;
}

/* --- strings ---------------------------------------------------------------------------------- */

/* The value of four hexadecimal digits, or -1. */
static int read_hex(const char *p, const char *end) {
    int value = 0;
    if (end - p < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value << 4 | digit;
    }
    return value;
}

/* UTF-8, or for a lone surrogate the three bytes that UTF-8 would have for it. */
static void put_code_point(struct writer *w, unsigned code) {
    char *out = writer_reserve(w, 4);
    size_t len = 0;
    if (code < 0x80) {
        out[len++] = (char)code;
    } else if (code < 0x800) {
        out[len++] = (char)(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        out[len++] = (char)(0xe0 | code >> 12);
        out[len++] = (char)(0x80 | (code >> 6 & 0x3f));
    } else {
        out[len++] = (char)(0xf0 | code >> 18);
        out[len++] = (char)(0x80 | (code >> 12 & 0x3f));
        out[len++] = (char)(0x80 | (code >> 6 & 0x3f));
    }
    if (code >= 0x80) {
        out[len++] = (char)(0x80 | (code & 0x3f));
    }
    writer_advance(w, len);
}

/* The escape at p, where the backslash is, goes to the scratch. Returns what follows it, or NULL.
 */
static const char *read_escape(struct json_reader *r, const char *p) {
    static const char SHORT[256] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
                                    ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
    const char *end = r->end;
    if (end - p < 2) {
        return NULL;
    }
    char plain = SHORT[(uint8_t)p[1]];
    if (plain != '\0') {
        writer_putc(&r->scratch, plain);
        return p + 2;
    }
    int high = p[1] == 'u' ? read_hex(p + 2, end) : -1;
    if (high < 0) {
        return NULL;
    }
    p += 6;
    if (high >= 0xd800 && high < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
        int low = read_hex(p + 2, end);
        if (low >= 0xdc00 && low < 0xe000) {
            put_code_point(&r->scratch,
                           0x10000 + ((unsigned)(high - 0xd800) << 10 | (unsigned)(low - 0xdc00)));
            return p + 6;
        }
    }
    put_code_point(&r->scratch, (unsigned)high);
    return p;
}

static enum json_token fail_utf8(struct json_reader *r, const char *p) {
    size_t len;
    while ((len = utf8_length(p, (size_t)(r->end - p))) != 0) {
        p += len;
    }
    return fail(r, p, "not UTF-8");
}

/* The string whose quote r->at is on becomes r->text: in place if it has no escapes. Bytes of one
 * character never stand on both sides of an escape, so each run between them is valid by itself. */
static enum json_token read_string(struct json_reader *r, enum json_token token) {
    const char *from = r->at + 1;
    bool escaped = false;
    for (;;) {
        bool high = false;
        const char *p = json_scan_plain(from, r->end, r->start, &high);
        size_t run = (size_t)(p - from);
        if (high && !utf8_valid(from, run)) {
            return fail_utf8(r, from);
        }
        if (p < r->end && *p == '"') {
            r->at = p + 1;
            if (!escaped) {
                r->text = (struct span){from, run};
                return token;
            }
            writer_put(&r->scratch, from, run);
            r->text = writer_span(&r->scratch);
            return token;
        }
        if (p == r->end || *p != '\\') {
            return fail_unexpected(r, p, "control character in a string");
        }
        if (!escaped) {
            writer_clear(&r->scratch);
            escaped = true;
        }
        writer_put(&r->scratch, from, run);
        from = read_escape(r, p);
        if (from == NULL) {
            return fail(r, p, "bad escape");
        }
    }
}

static enum json_token read_key(struct json_reader *r) {
    if (r->at == r->end || *r->at != '"') {
        return fail_unexpected(r, r->at, "expected a key");
    }
    if (read_string(r, JSON_KEY) == JSON_ERROR) {
        return JSON_ERROR;
    }
    const char *p = skip_space(r->at, r->end);
    if (p == r->end || *p != ':') {
        return fail_unexpected(r, p, "expected a colon");
    }
    r->at = p + 1;
    r->state = AT_VALUE;
    return JSON_KEY;
}

/* --- other values ----------------------------------------------------------------------------- */

static inline bool is_digit(const char *p, const char *end) {
    return p < end && *p >= '0' && *p <= '9';
}

static const char *skip_digits(const char *p, const char *end) {
    while (is_digit(p, end)) {
        p++;
    }
    return p;
}

/* A literal with a fraction or an exponent, or one too long for 64 bits; p is after its integral
 * part. */
static enum json_token read_double(struct json_reader *r, const char *p) {
    if (p < r->end && *p == '.') {
        if (!is_digit(++p, r->end)) {
            return fail_unexpected(r, p, "expected a digit");
        }
        p = skip_digits(p, r->end);
    }
    if (p < r->end && (*p == 'e' || *p == 'E')) {
        p++;
        p += p < r->end && (*p == '+' || *p == '-');
        if (!is_digit(p, r->end)) {
            return fail_unexpected(r, p, "expected a digit");
        }
        p = skip_digits(p, r->end);
    }
    r->number = number_parse((struct span){r->at, (size_t)(p - r->at)});
    if (isinf(r->number)) {
        return fail(r, r->at, "number out of range");
    }
    r->at = p;
    r->state = AFTER_VALUE;
    return JSON_NUMBER;
}

static enum json_token read_number(struct json_reader *r) {
    const char *p = r->at, *end = r->end;
    bool negative = *p == '-';
    const char *first = p += negative;
    unsigned long long value = 0;
    if (!is_digit(p, end)) {
        return fail_unexpected(r, p, "expected a digit");
    }
    for (; is_digit(p, end); p++) { /* Wraps where there are too many: not looked at then. */
        value = value * 10 + (unsigned)(*p - '0');
    }
    if (*first == '0' && p - first > 1) {
        return fail(r, first, "number with a leading zero");
    }
    bool fits = p - first <= 19 && value <= (unsigned long long)LLONG_MAX + negative;
    if (!fits || (p < end && (*p == '.' || *p == 'e' || *p == 'E'))) {
        return read_double(r, p);
    }
    r->integer = (long long)(negative ? 0 - value : value);
    r->at = p;
    r->state = AFTER_VALUE;
    return JSON_INTEGER;
}

static enum json_token read_word(struct json_reader *r, struct span word, enum json_token token) {
    size_t i = 0;
    while (i < word.len && r->at + i < r->end && r->at[i] == word.at[i]) {
        i++;
    }
    if (i < word.len) {
        return fail_unexpected(r, r->at + i, "unexpected character");
    }
    r->at += word.len;
    r->state = AFTER_VALUE;
    return token;
}

static enum json_token read_value(struct json_reader *r) {
    switch (r->at < r->end ? *r->at : '\0') {
    case '"':
        r->state = AFTER_VALUE;
        return read_string(r, JSON_STRING);
    case '{':
        return open_container(r, true);
    case '[':
        return open_container(r, false);
    case 't':
        return read_word(r, SPAN("true"), JSON_TRUE);
    case 'f':
        return read_word(r, SPAN("false"), JSON_FALSE);
    case 'n':
        return read_word(r, SPAN("null"), JSON_NULL);
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
        return read_number(r);
    default:
        return fail_unexpected(r, r->at, "unexpected character");
    }
}

enum json_token json_next(struct json_reader *r) {
    switch (reach(r)) {
    case NEXT_VALUE:
        return read_value(r);
    case NEXT_KEY:
        return read_key(r);
    case NEXT_CLOSE:
        return close_container(r);
    case NEXT_END:
        return JSON_END;
    case NEXT_ERROR:
        break;
    }
    return JSON_ERROR;
}

/* --- skipping --------------------------------------------------------------------------------- */

/* After the closing quote of the string that begins before p; NULL if it does not end. */
static const char *skip_string(const struct json_reader *r, const char *p) {
    bool high = false;
    for (;;) {
        p = json_scan_plain(p, r->end, r->start, &high);
        if (p == r->end) {
            return NULL;
        }
        if (*p == '"') {
            return p + 1;
        }
        p += *p == '\\' && r->end - p > 1 ? 2 : 1;
    }
}

static inline bool is_bracket(char c) {
    return (c | 0x20) == '{' || (c | 0x20) == '}'; /* '[' and ']' differ from these by that bit. */
}

#ifdef __SSE2__
/* A bit per byte of the 16: a quote or a bracket. */
static inline unsigned structure_mask(const char *p) {
    __m128i bytes = json_load(p), folded = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
    return (unsigned)_mm_movemask_epi8(
        _mm_or_si128(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('"')),
                     _mm_or_si128(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')),
                                  _mm_cmpeq_epi8(folded, _mm_set1_epi8('}')))));
}
#endif

/* The next quote or bracket, or the end. */
static const char *find_structure(const struct json_reader *r, const char *p) {
    const char *end = r->end;
#ifdef __SSE2__
    while (end - p >= 16) {
        unsigned found = structure_mask(p);
        if (found != 0) {
            return p + __builtin_ctz(found);
        }
        p += 16;
    }
    if (end - r->start >= 16 && p < end) { /* As in json_scan_plain. */
        unsigned found = structure_mask(end - 16) >> (p - (end - 16));
        return found != 0 ? p + __builtin_ctz(found) : end;
    }
#endif
    while (p < end && *p != '"' && !is_bracket(*p)) {
        p++;
    }
    return p;
}

/* After the end of the object or array at r->at. The depths that the reader is in count, so that no
 * more is let through here than json_next would. */
static const char *skip_container(struct json_reader *r) {
    unsigned depth = r->depth;
    uint64_t objects = r->objects;
    const char *p = r->at;
    do {
        p = find_structure(r, p);
        if (p == r->end) {
            fail(r, p, "unexpected end");
            return NULL;
        }
        char c = *p++;
        bool object = (c | 0x20) == c; /* '{' and '}', but not '[' and ']'. */
        if (c == '"') {
            p = skip_string(r, p);
            if (p == NULL) {
                fail(r, r->end, "unexpected end");
                return NULL;
            }
        } else if (c == '{' || c == '[') {
            if (depth == JSON_MAX_DEPTH) {
                fail(r, p - 1, "nested too deeply");
                return NULL;
            }
            uint64_t bit = (uint64_t)1 << depth++;
            objects = object ? objects | bit : objects & ~bit;
        } else if ((objects >> --depth & 1) != object) {
            fail(r, p - 1, "unexpected character");
            return NULL;
        }
    } while (depth > r->depth);
    return p;
}

/* After the word or number at p: where white space, a bracket or another mark stands. */
static const char *skip_scalar(const char *p, const char *end) {
    while (p < end && (uint8_t)*p > ' ' && *p != ',' && *p != ':' && *p != '"' && !is_bracket(*p)) {
        p++;
    }
    return p;
}

static enum json_token skip_value(struct json_reader *r, struct span *value) {
    enum json_token token;
    const char *p;
    switch (r->at < r->end ? *r->at : '\0') {
    case '"':
        token = JSON_STRING;
        p = skip_string(r, r->at + 1);
        if (p == NULL) {
            return fail(r, r->end, "unexpected end");
        }
        break;
    case '{':
    case '[':
        token = *r->at == '{' ? JSON_OBJECT : JSON_ARRAY;
        p = skip_container(r);
        if (p == NULL) {
            return JSON_ERROR;
        }
        break;
    case 't':
        token = JSON_TRUE;
        p = skip_scalar(r->at, r->end);
        break;
    case 'f':
        token = JSON_FALSE;
        p = skip_scalar(r->at, r->end);
        break;
    case 'n':
        token = JSON_NULL;
        p = skip_scalar(r->at, r->end);
        break;
    default:
        if (!is_digit(r->at, r->end) && (r->at == r->end || *r->at != '-')) {
            return fail_unexpected(r, r->at, "unexpected character");
        }
        token = JSON_NUMBER;
        p = skip_scalar(r->at, r->end);
        break;
    }
    *value = (struct span){r->at, (size_t)(p - r->at)};
    r->at = p;
    r->state = AFTER_VALUE;
    return token;
}

enum json_token json_skip(struct json_reader *r, struct span *value) {
    enum next next = reach(r);
    *value = (struct span){r->at, 0};
    switch (next) {
    case NEXT_VALUE:
        return skip_value(r, value);
    case NEXT_KEY:
        return read_key(r);
    case NEXT_CLOSE:
        return close_container(r);
    case NEXT_END:
        return JSON_END;
    case NEXT_ERROR:
        break;
    }
    return JSON_ERROR;
}
