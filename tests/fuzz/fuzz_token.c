/* Signed tokens: what is taken apart is, put together again, the same text, so that no two texts
 * are the same token. */
#include "base/random.h"
#include "base/token.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void expect(bool condition) {
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* A copy of its own size, so that a step beyond it is seen. */
    char *copy = malloc(size ? size : 1);
    expect(copy != NULL);
    if (size)
        memcpy(copy, data, size);
    struct span text = {copy, size};
    struct writer decoded = {NULL};
    struct token token;
    if (token_read(&token, text, &decoded) == NULL) {
        struct writer again = {NULL};
        struct span parts[] = {token.header, token.payload};
        for (int i = 0; i < 2; i++) {
            char *at = writer_reserve(&again, parts[i].len * 2 + 4);
            writer_advance(&again, base64url_encode(at, parts[i].at, parts[i].len));
            writer_putc(&again, '.');
        }
        writer_put_span(&again, token.signature);
        expect(span_equal(writer_span(&again), text));
        writer_deinit(&again);
    }
    writer_deinit(&decoded);
    free(copy);
    return 0;
}
