/* Packets as bytes: fixed numbers first, then texts behind their lengths, then three lists, which
 * are texts behind the length of all. Numbers are little-endian. Called by recovery.c. */
#include "hub/packet.h"

#include <string.h>

static void put_number(char at[4], size_t number) {
    for (int i = 0; i < 4; i++) {
        at[i] = (char)(number >> (8 * i));
    }
}

static void append_number(struct writer *out, size_t number) {
    put_number(writer_reserve(out, 4), number);
    writer_advance(out, 4);
}

static void append_text(struct writer *out, struct span text) {
    append_number(out, text.len);
    writer_put_span(out, text);
}

void packet_put(struct writer *out, const struct message *m, enum packet_target target) {
    writer_putc(out, (char)m->kind);
    writer_putc(out, (char)target);
    append_number(out, m->argc);
    append_text(out, m->event);
    append_text(out, m->data);
    append_text(out, m->attachments);
}

size_t packet_list_begin(struct writer *out) {
    append_number(out, 0);
    return writer_len(out);
}

void packet_list_add(struct writer *out, size_t list, struct span text) {
    append_text(out, text);
    put_number(out->buf->bytes + list - 4, writer_len(out) - list);
}

static bool take_number(struct span *rest, uint32_t *number) {
    if (rest->len < 4) {
        return false;
    }
    *number = 0;
    for (int i = 0; i < 4; i++) {
        *number |= (uint32_t)(unsigned char)rest->at[i] << (8 * i);
    }
    *rest = (struct span){rest->at + 4, rest->len - 4};
    return true;
}

static bool take_text(struct span *rest, struct span *text) {
    uint32_t len;
    if (!take_number(rest, &len) || len > rest->len) {
        return false;
    }
    *text = (struct span){rest->at, len};
    *rest = (struct span){rest->at + len, rest->len - len};
    return true;
}

static bool take_list(struct span *rest, struct packet_list *list) {
    if (!take_text(rest, &list->packed)) {
        return false;
    }
    struct span texts = list->packed, text;
    while (texts.len) {
        if (!take_text(&texts, &text)) {
            return false;
        }
    }
    return true;
}

bool packet_read(struct packet *p, struct span bytes) {
    if (bytes.len < 2 || (unsigned char)bytes.at[0] >= MESSAGE_REPLY ||
        (unsigned char)bytes.at[1] >= PACKET_TARGETS) {
        return false;
    }
    struct message *m = &p->message;
    message_init(m, (enum message_kind)bytes.at[0]);
    p->target = (enum packet_target)bytes.at[1];
    struct span rest = {bytes.at + 2, bytes.len - 2};
    return take_number(&rest, &m->argc) && take_text(&rest, &m->event) &&
           take_text(&rest, &m->data) && take_text(&rest, &m->attachments) &&
           take_list(&rest, &p->names) && take_list(&rest, &p->except_ids) &&
           take_list(&rest, &p->except_rooms) && rest.len == 0;
}

bool packet_list_next(struct packet_list *list, struct span *text) {
    return list->packed.len && take_text(&list->packed, text);
}

bool packet_list_has(struct packet_list list, struct span text) {
    struct span entry;
    while (packet_list_next(&list, &entry)) {
        if (span_equal(entry, text)) {
            return true;
        }
    }
    return false;
}
