/* Counts connections by address in a hash table that hangs on the worker's io, and writes addresses
 * as text. The listener takes, the conn gives back when it goes. */
#include "net/peers.h"

#include "base/table.h"
#include <stdlib.h>
#include <string.h>

struct peer {
    unsigned char address[16]; /* IPv6, or IPv4 mapped into it */
    int count;
    UT_hash_handle hh;
};

static const unsigned char mapped_prefix[12] = {[10] = 0xff, [11] = 0xff};

/* Every address as 16 bytes; false: neither IPv4 nor IPv6. */
static bool normalise(const struct sockaddr *address, unsigned char out[16]) {
    if (address->sa_family == AF_INET) {
        memcpy(out, mapped_prefix, 12);
        memcpy(out + 12, &((const struct sockaddr_in *)address)->sin_addr, 4);
        return true;
    }
    if (address->sa_family == AF_INET6)
        memcpy(out, &((const struct sockaddr_in6 *)address)->sin6_addr, 16);
    return address->sa_family == AF_INET6;
}

struct peer *peer_take(struct io *io, const struct sockaddr *address, int limit) {
    unsigned char key[16] = {0};
    normalise(address, key);
    struct peer *peer;
    HASH_FIND(hh, io->peers, key, sizeof key, peer);
    if (!peer) {
        peer = memory_zalloc(sizeof *peer);
        memcpy(peer->address, key, sizeof key);
        HASH_ADD(hh, io->peers, address, sizeof key, peer);
    }
    if (peer->count >= limit)
        return NULL;
    peer->count++;
    return peer;
}

void peer_release(struct io *io, struct peer *peer) {
    if (!peer || --peer->count)
        return;
    HASH_DEL(io->peers, peer);
    free(peer);
}

void peer_text(const struct sockaddr *address, char *out, size_t size) {
    unsigned char bytes[16];
    out[0] = '\0';
    if (!normalise(address, bytes))
        return;
    int error = memcmp(bytes, mapped_prefix, 12) == 0 ? uv_inet_ntop(AF_INET, bytes + 12, out, size)
                                                      : uv_inet_ntop(AF_INET6, bytes, out, size);
    if (error)
        out[0] = '\0';
}
