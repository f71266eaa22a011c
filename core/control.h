/* How one `moonwire` command talks to a running server: a Unix socket named after the app, one line
 * in, a text back. */
#ifndef MOONWIRE_CONTROL_H
#define MOONWIRE_CONTROL_H

#include "base/buf.h"
#include <uv.h>

struct control;

/* Where the server of this app listens: `configured` if not NULL, else a socket in the user's
 * runtime folder named after the app's real path. The caller frees it. NULL: the app's file does
 * not exist. */
char *control_path(const char *configured, const char *app);

/* A command has come; its outcome goes into reply. 0 or UV_E*, which becomes the exit code of the
 * asking command. */
typedef int (*control_command)(void *data, struct span command, struct writer *reply);

/* Takes over a socket that a dead server left; UV_EADDRINUSE while a server answers on it. */
int control_start(struct control **out, uv_loop_t *loop, const char *path, control_command run,
                  void *data);
/* Cuts off who is connected, removes the socket, and frees itself as the loop runs. */
void control_stop(struct control *control);

/* The asking side, blocking. Appends the reply to out: 0, UV_EINVAL when the server said that it
 * failed, or UV_E* when there is no server. */
int control_ask(const char *path, const char *command, struct writer *out);

#endif
