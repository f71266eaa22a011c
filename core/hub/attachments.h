/* Binary values beside JSON: in the JSON stands {"_placeholder":true,"num":0}, and the bytes lie
 * here, each value behind its length. Packed into one span, they are kept and passed on like any
 * other bytes. */
#ifndef MOONWIRE_HUB_ATTACHMENTS_H
#define MOONWIRE_HUB_ATTACHMENTS_H

#include "base/buf.h"

#define ATTACHMENTS_MAX 64 /* of one message */

void attachments_put(struct writer *packed, struct span bytes);
bool attachments_valid(struct span packed); /* Of bytes from outside: are they packed values? */
uint32_t attachments_count(struct span packed);
/* The value with this number. False: there is none. */
bool attachments_get(struct span packed, uint64_t number, struct span *bytes);
/* Appends the JSON with each value in the place of its placeholder, as a string of base64: for
 * wires that have nothing but text. */
void attachments_inline(struct writer *out, struct span json, struct span packed);
/* Takes the first one off. False: nothing is left. */
bool attachments_next(struct span *packed, struct span *bytes);

#endif
