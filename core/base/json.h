/* JSON (RFC 8259), strict, between bytes and whoever drives it: a pull reader that allocates
 * nothing but the room for strings with escapes, and functions that append to a writer. No tree:
 * nobody has wanted one yet. The last of duplicate keys wins by the driver assigning in
 * order; U+0000 is kept; a lone surrogate escape becomes its three-byte form (WTF-8) and is escaped
 * again on the way out. A literal -0 is the integer 0, which is what JavaScript would print for it;
 * a number that no finite double is near (1e400) is refused. */
#ifndef MOONWIRE_BASE_JSON_H
#define MOONWIRE_BASE_JSON_H

#include "base/buf.h"

#define JSON_MAX_DEPTH 64

enum json_token {
    JSON_ERROR, /* r->error says what, r->at where. The reader stays there. */
    JSON_END,   /* The document is complete and nothing but white space follows. */
    JSON_OBJECT,
    JSON_OBJECT_END,
    JSON_ARRAY,
    JSON_ARRAY_END,
    JSON_KEY,     /* r->text, as for JSON_STRING. */
    JSON_STRING,  /* r->text: unescaped, valid until the next token. */
    JSON_INTEGER, /* r->integer: no fraction or exponent in the text, and fits 64 bits. */
    JSON_NUMBER,  /* r->number */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

struct json_reader {
    const char *at; /* Next byte to read. */
    const char *start;
    const char *end;
    struct span text;
    long long integer;
    double number;
    const char *error; /* A phrase such as "unexpected character", static. */
    unsigned depth;
    unsigned state;
    bool list;
    uint64_t objects; /* Bit per open depth: an object, not an array. */
    struct writer scratch;
};

/* The bytes are borrowed until json_reader_deinit. */
void json_reader_init(struct json_reader *r, const char *bytes, size_t len);
/* Reads the comma-separated values of an array whose brackets are not there: each top-level value
 * comes as usual, JSON_END after the last. Used for the arguments of an event (see hub/message.h).
 */
void json_reader_init_list(struct json_reader *r, const char *bytes, size_t len);
void json_reader_deinit(struct json_reader *r);
enum json_token json_next(struct json_reader *r);
/* In the place of json_next: where a value stands next, skips the whole of it, gives its bytes and
 * returns the token that it begins with (JSON_NUMBER for every number). Only brackets and strings
 * are followed: what the value says is checked when it is read. Where no value stands next, it is
 * json_next, and the span is empty. */
enum json_token json_skip(struct json_reader *r, struct span *value);
size_t json_offset(const struct json_reader *r); /* Of the next byte; for error messages. */

/* Appending. The number forms print as JavaScript does (integral doubles without fraction, shortest
 * digits that read back the same). Zero, or UV_EINVAL where JSON cannot say it: NaN, infinity, text
 * that is not UTF-8 (lone surrogates pass and are escaped). On an error nothing was appended. */
int json_put_string(struct writer *w, struct span text);
void json_put_integer(struct writer *w, long long value);
int json_put_number(struct writer *w, double value);

#endif
