/* libcurl on libuv (see http_pool.h): curl says which sockets it wants to hear of and when it wants
 * to be called, the loop tells it. Called by lib_http.c. */
#include "script/http_pool.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

#define MAX_CONNECTIONS 256 /* at once; further requests wait for one of them */
#define KEPT_CONNECTIONS 64

struct http_pool {
    CURLM *multi;
    uv_timer_t timer;
    LIST_HEAD(, http_job) jobs;
};

/* A socket that curl wants to hear of. */
struct watched {
    uv_poll_t poll;
    curl_socket_t fd;
    struct http_pool *pool;
};

/* --- answers ---------------------------------------------------------------------------------- */

static const char *code_of(CURLcode result) {
    switch (result) {
    case CURLE_OK:
        return NULL;
    case CURLE_OPERATION_TIMEDOUT:
        return "timeout";
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return "resolve";
    case CURLE_COULDNT_CONNECT:
        return "connect";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return "tls";
    case CURLE_TOO_MANY_REDIRECTS:
        return "redirects";
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return "bad_url";
    default:
        return "broken";
    }
}

/* A status line begins a new head: after a redirect, or an interim answer (RFC 9110 section 15.2).
 */
static size_t on_head(char *at, size_t size, size_t count, void *data) {
    struct http_job *job = data;
    size_t len = size * count;
    if (len >= 5 && memcmp(at, "HTTP/", 5) == 0) {
        writer_clear(&job->head);
    } else if (len > 2) {
        writer_put(&job->head, at, len);
    }
    return len;
}

static size_t on_body(char *at, size_t size, size_t count, void *data) {
    struct http_job *job = data;
    size_t len = size * count;
    if (len > job->max_body - writer_len(&job->body)) {
        job->code = "too_large";
        return CURL_WRITEFUNC_ERROR;
    }
    writer_put(&job->body, at, len);
    return len;
}

static void let_go(struct http_job *job) {
    LIST_REMOVE(job, link);
    curl_multi_remove_handle(job->pool->multi, job->easy);
    curl_easy_cleanup(job->easy);
    curl_slist_free_all(job->fields);
    job->easy = NULL;
    job->fields = NULL;
}

static void finish(struct http_job *job, CURLcode result) {
    curl_easy_getinfo(job->easy, CURLINFO_RESPONSE_CODE, &job->status);
    if (job->code != NULL) {
        snprintf(job->detail, sizeof(job->detail), "the answer is longer than %zu bytes",
                 job->max_body);
    } else if (result != CURLE_OK) {
        job->code = code_of(result);
        if (*job->detail == '\0') {
            snprintf(job->detail, sizeof(job->detail), "%s", curl_easy_strerror(result));
        }
    }
    let_go(job);
    job->done(job);
}

/* Never from inside curl, so that `done` may start other jobs. */
static void finish_ended(struct http_pool *pool) {
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(pool->multi, &left)) != NULL) {
        if (message->msg == CURLMSG_DONE) {
            char *job;
            CURLcode result = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &job);
            finish((struct http_job *)job, result);
        }
    }
}

/* --- curl and the loop ------------------------------------------------------------------------ */

static void on_poll(uv_poll_t *poll, int error, int events) {
    struct watched *watched = poll->data;
    struct http_pool *pool = watched->pool;
    int flags = error < 0 ? CURL_CSELECT_ERR : 0;
    int running;
    flags |= (events & UV_READABLE) ? CURL_CSELECT_IN : 0;
    flags |= (events & UV_WRITABLE) ? CURL_CSELECT_OUT : 0;
    curl_multi_socket_action(pool->multi, watched->fd, flags, &running);
    finish_ended(pool);
}

static void on_poll_closed(uv_handle_t *handle) {
    free(handle->data);
}

static struct watched *watch(struct http_pool *pool, curl_socket_t fd) {
    struct watched *watched = memory_zalloc(sizeof(*watched));
    *watched = (struct watched){.fd = fd, .pool = pool};
    watched->poll.data = watched;
    if (uv_poll_init_socket(pool->timer.loop, &watched->poll, fd) != 0) {
        free(watched);
        return NULL;
    }
    curl_multi_assign(pool->multi, fd, watched);
    return watched;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data) {
    (void)easy;
    struct http_pool *pool = data;
    struct watched *watched = socket_data;
    if (what == CURL_POLL_REMOVE) {
        if (watched != NULL) {
            uv_close((uv_handle_t *)&watched->poll, on_poll_closed);
            curl_multi_assign(pool->multi, fd, NULL);
        }
        return 0;
    }
    if (watched == NULL && (watched = watch(pool, fd)) == NULL) {
        return -1; /* the transfer fails */
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&watched->poll, events, on_poll) == 0 ? 0 : -1;
}

static void on_timeout(uv_timer_t *timer) {
    struct http_pool *pool = timer->data;
    int running;
    curl_multi_socket_action(pool->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    finish_ended(pool);
}

/* Curl wants a call from the loop after so many ms, and never from in here. */
static int on_timer_wanted(CURLM *multi, long ms, void *data) {
    (void)multi;
    struct http_pool *pool = data;
    if (ms < 0) {
        uv_timer_stop(&pool->timer);
    } else {
        uv_update_time(pool->timer.loop);
        uv_timer_start(&pool->timer, on_timeout, (uint64_t)ms, 0);
    }
    return 0;
}

/* --- life ------------------------------------------------------------------------------------- */

struct http_pool *http_pool_new(uv_loop_t *loop) {
    struct http_pool *pool = memory_zalloc(sizeof(*pool));
    LIST_INIT(&pool->jobs);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        free(pool);
        return NULL;
    }
    pool->multi = curl_multi_init();
    if (pool->multi == NULL) {
        curl_global_cleanup();
        free(pool);
        return NULL;
    }
    uv_timer_init(loop, &pool->timer);
    pool->timer.data = pool;
    curl_multi_setopt(pool->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(pool->multi, CURLMOPT_SOCKETDATA, pool);
    curl_multi_setopt(pool->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(pool->multi, CURLMOPT_TIMERDATA, pool);
    curl_multi_setopt(pool->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)MAX_CONNECTIONS);
    curl_multi_setopt(pool->multi, CURLMOPT_MAXCONNECTS, (long)KEPT_CONNECTIONS);
    return pool;
}

void http_pool_stop(struct http_pool *pool) {
    if (pool == NULL) {
        return;
    }
    while (!LIST_EMPTY(&pool->jobs)) {
        let_go(LIST_FIRST(&pool->jobs));
    }
    curl_multi_cleanup(pool->multi);
    uv_close((uv_handle_t *)&pool->timer, NULL);
    curl_global_cleanup();
}

void http_pool_free(struct http_pool *pool) {
    free(pool);
}

/* --- requests --------------------------------------------------------------------------------- */

void http_job_add_field(struct http_job *job, const char *line) {
    struct curl_slist *fields = curl_slist_append(job->fields, line);
    if (fields == NULL) {
        memory_short(strlen(line));
    }
    job->fields = fields;
}

/* GET, HEAD and POST in curl's own way, which knows what a redirect makes of them. */
static void set_method(CURL *easy, const struct http_question *question) {
    if (question->body.at != NULL || strcmp(question->method, "POST") == 0) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)question->body.len);
        curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS,
                         question->body.at != NULL ? question->body.at : "");
        if (strcmp(question->method, "POST") != 0) {
            curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, question->method);
        }
    } else if (strcmp(question->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(question->method, "GET") != 0) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, question->method);
    }
}

static void set_rules(CURL *easy, const struct http_question *question) {
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, question->redirects > 0 ? 1L : 0L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)question->redirects);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)question->timeout);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)question->timeout);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    /* A name that is still being looked up when the time is over would hold up the loop. */
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "moonwire/" MOONWIRE_VERSION);
}

bool http_job_start(struct http_pool *pool, struct http_job *job,
                    const struct http_question *question) {
    CURL *easy = curl_easy_init();
    if (easy == NULL) {
        return false;
    }
    http_job_add_field(job, "Expect:"); /* curl would wait for a 100 otherwise */
    curl_easy_setopt(easy, CURLOPT_URL, question->url);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, job->fields);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, job);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, job);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, job);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, job->detail);
    set_rules(easy, question);
    set_method(easy, question);
    if (curl_multi_add_handle(pool->multi, easy) != CURLM_OK) {
        curl_easy_cleanup(easy);
        return false;
    }
    job->easy = easy;
    job->pool = pool;
    LIST_INSERT_HEAD(&pool->jobs, job, link);
    return true;
}

void http_job_deinit(struct http_job *job) {
    if (job->easy != NULL) {
        let_go(job);
    }
    curl_slist_free_all(job->fields);
    job->fields = NULL;
    writer_deinit(&job->head);
    writer_deinit(&job->body);
}
