/* The C half of mw.jwt (lua/moonwire/jwt.lua is the other, with all that is policy): tokens taken
 * apart, keys kept, signatures checked (jwt_key.c) and, by libjwt, made. libjwt checks none: it
 * reads PEM anew for each token, which takes 330 of its 395 µs, takes digits for base64url that are
 * none, and any token as good where it has no key. See binding.h. */
#include "base/random.h"
#include "base/token.h"
#include "script/binding.h"
#include "script/json_bridge.h"
#include "script/jwt_key.h"

#include <jwt.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_FILE_MAX (1 << 20) /* bytes */

static struct span script_text(struct script *s, const char *text) {
    writer_clear(&s->json);
    writer_puts(&s->json, text);
    return writer_span(&s->json);
}

/* Pushes the table of a JSON object; false: it is none. */
static bool push_object(lua_State *L, struct span text) {
    struct json_fault fault;
    struct json_reader r;
    json_reader_init(&r, text.at, text.len);
    bool object = json_next(&r) == JSON_OBJECT;
    json_reader_deinit(&r);
    return object && json_push(L, text, &fault) == 1;
}

/* parse(token): header, claims; or nil and what is wrong. */
static int parse(lua_State *L) {
    struct script *s = script_of(L);
    struct span text = binding_check_span(L, 1);
    struct token token;
    const char *wrong = token_read(&token, text, &s->json);
    if (wrong) {
        return binding_refuse(L, wrong, NULL);
    }
    if (!push_object(L, token.header)) {
        return binding_refuse(L, "its header is no JSON object", NULL);
    }
    if (!push_object(L, token.payload)) {
        return binding_refuse(L, "its claims are no JSON object", NULL);
    }
    return 2;
}

/* --- keys ------------------------------------------------------------------------------------- */

static const char metatable[] = "moonwire.jwt.key";

/* key(pem): a key for verify, its kind, is it private?; or nil and what is wrong. */
static int key(lua_State *L) {
    struct span pem = binding_check_span(L, 1);
    struct jwt_key *found = lua_newuserdatauv(L, sizeof *found, 0);
    memset(found, 0, sizeof *found);
    luaL_setmetatable(L, metatable);
    const char *wrong = jwt_key_read(found, pem);
    if (wrong) {
        return binding_refuse(L, wrong, NULL);
    }
    lua_pushstring(L, found->kind);
    lua_pushboolean(L, found->is_private);
    return 3;
}

static int free_key(lua_State *L) {
    jwt_key_deinit(lua_touserdata(L, 1));
    return 0;
}

/* --- signatures ------------------------------------------------------------------------------- */

/* verify(token, algorithm, secret or key): is the signature right? The token is one that parse has
 * taken, and the algorithm one that its header names and the key is for. */
static int verify(lua_State *L) {
    struct script *s = script_of(L);
    struct token token;
    struct span text = binding_check_span(L, 1);
    const EVP_MD *digest = jwt_digest(binding_check_span(L, 2));
    const struct jwt_key *with = luaL_testudata(L, 3, metatable);
    struct span secret = with ? SPAN("") : binding_check_span(L, 3);
    luaL_argcheck(L, digest, 2, "no algorithm that signs");
    luaL_argcheck(L, with ? with->pkey != NULL : secret.len > 0 && secret.len < INT_MAX, 3,
                  "no key");
    if (token_read(&token, text, &s->json) != NULL) {
        return 0;
    }
    char *bytes = writer_reserve(&s->json, token.signature.len);
    struct span signature = {bytes, (size_t)base64url_decode(bytes, token.signature)};
    text.len -= token.signature.len + 1;
    lua_pushboolean(L, with ? jwt_key_signed(with, digest, text, signature)
                            : jwt_secret_signed(secret, digest, text, signature));
    return 1;
}

static jwt_alg_t check_algorithm(lua_State *L, int arg) {
    jwt_alg_t algorithm = jwt_str_alg(luaL_checkstring(L, arg));
    luaL_argcheck(L, algorithm != JWT_ALG_NONE && algorithm != JWT_ALG_INVAL, arg,
                  "no algorithm that signs");
    return algorithm;
}

static struct span check_key(lua_State *L, int arg) {
    struct span bytes = binding_check_span(L, arg);
    luaL_argcheck(L, bytes.len > 0 && bytes.len < INT_MAX, arg, "no key");
    return bytes;
}

/* A token on the heap, NULL if libjwt does not take what it is given. */
static char *make_token(const char *claims, jwt_alg_t algorithm, struct span with,
                        const char *kid) {
    jwt_t *jwt = NULL;
    char *token = NULL;
    if (jwt_new(&jwt) == 0 && jwt_add_grants_json(jwt, claims) == 0 &&
        (!kid || jwt_add_header(jwt, "kid", kid) == 0) &&
        jwt_set_alg(jwt, algorithm, (const unsigned char *)with.at, (int)with.len) == 0) {
        token = jwt_encode_str(jwt);
    }
    jwt_free(jwt);
    ERR_clear_error();
    return token;
}

/* sign(claims as JSON, algorithm, key, kid or nil): the token, or nil. */
static int sign(lua_State *L) {
    const char *claims = luaL_checkstring(L, 1);
    jwt_alg_t algorithm = check_algorithm(L, 2);
    struct span with = check_key(L, 3);
    char *made = make_token(claims, algorithm, with, luaL_optstring(L, 4, NULL));
    if (!made) {
        return 0;
    }
    struct span token = script_text(script_of(L), made);
    free(made);
    lua_pushlstring(L, token.at, token.len);
    return 1;
}

/* --- the options ------------------------------------------------------------------------------ */

/* "@path": what is in that file, without the line end that editors leave behind a secret. */
static void push_key_file(lua_State *L, const char *path) {
    struct script *s = script_of(L);
    FILE *file = fopen(path, "rb");
    if (!file) {
        luaL_error(L, "jwt_key: cannot read %s", path);
        return;
    }
    writer_clear(&s->json);
    size_t len = fread(writer_reserve(&s->json, KEY_FILE_MAX), 1, KEY_FILE_MAX, file);
    writer_advance(&s->json, len);
    (void)fclose(file);
    struct span bytes = writer_span(&s->json);
    while (bytes.len && (bytes.at[bytes.len - 1] == '\n' || bytes.at[bytes.len - 1] == '\r')) {
        bytes.len--;
    }
    if (!bytes.len) {
        luaL_error(L, "jwt_key: %s is empty", path);
    }
    lua_pushlstring(L, bytes.at, bytes.len);
}

static void set_option(lua_State *L, const char *name, const char *value) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

/* Read anew for each version: a reload takes a new key from its file. */
static void push_defaults(lua_State *L) {
    const struct config *config = script_of(L)->env.config;
    lua_newtable(L);
    set_option(L, "algorithms", config->jwt_algorithms);
    set_option(L, "audience", config->jwt_audience);
    set_option(L, "issuer", config->jwt_issuer);
    if (config->jwt_key && config->jwt_key[0] == '@') {
        push_key_file(L, config->jwt_key + 1);
        lua_setfield(L, -2, "key");
    } else {
        set_option(L, "key", config->jwt_key);
    }
}

static const luaL_Reg functions[] = {
    {"parse", parse}, {"key", key}, {"verify", verify}, {"sign", sign}, {NULL, NULL},
};

int luaopen_moonwire_jwt(lua_State *L) {
    if (luaL_newmetatable(L, metatable)) {
        lua_pushcfunction(L, free_key);
        lua_setfield(L, -2, "__gc");
    }
    luaL_newlib(L, functions);
    push_defaults(L);
    lua_setfield(L, -2, "defaults");
    return 1;
}
