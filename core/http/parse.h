/* HTTP/1.1 requests from bytes, through llhttp: a pure function of the bytes, whatever the pieces
 * they come in. The head is handed to llhttp only when it is complete and its lines are clean, so
 * that what this server refuses does not depend on how lenient a version of llhttp is. Used by
 * http/http for each connection, and by its fuzz target. */
#ifndef MOONWIRE_HTTP_PARSE_H
#define MOONWIRE_HTTP_PARSE_H

#include "http/request.h"
#include <llhttp/llhttp.h>

struct parse_limits {
    size_t max_head; /* bytes of request line and fields; also of trailers and chunk extensions */
    size_t max_headers;
    size_t max_body;
};

/* Follows the lines of a head or of trailers up to the empty one: each ends with CR LF, neither
 * stands alone, and none continues the one before it (RFC 9112 section 5.2). */
struct line_scan {
    size_t line_len; /* bytes of this line so far, without CR */
    bool cr;         /* the last byte was CR */
    bool begun;      /* a line has been seen: the next empty one is the end */
    bool done;
    const char *error;
};
/* Returns the bytes that belong to it, all of them unless it is done or wrong. */
size_t line_scan(struct line_scan *scan, const char *bytes, size_t len);

enum parse_phase { PARSE_HEAD, PARSE_LENGTH, PARSE_CHUNKED, PARSE_TRAILERS, PARSE_DONE };

struct parser {
    enum parse_phase phase;
    int status;              /* not 0: refused with this status, */
    const char *error;       /* because of this (static text) */
    struct request *request; /* from the end of the head; its body from PARSE_DONE */
    bool keep_alive;
    bool upgrade;         /* to websocket */
    bool expect_continue; /* the client waits for "100 Continue" before it sends the body */
    bool head_method;     /* HEAD: an answer to it, also a refusal, has no body */
    /* inside */
    struct line_scan lines;
    struct buf *partial; /* of a head that came in pieces */
    struct buf *body;
    uint64_t length; /* of the body; 0: chunked */
    size_t overhead; /* bytes of chunk extensions and trailers */
    const struct parse_limits *limits;
    llhttp_t llhttp;
};

/* Ready for a request; what has been parsed is forgotten (its request is unreferenced). */
void parser_reset(struct parser *p, const struct parse_limits *limits);
void parser_deinit(struct parser *p);
/* Takes bytes up to the end of the head, and in later calls of the body; returns how many. The
 * address and `secure` go into the request. Look at status and phase after each call; in PARSE_DONE
 * it takes nothing. */
size_t parser_feed(struct parser *p, const char *bytes, size_t len, const char *address,
                   bool secure);
bool parser_begun(const struct parser *p); /* there are bytes of an incomplete request */

#endif
