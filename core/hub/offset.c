/* Offsets as text. What an offset means in a log is hub/history's business; called by that, and by
 * hub/replay for lists of them. */
#include "hub/offset.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool is_epoch_byte(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Digits without leading zeros, so that every offset has one text. */
static bool read_sequence(uint64_t *sequence, struct span digits) {
    uint64_t value = 0;
    if (digits.len == 0 || (digits.len > 1 && digits.at[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < digits.len; i++) {
        unsigned digit = (unsigned char)digits.at[i] - (unsigned)'0';
        if (digit > 9 || value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *sequence = value;
    return true;
}

bool offset_read(struct offset *o, struct span text) {
    if (text.len < EPOCH_LEN + 2 || text.at[EPOCH_LEN] != ':') {
        return false;
    }
    for (size_t i = 0; i < EPOCH_LEN; i++) {
        if (!is_epoch_byte(text.at[i])) {
            return false;
        }
    }
    o->epoch = (struct span){text.at, EPOCH_LEN};
    return read_sequence(&o->sequence,
                         (struct span){text.at + EPOCH_LEN + 1, text.len - EPOCH_LEN - 1});
}

struct span offset_write(char text[OFFSET_MAX], const char *epoch, uint64_t sequence) {
    int len = snprintf(text, OFFSET_MAX, "%s:%" PRIu64, epoch, sequence);
    return (struct span){text, (size_t)len};
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

bool offset_next(struct span *list, struct span *entry) {
    while (list->len) {
        const char *comma = memchr(list->at, ',', list->len);
        size_t len = comma ? (size_t)(comma - list->at) : list->len;
        *entry = (struct span){list->at, len};
        list->at += comma ? len + 1 : len;
        list->len -= comma ? len + 1 : len;
        while (entry->len && is_blank(entry->at[0])) {
            entry->at++;
            entry->len--;
        }
        while (entry->len && is_blank(entry->at[entry->len - 1])) {
            entry->len--;
        }
        if (entry->len) {
            return true;
        }
    }
    return false;
}
