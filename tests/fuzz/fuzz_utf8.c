/* Fuzzes base/utf8: a text checked whole, byte by byte and in two pieces gets one answer, and a
 * piece fails exactly where no continuation could be valid. */
#include <assert.h>
#include <stdlib.h>

#include "base/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Where feeding byte by byte fails, or size. */
static size_t feed_bytes(const char *text, size_t size, bool *done) {
    struct utf8_state s = {0};
    for (size_t i = 0; i < size; i++) {
        if (!utf8_feed(&s, text + i, 1)) {
            return i;
        }
    }
    *done = utf8_done(&s);
    return size;
}

/* The first byte of the first bad character is never past the failing byte, and the characters
 * before it are whole. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data;
    bool done = false;
    size_t failed = feed_bytes(text, size, &done);
    bool valid = utf8_valid(text, size);
    assert(valid == (failed == size && done));

    size_t whole = 0, len;
    while (whole < size && (len = utf8_length(text + whole, size - whole)) != 0) {
        whole += len;
    }
    assert((whole == size) == valid);
    assert(utf8_valid(text, whole));
    assert(whole <= failed && failed - whole < 4);

    for (size_t cut = 0; cut <= size && cut < 40; cut++) {
        struct utf8_state s = {0};
        bool first = utf8_feed(&s, text, cut);
        assert(first == (cut <= failed));
        bool second = utf8_feed(&s, text + cut, size - cut);
        assert(second == (failed == size));
        assert(!second || utf8_done(&s) == done);
    }
    return 0;
}
