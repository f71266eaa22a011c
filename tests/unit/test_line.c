/* A client's line, without Lua: what runs at once, what is copied, and in which order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "script/line.h"

struct probe {
    struct line line; /* first */
    char seen[256];
    bool waits; /* items do not end by themselves */
    const char *borrowed;
    bool was_borrowed;
};

static void run(struct line *line, const struct item *item) {
    struct probe *p = (struct probe *)line;
    strncat(p->seen, item->name.at, item->name.len);
    strncat(p->seen, item->data.at, item->data.len);
    strcat(p->seen, " ");
    p->was_borrowed = item->name.at == p->borrowed;
    if (!p->waits) {
        line_done(line, run);
    }
}

static void push(struct probe *p, const char *name, const char *data) {
    struct item item = {.kind = ITEM_EVENT, .name = span_of(name), .data = span_of(data)};
    p->borrowed = name;
    line_push(&p->line, &item, run);
}

static void an_idle_line_runs_borrowed_bytes_at_once(void **state) {
    (void)state;
    struct probe p = {.waits = false};
    line_init(&p.line);
    push(&p, "a", "1");
    assert_string_equal(p.seen, "a1 ");
    assert_true(p.was_borrowed);
    push(&p, "b", "2");
    assert_string_equal(p.seen, "a1 b2 ");
    assert_false(p.line.busy);
    assert_int_equal(p.line.count, 0);
}

static void what_comes_while_one_waits_is_copied_and_kept_in_order(void **state) {
    (void)state;
    struct probe p = {.waits = true};
    char name[2] = "b", data[2] = "2";
    line_init(&p.line);
    push(&p, "a", "1");
    push(&p, name, data);
    name[0] = 'c';
    data[0] = '3';
    push(&p, name, data);
    name[0] = data[0] = '#';
    assert_string_equal(p.seen, "a1 ");
    assert_int_equal(p.line.count, 2);
    line_done(&p.line, run);
    assert_string_equal(p.seen, "a1 b2 ");
    assert_false(p.was_borrowed);
    line_done(&p.line, run);
    assert_string_equal(p.seen, "a1 b2 c3 ");
    line_done(&p.line, run);
    assert_false(p.line.busy);
}

static void count_only(struct line *line, const struct item *item) {
    (void)item;
    line_done(line, count_only);
}

static void a_long_queue_needs_no_deep_stack(void **state) {
    (void)state;
    struct probe p = {.waits = true};
    line_init(&p.line);
    push(&p, "a", "");
    for (int i = 0; i < 1000000; i++) {
        push(&p, "", "");
    }
    assert_int_equal(p.line.count, 1000000);
    line_done(&p.line, count_only);
    assert_false(p.line.busy);
    assert_int_equal(p.line.count, 0);
}

static void run_kept(struct line *line, const struct item *item) {
    struct probe *p = (struct probe *)line;
    const struct item *kept = line_keep(line, item);
    p->was_borrowed = kept->name.at == p->borrowed;
    assert_memory_equal(kept->name.at, item->name.at, item->name.len);
    /* Kept once, whoever asks. */
    assert_ptr_equal(line_keep(line, item), kept);
}

static void an_item_can_be_kept(void **state) {
    (void)state;
    struct probe p = {.waits = true};
    struct item item = {.kind = ITEM_EVENT, .name = SPAN("name"), .data = SPAN("data")};
    line_init(&p.line);
    p.borrowed = item.name.at;
    line_push(&p.line, &item, run_kept);
    assert_false(p.was_borrowed);
    line_done(&p.line, run_kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_idle_line_runs_borrowed_bytes_at_once),
        cmocka_unit_test(what_comes_while_one_waits_is_copied_and_kept_in_order),
        cmocka_unit_test(a_long_queue_needs_no_deep_stack),
        cmocka_unit_test(an_item_can_be_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
