/* Fuzzes base/config: any text as a config file and, split at line breaks, as a command line. What
 * is accepted keeps the bounds that its users rely on; what is refused says why. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_bounds(const struct config *config) {
    assert(config->port >= 0 && config->port <= 65535);
    assert(config->max_headers > 0 && config->max_queue > 0 && config->max_rooms > 0);
    assert(config->max_head >= 512 && config->max_payload > 0);
    assert(config->ping_interval > 0 && config->ping_timeout > 0 && config->handshake_timeout > 0);
    assert(config->lua_memory >= 4 * 1024 * 1024);
    assert(config->host == NULL || config->host[0] != '\0');
    assert(config->log_level <= LOG_ERROR);
}

static void try_file(const uint8_t *data, size_t size) {
    struct config config;
    struct config_error error = {""};
    config_init(&config);
    if (config_read(&config, (struct span){(const char *)data, size}, "f.json", &error) == 0) {
        check_bounds(&config);
    } else {
        assert(strncmp(error.text, "f.json", 6) == 0);
    }
    config_deinit(&config);
}

/* A config file is not opened: its name would be whatever the fuzzer says. */
static void try_flags(const uint8_t *data, size_t size) {
    struct config config;
    struct config_error error = {""};
    char *line = malloc(size + 1), *words[32];
    int argc = 0, count = 0;
    memcpy(line, data, size);
    line[size] = '\0';
    char *save = NULL;
    for (char *word = strtok_r(line, "\n", &save); word != NULL && argc < 32;
         word = strtok_r(NULL, "\n", &save)) {
        if (strncmp(word, "--config", 8) != 0) {
            words[argc++] = word;
        }
    }
    config_init(&config);
    if (config_load(&config, argc, words, &count, &error) == 0) {
        check_bounds(&config);
        assert(config.high_mark <= config.hard_limit);
        assert(count >= 0 && count <= argc);
    } else {
        assert(error.text[0] != '\0');
    }
    config_deinit(&config);
    free(line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    try_file(data, size);
    try_flags(data, size);
    return 0;
}
