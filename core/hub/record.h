/* A message as the bytes that a store keeps of it: what it says, and neither its room nor its
 * offset, which the log knows. Reading is a pure function of bytes. */
#ifndef MOONWIRE_HUB_RECORD_H
#define MOONWIRE_HUB_RECORD_H

#include "hub/message.h"

void record_write(struct writer *out, const struct message *m);
/* Makes m a message whose bytes are borrowed from the record. False: it is none of ours. */
bool record_read(struct message *m, struct span bytes);

#endif
