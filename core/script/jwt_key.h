/* Keys of signed tokens: public and private ones out of PEM text, and whether a signature is one of
 * theirs, or of a secret. Making signatures is lib_jwt.c's. */
#ifndef MOONWIRE_SCRIPT_JWT_KEY_H
#define MOONWIRE_SCRIPT_JWT_KEY_H

#include "base/buf.h"
#include <openssl/types.h>

struct jwt_key {
    EVP_PKEY *pkey;   /* owned; NULL: none (any more) */
    const char *kind; /* "RSA", "P-256", "P-384", "P-521" */
    bool is_private;  /* it can sign, too */
};

/* Fills in the key from a public key, a private key or a certificate. NULL, or what is wrong in a
 * phrase, and then there is nothing to free. */
const char *jwt_key_read(struct jwt_key *key, struct span pem);
void jwt_key_deinit(struct jwt_key *key);

/* The digest of an algorithm of RFC 7518 section 3.1: "RS256" has SHA-256. NULL: no such. */
const EVP_MD *jwt_digest(struct span algorithm);
/* Is this the key's signature of the text? Of RSA as PKCS #1 v1.5, of a curve as R and S side by
 * side (RFC 7518 section 3.4). */
bool jwt_key_signed(const struct jwt_key *key, const EVP_MD *digest, struct span text,
                    struct span signature);
bool jwt_secret_signed(struct span secret, const EVP_MD *digest, struct span text,
                       struct span signature);

#endif
