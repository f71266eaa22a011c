/* Keys as PEM text, through OpenSSL (jwt_key.h). Called by lib_jwt.c, once for each key. */
#include "script/jwt_key.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <string.h>

#define RSA_BITS_MIN 2048 /* RFC 7518 section 3.3 */

/* OpenSSL would ask at the terminal. */
static int no_passphrase(char *buffer, int size, int writing, void *data) {
    (void)buffer;
    (void)size;
    (void)writing;
    (void)data;
    return -1;
}

/* The key in whichever of its forms the text has; NULL: none. */
static EVP_PKEY *read_pem(struct span pem, bool *is_private) {
    BIO *bio = BIO_new_mem_buf(pem.at, (int)pem.len);
    EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL) : NULL;
    *is_private = false;
    if (bio && !pkey) {
        (void)BIO_reset(bio);
        pkey = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
        *is_private = pkey != NULL;
    }
    if (bio && !pkey) {
        (void)BIO_reset(bio);
        X509 *certificate = PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
        pkey = certificate ? X509_get_pubkey(certificate) : NULL;
        X509_free(certificate);
    }
    BIO_free(bio);
    ERR_clear_error();
    return pkey;
}

/* The curve by the name that RFC 7518 section 6.2 gives it. */
static const char *curve_of(const EVP_PKEY *pkey) {
    static const struct {
        const char *group;
        const char *curve;
    } curves[] = {{"prime256v1", "P-256"}, {"secp384r1", "P-384"}, {"secp521r1", "P-521"}};
    char group[64] = "";
    (void)!EVP_PKEY_get_utf8_string_param(pkey, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group,
                                          NULL);
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++) {
        if (strcmp(group, curves[i].group) == 0) {
            return curves[i].curve;
        }
    }
    return NULL;
}

static const char *judge(struct jwt_key *key, const EVP_PKEY *pkey) {
    switch (EVP_PKEY_get_base_id(pkey)) {
    case EVP_PKEY_RSA:
        key->kind = "RSA";
        return EVP_PKEY_get_bits(pkey) < RSA_BITS_MIN ? "an RSA key needs 2048 bits at least"
                                                      : NULL;
    case EVP_PKEY_EC:
        key->kind = curve_of(pkey);
        return key->kind ? NULL : "its curve is none of P-256, P-384 and P-521";
    default:
        return "it is neither an RSA key nor one of an elliptic curve";
    }
}

static const char *write_public(EVP_PKEY *pkey, struct writer *to) {
    BIO *bio = BIO_new(BIO_s_mem());
    char *bytes = NULL;
    long len = bio && PEM_write_bio_PUBKEY(bio, pkey) ? BIO_get_mem_data(bio, &bytes) : 0;
    if (len > 0) {
        writer_put(to, bytes, (size_t)len);
    }
    BIO_free(bio);
    return len > 0 ? NULL : "it has no public half";
}

const char *jwt_key_read(struct jwt_key *key, struct span pem, struct writer *public_pem) {
    EVP_PKEY *pkey = pem.len < (1 << 20) ? read_pem(pem, &key->is_private) : NULL;
    if (!pkey) {
        return "it is PEM text that holds neither a key nor a certificate (or needs a passphrase)";
    }
    const char *fault = judge(key, pkey);
    fault = fault ? fault : write_public(pkey, public_pem);
    EVP_PKEY_free(pkey);
    ERR_clear_error();
    return fault;
}
