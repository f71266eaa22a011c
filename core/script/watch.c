/* Watching the folders of files: an editor that saves by renaming replaces the file, and a watch on
 * the file itself would go with the old one. worker.c makes one in `dev` and tells it the files of
 * each version. It reads no file. */
#include "script/watch.h"

#include "base/memory.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A folder stays watched even when no file in it is wanted any more: there are as many of them as
 * the app has folders, and what happens there then matches nothing. */
struct folder {
    uv_fs_event_t event;
    struct watch *watch;
    struct folder *next;
    char *path;
};

struct watch {
    uv_loop_t *loop;
    uv_timer_t timer;
    uint64_t quiet;
    void (*changed)(void *data);
    void *data;
    struct folder *folders;
    char **files;
    size_t count;
    size_t cap;
};

static void on_quiet(uv_timer_t *timer) {
    struct watch *w = timer->data;
    w->changed(w->data);
}

int watch_new(struct watch **out, uv_loop_t *loop, uint64_t quiet, void (*changed)(void *data),
              void *data) {
    struct watch *w = memory_zalloc(sizeof *w);
    int error = uv_timer_init(loop, &w->timer);
    if (error) {
        free(w);
        return error;
    }
    w->timer.data = w;
    w->loop = loop;
    w->quiet = quiet;
    w->changed = changed;
    w->data = data;
    *out = w;
    return 0;
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) {
        return memory_strdup(".");
    }
    return slash == path ? memory_strdup("/") : memory_strndup(path, (size_t)(slash - path));
}

static bool is_wanted(const struct watch *w, const char *folder, const char *name) {
    for (size_t i = 0; i < w->count; i++) {
        char *own = folder_of(w->files[i]);
        bool wanted =
            strcmp(own, folder) == 0 && (!name || strcmp(name_of(w->files[i]), name) == 0);
        free(own);
        if (wanted) {
            return true;
        }
    }
    return false;
}

/* The name is NULL where the system does not say which file it was. */
static void on_event(uv_fs_event_t *event, const char *name, int events, int status) {
    struct folder *folder = event->data;
    struct watch *w = folder->watch;
    (void)events;
    if (status == 0 && is_wanted(w, folder->path, name)) {
        uv_timer_start(&w->timer, on_quiet, w->quiet, 0);
    }
}

static void on_folder_closed(uv_handle_t *handle) {
    struct folder *folder = handle->data;
    free(folder->path);
    free(folder);
}

static int watch_folder(struct watch *w, char *path) {
    for (struct folder *folder = w->folders; folder; folder = folder->next) {
        if (strcmp(folder->path, path) == 0) {
            free(path);
            return 0;
        }
    }
    struct folder *folder = memory_zalloc(sizeof *folder);
    folder->path = path;
    folder->watch = w;
    folder->event.data = folder;
    (void)uv_fs_event_init(w->loop, &folder->event); /* cannot fail: it only fills in the handle */
    int error = uv_fs_event_start(&folder->event, on_event, path, 0);
    if (error) {
        uv_close((uv_handle_t *)&folder->event, on_folder_closed);
        return error;
    }
    folder->next = w->folders;
    w->folders = folder;
    return 0;
}

void watch_clear(struct watch *w) {
    while (w->count) {
        free(w->files[--w->count]);
    }
}

int watch_add(struct watch *w, const char *path) {
    if (w->count == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 8;
        w->files = memory_resize(w->files, w->cap * sizeof *w->files);
    }
    w->files[w->count++] = memory_strdup(path);
    return watch_folder(w, folder_of(path));
}

static void on_timer_closed(uv_handle_t *handle) {
    struct watch *w = handle->data;
    free(w->files);
    free(w);
}

void watch_free(struct watch *w) {
    if (!w) {
        return;
    }
    watch_clear(w);
    while (w->folders) {
        struct folder *folder = w->folders;
        w->folders = folder->next;
        uv_close((uv_handle_t *)&folder->event, on_folder_closed);
    }
    uv_close((uv_handle_t *)&w->timer, on_timer_closed);
}
