/* Matching a decoded path against segments, a walk along both. Which of several patterns comes
 * first is decided by their order, which lua/moonwire/validate.lua makes. Used by handler.c,
 * hooks_http.c and lib_request.c. */
#include "script/pattern.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

void pattern_init(struct pattern *p, size_t count) {
    p->count = count;
    p->segments = memory_zalloc((count + 1) * sizeof *p->segments);
}

void pattern_deinit(struct pattern *p) {
    for (size_t i = 0; i < p->count; i++) {
        free(p->segments[i].text);
    }
    free(p->segments);
}

void pattern_set(struct pattern *p, size_t index, struct span text) {
    struct pattern_segment *segment = &p->segments[index];
    segment->parameter = text.len > 0 && text.at[0] == ':';
    size_t skip = segment->parameter ? 1 : 0;
    segment->text = memory_strndup(text.at + skip, text.len - skip);
}

/* Cuts the next segment off a path that still has its leading slash; false at the end. */
static bool next_segment(struct span *path, struct span *segment) {
    if (path->len == 0) {
        return false;
    }
    const char *start = path->at + 1;
    size_t left = path->len - 1;
    const char *slash = memchr(start, '/', left);
    segment->at = start;
    segment->len = slash ? (size_t)(slash - start) : left;
    path->at = start + segment->len;
    path->len = left - segment->len;
    return true;
}

bool pattern_matches(const struct pattern *p, struct span path) {
    if (path.len == 0 || path.at[0] != '/') {
        return false;
    }
    if (p->count == 0) {
        return path.len == 1;
    }
    for (size_t i = 0; i < p->count; i++) {
        struct span segment;
        if (!next_segment(&path, &segment) || segment.len == 0) {
            return false;
        }
        if (!p->segments[i].parameter && !span_is(segment, p->segments[i].text)) {
            return false;
        }
    }
    return path.len == 0;
}

struct span pattern_value(struct span path, size_t index) {
    struct span segment = {NULL, 0};
    for (size_t i = 0; i <= index; i++) {
        if (!next_segment(&path, &segment)) {
            break;
        }
    }
    return segment;
}

bool pattern_is_plain(const struct pattern *p) {
    for (size_t i = 0; i < p->count; i++) {
        if (p->segments[i].parameter) {
            return false;
        }
    }
    return true;
}
