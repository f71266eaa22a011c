/*
 * The load generator of scripts/bench. It opens connections to a server on loopback, sends numbered
 * messages, checks every byte that comes back, and prints one JSON object with what it cost: time,
 * and the CPU time of the server's process from the kernel's own clock for that process. A lost,
 * repeated, reordered or altered message ends it with status 1. It judges nothing and compares
 * nothing; bench.js does. options.c has the command line.
 *
 *   echo     each connection keeps `in-flight` messages under way and expects them back in order
 *   room     senders send bursts of `in-flight`; every member must get every message, those of one
 *            sender in order; a sender's next burst begins when all have its last
 *   latency  an echo at a fixed rate: how long after the moment when it was due is a message back
 *   idle     opens the connections, prints the result, and holds them until its input ends
 *   connect  opens the connections and closes them
 */
#include "load.h"
#include "sse_client.h"
#include "ws_client.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 16, PATTERN_STEPS = 61, EVENTS = 512, HANDSHAKES_AT_ONCE = 64, DUE_RING = 1024 };

/* Clocks ------------------------------------------------------------------------------------- */

static double seconds(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        fail("clock: %s", strerror(errno));
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double now(void) {
    return seconds(CLOCK_MONOTONIC);
}

/* The process clock counts all threads, also those that have ended, to the nanosecond. */
static struct sample sample_now(const struct load *l) {
    struct sample s = {.wall = now(), .own_cpu = seconds(CLOCK_PROCESS_CPUTIME_ID)};
    clockid_t clock;
    if (l->pid == 0)
        return s;
    int error = clock_getcpuclockid(l->pid, &clock);
    if (error)
        fail("no CPU clock of process %d: %s", (int)l->pid, strerror(error));
    s.server_cpu = seconds(clock);
    return s;
}

static struct sample sample_since(const struct load *l, struct sample start) {
    struct sample end = sample_now(l);
    return (struct sample){.wall = end.wall - start.wall,
                           .server_cpu = end.server_cpu - start.server_cpu,
                           .own_cpu = end.own_cpu - start.own_cpu};
}

/* Messages ----------------------------------------------------------------------------------- */

/* A payload is the sender (6 hex digits), the sequence number (10), and a stretch of the pattern
 * that begins elsewhere for each number, so that two messages differ in nearly every byte. */
static void put_header(unsigned char *out, uint32_t sender, uint64_t sequence) {
    static const char digits[] = "0123456789abcdef";
    uint64_t both = (uint64_t)sender << 40 | (sequence & 0xffffffffffULL);
    for (int i = HEADER - 1; i >= 0; i--, both >>= 4)
        out[i] = (unsigned char)digits[both & 15];
}

static const unsigned char *pattern_of(const struct load *l, uint64_t sequence) {
    return l->pattern + sequence % PATTERN_STEPS;
}

static void send_messages(struct load *l, struct peer *c, uint64_t count) {
    size_t len = 0;
    for (uint64_t i = 0; i < count; i++, c->sent++) {
        put_header(l->payload, c->id, c->sent);
        memcpy(l->payload + HEADER, pattern_of(l, c->sent), l->size - HEADER);
        len += c->wire->frame(l->frames + len, l->packet, l->packet_len);
    }
    c->wire->send(&l->io, c, l->frames, len);
}

static struct peer *first_sender(const struct load *l) {
    return &l->peers[l->peer_count - l->senders];
}

/* Whose message is it? A room's senders are the last peers; in an echo everybody is his own. */
static uint32_t sender_of(const struct load *l, const struct peer *c, const unsigned char *data,
                          size_t len) {
    if (l->mode != MODE_ROOM)
        return c->id;
    char digits[7] = "";
    memcpy(digits, data, len < 6 ? len : 6);
    const uint32_t first = first_sender(l)->id, id = (uint32_t)strtoul(digits, NULL, 16);
    return id - first < l->senders ? id : first;
}

static void check_message(const struct load *l, const struct peer *c, uint32_t sender,
                          uint64_t sequence, const unsigned char *data, size_t len) {
    unsigned char expected[HEADER];
    put_header(expected, sender, sequence);
    if (len == l->size && memcmp(data, expected, HEADER) == 0 &&
        memcmp(data + HEADER, pattern_of(l, sequence), len - HEADER) == 0)
        return;
    fail("connection %u: expected message %llu of sender %u (%.16s, %zu bytes), got \"%.*s\" "
         "(%zu bytes): lost, repeated, reordered or altered",
         c->id, (unsigned long long)sequence, sender, expected, l->size,
         len < HEADER ? (int)len : HEADER, data, len);
}

static void note_latency(struct load *l, const struct peer *c) {
    const double due = l->due[c->id * DUE_RING + c->received % DUE_RING];
    if (l->latencies)
        l->latencies[l->latency_count++] = (float)((now() - due) * 1e6);
}

static void on_message(struct load *l, struct peer *c, const unsigned char *data, size_t len) {
    if (c->id >= l->connections)
        return; /* what a server tells one who only sends is its own affair */
    if (!l->running || l->missing == 0)
        fail("connection %u: unexpected message \"%.*s\"", c->id, len < 64 ? (int)len : 64, data);
    const uint32_t sender = sender_of(l, c, data, len);
    const size_t index = l->mode == MODE_ROOM ? sender - first_sender(l)->id : 0;
    uint64_t *received = &l->received[c->id * l->senders + index];
    check_message(l, c, sender, *received, data, len);
    if (l->mode == MODE_LATENCY)
        note_latency(l, c);
    (*received)++;
    c->received++;
    l->missing--;
    if (l->mode == MODE_ROOM)
        l->undelivered[index]--;
}

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void send_burst(struct load *l, size_t index) {
    struct peer *sender = first_sender(l) + index;
    const uint64_t count = min_u64(l->in_flight, l->goal - sender->sent);
    l->undelivered[index] = count * l->connections;
    if (count > 0)
        send_messages(l, sender, count);
}

static void send_bursts(struct load *l) {
    for (size_t i = 0; i < l->senders; i++)
        if (l->undelivered[i] == 0)
            send_burst(l, i);
}

static void on_read_end(void *context, struct peer *c) {
    struct load *l = context;
    if (!l->running || l->mode == MODE_LATENCY)
        return;
    if (l->mode == MODE_ROOM) {
        send_bursts(l);
        return;
    }
    const uint64_t room = l->in_flight - (c->sent - c->received);
    const uint64_t count = min_u64(room, l->goal - c->sent);
    if (count > 0)
        send_messages(l, c, count);
}

/* Opening and closing ------------------------------------------------------------------------ */

static void start_next(struct load *l) {
    /* The last one comes alone: when it is there, everybody else has joined. */
    const bool alone = l->mode == MODE_ROOM && l->started + 1 == l->peer_count;
    if (l->started == l->peer_count || (alone && l->open < l->started))
        return;
    struct peer *c = &l->peers[l->started];
    c->id = (uint32_t)l->started++;
    const bool apart = c->id >= l->connections;
    c->wire = apart ? &ws_wire : l->wire;
    c->path = l->sender_path && c >= first_sender(l) ? l->sender_path : l->path;
    link_open(&l->io, c);
}

static void on_open(struct load *l) {
    l->open++;
    start_next(l);
}

static void on_wire_open(void *context, struct peer *c) {
    struct load *l = context;
    (void)c;
    if (!l->envelope->opens)
        on_open(l);
}

static void on_wire_message(void *context, struct peer *c, const unsigned char *data, size_t len) {
    struct load *l = context;
    const char *reply = NULL;
    switch (l->envelope->take(c, &data, &len, &reply)) {
    case ENVELOPE_OPEN:
        on_open(l);
        break;
    case ENVELOPE_MESSAGE:
        on_message(l, c, data, len);
        break;
    case ENVELOPE_NOTHING:
        break;
    }
    if (reply) {
        unsigned char out[FRAME_HEAD_MAX + 8];
        const unsigned char *packet = (const unsigned char *)reply;
        c->wire->send(&l->io, c, out, c->wire->frame(out, packet, strlen(reply)));
    }
}

static void on_close(void *context, struct peer *c) {
    struct load *l = context;
    (void)c;
    l->closed++;
}

/* Waits for events, at most so long. Returns false when the input has ended (only watched while
 * idle). */
static bool turn_within(struct load *l, int milliseconds) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(l->io.epoll, events, EVENTS, milliseconds);
    if (n < 0 && errno != EINTR)
        fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        if (!events[i].data.ptr)
            return false;
        link_ready(&l->io, events[i].data.ptr, events[i].events);
    }
    return true;
}

static int time_left(const struct load *l) {
    const double left = l->deadline - now();
    if (left <= 0)
        fail("timed out after %.0f s: %zu of %zu open, %zu closed, %llu deliveries missing",
             l->timeout, l->open, l->peer_count, l->closed, (unsigned long long)l->missing);
    return (int)(left * 1e3) + 1;
}

static bool turn(struct load *l) {
    return turn_within(l, time_left(l));
}

static void open_all(struct load *l) {
    const struct sample start = sample_now(l);
    for (size_t i = 0; i < HANDSHAKES_AT_ONCE; i++)
        start_next(l);
    while (l->open < l->peer_count)
        turn(l);
    l->opening = sample_since(l, start);
}

static void hold_until_input_ends(struct load *l) {
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(l->io.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
        fail("idle wants a pipe as its input: %s", strerror(errno));
    while (turn_within(l, -1)) {
    }
    epoll_ctl(l->io.epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
    l->deadline = now() + l->timeout;
}

static void close_all(struct load *l) {
    for (size_t i = 0; i < l->peer_count; i++) {
        l->peers[i].wire->close(&l->io, &l->peers[i]);
        if (i % HANDSHAKES_AT_ONCE == 0)
            turn_within(l, 0);
    }
    while (l->closed < l->peer_count)
        turn(l);
}

/* Phases ------------------------------------------------------------------------------------- */

static size_t sender_count(const struct load *l) {
    return l->mode == MODE_ROOM ? l->senders : l->connections;
}

static uint64_t deliveries_of(const struct load *l, uint64_t per_sender) {
    return per_sender * sender_count(l) * (l->mode == MODE_ROOM ? l->connections : 1);
}

/* Each sender sends so many more messages; returns when the last one has arrived everywhere. */
static struct sample run_phase(struct load *l, uint64_t per_sender) {
    const struct sample start = sample_now(l);
    l->goal += per_sender;
    l->running = true;
    l->missing = deliveries_of(l, per_sender);
    if (l->mode == MODE_ROOM) {
        send_bursts(l);
    } else {
        for (size_t i = 0; i < l->connections; i++)
            on_read_end(l, &l->peers[i]);
    }
    while (l->missing > 0)
        turn(l);
    l->running = false;
    return sample_since(l, start);
}

static void send_due(struct load *l, uint64_t n, double due) {
    struct peer *c = &l->peers[n % l->connections];
    if (c->sent - c->received >= DUE_RING)
        fail("connection %u: %d messages without an answer", c->id, DUE_RING);
    l->due[c->id * DUE_RING + c->sent % DUE_RING] = due;
    send_messages(l, c, 1);
}

/* Messages are due one after another at the rate, whether or not earlier ones are back: a server
 * that stalls delays all that come meanwhile, and each counts. The generator does not sleep. */
static struct sample run_at_rate(struct load *l, uint64_t per_sender) {
    const struct sample start = sample_now(l);
    const uint64_t count = per_sender * l->connections;
    l->missing = count;
    l->running = true;
    for (uint64_t n = 0; l->missing > 0;) {
        const double time = now();
        for (double due; n < count && (due = start.wall + (double)n / l->rate) <= time; n++)
            send_due(l, n, due);
        turn_within(l, 0);
        time_left(l);
    }
    l->running = false;
    return sample_since(l, start);
}

static int by_value(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static double latency_at(const struct load *l, double quantile) {
    if (l->latency_count == 0)
        return 0;
    const size_t rank = (size_t)(quantile * (double)l->latency_count);
    return l->latencies[rank < l->latency_count ? rank : l->latency_count - 1];
}

/* The program -------------------------------------------------------------------------------- */

static void print_result(const struct load *l) {
    const uint64_t per_sender = l->messages / sender_count(l);
    printf("{\"mode\":\"%s\",\"protocol\":\"%s\",\"connections\":%zu,\"in_flight\":%zu,"
           "\"packet\":%zu,\"messages\":%llu,\"deliveries\":%llu,"
           "\"seconds\":%.6f,\"server_cpu\":%.9f,\"generator_cpu\":%.9f,"
           "\"opening\":{\"seconds\":%.6f,\"server_cpu\":%.9f,\"generator_cpu\":%.9f}",
           load_mode_name(l->mode), l->protocol, l->connections, l->in_flight, l->packet_len,
           (unsigned long long)(per_sender * sender_count(l)),
           (unsigned long long)deliveries_of(l, per_sender), l->measured.wall,
           l->measured.server_cpu, l->measured.own_cpu, l->opening.wall, l->opening.server_cpu,
           l->opening.own_cpu);
    if (l->mode == MODE_LATENCY)
        printf(",\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f", latency_at(l, 0.5), latency_at(l, 0.99),
               latency_at(l, 0.999));
    puts("}");
    fflush(stdout);
}

static void run_messages(struct load *l) {
    const uint64_t warmup = l->warmup / sender_count(l), count = l->messages / sender_count(l);
    if (l->mode != MODE_LATENCY) {
        run_phase(l, warmup);
        l->measured = run_phase(l, count);
    } else {
        run_at_rate(l, warmup);
        l->latencies = calloc(count * l->connections + 1, sizeof *l->latencies);
        if (!l->latencies)
            fail("out of memory");
        l->measured = run_at_rate(l, count);
        qsort(l->latencies, l->latency_count, sizeof *l->latencies, by_value);
    }
    /* A message too many must not hide behind the end of the measurement. The answer to a
     * WebSocket's close frame comes after all that was sent before it; other wires get one more
     * message, which is out of order then. */
    if (l->wire != &ws_wire)
        run_phase(l, 1);
}

static void run(struct load *l) {
    open_all(l);
    if (l->mode <= MODE_LATENCY)
        run_messages(l);
    if (l->mode == MODE_IDLE) {
        print_result(l);
        hold_until_input_ends(l);
    }
    close_all(l);
    if (l->mode != MODE_IDLE)
        print_result(l);
}

static void raise_file_limit(size_t wanted) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur < wanted)
        fail("%zu open files are needed, the limit is %llu", wanted,
             (unsigned long long)limit.rlim_max);
}

static void prepare_packet(struct load *l) {
    char *packet;
    int len = asprintf(&packet, "%s%*s%s", l->envelope->head, (int)l->size, "", l->envelope->tail);
    if (len < 0)
        fail("out of memory");
    l->packet = (uint8_t *)packet;
    l->packet_len = (size_t)len;
    l->payload = l->packet + strlen(l->envelope->head);
}

static void *zeroes(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory)
        fail("out of memory");
    return memory;
}

/* Words of 2 to 9 letters, so that compression finds about as much as in what people write. No
 * character needs an escape in a JSON string. */
static void prepare_pattern(struct load *l) {
    const size_t len = l->size + PATTERN_STEPS;
    uint32_t state = 2463534242U, letters = 0;
    l->pattern = zeroes(len, 1);
    for (size_t i = 0; i < len; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        if (letters == 0)
            letters = 3 + state % 8;
        l->pattern[i] = --letters ? (unsigned char)("etaoinshrdlucmfw"[state >> 28]) : ' ';
    }
}

static void prepare(struct load *l) {
    if (l->size < HEADER || l->size > READ_SIZE / 2)
        fail("size %d to %d", HEADER, READ_SIZE / 2);
    l->peer_count = l->connections + (l->senders_apart ? l->senders : 0);
    raise_file_limit(l->peer_count + 16);
    l->io.epoll = epoll_create1(EPOLL_CLOEXEC);
    l->io.context = l;
    l->io.on_open = on_wire_open;
    l->io.on_message = on_wire_message;
    l->io.on_read_end = on_read_end;
    l->io.on_close = on_close;
    l->peers = zeroes(l->peer_count, sizeof *l->peers);
    l->received = zeroes(l->connections * l->senders, sizeof *l->received);
    l->undelivered = zeroes(l->senders, sizeof *l->undelivered);
    prepare_packet(l);
    l->frames = zeroes(l->in_flight, l->packet_len + FRAME_HEAD_MAX);
    prepare_pattern(l);
    if (l->mode == MODE_LATENCY)
        l->due = zeroes(l->connections * DUE_RING, sizeof *l->due);
    l->deadline = now() + l->timeout;
}

int main(int argc, char **argv) {
    static struct load l;
    load_options(&l, argc, argv);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prepare(&l);
    run(&l);
    return 0;
}
