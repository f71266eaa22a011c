/* What was said in a namespace, to whom, and who was left out: as bytes, in which form the log of
 * hub/recovery keeps it. Reading is a pure function of bytes; they may come from a disk. */
#ifndef MOONWIRE_HUB_PACKET_H
#define MOONWIRE_HUB_PACKET_H

#include "hub/message.h"

enum packet_target {
    PACKET_NAMESPACE,
    PACKET_ROOMS, /* to whoever is in one of them */
    PACKET_USER,
    PACKET_CLIENT,
    PACKET_TARGETS
};

/* A list of texts, packed. */
struct packet_list {
    struct span packed;
};

struct packet {
    struct message message; /* kind, event, data, argc, attachments; the rest is empty */
    enum packet_target target;
    struct packet_list names;        /* the rooms, the user, or the client's id */
    struct packet_list except_ids;   /* clients that were left out, */
    struct packet_list except_rooms; /* and rooms whose members were */
};

/* Writing: a head, then the lists in the order of the struct, each begun and then filled. */
void packet_put(struct writer *out, const struct message *m, enum packet_target target);
size_t packet_list_begin(struct writer *out);
void packet_list_add(struct writer *out, size_t list, struct span text);

/* Borrows the bytes. False: they are no packet. */
bool packet_read(struct packet *p, struct span bytes);
/* Takes the next text off the list. False: none is left. */
bool packet_list_next(struct packet_list *list, struct span *text);
bool packet_list_has(struct packet_list list, struct span text);

#endif
