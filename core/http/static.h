/* Static files from mounted folders: type, ETag, Last-Modified, conditional requests, HEAD,
 * index.html, single ranges; and no way out of the folder ("..", encoded, NUL, a symbolic link that
 * leads outside). Files are read on libuv's thread pool, so that a slow disk delays nobody. */
#ifndef MOONWIRE_HTTP_STATIC_H
#define MOONWIRE_HTTP_STATIC_H

#include "http/response.h"

struct static_mount {
    char *prefix; /* "/" or "/app", without a slash at the end otherwise */
    char *folder; /* absolute, resolved */
};

/* The length of the mount's prefix if the path lies in it, else -1. */
long static_mount_covers(const struct static_mount *mount, struct span path);

/* Tries the mounts, the longest prefix first; GET and HEAD only (else 405). Answers the exchange,
 * now or later, with the file, a redirect to a folder's slash, or calls not_found once when no
 * mount has it. */
void static_serve(struct exchange *x, const struct static_mount *mounts, size_t count,
                  void (*not_found)(struct exchange *x, void *data), void *data);

#endif
