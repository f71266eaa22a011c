/* Prometheus' text form (version 0.0.4) of samples and histograms. What is counted, and which names
 * it has, the callers know: the admin page and the layers that count. */
#include "base/metrics.h"

#include <math.h>

#include "base/json.h"

static const struct {
    double bound;
    const char *text;
} BUCKETS[METRICS_BUCKETS] = {
    {0.0001, "0.0001"}, {0.0005, "0.0005"}, {0.001, "0.001"}, {0.005, "0.005"}, {0.01, "0.01"},
    {0.05, "0.05"},     {0.1, "0.1"},       {0.5, "0.5"},     {1, "1"},         {INFINITY, "+Inf"},
};

/* Each sample is counted once, in its own bucket; Prometheus' cumulative counts are made when they
 * are read. */
void histogram_add(struct histogram *h, double seconds) {
    int i = 0;
    while (i < METRICS_BUCKETS - 1 && !(seconds <= BUCKETS[i].bound)) {
        i++;
    }
    h->buckets[i]++;
    h->sum += seconds;
}

/* Line breaks and backslashes are escaped; in a label's value quotes are too. */
static void put_text(struct writer *out, const char *text, bool label) {
    for (; *text != '\0'; text++) {
        if (*text == '\n') {
            writer_puts(out, "\\n");
            continue;
        }
        if (*text == '\\' || (label && *text == '"')) {
            writer_putc(out, '\\');
        }
        writer_putc(out, *text);
    }
}

static void put_number(struct writer *out, double sample) {
    if (json_put_number(out, sample) != 0) {
        writer_puts(out, isnan(sample) ? "NaN" : sample > 0 ? "+Inf" : "-Inf");
    }
}

void metrics_family(struct writer *out, const char *name, const char *type, const char *help) {
    writer_printf(out, "# HELP %s ", name);
    put_text(out, help, false);
    writer_printf(out, "\n# TYPE %s %s\n", name, type);
}

void metrics_sample(struct writer *out, const char *name, const char *label, const char *value,
                    double sample) {
    writer_puts(out, name);
    if (label != NULL) {
        writer_printf(out, "{%s=\"", label);
        put_text(out, value, true);
        writer_puts(out, "\"}");
    }
    writer_putc(out, ' ');
    put_number(out, sample);
    writer_putc(out, '\n');
}

void metrics_histogram(struct writer *out, const char *name, const char *help,
                       const struct histogram *h) {
    uint64_t count = 0;
    metrics_family(out, name, "histogram", help);
    for (int i = 0; i < METRICS_BUCKETS; i++) {
        count += h->buckets[i];
        writer_printf(out, "%s_bucket{le=\"%s\"} ", name, BUCKETS[i].text);
        put_number(out, (double)count);
        writer_putc(out, '\n');
    }
    writer_printf(out, "%s_sum ", name);
    put_number(out, h->sum);
    writer_printf(out, "\n%s_count ", name);
    put_number(out, (double)count);
    writer_putc(out, '\n');
}
