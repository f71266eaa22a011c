/* The queue behind line.h. How long it may grow is the owner's business, who sees `count`. */
#include "script/line.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

struct line_entry {
    struct line_entry *next; /* of the last: the first */
    struct item item;
    char bytes[];
};

void line_init(struct line *line) {
    line->last = NULL;
    line->current = NULL;
    line->count = 0;
    line->busy = false;
    line->draining = false;
}

static struct line_entry *copy(const struct item *item) {
    size_t size =
        sizeof(struct line_entry) + item->name.len + item->data.len + item->attachments.len;
    struct line_entry *entry = memory_alloc(size);
    entry->item = *item;
    entry->item.name.at = entry->bytes;
    entry->item.data.at = entry->bytes + item->name.len;
    if (item->name.len) {
        memcpy(entry->bytes, item->name.at, item->name.len);
    }
    if (item->data.len) {
        memcpy(entry->bytes + item->name.len, item->data.at, item->data.len);
    }
    entry->item.attachments.at = entry->bytes + item->name.len + item->data.len;
    if (item->attachments.len) {
        memcpy(entry->bytes + item->name.len + item->data.len, item->attachments.at,
               item->attachments.len);
    }
    return entry;
}

static void append(struct line *line, struct line_entry *entry) {
    struct line_entry *last = line->last;
    entry->next = last ? last->next : entry;
    if (last) {
        last->next = entry;
    }
    line->last = entry;
    line->count++;
}

static struct line_entry *take_first(struct line *line) {
    struct line_entry *first = line->last->next;
    line->last->next = first->next;
    if (first == line->last) {
        line->last = NULL;
    }
    line->count--;
    return first;
}

const struct item *line_keep(struct line *line, const struct item *item) {
    if (!line->current) {
        line->current = copy(item);
    }
    return &line->current->item;
}

/* Begins one item after another until one has to wait. A loop and not a recursion from line_done:
 * a thousand queued items must not need a thousand stack frames. */
static void drain(struct line *line, line_run *run) {
    if (line->draining) {
        return;
    }
    line->draining = true;
    while (!line->busy && line->last) {
        struct line_entry *entry = take_first(line);
        line->busy = true;
        line->current = entry;
        run(line, &entry->item);
    }
    line->draining = false;
}

void line_push(struct line *line, const struct item *item, line_run *run) {
    if (line->busy || line->draining || line->last) {
        append(line, copy(item));
        drain(line, run);
        return;
    }
    line->draining = true;
    line->busy = true;
    run(line, item);
    line->draining = false;
    drain(line, run);
}

void line_done(struct line *line, line_run *run) {
    free(line->current);
    line->current = NULL;
    line->busy = false;
    drain(line, run);
}
