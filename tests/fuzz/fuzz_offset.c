/* Lists of offsets: entries lie within the list, and an offset that is read is written the same. */
#include "hub/offset.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void expect(bool condition) {
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span list = {(const char *)data, size};
    const char *end = list.at + size;
    struct span entry;
    while (offset_next(&list, &entry)) {
        struct offset o;
        expect(entry.len && entry.at >= (const char *)data && entry.at + entry.len <= end);
        expect(!memchr(entry.at, ',', entry.len) && list.at + list.len == end);
        if (offset_read(&o, entry)) {
            char epoch[EPOCH_LEN + 1];
            char text[OFFSET_MAX];
            memcpy(epoch, o.epoch.at, EPOCH_LEN);
            epoch[EPOCH_LEN] = '\0';
            expect(span_equal(offset_write(text, epoch, o.sequence), entry));
        }
    }
    expect(!list.len);
    return 0;
}
