/* Values of options from a config file, the environment and the command line, with errors in words
 * for the user. The table they are checked against is in config.c; main.c calls config_load once.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/config_table.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "base/number.h"

__attribute__((format(printf, 2, 3))) static int fail(struct config_error *error,
                                                      const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return UV_EINVAL;
}

/* --- one value -------------------------------------------------------------------------------- */

/* A number as JSON writes it, which leaves no doubt in any locale; but without space around. */
static bool read_number(struct span text, double *value) {
    struct json_reader r;
    json_reader_init(&r, text.at, text.len);
    enum json_token token = json_next(&r);
    *value = token == JSON_INTEGER ? (double)r.integer : r.number;
    bool good = (token == JSON_INTEGER || token == JSON_NUMBER) && text.at[0] > ' ' &&
                json_offset(&r) == text.len;
    json_reader_deinit(&r);
    return good;
}

/* Takes a unit off the end of text and returns what it stands for. */
static double take_unit(struct span *text) {
    static const char UNITS[] = "kKmMgG";
    const char *unit = text->len > 1 ? memchr(UNITS, text->at[text->len - 1], 6) : NULL;
    if (unit == NULL) {
        return 1;
    }
    text->len--;
    return exp2((double)(10 * ((unit - UNITS) / 2 + 1)));
}

static void print_size(char *out, size_t size, double bytes) {
    static const char *const UNITS[] = {"", "K", "M", "G"};
    int unit = 0;
    while (unit < 3 && bytes >= 1024 && fmod(bytes, 1024) == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, size, "%.0f%s", bytes, UNITS[unit]);
}

static void print_number(char *out, double value) {
    out[number_print(out, value)] = '\0';
}

static int set_number(void *field, const struct option *option, const char *text, const char *where,
                      struct config_error *error) {
    struct span digits = span_of(text);
    double unit = option->kind == OPTION_SIZE ? take_unit(&digits) : 1;
    double value;
    bool good = read_number(digits, &value);
    value *= unit;
    if (option->kind != OPTION_SECONDS) {
        good = good && value == floor(value);
    }
    if (good && value >= option->low && value <= option->high) {
        if (option->kind == OPTION_COUNT) {
            *(int *)field = (int)value;
        } else if (option->kind == OPTION_SIZE) {
            *(size_t *)field = (size_t)value;
        } else {
            *(uint64_t *)field = (uint64_t)llround(value * 1000);
        }
        return 0;
    }
    char low[NUMBER_MAX + 1], high[NUMBER_MAX + 1];
    if (option->kind == OPTION_SIZE) {
        print_size(low, sizeof low, option->low);
        print_size(high, sizeof high, option->high);
    } else {
        print_number(low, option->low);
        print_number(high, option->high);
    }
    const char *kind = option->kind == OPTION_COUNT  ? "a whole number"
                       : option->kind == OPTION_SIZE ? "a size"
                                                     : "a number of seconds";
    if (good) {
        return fail(error, "%s: %.100s is out of range (expected %s to %s)", where, text, low,
                    high);
    }
    return fail(error, "%s: '%.100s' is not %s (expected %s to %s)", where, text, kind, low, high);
}

static int set_text(char **field, const char *text, const char *where, struct config_error *error) {
    if (*text == '\0') {
        return fail(error, "%s: must not be empty", where);
    }
    free(*field);
    *field = memory_strdup(text);
    return 0;
}

/* HOST:PORT, [IPV6]:PORT, PORT alone, or off. Whether the host exists is seen when it is listened
 * on. */
static int set_address(char **field, const char *text, const char *where,
                       struct config_error *error) {
    const char *colon = strrchr(text, ':');
    const char *digits = colon != NULL ? colon + 1 : text;
    double port;
    bool good = strcmp(text, "off") == 0 || (colon != text && read_number(span_of(digits), &port) &&
                                             port >= 0 && port <= 65535 && port == floor(port));
    if (!good) {
        return fail(error, "%s: '%.100s' is not an address (expected [HOST:]PORT or off)", where,
                    text);
    }
    return set_text(field, text, where, error);
}

static int set_switch(bool *field, const char *text, const char *where,
                      struct config_error *error) {
    static const char *const WORDS[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};
    for (size_t i = 0; i < sizeof WORDS / sizeof WORDS[0]; i++) {
        if (strcmp(text, WORDS[i]) == 0) {
            *field = i % 2 != 0;
            return 0;
        }
    }
    return fail(error, "%s: '%.100s' is neither true nor false", where, text);
}

int config_set(struct config *config, const struct option *option, const char *text,
               const char *where, struct config_error *error) {
    void *field = (char *)config + option->offset;
    switch (option->kind) {
    case OPTION_TEXT:
        return set_text(field, text, where, error);
    case OPTION_ADDRESS:
        return set_address(field, text, where, error);
    case OPTION_SWITCH:
        return set_switch(field, text, where, error);
    case OPTION_LEVEL:
        if (log_level_parse(text, field) != 0) {
            return fail(error, "%s: '%.100s' is none of debug, info, warn, error", where, text);
        }
        return 0;
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_SECONDS:
        break;
    }
    return set_number(field, option, text, where, error);
}

/* --- which option ----------------------------------------------------------------------------- */

/* In flags '-' stands for '_', and only there. */
static bool is_name(const char *name, struct span word, bool flag) {
    for (size_t i = 0; i < word.len; i++) {
        char c = name[i] == '_' && flag ? '-' : name[i];
        if (c != word.at[i] || c == '\0') {
            return false;
        }
    }
    return name[word.len] == '\0';
}

static const struct option *find_option(struct span word, bool flag) {
    for (size_t i = 0; i < config_option_count; i++) {
        if (is_name(config_options[i].name, word, flag)) {
            return &config_options[i];
        }
    }
    return NULL;
}

static int fail_unknown_flag(struct span word, struct config_error *error) {
    const char *name =
        nearest_name(word, config_options, config_option_count, sizeof config_options[0]);
    char flag[64] = "";
    for (size_t i = 0; name != NULL && name[i] != '\0' && i < sizeof flag - 1; i++) {
        flag[i] = name[i] == '_' ? '-' : name[i];
    }
    int len = word.len < 100 ? (int)word.len : 100;
    return fail(error, "--%.*s: unknown option%s%s%s", len, word.at,
                name != NULL ? "; did you mean --" : "", flag, name != NULL ? "?" : "");
}

/* --- the config file -------------------------------------------------------------------------- */

/* The value at the reader as text, if it is of a type that the option may have. */
static bool read_value(struct json_reader *r, const struct option *option, struct writer *text) {
    writer_clear(text);
    bool is_text = option->kind == OPTION_TEXT || option->kind == OPTION_ADDRESS ||
                   option->kind == OPTION_LEVEL;
    enum json_token token = json_next(r);
    if (token == JSON_STRING && memchr(r->text.at, '\0', r->text.len) == NULL) {
        writer_put_span(text, r->text);
    } else if (token == JSON_INTEGER && !is_text && option->kind != OPTION_SWITCH) {
        json_put_integer(text, r->integer);
    } else if (token == JSON_NUMBER && !is_text && option->kind != OPTION_SWITCH) {
        (void)json_put_number(text, r->number); /* JSON has no infinity. */
    } else if ((token == JSON_TRUE || token == JSON_FALSE) && option->kind == OPTION_SWITCH) {
        writer_puts(text, token == JSON_TRUE ? "true" : "false");
    } else {
        return false;
    }
    writer_putc(text, '\0');
    return true;
}

static int fail_syntax(const struct json_reader *r, const char *path, struct config_error *error) {
    int line = 1;
    for (const char *at = r->start; at < r->at; at++) {
        line += *at == '\n';
    }
    return fail(error, "%.200s:%d: %s", path, line, r->error);
}

static int apply_member(struct config *config, struct json_reader *r, const char *path,
                        struct config_error *error) {
    char where[300];
    int len = r->text.len < 64 ? (int)r->text.len : 64;
    snprintf(where, sizeof where, "%.200s: %.*s", path, len, r->text.at);
    const struct option *option = find_option(r->text, false);
    if (option == NULL) {
        const char *name =
            nearest_name(r->text, config_options, config_option_count, sizeof config_options[0]);
        return fail(error, "%s: unknown option%s%s%s", where, name != NULL ? "; did you mean " : "",
                    name != NULL ? name : "", name != NULL ? "?" : "");
    }
    struct writer text = {NULL};
    int result;
    if (read_value(r, option, &text)) {
        result = config_set(config, option, writer_span(&text).at, where, error);
    } else if (r->error != NULL) {
        result = fail_syntax(r, path, error);
    } else {
        static const char *const TYPES[] = {
            [OPTION_TEXT] = "a string",    [OPTION_ADDRESS] = "a string",
            [OPTION_COUNT] = "a number",   [OPTION_SIZE] = "a number, or a string such as \"16K\"",
            [OPTION_SECONDS] = "a number", [OPTION_SWITCH] = "true or false",
            [OPTION_LEVEL] = "a string",
        };
        result = fail(error, "%s: expected %s", where, TYPES[option->kind]);
    }
    writer_deinit(&text);
    return result;
}

int config_read(struct config *config, struct span json, const char *path,
                struct config_error *error) {
    struct json_reader r;
    json_reader_init(&r, json.at, json.len);
    int result = 0;
    enum json_token token = json_next(&r);
    if (token != JSON_OBJECT && token != JSON_ERROR) {
        result = fail(error, "%.200s: expected an object of options", path);
    }
    while (result == 0 && token != JSON_END) {
        token = json_next(&r);
        if (token == JSON_ERROR) {
            result = fail_syntax(&r, path, error);
        } else if (token == JSON_KEY) {
            result = apply_member(config, &r, path, error);
        }
    }
    json_reader_deinit(&r);
    return result;
}

static int apply_file(struct config *config, const char *path, struct config_error *error) {
    struct writer text = {NULL};
    int result = 0;
    FILE *file = fopen(path, "rb");
    size_t got = 1;
    while (file != NULL && got != 0 && writer_len(&text) < 1024 * 1024) {
        got = fread(writer_reserve(&text, 4096), 1, 4096, file);
        writer_advance(&text, got);
    }
    if (file == NULL || ferror(file)) {
        result = fail(error, "%.200s: %s", path, strerror(errno));
    } else {
        result = config_read(config, writer_span(&text), path, error);
    }
    if (file != NULL) {
        fclose(file);
    }
    writer_deinit(&text);
    return result;
}

/* --- environment and flags -------------------------------------------------------------------- */

/* An empty variable is as good as none. */
static const char *variable(const char *name, char *out, size_t size) {
    snprintf(out, size, "MOONWIRE_%s", name);
    for (char *at = out; *at != '\0'; at++) {
        *at = *at >= 'a' && *at <= 'z' ? (char)(*at - 32) : *at;
    }
    const char *value = getenv(out);
    return value != NULL && *value != '\0' ? value : NULL;
}

/* Other MOONWIRE_* variables are not ours to judge: handlers read them as mw.env. */
static int apply_environment(struct config *config, struct config_error *error) {
    for (size_t i = 0; i < config_option_count; i++) {
        char name[64];
        const char *value = variable(config_options[i].name, name, sizeof name);
        if (value != NULL) {
            int result = config_set(config, &config_options[i], value, name, error);
            if (result != 0) {
                return result;
            }
        }
    }
    return 0;
}

/* A flag of the command line and its value. */
struct flag {
    const struct option *option; /* NULL: --config */
    const char *value;
    char where[80];
};

/* Reads the flag at argv[*i], and moves *i to the last word that belongs to it. */
static int read_flag(struct flag *flag, int argc, char **argv, int *i, struct config_error *error) {
    const char *text = argv[*i] + 2;
    struct span word = {text, strcspn(text, "=")};
    flag->value = text[word.len] == '=' ? text + word.len + 1 : NULL;
    snprintf(flag->where, sizeof flag->where, "--%.*s", word.len < 70 ? (int)word.len : 70, text);
    flag->option = find_option(word, true);
    bool config = span_is(word, "config");
    if (flag->option == NULL && !config) {
        if (word.len > 3 && memcmp(text, "no-", 3) == 0 && flag->value == NULL) {
            flag->option = find_option((struct span){text + 3, word.len - 3}, true);
            flag->value = "off";
        }
        if (flag->option == NULL || flag->option->kind != OPTION_SWITCH) {
            return fail_unknown_flag(word, error);
        }
    }
    if (flag->value == NULL && !config && flag->option->kind == OPTION_SWITCH) {
        flag->value = "on";
    }
    if (flag->value == NULL) {
        if (*i + 1 >= argc) {
            return fail(error, "%s: needs a value", flag->where);
        }
        flag->value = argv[++*i];
    }
    return 0;
}

/* "-" alone is a word (standard input, elsewhere); after "--" everything is. */
static bool is_flag(const char *word) {
    return word[0] == '-' && word[1] != '\0';
}

/* Two passes over the flags: the first (without words) looks for --config, the second applies the
 * others. */
static int walk_flags(struct config *config, int argc, char **argv, int *words, const char **file,
                      struct config_error *error) {
    bool flags = true;
    for (int i = 0; i < argc; i++) {
        if (flags && strcmp(argv[i], "--") == 0) {
            flags = false;
        } else if (!flags || !is_flag(argv[i])) {
            if (words != NULL) {
                argv[(*words)++] = argv[i];
            }
        } else if (argv[i][1] != '-') {
            return fail(error, "%.100s: unknown option; options begin with --", argv[i]);
        } else {
            struct flag flag;
            int result = read_flag(&flag, argc, argv, &i, error);
            if (result == 0 && flag.option == NULL) {
                *file = flag.value;
            } else if (result == 0 && words != NULL) {
                result = config_set(config, flag.option, flag.value, flag.where, error);
            }
            if (result != 0) {
                return result;
            }
        }
    }
    return 0;
}

int config_load(struct config *config, int argc, char **argv, int *words,
                struct config_error *error) {
    char name[64];
    const char *file = variable("config", name, sizeof name);
    *words = 0;
    int result = walk_flags(config, argc, argv, NULL, &file, error);
    if (result == 0 && file != NULL) {
        result = apply_file(config, file, error);
    }
    if (result == 0) {
        result = apply_environment(config, error);
    }
    if (result == 0) {
        result = walk_flags(config, argc, argv, words, &file, error);
    }
    if (result == 0 && config->hard_limit < config->high_mark) {
        result = fail(error, "hard_limit (%zu) must not be below high_mark (%zu)",
                      config->hard_limit, config->high_mark);
    }
    if (result == 0 && config->drain_delay && config->drain_delay >= config->shutdown_timeout) {
        result = fail(error, "drain_delay must be shorter than shutdown_timeout, of which it is a "
                             "part");
    }
    return result;
}
