/* Handler tables on a real hub, asked through the app's functions as a transport asks: clients
 * whose wire writes JSON events into a text, acks that note the answer. Nothing here sleeps; a
 * handler waits by asking its client, whose answer the test gives when it wants. */
#ifndef MOONWIRE_TESTS_APP_FIXTURE_H
#define MOONWIRE_TESTS_APP_FIXTURE_H

#include "http/request.h"
#include "hub/hub.h"
#include "net/io.h"
#include "script/script.h"

struct app_fixture {
    uv_loop_t loop;
    struct io io;
    struct config config;
    struct metrics metrics;
    struct log log;
    struct script *script;
    struct app *app;
    struct hub *hub;
    struct writer error; /* of the last load */
    struct writer logged;
    char dir[64];
    char path[96];
    bool stopped;
};

struct app_client {
    struct client client; /* first */
    struct app_fixture *f;
    struct writer sent; /* one line for each message */
    int resumed;
    bool allowed;
    bool freed; /* the app has released it */
    char code[64];
};

struct app_ack {
    struct ack ack; /* first */
    int answers;
    uint32_t argc;
    char args[512];
    char code[64];
    char detail[256];
};

/* The beginning of a handler file. */
#define HEAD "local mw = require 'moonwire'\nlocal app = { events = {}, timers = {}, rooms = {} }\n"

void app_fixture_open(struct app_fixture *f);
void app_fixture_close(struct app_fixture *f);
/* cmocka's: *state is the fixture. */
int app_set_up(void **state);
int app_tear_down(void **state);
void app_stop(struct app_fixture *f); /* script_stop, before the fixture is closed */
/* Loads this source as the handler file and puts it in service; the result of script_prepare. */
int app_load(struct app_fixture *f, const char *source);
void app_serve(struct app_fixture *f, const char *source); /* likewise, and it must be well */
void app_turn(struct app_fixture *f); /* one turn of the loop, without sleeping */
const char *app_log(struct app_fixture *f);

/* Asks on_auth and connects at this target ("/chat?token=x"); app_client_free when it is over. */
struct app_client *app_connect(struct app_fixture *f, const char *target);
void app_close(struct app_client *c, const char *reason); /* the connection has gone */
void app_client_free(struct app_client *c);
const char *app_sent(struct app_client *c); /* since the last call */
uint64_t app_asked(struct app_client *c);   /* the id of the last request in what was sent */
bool app_event(struct app_client *c, const char *event, const char *args, struct app_ack *ack);
bool app_join(struct app_client *c, const char *room, const char *options, struct app_ack *ack);
void app_answer(struct app_client *c, uint64_t id, const char *args);
void app_ack_init(struct app_ack *ack);

#endif
