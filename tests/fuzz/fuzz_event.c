/* The JSON event of a client, and the blocks of an event stream that repeat its bytes: whatever is
 * said, what we write of it is again one event, and no line of it escapes its field. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "hub/message.h"
#include "proto/event.h"
#include "proto/sse_encode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good) {
    if (!good) {
        abort();
    }
}

/* Are these values what JSON allows? */
static bool is_json_list(struct span list, uint32_t *count) {
    struct json_reader r;
    *count = 0;
    json_reader_init_list(&r, list.at, list.len);
    enum json_token token;
    while ((token = json_next(&r)) != JSON_END && token != JSON_ERROR) {
        bool opens = token == JSON_OBJECT || token == JSON_ARRAY;
        *count += r.depth == (opens ? 1 : 0) && token != JSON_OBJECT_END && token != JSON_ARRAY_END;
    }
    json_reader_deinit(&r);
    return token == JSON_END;
}

/* Every line of a block is one of ours. */
static void check_block(struct span block) {
    const char *at = block.at;
    const char *end = block.at + block.len;
    require(block.len >= 2 && end[-1] == '\n' && end[-2] == '\n');
    while (at < end - 1) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)(stop - at);
        require((len >= 6 && memcmp(at, "data: ", 6) == 0) ||
                (len >= 7 && memcmp(at, "event: ", 7) == 0));
        require(!memchr(at, '\r', len));
        at = stop + 1;
    }
}

static void write_back(const struct event *e, uint32_t argc) {
    struct message m;
    struct writer text = {0};
    message_init(&m, MESSAGE_EVENT);
    m.event = e->name;
    m.data = e->args;
    m.argc = argc;
    m.id = e->id;
    event_write(&text, &m);
    struct event again;
    event_read(&again, writer_span(&text));
    require(again.kind == EVENT_EVENT && span_equal(again.name, e->name));
    require(span_equal(again.id, e->id));
    event_deinit(&again);
    writer_clear(&text);
    sse_encode(&text, &m);
    check_block(writer_span(&text));
    writer_deinit(&text);
    message_deinit(&m);
}

static void read_one(struct span text) {
    struct event e;
    uint32_t argc;
    event_read(&e, text);
    require(e.kind == EVENT_BAD || e.kind == EVENT_ANSWER || e.name.len > 0);
    require(e.kind == EVENT_BAD || e.id.len <= EVENT_ID_MAX);
    if (e.kind == EVENT_EVENT && is_json_list(e.args, &argc)) {
        write_back(&e, argc);
    }
    event_deinit(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span text = {(const char *)data, size};
    struct span events[4];
    bool array;
    int count = event_split(text, events, 4, &array);
    require(array || count == 1);
    for (int i = 0; i < count; i++) {
        read_one(events[i]);
    }

    struct message raw;
    struct writer block = {0};
    message_init(&raw, MESSAGE_TEXT);
    raw.data = text;
    sse_encode(&block, &raw);
    check_block(writer_span(&block));
    writer_deinit(&block);
    message_deinit(&raw);
    return 0;
}
