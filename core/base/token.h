/* The compact form of a signed token (RFC 7515 section 3.1), taken apart. Whether its signature is
 * right, and what its claims mean, is for others: this is a pure function of bytes. */
#ifndef MOONWIRE_BASE_TOKEN_H
#define MOONWIRE_BASE_TOKEN_H

#include "base/buf.h"

#define TOKEN_MAX (64 << 10) /* bytes; a browser's cookie holds 4 KiB */

struct token {
    struct span header;    /* decoded */
    struct span payload;   /* likewise */
    struct span signature; /* base64url, borrowed from the text; may be empty */
};

/* Three parts of base64url in its only form, of which the first two are not empty. They are decoded
 * into the writer, which is cleared, and borrowed from it. NULL, or what is wrong in a phrase. */
const char *token_read(struct token *t, struct span text, struct writer *decoded);

#endif
