/* proto/eio_gzip: who takes gzip, and round trips against zlib itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "proto/eio_gzip.h"

static void who_takes_it(void **state) {
    (void)state;
    static const char *const yes[] = {"gzip",
                                      "GZip",
                                      "br, gzip",
                                      "deflate , gzip;q=0.5",
                                      "gzip;q=1",
                                      "gzip ; q=0.001",
                                      "*",
                                      "identity, *;q=0.1",
                                      ",gzip,",
                                      "*;q=0, gzip",
                                      "identity;q=0,gzip"};
    static const char *const no[] = {
        "",      "br",         "gzipped",     "deflate, br", "gzip;q=0", "gzip; q=0.000",
        "*;q=0", "x, *;q=0.0", "gzip;q=0, *", "*, gzip;q=0", "identity", "gzip;q="};
    assert_false(eio_gzip_accepted((struct span){0}));
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        assert_true(eio_gzip_accepted(span_of(yes[i])));
    }
    for (size_t i = 0; i < sizeof no / sizeof *no; i++) {
        assert_false(eio_gzip_accepted(span_of(no[i])));
    }
}

/* zlib must read the plain bytes out of the packed ones, to the last. */
static void check(struct eio_gzip **gzip, struct span plain) {
    struct buf *packed = eio_gzip_pack(gzip, plain);
    char *back = malloc(plain.len + 1);
    z_stream z = {0};
    assert_non_null(packed);
    assert_true(packed->len < plain.len);
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK);
    z.next_in = (Bytef *)packed->bytes;
    z.avail_in = (uInt)packed->len;
    z.next_out = (Bytef *)back;
    z.avail_out = (uInt)plain.len + 1;
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.avail_in, 0);
    assert_int_equal(z.total_out, plain.len);
    assert_memory_equal(back, plain.at, plain.len);
    inflateEnd(&z);
    free(back);
    buf_unref(packed);
}

static void packs(void **state) {
    (void)state;
    struct eio_gzip *gzip = NULL;
    struct writer text = {0};
    for (int i = 0; i < 20000; i++) {
        writer_printf(&text, "4%d\x1e", i * 7919);
        if (i == 200 || i == 5000) {
            check(&gzip, writer_span(&text));
        }
    }
    check(&gzip, writer_span(&text));
    writer_deinit(&text);
    eio_gzip_free(gzip);
}

/* What cannot get shorter is left alone, and the next is packed as if nothing had been. */
static void gives_up(void **state) {
    (void)state;
    struct eio_gzip *gzip = NULL;
    char noise[4096];
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof noise; i++) {
        random = random * 1664525 + 1013904223;
        noise[i] = (char)(random >> 24);
    }
    assert_null(eio_gzip_pack(&gzip, (struct span){noise, sizeof noise}));
    assert_null(eio_gzip_pack(&gzip, SPAN("")));
    memset(noise, 'x', sizeof noise);
    check(&gzip, (struct span){noise, sizeof noise});
    eio_gzip_free(gzip);
    eio_gzip_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_takes_it),
        cmocka_unit_test(packs),
        cmocka_unit_test(gives_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
