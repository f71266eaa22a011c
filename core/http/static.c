/* Static files over HTTP: chooses the mount, finds and reads on libuv's thread pool, and answers
 * with the whole file, a part of it, or that it has not changed. Small files are read in the same
 * step in which they are found; large ones are streamed as fast as the peer reads. The worker calls
 * static_serve for what nobody else has claimed. */
#include "http/static.h"

#include "base/memory.h"
#include "http/file.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIECE 65536 /* a file up to this size is read at once, a larger one in such pieces */

/* A mount's folder and the path within it; both NUL-terminated. */
struct candidate {
    char *folder;
    const char *path; /* within job->path */
    size_t prefix_len;
};

/* One request for a file. Belongs to the loop; the thread pool has it during `find`. */
struct job {
    union {
        uv_work_t work;
        uv_fs_t fs;
    };
    struct exchange *x; /* a reference */
    void (*not_found)(struct exchange *x, void *data);
    void *data;
    char *path;
    struct candidate *candidates;
    size_t count;
    enum file_kind kind;
    const char *name; /* whose extension tells the type */
    struct file file;
    struct buf *piece; /* read, or being read */
    uint64_t at;       /* of the file: next byte to read */
    uint64_t end;
    bool reading;
    bool gone; /* the connection has closed */
};

static void job_free(struct job *job) {
    for (size_t i = 0; i < job->count; i++)
        free(job->candidates[i].folder);
    if (job->file.fd >= 0)
        close(job->file.fd);
    buf_unref(job->piece);
    exchange_unref(job->x);
    free(job->candidates);
    free(job->path);
    free(job);
}

/* --- in the thread pool --------------------------------------------------------------------- */

/* Whole, or not at all: then the stream will say what is wrong. */
static void read_small(struct job *job) {
    size_t size = (size_t)job->file.stat.st_size;
    struct buf *buf = buf_new(size);
    ssize_t len = 0;
    while (buf->len < size &&
           (len = pread(job->file.fd, buf->bytes + buf->len, size - buf->len, (off_t)buf->len)) > 0)
        buf->len += (size_t)len;
    if (buf->len == size)
        job->piece = buf;
    else
        buf_unref(buf);
}

static void find(uv_work_t *work) {
    struct job *job = (struct job *)work;
    for (size_t i = 0; i < job->count && job->kind == FILE_NONE; i++) {
        job->name = job->candidates[i].path;
        job->kind = file_find(job->candidates[i].folder, job->candidates[i].path, &job->file);
    }
    if (job->kind == FILE_FOUND && job->file.stat.st_size <= PIECE)
        read_small(job);
}

/* --- what the answer says ------------------------------------------------------------------- */

#define DATE_FORMAT "%a, %d %b %Y %H:%M:%S GMT"

struct validators {
    char etag[48];
    char modified[32];
};

/* Size and time to the nanosecond: two contents with the same tag would have to be written within
 * one. */
static struct validators make_validators(const struct stat *stat) {
    struct validators v = {{0}, {0}};
    struct tm tm;
    snprintf(v.etag, sizeof v.etag, "\"%llx-%llx%08lx\"", (unsigned long long)stat->st_size,
             (unsigned long long)stat->st_mtim.tv_sec, (unsigned long)stat->st_mtim.tv_nsec);
    gmtime_r(&stat->st_mtim.tv_sec, &tm);
    strftime(v.modified, sizeof v.modified, DATE_FORMAT, &tm);
    return v;
}

/* RFC 9110 section 13.2.2: a tag beats a date. */
static bool unchanged(const struct request *r, const struct validators *v,
                      const struct stat *stat) {
    struct span tags = request_header(r, "if-none-match");
    struct span since = request_header(r, "if-modified-since");
    struct span tag;
    while (tags.at && list_next(&tags, &tag)) {
        if (tag.len > 2 && memcmp(tag.at, "W/", 2) == 0)
            tag = (struct span){tag.at + 2, tag.len - 2};
        if (span_is(tag, v->etag) || span_is(tag, "*"))
            return true;
    }
    if (tags.at || !since.at)
        return false;
    struct tm tm = {0};
    const char *end = strptime(since.at, DATE_FORMAT, &tm); /* Fields end with a NUL. */
    return end && !*end && timegm(&tm) >= stat->st_mtim.tv_sec;
}

enum range { RANGE_ALL, RANGE_PART, RANGE_BAD };

static const char *digits(const char *at, uint64_t *value) {
    *value = 0;
    const char *start = at;
    for (; *at >= '0' && *at <= '9' && *value < UINT64_MAX / 16; at++)
        *value = *value * 10 + (uint64_t)(*at - '0');
    return at == start ? NULL : at;
}

/* "a-b", "a-" or "-n" (RFC 9110 section 14.1.2) as bytes *from up to before *to; none of them if
 * the file is shorter. */
static bool parse_range(const char *text, uint64_t size, uint64_t *from, uint64_t *to) {
    uint64_t last = UINT64_MAX;
    if (*text == '-') {
        text = digits(text + 1, &last);
        *from = last < size ? size - last : 0;
        *to = size;
        return text && !*text;
    }
    text = digits(text, from);
    if (!text || *text++ != '-')
        return false;
    if (*text)
        text = digits(text, &last);
    *to = last < size ? last + 1 : size;
    return text && !*text && last >= *from;
}

/* What is malformed, or several ranges, is as if not asked for; so is a range of a file that has
 * changed since (If-Range). */
static enum range find_range(const struct request *r, const struct validators *v, uint64_t size,
                             uint64_t *from, uint64_t *to) {
    struct span field = request_header(r, "range");
    struct span condition = request_header(r, "if-range");
    if (!field.at || strncasecmp(field.at, "bytes=", 6) != 0)
        return RANGE_ALL;
    if (condition.at && !span_is(condition, v->etag) && !span_is(condition, v->modified))
        return RANGE_ALL;
    if (!parse_range(field.at + 6, size, from, to))
        return RANGE_ALL;
    return *from < *to ? RANGE_PART : RANGE_BAD;
}

static void put(struct response *r, const char *name, const char *value) {
    (void)response_header(r, span_of(name), span_of(value));
}

/* Percent-encodes whatever could mean something else in a Location, and begins with exactly one
 * slash: two would lead to another host. */
static void put_location(struct response *r, const struct request *request) {
    struct writer w = {0};
    struct span path = request_path(request);
    struct span query = request_query(request);
    while (path.len > 1 && path.at[1] == '/') {
        path.at++;
        path.len--;
    }
    for (size_t i = 0; i < path.len; i++) {
        if (char_is(path.at[i], "/-._~!$&'()*+,;=:@"))
            writer_putc(&w, path.at[i]);
        else
            writer_printf(&w, "%%%02X", (unsigned char)path.at[i]);
    }
    writer_putc(&w, '/');
    if (query.len) {
        writer_putc(&w, '?');
        writer_put_span(&w, query);
    }
    (void)response_header(r, SPAN("Location"), writer_span(&w));
    writer_deinit(&w);
}

/* --- streaming ------------------------------------------------------------------------------ */

static void read_piece(struct job *job);

static void on_room(struct exchange *x, void *data) {
    (void)x;
    read_piece(data);
}

static void on_read(uv_fs_t *fs) {
    struct job *job = (struct job *)fs;
    ssize_t len = fs->result;
    uv_fs_req_cleanup(fs);
    job->reading = false;
    if (job->gone) {
        job_free(job);
        return;
    }
    if (len <= 0) { /* The file has become shorter than what the head has promised. */
        response_break(job->x);
        return;
    }
    job->piece->len = (size_t)len;
    job->at += (uint64_t)len;
    bool last = job->at == job->end;
    struct slice slice = {job->piece, 0, (size_t)len};
    bool more = response_write(job->x, &slice, on_room, job);
    buf_unref(job->piece);
    job->piece = NULL;
    if (more && last)
        job_free(job);
    else if (more)
        read_piece(job);
    /* Otherwise there will be room, or the exchange is aborted. */
}

static void read_piece(struct job *job) {
    uint64_t left = job->end - job->at;
    job->piece = buf_new(left < PIECE ? (size_t)left : PIECE);
    uv_buf_t buf = uv_buf_init(job->piece->bytes, (unsigned)job->piece->cap);
    job->reading = true;
    uv_loop_t *loop = exchange_server(job->x)->io->loop;
    if (uv_fs_read(loop, &job->fs, job->file.fd, &buf, 1, (int64_t)job->at, on_read)) {
        job->reading = false;
        response_break(job->x);
    }
}

/* A read under way ends the job when it comes back. */
static void on_aborted(struct exchange *x, void *data) {
    (void)x;
    struct job *job = data;
    job->gone = true;
    if (!job->reading)
        job_free(job);
}

/* --- answering ------------------------------------------------------------------------------ */

/* Sends the bytes from `at` to `end`: out of memory, or piece by piece. Takes the job. */
static void send_bytes(struct job *job, struct response *r) {
    if (job->piece) {
        size_t len = (size_t)(job->end - job->at);
        r->body = len == job->piece->len ? buf_ref(job->piece)
                                         : buf_copy(job->piece->bytes + job->at, len);
        response_send(job->x, r);
        job_free(job);
    } else if (response_begin(job->x, r, job->end - job->at)) {
        exchange_on_abort(job->x, on_aborted, job);
        read_piece(job);
    } else {
        job_free(job);
    }
}

static void put_range(struct response *r, struct job *job, const struct validators *v) {
    char text[80];
    uint64_t size = job->end;
    uint64_t from;
    uint64_t to;
    enum range range = find_range(exchange_request(job->x), v, size, &from, &to);
    if (range == RANGE_ALL)
        return;
    job->at = range == RANGE_PART ? from : 0;
    job->end = range == RANGE_PART ? to : 0;
    r->status = range == RANGE_PART ? 206 : 416;
    if (range == RANGE_PART) {
        snprintf(text, sizeof text, "bytes %llu-%llu/%llu", (unsigned long long)job->at,
                 (unsigned long long)job->end - 1, (unsigned long long)size);
    } else {
        snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)size);
    }
    put(r, "Content-Range", text);
}

static void send_file(struct job *job) {
    const struct request *request = exchange_request(job->x);
    struct response r;
    struct validators v = make_validators(&job->file.stat);
    response_init(&r, 200);
    put(&r, "ETag", v.etag);
    put(&r, "Last-Modified", v.modified);
    put(&r, "Cache-Control", "no-cache"); /* Kept, and asked about: an edit shows at once. */
    job->end = (uint64_t)job->file.stat.st_size;
    if (unchanged(request, &v, &job->file.stat)) {
        r.status = 304;
        response_send(job->x, &r);
        job_free(job);
        return;
    }
    put(&r, "Content-Type", job->file.index ? file_type("index.html") : file_type(job->name));
    put(&r, "X-Content-Type-Options", "nosniff");
    put(&r, "Accept-Ranges", "bytes");
    if (span_is(request_method(request), "GET"))
        put_range(&r, job, &v);
    if (r.status != 416) {
        send_bytes(job, &r);
        return;
    }
    response_send(job->x, &r);
    job_free(job);
}

static void on_found(uv_work_t *work, int status) {
    struct job *job = (struct job *)work;
    struct span method = request_method(exchange_request(job->x));
    struct response r;
    if (status || job->kind == FILE_NONE) {
        job->not_found(job->x, job->data);
    } else if (!span_is(method, "GET") && !span_is(method, "HEAD")) {
        response_init(&r, 405);
        put(&r, "Allow", "GET, HEAD");
        response_send(job->x, &r);
    } else if (job->kind == FILE_FOLDER) {
        response_init(&r, 301);
        put_location(&r, exchange_request(job->x));
        response_send(job->x, &r);
    } else {
        send_file(job);
        return;
    }
    job_free(job);
}

long static_mount_covers(const struct static_mount *mount, struct span path) {
    size_t len = strlen(mount->prefix);
    while (len && mount->prefix[len - 1] == '/')
        len--;
    bool covers = path.len >= len && memcmp(path.at, mount->prefix, len) == 0 &&
                  (path.len == len || path.at[len] == '/');
    return covers ? (long)len : -1;
}

/* Mounts change at a reload, so that the job keeps what it needs of them. */
static void add_candidate(struct job *job, const struct static_mount *mount) {
    long covered = static_mount_covers(mount, span_of(job->path));
    if (covered < 0)
        return;
    size_t len = (size_t)covered;
    struct candidate c = {memory_strdup(mount->folder), job->path + len, len};
    size_t at = job->count++;
    for (; at && job->candidates[at - 1].prefix_len < c.prefix_len; at--)
        job->candidates[at] = job->candidates[at - 1];
    job->candidates[at] = c;
}

void static_serve(struct exchange *x, const struct static_mount *mounts, size_t count,
                  void (*not_found)(struct exchange *x, void *data), void *data) {
    struct span path = request_path(exchange_request(x));
    struct job *job = memory_zalloc(sizeof *job);
    job->x = exchange_ref(x);
    job->not_found = not_found;
    job->data = data;
    job->file.fd = -1;
    job->path = memory_strndup(path.at, path.len);
    job->candidates = memory_array(count ? count : 1, sizeof *job->candidates);
    for (size_t i = 0; i < count; i++)
        add_candidate(job, &mounts[i]);
    uv_loop_t *loop = exchange_server(x)->io->loop;
    if (job->count && uv_queue_work(loop, &job->work, find, on_found) == 0)
        return;
    job_free(job);
    not_found(x, data);
}
