/* The hub as a whole against a model of what it promises, in random steps: rooms in memory, on disk
 * and without history, under each slow policy; clients whose sockets stop and go on, who leave, are
 * cut off and come back with the position they had; exceptions, several rooms at once, reloads that
 * move histories, restarts. The store is a real one; its commits come when a step says so, so that
 * MOONWIRE_SEED=n repeats a run. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "hub/store.h"
#include "hub_model.h"

#define STEPS 3000
#define MARK 800
#define EVENTS 2
#define KEYS 3

#define LATEST \
    { SLOW_LATEST, (char *)"k" }
#define DROP \
    { SLOW_DROP, NULL }
/* What three versions of the file say. */
static const struct room_policy policies[3][6] = {
    {{(char *)"disk:*", 12, 0, {SLOW_CLOSE, NULL}, true},
     {(char *)"last:*", 9, 0, LATEST, true},
     {(char *)"drop:*", 20, 0, DROP, true},
     {(char *)"mem:*", 10, 0, {SLOW_CLOSE, NULL}, false},
     {(char *)"park:*", 8, 0, LATEST, false},
     {(char *)"loss:*", 15, 0, DROP, false}},
    {{(char *)"disk:*", 9, 0, {SLOW_CLOSE, NULL}, false},
     {(char *)"last:*", 5, 0, LATEST, true},
     {(char *)"drop:*", 30, 0, DROP, true},
     {(char *)"mem:*", 7, 0, {SLOW_CLOSE, NULL}, true},
     {(char *)"park:*", 0, 0, LATEST, false},
     {(char *)"loss:*", 15, 0, DROP, true}},
    {{(char *)"disk:*", 0, 0, {SLOW_CLOSE, NULL}, false},
     {(char *)"last:*", 9, 0, LATEST, false},
     {(char *)"drop:*", 3, 0, DROP, false},
     {(char *)"mem:*", 10, 0, {SLOW_CLOSE, NULL}, true},
     {(char *)"park:*", 8, 0, LATEST, true},
     {(char *)"loss:*", 0, 0, DROP, false}}};

/* --- saying --------------------------------------------------------------------------------- */

static int next_message(struct message *m, int room, char data[64]) {
    int number = model.said_count++;
    struct said *said = &model.said[number];
    static const char *const events[EVENTS] = {"x", "y"};
    assert_true(number < SAID_MAX);
    *said = (struct said){.room = room,
                          .event = (uint8_t)model_pick(EVENTS),
                          .key = (uint8_t)model_pick(KEYS),
                          .is_volatile = model_pick(10) == 0};
    message_init(m, MESSAGE_EVENT);
    m->event = span_of(events[said->event]);
    snprintf(data, 64, "{\"k\":%d,\"n\":%d}", said->key, number);
    m->data = span_of(data);
    m->argc = 1;
    m->flags = said->is_volatile ? MESSAGE_VOLATILE : 0;
    return number;
}

/* Whom it leaves out: up to two clients and a room that is not its own. */
static void choose_except(struct said *said, struct client *clients[2], struct span *room,
                          struct except *except) {
    *except = (struct except){.clients = clients, .rooms = room};
    for (int i = 0; i < 2 && model_pick(4) == 0; i++) {
        struct slot *s = &model.slots[ROOMS + model_pick(GUESTS)];
        if (model_is_here(s)) {
            clients[except->client_count++] = said->but[i] = &s->fake->client;
        }
    }
    int other = (int)model_pick(ROOMS);
    if (other != said->room && model_pick(6) == 0) {
        *room = span_of(model_rooms[other]);
        except->room_count = 1;
        said->but_rooms = 1u << other;
    }
}

static void on_committed(struct commit *commit, int status) {
    assert_true(status == 0 || model.disk_failed);
    model.commits--;
    free(commit);
}

static void say(int room) {
    struct message m;
    char data[64];
    char offset[OFFSET_MAX];
    struct client *clients[2];
    struct span left_out_room;
    struct except except;
    int number = next_message(&m, room, data);
    choose_except(&model.said[number], clients, &left_out_room, &except);
    struct span name = span_of(model_rooms[room]);
    if (model_pick(4) == 0 && room_is_durable(model.ns, name)) {
        struct commit *commit = calloc(1, sizeof *commit);
        commit->done = on_committed;
        model.commits++;
        assert_int_equal(hub_publish_durable(model.ns, name, &m, &except, offset, commit), 0);
        if (model_pick(3) == 0) {
            commit_cancel(commit);
            model.commits--;
            free(commit);
        }
    } else {
        assert_int_equal(hub_publish(model.ns, name, &m, &except, offset), 0);
    }
    struct said told = model.said[number];
    model_split(&told, m.offset);
    assert_true(!model.said[number].delivered || told.sequence == model.said[number].sequence);
    model.said[number] = told;
    message_deinit(&m);
}

static void say_in_rooms(void) {
    struct message m;
    char data[64];
    struct span rooms[3];
    size_t count = 2 + model_pick(2);
    int room = (int)model_pick(ROOMS);
    unsigned before = 0;
    struct client *clients[2];
    struct span left_out_room;
    struct except except;
    int first = next_message(&m, room, data);
    choose_except(&model.said[first], clients, &left_out_room, &except);
    except.room_count = 0;
    for (size_t i = 0; i < count; i++) {
        int number = i ? model.said_count++ : first;
        model.said[number] = model.said[first];
        model.said[number].delivered = false;
        model.said[number].room = room;
        model.said[number].but_rooms = before;
        rooms[i] = span_of(model_rooms[room]);
        before |= 1u << room;
        room = (room + 1 + (int)model_pick(2)) % ROOMS;
    }
    assert_int_equal(hub_publish_rooms(model.ns, rooms, count, &m, &except), 0);
    message_deinit(&m);
}

static void say_to_all(void) {
    struct message m;
    char data[64];
    int number = next_message(&m, EVERYBODY, data);
    for (int i = ROOMS; i < SLOTS; i++) {
        if (model_is_here(&model.slots[i])) {
            model_owe(&model.slots[i].views[EVERYBODY], number);
        }
    }
    hub_publish_ns(model.ns, &m, NULL);
    message_deinit(&m);
}

/* --- coming and going ----------------------------------------------------------------------- */

static void come(int index) {
    struct slot *s = &model.slots[index];
    struct fake *fake = calloc(1, sizeof *fake);
    fake->client.ops = &model_wire;
    fake->slot = index;
    fake->polls = index >= ROOMS && index % 3 == 0;
    s->fake = fake;
    s->stream = index % 2;
    s->views[EVERYBODY].member = true;
    client_open(&fake->client, model.ns, NULL);
    if (index < ROOMS) {
        assert_int_equal(hub_join(&fake->client, span_of(model_rooms[index])), 0);
    } else if (s->stream) {
        replay_offer(&fake->client, span_of(s->position));
    }
}

/* Everything after this that has been said and is kept. */
static void owe_after(struct view *v, int room, struct span after) {
    struct said from = {0};
    model_split(&from, after);
    model_forget_due(v);
    for (int i = 0; i < model.said_count && from.sequence + 1; i++) {
        const struct said *m = &model.said[i];
        if (m->delivered && m->room == room && m->sequence > from.sequence &&
            memcmp(m->epoch, from.epoch, EPOCH_LEN) == 0) {
            model_owe(v, i);
        }
    }
}

/* Was there anything between what the client has seen and the beginning of the log? */
static void check_result(int room, const char *after, const struct joined *j) {
    struct said seen = {0};
    const struct history *h = room_history(model.ns, span_of(model_rooms[room]));
    int lost = 0;
    model_split(&seen, span_of(after));
    for (int i = 0; i < model.said_count; i++) {
        const struct said *m = &model.said[i];
        lost += m->delivered && m->room == room && m->sequence > seen.sequence &&
                m->sequence <= history_gone(h) && memcmp(m->epoch, seen.epoch, EPOCH_LEN) == 0;
    }
    if (j->result == REPLAY_DONE) {
        assert_int_equal(lost, 0);
        struct said at = {0}; /* what is on its way to the disk is still to come */
        model_split(&at, j->offset);
        assert_true(at.sequence == seen.sequence ||
                    (at.sequence < seen.sequence && at.sequence == model.last[room]));
        model.replayed++;
    } else if (j->result == REPLAY_TRIMMED || j->result == REPLAY_EXPIRED) {
        assert_true(lost > 0);
    }
}

static void copy_offset(char out[OFFSET_MAX], struct span offset) {
    snprintf(out, OFFSET_MAX, "%.*s", (int)offset.len, offset.at);
}

/* Where a client that joins says that it stands. */
static void choose_after(const struct slot *s, int room, char out[OFFSET_MAX]) {
    out[0] = '\0';
    switch (model_pick(4)) {
    case 0:
        snprintf(out, OFFSET_MAX, "%.12s:%u", model.epoch[room][0] ? model.epoch[room] : "nonsense",
                 model_pick((uint32_t)model.last[room] + 3));
        break;
    case 1:
        break;
    default:
        strcpy(out, s->views[room].position);
    }
}

/* As item.c: the application is asked, and meanwhile something may be said. */
static void join(struct slot *s, int room) {
    struct view *v = &s->views[room];
    struct client *c = &s->fake->client;
    struct span name = span_of(model_rooms[room]);
    struct span meant;
    struct joined j = {0};
    char own[OFFSET_MAX];
    char after[OFFSET_MAX];
    bool was_member = v->member;
    choose_after(s, room, own);
    if (s->stream && model_pick(2)) {
        own[0] = '\0';
    }
    bool asked = model_pick(2);
    if (asked) {
        (void)replay_ask(c, name, span_of(own), &meant);
        copy_offset(after, meant);
        for (uint32_t i = model_pick(4); i > 0; i--) {
            say(room);
        }
        if (model_pick(3) == 0) {
            model_commit_all();
        }
    } else {
        strcpy(after, own);
    }
    v->member = true;
    int error = replay_join(c, name, asked, asked ? (struct span){NULL, 0} : span_of(own), &j);
    if (error) {
        assert_non_null(c->closing);
        v->member = was_member;
    } else if (!was_member) {
        model_forget_due(v);
        v->heard = 0;
        if (j.offset.len) {
            owe_after(v, room, j.offset);
            model_note_position(s, v, j.offset);
        }
        if (j.result != REPLAY_NONE && j.result != REPLAY_NO_HISTORY && j.result < REPLAY_EPOCH) {
            check_result(room, after, &j);
        }
        if (j.offset.len && j.result != REPLAY_DONE) {
            assert_true(v->count == 0);
        }
    }
    model_trace("%d joins %s after %s: %d at %s\n", (int)(s - model.slots), model_rooms[room],
                after, j.result, error ? "error" : j.text);
    replay_forget(c);
    replay_start(c);
}

/* And joins the rooms that it was in, mostly with what it has seen there. */
static void come_back(int index) {
    struct slot *s = &model.slots[index];
    come(index);
    s->fake->stopped = model_pick(3) == 0;
    for (int r = 0; r < ROOMS; r++) {
        if (s->views[r].was_member) {
            join(s, r);
        }
    }
}

static void leave(struct slot *s, int room) {
    if (s->views[room].member && (model_slow[room] != SLOW_DROP || !s->fake->stopped)) {
        model_check_position(s);
        model_trace("%d leaves %s\n", (int)(s - model.slots), model_rooms[room]);
        assert_true(hub_leave(&s->fake->client, span_of(model_rooms[room])));
        s->views[room].member = false;
        model_forget_due(&s->views[room]);
    }
}

static void drain(struct slot *s) {
    model_trace("%d drains\n", (int)(s - model.slots));
    s->fake->stopped = false;
    s->fake->queued = 0;
    client_drained(&s->fake->client);
}

/* --- the server ----------------------------------------------------------------------------- */

static void reload(void) {
    int version = model_pick(2) ? 0 : 1 + (int)model_pick(2);
    model_trace("reload %d\n", version);
    ns_configure(model.ns, &model.settings[version]);
}

static void everybody_goes(int from) {
    for (int i = from; i < SLOTS; i++) {
        if (model_is_here(&model.slots[i])) {
            client_disconnect(&model.slots[i].fake->client, 1000, "over");
        }
    }
    model_end_turn();
}

static void observers_come(void) {
    for (int i = 0; i < ROOMS; i++) {
        come(i);
    }
}

static void build(void) {
    struct writer error = {0};
    model.hub = hub_new(&model.config, &model.metrics, &model.arena, &model.app, model_defer, NULL);
    hub_set_now(model.hub, model.now);
    assert_int_equal(
        store_open(&model.store, &model.loop, model.dir, &model.log, &model.metrics, &error), 0);
    hub_set_store(model.hub, model.store);
    model.ns = ns_ref(hub_ns(model.hub, SPAN("/"), true));
    ns_configure(model.ns, &model.settings[0]);
    observers_come();
}

static void tear(void) {
    store_stop(model.store);
    everybody_goes(0);
    ns_unref(model.ns);
    hub_free(model.hub);
    uv_run(&model.loop, UV_RUN_DEFAULT);
    store_free(model.store);
    assert_int_equal(model.commits, 0);
}

/* Nobody is there for so long that rooms leave memory. */
static void be_quiet(uint64_t ms) {
    model_commit_all();
    everybody_goes(0);
    model.now += ms;
    hub_set_now(model.hub, model.now);
    hub_sweep(model.hub);
    hub_sweep(model.hub);
    observers_come();
}

/* Some are only where being slow does not close them. */
static int room_for(int index) {
    static const int dropping[] = {3, 7};
    static const int parking[] = {2, 5};
    switch (index % 4) {
    case 0:
        return dropping[model_pick(2)];
    case 1:
        return parking[model_pick(2)];
    default:
        return (int)model_pick(ROOMS);
    }
}

/* What is said meanwhile in a durable room is heard by nobody. */
static void fill_disk(void) {
    struct rlimit before;
    getrlimit(RLIMIT_FSIZE, &before);
    struct rlimit tight = {1, before.rlim_max};
    model_commit_all();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &tight), 0);
    model_trace("the disk is full\n");
    model.disk_failed = true;
    for (uint32_t i = model_pick(12); i > 0; i--) {
        say((int)model_pick(ROOMS));
    }
    model_commit_all();
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void step(void) {
    int index = ROOMS + (int)model_pick(GUESTS);
    struct slot *s = &model.slots[index];
    int room = (int)model_pick(ROOMS);
    uint32_t what = model_pick(1000);
    if (what < 450) {
        say(room);
    } else if (what < 500) {
        say_in_rooms();
    } else if (what < 505) {
        say_to_all();
    } else if (what < 600) {
        model_commit_all();
    } else if (what < 720) {
        model_end_turn();
    } else if (what < 725) {
        reload();
    } else if (what < 727) {
        be_quiet(model_pick(4) ? 31000 : 3 * 3600 * 1000);
    } else if (what < 729) {
        fill_disk();
    } else if (what < 730) {
        tear();
        build();
    } else if (!s->fake) {
        come_back(index);
    } else if (!model_is_here(s)) {
        model_end_turn();
    } else if (what < 820) {
        join(s, room_for(index));
    } else if (what < 840) {
        leave(s, room);
    } else if (what < 920) {
        model_trace("%d stops\n", index);
        s->fake->stopped = true;
    } else if (what < 970) {
        drain(s);
    } else {
        client_disconnect(&s->fake->client, 1000, "gone");
    }
}

/* Everybody reads on: nothing that is due stays away. */
static void settle(void) {
    model_commit_all();
    model_end_turn();
    for (int i = ROOMS; i < SLOTS; i++) {
        struct slot *s = &model.slots[i];
        do {
            if (model_is_here(s)) {
                drain(s);
                model_end_turn();
            }
        } while (model_is_here(s) && s->fake->polls && s->fake->stopped);
        for (int r = 0; model_is_here(s) && r <= ROOMS; r++) {
            struct view *v = &s->views[r];
            while (v->next < v->count && model_may_miss(v, v->next, r)) {
                v->next++;
            }
            assert_int_equal(v->next, v->count);
        }
    }
}

static void keeps_what_it_promises(void **state) {
    (void)state;
    for (int i = 0; i < STEPS; i++) {
        step();
        if (i % 500 == 499) {
            settle();
        }
    }
    settle();
    /* A run that shows nothing would be a mistake of its steps. */
    model_trace("replayed %d, given up %d\n", model.replayed, model.given_up);
    assert_true(model.replayed > 30);
    assert_true(model.metrics.dropped[DROPPED_SLOW] > 10);
    assert_true(model.metrics.dropped[DROPPED_REPLACED] > 10);
}

static int set_up(void **state) {
    (void)state;
    const char *seed = getenv("MOONWIRE_SEED");
    memset(&model, 0, sizeof model);
    model.random = seed ? (uint32_t)strtoul(seed, NULL, 10) : (uint32_t)uv_hrtime() | 1;
    print_message("MOONWIRE_SEED=%u\n", model.random);
    model.trace = getenv("MOONWIRE_TRACE") != NULL;
    config_init(&model.config);
    model.config.high_mark = MARK;
    model.config.hard_limit = 5 * MARK;
    arena_init(&model.arena);
    STAILQ_INIT(&model.later);
    model.log = (struct log){LOG_ERROR, false, open("/dev/null", O_WRONLY)};
    signal(SIGXFSZ, SIG_IGN);
    model.app.on_close = model_on_close;
    model.now = 1000;
    model.said_count = 1;
    for (int i = 0; i < 3; i++) {
        model.settings[i].rooms = (struct room_policy *)policies[i];
        model.settings[i].room_count = 6;
    }
    strcpy(model.dir, "/tmp/moonwire-model-XXXXXX");
    assert_non_null(mkdtemp(model.dir));
    assert_int_equal(uv_loop_init(&model.loop), 0);
    build();
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    tear();
    for (int i = 0; i < SLOTS; i++) {
        for (int r = 0; r <= ROOMS; r++) {
            free(model.slots[i].views[r].due);
        }
    }
    assert_int_equal(uv_loop_close(&model.loop), 0);
    arena_deinit(&model.arena);
    config_deinit(&model.config);
    close(model.log.fd);
    snprintf(command, sizeof command, "rm -rf '%s'", model.dir);
    assert_int_equal(system(command), 0);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(keeps_what_it_promises, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
