/* What clients send over WebSocket: the same bytes whole and in pieces must give the same messages
 * and the same close code, and without compression the same as wslay's, an implementation by
 * others. The first byte of the input says how: bit 0 permessage-deflate, the others the size of
 * the pieces.
 *
 * wslay 1.1.1 is not asked about close frames (it takes one byte of payload, refuses the registered
 * codes 1012 to 1014 and fails valid reasons that arrive in pieces): the comparison ends there. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wslay/wslay.h>

#include "proto/ws_reader.h"

#define MAX_PAYLOAD 1000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* One line per message or control frame. */
static void put_line(struct writer *log, uint8_t opcode, bool compressed, struct span bytes) {
    writer_printf(log, "%u%s %zu ", opcode, compressed ? "z" : "", bytes.len);
    writer_put_span(log, bytes);
    writer_putc(log, '\n');
}

/* Returns the close code of the failure or of the client's close frame, 0 for neither. *closed: it
 * was a close frame that ended it, good or bad. */
static int read_ours(struct writer *log, const uint8_t *data, size_t size, size_t piece,
                     bool deflate, bool *closed) {
    struct ws_pool pool = {0};
    struct ws_reader reader = {0};
    struct ws_limits limits = {MAX_PAYLOAD, deflate};
    int result = 0;
    *closed = false;
    for (size_t at = 0; at < size && result == 0; at += piece) {
        size_t len = size - at < piece ? size - at : piece;
        char *block = malloc(len);
        memcpy(block, data + at, len);
        char *next = block;
        struct ws_received got;
        while ((result = ws_reader_next(&reader, &pool, &limits, &next, block + len, &got)) == 1) {
            if (got.opcode == WS_CLOSE) {
                *closed = true;
                result = got.code;
                break;
            }
            put_line(log, got.opcode, got.compressed, got.bytes);
        }
        free(block);
    }
    ws_reader_deinit(&reader, &pool);
    ws_pool_deinit(&pool);
    return result;
}

/* --- wslay ---------------------------------------------------------------------------------- */

struct wslay_run {
    struct writer *log;
    const uint8_t *at;
    size_t len;
    bool closed;
};

static ssize_t on_recv(wslay_event_context_ptr ctx, uint8_t *buf, size_t len, int flags,
                       void *data) {
    struct wslay_run *run = data;
    (void)flags;
    if (run->len == 0) {
        wslay_event_set_error(ctx, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    len = len < run->len ? len : run->len;
    memcpy(buf, run->at, len);
    run->at += len;
    run->len -= len;
    return (ssize_t)len;
}

static ssize_t on_send(wslay_event_context_ptr ctx, const uint8_t *buf, size_t len, int flags,
                       void *data) {
    (void)ctx;
    (void)buf;
    (void)flags;
    (void)data;
    return (ssize_t)len;
}

static void on_frame(wslay_event_context_ptr ctx,
                     const struct wslay_event_on_frame_recv_start_arg *frame, void *data) {
    (void)ctx;
    ((struct wslay_run *)data)->closed |= frame->opcode == WSLAY_CONNECTION_CLOSE;
}

static void on_msg(wslay_event_context_ptr ctx, const struct wslay_event_on_msg_recv_arg *msg,
                   void *data) {
    struct wslay_run *run = data;
    (void)ctx;
    if (msg->opcode != WSLAY_CONNECTION_CLOSE) {
        put_line(run->log, msg->opcode, false,
                 (struct span){(const char *)msg->msg, msg->msg_length});
    }
}

static int read_wslay(struct writer *log, const uint8_t *data, size_t size, bool *closed) {
    struct wslay_event_callbacks callbacks = {.recv_callback = on_recv,
                                              .send_callback = on_send,
                                              .on_frame_recv_start_callback = on_frame,
                                              .on_msg_recv_callback = on_msg};
    struct wslay_run run = {.log = log, .at = data, .len = size};
    wslay_event_context_ptr ctx;
    if (wslay_event_context_server_init(&ctx, &callbacks, &run)) {
        abort();
    }
    wslay_event_config_set_max_recv_msg_length(ctx, MAX_PAYLOAD);
    int error = 0;
    while (run.len && !error && wslay_event_get_read_enabled(ctx)) {
        error = wslay_event_recv(ctx);
        wslay_event_send(ctx);
    }
    /* For a header that its frame layer refuses wslay sends a close frame without a code. */
    int code = error ? WS_CODE_PROTOCOL_ERROR : wslay_event_get_status_code_sent(ctx);
    wslay_event_context_free(ctx);
    *closed = run.closed;
    return code == WSLAY_CODE_ABNORMAL_CLOSURE ? 0 : code;
}

/* --------------------------------------------------------------------------------------------- */

static void check(bool same, const char *what, const struct writer *a, int code_a,
                  const struct writer *b, int code_b) {
    if (!same) {
        fprintf(stderr, "%s:\n%.*s%d\n--- and\n%.*s%d\n", what, (int)writer_len(a),
                writer_span(a).at, code_a, (int)writer_len(b), writer_span(b).at, code_b);
        abort();
    }
}

static void compare_with_wslay(const struct writer *ours, int code, bool closed,
                               const uint8_t *data, size_t size) {
    /* wslay looks at a header only once a byte of the payload is there. After a failure of ours
     * nothing counts any more, so some zeros let it come to its own. */
    size_t padded = size + (code ? 32 : 0);
    uint8_t *bytes = calloc(1, padded + 1);
    struct writer theirs = {0};
    bool they_closed;
    memcpy(bytes, data, size);
    int their_code = read_wslay(&theirs, bytes, padded, &they_closed);
    bool same = span_equal(writer_span(ours), writer_span(&theirs));
    if (!closed && !they_closed) {
        same = same && code == their_code;
    }
    check(same, "ours and wslay", ours, code, &theirs, their_code);
    writer_deinit(&theirs);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    bool deflate = data[0] & 1;
    size_t piece = (size_t)(data[0] >> 1) + 1;
    struct writer whole = {0};
    struct writer pieces = {0};
    bool closed;
    bool pieces_closed;
    data++;
    size--;
    int code = read_ours(&whole, data, size, size, deflate, &closed);
    int pieces_code = read_ours(&pieces, data, size, piece, deflate, &pieces_closed);
    check(code == pieces_code && closed == pieces_closed &&
              span_equal(writer_span(&whole), writer_span(&pieces)),
          "whole and in pieces", &whole, code, &pieces, pieces_code);
    if (!deflate) {
        compare_with_wslay(&whole, code, closed, data, size);
    }
    writer_deinit(&whole);
    writer_deinit(&pieces);
    return 0;
}
