/* base/slots: numbers are used again, and one that nobody has is answered with nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slots.h"

#define MANY 1000

static void free_numbers_are_used_again(void **state) {
    (void)state;
    struct slots slots = {0};
    int things[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        assert_int_equal(slots_add(&slots, &things[i]), i);
    }
    for (uint32_t i = 0; i < MANY; i += 2) {
        slots_remove(&slots, i);
        assert_null(slots_get(&slots, i));
    }
    assert_int_equal(slots_count(&slots), MANY / 2);
    for (uint32_t i = 0; i < MANY; i += 2) {
        uint32_t number = slots_add(&slots, &things[i]);
        assert_in_range(number, 0, MANY - 1);
        assert_ptr_equal(slots_get(&slots, number), &things[i]);
    }
    for (uint32_t i = 1; i < MANY; i += 2) {
        assert_ptr_equal(slots_get(&slots, i), &things[i]);
    }
    assert_int_equal(slots_count(&slots), MANY);
    slots_deinit(&slots);
}

static void any_number_may_be_asked_for(void **state) {
    (void)state;
    struct slots slots = {0};
    int thing;
    assert_null(slots_get(&slots, 0));
    assert_int_equal(slots_count(&slots), 0);
    slots_add(&slots, &thing);
    assert_null(slots_get(&slots, 1));
    assert_null(slots_get(&slots, UINT32_MAX));
    slots_deinit(&slots);
    assert_null(slots_get(&slots, 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(free_numbers_are_used_again),
        cmocka_unit_test(any_number_may_be_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
