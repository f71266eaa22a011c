/* Messages, and the names of wires and hooks. A message on the stack borrows its bytes; a kept one
 * owns them, in one block. */
#include "hub/message.h"
#include "base/memory.h"
#include "hub/app.h"

#include <stdlib.h>
#include <string.h>

const char *wire_name(enum wire wire) {
    switch (wire) {
    case WIRE_SSE:
        return "sse";
    case WIRE_POST:
        return "post";
    case WIRE_SIO_WS:
    case WIRE_SIO_POLLING:
        return "socket.io";
    case WIRE_EIO_WS:
    case WIRE_EIO_POLLING:
        return "engine.io";
    default:
        return "websocket"; /* plain, or one of the deflate windows */
    }
}

const char *hook_name(enum hook hook) {
    static const char *const names[HOOK_COUNT] = {
        [HOOK_LOAD] = "load",
        [HOOK_REQUEST] = "on_request",
        [HOOK_AUTH] = "on_auth",
        [HOOK_CONNECT] = "on_connect",
        [HOOK_MESSAGE] = "on_message",
        [HOOK_EVENT] = "event",
        [HOOK_ANY] = "on_event",
        [HOOK_EMIT] = "on_emit",
        [HOOK_JOIN] = "on_join",
        [HOOK_LEAVE] = "on_leave",
        [HOOK_DISCONNECT] = "on_disconnect",
        [HOOK_ROUTE] = "route",
        [HOOK_TIMER] = "timer",
        [HOOK_RELOAD] = "on_reload",
        [HOOK_SPAWN] = "spawn",
    };
    return names[hook];
}

const char *replay_reason(enum replay_result result) {
    static const char *const reasons[] = {
        [REPLAY_TRIMMED] = "trimmed",       [REPLAY_EXPIRED] = "expired",
        [REPLAY_EPOCH] = "epoch",           [REPLAY_INVALID] = "invalid",
        [REPLAY_NO_HISTORY] = "no_history", [REPLAY_JOINED] = "joined"};
    return reasons[result];
}

void message_init(struct message *m, enum message_kind kind) {
    /* One by one, for compilers would call or repeat a string instruction to clear so many bytes,
     * and this is done for every message. */
    static const struct span none;
    m->argc = m->encoded_mask = 0;
    m->kind = (uint8_t)kind;
    m->flags = m->replay = 0;
    m->position = 0;
    m->room = m->event = m->data = m->attachments = m->offset = none;
    m->id = m->code = m->detail = none;
}

void message_init_reply(struct message *m, const struct reply *reply) {
    message_init(m, MESSAGE_REPLY);
    m->data = reply->args;
    m->argc = reply->argc;
    m->attachments = reply->attachments;
    m->code = reply->code;
    m->detail = reply->detail;
    m->replay = (uint8_t)reply->replay;
    m->offset = reply->offset;
}

void message_deinit(struct message *m) {
    for (unsigned wire = 0; m->encoded_mask >> wire; wire++) {
        if (m->encoded_mask & (1u << wire)) {
            slice_release(&m->encoded[wire]);
        }
    }
    m->encoded_mask = 0;
}

static struct span keep(char **at, struct span bytes) {
    struct span kept = {*at, bytes.len};
    if (bytes.len) {
        memcpy(*at, bytes.at, bytes.len);
    }
    *at += bytes.len;
    return kept;
}

struct message *message_keep(const struct message *m) {
    size_t bytes = m->room.len + m->event.len + m->data.len + m->attachments.len + m->offset.len +
                   m->id.len + m->code.len + m->detail.len;
    struct message *kept = memory_alloc(offsetof(struct message, encoded) + bytes);
    memcpy(kept, m, offsetof(struct message, encoded));
    kept->encoded_mask = 0;
    kept->position = 0; /* It may go out behind newer ones. */
    kept->flags &= (uint8_t)~MESSAGE_HELD;
    char *at = (char *)kept->encoded;
    kept->room = keep(&at, m->room);
    kept->event = keep(&at, m->event);
    kept->data = keep(&at, m->data);
    kept->attachments = keep(&at, m->attachments);
    kept->offset = keep(&at, m->offset);
    kept->id = keep(&at, m->id);
    kept->code = keep(&at, m->code);
    kept->detail = keep(&at, m->detail);
    return kept;
}

void message_free(struct message *kept) {
    free(kept);
}

void message_lend(struct message *m, const struct message *kept) {
    memcpy(m, kept, offsetof(struct message, encoded));
}
