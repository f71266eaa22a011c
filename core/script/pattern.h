/* Paths with parameters, "/tenant/:id", as namespaces and routes have them. A pure function of
 * bytes. */
#ifndef MOONWIRE_SCRIPT_PATTERN_H
#define MOONWIRE_SCRIPT_PATTERN_H

#include "base/buf.h"

struct pattern_segment {
    char *text; /* a parameter's without the colon */
    bool parameter;
};

struct pattern {
    struct pattern_segment *segments;
    size_t count;
};

void pattern_init(struct pattern *p, size_t count); /* All segments empty, for pattern_set. */
void pattern_deinit(struct pattern *p);
/* Takes the text of a segment as it was written: ":id" is the parameter "id". */
void pattern_set(struct pattern *p, size_t index, struct span text);
bool pattern_matches(const struct pattern *p, struct span path);
/* What the path has in place of the segment at `index`. The path matches. */
struct span pattern_value(struct span path, size_t index);
bool pattern_is_plain(const struct pattern *p); /* It has no parameters: one path only. */

#endif
