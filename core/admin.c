/* The side door of the operator: whether we are well, and the counters with their labels. Started
 * by worker.c; it answers from what it is given and asks the app nothing. */
#include "admin.h"

#include "http/response.h"
#include "hub/recovery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static void write_connections(struct writer *out, const struct metrics *m) {
    metrics_family(out, "moonwire_connections", "gauge", "Open TCP connections.");
    metrics_sample(out, "moonwire_connections", NULL, NULL, (double)m->connections);
    metrics_family(out, "moonwire_connections_accepted_total", "counter", "TCP connections taken.");
    metrics_sample(out, "moonwire_connections_accepted_total", NULL, NULL,
                   (double)m->connections_accepted);
    metrics_family(out, "moonwire_connections_refused_total", "counter",
                   "TCP connections beyond a limit.");
    metrics_sample(out, "moonwire_connections_refused_total", NULL, NULL,
                   (double)m->connections_refused);
    metrics_family(out, "moonwire_http_requests_total", "counter", "Requests by class of status.");
    for (int i = 1; i < 6; i++) {
        char class[] = {(char)('0' + i), 'x', 'x', '\0'};
        metrics_sample(out, "moonwire_http_requests_total", "status", class,
                       (double)m->http_requests[i]);
    }
    metrics_family(out, "moonwire_received_bytes_total", "counter", "Bytes read from sockets.");
    metrics_sample(out, "moonwire_received_bytes_total", NULL, NULL, (double)m->bytes_received);
    metrics_family(out, "moonwire_sent_bytes_total", "counter", "Bytes written to sockets.");
    metrics_sample(out, "moonwire_sent_bytes_total", NULL, NULL, (double)m->bytes_sent);
}

/* The deflate windows are wires of their own inside; to an operator they are WebSockets. */
static double sum_of_wire(const char *name, const uint64_t *values) {
    double sum = 0;
    for (enum wire wire = 0; wire < WIRE_COUNT; wire++) {
        sum += strcmp(wire_name(wire), name) == 0 ? (double)values[wire] : 0;
    }
    return sum;
}

static void write_by_wire(struct writer *out, const char *name, const char *type, const char *help,
                          const uint64_t *values) {
    metrics_family(out, name, type, help);
    const char *last = "";
    for (enum wire wire = 0; wire < WIRE_COUNT; wire++) {
        if (strcmp(wire_name(wire), last) != 0) {
            last = wire_name(wire);
            metrics_sample(out, name, "wire", last, sum_of_wire(last, values));
        }
    }
}

static void write_clients(struct writer *out, const struct metrics *m) {
    uint64_t now[WIRE_COUNT];
    for (enum wire wire = 0; wire < WIRE_COUNT; wire++) {
        now[wire] = (uint64_t)m->clients[wire];
    }
    write_by_wire(out, "moonwire_clients", "gauge", "Connected clients.", now);
    write_by_wire(out, "moonwire_clients_total", "counter", "Clients connected so far.",
                  m->clients_total);
    write_by_wire(out, "moonwire_messages_received_total", "counter", "Messages from clients.",
                  m->messages_received);
    write_by_wire(out, "moonwire_deliveries_total", "counter", "Messages queued to clients.",
                  m->deliveries);
    static const char *const policies[] = {
        [DROPPED_VOLATILE] = "volatile", [DROPPED_SLOW] = "drop", [DROPPED_REPLACED] = "latest"};
    metrics_family(out, "moonwire_messages_dropped_total", "counter",
                   "Messages not queued to clients whose socket was blocked (volatile), that were "
                   "slow (drop), or because a newer one took their place (latest).");
    for (enum dropped why = 0; why < DROPPED_COUNT; why++) {
        metrics_sample(out, "moonwire_messages_dropped_total", "policy", policies[why],
                       (double)m->dropped[why]);
    }
    metrics_family(out, "moonwire_slow_clients", "gauge",
                   "Clients for which messages are dropped or held back at the moment.");
    metrics_sample(out, "moonwire_slow_clients", NULL, NULL, (double)m->slow_clients);
    metrics_family(out, "moonwire_slow_clients_closed_total", "counter",
                   "Clients closed because they left too much unread.");
    metrics_sample(out, "moonwire_slow_clients_closed_total", NULL, NULL, (double)m->closed_slow);
    metrics_family(out, "moonwire_queued_events", "gauge",
                   "Events of clients that wait for an earlier handler of the same client.");
    metrics_sample(out, "moonwire_queued_events", NULL, NULL, (double)m->queued_events);
}

static void write_replays(struct writer *out, const struct metrics *m) {
    metrics_family(
        out, "moonwire_recoveries_total", "counter",
        "Joins of clients that came back, by what became of it: what they had missed was "
        "replayed (recovered), or could not be.");
    for (enum replay_result result = REPLAY_DONE; result < REPLAY_COUNT; result++) {
        const char *reason = replay_reason(result);
        metrics_sample(out, "moonwire_recoveries_total", "result", reason ? reason : "recovered",
                       (double)m->replays[result]);
    }
}

static void write_returns(struct writer *out, const struct metrics *m) {
    metrics_family(out, "moonwire_socketio_recoveries_total", "counter",
                   "Clients of Socket.IO that came back for their state (recovery), by what became "
                   "of it.");
    for (enum recovery_result result = RECOVERY_DONE; result < RECOVERY_BUSY; result++) {
        const char *reason = recovery_reason(result);
        metrics_sample(out, "moonwire_socketio_recoveries_total", "result",
                       reason ? reason : "recovered", (double)m->returns[result]);
    }
}

static void write_store(struct writer *out, const struct metrics *m) {
    metrics_histogram(out, "moonwire_store_commit_seconds",
                      "Time of one commit of durable history, of many records.", &m->store_time);
    metrics_family(out, "moonwire_store_commits_total", "counter", "Commits of durable history.");
    metrics_sample(out, "moonwire_store_commits_total", NULL, NULL, (double)m->store_commits);
    metrics_family(out, "moonwire_store_records_total", "counter", "Records committed.");
    metrics_sample(out, "moonwire_store_records_total", NULL, NULL, (double)m->store_records);
    metrics_family(out, "moonwire_store_errors_total", "counter",
                   "Records that could not be written, and logs that could not be read.");
    metrics_sample(out, "moonwire_store_errors_total", NULL, NULL, (double)m->store_errors);
    metrics_family(out, "moonwire_store_queue", "gauge", "Records that wait for their commit.");
    metrics_sample(out, "moonwire_store_queue", NULL, NULL, (double)m->store_queue);
}

static void write_handlers(struct writer *out, const struct admin *admin) {
    const struct metrics *m = admin->metrics;
    metrics_histogram(out, "moonwire_handler_seconds",
                      "Time of one handler call, without what it waited for.", &m->handler_time);
    metrics_family(out, "moonwire_handler_calls_total", "counter", "Handler calls by hook.");
    for (enum hook hook = 0; hook < HOOK_COUNT; hook++) {
        metrics_sample(out, "moonwire_handler_calls_total", "hook", hook_name(hook),
                       (double)m->handler_calls[hook]);
    }
    metrics_family(out, "moonwire_handler_errors_total", "counter", "Handler errors by hook.");
    for (enum hook hook = 0; hook < HOOK_COUNT; hook++) {
        metrics_sample(out, "moonwire_handler_errors_total", "hook", hook_name(hook),
                       (double)m->handler_errors[hook]);
    }
    metrics_family(out, "moonwire_reloads_total", "counter", "Reloads by outcome.");
    metrics_sample(out, "moonwire_reloads_total", "outcome", "done", (double)m->reloads);
    metrics_sample(out, "moonwire_reloads_total", "outcome", "failed", (double)m->reloads_failed);
    metrics_family(out, "moonwire_handler_version", "gauge",
                   "Version of the handlers in service: 1 at the start, one more at each reload.");
    metrics_sample(out, "moonwire_handler_version", NULL, NULL, script_version(admin->script));
    metrics_family(out, "moonwire_lua_memory_bytes", "gauge", "Memory in use by Lua.");
    metrics_sample(out, "moonwire_lua_memory_bytes", NULL, NULL,
                   (double)script_memory(admin->script));
    metrics_family(out, "moonwire_info", "gauge", "The server's version, as a label.");
    metrics_sample(out, "moonwire_info", "version", MOONWIRE_VERSION, 1);
    metrics_family(out, "moonwire_start_time_seconds", "gauge", "When the server started.");
    metrics_sample(out, "moonwire_start_time_seconds", NULL, NULL, admin->started);
}

static void answer_metrics(struct admin *admin, struct exchange *x) {
    struct response r;
    struct writer out = {0};
    response_init(&r, 200);
    (void)!response_header(&r, SPAN("Content-Type"),
                           SPAN("text/plain; version=0.0.4; charset=utf-8"));
    write_connections(&out, admin->metrics);
    write_clients(&out, admin->metrics);
    write_replays(&out, admin->metrics);
    write_returns(&out, admin->metrics);
    write_store(&out, admin->metrics);
    write_handlers(&out, admin);
    r.body = writer_take(&out);
    response_send(x, &r);
}

static void on_request(struct http_server *server, struct exchange *x) {
    struct admin *admin = server->data;
    struct span path = request_path(exchange_request(x));
    struct span method = request_method(exchange_request(x));
    if (!span_is(method, "GET") && !span_is(method, "HEAD")) {
        response_text(x, 405, "only GET and HEAD");
    } else if (span_is(path, "/metrics")) {
        answer_metrics(admin, x);
    } else if (!span_is(path, "/healthz")) {
        response_text(x, 404, "try /healthz or /metrics");
    } else if (admin->draining) {
        response_text(x, 503, "shutting down");
    } else {
        response_text(x, 200, "ok");
    }
}

static void on_accept(struct conn *conn, void *data) {
    struct admin *admin = data;
    http_accept(&admin->http, conn);
}

/* "9100", "127.0.0.1:9100", "[::1]:9100"; base/config has looked at it before. */
static int split_address(const char *address, char host[256], int *port) {
    const char *colon = strrchr(address, ':');
    const char *digits = colon ? colon + 1 : address;
    size_t len = colon ? (size_t)(colon - address) : 0;
    char *end;
    errno = 0;
    long number = strtol(digits, &end, 10);
    if (len >= 256 || end == digits || *end || errno || number < 0 || number > 65535) {
        return UV_EINVAL;
    }
    if (len > 1 && address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    memcpy(host, len ? address : "127.0.0.1", len ? len : sizeof "127.0.0.1");
    if (len) {
        host[len] = '\0';
    }
    *port = (int)number;
    return 0;
}

int admin_start(struct admin *admin, struct io *io, const struct config *config,
                const struct metrics *metrics, const struct script *script, const char *address) {
    char host[256];
    int port;
    int error = split_address(address, host, &port);
    if (error) {
        return error;
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    admin->started = (double)now.tv_sec;
    admin->metrics = metrics;
    admin->script = script;
    admin->draining = false;
    admin->listener = NULL;
    http_server_init(&admin->http, io, config, on_request, admin);
    error = listener_start(&admin->listener, io, host, port, on_accept, admin);
    if (error) {
        http_server_deinit(&admin->http);
    }
    return error;
}

int admin_port(const struct admin *admin) {
    return listener_port(admin->listener);
}

void admin_stop(struct admin *admin) {
    listener_stop(admin->listener);
    http_server_drain(&admin->http);
}

void admin_deinit(struct admin *admin) {
    http_server_deinit(&admin->http);
}
