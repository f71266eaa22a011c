/* mw.crypto (lua/moonwire/init.lua names its parts): digests, random bytes, comparing without
 * telling, and the forms in which bytes are written. OpenSSL and base/random do the work. */
#include "base/nearest.h"
#include "base/random.h"
#include "script/binding.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define RANDOM_MAX (1 << 20) /* bytes in one call */

static const char *const algorithms[] = {"sha256", "sha384", "sha512", "sha1", "md5"};
#define ALGORITHMS (sizeof algorithms / sizeof *algorithms)

/* The algorithm named by argument 1. */
static const EVP_MD *check_algorithm(lua_State *L, const char *function) {
    struct span name = binding_check_span(L, 1);
    for (size_t i = 0; i < ALGORITHMS; i++) {
        if (span_is(name, algorithms[i])) {
            return EVP_get_digestbyname(algorithms[i]);
        }
    }
    const char *near = nearest_name(name, algorithms, ALGORITHMS, sizeof *algorithms);
    luaL_error(L, "mw.crypto.%s: unknown algorithm '%s'%s%s%s (sha256, sha384, sha512, sha1, md5)",
               function, name.at, near ? "; did you mean '" : "", near ? near : "",
               near ? "'?" : "");
    return NULL;
}

static int push_digest(lua_State *L, int done, const unsigned char *digest, unsigned len) {
    if (!done) {
        ERR_clear_error();
        return luaL_error(L, "mw.crypto: OpenSSL does not offer this algorithm here");
    }
    lua_pushlstring(L, (const char *)digest, len);
    return 1;
}

static int crypto_hash(lua_State *L) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    const EVP_MD *algorithm = check_algorithm(L, "hash");
    struct span data = binding_check_span(L, 2);
    int done = EVP_Digest(data.at, data.len, digest, &len, algorithm, NULL);
    return push_digest(L, done, digest, len);
}

static int crypto_hmac(lua_State *L) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    const EVP_MD *algorithm = check_algorithm(L, "hmac");
    struct span key = binding_check_span(L, 2);
    struct span data = binding_check_span(L, 3);
    luaL_argcheck(L, key.len > 0 && key.len <= RANDOM_MAX, 2, "a key is neither empty nor endless");
    bool done = HMAC(algorithm, key.at, (int)key.len, (const unsigned char *)data.at, data.len,
                     digest, &len) != NULL;
    return push_digest(L, done, digest, len);
}

static int crypto_random(lua_State *L) {
    lua_Integer count = luaL_checkinteger(L, 1);
    luaL_Buffer bytes;
    luaL_argcheck(L, count >= 0 && count <= RANDOM_MAX, 1, "expected 0 to 1048576 bytes");
    random_bytes(luaL_buffinitsize(L, &bytes, (size_t)count), (size_t)count);
    luaL_pushresultsize(&bytes, (size_t)count);
    return 1;
}

/* What a header or a cookie lacks is nil, and equals nothing. Lengths are no secret. */
static int crypto_equal(lua_State *L) {
    struct span a = lua_isnoneornil(L, 1) ? (struct span){NULL, 0} : binding_check_span(L, 1);
    struct span b = lua_isnoneornil(L, 2) ? (struct span){NULL, 0} : binding_check_span(L, 2);
    bool there = a.at && b.at && a.len == b.len;
    lua_pushboolean(L, there && CRYPTO_memcmp(a.at, b.at, a.len) == 0);
    return 1;
}

/* --- how bytes are written -------------------------------------------------------------------- */

static int hex_encode(lua_State *L) {
    static const char digits[] = "0123456789abcdef";
    struct span bytes = binding_check_span(L, 1);
    luaL_Buffer text;
    char *at = luaL_buffinitsize(L, &text, bytes.len * 2);
    for (size_t i = 0; i < bytes.len; i++) {
        *at++ = digits[(unsigned char)bytes.at[i] >> 4];
        *at++ = digits[(unsigned char)bytes.at[i] & 15];
    }
    luaL_pushresultsize(&text, bytes.len * 2);
    return 1;
}

static int digit_of(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static int hex_decode(lua_State *L) {
    struct span text = binding_check_span(L, 1);
    luaL_Buffer bytes;
    bool good = text.len % 2 == 0;
    char *at = luaL_buffinitsize(L, &bytes, text.len / 2 + 1);
    for (size_t i = 0; good && i < text.len; i += 2) {
        int high = digit_of(text.at[i]), low = digit_of(text.at[i + 1]);
        good = high >= 0 && low >= 0;
        *at++ = (char)(high * 16 + low);
    }
    luaL_pushresultsize(&bytes, good ? text.len / 2 : 0);
    return good ? 1 : binding_refuse(L, "bad_hex", NULL);
}

static int push_encoded(lua_State *L, size_t (*encode)(char *out, const void *bytes, size_t len)) {
    struct span bytes = binding_check_span(L, 1);
    luaL_Buffer text;
    char *at = luaL_buffinitsize(L, &text, (bytes.len + 2) / 3 * 4 + 1);
    luaL_pushresultsize(&text, encode(at, bytes.at, bytes.len));
    return 1;
}

static int push_decoded(lua_State *L, long (*decode)(void *out, struct span text),
                        const char *code) {
    struct span text = binding_check_span(L, 1);
    luaL_Buffer bytes;
    long len = decode(luaL_buffinitsize(L, &bytes, text.len + 1), text);
    luaL_pushresultsize(&bytes, len < 0 ? 0 : (size_t)len);
    return len < 0 ? binding_refuse(L, code, NULL) : 1;
}

static int text_encode(lua_State *L) {
    return push_encoded(L, base64_encode);
}

static int text_decode(lua_State *L) {
    return push_decoded(L, base64_decode, "bad_base64");
}

static int url_encode(lua_State *L) {
    return push_encoded(L, base64url_encode);
}

static int url_decode_text(lua_State *L) {
    return push_decoded(L, base64url_decode, "bad_base64url");
}

static const luaL_Reg functions[] = {
    {"hash", crypto_hash},   {"hmac", crypto_hmac}, {"random", crypto_random},
    {"equal", crypto_equal}, {NULL, NULL},
};

static const struct {
    const char *name;
    luaL_Reg pair[3];
} forms[] = {
    {"hex", {{"encode", hex_encode}, {"decode", hex_decode}, {NULL, NULL}}},
    {"base64", {{"encode", text_encode}, {"decode", text_decode}, {NULL, NULL}}},
    {"base64url", {{"encode", url_encode}, {"decode", url_decode_text}, {NULL, NULL}}},
};

int luaopen_moonwire_crypto(lua_State *L) {
    luaL_newlib(L, functions);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        lua_newtable(L);
        luaL_setfuncs(L, forms[i].pair, 0);
        lua_setfield(L, -2, forms[i].name);
    }
    return 1;
}
