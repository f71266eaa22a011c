/* The options of the server. One table in config.c names each once: the flag (--ping-interval), the
 * environment variable (MOONWIRE_PING_INTERVAL), the key of the config file (ping_interval) and the
 * line of --help come from it. A flag beats the environment, which beats the file, which beats the
 * default. Durations are given in seconds (fractions allowed) and sizes in bytes (with K, M or G:
 * times 1024). */
#ifndef MOONWIRE_BASE_CONFIG_H
#define MOONWIRE_BASE_CONFIG_H

#include "base/buf.h"
#include "base/log.h"

struct config {
    /* where to listen */
    char *host;  /* NULL: not given, which means 127.0.0.1 in dev and 0.0.0.0 in run */
    int port;    /* 0: any free one */
    char *admin; /* HOST:PORT of /healthz and /metrics, PORT for 127.0.0.1, or "off"; NULL: not
                    given, which means 127.0.0.1:0 in dev and off in run */
    int backlog;
    /* HTTP */
    size_t max_head; /* bytes */
    int max_headers;
    size_t max_body;             /* bytes */
    uint64_t handshake_timeout;  /* ms; also of an incomplete request head or body */
    uint64_t keep_alive_timeout; /* ms */
    /* connections */
    size_t high_mark;       /* bytes of a client's unread output: then the slow policy */
    size_t hard_limit;      /* bytes of unread output: then closed */
    size_t send_buffer;     /* bytes that the kernel takes of it besides; 0: it decides */
    uint64_t ping_interval; /* ms */
    uint64_t ping_timeout;  /* ms */
    int max_connections;    /* per worker; 0: no limit */
    int max_per_address;    /* connections from one address, per worker; 0: no limit */
    /* clients */
    size_t max_payload;      /* bytes of one message, also after inflating */
    int max_queue;           /* events waiting per client */
    int max_rooms;           /* per client */
    int max_room_name;       /* bytes */
    int max_acks;            /* pending requests per client */
    uint64_t refresh_before; /* ms before an identity ends, to ask for a new one; 0: never */
    int control_rate;        /* control frames a second */
    bool deflate;            /* offer permessage-deflate */
    size_t deflate_min;      /* bytes: smaller messages are not compressed */
    /* Socket.IO */
    char *socketio_path;       /* of its endpoint; "off": none */
    size_t socketio_payload;   /* bytes of a POST or a frame, announced to the client */
    char *socketio_transports; /* "polling,websocket", or one of them */
    bool socketio_upgrades;    /* from polling to WebSocket */
    size_t socketio_gzip;      /* bytes: shorter answers to polls go unpacked; 0: all do */
    uint64_t upgrade_timeout;  /* ms, from a probe to the upgrade */
    uint64_t connect_timeout;  /* ms, until the client is in a namespace */
    char *socketio_cookie;     /* its name; NULL: none */
    /* Lua */
    uint64_t handler_budget; /* ms of one handler call without waiting; 0: none */
    size_t lua_memory;       /* bytes per worker */
    char *jwt_key;           /* a secret, PEM text, or @FILE; NULL: none */
    char *jwt_algorithms;    /* separated by commas; NULL: those of the key's kind */
    char *jwt_audience;      /* NULL: tokens for somebody in particular are not for us */
    char *jwt_issuer;        /* NULL: any */
    /* life */
    uint64_t shutdown_timeout; /* ms, for all of the end */
    uint64_t drain_delay;      /* ms of it, from the signal to the end of accepting */
    uint64_t drain_window;     /* ms of it, at most, in which clients are asked to go */
    char *data;                /* the folder of what is durable; NULL: .moonwire beside the app */
    char *control; /* the socket through which `moonwire reload` reaches the running server; NULL:
                      named after the app's path */
    enum log_level log_level;
    bool log_json;
};

/* Where a problem was found, in words for the user: "--port: 'x' is not a number (expected 0 to
 * 65535)". */
struct config_error {
    char text[512];
};

void config_init(struct config *config); /* The defaults. */
void config_deinit(struct config *config);
/* Applies file, environment, then flags. argv has neither the program's name nor the command. Words
 * that are no flags, and all after "--", are moved to the front of argv in order, their number to
 * *words. --config FILE or MOONWIRE_CONFIG names the file. 0 or UV_EINVAL. */
int config_load(struct config *config, int argc, char **argv, int *words,
                struct config_error *error);
/* The text of a config file: a JSON object of options. path is for the error. 0 or UV_EINVAL. */
int config_read(struct config *config, struct span json, const char *path,
                struct config_error *error);
void config_help(struct writer *out); /* The options, a line or two each, in the table's order. */

#endif
