/* Watches files through their folders, so that editors which write a new file and rename it are
 * seen as well. A burst of changes is one call. worker.c uses it in `dev`; a change of what is
 * watched (a new version required another file) is another watch_set. */
#ifndef MOONWIRE_SCRIPT_WATCH_H
#define MOONWIRE_SCRIPT_WATCH_H

#include <stddef.h>
#include <uv.h>

struct watch;

/* `changed` runs from the loop, `quiet` ms after the last of a burst of changes. */
int watch_new(struct watch **out, uv_loop_t *loop, uint64_t quiet, void (*changed)(void *data),
              void *data);
/* Watches exactly these from now on; begins with watch_add for each. */
void watch_clear(struct watch *w);
/* Copies the path. 0, also for a file that is not there yet, or what libuv says of its folder. */
int watch_add(struct watch *w, const char *path);
/* Closes its handles and frees it when the loop has run once more. NULL is allowed. */
void watch_free(struct watch *w);

#endif
