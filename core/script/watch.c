/* See watch.h. One uv_fs_event per folder; an event counts when it names a watched file, or when
 * the system does not say which file it was. Called by worker.c. */
#include "script/watch.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

struct watched_file {
    SLIST_ENTRY(watched_file) link;
    char name[];
};

struct folder {
    uv_fs_event_t event;
    LIST_ENTRY(folder) link;
    struct watch *watch;
    SLIST_HEAD(, watched_file) files;
    char *path;
};

struct watch {
    uv_timer_t timer; /* runs from a change until it has been quiet */
    uint64_t quiet;
    void (*changed)(void *data);
    void *data;
    LIST_HEAD(, folder) folders;
};

static void on_quiet(uv_timer_t *timer) {
    struct watch *w = timer->data;
    w->changed(w->data);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int error) {
    (void)events;
    struct folder *folder = event->data;
    struct watch *w = folder->watch;
    struct watched_file *file;
    SLIST_FOREACH (file, &folder->files, link) {
        if (error != 0 || name == NULL || strcmp(file->name, name) == 0) {
            uv_timer_start(&w->timer, on_quiet, w->quiet, 0);
            return;
        }
    }
}

static void forget_files(struct folder *folder) {
    struct watched_file *file;
    while ((file = SLIST_FIRST(&folder->files)) != NULL) {
        SLIST_REMOVE_HEAD(&folder->files, link);
        free(file);
    }
}

static void on_folder_closed(uv_handle_t *handle) {
    struct folder *folder = handle->data;
    forget_files(folder);
    free(folder->path);
    free(folder);
}

static void drop_folder(struct folder *folder) {
    LIST_REMOVE(folder, link);
    uv_close((uv_handle_t *)&folder->event, on_folder_closed);
}

/* Takes the path. */
static int open_folder(struct watch *w, char *path, struct folder **out) {
    struct folder *folder = memory_zalloc(sizeof(*folder));
    folder->watch = w;
    folder->path = path;
    folder->event.data = folder;
    SLIST_INIT(&folder->files);
    LIST_INSERT_HEAD(&w->folders, folder, link);
    uv_fs_event_init(w->timer.loop, &folder->event);
    int r = uv_fs_event_start(&folder->event, on_event, path, 0);
    if (r != 0) {
        drop_folder(folder);
        return r;
    }
    *out = folder;
    return 0;
}

static int find_folder(struct watch *w, const char *at, size_t len, struct folder **out) {
    char *path = len > 0 ? memory_strndup(at, len) : memory_strdup(".");
    LIST_FOREACH (*out, &w->folders, link) {
        if (strcmp((*out)->path, path) == 0) {
            free(path);
            return 0;
        }
    }
    return open_folder(w, path, out);
}

static int add(struct watch *w, const char *path) {
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t folder_len = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    struct folder *folder;
    int r = find_folder(w, path, folder_len, &folder);
    if (r != 0) {
        return r;
    }
    struct watched_file *file = memory_alloc(sizeof(*file) + strlen(name) + 1);
    strcpy(file->name, name);
    SLIST_INSERT_HEAD(&folder->files, file, link);
    return 0;
}

/* What a link leads to changes in another folder than the link. */
int watch_add(struct watch *w, const char *path) {
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode)) {
        char *target = realpath(path, NULL);
        if (target != NULL) {
            int r = add(w, target);
            free(target);
            if (r != 0) {
                return r;
            }
        }
    }
    return add(w, path);
}

/* The folders stay open, for most of them will be added again at once, and what has changed in
 * between must not be missed. One that was not is closed the next time. */
void watch_clear(struct watch *w) {
    struct folder *next;
    for (struct folder *folder = LIST_FIRST(&w->folders); folder != NULL; folder = next) {
        next = LIST_NEXT(folder, link);
        if (SLIST_EMPTY(&folder->files)) {
            drop_folder(folder);
        } else {
            forget_files(folder);
        }
    }
}

int watch_new(struct watch **out, uv_loop_t *loop, uint64_t quiet, void (*changed)(void *data),
              void *data) {
    struct watch *w = memory_zalloc(sizeof(*w));
    w->quiet = quiet;
    w->changed = changed;
    w->data = data;
    w->timer.data = w;
    LIST_INIT(&w->folders);
    uv_timer_init(loop, &w->timer);
    *out = w;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle) {
    free(handle->data);
}

void watch_free(struct watch *w) {
    if (w != NULL) {
        while (!LIST_EMPTY(&w->folders)) {
            drop_folder(LIST_FIRST(&w->folders));
        }
        uv_close((uv_handle_t *)&w->timer, on_timer_closed);
    }
}
