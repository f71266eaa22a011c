/* Joins that stand in a URL. Called by proto/ws and proto/sse once on_connect has been asked for.
 */
#include "proto/url_join.h"

#include "base/json.h"
#include "base/memory.h"
#include "http/url.h"
#include "hub/replay.h"
#include "proto/event.h"

#include <stdlib.h>
#include <string.h>

/* What became of a ?room= is said when the app answers. The client may be gone by then. */
struct join_ack {
    struct ack ack;
    struct hub *hub;
    char client[CLIENT_ID_LEN + 1];
    bool last;
    size_t room_len;
    char room[];
};

void url_join_offer(struct client *c, const struct request *r) {
    struct span header = c->ops->wire == WIRE_SSE ? request_header(r, "last-event-id") : SPAN("");
    struct span query = request_query(r);
    struct span key;
    struct span value;
    struct writer list = {0};
    writer_put_span(&list, header);
    while (!header.len && query_next(&query, &key, &value)) {
        size_t before = writer_len(&list);
        if (span_is(key, "after")) {
            writer_puts(&list, before ? "," : "");
            if (!url_decode(&list, value, true) && list.buf) {
                list.buf->len = before;
            }
        }
    }
    replay_offer(c, writer_span(&list));
    writer_deinit(&list);
}

/* The reply as it would answer a join, with the room. */
static void tell(struct client *c, struct span room, const struct reply *answer) {
    struct message result;
    message_init_reply(&result, answer);
    struct writer text = {0};
    struct writer data = {0};
    event_write(&text, &result);
    writer_puts(&data, "{\"room\":");
    if (json_put_string(&data, room)) {
        writer_puts(&data, "null");
    }
    struct span members = writer_span(&text); /* {...}: its brace becomes a comma */
    if (members.len > 2) {
        writer_putc(&data, ',');
    }
    writer_put_span(&data, (struct span){members.at + 1, members.len - 1});

    struct message m;
    message_init(&m, MESSAGE_EVENT);
    m.event = span_of(answer->code.len ? "refused" : "joined");
    m.data = writer_span(&data);
    m.argc = 1;
    if (c->ops->wire == WIRE_SSE) { /* So there is a position before the first message. */
        m.offset = answer->offset;
    }
    (void)client_send(c, &m);
    message_deinit(&m);
    writer_deinit(&text);
    writer_deinit(&data);
}

/* A stream says its position with every message; what has not been joined by its URL will not be.
 */
static void on_last(struct client *c) {
    if (c->ops->wire == WIRE_SSE) {
        replay_withdraw(c);
    }
}

static void on_answer(struct ack *base, const struct reply *answer) {
    struct join_ack *ack = (struct join_ack *)base;
    struct client *c = hub_client(ack->hub, span_of(ack->client));
    if (c && ack->last) {
        on_last(c);
    }
    if (c) {
        tell(c, (struct span){ack->room, ack->room_len}, answer);
    }
    free(ack);
}

static bool ask(struct app *app, struct client *c, struct span room, bool last) {
    struct join_ack *ack = memory_alloc(sizeof *ack + room.len);
    *ack = (struct join_ack){
        .ack = {on_answer}, .hub = ns_hub(c->ns), .last = last, .room_len = room.len};
    client_id(c, ack->client);
    memcpy(ack->room, room.at, room.len);
    struct writer options = {0};
    writer_puts(&options, "{\"join\":");
    if (json_put_string(&options, room)) {
        writer_puts(&options, "null");
    }
    writer_putc(&options, '}');
    bool more = app->on_join(app, c, room, writer_span(&options), &ack->ack);
    writer_deinit(&options);
    return more;
}

/* The next ?room= that says one. */
static bool next_room(struct span *query, struct writer *room) {
    struct span key;
    struct span value;
    while (query_next(query, &key, &value)) {
        writer_clear(room);
        if (span_is(key, "room") && url_decode(room, value, true) && writer_len(room)) {
            return true;
        }
    }
    return false;
}

bool url_join_ask(struct app *app, struct client *c, const struct request *r) {
    struct span query = request_query(r);
    struct writer names[2] = {{0}, {0}};
    int at = 0;
    bool more = true;
    bool found = next_room(&query, &names[0]);
    if (!found) {
        on_last(c);
    }
    while (found) {
        struct span room = writer_span(&names[at]);
        at = !at;
        found = next_room(&query, &names[at]);
        if (more) {
            more = ask(app, c, room, !found);
        } else {
            tell(c, room, &(struct reply){.code = SPAN("rate_limited")});
        }
    }
    writer_deinit(&names[0]);
    writer_deinit(&names[1]);
    return more;
}
