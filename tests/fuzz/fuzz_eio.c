/* The body of a polling request, and a frame: the packets that are found in it are all of it, what
 * is binary comes back from its base64, and the same bytes as a field of a request say whether gzip
 * is taken, and go through it. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "proto/eio_codec.h"
#include "proto/eio_gzip.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good) {
    if (!good) {
        abort();
    }
}

static void read_one(struct span text) {
    struct eio_packet p, again;
    struct writer scratch = {0}, other = {0}, out = {0};
    if (eio_packet_read(&p, text, &scratch)) {
        require(p.type <= EIO_NOOP && (!p.binary || p.type == EIO_MESSAGE));
        require(p.binary == (text.at[0] == 'b'));
        if (p.binary) {
            eio_put_base64(&out, p.data);
            require(eio_packet_read(&again, writer_span(&out), &other));
            require(again.binary && span_equal(again.data, p.data));
        } else {
            require(p.data.len == text.len - 1);
        }
    } else {
        require(!text.len || text.at[0] == 'b' || text.at[0] < '0' || text.at[0] > '6');
    }
    writer_deinit(&scratch);
    writer_deinit(&other);
    writer_deinit(&out);
}

/* One after the other with the same deflater, as a worker does. */
static void pack(struct eio_gzip **gzip, struct span plain) {
    struct buf *packed = eio_gzip_pack(gzip, plain);
    if (!packed) {
        return;
    }
    char *back = malloc(plain.len + 1);
    z_stream z = {.next_in = (Bytef *)packed->bytes, .avail_in = (uInt)packed->len};
    z.next_out = (Bytef *)back;
    z.avail_out = (uInt)plain.len + 1;
    require(back && inflateInit2(&z, 15 + 16) == Z_OK);
    require(inflate(&z, Z_FINISH) == Z_STREAM_END && z.avail_in == 0 && z.avail_out == 1);
    require(packed->len <= plain.len && memcmp(back, plain.at, plain.len) == 0);
    inflateEnd(&z);
    free(back);
    buf_unref(packed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct eio_gzip *gzip = NULL;
    struct span whole = {(const char *)data, size};
    struct span rest = size ? whole : SPAN("");
    struct span packet;
    struct writer joined = {0};
    bool first = true;
    while (eio_payload_next(&rest, &packet)) {
        if (!first) {
            writer_putc(&joined, EIO_SEPARATOR);
        }
        first = false;
        writer_put_span(&joined, packet);
        read_one(packet);
    }
    require(writer_len(&joined) == size);
    require(!size || memcmp(writer_span(&joined).at, data, size) == 0);
    writer_deinit(&joined);
    (void)eio_gzip_accepted(whole);
    if (size >= 16 && size % 16 == 0) { /* not each time: a deflater is large */
        pack(&gzip, whole);
        pack(&gzip, (struct span){whole.at, size / 2});
        eio_gzip_free(gzip);
    }
    return 0;
}
