/* Unguessable bytes and their printable form. */
#ifndef MOONWIRE_BASE_RANDOM_H
#define MOONWIRE_BASE_RANDOM_H

#include "base/buf.h"

void random_bytes(void *bytes,
                  size_t len); /* From the kernel's generator; aborts if there is none. */
/* base64url without padding (RFC 4648 section 5) writes (len * 4 + 2) / 3 characters and returns
 * that. */
size_t base64url_encode(char *out, const void *bytes, size_t len);
size_t base64_encode(char *out, const void *bytes,
                     size_t len); /* Padded: (len + 2) / 3 * 4 characters. */
/* Either alphabet, padding optional. The length of the bytes or UV_EINVAL. out has room for len * 3
 * / 4. */
long base64_decode(void *out, struct span text);
/* Only what base64url_encode writes, so that bytes have one form: no padding, no stray bits at the
 * end. */
long base64url_decode(void *out, struct span text);

#endif
