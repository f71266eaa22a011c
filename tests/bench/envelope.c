/*
 * The plain envelope; the client side of Engine.IO 4 and Socket.IO 5 packets as far as a load
 * generator needs them (the main namespace, the one event "m" with one string, heartbeats); and the
 * JSON event, whose fields may come back in any order, for a table of Lua has none. It sends
 * nothing itself.
 */
#include "envelope.h"

#include <stdio.h>
#include <string.h>

static bool begins(const unsigned char *data, size_t len, const char *with) {
    return len >= strlen(with) && memcmp(data, with, strlen(with)) == 0;
}

static _Noreturn void unexpected(const struct peer *c, const unsigned char *data, size_t len) {
    fail("connection %u: unexpected packet \"%.*s\"", c->id, len < 64 ? (int)len : 64, data);
}

/* Plain -------------------------------------------------------------------------------------- */

static enum envelope_result take_plain(struct peer *c, const unsigned char **data, size_t *len,
                                       const char **reply) {
    (void)c, (void)data, (void)len, (void)reply;
    return ENVELOPE_MESSAGE;
}

const struct envelope envelope_plain = {"", "", false, take_plain};

/* Socket.IO ---------------------------------------------------------------------------------- */

#define SIO_HEAD "42[\"m\",\""
#define SIO_TAIL "\"]"

enum { SIO_HEAD_LEN = sizeof SIO_HEAD - 1, SIO_TAIL_LEN = sizeof SIO_TAIL - 1 };

static enum envelope_result take_socketio(struct peer *c, const unsigned char **data, size_t *len,
                                          const char **reply) {
    if (*len == 1 && **data == '2') {
        *reply = "3";
        return ENVELOPE_NOTHING;
    }
    if (c->opening == 0 && begins(*data, *len, "0{")) {
        c->opening = 1;
        *reply = "40";
        return ENVELOPE_NOTHING;
    }
    if (c->opening == 1 && begins(*data, *len, "40{")) {
        c->opening = 2;
        return ENVELOPE_OPEN;
    }
    if (c->opening != 2 || !begins(*data, *len, SIO_HEAD) || *len < SIO_HEAD_LEN + SIO_TAIL_LEN ||
        memcmp(*data + *len - SIO_TAIL_LEN, SIO_TAIL, SIO_TAIL_LEN) != 0)
        unexpected(c, *data, *len);
    *data += SIO_HEAD_LEN;
    *len -= SIO_HEAD_LEN + SIO_TAIL_LEN;
    return ENVELOPE_MESSAGE;
}

const struct envelope envelope_socketio = {SIO_HEAD, SIO_TAIL, true, take_socketio};

/* The JSON event ----------------------------------------------------------------------------- */

/* What an order in a shop might be. No inner object has two fields, so that only the order of these
 * is free. The server changes "hops". */
#define FIELDS(X, hops)                                                     \
    X("\"from\":{\"user\":\"user-20417\"}")                                 \
    X("\"at\":1763823600.25")                                               \
    X("\"urgent\":false")                                                   \
    X("\"tags\":[\"order\",\"express\",\"gift wrapped\"]")                  \
    X("\"position\":[52.520008,13.404954]")                                 \
    X("\"items\":[[1042,2,19.95],[2210,1,129],[3307,12,0.85],[77,1,4.5]]")  \
    X("\"note\":null")                                                      \
    X("\"address\":[\"Invalidenstra\xc3\x9f"                                \
      "e 116\",\"10115 Berlin\"]")                                          \
    X("\"total\":192.6")                                                    \
    X("\"steps\":[{\"packed\":true},{\"sent\":false},{\"arrived\":false}]") \
    X("\"hops\":" hops)
#define WITH_COMMA(field) field ","
#define AS_ITEM(field) field,

#define JSON_HEAD "{\"event\":\"m\",\"data\":{" FIELDS(WITH_COMMA, "1") "\"text\":\""
#define JSON_TAIL "\"}}"

static const char *const fields[] = {FIELDS(AS_ITEM, "2")};

enum { FIELD_COUNT = sizeof fields / sizeof fields[0] };

/* The length of the field that the bytes begin with; marks it as seen. 0: none, or seen already. */
static size_t known_field(const unsigned char *at, size_t len, unsigned *seen) {
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if (*seen & 1U << i || !begins(at, len, fields[i]))
            continue;
        *seen |= 1U << i;
        return strlen(fields[i]);
    }
    return 0;
}

static enum envelope_result take_json(struct peer *c, const unsigned char **data, size_t *len,
                                      const char **reply) {
    static const char head[] = "{\"event\":\"m\",\"data\":{", text[] = "\"text\":\"",
                      tail[] = "},\"room\":\"bench\"}";
    const unsigned char *at = *data, *const end = *data + *len, *found = NULL;
    size_t found_len = 0;
    unsigned seen = 0;
    (void)reply;
    if (!begins(at, *len, head))
        unexpected(c, *data, *len);
    for (at += sizeof head - 2; at < end && (*at == ',' || *at == '{');) {
        const size_t left = (size_t)(end - ++at);
        size_t field = known_field(at, left, &seen);
        if (field == 0 && !found && begins(at, left, text)) {
            found = at + sizeof text - 1;
            const unsigned char *quote = memchr(found, '"', (size_t)(end - found));
            found_len = quote ? (size_t)(quote - found) : 0;
            field = sizeof text + found_len;
        }
        if (field == 0)
            fail("connection %u: a field too many, or another value: \"%.*s\"", c->id,
                 left < 40 ? (int)left : 40, at);
        at += field;
    }
    if (at > end || (size_t)(end - at) != sizeof tail - 1 ||
        memcmp(at, tail, sizeof tail - 1) != 0 || seen != (1U << FIELD_COUNT) - 1 || !found)
        fail("connection %u: a field is missing, or another end: \"%.*s\"", c->id, (int)*len,
             *data);
    *data = found;
    *len = found_len;
    return ENVELOPE_MESSAGE;
}

const struct envelope envelope_json = {JSON_HEAD, JSON_TAIL, false, take_json};
