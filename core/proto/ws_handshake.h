/* The opening handshake of RFC 6455 section 4.2: is the request right, and what is the answer? */
#ifndef MOONWIRE_PROTO_WS_HANDSHAKE_H
#define MOONWIRE_PROTO_WS_HANDSHAKE_H

#include "http/http.h"

#define WS_ACCEPT_LEN 28

/* What is wrong with this request for a WebSocket: 0 nothing, 400, or 426 (another version).
 * *reason says it in words. */
int ws_handshake_check(const struct request *r, const char **reason);

/* Sec-WebSocket-Accept for a Sec-WebSocket-Key. */
void ws_accept_key(char out[WS_ACCEPT_LEN], struct span key);
/* 16 bytes in base64, as the standard writes them? */
bool ws_key_valid(struct span key);
/* Our first subprotocol that the client offers (a comma-separated list); NULL: none. */
const char *ws_choose_subprotocol(struct span offered, char *const *ours, size_t count);

struct ws_agreement {
    const char *subprotocol; /* NULL: none */
    int window;              /* of permessage-deflate, 9 to 15; 0: not negotiated */
    bool window_asked;
};
/* Appends the head of the 101; `extra` are further fields, each with its CRLF. */
void ws_handshake_answer(struct writer *out, const struct request *r,
                         const struct ws_agreement *agreement, struct span extra);

#endif
