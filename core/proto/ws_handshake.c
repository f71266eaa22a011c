/* Checks the request of a WebSocket handshake and writes the 101. Origin, guard and authentication
 * have been the worker's business before. Called by proto/ws. */
#include "proto/ws_handshake.h"

#include "base/random.h"
#include "proto/ws_deflate.h"

#include <openssl/evp.h>
#include <string.h>

#define KEY_LEN 24
#define SHA1_LEN 20

bool ws_key_valid(struct span key) {
    unsigned char bytes[KEY_LEN];
    return key.len == KEY_LEN && key.at[KEY_LEN - 1] == '=' && !memchr(key.at, '-', KEY_LEN) &&
           !memchr(key.at, '_', KEY_LEN) && base64_decode(bytes, key) == 16;
}

void ws_accept_key(char out[WS_ACCEPT_LEN], struct span key) {
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    char text[KEY_LEN + sizeof guid - 1];
    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t len = key.len < KEY_LEN ? key.len : KEY_LEN;
    memcpy(text, key.at, len);
    memcpy(text + len, guid, sizeof guid - 1);
    EVP_Digest(text, len + sizeof guid - 1, digest, NULL, EVP_sha1(), NULL);
    base64_encode(out, digest, SHA1_LEN);
}

int ws_handshake_check(const struct request *r, const char **reason) {
    *reason = NULL;
    if (!span_is(request_method(r), "GET") || request_minor(r) < 1) {
        *reason = "a WebSocket begins with a GET of HTTP/1.1";
    } else if (request_header(r, "host").len == 0) {
        *reason = "the Host field is missing";
    } else if (!request_header_has_token(r, "upgrade", "websocket") ||
               !request_header_has_token(r, "connection", "upgrade")) {
        *reason = "the Upgrade field, or Connection: Upgrade, is missing";
    } else if (!ws_key_valid(request_header(r, "sec-websocket-key"))) {
        *reason = "Sec-WebSocket-Key must be 16 bytes in base64";
    }
    if (*reason) {
        return 400;
    }
    if (!span_is(request_header(r, "sec-websocket-version"), "13")) {
        *reason = "this server speaks WebSocket version 13";
        return 426;
    }
    return 0;
}

/* Does the list name this protocol? Names are compared with case (RFC 6455 section 4.1). */
static bool list_has(struct span list, struct span name) {
    const char *at = list.at;
    const char *end = list.at + list.len;
    while (at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        const char *last = stop;
        while (at < last && (*at == ' ' || *at == '\t')) {
            at++;
        }
        while (last > at && (last[-1] == ' ' || last[-1] == '\t')) {
            last--;
        }
        if (span_equal((struct span){at, (size_t)(last - at)}, name)) {
            return true;
        }
        at = comma ? comma + 1 : end;
    }
    return false;
}

const char *ws_choose_subprotocol(struct span offered, char *const *ours, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (list_has(offered, span_of(ours[i]))) {
            return ours[i];
        }
    }
    return NULL;
}

void ws_handshake_answer(struct writer *out, const struct request *r,
                         const struct ws_agreement *agreement, struct span extra) {
    char accept[WS_ACCEPT_LEN];
    ws_accept_key(accept, request_header(r, "sec-websocket-key"));
    writer_puts(out, "HTTP/1.1 101 Switching Protocols\r\n"
                     "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ");
    writer_put(out, accept, sizeof accept);
    writer_puts(out, "\r\n");
    if (agreement->subprotocol) {
        writer_printf(out, "Sec-WebSocket-Protocol: %s\r\n", agreement->subprotocol);
    }
    if (agreement->window) {
        writer_puts(out, "Sec-WebSocket-Extensions: ");
        ws_deflate_answer(out, agreement->window, agreement->window_asked);
        writer_puts(out, "\r\n");
    }
    writer_put_span(out, extra);
    writer_puts(out, "\r\n");
}
