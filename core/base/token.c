/* Takes signed tokens apart (token.h). Strict, since what two readers understand differently can be
 * used against one of them. Called by script/lib_jwt.c. */
#include "base/token.h"
#include "base/random.h"

#include <string.h>

/* The bytes before the next dot, which is taken off the rest; the rest where there is none. */
static struct span next_part(struct span *rest) {
    const char *dot = rest->len ? memchr(rest->at, '.', rest->len) : NULL;
    struct span part = {rest->at, dot ? (size_t)(dot - rest->at) : rest->len};
    size_t taken = part.len + (dot ? 1 : 0);
    rest->at += taken;
    rest->len -= taken;
    return part;
}

static bool decode(struct writer *to, struct span part, struct span *bytes) {
    char *at = writer_reserve(to, part.len);
    long len = base64url_decode(at, part);
    if (len <= 0) {
        return false;
    }
    writer_advance(to, (size_t)len);
    *bytes = (struct span){at, (size_t)len};
    return true;
}

const char *token_read(struct token *t, struct span text, struct writer *decoded) {
    size_t dots = 0;
    *t = (struct token){{NULL, 0}, {NULL, 0}, {NULL, 0}};
    writer_clear(decoded);
    if (text.len > TOKEN_MAX) {
        return "it is too long";
    }
    for (size_t i = 0; i < text.len; i++) {
        dots += text.at[i] == '.';
    }
    if (dots != 2) {
        return dots == 4 ? "it is encrypted" : "it has not three parts";
    }
    writer_reserve(decoded, text.len); /* All fit: none moves another. */
    struct span header = next_part(&text);
    struct span payload = next_part(&text);
    if (!decode(decoded, header, &t->header)) {
        return "its header is not base64url";
    }
    if (!decode(decoded, payload, &t->payload)) {
        return "its claims are not base64url";
    }
    if (base64url_decode(writer_reserve(decoded, text.len), text) < 0) {
        return "its signature is not base64url";
    }
    t->signature = text;
    return NULL;
}
