/* Lua's allocator: contents survive every change of size, the sum is right, and the cap holds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script/alloc.h"

static const size_t sizes[] = {1, 15, 16, 17, 100, 511, 512, 513, 1000, 100000};
#define SIZES (sizeof(sizes) / sizeof(*sizes))

static void keeps_the_bytes(void **state) {
    (void)state;
    struct alloc *a = alloc_new(1 << 20);
    for (size_t i = 0; i < SIZES; i++) {
        for (size_t j = 0; j < SIZES; j++) {
            unsigned char *block = alloc_lua(a, NULL, 5, sizes[i]);
            assert_non_null(block);
            assert_int_equal((uintptr_t)block % 16, 0);
            memset(block, 0xa5, sizes[i]);
            block = alloc_lua(a, block, sizes[i], sizes[j]);
            assert_non_null(block);
            size_t kept = sizes[i] < sizes[j] ? sizes[i] : sizes[j];
            for (size_t k = 0; k < kept; k++) {
                assert_int_equal(block[k], 0xa5);
            }
            memset(block, 0x5a, sizes[j]);
            assert_null(alloc_lua(a, block, sizes[j], 0));
            assert_int_equal(alloc_used(a), 0);
        }
    }
    alloc_free(a);
}

static void blocks_do_not_overlap(void **state) {
    (void)state;
    enum { COUNT = 5000 };
    static unsigned char *blocks[COUNT];
    struct alloc *a = alloc_new(64 << 20);
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = i * 7 % 600 + 1;
        blocks[i] = alloc_lua(a, NULL, 0, size);
        assert_non_null(blocks[i]);
        memset(blocks[i], (int)(i % 251), size);
    }
    for (size_t i = 0; i < COUNT; i++) {
        size_t size = i * 7 % 600 + 1;
        assert_int_equal(blocks[i][0], i % 251);
        assert_int_equal(blocks[i][size - 1], i % 251);
        alloc_lua(a, blocks[i], size, 0);
    }
    assert_int_equal(alloc_used(a), 0);
    alloc_free(a);
}

static void uses_freed_blocks_again(void **state) {
    (void)state;
    struct alloc *a = alloc_new(1 << 20);
    void *first = alloc_lua(a, NULL, 0, 40);
    alloc_lua(a, first, 40, 0);
    assert_ptr_equal(alloc_lua(a, NULL, 0, 48), first);
    alloc_lua(a, first, 48, 0);
    alloc_free(a);
}

static void the_cap_is_exact(void **state) {
    (void)state;
    struct alloc *a = alloc_new(4096);
    void *block = alloc_lua(a, NULL, 0, 4096);
    assert_non_null(block);
    assert_null(alloc_lua(a, NULL, 0, 1));
    assert_null(alloc_lua(a, block, 4096, 4097));
    block = alloc_lua(a, block, 4096, 4080); /* shrinking always works */
    assert_non_null(block);
    void *small = alloc_lua(a, NULL, 0, 16);
    assert_non_null(small);
    assert_int_equal(alloc_used(a), 4096);
    assert_null(alloc_lua(a, NULL, 0, SIZE_MAX - 8));
    alloc_lua(a, small, 16, 0);
    alloc_lua(a, block, 4080, 0);
    alloc_free(a);
}

static void the_reserve_is_there_when_asked_for(void **state) {
    (void)state;
    struct alloc *a = alloc_new(1024);
    void *block = alloc_lua(a, NULL, 0, 1024);
    assert_null(alloc_lua(a, NULL, 0, 100));
    alloc_use_reserve(a, true);
    void *more = alloc_lua(a, NULL, 0, 100);
    assert_non_null(more);
    alloc_use_reserve(a, false);
    assert_null(alloc_lua(a, NULL, 0, 16)); /* beyond the cap now, and no growth */
    alloc_lua(a, more, 100, 0);
    alloc_lua(a, block, 1024, 0);
    assert_int_equal(alloc_used(a), 0);
    alloc_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_the_bytes),
        cmocka_unit_test(blocks_do_not_overlap),
        cmocka_unit_test(uses_freed_blocks_again),
        cmocka_unit_test(the_cap_is_exact),
        cmocka_unit_test(the_reserve_is_there_when_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
