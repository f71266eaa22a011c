/* The worker: it makes the layers and introduces them to each other, reloads the handlers, and ends
 * everything in order. What a request or a message means is decided elsewhere. */
#include "worker.h"

#include "admin.h"
#include "base/memory.h"
#include "control.h"
#include "drain.h"
#include "hub/store.h"
#include "routing.h"
#include "script/watch.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_INTERVAL 1000 /* ms */
#define WATCH_QUIET 30      /* ms without another save before a reload */
#define CLOSE_CHECK 10      /* ms between looks whether everybody has gone, while shutting down */

struct worker {
    uv_loop_t loop;
    struct io io;
    struct metrics metrics;
    const struct config *config;
    const struct log *log;
    struct script *script;
    struct hub *hub;
    struct store *store; /* NULL: nothing is durable */
    const char *app;     /* the file; NULL: nothing is to be written for it */
    struct routing routing;
    struct http_server http;
    struct listener *listener;
    struct admin admin;
    bool admin_on;
    struct control *control;
    struct watch *watch; /* dev only */
    uv_signal_t sigint;
    uv_signal_t sigterm;
    uv_signal_t sighup;
    uv_timer_t sweep;
    uv_prepare_t clock;
    uv_timer_t closing; /* runs while shutting down */
    uint64_t deadline;  /* ms; 0: in service */
    struct drain *drain;
    bool dev;
    bool told; /* everybody has been asked to go */
};

/* --- reloading -------------------------------------------------------------------------- */

static void watch_file(const char *path, void *data) {
    (void)watch_add(data, path); /* a folder that is gone shows when the reload fails */
}

static void on_file(void *data, const char *path) {
    struct worker *w = data;
    if (w->watch) {
        watch_file(path, w->watch);
    }
}

static void watch_again(struct worker *w) {
    if (w->watch) {
        watch_clear(w->watch);
        script_each_file(w->script, watch_file, w->watch);
    }
}

/* Everything that this worker has in its hands is told: the log says it, and whoever asked. */
static int reload(struct worker *w, struct writer *report) {
    struct writer error = {0};
    int status = script_prepare(w->script, &error);
    if (status) {
        struct log_line line;
        w->metrics.reloads_failed++;
        log_begin(&line, w->log, LOG_ERROR, "reload failed, the old version stays in service");
        log_fieldf(&line, "version", "%u", script_version(w->script));
        log_field(&line, "error", writer_span(&error));
        log_end(&line);
        writer_put_span(report, writer_span(&error));
    } else {
        script_commit(w->script);
        w->metrics.reloads++;
        log_printf(w->log, LOG_INFO, "version %u is in service", script_version(w->script));
        writer_printf(report, "version %u is in service", script_version(w->script));
    }
    watch_again(w);
    writer_deinit(&error);
    return status;
}

static void reload_quietly(struct worker *w) {
    struct writer report = {0};
    (void)reload(w, &report); /* it has been logged */
    writer_deinit(&report);
}

static void on_saved(void *data) {
    reload_quietly(data);
}

static void on_sighup(uv_signal_t *handle, int number) {
    (void)number;
    reload_quietly(handle->data);
}

static int on_command(void *data, struct span command, struct writer *reply) {
    if (span_is(command, "reload")) {
        return reload(data, reply);
    }
    writer_puts(reply, "unknown command");
    return UV_EINVAL;
}

/* --- shutting down ---------------------------------------------------------------------- */

static void close_handle(uv_handle_t *handle) {
    if (handle->loop && !uv_is_closing(handle)) {
        uv_close(handle, NULL);
    }
}

/* Now another server may have the port and the control socket. */
static void stop_accepting(struct worker *w) {
    if (w->listener) {
        listener_stop(w->listener);
        w->listener = NULL;
    }
    if (w->control) {
        control_stop(w->control);
        w->control = NULL;
    }
}

/* Whoever is still connected is cut off; the hooks of the disconnected run, then Lua stops. */
static void end_service(struct worker *w) {
    stop_accepting(w);
    if (w->admin_on) {
        admin_stop(&w->admin);
    }
    if (w->script) {
        eio_server_drain(&w->routing.engine);
    }
    io_abort_conns(&w->io);
    io_end_turn(&w->io);
    if (w->script) {
        script_stop(w->script);
    }
    io_end_turn(&w->io);
    if (w->store) { /* what has been said is written, though nobody hears of it any more */
        store_stop(w->store);
    }
    io_end_turn(&w->io);
    io_stop(&w->io);
    watch_free(w->watch);
    w->watch = NULL;
    drain_free(w->drain);
    w->drain = NULL;
    close_handle((uv_handle_t *)&w->sigint);
    close_handle((uv_handle_t *)&w->sigterm);
    close_handle((uv_handle_t *)&w->sighup);
    close_handle((uv_handle_t *)&w->sweep);
    close_handle((uv_handle_t *)&w->clock);
    close_handle((uv_handle_t *)&w->closing);
}

/* Also those of whom only the last hooks are left, which may wait. */
static bool everybody_gone(const struct worker *w) {
    return hub_count(w->hub) == 0 && ws_server_count(w->routing.ws) == 0 &&
           sse_server_count(w->routing.sse) == 0 && eio_server_count(&w->routing.engine) == 0 &&
           LIST_EMPTY(&w->http.active);
}

/* Asks clients to go; once all have been asked, those who are no clients go as well. */
static void ask_to_go(struct worker *w, bool all) {
    if (!w->told && drain_step(w->drain, uv_now(&w->loop), all)) {
        w->told = true;
        eio_server_drain(&w->routing.engine);
        http_server_drain(&w->http);
    }
}

static void on_closing(uv_timer_t *timer) {
    struct worker *w = timer->data;
    ask_to_go(w, false);
    if (w->told && everybody_gone(w)) {
        end_service(w);
    } else if (uv_now(&w->loop) >= w->deadline) {
        log_printf(w->log, LOG_WARN, "the deadline is over: closing what is left");
        end_service(w);
    }
}

static void start_draining(struct worker *w) {
    uint64_t now = uv_now(&w->loop);
    struct drain_plan plan = {.now = now, .deadline = w->deadline};
    plan.longest = w->dev ? 0 : w->config->drain_window;
    stop_accepting(w);
    http_server_wind_down(&w->http);
    w->drain = drain_new(w->hub, script_app(w->script), &plan);
    log_printf(w->log, LOG_INFO, "accepting no more; asking clients to go: %zu, within %.1f s",
               hub_count(w->hub), (double)drain_window(w->drain) / 1000);
    ask_to_go(w, false);
    io_end_turn(&w->io); /* what has been said is sent, even if the deadline is now */
    uv_timer_start(&w->closing, on_closing, 0, CLOSE_CHECK);
}

static void on_delay_over(uv_timer_t *timer) {
    start_draining(timer->data);
}

/* First of all it is told to who may know somebody else to send clients to. */
static void shut_down(struct worker *w) {
    log_printf(w->log, LOG_INFO, "shutting down");
    w->deadline = uv_now(&w->loop) + w->config->shutdown_timeout;
    w->admin.draining = true;
    if (w->config->drain_delay && !w->dev) {
        uv_timer_start(&w->closing, on_delay_over, w->config->drain_delay, 0);
    } else {
        start_draining(w);
    }
}

/* Asked again, there is no time for anybody, but for a word. */
static void end_at_once(struct worker *w) {
    log_printf(w->log, LOG_WARN, "asked again: ending at once");
    if (!w->drain) {
        start_draining(w);
    }
    ask_to_go(w, true);
    io_end_turn(&w->io);
    end_service(w);
}

static void on_terminate(uv_signal_t *handle, int number) {
    struct worker *w = handle->data;
    (void)number;
    if (!w->deadline) {
        shut_down(w);
    } else if (uv_is_active((uv_handle_t *)&w->closing)) {
        end_at_once(w);
    }
}

/* --- starting --------------------------------------------------------------------------- */

static void on_request(struct http_server *server, struct exchange *x) {
    struct worker *w = server->data;
    routing_serve(&w->routing, x);
}

static void on_accept(struct conn *conn, void *data) {
    struct worker *w = data;
    http_accept(&w->http, conn);
}

static struct client *open_stream(void *data, struct exchange *x, struct ns *ns,
                                  const struct verdict *verdict) {
    struct worker *w = data;
    return routing_open_stream(&w->routing, x, ns, verdict);
}

static void defer_closed(void *io, struct deferred *deferred) {
    io_defer_closed(io, deferred);
}

static void on_sweep(uv_timer_t *timer) {
    struct worker *w = timer->data;
    hub_sweep(w->hub);
}

/* Just before the loop sleeps: what happens after the wake-up happens at about this time or later.
 */
static void on_clock(uv_prepare_t *prepare) {
    struct worker *w = prepare->data;
    hub_set_now(w->hub, uv_now(&w->loop));
}

static void start_handles(struct worker *w) {
    uv_signal_init(&w->loop, &w->sigint);
    uv_signal_init(&w->loop, &w->sigterm);
    uv_signal_init(&w->loop, &w->sighup);
    uv_timer_init(&w->loop, &w->sweep);
    uv_timer_init(&w->loop, &w->closing);
    uv_prepare_init(&w->loop, &w->clock);
    w->sigint.data = w->sigterm.data = w->sighup.data = w;
    w->sweep.data = w->closing.data = w->clock.data = w;
    uv_timer_start(&w->sweep, on_sweep, SWEEP_INTERVAL, SWEEP_INTERVAL);
    uv_prepare_start(&w->clock, on_clock);
}

/* Only who serves has somebody to say goodbye to; others end as a process does. */
static void hear_signals(struct worker *w) {
    uv_signal_start(&w->sigint, on_terminate, SIGINT);
    uv_signal_start(&w->sigterm, on_terminate, SIGTERM);
    uv_signal_start(&w->sighup, on_sighup, SIGHUP);
}

/* The folder for what is durable: by default beside the app. */
static char *data_folder(const struct worker *w) {
    struct writer path = {0};
    const char *slash = strrchr(w->app, '/');
    if (w->config->data) {
        return memory_strdup(w->config->data);
    }
    writer_put(&path, w->app, slash ? (size_t)(slash - w->app) + 1 : 0);
    writer_puts(&path, ".moonwire");
    char *text = memory_strndup(writer_span(&path).at, writer_len(&path));
    writer_deinit(&path);
    return text;
}

/* Once it is open, it stays so to the end, whatever a reload says. */
static int need_store(void *data, struct writer *error) {
    struct worker *w = data;
    if (w->store || !w->app) {
        return 0;
    }
    char *folder = data_folder(w);
    int status = store_open(&w->store, &w->loop, folder, w->log, &w->metrics, error);
    free(folder);
    if (status == 0) {
        hub_set_store(w->hub, w->store);
    }
    return status;
}

static int build_layers(struct worker *w, const char *app) {
    struct script_env env = {
        .io = &w->io,
        .config = w->config,
        .log = w->log,
        .metrics = &w->metrics,
        .open_stream = open_stream,
        .on_file = on_file,
        .need_store = need_store,
        .data = w,
    };
    int status = script_new(&w->script, &env, app);
    if (status) {
        return status;
    }
    struct app *up = script_app(w->script);
    w->hub = hub_new(w->config, &w->metrics, &w->io.arena, up, defer_closed, &w->io);
    hub_set_now(w->hub, uv_now(&w->loop));
    script_set_hub(w->script, w->hub);
    w->routing.app = up;
    w->routing.ws = ws_server_new(&w->io, w->config, up, &w->metrics);
    w->routing.sse = sse_server_new(&w->io, w->config, up, &w->metrics);
    eio_server_init(&w->routing.engine, &w->io, w->config);
    w->routing.sio = sio_server_new(&w->routing.engine, up, &w->metrics);
    w->routing.plain = (struct plain_server){&w->routing.engine, up, &w->metrics, {NULL}};
    http_server_init(&w->http, &w->io, w->config, on_request, w);
    return 0;
}

static int listen_for_all(struct worker *w, const char *app, struct writer *error) {
    const struct config *config = w->config;
    int status = listener_start(&w->listener, &w->io, config->host, config->port, on_accept, w);
    if (status) {
        writer_printf(error, "cannot listen on %s port %d: %s", config->host, config->port,
                      uv_strerror(status));
        return status;
    }
    if (config->admin) {
        status = admin_start(&w->admin, &w->io, config, &w->metrics, w->script, config->admin);
        if (status) {
            writer_printf(error, "cannot open --admin %s: %s", config->admin, uv_strerror(status));
            return status;
        }
        w->admin_on = true;
    }
    char *path = control_path(config->control, app);
    status = path ? control_start(&w->control, &w->loop, path, on_command, w) : UV_EACCES;
    if (status) {
        log_printf(w->log, LOG_WARN, "no control socket (%s): `moonwire reload` will not find us",
                   uv_strerror(status));
    }
    free(path);
    return 0;
}

/* A worker with its layers, that serves nobody yet. */
static int worker_new(struct worker **out, const struct config *config, const struct log *log,
                      const char *app, struct writer *error) {
    struct worker *w = memory_zalloc(sizeof *w);
    w->config = config;
    w->log = log;
    int status = uv_loop_init(&w->loop);
    if (!status) {
        status = io_init(&w->io, &w->loop, config, &w->metrics);
    }
    if (status) {
        writer_printf(error, "cannot start a loop: %s", uv_strerror(status));
        free(w);
        return status;
    }
    start_handles(w);
    status = build_layers(w, app);
    if (status) {
        writer_printf(error, "cannot start Lua: %s", uv_strerror(status));
        worker_free(w);
        return status;
    }
    *out = w;
    return 0;
}

static void start_watching(struct worker *w) {
    int status = watch_new(&w->watch, &w->loop, WATCH_QUIET, on_saved, w);
    if (status) {
        log_printf(w->log, LOG_WARN, "cannot watch for changes: %s", uv_strerror(status));
    }
    watch_again(w);
}

int worker_start(struct worker **out, const struct config *config, const struct log *log,
                 const char *app, bool dev, struct writer *error) {
    struct worker *w;
    int status = worker_new(&w, config, log, app, error);
    if (status) {
        return status;
    }
    hear_signals(w);
    w->app = app;
    status = script_prepare(w->script, error);
    if (!status) {
        status = listen_for_all(w, app, error);
    }
    if (status) {
        worker_free(w);
        return status;
    }
    script_commit(w->script);
    w->dev = dev;
    if (dev) {
        start_watching(w);
    }
    *out = w;
    return 0;
}

int worker_check(const struct config *config, const struct log *log, const char *app,
                 struct writer *error) {
    struct worker *w;
    int status = worker_new(&w, config, log, app, error);
    if (!status) {
        status = script_prepare(w->script, error);
        worker_free(w);
    }
    return status;
}

int worker_run_lua(const struct config *config, const struct log *log, const char *file, int argc,
                   char **argv) {
    struct worker *w;
    struct writer error = {0};
    int status = worker_new(&w, config, log, file, &error);
    if (status) {
        struct span text = writer_span(&error);
        log_printf(log, LOG_ERROR, "%.*s", (int)text.len, text.at);
    } else {
        status = script_run_file(w->script, file, argc, argv);
        worker_free(w);
    }
    writer_deinit(&error);
    return status ? 1 : 0;
}

int worker_port(const struct worker *w) {
    return listener_port(w->listener);
}

int worker_admin_port(const struct worker *w) {
    return w->admin_on ? admin_port(&w->admin) : 0;
}

void worker_run(struct worker *w) {
    uv_run(&w->loop, UV_RUN_DEFAULT);
}

void worker_free(struct worker *w) {
    if (!uv_is_closing((uv_handle_t *)&w->closing)) {
        end_service(w);
        uv_run(&w->loop, UV_RUN_DEFAULT);
    }
    if (w->admin_on) {
        admin_deinit(&w->admin);
    }
    if (w->script) {
        http_server_deinit(&w->http);
        ws_server_free(w->routing.ws);
        sse_server_free(w->routing.sse);
        sio_server_free(w->routing.sio);
        writer_deinit(&w->routing.plain.scratch);
        eio_server_deinit(&w->routing.engine);
        script_free(w->script);
        hub_free(w->hub);
    }
    if (w->store) {
        store_free(w->store);
    }
    io_deinit(&w->io);
    uv_loop_close(&w->loop);
    free(w);
}
