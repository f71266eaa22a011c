/* base/config and base/nearest: every source of an option, their order, and what the errors say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/config.h"
#include "base/nearest.h"

/* Loads with the flags given, up to NULL; the words go to `words`. */
#define LOAD(...) load((char *[]){__VA_ARGS__, NULL})

static struct config config;
static struct config_error error;
static char *args[16];
static int words;

static int load(char **flags) {
    int argc = 0;
    while (flags[argc] != NULL) {
        args[argc] = flags[argc];
        argc++;
    }
    config_deinit(&config);
    config_init(&config);
    error.text[0] = '\0';
    return config_load(&config, argc, args, &words, &error);
}

static int clean(void **state) {
    (void)state;
    config_deinit(&config);
    unsetenv("MOONWIRE_PORT");
    unsetenv("MOONWIRE_PING_INTERVAL");
    unsetenv("MOONWIRE_CONFIG");
    unsetenv("MOONWIRE_DEFLATE");
    return 0;
}

static void the_defaults_are_those_of_the_design(void **state) {
    (void)state;
    assert_int_equal(load((char *[]){NULL}), 0);
    assert_null(config.host);
    assert_null(config.admin);
    assert_null(config.control);
    assert_int_equal(config.port, 3000);
    assert_int_equal(config.max_head, 16 * 1024);
    assert_int_equal(config.max_headers, 100);
    assert_int_equal(config.max_body, 1024 * 1024);
    assert_int_equal(config.handshake_timeout, 10000);
    assert_int_equal(config.keep_alive_timeout, 60000);
    assert_int_equal(config.high_mark, 1024 * 1024);
    assert_int_equal(config.hard_limit, 4 * 1024 * 1024);
    assert_int_equal(config.ping_interval, 25000);
    assert_int_equal(config.ping_timeout, 20000);
    assert_int_equal(config.max_connections, 0);
    assert_int_equal(config.max_per_address, 0);
    assert_int_equal(config.max_payload, 1024 * 1024);
    assert_int_equal(config.max_queue, 256);
    assert_int_equal(config.max_rooms, 1000);
    assert_int_equal(config.max_room_name, 256);
    assert_int_equal(config.max_acks, 1000);
    assert_int_equal(config.control_rate, 100);
    assert_int_equal(config.refresh_before, 30000);
    assert_true(config.deflate);
    assert_int_equal(config.deflate_min, 1024);
    assert_int_equal(config.socketio_gzip, 1024);
    assert_int_equal(config.handler_budget, 1000);
    assert_int_equal(config.lua_memory, 512u * 1024 * 1024);
    assert_int_equal(config.shutdown_timeout, 10000);
    assert_int_equal(config.drain_delay, 0);
    assert_int_equal(config.drain_window, 5000);
    assert_int_equal(config.log_level, LOG_INFO);
    assert_false(config.log_json);
}

static void flags_take_their_value_either_way(void **state) {
    (void)state;
    assert_int_equal(LOAD("--ping-interval", "0.25", "--port=0", "--max-payload", "64k",
                          "--lua-memory=1G", "--log-level", "debug", "--host", "::1",
                          "--admin=[::1]:0", "--hard-limit", "1.5M"),
                     0);
    assert_int_equal(config.ping_interval, 250);
    assert_int_equal(config.port, 0);
    assert_int_equal(config.max_payload, 65536);
    assert_int_equal(config.lua_memory, 1024 * 1024 * 1024);
    assert_int_equal(config.log_level, LOG_DEBUG);
    assert_string_equal(config.host, "::1");
    assert_string_equal(config.admin, "[::1]:0");
    assert_int_equal(config.hard_limit, 1536 * 1024);
    assert_int_equal(LOAD("--port", "1", "--port", "2", "--host", "a", "--host", "b"), 0);
    assert_int_equal(config.port, 2);
    assert_string_equal(config.host, "b");
}

static void switches_have_a_no(void **state) {
    (void)state;
    assert_int_equal(LOAD("--no-deflate", "--log-json"), 0);
    assert_false(config.deflate);
    assert_true(config.log_json);
    assert_int_equal(LOAD("--deflate=false"), 0);
    assert_false(config.deflate);
    assert_int_equal(LOAD("--no-deflate", "--deflate"), 0);
    assert_true(config.deflate);
    assert_int_equal(LOAD("--deflate=perhaps"), UV_EINVAL);
    assert_string_equal(error.text, "--deflate: 'perhaps' is neither true nor false");
    assert_int_equal(LOAD("--no-port"), UV_EINVAL);
    assert_string_equal(error.text, "--no-port: unknown option; did you mean --port?");
    assert_int_equal(LOAD("--no-deflate=on"), UV_EINVAL);
}

static void words_come_first_in_their_order(void **state) {
    (void)state;
    assert_int_equal(LOAD("app.lua", "--port", "1", "-", "--log-json", "two", "--", "--port"), 0);
    assert_int_equal(words, 4);
    assert_string_equal(args[0], "app.lua");
    assert_string_equal(args[1], "-");
    assert_string_equal(args[2], "two");
    assert_string_equal(args[3], "--port");
    assert_int_equal(config.port, 1);
}

static void an_unknown_flag_names_the_nearest(void **state) {
    (void)state;
    assert_int_equal(LOAD("--ping-intervall", "3"), UV_EINVAL);
    assert_string_equal(error.text,
                        "--ping-intervall: unknown option; did you mean --ping-interval?");
    assert_int_equal(LOAD("--prot=3"), UV_EINVAL);
    assert_string_equal(error.text, "--prot: unknown option; did you mean --port?");
    assert_int_equal(LOAD("--ping_interval=3"), UV_EINVAL);
    assert_string_equal(error.text,
                        "--ping_interval: unknown option; did you mean --ping-interval?");
    assert_int_equal(LOAD("--"), 0);
    assert_int_equal(LOAD("--frobnicate"), UV_EINVAL);
    assert_string_equal(error.text, "--frobnicate: unknown option");
    assert_int_equal(LOAD("-p", "3"), UV_EINVAL);
    assert_string_equal(error.text, "-p: unknown option; options begin with --");
    assert_int_equal(LOAD("--port"), UV_EINVAL);
    assert_string_equal(error.text, "--port: needs a value");
    assert_int_equal(LOAD("--config"), UV_EINVAL);
    assert_string_equal(error.text, "--config: needs a value");
}

static void values_are_checked(void **state) {
    (void)state;
    assert_int_equal(LOAD("--port=x"), UV_EINVAL);
    assert_string_equal(error.text, "--port: 'x' is not a whole number (expected 0 to 65535)");
    assert_int_equal(LOAD("--port=65536"), UV_EINVAL);
    assert_string_equal(error.text, "--port: 65536 is out of range (expected 0 to 65535)");
    assert_int_equal(LOAD("--max-head=2M"), UV_EINVAL);
    assert_string_equal(error.text, "--max-head: 2M is out of range (expected 512 to 1M)");
    assert_int_equal(LOAD("--ping-interval=soon"), UV_EINVAL);
    assert_string_equal(
        error.text, "--ping-interval: 'soon' is not a number of seconds (expected 0.01 to 86400)");
    assert_int_equal(LOAD("--log-level=loud"), UV_EINVAL);
    assert_string_equal(error.text, "--log-level: 'loud' is none of debug, info, warn, error");
    assert_int_equal(LOAD("--host="), UV_EINVAL);
    assert_string_equal(error.text, "--host: must not be empty");
    assert_int_equal(LOAD("--admin=here"), UV_EINVAL);
    assert_string_equal(error.text,
                        "--admin: 'here' is not an address (expected [HOST:]PORT or off)");
    assert_int_equal(LOAD("--admin=3000"), 0);
    assert_string_equal(config.admin, "3000");
    assert_int_equal(LOAD("--admin=off"), 0);
    assert_string_equal(config.admin, "off");
    assert_int_equal(LOAD("--high-mark=8M"), UV_EINVAL);
    assert_string_equal(error.text, "hard_limit (4194304) must not be below high_mark (8388608)");
    assert_int_equal(LOAD("--shutdown-timeout=0"), 0);
    assert_int_equal(LOAD("--drain-delay=9.999"), 0);
    assert_int_equal(LOAD("--drain-delay=10"), UV_EINVAL);
    assert_string_equal(error.text,
                        "drain_delay must be shorter than shutdown_timeout, of which it is a part");
    char *const bad[] = {"--port=",
                         "--port=-1",
                         "--port=1.5",
                         "--port=1K",
                         "--port=0x10",
                         "--port= 1",
                         "--hard-limit=511K",
                         "--high-mark=5G",
                         "--port=01",
                         "--port=1e400",
                         "--max-body=K",
                         "--max-body=1.3",
                         "--max-body=1T",
                         "--max-body=KK",
                         "--max-body=1KK",
                         "--ping-interval=-1",
                         "--ping-interval=25s",
                         "--admin=h:",
                         "--admin=:1",
                         "--admin=65536",
                         "--lua-memory=nan",
                         "--ping-interval=inf",
                         "--max-queue=0"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(LOAD(bad[i]), UV_EINVAL);
        assert_true(error.text[0] != '\0');
    }
}

static int read_text(const char *text) {
    config_deinit(&config);
    config_init(&config);
    error.text[0] = '\0';
    return config_read(&config, span_of(text), "m.json", &error);
}

static void a_file_is_an_object_of_options(void **state) {
    (void)state;
    assert_int_equal(read_text("{}"), 0);
    assert_int_equal(read_text("{\n \"port\": 80, \"max_body\": \"2M\", \"max_head\": 1024,\n"
                               " \"deflate\": false, \"ping_interval\": 1.5, \"host\": \"::\"}\n"),
                     0);
    assert_int_equal(config.port, 80);
    assert_int_equal(config.max_body, 2 * 1024 * 1024);
    assert_int_equal(config.max_head, 1024);
    assert_false(config.deflate);
    assert_int_equal(config.ping_interval, 1500);
    assert_string_equal(config.host, "::");
}

static void a_files_mistakes_are_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *error;
    } CASES[] = {
        {"{\"prot\": 1}", "m.json: prot: unknown option; did you mean port?"},
        {"{\"ping-interval\": 1}",
         "m.json: ping-interval: unknown option; did you mean ping_interval?"},
        {"{\"config\": \"x\"}", "m.json: config: unknown option"},
        {"{\"port\": 70000}", "m.json: port: 70000 is out of range (expected 0 to 65535)"},
        {"{\"port\": null}", "m.json: port: expected a number"},
        {"{\"port\": [1]}", "m.json: port: expected a number"},
        {"{\"host\": 1}", "m.json: host: expected a string"},
        {"{\"host\": \"a\\u0000b\"}", "m.json: host: expected a string"},
        {"{\"deflate\": 1}", "m.json: deflate: expected true or false"},
        {"{\"max_body\": true}",
         "m.json: max_body: expected a number, or a string such as \"16K\""},
        {"{\n\"port\": 1,\n}", "m.json:3: expected a key"},
        {"{\"port\": tru}", "m.json:1: unexpected character"},
        {"{\"port\": 1} x", "m.json:1: unexpected character after the value"},
        {"[]", "m.json: expected an object of options"},
        {"", "m.json:1: unexpected end"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        assert_int_equal(read_text(CASES[i].text), UV_EINVAL);
        assert_string_equal(error.text, CASES[i].error);
    }
}

static void flags_beat_environment_beats_file(void **state) {
    (void)state;
    char path[] = "/tmp/test_config_XXXXXX";
    const char *text = "{\"port\": 1, \"ping_interval\": 1, \"max_rooms\": 7}";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);

    setenv("MOONWIRE_PORT", "2", 1);
    setenv("MOONWIRE_PING_INTERVAL", "2", 1);
    assert_int_equal(LOAD("--port", "3", "--config", path), 0);
    assert_int_equal(config.port, 3);
    assert_int_equal(config.ping_interval, 2000);
    assert_int_equal(config.max_rooms, 7);

    setenv("MOONWIRE_CONFIG", path, 1);
    setenv("MOONWIRE_PORT", "", 1); /* As good as not there. */
    assert_int_equal(load((char *[]){NULL}), 0);
    assert_int_equal(config.port, 1);
    unlink(path);

    assert_int_equal(load((char *[]){NULL}), UV_EINVAL);
    assert_non_null(strstr(error.text, "No such file"));
    assert_int_equal(LOAD("--config", "/tmp"), UV_EINVAL);
    assert_string_equal(error.text, "/tmp: Is a directory");
}

static void the_environment_is_checked(void **state) {
    (void)state;
    setenv("MOONWIRE_DEFLATE", "0", 1);
    assert_int_equal(load((char *[]){NULL}), 0);
    assert_false(config.deflate);
    setenv("MOONWIRE_PORT", "many", 1);
    assert_int_equal(load((char *[]){NULL}), UV_EINVAL);
    assert_string_equal(error.text,
                        "MOONWIRE_PORT: 'many' is not a whole number (expected 0 to 65535)");
}

static void the_help_shows_every_option(void **state) {
    (void)state;
    struct writer w = {0};
    config_help(&w);
    writer_putc(&w, '\0');
    const char *help = writer_span(&w).at;
    assert_non_null(
        strstr(help, "  --ping-interval SECONDS       between pings to a client [25]\n"));
    assert_non_null(strstr(help, "  --[no-]deflate "));
    assert_non_null(strstr(help, "  --max-head SIZE "));
    assert_non_null(strstr(help, "\nConnections:\n"));
    assert_non_null(strstr(help, "  --config FILE                 "));
    const char *line = help;
    for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        assert_true(end - line <= 100);
    }
    writer_deinit(&w);
}

static void the_nearest_name_is_a_likely_slip(void **state) {
    (void)state;
    static const char *const NAMES[] = {"on_message", "on_connect", "events", "to", "room"};
    const size_t count = sizeof NAMES / sizeof NAMES[0];
    assert_string_equal(nearest_name(SPAN("on_mesage"), NAMES, count, sizeof NAMES[0]),
                        "on_message");
    assert_string_equal(nearest_name(SPAN("onConnect"), NAMES, count, sizeof NAMES[0]),
                        "on_connect");
    assert_string_equal(nearest_name(SPAN("evnets"), NAMES, count, sizeof NAMES[0]), "events");
    assert_string_equal(nearest_name(SPAN("EVENTS"), NAMES, count, sizeof NAMES[0]), "events");
    assert_string_equal(nearest_name(SPAN("rom"), NAMES, count, sizeof NAMES[0]), "room");
    assert_null(nearest_name(SPAN("x"), NAMES, count, sizeof NAMES[0]));
    assert_null(nearest_name(SPAN(""), NAMES, count, sizeof NAMES[0]));
    assert_null(nearest_name(SPAN("timers"), NAMES, count, sizeof NAMES[0]));
    assert_null(nearest_name(SPAN("room"), NAMES, 0, sizeof NAMES[0]));
    assert_int_equal(nearest_distance(SPAN("abcd"), SPAN("abdc")), 1);
    assert_int_equal(nearest_distance(SPAN("kitten"), SPAN("sitting")), 3);
    assert_int_equal(nearest_distance(SPAN(""), SPAN("abc")), 3);
    char longest[300];
    memset(longest, 'x', sizeof longest);
    assert_null(
        nearest_name((struct span){longest, sizeof longest}, NAMES, count, sizeof NAMES[0]));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_defaults_are_those_of_the_design, clean),
        cmocka_unit_test_teardown(flags_take_their_value_either_way, clean),
        cmocka_unit_test_teardown(switches_have_a_no, clean),
        cmocka_unit_test_teardown(words_come_first_in_their_order, clean),
        cmocka_unit_test_teardown(an_unknown_flag_names_the_nearest, clean),
        cmocka_unit_test_teardown(values_are_checked, clean),
        cmocka_unit_test_teardown(a_file_is_an_object_of_options, clean),
        cmocka_unit_test_teardown(a_files_mistakes_are_named, clean),
        cmocka_unit_test_teardown(flags_beat_environment_beats_file, clean),
        cmocka_unit_test_teardown(the_environment_is_checked, clean),
        cmocka_unit_test(the_help_shows_every_option),
        cmocka_unit_test(the_nearest_name_is_a_likely_slip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
