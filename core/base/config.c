/* The one table of the options, their defaults and the help that is printed from it. Reading values
 * is in config_load.c; what the options mean is known to those who use them. */
#include "base/config.h"

#include <stdlib.h>
#include <string.h>

#include "base/config_table.h"

#define K 1024.0
#define M (1024 * K)
#define G (1024 * M)

#define AT(field) offsetof(struct config, field)

// clang-format off
const struct option config_options[] = {
    {"host", OPTION_TEXT, AT(host), 0, 0, NULL, "Listening",
     "address to listen on; default 127.0.0.1 in dev, 0.0.0.0 in run"},
    {"port", OPTION_COUNT, AT(port), 0, 65535, "3000", NULL,
     "0: any free one"},
    {"admin", OPTION_ADDRESS, AT(admin), 0, 0, NULL, NULL,
     "/healthz and /metrics; default 127.0.0.1:0 in dev, off in run"},
    {"backlog", OPTION_COUNT, AT(backlog), 1, 65535, "1024", NULL,
     "connections that wait to be accepted"},

    {"max_head", OPTION_SIZE, AT(max_head), 512, M, "16K", "HTTP",
     "head of a request; beyond it: 431"},
    {"max_headers", OPTION_COUNT, AT(max_headers), 1, 10000, "100", NULL,
     "header fields of a request; beyond it: 431"},
    {"max_body", OPTION_SIZE, AT(max_body), 0, G, "1M", NULL,
     "body of a request; beyond it: 413"},
    {"handshake_timeout", OPTION_SECONDS, AT(handshake_timeout), 0.01, 3600, "10", NULL,
     "for a whole request to arrive; beyond it: 408"},
    {"keep_alive_timeout", OPTION_SECONDS, AT(keep_alive_timeout), 0.01, 86400, "60", NULL,
     "between the requests of a connection"},

    {"high_mark", OPTION_SIZE, AT(high_mark), K, G, "1M", "Connections",
     "a client's unread output, then it is slow"},
    {"hard_limit", OPTION_SIZE, AT(hard_limit), 512 * K, 4 * G, "4M", NULL,
     "a client's unread output, then it is closed"},
    {"send_buffer", OPTION_SIZE, AT(send_buffer), 0, 64 * M, "0", NULL,
     "the kernel's, before the high mark begins; 0: it decides"},
    {"ping_interval", OPTION_SECONDS, AT(ping_interval), 0.01, 86400, "25", NULL,
     "between pings to a client"},
    {"ping_timeout", OPTION_SECONDS, AT(ping_timeout), 0.01, 86400, "20", NULL,
     "for the answer to a ping"},
    {"max_connections", OPTION_COUNT, AT(max_connections), 0, 1e8, "0", NULL,
     "of a worker; 0: no limit"},
    {"max_per_address", OPTION_COUNT, AT(max_per_address), 0, 1e8, "0", NULL,
     "connections from one address; 0: no limit"},

    {"max_payload", OPTION_SIZE, AT(max_payload), 1, G, "1M", "Clients",
     "one message, also after inflating"},
    {"max_queue", OPTION_COUNT, AT(max_queue), 1, 1e6, "256", NULL,
     "events that wait for a client's handler"},
    {"max_rooms", OPTION_COUNT, AT(max_rooms), 1, 1e6, "1000", NULL,
     "rooms of a client"},
    {"max_room_name", OPTION_COUNT, AT(max_room_name), 1, 4096, "256", NULL,
     "bytes of a room's name"},
    {"max_acks", OPTION_COUNT, AT(max_acks), 1, 1e6, "1000", NULL,
     "requests that a client has not answered yet"},
    {"refresh_before", OPTION_SECONDS, AT(refresh_before), 0, 86400, "30", NULL,
     "to ask for a new token before one ends; 0: never"},
    {"control_rate", OPTION_COUNT, AT(control_rate), 1, 1e6, "100", NULL,
     "control frames a second; beyond it: 1008"},
    {"deflate", OPTION_SWITCH, AT(deflate), 0, 0, "on", NULL,
     "offer permessage-deflate"},
    {"deflate_min", OPTION_SIZE, AT(deflate_min), 0, G, "1K", NULL,
     "smaller messages are not compressed"},

    {"socketio_path", OPTION_TEXT, AT(socketio_path), 0, 0, "/socket.io/", "Socket.IO",
     "of its endpoint; off: none"},
    {"socketio_payload", OPTION_SIZE, AT(socketio_payload), 1, G, "1000000", NULL,
     "one POST or frame; beyond it: 413 or 1009"},
    {"socketio_transports", OPTION_TEXT, AT(socketio_transports), 0, 0, "polling,websocket", NULL,
     "both, or one of them"},
    {"socketio_upgrades", OPTION_SWITCH, AT(socketio_upgrades), 0, 0, "on", NULL,
     "from polling to WebSocket"},
    {"socketio_gzip", OPTION_SIZE, AT(socketio_gzip), 0, G, "1K", NULL,
     "shorter answers to polls are not compressed; 0: none is"},
    {"upgrade_timeout", OPTION_SECONDS, AT(upgrade_timeout), 0.01, 3600, "10", NULL,
     "for an upgrade to finish"},
    {"connect_timeout", OPTION_SECONDS, AT(connect_timeout), 0.01, 3600, "45", NULL,
     "until a client is in a namespace"},
    {"socketio_cookie", OPTION_TEXT, AT(socketio_cookie), 0, 0, NULL, NULL,
     "name of a cookie with the session's id; default: none"},

    {"handler_budget", OPTION_SECONDS, AT(handler_budget), 0, 3600, "1", "Lua",
     "one handler call without waiting; 0: no limit"},
    {"lua_memory", OPTION_SIZE, AT(lua_memory), 4 * M, 1024 * G, "512M", NULL,
     "memory of a worker's handlers"},

    {"jwt_key", OPTION_TEXT, AT(jwt_key), 0, 0, NULL, "Tokens",
     "of mw.jwt: a secret, PEM text, or @FILE; better not as a flag"},
    {"jwt_algorithms", OPTION_TEXT, AT(jwt_algorithms), 0, 0, NULL, NULL,
     "such as RS256,ES256; default: those of the key's kind"},
    {"jwt_audience", OPTION_TEXT, AT(jwt_audience), 0, 0, NULL, NULL,
     "who we are in a token's aud; default: nobody"},
    {"jwt_issuer", OPTION_TEXT, AT(jwt_issuer), 0, 0, NULL, NULL,
     "whose tokens we take; default: anybody's"},

    {"shutdown_timeout", OPTION_SECONDS, AT(shutdown_timeout), 0, 3600, "10", "Running",
     "for all of the end, from the signal to the exit"},
    {"drain_delay", OPTION_SECONDS, AT(drain_delay), 0, 3600, "0", NULL,
     "of that, from the 503 of /healthz to the last accept"},
    {"drain_window", OPTION_SECONDS, AT(drain_window), 0, 3600, "5", NULL,
     "of that, to ask clients to go; 1 ms for each at most"},
    {"data", OPTION_TEXT, AT(data), 0, 0, NULL, NULL,
     "folder of durable history; default: .moonwire beside the app"},
    {"control", OPTION_TEXT, AT(control), 0, 0, NULL, NULL,
     "socket for `moonwire reload`; default: named after the app"},
    {"log_level", OPTION_LEVEL, AT(log_level), 0, 0, "info", NULL,
     "debug, info, warn or error"},
    {"log_json", OPTION_SWITCH, AT(log_json), 0, 0, "off", NULL,
     "log lines as JSON"},
};
// clang-format on
const size_t config_option_count = sizeof config_options / sizeof config_options[0];

void config_init(struct config *config) {
    memset(config, 0, sizeof *config);
    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        struct config_error error;
        if (option->preset != NULL &&
            config_set(config, option, option->preset, option->name, &error) != 0) {
            abort(); /* The table contradicts itself; a test reads all of it. */
        }
    }
}

void config_deinit(struct config *config) {
    free(config->host);
    free(config->admin);
    free(config->control);
    free(config->data);
    free(config->socketio_path);
    free(config->socketio_transports);
    free(config->socketio_cookie);
    free(config->jwt_key);
    free(config->jwt_algorithms);
    free(config->jwt_audience);
    free(config->jwt_issuer);
    memset(config, 0, sizeof *config);
}

static void put_flag(struct writer *out, const struct option *option) {
    static const char *const VALUES[] = {
        [OPTION_TEXT] = " TEXT",   [OPTION_ADDRESS] = " [HOST:]PORT", [OPTION_COUNT] = " N",
        [OPTION_SIZE] = " SIZE",   [OPTION_SECONDS] = " SECONDS",     [OPTION_SWITCH] = "",
        [OPTION_LEVEL] = " LEVEL",
    };
    size_t before = writer_len(out);
    writer_puts(out, option->kind == OPTION_SWITCH ? "  --[no-]" : "  --");
    for (const char *at = option->name; *at != '\0'; at++) {
        writer_putc(out, *at == '_' ? '-' : *at);
    }
    writer_puts(out, VALUES[option->kind]);
    writer_printf(out, "%*s", (int)(before + 32 - writer_len(out)), "");
}

void config_help(struct writer *out) {
    for (size_t i = 0; i < config_option_count; i++) {
        const struct option *option = &config_options[i];
        if (option->group != NULL) {
            writer_printf(out, "%s%s:\n", i != 0 ? "\n" : "", option->group);
        }
        put_flag(out, option);
        writer_puts(out, option->help);
        if (option->preset != NULL) {
            writer_printf(out, " [%s]", option->preset);
        }
        writer_putc(out, '\n');
    }
    writer_puts(
        out, "\n  --config FILE                 a JSON object of options: {\"ping_interval\": 25}\n"
             "\nSizes take K, M or G; times are seconds, such as 0.5. --ping-interval is also\n"
             "MOONWIRE_PING_INTERVAL in the environment and \"ping_interval\" in the config file;\n"
             "a flag beats the environment, which beats the file.\n");
}
