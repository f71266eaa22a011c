/* Packets of a recovery log, which may come from a disk: what is read is, written again, the same
 * bytes. */
#include "hub/packet.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static void put_list(struct writer *out, struct packet_list texts) {
    size_t list = packet_list_begin(out);
    struct span text;
    while (packet_list_next(&texts, &text)) {
        packet_list_add(out, list, text);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    /* A copy of its own size, so that a step beyond it is seen. */
    char *copy = malloc(size ? size : 1);
    if (copy == NULL)
        abort();
    if (size)
        memcpy(copy, data, size);
    struct packet p;
    if (packet_read(&p, (struct span){copy, size})) {
        struct writer out = {0};
        packet_put(&out, &p.message, p.target);
        put_list(&out, p.names);
        put_list(&out, p.except_ids);
        put_list(&out, p.except_rooms);
        if (!span_equal(writer_span(&out), (struct span){copy, size}))
            abort();
        writer_deinit(&out);
    }
    free(copy);
    return 0;
}
