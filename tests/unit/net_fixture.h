/* What the tests of net, http and proto share: a loop with io on it, a listener on a free port of
 * the loopback, and clients that live on the same loop. Nothing here sleeps: the loop runs until
 * what the test waits for has happened, and a watchdog fails the test if it does not. */
#ifndef MOONWIRE_TESTS_NET_FIXTURE_H
#define MOONWIRE_TESTS_NET_FIXTURE_H

#include "net/listener.h"

struct fixture {
    uv_loop_t loop;
    struct config config;
    struct metrics metrics;
    struct io io;
    struct listener *listener;
    int port;
    uv_timer_t watchdog;
};

/* A config with limits that are small enough to be reached; tests change it before fixture_listen.
 */
void fixture_init(struct fixture *f);
void fixture_listen(struct fixture *f, void (*on_accept)(struct conn *conn, void *data),
                    void *data);
/* Stops listening, runs until every handle is closed, and fails if a conn is left. */
void fixture_deinit(struct fixture *f);
void fixture_turn(struct fixture *f); /* One turn of the loop, sleeping in poll. */

/* Runs the loop until the condition holds. */
#define RUN_UNTIL(f, condition) \
    do {                        \
        while (!(condition))    \
            fixture_turn(f);    \
    } while (0)

struct remote {
    uv_tcp_t tcp;
    uv_connect_t connecting;
    struct writer received;
    bool connected;
    bool reading;
    bool ended; /* the server has closed: */
    int error;  /* 0 in good order */
    bool closed;
    char buffer[65536];
};

struct remote *remote_connect(struct fixture *f); /* Returns when it is connected. */
void remote_send(struct remote *client, const void *bytes, size_t len);
void remote_sends(struct remote *client, const char *text);
void remote_read(struct remote *client, bool read); /* Clients read from the start. */
void remote_half_close(struct fixture *f, struct remote *client);
void remote_reset(struct remote *client); /* Closes with a RST; remote_free as usual. */
void remote_free(struct fixture *f, struct remote *client);
size_t remote_count(const struct remote *client, const char *text); /* occurrences */
bool remote_has(const struct remote *client, const char *text);
const char *remote_text(struct remote *client); /* NUL-terminated */

#endif
