/* Log lines: put together in memory, written at once. Everything that comes from outside (values,
 * keys, messages) is escaped so that one record is one line and no terminal obeys it. It knows no
 * files and no rotation: standard error is collected by whoever runs the server. */
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/json.h"
#include "base/utf8.h"

static const char *const LEVELS[] = {"debug", "info", "warn", "error"};
#define LEVEL_COUNT (sizeof LEVELS / sizeof LEVELS[0])

int log_level_parse(const char *name, enum log_level *level) {
    for (size_t i = 0; i < LEVEL_COUNT; i++) {
        if (strcmp(name, LEVELS[i]) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    }
    return UV_EINVAL;
}

/* --- escaping --------------------------------------------------------------------------------- */

/* C0, DEL and, as UTF-8 has them, C1: what a terminal may obey or take for the end of a line. */
static bool is_control(const char *at, size_t len) {
    uint8_t a = (uint8_t)at[0], b = len == 2 ? (uint8_t)at[1] : 0;
    return len == 1 ? a < 0x20 || a == 0x7f : len == 2 && a == 0xc2 && b < 0xa0;
}

/* Text with escapes as in a JSON string, but without the quotes around; bytes that are not UTF-8
 * become U+FFFD. */
static void put_escaped(struct writer *w, struct span text, bool in_quotes) {
    for (size_t i = 0; i < text.len;) {
        const char *at = text.at + i;
        size_t len = utf8_length(at, text.len - i);
        if (len == 0) {
            writer_puts(w, "\xef\xbf\xbd");
            i++;
            continue;
        }
        if (is_control(at, len)) {
            if (*at == '\n' || *at == '\t' || *at == '\r') {
                writer_puts(w, *at == '\n' ? "\\n" : *at == '\t' ? "\\t" : "\\r");
            } else {
                writer_printf(w, "\\u%04x", (uint8_t)at[len - 1]);
            }
        } else {
            if (in_quotes && (*at == '"' || *at == '\\')) {
                writer_putc(w, '\\');
            }
            writer_put(w, at, len);
        }
        i += len;
    }
}

static void put_quoted(struct writer *w, struct span text) {
    writer_putc(w, '"');
    put_escaped(w, text, true);
    writer_putc(w, '"');
}

/* logfmt leaves a value bare that cannot be misread. */
static bool is_bare(struct span text) {
    for (size_t i = 0; i < text.len;) {
        size_t len = utf8_length(text.at + i, text.len - i);
        if (len == 0 || text.at[i] == ' ' || text.at[i] == '"' || text.at[i] == '=' ||
            text.at[i] == '\\' || is_control(text.at + i, len)) {
            return false;
        }
        i += len;
    }
    return text.len != 0;
}

/* `,"key":` or ` key=`. */
static void put_key(struct log_line *line, const char *key) {
    struct writer *w = &line->text;
    if (line->log->json) {
        writer_putc(w, ',');
        put_quoted(w, span_of(key));
        writer_putc(w, ':');
        return;
    }
    writer_putc(w, ' ');
    for (; *key != '\0'; key++) {
        bool odd = (unsigned char)*key <= ' ' || strchr("=\"\\\x7f", *key) != NULL;
        writer_putc(w, odd || (unsigned char)*key >= 0x80 ? '_' : *key);
    }
    writer_putc(w, '=');
}

/* --- lines ------------------------------------------------------------------------------------ */

/* 2026-11-22T11:00:00.123Z */
static void put_time(struct writer *w) {
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    writer_printf(w, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", utc.tm_year + 1900, utc.tm_mon + 1,
                  utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec, (int)(now.tv_nsec / 1000000));
}

static void begin(struct log_line *line, const struct log *log, enum log_level level,
                  struct span message) {
    struct writer *w = &line->text;
    line->log = log;
    line->text = (struct writer){NULL};
    line->wanted = true;
    if (log->json) {
        writer_puts(w, "{\"time\":\"");
        put_time(w);
        writer_printf(w, "\",\"level\":\"%s\",\"message\":", LEVELS[level]);
        put_quoted(w, message);
    } else {
        put_time(w);
        writer_printf(w, " %s ", LEVELS[level]);
        put_escaped(w, message, false);
    }
}

void log_begin(struct log_line *line, const struct log *log, enum log_level level,
               const char *message) {
    if (level < log->level) {
        line->wanted = false;
        return;
    }
    begin(line, log, level, span_of(message));
}

void log_field(struct log_line *line, const char *key, struct span value) {
    if (!line->wanted) {
        return;
    }
    put_key(line, key);
    if (line->log->json || !is_bare(value)) {
        put_quoted(&line->text, value);
    } else {
        writer_put_span(&line->text, value);
    }
}

static bool is_number(struct span text) {
    struct json_reader r;
    json_reader_init(&r, text.at, text.len);
    enum json_token token = json_next(&r);
    bool number = (token == JSON_INTEGER || token == JSON_NUMBER) && text.at[0] > ' ' &&
                  json_offset(&r) == text.len;
    json_reader_deinit(&r);
    return number;
}

void log_fieldf(struct log_line *line, const char *key, const char *format, ...) {
    if (!line->wanted) {
        return;
    }
    struct writer value = {NULL};
    va_list args;
    va_start(args, format);
    writer_vprintf(&value, format, args);
    va_end(args);
    if (is_number(writer_span(&value))) {
        log_field_json(line, key, writer_span(&value));
    } else {
        log_field(line, key, writer_span(&value));
    }
    writer_deinit(&value);
}

/* A line break in JSON can only be white space between tokens. */
void log_field_json(struct log_line *line, const char *key, struct span json) {
    if (!line->wanted) {
        return;
    }
    put_key(line, key);
    for (size_t i = 0; i < json.len; i++) {
        writer_putc(&line->text, (unsigned char)json.at[i] < ' ' ? ' ' : json.at[i]);
    }
}

void log_end(struct log_line *line) {
    if (!line->wanted) {
        return;
    }
    writer_puts(&line->text, line->log->json ? "}\n" : "\n");
    struct span text = writer_span(&line->text);
    while (text.len != 0) {
        ssize_t written = write(line->log->fd, text.at, text.len);
        if (written < 0 && errno != EINTR) {
            break; /* Nobody is left to tell. */
        }
        if (written > 0) {
            text.at += written;
            text.len -= (size_t)written;
        }
    }
    writer_deinit(&line->text);
}

void log_printf(const struct log *log, enum log_level level, const char *format, ...) {
    if (level < log->level) {
        return;
    }
    struct log_line line;
    struct writer message = {NULL};
    va_list args;
    va_start(args, format);
    writer_vprintf(&message, format, args);
    va_end(args);
    begin(&line, log, level, writer_span(&message));
    writer_deinit(&message);
    log_end(&line);
}
