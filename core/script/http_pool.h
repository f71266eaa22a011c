/* Outgoing HTTP requests of a worker: libcurl's multi-socket interface on the worker's loop. Names
 * are resolved on curl's threads, connections are kept and used again. Knows nothing of Lua. */
#ifndef MOONWIRE_SCRIPT_HTTP_POOL_H
#define MOONWIRE_SCRIPT_HTTP_POOL_H

#include "base/buf.h"
#include <curl/curl.h>
#include <sys/queue.h>
#include <uv.h>

struct http_pool;

struct http_pool *http_pool_new(uv_loop_t *loop); /* NULL: curl could not start */
/* Ends what is under way (without `done`) and closes the handles. NULL is allowed, here and below.
 */
void http_pool_stop(struct http_pool *pool);
void http_pool_free(struct http_pool *pool); /* After the loop has run once more. */

/* One request and its answer, embedded by who asks. Zero-initialised is valid. */
struct http_job {
    void (*done)(struct http_job *job); /* from the loop, once; may start other jobs */
    size_t max_body;                    /* bytes of the answer, unpacked; beyond: "too_large" */
    long status;                        /* the answer: */
    struct writer head;                 /* field lines, each ended by \r\n */
    struct writer body;
    const char *code; /* no answer: timeout, resolve, connect, tls, redirects, bad_url, too_large,
                         broken; NULL: there is one */
    char detail[CURL_ERROR_SIZE];
    struct http_pool *pool; /* the rest is the pool's */
    CURL *easy;
    struct curl_slist *fields;
    LIST_ENTRY(http_job) link;
};

struct http_question {
    const char *method; /* a token */
    const char *url;
    struct span body; /* at NULL: none */
    uint64_t timeout; /* ms, of all together */
    int redirects;    /* to follow at most */
};

/* Before the start: a field line, "Name: value", without line ends. */
void http_job_add_field(struct http_job *job, const char *line);
/* The question's bytes are copied. False: curl is short of memory; `done` is not called. */
bool http_job_start(struct http_pool *pool, struct http_job *job,
                    const struct http_question *question);
/* Ends it if it is under way, and frees what it holds. */
void http_job_deinit(struct http_job *job);

#endif
