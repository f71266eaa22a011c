/* gzip for the answers of long-polling (RFC 1952): does a client take it, and the packing. A pure
 * function of bytes. */
#ifndef MOONWIRE_PROTO_EIO_GZIP_H
#define MOONWIRE_PROTO_EIO_GZIP_H

#include "base/buf.h"

/* Of an Accept-Encoding field. */
bool eio_gzip_accepted(struct span field);

/* A worker's deflater. NULL until the first answer that is packed, for it takes 256 KiB. */
struct eio_gzip;
void eio_gzip_free(struct eio_gzip *gzip); /* NULL is allowed */
/* The bytes packed, with one reference. NULL: they would not get shorter, or memory is missing. */
struct buf *eio_gzip_pack(struct eio_gzip **gzip, struct span plain);

#endif
