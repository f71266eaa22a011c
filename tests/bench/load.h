/*
 * The state of a run of the load generator, shared by load.c (what is said and checked) and
 * options.c (what was asked for).
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "envelope.h"
#include "link.h"

#include <sys/types.h>

enum mode { MODE_ECHO, MODE_ROOM, MODE_LATENCY, MODE_IDLE, MODE_CONNECT };

struct sample {
    double wall, server_cpu, own_cpu; /* seconds */
};

struct load {
    enum mode mode;
    const struct wire *wire;
    const struct envelope *envelope;
    const char *protocol, *path;
    const char *sender_path; /* NULL: as the others */
    bool senders_apart;      /* senders of a room are no members: WebSockets of their own */
    pid_t pid;
    size_t connections, senders, in_flight, size;
    uint64_t messages, warmup;
    double rate, timeout;

    struct io io;
    struct peer *peers; /* the members, then senders that are apart */
    size_t peer_count;
    size_t open, closed, started;
    double deadline;
    bool running;          /* a phase is under way: answers are followed by new messages */
    uint64_t goal;         /* messages that each sender has sent when the phase ends */
    uint64_t missing;      /* deliveries that the phase waits for */
    uint64_t *received;    /* messages, by member and sender */
    uint64_t *undelivered; /* of a room's burst, by sender */
    unsigned char *packet, *payload; /* a message's content, and the place of the payload in it */
    size_t packet_len;
    unsigned char *frames, *pattern;
    double *due;      /* latency: when the last messages of each peer were to be sent */
    float *latencies; /* µs */
    size_t latency_count;
    struct sample opening, measured;
};

/* Reads the command line. Ends the program where it is wrong. */
void load_options(struct load *l, int argc, char **argv);
const char *load_mode_name(enum mode mode);

#endif
