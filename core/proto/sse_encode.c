/* Writes messages as blocks of an event stream. Called by proto/sse, once for all streams that get
 * the message. */
#include "proto/sse_encode.h"

#include "base/json.h"
#include "base/random.h"
#include "hub/attachments.h"
#include "hub/message.h"
#include "proto/event.h"

#include <string.h>

/* A line ends with LF, CR or both: any of them in the text begins another data line, and the reader
 * joins them with LF. */
static void put_data(struct writer *out, struct span text) {
    const char *end = text.at + text.len;
    const char *at = text.at;
    for (;;) {
        size_t left = (size_t)(end - at);
        const char *lf = left ? memchr(at, '\n', left) : NULL;
        const char *stop = lf ? lf : end;
        const char *cr = stop > at ? memchr(at, '\r', (size_t)(stop - at)) : NULL;
        stop = cr ? cr : stop;
        writer_puts(out, "data: ");
        writer_put_span(out, (struct span){at, (size_t)(stop - at)});
        writer_putc(out, '\n');
        if (stop == end) {
            return;
        }
        at = stop + (*stop == '\r' && stop + 1 < end && stop[1] == '\n' ? 2 : 1);
    }
}

/* A field of one line. Whatever would end the line, or the field (NUL, for "id"), is left away, so
 * that no name can add fields. */
static void put_field(struct writer *out, const char *field, struct span value) {
    writer_puts(out, field);
    for (size_t i = 0; i < value.len; i++) {
        char c = value.at[i];
        if (c != '\n' && c != '\r' && c != '\0') {
            writer_putc(out, c);
        }
    }
    writer_putc(out, '\n');
}

/* A "message" whose one argument is a JSON string goes out as its text. */
static bool put_plain_string(struct writer *out, const struct message *m) {
    if (m->argc != 1 || m->data.len == 0 || m->data.at[0] != '"') {
        return false;
    }
    struct json_reader r;
    json_reader_init_list(&r, m->data.at, m->data.len);
    bool good = json_next(&r) == JSON_STRING;
    if (good) {
        put_data(out, r.text);
    }
    json_reader_deinit(&r);
    return good;
}

static void put_event(struct writer *out, const struct message *m) {
    if (!span_is(m->event, "message")) {
        put_field(out, "event: ", m->event);
    } else if (put_plain_string(out, m)) {
        return;
    }
    if (m->argc == 1) {
        put_data(out, m->data);
        return;
    }
    struct writer value = {0};
    event_write_args(&value, m->data, m->argc);
    put_data(out, writer_span(&value));
    writer_deinit(&value);
}

/* Binary values have no form of their own here. */
static void put_inlined_event(struct writer *out, const struct message *m) {
    struct writer data = {0};
    struct message plain = *m;
    attachments_inline(&data, m->data, m->attachments);
    plain.data = writer_span(&data);
    put_event(out, &plain);
    writer_deinit(&data);
}

static void put_binary(struct writer *out, struct span bytes) {
    writer_puts(out, "event: binary\ndata: ");
    size_t len = (bytes.len + 2) / 3 * 4;
    base64_encode(writer_reserve(out, len), bytes.at, bytes.len);
    writer_advance(out, len);
    writer_putc(out, '\n');
}

void sse_encode(struct writer *out, const struct message *m) {
    switch ((enum message_kind)m->kind) {
    case MESSAGE_EVENT:
        if (m->attachments.len) {
            put_inlined_event(out, m);
        } else {
            put_event(out, m);
        }
        break;
    case MESSAGE_TEXT:
        put_data(out, m->data);
        break;
    case MESSAGE_BINARY:
        put_binary(out, m->data);
        break;
    case MESSAGE_REPLY:
        if (!m->offset.len) {
            return;
        }
        break; /* a position and nothing else: readers take the id and hear no event */
    }
    if (m->offset.len) {
        put_field(out, "id: ", m->offset);
    }
    writer_putc(out, '\n');
}
