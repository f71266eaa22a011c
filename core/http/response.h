/* Answers to exchanges: status line, fields, body; HEAD, keep-alive, Date and Content-Length are
 * its business. */
#ifndef MOONWIRE_HTTP_RESPONSE_H
#define MOONWIRE_HTTP_RESPONSE_H

#include "http/http.h"

struct response {
    int status;
    /* "Name: value\r\n" lines; response_header appends one and refuses CR, LF, NUL and names that
     * are not tokens (UV_EINVAL). Content-Length, Connection, Date and Transfer-Encoding are ours
     * and refused. */
    struct writer headers;
    struct buf *body; /* owned; NULL: empty */
    bool close;       /* close the connection after it */
};

void response_init(struct response *r, int status);
void response_deinit(struct response *r);
int response_header(struct response *r, struct span name, struct span value);
/* Sends and deinits. 204 and 304 have no body; to HEAD the body's length is told and the body is
 * not sent. */
void response_send(struct exchange *x, struct response *r);
/* The same with a body that comes in pieces and is `length` bytes long in the end. False: no body
 * is wanted (HEAD, 304, or nobody is there) and the exchange is over. Otherwise response_write
 * follows, until all is written. */
bool response_begin(struct exchange *x, struct response *r, uint64_t length);
/* `room` is called when the peer has read what was queued, after response_write said to wait, and
 * not after the exchange has been aborted. */
bool response_write(struct exchange *x, const struct slice *piece,
                    void (*room)(struct exchange *x, void *data), void *data); /* false: wait */
void response_break(struct exchange *x); /* The rest of the body is lost: closes the connection. */
/* A short answer: text/plain, or JSON {"error":{"code":...,"detail":...}} where code is given
 * (detail: JSON or empty). */
void response_text(struct exchange *x, int status, const char *text);
void response_error(struct exchange *x, int status, struct span code, struct span detail_json);
/* Writes only a head whose body is an endless stream: "HTTP/1.1 200 OK", Date, the fields,
 * Cache-Control: no-store, and Connection: close; for use just before exchange_upgrade. */
void response_stream_head(struct exchange *x, struct response *r);
const char *status_reason(int status); /* "Not Found"; "Unknown" */
/* design section 3: unauthorized 401, forbidden 403, not_found 404, rate_limited 429, unavailable
 * 503, internal_error 500, others 400 */
int status_of_code(struct span code);

#endif
