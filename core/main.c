/* The command line: what is asked for, with which options, and what is told to the person who
 * asked. Everything else is the worker's. */
#include "base/config.h"
#include "base/memory.h"
#include "control.h"
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

struct command {
    const char *name;
    const char *arguments;
    const char *help;
    int (*run)(const struct command *command, int argc, char **argv);
};

static int complain(const char *text) {
    fprintf(stderr, "moonwire: %s\n", text);
    return 1;
}

static int complain_of(struct writer *text) {
    struct span said = writer_span(text);
    fprintf(stderr, "moonwire: %.*s\n", (int)said.len, said.len ? said.at : "");
    writer_deinit(text);
    return 1;
}

/* Loads the options and finds the one word that names the app. Zero, or the exit code. */
static int take_options(struct config *config, int argc, char **argv, const char **app) {
    struct config_error error;
    int words = 0;
    config_init(config);
    if (config_load(config, argc, argv, &words, &error)) {
        config_deinit(config);
        complain(error.text);
        return 2;
    }
    if (words != 1) {
        config_deinit(config);
        complain(words ? "one handler file, please" : "which handler file? (moonwire run app.lua)");
        return 2;
    }
    *app = argv[0];
    if (access(*app, R_OK) != 0) {
        fprintf(stderr, "moonwire: cannot read %s: %s\n", *app, strerror(errno));
        config_deinit(config);
        return 1;
    }
    return 0;
}

/* A descriptor that is closed would be given to the next file that is opened, and what is logged
 * would then go into a socket or worse. */
static void keep_standard_files(void) {
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO) {
        fd = open("/dev/null", O_RDWR);
    }
    close(fd);
}

/* Each connection is a file; the soft limit is often 1,024. */
static void raise_file_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)!setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Message buffers come and go at the top of the heap. glibc would give each one's pages back and
 * fault them in again for the next: a third of the CPU of an echo of 16 KiB. */
static void keep_heap(void) {
    mallopt(M_TRIM_THRESHOLD, 16 << 20);
    mallopt(M_MMAP_THRESHOLD, 4 << 20);
}

static void announce(const struct worker *worker, const struct config *config, const char *app) {
    const char *host = strcmp(config->host, "0.0.0.0") == 0 || strcmp(config->host, "::") == 0
                           ? "localhost"
                           : config->host;
    bool v6 = strchr(host, ':') != NULL;
    printf("moonwire %s serving %s on http://%s%s%s:%d/\n", MOONWIRE_VERSION, app, v6 ? "[" : "",
           host, v6 ? "]" : "", worker_port(worker));
    if (worker_admin_port(worker)) {
        printf("moonwire admin on port %d: /healthz /metrics\n", worker_admin_port(worker));
    }
    fflush(stdout);
}

static struct log log_of(const struct config *config) {
    return (struct log){.level = config->log_level, .json = config->log_json, .fd = STDERR_FILENO};
}

/* run and dev: they differ in defaults that suit a machine on the network and a desk, and dev
 * watches the files. */
static int run_server(const struct command *command, int argc, char **argv) {
    struct config config;
    const char *app;
    bool dev = strcmp(command->name, "dev") == 0;
    int status = take_options(&config, argc, argv, &app);
    if (status) {
        return status;
    }
    if (!config.host) {
        config.host = memory_strdup(dev ? "127.0.0.1" : "0.0.0.0");
    }
    if (dev && !config.admin) {
        config.admin = memory_strdup("127.0.0.1:0");
    } else if (config.admin && strcmp(config.admin, "off") == 0) {
        free(config.admin);
        config.admin = NULL;
    }
    struct log log = log_of(&config);
    struct writer error = {0};
    struct worker *worker;
    raise_file_limit();
    keep_heap();
    status = worker_start(&worker, &config, &log, app, dev, &error);
    if (status) {
        status = complain_of(&error);
    } else {
        announce(worker, &config, app);
        worker_run(worker);
        worker_free(worker);
    }
    config_deinit(&config);
    return status;
}

static int run_check(const struct command *command, int argc, char **argv) {
    struct config config;
    const char *app;
    (void)command;
    int status = take_options(&config, argc, argv, &app);
    if (status) {
        return status;
    }
    struct log log = log_of(&config);
    struct writer error = {0};
    status = worker_check(&config, &log, app, &error);
    if (status) {
        status = complain_of(&error);
    } else {
        printf("%s is fine\n", app);
    }
    config_deinit(&config);
    return status;
}

static int run_reload(const struct command *command, int argc, char **argv) {
    struct config config;
    const char *app;
    int status = take_options(&config, argc, argv, &app);
    if (status) {
        return status;
    }
    struct writer reply = {0};
    char *path = control_path(config.control, app);
    status = path ? control_ask(path, command->name, &reply) : UV_EACCES;
    if (status == UV_EINVAL) {
        status = complain_of(&reply);
    } else if (status) {
        fprintf(stderr, "moonwire: no server runs %s (%s)\n", app, uv_strerror(status));
        status = 1;
    } else {
        struct span said = writer_span(&reply);
        printf("%.*s\n", (int)said.len, said.at);
    }
    writer_deinit(&reply);
    free(path);
    config_deinit(&config);
    return status;
}

/* Runs a Lua file in the server's own runtime, for the tests of the Lua library. */
static int run_lua(const struct command *command, int argc, char **argv) {
    struct config config;
    (void)command;
    if (argc < 1) {
        return complain("which Lua file?");
    }
    config_init(&config);
    struct log log = log_of(&config);
    int status = worker_run_lua(&config, &log, argv[0], argc, argv);
    config_deinit(&config);
    return status;
}

static int run_version(const struct command *command, int argc, char **argv) {
    (void)command;
    (void)argc;
    (void)argv;
    printf("moonwire %s\n", MOONWIRE_VERSION);
    return 0;
}

static int run_help(const struct command *command, int argc, char **argv);

static const struct command commands[] = {
    {"run", "APP", "serve the handlers in this Lua file", run_server},
    {"dev", "APP", "the same for a desk: loopback only, reloads on save, admin on", run_server},
    {"check", "APP", "load and validate it, and serve nothing", run_check},
    {"reload", "APP", "tell the server that runs it to load it anew", run_reload},
    {"version", "", "print the version", run_version},
    {"help", "", "print this", run_help},
    {"lua", "FILE", NULL, run_lua}, /* not for people: no help */
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static int run_help(const struct command *command, int argc, char **argv) {
    struct writer options = {0};
    (void)command;
    (void)argc;
    (void)argv;
    printf(
        "moonwire %s: a realtime application server\n\nusage: moonwire COMMAND [APP] [OPTIONS]\n\n",
        MOONWIRE_VERSION);
    for (size_t i = 0; i < COMMANDS; i++) {
        if (commands[i].help) {
            printf("  %-8s %-4s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
        }
    }
    config_help(&options);
    struct span text = writer_span(&options);
    printf("\n%.*s", (int)text.len, text.at);
    writer_deinit(&options);
    return 0;
}

static bool asks_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            return true;
        }
    }
    return argc < 2;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* who writes hears that the file may not grow */
    keep_standard_files();
    if (asks_help(argc, argv)) {
        (void)run_help(NULL, 0, NULL);
        return argc < 2 ? 2 : 0;
    }
    const char *name = strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return commands[i].run(&commands[i], argc - 2, argv + 2);
        }
    }
    fprintf(stderr, "moonwire: unknown command '%s' (moonwire --help lists them)\n", argv[1]);
    return 2;
}
