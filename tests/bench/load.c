/*
 * The load generator of scripts/bench. It opens WebSockets to a server on loopback, sends numbered
 * messages, checks every byte that comes back, and prints one JSON object with what it cost: time,
 * and the CPU time of the server's process from the kernel's own clock for that process. A lost,
 * repeated, reordered or altered message ends it with status 1. It judges nothing and compares
 * nothing; bench.js does.
 *
 *   echo     each connection keeps `in-flight` messages under way and expects them back in order
 *   room     one member sends bursts of `in-flight`; every member must get every message in order
 *   idle     opens the connections, prints the result, and holds them until its input ends
 *   connect  opens the connections and closes them
 *
 * A message is a text frame, or with --protocol socketio the event "m" with one string.
 */
#include "sio.h"
#include "ws_client.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { HEADER = 16, PATTERN_STEPS = 61, EVENTS = 512, HANDSHAKES_AT_ONCE = 64 };

enum mode { MODE_ECHO, MODE_ROOM, MODE_IDLE, MODE_CONNECT };
static const char *const mode_names[] = {"echo", "room", "idle", "connect"};

struct sample {
    double wall, server_cpu, own_cpu; /* seconds */
};

struct load {
    enum mode mode;
    bool socketio;
    int port;
    pid_t pid;
    size_t connections, in_flight, size;
    uint64_t messages, warmup;
    double timeout, deadline;

    struct ws_io io;
    struct ws_client *clients;
    size_t open, closed, started;
    bool running;     /* a phase is under way: answers are followed by new messages */
    uint64_t goal;    /* messages that each sender has sent when the phase ends */
    uint64_t missing; /* deliveries that the phase (echo) or the burst (room) waits for */
    unsigned char *packet, *payload; /* a frame's content, and the place of the payload in it */
    size_t packet_len;
    unsigned char *frames, *pattern;
    struct sample opening, measured;
};

/* Clocks ------------------------------------------------------------------------------------- */

static double seconds(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        fail("clock: %s", strerror(errno));
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The process clock counts all threads, also those that have ended, to the nanosecond. */
static struct sample sample_now(const struct load *l) {
    struct sample s = {.wall = seconds(CLOCK_MONOTONIC),
                       .own_cpu = seconds(CLOCK_PROCESS_CPUTIME_ID)};
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
    struct sample now = sample_now(l);
    return (struct sample){.wall = now.wall - start.wall,
                           .server_cpu = now.server_cpu - start.server_cpu,
                           .own_cpu = now.own_cpu - start.own_cpu};
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

static void send_messages(struct load *l, struct ws_client *c, uint64_t count) {
    size_t len = 0;
    for (uint64_t i = 0; i < count; i++, c->sent++) {
        put_header(l->payload, c->id, c->sent);
        memcpy(l->payload + HEADER, pattern_of(l, c->sent), l->size - HEADER);
        len += ws_client_frame(l->frames + len, l->packet, l->packet_len);
    }
    ws_client_send(&l->io, c, l->frames, len);
}

static void check_message(const struct load *l, const struct ws_client *c, uint32_t sender,
                          const unsigned char *data, size_t len) {
    unsigned char expected[HEADER];
    put_header(expected, sender, c->received);
    if (len == l->size && memcmp(data, expected, HEADER) == 0 &&
        memcmp(data + HEADER, pattern_of(l, c->received), len - HEADER) == 0)
        return;
    fail("connection %u: expected message %llu of sender %u (%.16s, %zu bytes), got \"%.*s\" "
         "(%zu bytes): lost, repeated, reordered or altered",
         c->id, (unsigned long long)c->received, sender, expected, l->size,
         len < HEADER ? (int)len : HEADER, data, len);
}

static struct ws_client *room_sender(const struct load *l) {
    return &l->clients[l->connections - 1];
}

static void on_message(struct load *l, struct ws_client *c, const unsigned char *data, size_t len) {
    if (!l->running || l->missing == 0)
        fail("connection %u: unexpected message \"%.*s\"", c->id, len < 64 ? (int)len : 64, data);
    check_message(l, c, l->mode == MODE_ROOM ? room_sender(l)->id : c->id, data, len);
    c->received++;
    l->missing--;
}

static uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void send_burst(struct load *l) {
    struct ws_client *sender = room_sender(l);
    const uint64_t count = min_u64(l->in_flight, l->goal - sender->sent);
    l->missing = count * l->connections;
    if (count > 0)
        send_messages(l, sender, count);
}

static void on_read_end(void *context, struct ws_client *c) {
    struct load *l = context;
    if (!l->running)
        return;
    if (l->mode == MODE_ROOM) {
        if (l->missing == 0)
            send_burst(l);
        return;
    }
    const uint64_t room = l->in_flight - (c->sent - c->received);
    const uint64_t count = min_u64(room, l->goal - c->sent);
    if (count > 0)
        send_messages(l, c, count);
}

/* Phases ------------------------------------------------------------------------------------- */

static void start_next(struct load *l) {
    /* The sender of a room comes last and alone: its first message follows everybody's join. */
    const bool alone = l->mode == MODE_ROOM && l->started + 1 == l->connections;
    if (l->started == l->connections || (alone && l->open < l->started))
        return;
    struct ws_client *c = &l->clients[l->started];
    c->id = (uint32_t)l->started++;
    ws_client_open(&l->io, c, l->port);
}

static void on_open(struct load *l) {
    l->open++;
    start_next(l);
}

static void on_handshake(void *context, struct ws_client *c) {
    struct load *l = context;
    (void)c;
    if (!l->socketio)
        on_open(l);
}

static void on_text(void *context, struct ws_client *c, const unsigned char *data, size_t len) {
    struct load *l = context;
    switch (l->socketio ? sio_receive(&l->io, c, &data, &len) : SIO_MESSAGE) {
    case SIO_OPEN:
        on_open(l);
        break;
    case SIO_MESSAGE:
        on_message(l, c, data, len);
        break;
    case SIO_NOTHING:
        break;
    }
}

static void on_close(void *context, struct ws_client *c) {
    struct load *l = context;
    (void)c;
    l->closed++;
}

/* Waits for events once. Returns false when the input has ended (only watched while idle). */
static bool turn(struct load *l) {
    struct epoll_event events[EVENTS];
    const double left = l->deadline - seconds(CLOCK_MONOTONIC);
    if (left <= 0)
        fail("timed out after %.0f s: %zu of %zu open, %zu closed, %llu deliveries missing",
             l->timeout, l->open, l->connections, l->closed, (unsigned long long)l->missing);
    int n = epoll_wait(l->io.epoll, events, EVENTS, (int)(left * 1e3) + 1);
    if (n < 0 && errno != EINTR)
        fail("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < n; i++) {
        if (!events[i].data.ptr)
            return false;
        ws_client_ready(&l->io, events[i].data.ptr, events[i].events);
    }
    return true;
}

static void open_all(struct load *l) {
    const struct sample start = sample_now(l);
    for (size_t i = 0; i < HANDSHAKES_AT_ONCE; i++)
        start_next(l);
    while (l->open < l->connections)
        turn(l);
    l->opening = sample_since(l, start);
}

/* Each sender sends so many more messages; returns when the last one has arrived everywhere. */
static struct sample run_phase(struct load *l, uint64_t per_sender) {
    const struct sample start = sample_now(l);
    l->goal += per_sender;
    l->running = true;
    if (l->mode == MODE_ROOM) {
        send_burst(l);
    } else {
        l->missing = per_sender * l->connections;
        for (size_t i = 0; i < l->connections; i++)
            on_read_end(l, &l->clients[i]);
    }
    while (l->missing > 0)
        turn(l);
    l->running = false;
    return sample_since(l, start);
}

static void hold_until_input_ends(struct load *l) {
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(l->io.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event) != 0)
        fail("idle wants a pipe as its input: %s", strerror(errno));
    while (turn(l)) {
    }
    epoll_ctl(l->io.epoll, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
}

/* The answer to our close frame comes after everything the server sent before it, so a message
 * too many cannot hide behind the end of the measurement. */
static void close_all(struct load *l) {
    for (size_t i = 0; i < l->connections; i++) {
        ws_client_close(&l->io, &l->clients[i]);
        if (i % HANDSHAKES_AT_ONCE == 0)
            turn(l);
    }
    while (l->closed < l->connections)
        turn(l);
}

/* The program -------------------------------------------------------------------------------- */

static void print_result(const struct load *l) {
    const bool room = l->mode == MODE_ROOM;
    const uint64_t senders = room ? 1 : l->connections;
    const uint64_t messages = l->messages / senders * senders;
    printf("{\"mode\":\"%s\",\"connections\":%zu,\"in_flight\":%zu,\"size\":%zu,"
           "\"messages\":%llu,\"deliveries\":%llu,"
           "\"seconds\":%.6f,\"server_cpu\":%.9f,\"generator_cpu\":%.9f,"
           "\"opening\":{\"seconds\":%.6f,\"server_cpu\":%.9f,\"generator_cpu\":%.9f}}\n",
           mode_names[l->mode], l->connections, l->in_flight, l->size, (unsigned long long)messages,
           (unsigned long long)(room ? messages * l->connections : messages), l->measured.wall,
           l->measured.server_cpu, l->measured.own_cpu, l->opening.wall, l->opening.server_cpu,
           l->opening.own_cpu);
    fflush(stdout);
}

static void run(struct load *l) {
    open_all(l);
    if (l->mode == MODE_ECHO || l->mode == MODE_ROOM) {
        const uint64_t senders = l->mode == MODE_ROOM ? 1 : l->connections;
        run_phase(l, l->warmup / senders);
        l->measured = run_phase(l, l->messages / senders);
    }
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
    const char *head = l->socketio ? SIO_HEAD : "", *tail = l->socketio ? SIO_TAIL : "";
    char *packet;
    int len = asprintf(&packet, "%s%*s%s", head, (int)l->size, "", tail);
    if (len < 0)
        fail("out of memory");
    l->packet = (uint8_t *)packet;
    l->packet_len = (size_t)len;
    l->payload = l->packet + strlen(head);
}

static void prepare(struct load *l) {
    if (l->port <= 0 || l->connections == 0 || l->in_flight == 0)
        fail("bad options; see load.c");
    if (l->size < HEADER || l->size > WS_READ_SIZE / 2 || l->connections > 28000)
        fail("size %d to %d, connections up to 28000", HEADER, WS_READ_SIZE / 2);
    raise_file_limit(l->connections + 16);
    l->io.epoll = epoll_create1(EPOLL_CLOEXEC);
    l->io.context = l;
    l->io.path = l->socketio ? SIO_PATH : "/";
    l->io.on_open = on_handshake;
    l->io.on_message = on_text;
    l->io.on_read_end = on_read_end;
    l->io.on_close = on_close;
    l->clients = calloc(l->connections, sizeof *l->clients);
    prepare_packet(l);
    l->frames = malloc(l->in_flight * (l->packet_len + WS_HEAD_MAX));
    l->pattern = malloc(l->size + PATTERN_STEPS);
    if (!l->clients || !l->frames || !l->pattern)
        fail("out of memory");
    for (size_t i = 0; i < l->size + PATTERN_STEPS; i++) {
        const unsigned char c = (unsigned char)('A' + i % PATTERN_STEPS % 58);
        l->pattern[i] = c == '\\' ? '/' : c; /* a JSON string needs no escape */
    }
    l->deadline = seconds(CLOCK_MONOTONIC) + l->timeout;
}

static enum mode mode_of(const char *name) {
    for (int i = 0; i < 4; i++)
        if (strcmp(name, mode_names[i]) == 0)
            return (enum mode)i;
    fail("mode is echo, room, idle or connect, not \"%s\"", name);
}

int main(int argc, char **argv) {
    static struct load l = {.connections = 1, .in_flight = 1, .size = 64, .timeout = 60};
    static const struct option options[] = {
        {"port", required_argument, NULL, 'p'},        {"pid", required_argument, NULL, 'i'},
        {"connections", required_argument, NULL, 'c'}, {"in-flight", required_argument, NULL, 'f'},
        {"size", required_argument, NULL, 's'},        {"messages", required_argument, NULL, 'm'},
        {"warmup", required_argument, NULL, 'w'},      {"timeout", required_argument, NULL, 't'},
        {"protocol", required_argument, NULL, 'o'},    {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'p':
            l.port = atoi(optarg);
            break;
        case 'i':
            l.pid = atoi(optarg);
            break;
        case 'c':
            l.connections = strtoul(optarg, NULL, 10);
            break;
        case 'f':
            l.in_flight = strtoul(optarg, NULL, 10);
            break;
        case 's':
            l.size = strtoul(optarg, NULL, 10);
            break;
        case 'm':
            l.messages = strtoull(optarg, NULL, 10);
            break;
        case 'w':
            l.warmup = strtoull(optarg, NULL, 10);
            break;
        case 't':
            l.timeout = atof(optarg);
            break;
        case 'o':
            l.socketio = strcmp(optarg, "socketio") == 0;
            if (!l.socketio && strcmp(optarg, "websocket") != 0)
                fail("protocol is websocket or socketio, not \"%s\"", optarg);
            break;
        default:
            return 2;
        }
    }
    if (optind + 1 != argc)
        fail("usage: bench-load echo|room|idle|connect --port N [...]");
    l.mode = mode_of(argv[optind]);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prepare(&l);
    run(&l);
    return 0;
}
