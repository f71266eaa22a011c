/* Reads and writes WebSocket frame headers and takes the mask off payloads, many bytes at a time.
 * It keeps no state and knows no connection. Called by proto/ws_reader for what clients send and by
 * proto/ws_conn and proto/ws for what we send. */
#include "proto/ws_frame.h"

#include <string.h>
#include <uv.h>

static bool opcode_known(uint8_t opcode) {
    return opcode <= WS_BINARY || (opcode >= WS_CLOSE && opcode <= WS_PONG);
}

/* The first byte: FIN, RSV1-3 and opcode, against what may stand here. */
static int read_first(struct ws_header *header, uint8_t byte, unsigned flags) {
    header->fin = byte & 0x80;
    header->rsv1 = byte & 0x40;
    header->opcode = byte & 0x0f;
    bool control = header->opcode & 0x08;
    bool starts = header->opcode == WS_TEXT || header->opcode == WS_BINARY;
    if ((byte & 0x30) || !opcode_known(header->opcode)) {
        return UV_EPROTO;
    }
    if (control) {
        return header->fin && !header->rsv1 ? 0 : UV_EPROTO;
    }
    /* RFC 7692 section 6: only the first fragment says whether the message is compressed. */
    if (header->rsv1 && !(starts && (flags & WS_ALLOW_RSV1))) {
        return UV_EPROTO;
    }
    return starts == !(flags & WS_IN_MESSAGE) ? 0 : UV_EPROTO;
}

static uint64_t read_big_endian(const uint8_t *bytes, size_t count) {
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

int ws_header_read(struct ws_header *header, const char *bytes, size_t len, unsigned flags) {
    const uint8_t *at = (const uint8_t *)bytes;
    if (len < 1) {
        return 0;
    }
    if (read_first(header, at[0], flags)) {
        return UV_EPROTO;
    }
    if (len < 2) {
        return 0;
    }
    uint8_t short_length = at[1] & 0x7f;
    if (!(at[1] & 0x80) || ((header->opcode & 0x08) && short_length > WS_CONTROL_MAX)) {
        return UV_EPROTO;
    }
    size_t extended = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    if (len < 2 + extended) {
        return 0;
    }
    header->length = extended ? read_big_endian(at + 2, extended) : short_length;
    if ((extended == 2 && header->length < 126) ||
        (extended == 8 && (header->length <= UINT16_MAX || header->length >> 63))) {
        return UV_EPROTO;
    }
    if (len < 2 + extended + 4) {
        return 0;
    }
    memcpy(header->mask, at + 2 + extended, 4);
    return (int)(2 + extended + 4);
}

void ws_unmask(char *bytes, size_t len, const uint8_t mask[4], uint64_t phase) {
    for (; len && (phase & 3); len--) {
        *bytes = (char)(*bytes ^ mask[phase++ & 3]);
        bytes++;
    }
    uint32_t word;
    memcpy(&word, mask, 4);
    uint64_t wide = (uint64_t)word << 32 | word;
    size_t i = 0;
    /* Four words a round, which compilers turn into vector instructions. */
    for (; i + 32 <= len; i += 32) {
        uint64_t words[4];
        memcpy(words, bytes + i, 32);
        for (size_t k = 0; k < 4; k++) {
            words[k] ^= wide;
        }
        memcpy(bytes + i, words, 32);
    }
    for (; i + 8 <= len; i += 8) {
        uint64_t next;
        memcpy(&next, bytes + i, 8);
        next ^= wide;
        memcpy(bytes + i, &next, 8);
    }
    for (; i < len; i++) {
        bytes[i] = (char)(bytes[i] ^ mask[i & 3]);
    }
}

size_t ws_header_size(uint64_t length) {
    return length < 126 ? 2 : length <= UINT16_MAX ? 4 : 10;
}

size_t ws_header_write(char out[WS_OUT_HEADER_MAX], enum ws_opcode opcode, bool rsv1,
                       uint64_t length) {
    size_t size = ws_header_size(length);
    out[0] = (char)(0x80 | (rsv1 ? 0x40 : 0) | opcode);
    out[1] = (char)(size == 2 ? length : size == 4 ? 126 : 127);
    for (size_t i = 2; i < size; i++) {
        out[i] = (char)(length >> 8 * (size - 1 - i));
    }
    return size;
}

bool ws_code_valid(int code) {
    if (code >= 3000) {
        return code <= 4999;
    }
    return code >= 1000 && code <= 1014 && (code < 1004 || code > 1006);
}
