/* The control socket: `moonwire reload` asks the running server and hears how it went. The first
 * byte of a reply is '+' or '-'. Only the user who runs the server can reach the socket: its folder
 * is his alone. */
#include "control.h"

#include "base/memory.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_COMMAND 64

struct control {
    uv_pipe_t pipe;
    char *path;
    control_command run;
    void *data;
};

struct session {
    uv_pipe_t pipe;
    uv_write_t write;
    struct control *control;
    char command[MAX_COMMAND];
    size_t len;
    struct writer reply;
};

/* $XDG_RUNTIME_DIR, or a folder in /tmp that is ours alone. */
static bool runtime_folder(char *out, size_t size) {
    const char *given = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    if (given && stat(given, &st) == 0 && st.st_uid == geteuid()) {
        snprintf(out, size, "%s", given);
        return true;
    }
    snprintf(out, size, "/tmp/moonwire-%u", (unsigned)geteuid());
    if (mkdir(out, 0700) != 0 && errno != EEXIST) {
        return false;
    }
    return lstat(out, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 077) == 0;
}

char *control_path(const char *configured, const char *app) {
    char folder[64];
    if (configured) {
        return memory_strdup(configured);
    }
    char *real = realpath(app, NULL);
    if (!real || !runtime_folder(folder, sizeof folder)) {
        free(real);
        return NULL;
    }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)real, strlen(real), digest);
    free(real);
    char path[128];
    snprintf(path, sizeof path, "%s/moonwire-%02x%02x%02x%02x%02x%02x.sock", folder, digest[0],
             digest[1], digest[2], digest[3], digest[4], digest[5]);
    return memory_strdup(path);
}

static void on_session_closed(uv_handle_t *handle) {
    struct session *session = handle->data;
    writer_deinit(&session->reply);
    free(session);
}

static void close_session(struct session *session) {
    if (!uv_is_closing((uv_handle_t *)&session->pipe)) {
        uv_close((uv_handle_t *)&session->pipe, on_session_closed);
    }
}

static void on_written(uv_write_t *write, int status) {
    (void)status;
    close_session(write->data);
}

static void answer(struct session *session) {
    struct control *control = session->control;
    struct writer text = {0};
    int error = control->run(control->data, (struct span){session->command, session->len}, &text);
    writer_putc(&session->reply, error ? '-' : '+');
    writer_put_span(&session->reply, writer_span(&text));
    writer_deinit(&text);
    struct span reply = writer_span(&session->reply);
    uv_buf_t out = uv_buf_init((char *)reply.at, (unsigned)reply.len);
    session->write.data = session;
    uv_read_stop((uv_stream_t *)&session->pipe);
    if (uv_write(&session->write, (uv_stream_t *)&session->pipe, &out, 1, on_written) != 0) {
        close_session(session);
    }
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out) {
    struct session *session = handle->data;
    (void)suggested;
    *out = uv_buf_init(session->command + session->len, (unsigned)(MAX_COMMAND - session->len));
}

static void on_read(uv_stream_t *stream, ssize_t len, const uv_buf_t *in) {
    struct session *session = stream->data;
    (void)in;
    if (len < 0) {
        close_session(session);
        return;
    }
    session->len += (size_t)len;
    const char *end = memchr(session->command, '\n', session->len);
    if (end) {
        session->len = (size_t)(end - session->command);
        answer(session);
    } else if (session->len == MAX_COMMAND) {
        close_session(session);
    }
}

static void on_connection(uv_stream_t *server, int status) {
    if (status < 0) {
        return;
    }
    struct session *session = memory_zalloc(sizeof *session);
    session->control = server->data;
    session->pipe.data = session;
    uv_pipe_init(server->loop, &session->pipe, 0);
    if (uv_accept(server, (uv_stream_t *)&session->pipe) != 0 ||
        uv_read_start((uv_stream_t *)&session->pipe, on_alloc, on_read) != 0) {
        close_session(session);
    }
}

static void on_control_closed(uv_handle_t *handle) {
    struct control *control = handle->data;
    free(control->path);
    free(control);
}

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        return UV_ENAMETOOLONG;
    }
    strcpy(address.sun_path, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return uv_translate_sys_error(errno);
    }
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        int error = uv_translate_sys_error(errno);
        close(fd);
        return error;
    }
    return fd;
}

int control_start(struct control **out, uv_loop_t *loop, const char *path, control_command run,
                  void *data) {
    int other = connect_to(path);
    if (other >= 0) {
        close(other);
        return UV_EADDRINUSE;
    }
    if (other == UV_ECONNREFUSED) {
        unlink(path); /* a server that did not end well left it */
    }
    struct control *control = memory_zalloc(sizeof *control);
    control->path = memory_strdup(path);
    control->run = run;
    control->data = data;
    control->pipe.data = control;
    uv_pipe_init(loop, &control->pipe, 0);
    int error = uv_pipe_bind(&control->pipe, path);
    if (!error) {
        error = uv_listen((uv_stream_t *)&control->pipe, 8, on_connection);
    }
    if (error) {
        uv_close((uv_handle_t *)&control->pipe, on_control_closed);
        return error;
    }
    *out = control;
    return 0;
}

void control_stop(struct control *control) {
    uv_close((uv_handle_t *)&control->pipe,
             on_control_closed); /* libuv removes the socket's file */
}

int control_ask(const char *path, const char *command, struct writer *out) {
    int fd = connect_to(path);
    if (fd < 0) {
        return fd;
    }
    char line[MAX_COMMAND];
    int len = snprintf(line, sizeof line, "%s\n", command);
    char sign = 0;
    if (send(fd, line, (size_t)len, MSG_NOSIGNAL) == len) {
        char bytes[1024];
        ssize_t got;
        if (read(fd, &sign, 1) == 1) {
            while ((got = read(fd, bytes, sizeof bytes)) > 0) {
                writer_put(out, bytes, (size_t)got);
            }
        }
    }
    close(fd);
    return sign == '+' ? 0 : sign == '-' ? UV_EINVAL : UV_ECONNRESET;
}
