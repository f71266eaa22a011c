/* The file system's side of static files. A name is first opened without access (O_PATH), then the
 * kernel is asked where that really is, and only what lies inside the folder and is a regular file
 * is opened for reading, through the same descriptor: no symbolic link leads out, nothing can be
 * swapped between check and use, and a FIFO or a device is never opened. */
#include "http/file.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool is_hidden(const char *path) {
    for (const char *at = path; at; at = strchr(at, '/')) {
        at += *at == '/';
        size_t len = strcspn(at, "/");
        if (*at == '.' && !(len == 11 && memcmp(at, ".well-known", 11) == 0))
            return true;
    }
    return false;
}

static void descriptor_path(int fd, char out[32]) {
    snprintf(out, 32, "/proc/self/fd/%d", fd);
}

/* Is what the descriptor stands for the folder itself or below it? */
static bool is_inside(int fd, const char *folder) {
    char link[32];
    char real[PATH_MAX];
    descriptor_path(fd, link);
    ssize_t len = readlink(link, real, sizeof real);
    if (len < 0 || len == sizeof real)
        return false;
    size_t folder_len = strlen(folder);
    while (folder_len && folder[folder_len - 1] == '/')
        folder_len--;
    return (size_t)len >= folder_len && memcmp(real, folder, folder_len) == 0 &&
           ((size_t)len == folder_len || real[folder_len] == '/');
}

/* Opens the regular file that fd, an O_PATH descriptor, stands for. */
static enum file_kind open_regular(int fd, struct file *out) {
    char link[32];
    if (!S_ISREG(out->stat.st_mode))
        return FILE_NONE;
    descriptor_path(fd, link);
    out->fd = open(link, O_RDONLY | O_CLOEXEC);
    return out->fd < 0 ? FILE_NONE : FILE_FOUND;
}

static enum file_kind open_index(int folder_fd, const char *folder, struct file *out) {
    enum file_kind kind = FILE_NONE;
    int fd = openat(folder_fd, "index.html", O_PATH | O_CLOEXEC);
    if (fd < 0)
        return FILE_NONE;
    out->index = true;
    if (is_inside(fd, folder) && fstat(fd, &out->stat) == 0)
        kind = open_regular(fd, out);
    close(fd);
    return kind;
}

enum file_kind file_find(const char *folder, const char *path, struct file *out) {
    char full[PATH_MAX];
    size_t len = strlen(path);
    bool slash = len && path[len - 1] == '/';
    enum file_kind kind = FILE_NONE;
    out->fd = -1;
    out->index = false;
    if (is_hidden(path) || snprintf(full, sizeof full, "%s%s", folder, path) >= (int)sizeof full)
        return FILE_NONE;
    int fd = open(full, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return FILE_NONE;
    if (is_inside(fd, folder) && fstat(fd, &out->stat) == 0) {
        bool is_folder = S_ISDIR(out->stat.st_mode);
        if (is_folder && slash)
            kind = open_index(fd, folder, out);
        else if (is_folder)
            kind = FILE_FOLDER;
        else
            kind = open_regular(fd, out);
    }
    close(fd);
    return kind;
}

const char *file_type(const char *name) {
    static const struct {
        const char *extension;
        const char *type;
    } types[] = {
        {"html", "text/html; charset=utf-8"},
        {"htm", "text/html; charset=utf-8"},
        {"css", "text/css; charset=utf-8"},
        {"js", "text/javascript; charset=utf-8"},
        {"mjs", "text/javascript; charset=utf-8"},
        {"json", "application/json"},
        {"map", "application/json"},
        {"svg", "image/svg+xml"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},
        {"webp", "image/webp"},
        {"avif", "image/avif"},
        {"ico", "image/x-icon"},
        {"woff2", "font/woff2"},
        {"woff", "font/woff"},
        {"ttf", "font/ttf"},
        {"wasm", "application/wasm"},
        {"txt", "text/plain; charset=utf-8"},
        {"md", "text/markdown; charset=utf-8"},
        {"csv", "text/csv; charset=utf-8"},
        {"xml", "application/xml"},
        {"pdf", "application/pdf"},
        {"mp3", "audio/mpeg"},
        {"ogg", "audio/ogg"},
        {"wav", "audio/wav"},
        {"mp4", "video/mp4"},
        {"webm", "video/webm"},
        {"webmanifest", "application/manifest+json"},
        {"zip", "application/zip"},
        {"gz", "application/gzip"},
    };
    const char *slash = strrchr(name, '/');
    const char *dot = strrchr(slash ? slash : name, '.');
    for (size_t i = 0; dot && i < sizeof types / sizeof *types; i++) {
        if (strcasecmp(dot + 1, types[i].extension) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}
