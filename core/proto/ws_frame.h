/* The frame of RFC 6455 section 5 as a pure function of bytes: reading a client's header, unmasking
 * its payload, writing a header of ours, and the codes of a close. Messages of several frames are
 * proto/ws_reader's business. */
#ifndef MOONWIRE_PROTO_WS_FRAME_H
#define MOONWIRE_PROTO_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

enum ws_code {
    WS_CODE_NORMAL = 1000,
    WS_CODE_PROTOCOL_ERROR = 1002,
    WS_CODE_NONE = 1005, /* of a close frame without a code; never on the wire */
    WS_CODE_INVALID_DATA = 1007,
    WS_CODE_POLICY = 1008,
    WS_CODE_TOO_BIG = 1009,
    WS_CODE_INTERNAL_ERROR = 1011,
    WS_CODE_RESTART = 1012,
};

#define WS_HEADER_MAX 14     /* of a client's frame */
#define WS_OUT_HEADER_MAX 10 /* of ours, which has no mask */
#define WS_CONTROL_MAX 125

struct ws_header {
    uint64_t length; /* of the payload */
    uint8_t mask[4];
    uint8_t opcode;
    bool fin;
    bool rsv1;
};

/* What the place of a frame allows. */
enum ws_header_flags {
    WS_IN_MESSAGE = 1, /* a message has begun: a continuation or a control frame must follow */
    WS_ALLOW_RSV1 = 2, /* permessage-deflate is negotiated: a message's first frame may have it */
};

/* Reads the header at the front of `bytes`. Its size; 0 if more bytes are needed; UV_EPROTO as soon
 * as the bytes that are there break RFC 6455: reserved bits and opcodes, a control frame that is
 * fragmented or longer than 125, no mask, a length not in its shortest form or with the top bit, a
 * continuation of nothing, a message within a message. */
int ws_header_read(struct ws_header *header, const char *bytes, size_t len, unsigned flags);

/* Unmasks in place; `phase` is the number of the payload's bytes before these. */
void ws_unmask(char *bytes, size_t len, const uint8_t mask[4], uint64_t phase);

/* Writes the header of an unfragmented frame of ours: 2, 4 or 10 bytes. */
size_t ws_header_write(char out[WS_OUT_HEADER_MAX], enum ws_opcode opcode, bool rsv1,
                       uint64_t length);
size_t ws_header_size(uint64_t length);

/* May this code stand in a close frame (RFC 6455 section 7.4 and IANA's registry)? */
bool ws_code_valid(int code);

#endif
