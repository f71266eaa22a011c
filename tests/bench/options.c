/*
 * The command line of the load generator, with what follows from it and bounds that keep its
 * buffers right. load.c calls it.
 */
#include "load.h"
#include "polling_client.h"
#include "sse_client.h"
#include "ws_client.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char *const mode_names[] = {"echo", "room", "latency", "idle", "connect"};
enum { MODES = sizeof mode_names / sizeof mode_names[0] };

static const struct protocol {
    const char *name, *path;
    const struct wire *wire;
    const struct envelope *envelope;
} protocols[] = {
    {"websocket", "/", &ws_wire, &envelope_plain},
    {"json", "/", &ws_wire, &envelope_json},
    {"socketio", "/socket.io/?EIO=4&transport=websocket", &ws_wire, &envelope_socketio},
    {"polling", POLLING_PATH, &polling_wire, &envelope_socketio},
    {"sse", "/", &sse_wire, &envelope_plain},
};
enum { PROTOCOLS = sizeof protocols / sizeof protocols[0] };

static const struct option options[] = {
    {"port", required_argument, NULL, 'p'},
    {"pid", required_argument, NULL, 'i'},
    {"protocol", required_argument, NULL, 'o'},
    {"deflate", no_argument, NULL, 'd'},
    {"path", required_argument, NULL, 'a'},
    {"sender-path", required_argument, NULL, 'b'},
    {"connections", required_argument, NULL, 'c'},
    {"senders", required_argument, NULL, 'n'},
    {"in-flight", required_argument, NULL, 'f'},
    {"size", required_argument, NULL, 's'},
    {"messages", required_argument, NULL, 'm'},
    {"warmup", required_argument, NULL, 'w'},
    {"rate", required_argument, NULL, 'r'},
    {"timeout", required_argument, NULL, 't'},
    {0},
};

const char *load_mode_name(enum mode mode) {
    return mode_names[mode];
}

static enum mode mode_of(const char *name) {
    for (int i = 0; i < MODES; i++)
        if (strcmp(name, mode_names[i]) == 0)
            return (enum mode)i;
    fail("mode is echo, room, latency, idle or connect, not \"%s\"", name);
}

static void set_protocol(struct load *l, const char *name) {
    for (size_t i = 0; i < PROTOCOLS; i++) {
        if (strcmp(name, protocols[i].name) != 0)
            continue;
        l->protocol = name;
        l->wire = protocols[i].wire;
        l->envelope = protocols[i].envelope;
        l->path = protocols[i].path;
        return;
    }
    fail("protocol is websocket, json, socketio, polling or sse, not \"%s\"", name);
}

static size_t number(const char *text) {
    return strtoul(text, NULL, 10);
}

static void take_option(struct load *l, int option, const char *text) {
    switch (option) {
    case 'p':
        l->io.port = atoi(text);
        return;
    case 'i':
        l->pid = atoi(text);
        return;
    case 'o':
        set_protocol(l, text);
        return;
    case 'd':
        l->io.deflate = true;
        return;
    case 'a':
        l->path = text;
        return;
    case 'b':
        l->sender_path = text;
        return;
    case 'c':
        l->connections = number(text);
        return;
    case 'n':
        l->senders = number(text);
        return;
    case 'f':
        l->in_flight = number(text);
        return;
    case 's':
        l->size = number(text);
        return;
    case 'm':
        l->messages = number(text);
        return;
    case 'w':
        l->warmup = number(text);
        return;
    case 'r':
        l->rate = atof(text);
        return;
    case 't':
        l->timeout = atof(text);
        return;
    default:
        exit(2);
    }
}

void load_options(struct load *l, int argc, char **argv) {
    *l = (struct load){.connections = 1, .senders = 1, .in_flight = 1, .size = 64, .timeout = 60};
    set_protocol(l, "websocket");
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;)
        take_option(l, option, optarg);
    if (optind + 1 != argc)
        fail("usage: bench-load echo|room|latency|idle|connect --port N [...]");
    l->mode = mode_of(argv[optind]);
    l->senders_apart = l->mode == MODE_ROOM && l->wire == &sse_wire;
    if (l->io.port <= 0 || l->connections == 0 || l->in_flight == 0 || l->senders == 0)
        fail("bad options; see options.c");
    if (l->senders > l->connections || l->connections > 28000)
        fail("senders up to connections, connections up to 28000");
    if (l->mode == MODE_LATENCY && !(l->rate > 0))
        fail("latency wants --rate");
}
