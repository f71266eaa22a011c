/* The counters of one worker, and how they are written in Prometheus' text form (version 0.0.4).
 * The hot path increments plain integers; whoever knows the labels (admin) adds them when they are
 * read. */
#ifndef MOONWIRE_BASE_METRICS_H
#define MOONWIRE_BASE_METRICS_H

#include "base/buf.h"

#define METRICS_WIRES 24  /* at least WIRE_COUNT */
#define METRICS_REPLAYS 8 /* at least REPLAY_COUNT */
#define METRICS_RETURNS 8 /* of Socket.IO: at least RECOVERY_BUSY */
#define METRICS_HOOKS 16  /* at least HOOK_COUNT */
#define METRICS_BUCKETS 10

/* Why a message was not queued to a client. */
enum dropped {
    DROPPED_VOLATILE, /* its socket was blocked */
    DROPPED_SLOW,     /* its reader was slow, and the policy "drop" */
    DROPPED_REPLACED, /* by a newer one: "latest" */
    DROPPED_COUNT
};

/* Upper bounds in seconds: 0.0001 0.0005 0.001 0.005 0.01 0.05 0.1 0.5 1 +Inf. */
struct histogram {
    uint64_t buckets[METRICS_BUCKETS];
    double sum;
};

struct metrics {
    uint64_t connections_accepted;
    uint64_t connections_refused;
    int64_t connections;            /* open TCP connections */
    int64_t clients[METRICS_WIRES]; /* connected now */
    uint64_t clients_total[METRICS_WIRES];
    uint64_t http_requests[6]; /* by the first digit of the status */
    uint64_t messages_received[METRICS_WIRES];
    uint64_t deliveries[METRICS_WIRES];
    uint64_t dropped[DROPPED_COUNT];
    uint64_t closed_slow;
    uint64_t replays[METRICS_REPLAYS];
    uint64_t returns[METRICS_RETURNS];
    int64_t slow_clients; /* that are behind now, but not closed for it */
    uint64_t bytes_received;
    uint64_t bytes_sent;
    struct histogram handler_time; /* of one handler call, without what it waited for */
    uint64_t handler_errors[METRICS_HOOKS];
    uint64_t handler_calls[METRICS_HOOKS];
    int64_t queued_events; /* waiting in clients' lines */
    uint64_t store_commits;
    uint64_t store_records;      /* written */
    uint64_t store_errors;       /* records that could not be written, and failed readings */
    int64_t store_queue;         /* records that wait for the disk */
    struct histogram store_time; /* of one commit */
    uint64_t reloads;
    uint64_t reloads_failed;
};

void histogram_add(struct histogram *h, double seconds);

/* One family: its header once, then a line per sample. label may be NULL. */
void metrics_family(struct writer *out, const char *name, const char *type, const char *help);
void metrics_sample(struct writer *out, const char *name, const char *label, const char *value,
                    double sample);
void metrics_histogram(struct writer *out, const char *name, const char *help,
                       const struct histogram *h);

#endif
