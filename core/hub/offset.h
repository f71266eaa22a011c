/* "epoch:sequence": the place of a message in the log of its room. Clients send offsets back, alone
 * or as a list, so reading is a pure function of bytes. */
#ifndef MOONWIRE_HUB_OFFSET_H
#define MOONWIRE_HUB_OFFSET_H

#include "base/buf.h"

#define EPOCH_LEN 12  /* base64url */
#define OFFSET_MAX 40 /* its text with a NUL */

struct offset {
    struct span epoch; /* EPOCH_LEN bytes of the text */
    uint64_t sequence;
};

/* One offset and nothing else: as offset_write would have written it. */
bool offset_read(struct offset *o, struct span text);
struct span offset_write(char text[OFFSET_MAX], const char *epoch, uint64_t sequence);

/* Takes the next entry off a list that is separated by commas; blanks around it and empty entries
 * are no part of it. False: there is none left. What it is, offset_read says. */
bool offset_next(struct span *list, struct span *entry);

#endif
