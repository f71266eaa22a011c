/* Finding a file below a folder and nowhere else. Blocking: called on libuv's thread pool by
 * http/static. */
#ifndef MOONWIRE_HTTP_FILE_H
#define MOONWIRE_HTTP_FILE_H

#include <stdbool.h>
#include <sys/stat.h>

enum file_kind {
    FILE_NONE,   /* not there, not readable, no regular file, hidden, or outside */
    FILE_FOLDER, /* a folder, asked for without the slash at its end */
    FILE_FOUND,
};

struct file {
    int fd; /* FILE_FOUND: open for reading; the caller closes it */
    struct stat stat;
    bool index; /* a folder's index.html */
};

/* `path` stands below `folder` (absolute, resolved): it is empty or begins with a slash, is decoded
 * and has no dot segments. With a slash at its end it means a folder's index.html. Names that begin
 * with a dot are hidden, but for ".well-known" (RFC 8615). */
enum file_kind file_find(const char *folder, const char *path, struct file *out);
/* "text/html; charset=utf-8", by the name's extension. */
const char *file_type(const char *name);

#endif
