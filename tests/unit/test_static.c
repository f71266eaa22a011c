/* Static files: types, conditions, ranges, large files under a slow reader, and every way out of
 * the folder that does not lead out. */
#include "http/static.h"

#include "http/file.h"
#include "http_fixture.h"
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* A folder with a site in it and a secret beside that. */
struct folder {
    char root[PATH_MAX]; /* the temporary folder */
    char public[PATH_MAX + 16];
    struct static_mount mounts[3];
    size_t count;
    struct site s;
};

static const char *in(const struct folder *f, const char *name) {
    static char path[2 * PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", f->root, name);
    return path;
}

static void write_file(const struct folder *f, const char *name, const char *text) {
    FILE *file = fopen(in(f, name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void make_files(struct folder *f) {
    static const char *const folders[] = {
        "public",        "public/sub",    "public/empty", "public/.git", "public/.well-known",
        "public-secret", "public/a b<c>", "other"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_int_equal(mkdir(in(f, folders[i]), 0755), 0);
    write_file(f, "secret.txt", "SECRET");
    write_file(f, "public-secret/x.txt", "SECRET");
    write_file(f, "public/index.html", "<p>home");
    write_file(f, "public/a.txt", "0123456789");
    write_file(f, "public/app.js", "1");
    write_file(f, "public/none", "");
    write_file(f, "public/sub/index.html", "<p>sub");
    write_file(f, "public/a b<c>/index.html", "<p>odd");
    write_file(f, "public/.env", "SECRET");
    write_file(f, "public/.git/config", "SECRET");
    write_file(f, "public/.well-known/x.txt", "known");
    write_file(f, "other/b.txt", "other");
    write_file(f, "other/a.txt", "shadow");
    char *public = strdup(in(f, "public/a.txt"));
    assert_int_equal(symlink("../secret.txt", in(f, "public/relative.txt")), 0);
    assert_int_equal(symlink("/etc/passwd", in(f, "public/absolute.txt")), 0);
    assert_int_equal(symlink("..", in(f, "public/up")), 0);
    assert_int_equal(symlink("../public-secret", in(f, "public/twin")), 0);
    assert_int_equal(symlink("a.txt", in(f, "public/inside.txt")), 0);
    assert_int_equal(symlink(public, in(f, "public/inside-absolute.txt")), 0);
    assert_int_equal(symlink("../../secret.txt", in(f, "public/empty/index.html")), 0);
    assert_int_equal(symlink("loop", in(f, "public/loop")), 0);
    assert_int_equal(symlink("/dev/zero", in(f, "public/zero")), 0);
    assert_int_equal(mkfifo(in(f, "public/fifo"), 0644), 0);
    free(public);
}

static void answer_not_found(struct exchange *x, void *data) {
    (void)data;
    response_text(x, 404, "nothing here");
}

static void answer_static(struct exchange *x, void *data) {
    struct folder *f = data;
    static_serve(x, f->mounts, f->count, answer_not_found, NULL);
}

static void folder_init(struct folder *f) {
    char template[] = "/tmp/moonwire-static-XXXXXX";
    memset(f, 0, sizeof *f);
    assert_non_null(mkdtemp(template));
    assert_non_null(realpath(template, f->root));
    snprintf(f->public, sizeof f->public, "%s/public", f->root);
    make_files(f);
    f->mounts[f->count++] = (struct static_mount){"/", f->public};
    site_init(&f->s);
    f->s.answer = answer_static;
    f->s.data = f;
    site_start(&f->s);
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *ftw) {
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static void folder_deinit(struct folder *f) {
    site_deinit(&f->s);
    nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static const char *ask(struct folder *f, const char *method, const char *target,
                       const char *fields) {
    char request[1024];
    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: a\r\n%s\r\n", method, target,
             fields);
    return site_ask(&f->s, request);
}

static const char *get(struct folder *f, const char *target) {
    return ask(f, "GET", target, "");
}

static void test_files_and_types(void **state) {
    (void)state;
    struct folder f;
    folder_init(&f);
    const char *answer = get(&f, "/a.txt?v=1");
    assert_int_equal(answer_status(answer), 200);
    assert_string_equal(answer_body(answer), "0123456789");
    assert_string_equal(answer_field(answer, "Content-Type"), "text/plain; charset=utf-8");
    assert_string_equal(answer_field(answer, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(answer_field(get(&f, "/app.js"), "Content-Type"),
                        "text/javascript; charset=utf-8");
    answer = get(&f, "/");
    assert_string_equal(answer_body(answer), "<p>home");
    assert_string_equal(answer_field(answer, "Content-Type"), "text/html; charset=utf-8");
    assert_string_equal(answer_body(get(&f, "/sub/")), "<p>sub");
    assert_string_equal(answer_body(get(&f, "/sub/../a.txt")), "0123456789");
    assert_string_equal(answer_body(get(&f, "//a.txt")), "0123456789");
    assert_string_equal(answer_body(get(&f, "/.well-known/x.txt")), "known");
    answer = get(&f, "/none");
    assert_string_equal(answer_field(answer, "Content-Length"), "0");
    assert_string_equal(answer_field(answer, "Content-Type"), "application/octet-stream");
    assert_int_equal(answer_status(get(&f, "/missing")), 404);
    assert_int_equal(answer_status(get(&f, "/a.txt/")), 404);
    assert_string_equal(file_type("x.tar/name"), "application/octet-stream");
    assert_string_equal(file_type("LOGO.PNG"), "image/png");
    folder_deinit(&f);
}

static void test_folders_redirect_to_their_slash(void **state) {
    (void)state;
    struct folder f;
    folder_init(&f);
    const char *answer = get(&f, "/sub?x=1");
    assert_int_equal(answer_status(answer), 301);
    assert_string_equal(answer_field(answer, "Location"), "/sub/?x=1");
    assert_string_equal(answer_field(get(&f, "/a%20b%3cc%3e"), "Location"), "/a%20b%3Cc%3E/");
    /* Two slashes in front would be the name of another host. */
    assert_string_equal(answer_field(get(&f, "//sub"), "Location"), "/sub/");
    assert_int_equal(answer_status(get(&f, "/.well-known/")), 404); /* no index there */
    folder_deinit(&f);
}

static void test_no_way_out(void **state) {
    (void)state;
    static const char *const targets[] = {
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/....//secret.txt",
        "/relative.txt",
        "/absolute.txt",
        "/up/secret.txt",
        "/up/",
        "/up",
        "/twin/x.txt",
        "/empty/",
        "/loop",
        "/zero",
        "/fifo",
        "/.env",
        "/.git/config",
        "/sub/../.git/config",
        "/.git//config",
        "//.env",
        "/.well-known/../.env",
        "/../public-secret/x.txt",
        "/%2e%2e/public-secret/x.txt",
    };
    struct folder f;
    folder_init(&f);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        const char *answer = get(&f, targets[i]);
        if (answer_status(answer) != 404)
            fail_msg("%d for %s", answer_status(answer), targets[i]);
        assert_null(strstr(answer, "SECRET"));
    }
    assert_int_equal(answer_status(get(&f, "/a.txt%00.html")), 400);
    site_connect(&f.s);
    assert_string_equal(answer_body(get(&f, "/inside.txt")), "0123456789");
    assert_string_equal(answer_body(get(&f, "/inside-absolute.txt")), "0123456789");
    char target[1500]; /* A name too long for the file system. */
    memset(target, 'x', sizeof target);
    target[0] = '/';
    target[900] = '\0';
    assert_int_equal(answer_status(get(&f, target)), 404);
    folder_deinit(&f);
}

static void test_methods(void **state) {
    (void)state;
    struct folder f;
    folder_init(&f);
    remote_sends(f.s.client, "HEAD /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    RUN_UNTIL(&f.s.f, remote_has(f.s.client, "\r\n\r\n"));
    const char *answer = remote_text(f.s.client);
    assert_string_equal(answer_field(answer, "Content-Length"), "10");
    assert_string_equal(answer_body(answer), "");
    answer = ask(&f, "POST", "/a.txt", "");
    assert_int_equal(answer_status(answer), 405);
    assert_string_equal(answer_field(answer, "Allow"), "GET, HEAD");
    assert_int_equal(answer_status(ask(&f, "POST", "/missing", "")), 404);
    folder_deinit(&f);
}

static void test_conditions(void **state) {
    (void)state;
    struct folder f;
    char fields[256];
    char etag[64];
    char modified[64];
    folder_init(&f);
    const char *answer = get(&f, "/a.txt");
    snprintf(etag, sizeof etag, "%s", answer_field(answer, "ETag"));
    snprintf(modified, sizeof modified, "%s", answer_field(answer, "Last-Modified"));
    assert_int_equal(etag[0], '"');
    snprintf(fields, sizeof fields, "If-None-Match: \"x\", W/%s\r\n", etag);
    answer = ask(&f, "GET", "/a.txt", fields);
    assert_int_equal(answer_status(answer), 304);
    assert_string_equal(answer_field(answer, "ETag"), etag);
    assert_string_equal(answer_body(answer), "");
    assert_int_equal(answer_status(ask(&f, "GET", "/a.txt", "If-None-Match: *\r\n")), 304);
    snprintf(fields, sizeof fields, "If-Modified-Since: %s\r\n", modified);
    assert_int_equal(answer_status(ask(&f, "GET", "/a.txt", fields)), 304);
    snprintf(fields, sizeof fields, "If-None-Match: \"x\"\r\nIf-Modified-Since: %s\r\n", modified);
    assert_int_equal(answer_status(ask(&f, "GET", "/a.txt", fields)), 200); /* The tag decides. */
    assert_int_equal(answer_status(ask(&f, "GET", "/a.txt",
                                       "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n")),
                     200);
    assert_int_equal(answer_status(ask(&f, "GET", "/a.txt", "If-Modified-Since: soon\r\n")), 200);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1, .tv_nsec = 2}};
    assert_int_equal(utimensat(AT_FDCWD, in(&f, "public/a.txt"), times, 0), 0);
    assert_string_not_equal(answer_field(get(&f, "/a.txt"), "ETag"), etag);
    folder_deinit(&f);
}

static void range_is(struct folder *f, const char *range, int status, const char *content_range,
                     const char *body) {
    char fields[128];
    snprintf(fields, sizeof fields, "Range: %s\r\n", range);
    const char *answer = ask(f, "GET", "/a.txt", fields);
    if (answer_status(answer) != status)
        fail_msg("%d for %s", answer_status(answer), range);
    assert_string_equal(answer_field(answer, "Content-Range"), content_range);
    assert_string_equal(answer_body(answer), body);
}

static void test_ranges(void **state) {
    (void)state;
    struct folder f;
    folder_init(&f);
    range_is(&f, "bytes=2-4", 206, "bytes 2-4/10", "234");
    range_is(&f, "bytes=0-0", 206, "bytes 0-0/10", "0");
    range_is(&f, "Bytes=7-", 206, "bytes 7-9/10", "789");
    range_is(&f, "bytes=7-99", 206, "bytes 7-9/10", "789");
    range_is(&f, "bytes=-3", 206, "bytes 7-9/10", "789");
    range_is(&f, "bytes=-99", 206, "bytes 0-9/10", "0123456789");
    range_is(&f, "bytes=10-", 416, "bytes */10", "");
    range_is(&f, "bytes=-0", 416, "bytes */10", "");
    range_is(&f, "bytes=4-2", 200, "", "0123456789");
    range_is(&f, "bytes=1-2,4-5", 200, "", "0123456789");
    range_is(&f, "bytes=", 200, "", "0123456789");
    range_is(&f, "bytes=-", 200, "", "0123456789");
    range_is(&f, "bytes=a-b", 200, "", "0123456789");
    range_is(&f, "bytes=99999999999999999999-", 200, "", "0123456789");
    range_is(&f, "lines=1-2", 200, "", "0123456789");
    char fields[256];
    char etag[64];
    snprintf(etag, sizeof etag, "%s", answer_field(get(&f, "/a.txt"), "ETag"));
    snprintf(fields, sizeof fields, "Range: bytes=1-2\r\nIf-Range: %s\r\n", etag);
    assert_int_equal(answer_status(ask(&f, "GET", "/a.txt", fields)), 206);
    snprintf(fields, sizeof fields, "Range: bytes=1-2\r\nIf-Range: \"old\"\r\n");
    assert_int_equal(answer_status(ask(&f, "GET", "/a.txt", fields)), 200);
    assert_int_equal(answer_status(ask(&f, "GET", "/none", "Range: bytes=0-\r\n")), 416);
    folder_deinit(&f);
}

static void test_longest_prefix_first_then_the_next(void **state) {
    (void)state;
    struct folder f;
    folder_init(&f);
    char *other = strdup(in(&f, "other"));
    f.mounts[f.count++] = (struct static_mount){"/app", other};
    assert_string_equal(answer_body(get(&f, "/app/b.txt")), "other");
    assert_string_equal(answer_body(get(&f, "/app/a.txt")), "shadow");
    assert_string_equal(answer_field(get(&f, "/app"), "Location"), "/app/");
    assert_int_equal(mkdir(in(&f, "public/app"), 0755), 0);
    write_file(&f, "public/app/c.txt", "from the root");
    assert_string_equal(answer_body(get(&f, "/app/c.txt")), "from the root");
    assert_int_equal(answer_status(get(&f, "/apple.txt")), 404);
    f.count = 0;
    assert_int_equal(answer_status(get(&f, "/a.txt")), 404);
    folder_deinit(&f);
    free(other);
}

#define LARGE (10 << 20)

static char *make_large(struct folder *f) {
    char *bytes = malloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (char)('a' + (i >> 9) % 26);
    FILE *file = fopen(in(f, "public/large.bin"), "w");
    assert_int_equal(fwrite(bytes, 1, LARGE, file), LARGE);
    fclose(file);
    return bytes;
}

static void test_large_files_wait_for_their_reader(void **state) {
    (void)state;
    struct folder f;
    folder_init(&f);
    char *bytes = make_large(&f);
    f.s.f.config.hard_limit = 1 << 20;
    remote_read(f.s.client, false);
    remote_sends(f.s.client, "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    RUN_UNTIL(&f.s.f, f.s.f.metrics.bytes_sent > 0);
    remote_read(f.s.client, true);
    RUN_UNTIL(&f.s.f, writer_len(&f.s.client->received) > LARGE);
    const char *body = answer_body(remote_text(f.s.client));
    assert_memory_equal(body, bytes, LARGE);
    const char *answer = ask(&f, "GET", "/large.bin", "Range: bytes=5000000-5199999\r\n");
    assert_int_equal(answer_status(answer), 206);
    assert_memory_equal(answer_body(answer), bytes + 5000000, 200000);
    free(bytes);
    folder_deinit(&f);
}

static void test_reader_that_goes_away_leaves_nothing_behind(void **state) {
    (void)state;
    struct folder f;
    folder_init(&f);
    free(make_large(&f));
    for (int i = 0; i < 5; i++) {
        remote_read(f.s.client, false);
        remote_sends(f.s.client, "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
        uint64_t sent = f.s.f.metrics.bytes_sent;
        RUN_UNTIL(&f.s.f, f.s.f.metrics.bytes_sent > sent);
        remote_reset(f.s.client);
        RUN_UNTIL(&f.s.f, f.s.f.metrics.connections == 0);
        site_connect(&f.s);
    }
    remote_sends(f.s.client, "GET /a.txt HTTP/1.1\r\nHost: a\r\n\r\n");
    RUN_UNTIL(&f.s.f, f.s.requests == 6); /* The job is in the thread pool at this moment. */
    remote_reset(f.s.client);
    folder_deinit(&f);
}

static void test_file_that_shrinks_breaks_the_connection(void **state) {
    (void)state;
    struct folder f;
    folder_init(&f);
    free(make_large(&f));
    remote_read(f.s.client, false);
    remote_sends(f.s.client, "GET /large.bin HTTP/1.1\r\nHost: a\r\n\r\n");
    RUN_UNTIL(&f.s.f, f.s.f.metrics.bytes_sent > 0);
    assert_int_equal(truncate(in(&f, "public/large.bin"), 70000), 0);
    remote_read(f.s.client, true);
    RUN_UNTIL(&f.s.f, f.s.client->ended);
    assert_true(writer_len(&f.s.client->received) < LARGE);
    folder_deinit(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_and_types),
        cmocka_unit_test(test_folders_redirect_to_their_slash),
        cmocka_unit_test(test_no_way_out),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_longest_prefix_first_then_the_next),
        cmocka_unit_test(test_large_files_wait_for_their_reader),
        cmocka_unit_test(test_reader_that_goes_away_leaves_nothing_behind),
        cmocka_unit_test(test_file_that_shrinks_breaks_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
