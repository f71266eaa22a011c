/* Records of messages: what is read lies within the record, and is written the same again. */
#include "hub/attachments.h"
#include "hub/record.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void expect(bool condition) {
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span bytes = {(const char *)data, size};
    struct message m;
    if (!record_read(&m, bytes))
        return 0;
    size_t used = 0;
    struct span rest = m.attachments;
    struct span value;
    while (attachments_next(&rest, &value))
        used += value.len + sizeof(size_t);
    expect(used == m.attachments.len);
    struct writer again = {0};
    record_write(&again, &m);
    expect(span_equal(writer_span(&again), bytes));
    writer_deinit(&again);
    return 0;
}
