/* Keys and their signatures, through OpenSSL (jwt_key.h). A key is read once and kept, because
 * reading it takes 330 µs, and checking a signature of RSA 20. Called by lib_jwt.c. */
#include "script/jwt_key.h"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <string.h>

#define RSA_BITS_MIN 2048 /* RFC 7518 section 3.3 */
#define PEM_MAX (1 << 20) /* bytes */

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

static const char *judge(struct jwt_key *key) {
    switch (EVP_PKEY_get_base_id(key->pkey)) {
    case EVP_PKEY_RSA:
        key->kind = "RSA";
        return EVP_PKEY_get_bits(key->pkey) < RSA_BITS_MIN ? "an RSA key needs 2048 bits at least"
                                                           : NULL;
    case EVP_PKEY_EC:
        key->kind = curve_of(key->pkey);
        return key->kind ? NULL : "its curve is none of P-256, P-384 and P-521";
    default:
        return "it is neither an RSA key nor one of an elliptic curve";
    }
}

const char *jwt_key_read(struct jwt_key *key, struct span pem) {
    *key = (struct jwt_key){NULL, NULL, false};
    key->pkey = pem.len < PEM_MAX ? read_pem(pem, &key->is_private) : NULL;
    if (!key->pkey) {
        return "it is PEM text that holds neither a key nor a certificate (or needs a passphrase)";
    }
    const char *fault = judge(key);
    if (fault) {
        jwt_key_deinit(key);
    }
    ERR_clear_error();
    return fault;
}

void jwt_key_deinit(struct jwt_key *key) {
    EVP_PKEY_free(key->pkey);
    key->pkey = NULL;
}

/* --- signatures ------------------------------------------------------------------------------- */

const EVP_MD *jwt_digest(struct span algorithm) {
    if (algorithm.len != 5) {
        return NULL;
    }
    struct span bits = {algorithm.at + 2, 3};
    return span_is(bits, "256")   ? EVP_sha256()
           : span_is(bits, "384") ? EVP_sha384()
           : span_is(bits, "512") ? EVP_sha512()
                                  : NULL;
}

bool jwt_secret_signed(struct span secret, const EVP_MD *digest, struct span text,
                       struct span signature) {
    unsigned char ours[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    bool made = HMAC(digest, secret.at, (int)secret.len, (const unsigned char *)text.at, text.len,
                     ours, &len) != NULL;
    return made && signature.len == len && CRYPTO_memcmp(ours, signature.at, len) == 0;
}

/* The form that OpenSSL wants of a curve's signature, on its heap: its length, 0 where it is none.
 */
static int to_der(const EVP_PKEY *pkey, struct span raw, unsigned char **der) {
    int half = (EVP_PKEY_get_bits(pkey) + 7) / 8;
    if (raw.len != (size_t)half * 2) {
        return 0;
    }
    const unsigned char *bytes = (const unsigned char *)raw.at;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(bytes, half, NULL);
    BIGNUM *s = BN_bin2bn(bytes + half, half, NULL);
    int len = 0;
    if (pair && r && s && ECDSA_SIG_set0(pair, r, s)) {
        len = i2d_ECDSA_SIG(pair, der);
    } else {
        BN_free(r);
        BN_free(s);
    }
    ECDSA_SIG_free(pair);
    return len > 0 ? len : 0;
}

bool jwt_key_signed(const struct jwt_key *key, const EVP_MD *digest, struct span text,
                    struct span signature) {
    const unsigned char *bytes = (const unsigned char *)signature.at;
    size_t len = signature.len;
    unsigned char *der = NULL;
    if (EVP_PKEY_get_base_id(key->pkey) == EVP_PKEY_EC) {
        len = (size_t)to_der(key->pkey, signature, &der);
        bytes = der;
    }
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good =
        context && len && EVP_DigestVerifyInit(context, NULL, digest, NULL, key->pkey) == 1 &&
        EVP_DigestVerify(context, bytes, len, (const unsigned char *)text.at, text.len) == 1;
    EVP_MD_CTX_free(context);
    OPENSSL_free(der);
    ERR_clear_error();
    return good;
}
