/* The Origin check, and CORS as browsers see it. */
#include "http/origin.h"

#include "http/response.h"
#include "http_fixture.h"
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct origins none = {0};

static bool allowed(const struct origins *origins, const char *origin, const char *host) {
    struct request_field fields[2] = {{SPAN("Host"), span_of(host)}};
    size_t count = 1;
    if (origin)
        fields[count++] = (struct request_field){SPAN("Origin"), span_of(origin)};
    struct request_parts parts = {SPAN("GET"), SPAN("/"), 1, false, "", fields, count};
    const char *error;
    struct request *r = request_new(&parts, &error);
    assert_non_null(r);
    bool result = origin_allowed(origins, r);
    request_unref(r);
    return result;
}

static void test_without_a_list_only_the_same_host(void **state) {
    (void)state;
    assert_true(allowed(&none, NULL, "a.example")); /* not a browser */
    assert_true(allowed(NULL, "http://a.example", "a.example"));
    assert_false(allowed(NULL, "http://b.example", "a.example"));
    assert_true(allowed(&none, "http://a.example", "a.example"));
    assert_true(allowed(&none, "https://a.example", "a.example"));
    assert_true(allowed(&none, "https://a.example", "A.Example:443"));
    assert_true(allowed(&none, "http://a.example:80", "a.example"));
    assert_true(allowed(&none, "http://a.example:8080", "a.example:8080"));
    assert_true(allowed(&none, "http://[::1]:8080", "[::1]:8080"));
    assert_true(allowed(&none, "http://[::1]", "[::1]"));
    assert_false(allowed(&none, "http://a.example", "a.example:8080"));
    assert_false(allowed(&none, "https://a.example", "a.example:80"));
    assert_false(allowed(&none, "http://a.example:8080", "a.example"));
    assert_false(allowed(&none, "http://b.example", "a.example"));
    assert_false(allowed(&none, "http://a.example.evil", "a.example"));
    assert_false(allowed(&none, "http://x.a.example", "a.example"));
    assert_false(allowed(&none, "null", "a.example"));
    assert_false(allowed(&none, "", "a.example"));
    assert_false(allowed(&none, "a.example", "a.example"));
    assert_false(allowed(&none, "http://a.example/", "a.example"));
    assert_false(allowed(&none, "http://u@a.example", "a.example"));
    assert_false(allowed(&none, "http://a.example, http://b.example", "a.example"));
    assert_false(allowed(&none, "http://a.example:", "a.example"));
    assert_false(allowed(&none, "http://a.example:99999", "a.example:99999"));
    assert_false(allowed(&none, "://a.example", "a.example"));
}

static void test_list(void **state) {
    (void)state;
    char *list[] = {"https://a.example", "https://*.b.example", "http://localhost:3000"};
    struct origins origins = {list, 3};
    assert_true(allowed(&origins, "https://a.example", "api.example"));
    assert_true(allowed(&origins, "HTTPS://A.EXAMPLE:443", "api.example"));
    assert_true(allowed(&origins, "https://x.b.example", "api.example"));
    assert_true(allowed(&origins, "https://x.y.B.example", "api.example"));
    assert_true(allowed(&origins, "http://localhost:3000", "api.example"));
    assert_true(allowed(&origins, "http://api.example", "api.example"));
    assert_false(allowed(&origins, "http://a.example", "api.example"));
    assert_false(allowed(&origins, "https://a.example:444", "api.example"));
    assert_false(allowed(&origins, "https://b.example", "api.example"));
    assert_false(allowed(&origins, "https://.b.example", "api.example"));
    assert_false(allowed(&origins, "https://xb.example", "api.example"));
    assert_false(allowed(&origins, "https://x.b.example.evil", "api.example"));
    assert_false(allowed(&origins, "http://localhost", "api.example"));
    assert_false(allowed(&origins, "null", "api.example"));
}

static void test_star_and_null(void **state) {
    (void)state;
    char *star[] = {"*"};
    char *null[] = {"null"};
    struct origins everybody = {star, 1};
    struct origins nobody = {null, 1};
    assert_true(allowed(&everybody, "https://x.example", "a.example"));
    assert_true(allowed(&everybody, "null", "a.example"));
    assert_true(allowed(&nobody, "null", "a.example"));
    assert_false(allowed(&nobody, "https://x.example", "a.example"));
}

/* --- CORS ----------------------------------------------------------------------------------- */

static void answer_with_cors(struct exchange *x, void *data) {
    if (!cors_handle(data, x))
        response_text(x, 200, "content");
}

#define HEAD_OF(method, origin) method " / HTTP/1.1\r\nHost: api.example\r\nOrigin: " origin "\r\n"
#define PREFLIGHT(origin)      \
    HEAD_OF("OPTIONS", origin) \
    "Access-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-a, x-b\r\n\r\n"

static void test_cors_of_a_listed_origin(void **state) {
    (void)state;
    char *list[] = {"https://*.b.example"};
    struct origins origins = {list, 1};
    struct site s;
    site_init(&s);
    s.answer = answer_with_cors;
    s.data = &origins;
    site_start(&s);
    const char *answer = site_ask(&s, HEAD_OF("GET", "https://x.b.example") "\r\n");
    assert_string_equal(answer_body(answer), "content\n");
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Origin"), "https://x.b.example");
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Credentials"), "true");
    assert_string_equal(answer_field(answer, "Vary"), "Origin");

    answer = site_ask(&s, HEAD_OF("GET", "https://evil.example") "\r\n");
    assert_string_equal(answer_body(answer), "content\n"); /* The browser keeps it to itself. */
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Origin"), "");
    assert_string_equal(answer_field(answer, "Vary"), "Origin");

    answer = site_ask(&s, HEAD_OF("GET", "http://api.example") "\r\n");
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Origin"), "");
    answer = site_ask(&s, "GET / HTTP/1.1\r\nHost: api.example\r\n\r\n");
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Origin"), "");
    assert_string_equal(answer_field(answer, "Vary"), "Origin");
    site_deinit(&s);
}

static void test_preflights(void **state) {
    (void)state;
    char *list[] = {"https://b.example"};
    struct origins origins = {list, 1};
    struct site s;
    site_init(&s);
    s.answer = answer_with_cors;
    s.data = &origins;
    site_start(&s);
    const char *answer = site_ask(&s, PREFLIGHT("https://b.example"));
    assert_int_equal(answer_status(answer), 204);
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Origin"), "https://b.example");
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Methods"), "PUT");
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Headers"), "x-a, x-b");
    assert_true(strlen(answer_field(answer, "Access-Control-Max-Age")) > 0);
    answer = site_ask(&s, PREFLIGHT("https://evil.example"));
    assert_int_equal(answer_status(answer), 403);
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Origin"), "");
    /* An OPTIONS that is no preflight is the application's. */
    assert_string_equal(answer_body(site_ask(&s, HEAD_OF("OPTIONS", "https://b.example") "\r\n")),
                        "content\n");
    site_deinit(&s);
}

static void test_cors_of_everybody_has_no_credentials(void **state) {
    (void)state;
    char *list[] = {"*"};
    struct origins origins = {list, 1};
    struct site s;
    site_init(&s);
    s.answer = answer_with_cors;
    s.data = &origins;
    site_start(&s);
    const char *answer = site_ask(&s, HEAD_OF("GET", "https://x.example") "\r\n");
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Origin"), "*");
    assert_string_equal(answer_field(answer, "Access-Control-Allow-Credentials"), "");
    assert_int_equal(answer_status(site_ask(&s, PREFLIGHT("null"))), 204);
    site_deinit(&s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_a_list_only_the_same_host),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_star_and_null),
        cmocka_unit_test(test_cors_of_a_listed_origin),
        cmocka_unit_test(test_preflights),
        cmocka_unit_test(test_cors_of_everybody_has_no_credentials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
