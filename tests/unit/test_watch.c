/* Watching files: however an editor writes them, once per burst, and those files alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "script/watch.h"

static uv_loop_t loop;
static struct watch *watch;
static char dir[64];
static int changes;

static const char *in_dir(const char *name) {
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
    return path;
}

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(in_dir(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void on_change(void *data) {
    (*(int *)data)++;
    uv_stop(&loop);
}

static void wait_for(const int *counter, int value) {
    while (*counter < value) {
        uv_run(&loop, UV_RUN_ONCE);
    }
    assert_int_equal(*counter, value);
}

static int open_watch(void **state) {
    (void)state;
    strcpy(dir, "/tmp/moonwire-watch-XXXXXX");
    assert_non_null(mkdtemp(dir));
    changes = 0;
    uv_loop_init(&loop);
    write_file("app.lua", "1");
    assert_int_equal(watch_new(&watch, &loop, 10, on_change, &changes), 0);
    assert_int_equal(watch_add(watch, in_dir("app.lua")), 0);
    return 0;
}

static int close_watch(void **state) {
    (void)state;
    char command[128];
    watch_free(watch);
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {
    }
    assert_int_equal(uv_loop_close(&loop), 0);
    snprintf(command, sizeof(command), "rm -r '%s'", dir);
    assert_int_equal(system(command), 0);
    return 0;
}

static void sees_a_file_written_in_place(void **state) {
    (void)state;
    write_file("app.lua", "2");
    wait_for(&changes, 1);
    write_file("app.lua", "3");
    wait_for(&changes, 2);
}

static void sees_a_file_renamed_over_it(void **state) {
    (void)state;
    for (int i = 1; i <= 3; i++) {
        write_file("app.lua.swp", "new");
        assert_int_equal(rename(in_dir("app.lua.swp"), in_dir("app.lua")), 0);
        wait_for(&changes, i);
    }
}

static void sees_a_file_moved_away_and_written_anew(void **state) {
    (void)state;
    assert_int_equal(rename(in_dir("app.lua"), in_dir("app.lua~")), 0);
    write_file("app.lua", "new");
    wait_for(&changes, 1);
}

static void sees_a_file_that_was_not_there(void **state) {
    (void)state;
    assert_int_equal(watch_add(watch, in_dir("later.lua")), 0);
    write_file("later.lua", "here");
    wait_for(&changes, 1);
}

static void a_burst_is_one_change(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) {
        write_file("app.lua", "burst");
    }
    wait_for(&changes, 1);
    write_file("app.lua", "again");
    wait_for(&changes, 2);
}

/* Two watches of one folder hear of the same events: when the second has called, the first would
 * have. */
static void other_files_are_not_its_business(void **state) {
    (void)state;
    int others = 0;
    struct watch *other;
    assert_int_equal(watch_new(&other, &loop, 10, on_change, &others), 0);
    assert_int_equal(watch_add(other, in_dir("other.lua")), 0);
    write_file("other.lua", "1");
    wait_for(&others, 1);
    assert_int_equal(changes, 0);
    watch_free(other);
}

static void watches_what_it_was_told_last(void **state) {
    (void)state;
    for (int i = 1; i <= 3; i++) {
        watch_clear(watch);
        assert_int_equal(watch_add(watch, in_dir("app.lua")), 0);
        write_file("app.lua", "2");
        wait_for(&changes, i);
    }
    int others = 0;
    struct watch *other;
    assert_int_equal(watch_new(&other, &loop, 10, on_change, &others), 0);
    assert_int_equal(watch_add(other, in_dir("app.lua")), 0);
    watch_clear(watch);
    write_file("app.lua", "3");
    wait_for(&others, 1);
    assert_int_equal(changes, 3);
    watch_clear(watch); /* closes the folder */
    assert_int_equal(watch_add(watch, in_dir("app.lua")), 0);
    write_file("app.lua", "4");
    wait_for(&changes, 4);
    watch_free(other);
}

/* A change between the two is not missed. */
static void loses_nothing_while_it_changes(void **state) {
    (void)state;
    write_file("app.lua", "2");
    watch_clear(watch);
    assert_int_equal(watch_add(watch, in_dir("app.lua")), 0);
    wait_for(&changes, 1);
}

static void follows_a_link(void **state) {
    (void)state;
    char elsewhere[] = "/tmp/moonwire-watch-XXXXXX";
    char target[64];
    assert_non_null(mkdtemp(elsewhere));
    snprintf(target, sizeof(target), "%s/real.lua", elsewhere);
    FILE *file = fopen(target, "w");
    assert_int_equal(symlink(target, in_dir("link.lua")), 0);
    assert_int_equal(watch_add(watch, in_dir("link.lua")), 0);
    fputs("2", file);
    fclose(file);
    wait_for(&changes, 1);
    unlink(target);
    rmdir(elsewhere);
}

static void a_missing_folder_is_said(void **state) {
    (void)state;
    assert_int_equal(watch_add(watch, in_dir("nowhere/app.lua")), UV_ENOENT);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, open_watch, close_watch)
    const struct CMUnitTest tests[] = {
        TEST(sees_a_file_written_in_place),
        TEST(sees_a_file_renamed_over_it),
        TEST(sees_a_file_moved_away_and_written_anew),
        TEST(sees_a_file_that_was_not_there),
        TEST(a_burst_is_one_change),
        TEST(other_files_are_not_its_business),
        TEST(watches_what_it_was_told_last),
        TEST(loses_nothing_while_it_changes),
        TEST(follows_a_link),
        TEST(a_missing_folder_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
