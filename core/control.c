/* The control socket: `moonwire reload` asks the running server and hears how it went. The first
 * byte of a reply is '+' or '-'. Only the user who runs the server can reach the socket: it is his
 * alone, and nobody else may put one into its folder. */
#include "control.h"

#include "base/memory.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_COMMAND 64
#define PATH_ROOM sizeof(((struct sockaddr_un *)0)->sun_path)
#define NAME_ROOM sizeof("/moonwire-0123456789ab.sock")
#define PATIENCE 30 /* seconds that the asking side waits for a server that does not answer */

struct control {
    uv_pipe_t pipe;
    char *path;
    control_command run;
    void *data;
    LIST_HEAD(, session) sessions; /* not closing */
};

struct session {
    uv_pipe_t pipe;
    uv_write_t write;
    LIST_ENTRY(session) link;
    struct control *control;
    char command[MAX_COMMAND];
    size_t len;
    struct writer reply;
};

/* $XDG_RUNTIME_DIR, or a folder in /tmp that is ours alone. Nobody else may put anything in either,
 * and the socket's whole name must fit where the kernel keeps it. */
static bool runtime_folder(char out[PATH_ROOM]) {
    const char *given = getenv("XDG_RUNTIME_DIR");
    struct stat st;
    if (given && strlen(given) + NAME_ROOM <= PATH_ROOM && stat(given, &st) == 0 &&
        st.st_uid == geteuid() && (st.st_mode & 022) == 0) {
        strcpy(out, given);
        return true;
    }
    snprintf(out, PATH_ROOM, "/tmp/moonwire-%u", (unsigned)geteuid());
    if (mkdir(out, 0700) != 0 && errno != EEXIST) {
        return false;
    }
    return lstat(out, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 077) == 0;
}

char *control_path(const char *configured, const char *app) {
    char folder[PATH_ROOM];
    if (configured) {
        return memory_strdup(configured);
    }
    char *real = realpath(app, NULL);
    if (!real || !runtime_folder(folder)) {
        free(real);
        return NULL;
    }
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)real, strlen(real), digest);
    free(real);
    char path[PATH_ROOM + NAME_ROOM];
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
        LIST_REMOVE(session, link);
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
    LIST_INSERT_HEAD(&session->control->sessions, session, link);
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

/* A server that did not end well left its socket. Connecting to a file of another kind is refused
 * too, and that one is not ours to remove. */
static void remove_stale(const char *path) {
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
        unlink(path);
    }
}

/* For this user alone, whatever the umask, and before anybody can connect. */
static int listen_at(struct control *control) {
    int error = uv_pipe_bind(&control->pipe, control->path);
    if (!error && chmod(control->path, 0600) != 0) {
        error = uv_translate_sys_error(errno);
    }
    return error ? error : uv_listen((uv_stream_t *)&control->pipe, 8, on_connection);
}

int control_start(struct control **out, uv_loop_t *loop, const char *path, control_command run,
                  void *data) {
    int other = connect_to(path);
    if (other >= 0) {
        close(other);
        return UV_EADDRINUSE;
    }
    if (other == UV_ENAMETOOLONG) {
        return other; /* libuv would cut it short. */
    }
    if (other == UV_ECONNREFUSED) {
        remove_stale(path);
    }
    struct control *control = memory_zalloc(sizeof *control);
    control->path = memory_strdup(path);
    control->run = run;
    control->data = data;
    control->pipe.data = control;
    LIST_INIT(&control->sessions);
    uv_pipe_init(loop, &control->pipe, 0);
    int error = listen_at(control);
    if (error) {
        uv_close((uv_handle_t *)&control->pipe, on_control_closed);
        return error;
    }
    *out = control;
    return 0;
}

/* Whoever is connected is cut off, so that a client that says nothing does not keep the loop
 * alive. */
void control_stop(struct control *control) {
    struct session *session;
    while ((session = LIST_FIRST(&control->sessions))) {
        close_session(session);
    }
    /* libuv removes the socket's file. */
    uv_close((uv_handle_t *)&control->pipe, on_control_closed);
}

/* The sign of the reply, whose text goes to out; 0: it did not come. */
static char read_reply(int fd, struct writer *out) {
    char sign = 0;
    char bytes[1024];
    ssize_t got;
    if (read(fd, &sign, 1) == 1) {
        while ((got = read(fd, bytes, sizeof bytes)) > 0) {
            writer_put(out, bytes, (size_t)got);
        }
    }
    return sign;
}

int control_ask(const char *path, const char *command, struct writer *out) {
    int fd = connect_to(path);
    if (fd < 0) {
        return fd;
    }
    const struct timeval patience = {.tv_sec = PATIENCE};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char line[MAX_COMMAND];
    int len = snprintf(line, sizeof line, "%s\n", command);
    char sign = send(fd, line, (size_t)len, MSG_NOSIGNAL) == len ? read_reply(fd, out) : 0;
    bool late = !sign && (errno == EAGAIN || errno == EWOULDBLOCK);
    close(fd);
    return sign == '+' ? 0 : sign == '-' ? UV_EINVAL : late ? UV_ETIMEDOUT : UV_ECONNRESET;
}
