/* Messages as records (record.h). Layout, in little-endian: the format's number and the kind, a
 * byte each; argc, the event's length and that of the attachments, four bytes each; then the event,
 * the attachments and the data. Called by durable.c. */
#include "hub/record.h"
#include "hub/attachments.h"

#define FORMAT 1
#define HEADER 14

static void put_number(char *at, uint32_t n) {
    for (int i = 0; i < 4; i++) {
        at[i] = (char)(n >> (8 * i) & 0xff);
    }
}

static uint32_t get_number(const char *at) {
    uint32_t n = 0;
    for (int i = 0; i < 4; i++) {
        n |= (uint32_t)(unsigned char)at[i] << (8 * i);
    }
    return n;
}

void record_write(struct writer *out, const struct message *m) {
    char *header = writer_reserve(out, HEADER);
    header[0] = FORMAT;
    header[1] = (char)m->kind;
    put_number(header + 2, m->argc);
    put_number(header + 6, (uint32_t)m->event.len);
    put_number(header + 10, (uint32_t)m->attachments.len);
    writer_advance(out, HEADER);
    writer_put_span(out, m->event);
    writer_put_span(out, m->attachments);
    writer_put_span(out, m->data);
}

bool record_read(struct message *m, struct span bytes) {
    if (bytes.len < HEADER || bytes.at[0] != FORMAT ||
        (unsigned char)bytes.at[1] > MESSAGE_BINARY) {
        return false;
    }
    uint64_t event = get_number(bytes.at + 6);
    uint64_t attachments = get_number(bytes.at + 10);
    if (HEADER + event + attachments > bytes.len) {
        return false;
    }
    message_init(m, (enum message_kind)bytes.at[1]);
    m->argc = get_number(bytes.at + 2);
    m->event = (struct span){bytes.at + HEADER, event};
    m->attachments = (struct span){m->event.at + event, attachments};
    m->data =
        (struct span){m->attachments.at + attachments, bytes.len - HEADER - event - attachments};
    return attachments_valid(m->attachments);
}
