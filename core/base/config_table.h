/* What one option is: shared by config.c, which has the table, and config_load.c, which reads
 * values. Nobody else includes it. */
#ifndef MOONWIRE_BASE_CONFIG_TABLE_H
#define MOONWIRE_BASE_CONFIG_TABLE_H

#include "base/config.h"

enum option_kind {
    OPTION_TEXT,    /* char * */
    OPTION_ADDRESS, /* char *: [HOST:]PORT or off */
    OPTION_COUNT,   /* int */
    OPTION_SIZE,    /* size_t, bytes; written with K, M or G */
    OPTION_SECONDS, /* uint64_t, milliseconds; written in seconds */
    OPTION_SWITCH,  /* bool */
    OPTION_LEVEL,   /* enum log_level */
};

struct option {
    const char *name; /* First, for nearest_name: the config file's key. */
    enum option_kind kind;
    size_t offset;    /* of the field in struct config */
    double low, high; /* bounds of a number, in the unit in which it is written */
    const char
        *preset; /* The default as a user would write it; NULL: none, and the help says why. */
    const char *group; /* The heading in the help; NULL: that of the line before. */
    const char *help;
};

extern const struct option config_options[];
extern const size_t config_option_count;

/* Sets a field from text; `where` names the value in the error ("--port"). 0 or UV_EINVAL. */
int config_set(struct config *config, const struct option *option, const char *text,
               const char *where, struct config_error *error);

#endif
