/* What kind of key a PEM text holds: which algorithms of signed tokens it is for, and its public
 * half. Secrets are no business of this. */
#ifndef MOONWIRE_SCRIPT_JWT_KEY_H
#define MOONWIRE_SCRIPT_JWT_KEY_H

#include "base/buf.h"

struct jwt_key {
    const char *kind; /* "RSA", "P-256", "P-384", "P-521" */
    bool is_private;  /* it can sign, too */
};

/* Reads a public key, a private key or a certificate, and appends the public key as PEM, which is
 * what verifying takes. NULL, or what is wrong in a phrase. */
const char *jwt_key_read(struct jwt_key *key, struct span pem, struct writer *public_pem);

#endif
