/* An HTTP server on the loopback whose handler belongs to the test, on top of net_fixture.h. */
#ifndef MOONWIRE_TESTS_HTTP_FIXTURE_H
#define MOONWIRE_TESTS_HTTP_FIXTURE_H

#include "http/http.h"
#include "net_fixture.h"

struct site {
    struct fixture f;
    struct http_server server;
    void (*answer)(struct exchange *x, void *data); /* by default: 200 with the path as text */
    void *data;
    int requests;
    struct remote *client;
};

void site_init(struct site *s); /* Not listening yet: limits may be changed. */
void site_start(struct site *s);
void site_connect(struct site *s); /* Another client in the place of the last one. */
void site_deinit(struct site *s);
/* Sends a request and runs until it is answered whole; returns the answer as text, the last one in
 * case there were several. */
const char *site_ask(struct site *s, const char *request);
/* Runs until that many bodies have come whole, by Content-Length, chunks being unknown here. */
void site_wait_answers(struct site *s, int count);
/* What came in the answer to the field, "" if it is not there. Valid until the next call. */
const char *answer_field(const char *answer, const char *name);
int answer_status(const char *answer);
const char *answer_body(const char *answer);

#endif
