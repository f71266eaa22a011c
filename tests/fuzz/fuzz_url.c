/* Paths, queries and lists: nothing is read beyond the bytes given, a path cannot climb or hide a
 * NUL, and decoding never grows. */
#include "http/url.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void expect(bool condition) {
    if (!condition)
        abort();
}

static void check_path(const uint8_t *data, size_t size) {
    char *path = malloc(size + 1);
    if (size)
        memcpy(path, data, size);
    long len = url_path(path, size);
    if (len >= 0) {
        expect((size_t)len <= size && len > 0 && path[0] == '/');
        expect(!memchr(path, '\0', (size_t)len));
        for (long at = 0; at < len; at++) { /* No segment is "." or "..". */
            long end = at + 1;
            while (end < len && path[end] != '/')
                end++;
            expect(path[at] != '/' || !(end - at == 2 && path[at + 1] == '.'));
            expect(path[at] != '/' ||
                   !(end - at == 3 && path[at + 1] == '.' && path[at + 2] == '.'));
        }
    }
    free(path);
}

static void check_walks(struct span all) {
    struct span rest = all;
    struct span key;
    struct span value;
    struct writer out = {0};
    while (query_next(&rest, &key, &value)) {
        expect(key.at >= all.at && value.at + value.len <= all.at + all.len);
        size_t before = writer_len(&out);
        if (url_decode(&out, value, true))
            expect(writer_len(&out) - before <= value.len);
        else
            expect(writer_len(&out) == before);
    }
    writer_deinit(&out);
    rest = all;
    while (list_next(&rest, &key)) {
        expect(key.len && key.at >= all.at && key.at + key.len <= all.at + all.len);
        expect(span_equal(span_trim(key), key) && !memchr(key.at, ',', key.len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    check_path(data, size);
    check_walks((struct span){(const char *)data, size});
    return 0;
}
