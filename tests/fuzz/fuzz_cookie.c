/* The Cookie field: pairs lie within the field, have a name, and are trimmed. */
#include "http/url.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void expect(bool condition) {
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span all = {(const char *)data, size};
    struct span rest = all;
    struct span name;
    struct span value;
    while (cookie_next(&rest, &name, &value)) {
        expect(name.len && name.at >= all.at && name.at + name.len <= all.at + all.len);
        expect(value.at >= all.at && value.at + value.len <= all.at + all.len);
        expect(span_equal(span_trim(name), name));
        expect(!memchr(name.at, '=', name.len) && !memchr(value.at, ';', value.len));
        expect(rest.at + rest.len == all.at + all.len);
    }
    expect(!rest.len);
    return 0;
}
