/* base/metrics: the text form that Prometheus reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "base/metrics.h"

static void assert_text(struct writer *w, const char *expected) {
    writer_putc(w, '\0');
    assert_string_equal(writer_span(w).at, expected);
    writer_deinit(w);
}

static void a_family_has_a_header_and_samples(void **state) {
    (void)state;
    struct writer w = {0};
    metrics_family(&w, "moonwire_clients", "gauge", "Clients \"now\",\nby wire \\ kind.");
    metrics_sample(&w, "moonwire_clients", "wire", "sse", 3);
    metrics_sample(&w, "moonwire_clients", "wire", "a\"b\\c\nd", 12345678901.0);
    metrics_sample(&w, "moonwire_reloads", NULL, NULL, 0.25);
    metrics_sample(&w, "x", NULL, NULL, NAN);
    metrics_sample(&w, "x", NULL, NULL, INFINITY);
    metrics_sample(&w, "x", NULL, NULL, -INFINITY);
    assert_text(&w, "# HELP moonwire_clients Clients \"now\",\\nby wire \\\\ kind.\n"
                    "# TYPE moonwire_clients gauge\n"
                    "moonwire_clients{wire=\"sse\"} 3\n"
                    "moonwire_clients{wire=\"a\\\"b\\\\c\\nd\"} 12345678901\n"
                    "moonwire_reloads 0.25\n"
                    "x NaN\nx +Inf\nx -Inf\n");
}

static void a_histogram_counts_up(void **state) {
    (void)state;
    struct histogram h = {0};
    struct writer w = {0};
    histogram_add(&h, 0);
    histogram_add(&h, 0.0001); /* A bound belongs to its bucket. */
    histogram_add(&h, 0.25);
    histogram_add(&h, 1);
    histogram_add(&h, 7);
    metrics_histogram(&w, "t", "Time.", &h);
    assert_text(&w, "# HELP t Time.\n# TYPE t histogram\n"
                    "t_bucket{le=\"0.0001\"} 2\nt_bucket{le=\"0.0005\"} 2\n"
                    "t_bucket{le=\"0.001\"} 2\nt_bucket{le=\"0.005\"} 2\n"
                    "t_bucket{le=\"0.01\"} 2\nt_bucket{le=\"0.05\"} 2\n"
                    "t_bucket{le=\"0.1\"} 2\nt_bucket{le=\"0.5\"} 3\n"
                    "t_bucket{le=\"1\"} 4\nt_bucket{le=\"+Inf\"} 5\n"
                    "t_sum 8.2501\nt_count 5\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_family_has_a_header_and_samples),
        cmocka_unit_test(a_histogram_counts_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
