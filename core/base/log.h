/* Structured log lines on standard error: a time, a level, a message and key=value fields; as text
 * (logfmt) or as one JSON object per line. A line is written with one write(2), also from any
 * thread. */
#ifndef MOONWIRE_BASE_LOG_H
#define MOONWIRE_BASE_LOG_H

#include "base/buf.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

struct log {
    enum log_level level; /* Lines below it are dropped. */
    bool json;
    int fd;
};

int log_level_parse(const char *name, enum log_level *level); /* 0 or UV_EINVAL. */

/* A line under construction: log_begin, any number of fields, log_end. Costs nothing when the level
 * is not wanted. */
struct log_line {
    const struct log *log;
    struct writer text;
    bool wanted;
};
void log_begin(struct log_line *line, const struct log *log, enum log_level level,
               const char *message);
void log_field(struct log_line *line, const char *key,
               struct span value); /* A string, quoted where needed. */
/* Formatted text, and in JSON a number where it reads as one: names from outside belong to
 * log_field. */
void log_fieldf(struct log_line *line, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void log_field_json(struct log_line *line, const char *key, struct span json); /* As it is. */
void log_end(struct log_line *line);
/* The common case: a formatted message without fields. */
void log_printf(const struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
