/* How many connections each address has, for the limit per address. An entry exists while there is
 * one. An IPv4 address mapped into IPv6 counts as the IPv4 address. */
#ifndef MOONWIRE_NET_PEERS_H
#define MOONWIRE_NET_PEERS_H

#include "net/io.h"

struct peer;

/* Counts one more; NULL: there are `limit` already. */
struct peer *peer_take(struct io *io, const struct sockaddr *address, int limit);
void peer_release(struct io *io, struct peer *peer); /* NULL is allowed. */
/* The address without port as text into out (at least 46 bytes), "" if it is none. */
void peer_text(const struct sockaddr *address, char *out, size_t size);

#endif
