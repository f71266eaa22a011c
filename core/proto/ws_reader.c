/* The two ways of a client's frame. The fast one: a frame that lies in the buffer as a whole and is
 * a message of its own, or a control frame, is unmasked and checked in place. The slow one: bytes
 * of incomplete frames and messages gather in a context. Both read headers through proto/ws_frame
 * and give the same answers whatever the pieces. Called by proto/ws_conn.
 *
 * The slow way does not use wslay, whose event layer (1.1.1) accepts a close frame with a payload
 * of one byte, fails a valid close reason that arrives in pieces, refuses the close codes 1012 to
 * 1014, allocates what a header announces, and takes 49 us for 16 KiB of text where this takes 2.
 * It is the oracle that the fuzz target fuzz_ws compares both ways with. */
#include "proto/ws_reader.h"

#include "base/memory.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

#define SPARE_MAX 64           /* contexts kept for the next incomplete message */
#define SPARE_BYTES (64 << 10) /* and the memory that each of them may keep */

struct ws_context {
    struct ws_context *next; /* in the pool */
    struct ws_header frame;  /* the one being read, once `in_frame` */
    uint64_t got;            /* its payload bytes so far */
    struct buf *data;        /* the message so far; NULL until its first byte */
    struct utf8_state utf8;  /* of a text message that is not compressed */
    uint8_t opcode;          /* the message's, from its first frame */
    uint8_t head_len;        /* bytes of an incomplete header */
    bool compressed;         /* the message is */
    bool in_message;         /* between its first frame's header and its last byte */
    bool in_frame;           /* between a header and the last byte of its payload */
    char head[WS_HEADER_MAX];
    char control[WS_CONTROL_MAX]; /* payload of an incomplete control frame */
};

void ws_pool_deinit(struct ws_pool *pool) {
    while (pool->spare) {
        struct ws_context *context = pool->spare;
        pool->spare = context->next;
        buf_unref(context->data);
        free(context);
    }
    pool->spare_count = 0;
}

static struct ws_context *borrow(struct ws_reader *r, struct ws_pool *pool) {
    if (r->context) {
        return r->context;
    }
    struct ws_context *context = pool->spare;
    if (context) {
        pool->spare = context->next;
        pool->spare_count--;
    } else {
        context = memory_zalloc(sizeof *context);
    }
    r->context = context;
    return context;
}

static void give_back(struct ws_reader *r, struct ws_pool *pool) {
    struct ws_context *context = r->context;
    r->context = NULL;
    if (context->data && context->data->cap > SPARE_BYTES) {
        buf_unref(context->data);
        context->data = NULL;
    }
    if (pool->spare_count == SPARE_MAX) {
        buf_unref(context->data);
        free(context);
        return;
    }
    struct buf *data = context->data;
    *context = (struct ws_context){.next = pool->spare, .data = data};
    if (data) {
        data->len = 0;
    }
    pool->spare = context;
    pool->spare_count++;
}

void ws_reader_deinit(struct ws_reader *r, struct ws_pool *pool) {
    if (r->context) {
        give_back(r, pool);
    }
}

void ws_reader_settle(struct ws_reader *r, struct ws_pool *pool) {
    const struct ws_context *context = r->context;
    if (context && !context->head_len && !context->in_frame && !context->in_message) {
        give_back(r, pool);
    }
}

/* --- what both ways check ------------------------------------------------------------------- */

static bool is_control(const struct ws_header *header) {
    return header->opcode & 0x08;
}

/* The bound of a message's bytes as they come. What does not shrink becomes longer: a seventh at
 * most, says zlib's deflateBound for its smallest windows. */
static uint64_t bound(const struct ws_limits *limits, bool compressed) {
    uint64_t most = limits->max_payload;
    return compressed ? most + most / 7 + 64 : most;
}

static int check_length(const struct ws_context *context, const struct ws_header *header,
                        const struct ws_limits *limits) {
    if (is_control(header)) {
        return 0;
    }
    bool continues = header->opcode == WS_CONTINUATION;
    uint64_t most = bound(limits, continues ? context->compressed : header->rsv1);
    uint64_t before = continues && context->data ? context->data->len : 0;
    /* The limit may have been lowered since those bytes came. */
    return before > most || header->length > most - before ? WS_CODE_TOO_BIG : 0;
}

static unsigned header_flags(const struct ws_context *context, const struct ws_limits *limits) {
    return (context && context->in_message ? WS_IN_MESSAGE : 0) |
           (limits->deflate ? WS_ALLOW_RSV1 : 0);
}

/* A whole control frame, unmasked. */
static int deliver_control(enum ws_opcode opcode, const char *bytes, size_t len,
                           struct ws_received *out) {
    *out = (struct ws_received){.opcode = opcode, .bytes = {bytes, len}};
    if (opcode != WS_CLOSE) {
        return 1;
    }
    out->code = WS_CODE_NONE;
    if (len == 0) {
        return 1;
    }
    if (len == 1) {
        return WS_CODE_PROTOCOL_ERROR;
    }
    out->code = (uint8_t)bytes[0] << 8 | (uint8_t)bytes[1];
    out->bytes = (struct span){bytes + 2, len - 2};
    if (!ws_code_valid(out->code)) {
        return WS_CODE_PROTOCOL_ERROR;
    }
    return utf8_valid(out->bytes.at, out->bytes.len) ? 1 : WS_CODE_INVALID_DATA;
}

/* --- the fast way --------------------------------------------------------------------------- */

/* A frame that lies in the buffer as a whole and needs no context of a message. */
static int read_whole(const struct ws_header *header, char *bytes, struct ws_received *out) {
    size_t len = (size_t)header->length;
    ws_unmask(bytes, len, header->mask, 0);
    if (is_control(header)) {
        return deliver_control(header->opcode, bytes, len, out);
    }
    *out = (struct ws_received){
        .opcode = header->opcode, .compressed = header->rsv1, .bytes = {bytes, len}};
    if (header->opcode == WS_TEXT && !header->rsv1 && !utf8_valid(bytes, len)) {
        return WS_CODE_INVALID_DATA;
    }
    return 1;
}

/* --- the slow way --------------------------------------------------------------------------- */

/* Room for `more` bytes of the message: twice as much each time, and in the last frame no more than
 * it has announced. Before that the end is not known: to go by each frame's length would copy the
 * message as often as it has frames. A peer sizes it, so memory may be short: false. */
static bool make_room(struct ws_context *context, size_t more) {
    struct buf *old = context->data;
    size_t len = old ? old->len : 0;
    if (old && old->cap - len >= more) {
        return true;
    }
    size_t announced = len + (size_t)(context->frame.length - context->got);
    size_t cap = old ? old->cap * 2 : 4096;
    if (context->frame.fin && cap > announced) {
        cap = announced;
    }
    if (cap < len + more) {
        cap = len + more;
    }
    struct buf *larger = buf_try_new(cap);
    if (!larger) {
        return false;
    }
    if (old) {
        memcpy(larger->bytes, old->bytes, len);
    }
    larger->len = len;
    buf_unref(old);
    context->data = larger;
    return true;
}

/* Takes a header that may come in pieces: 1 once it is complete. */
static int read_header(struct ws_context *context, const struct ws_limits *limits, char **at,
                       const char *end) {
    while (*at < end) {
        context->head[context->head_len++] = *(*at)++;
        int size = ws_header_read(&context->frame, context->head, context->head_len,
                                  header_flags(context, limits));
        if (size < 0) {
            return WS_CODE_PROTOCOL_ERROR;
        }
        if (size > 0) {
            context->head_len = 0;
            return 1;
        }
    }
    return 0;
}

static void start_frame(struct ws_context *context) {
    const struct ws_header *frame = &context->frame;
    context->in_frame = true;
    context->got = 0;
    if (frame->opcode == WS_TEXT || frame->opcode == WS_BINARY) {
        context->in_message = true;
        context->opcode = frame->opcode;
        context->compressed = frame->rsv1;
        context->utf8 = (struct utf8_state){0};
    }
}

/* Unmasks a piece of the frame's payload, checks it and puts it where the whole gathers. */
static int take_payload(struct ws_context *context, char *bytes, size_t len) {
    if (len == 0) {
        return 0;
    }
    ws_unmask(bytes, len, context->frame.mask, context->got);
    if (is_control(&context->frame)) {
        memcpy(context->control + context->got, bytes, len);
        context->got += len;
        return 0;
    }
    if (context->opcode == WS_TEXT && !context->compressed &&
        !utf8_feed(&context->utf8, bytes, len)) {
        return WS_CODE_INVALID_DATA;
    }
    if (!make_room(context, len)) {
        return WS_CODE_TOO_BIG;
    }
    memcpy(context->data->bytes + context->data->len, bytes, len);
    context->data->len += len;
    context->got += len;
    return 0;
}

/* The frame is complete: 1 if that makes something to deliver. */
static int end_frame(struct ws_context *context, struct ws_received *out) {
    const struct ws_header *frame = &context->frame;
    context->in_frame = false;
    if (is_control(frame)) {
        return deliver_control(frame->opcode, context->control, (size_t)frame->length, out);
    }
    if (!frame->fin) {
        return 0;
    }
    context->in_message = false;
    *out = (struct ws_received){
        .opcode = context->opcode, .compressed = context->compressed, .bytes = SPAN("")};
    if (context->data) {
        out->bytes = (struct span){context->data->bytes, context->data->len};
    }
    if (context->opcode == WS_TEXT && !context->compressed && !utf8_done(&context->utf8)) {
        return WS_CODE_INVALID_DATA;
    }
    return 1;
}

/* One step: a header, or the payload of one frame, as far as the bytes go. 0: go on. */
static int read_piece(struct ws_context *context, const struct ws_limits *limits, char **at,
                      char *end, struct ws_received *out) {
    if (!context->in_frame) {
        int result = read_header(context, limits, at, end);
        if (result != 1) {
            return result;
        }
        result = check_length(context, &context->frame, limits);
        if (result) {
            return result;
        }
        start_frame(context);
    }
    uint64_t wanted = context->frame.length - context->got;
    size_t len = (size_t)(end - *at);
    if (len > wanted) {
        len = (size_t)wanted;
    }
    int result = take_payload(context, *at, len);
    *at += len;
    if (result) {
        return result;
    }
    return context->got == context->frame.length ? end_frame(context, out) : 0;
}

/* --------------------------------------------------------------------------------------------- */

int ws_reader_next(struct ws_reader *r, struct ws_pool *pool, const struct ws_limits *limits,
                   char **at, char *end, struct ws_received *out) {
    ws_reader_settle(r, pool);
    while (*at < end) {
        struct ws_context *context = r->context;
        if (!context || (!context->in_frame && !context->head_len)) {
            struct ws_header header;
            size_t len = (size_t)(end - *at);
            int size = ws_header_read(&header, *at, len, header_flags(context, limits));
            if (size < 0) {
                return WS_CODE_PROTOCOL_ERROR;
            }
            int failure = size > 0 ? check_length(context, &header, limits) : 0;
            if (failure) {
                return failure;
            }
            bool own = is_control(&header) || (!context && header.fin);
            if (size > 0 && own && header.length <= len - (size_t)size) {
                char *payload = *at + size;
                *at = payload + header.length;
                return read_whole(&header, payload, out);
            }
        }
        int result = read_piece(borrow(r, pool), limits, at, end, out);
        if (result) {
            return result;
        }
    }
    return 0;
}
