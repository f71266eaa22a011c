/* Packs and unpacks binary values (attachments.h). They are made by us, from what a transport or
 * Lua has; what was on disk meanwhile is looked at first. */
#include "hub/attachments.h"

#include "base/random.h"

#include <string.h>

void attachments_put(struct writer *packed, struct span bytes) {
    writer_put(packed, &bytes.len, sizeof bytes.len);
    writer_put_span(packed, bytes);
}

bool attachments_next(struct span *packed, struct span *bytes) {
    size_t len;
    if (packed->len < sizeof len) {
        return false;
    }
    memcpy(&len, packed->at, sizeof len);
    *bytes = (struct span){packed->at + sizeof len, len};
    size_t used = sizeof len + len;
    *packed = (struct span){packed->at + used, packed->len - used};
    return true;
}

bool attachments_valid(struct span packed) {
    size_t len;
    while (packed.len >= sizeof len) {
        memcpy(&len, packed.at, sizeof len);
        if (len > packed.len - sizeof len) {
            return false;
        }
        packed.at += sizeof len + len;
        packed.len -= sizeof len + len;
    }
    return packed.len == 0;
}

uint32_t attachments_count(struct span packed) {
    struct span bytes;
    uint32_t count = 0;
    while (attachments_next(&packed, &bytes)) {
        count++;
    }
    return count;
}

bool attachments_get(struct span packed, uint64_t number, struct span *bytes) {
    do {
        if (!attachments_next(&packed, bytes)) {
            return false;
        }
    } while (number-- != 0);
    return true;
}

static void put_string(struct writer *out, struct span bytes) {
    writer_putc(out, '"');
    char *at = writer_reserve(out, (bytes.len + 2) / 3 * 4);
    writer_advance(out, base64_encode(at, bytes.at, bytes.len));
    writer_putc(out, '"');
}

/* We have written the placeholders ourselves, so they are always the same bytes; and within a JSON
 * string their quotes would be escaped. */
void attachments_inline(struct writer *out, struct span json, struct span packed) {
    static const char mark[] = "{\"_placeholder\":true,\"num\":";
    const char *at = json.at;
    const char *end = json.at + json.len;
    const char *found;
    while (at < end && (found = memmem(at, (size_t)(end - at), mark, sizeof mark - 1))) {
        const char *digit = found + sizeof mark - 1;
        uint64_t number = 0;
        while (digit < end && *digit >= '0' && *digit <= '9' && number < ATTACHMENTS_MAX) {
            number = number * 10 + (uint64_t)(*digit++ - '0');
        }
        struct span bytes;
        if (digit < end && *digit == '}' && attachments_get(packed, number, &bytes)) {
            writer_put(out, at, (size_t)(found - at));
            put_string(out, bytes);
            at = digit + 1;
        } else {
            writer_put(out, at, (size_t)(digit - at));
            at = digit;
        }
    }
    writer_put(out, at, (size_t)(end - at));
}
