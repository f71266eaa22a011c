/* Bytes of a polling body or a frame: whatever packets of Engine.IO and Socket.IO are found in
 * them, what we write of an event is again the same event. */
#include <stdint.h>
#include <stdlib.h>

#include "hub/attachments.h"
#include "hub/message.h"
#include "proto/eio_codec.h"
#include "proto/sio_codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good) {
    if (!good) {
        abort();
    }
}

static void write_back(const struct sio_packet *p) {
    struct message m;
    struct writer text = {0};
    struct sio_packet again;
    bool event = p->type == SIO_EVENT || p->type == SIO_BINARY_EVENT;
    message_init(&m, event ? MESSAGE_EVENT : MESSAGE_REPLY);
    m.event = p->event;
    m.data = p->args;
    m.argc = p->args.len ? 1 : 0;
    m.id = p->id;
    require(sio_put_message(&text, p->ns, &m, (struct span){0}));
    require(sio_packet_read(&again, writer_span(&text)));
    require(again.type == (event ? SIO_EVENT : SIO_ACK));
    require(span_equal(again.ns, p->ns) && span_equal(again.id, p->id));
    require(span_equal(again.event, p->event) && span_equal(again.args, p->args));
    sio_packet_deinit(&again);
    writer_deinit(&text);
    message_deinit(&m);
}

static void read_one(struct span text) {
    struct sio_packet p;
    if (sio_packet_read(&p, text)) {
        require(p.ns.len > 0 && p.ns.at[0] == '/');
        require(p.attachments <= ATTACHMENTS_MAX);
        if (p.type != SIO_CONNECT && p.type != SIO_DISCONNECT) {
            write_back(&p);
        }
    }
    sio_packet_deinit(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct span rest = {(const char *)data, size};
    struct span packet;
    struct writer scratch = {0};
    while (eio_payload_next(&rest, &packet)) {
        struct eio_packet p;
        if (eio_packet_read(&p, packet, &scratch) && p.type == EIO_MESSAGE) {
            read_one(p.data);
        }
    }
    writer_deinit(&scratch);
    return 0;
}
