/* Sessions that are resumed: what was for whom and when, what is replayed from where, and what
 * cannot be; over a wire made of memory whose reader stops and reads on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "hub/recovery.h"
#include "hub/recovery_log.h"

#define MAX_PEERS 16

struct peer {
    struct client client;
    char pid[PID_LEN + 1];
    struct writer heard;
    uint64_t seen; /* the position of the last that it heard */
    uint32_t sent;
    bool deaf; /* what it is sent is lost on the way */
    bool blocked;
    bool freed;
};

struct house {
    struct config config;
    struct metrics metrics;
    struct arena arena;
    struct app app;
    struct hub *hub;
    struct ns *ns;
    struct ns_settings settings;
    struct deferred_list closed;
    struct peer peers[MAX_PEERS];
    int count;
    int dropped; /* scripts */
};

static struct house house;

static struct peer *of(const struct client *c) {
    return (struct peer *)(uintptr_t)c;
}

static struct slice encode(const struct client *c, struct arena *arena, const struct message *m) {
    struct slice slice = arena_commit(arena, 0);
    (void)c;
    (void)m;
    return slice;
}

static ssize_t send_message(struct client *c, const struct message *m,
                            const struct slice *encoded) {
    struct peer *p = of(c);
    (void)encoded;
    assert_null(c->closing);
    bool logged = m->position && !(m->flags & MESSAGE_VOLATILE);
    p->sent = logged ? (uint32_t)m->position : p->sent;
    if (!p->deaf) {
        writer_put_span(&p->heard, m->data);
        writer_putc(&p->heard, ' ');
        assert_true(!logged || m->position > p->seen);
        p->seen = m->position ? m->position : p->seen;
    }
    return 0;
}

static uint32_t last_sent(const struct client *c) {
    return of(c)->sent;
}

static bool is_blocked(const struct client *c) {
    return of(c)->blocked;
}

static size_t count_queued(const struct client *c) {
    (void)c;
    return 0;
}

static void close_peer(struct client *c, int code, const char *reason) {
    (void)c;
    (void)code;
    (void)reason;
}

static void free_peer(struct client *c) {
    of(c)->freed = true;
}

static const struct client_ops ops = {
    .wire = WIRE_SIO_WS,
    .encode = encode,
    .send = send_message,
    .sent = last_sent,
    .blocked = is_blocked,
    .queued = count_queued,
    .close = close_peer,
    .free = free_peer,
};

static void defer(void *io, struct deferred *deferred) {
    (void)io;
    STAILQ_INSERT_TAIL(&house.closed, deferred, link);
    deferred->queued = true;
}

static void end_turn(void) {
    struct deferred *deferred;
    while ((deferred = STAILQ_FIRST(&house.closed))) {
        STAILQ_REMOVE_HEAD(&house.closed, link);
        deferred->queued = false;
        deferred->run(deferred);
    }
}

static void on_close(struct app *app, struct client *c, const char *reason) {
    (void)app;
    (void)reason;
    client_release(c);
}

static void drop_session(struct app *app, void *script) {
    (void)app;
    assert_ptr_equal(script, &house);
    house.dropped++;
}

static int setup(void **state) {
    (void)state;
    memset(&house, 0, sizeof house);
    config_init(&house.config);
    STAILQ_INIT(&house.closed);
    arena_init(&house.arena);
    house.app.on_close = on_close;
    house.app.drop_session = drop_session;
    house.hub = hub_new(&house.config, &house.metrics, &house.arena, &house.app, defer, NULL);
    house.ns = ns_ref(hub_ns(house.hub, SPAN("/"), true));
    house.settings.recovery = (struct recovery_rule){.size = 8, .ttl = 1000};
    ns_configure(house.ns, &house.settings);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < house.count; i++) {
        client_closed(&house.peers[i].client, "end");
    }
    end_turn();
    for (int i = 0; i < house.count; i++) {
        assert_true(house.peers[i].freed);
        writer_deinit(&house.peers[i].heard);
    }
    ns_unref(house.ns);
    hub_free(house.hub);
    arena_deinit(&house.arena);
    config_deinit(&house.config);
    return 0;
}

static struct peer *open_peer(const char *user) {
    struct peer *p = &house.peers[house.count++];
    p->client.ops = &ops;
    client_open(&p->client, house.ns, user);
    return p;
}

static struct peer *connect_as(const char *user) {
    struct peer *p = open_peer(user);
    recovery_begin(&p->client, p->pid);
    p->sent = recovery_seen(&p->client);
    return p;
}

static void drop(struct peer *p) {
    client_closed(&p->client, "transport close");
    end_turn();
}

static struct span offset_of(uint64_t position, char text[OFFSET_MAX]) {
    return position ? recovery_offset(house.ns, position, text) : (struct span){0};
}

static enum recovery_result find(const struct peer *p, struct recovery_session **s) {
    char text[OFFSET_MAX];
    return recovery_find(house.ns, span_of(p->pid), offset_of(p->seen, text), s);
}

/* NULL: it is not recovered, for this reason. */
static struct peer *come_back(struct peer *old, const char *reason) {
    struct recovery_session *s;
    enum recovery_result result = find(old, &s);
    if (result != RECOVERY_DONE) {
        assert_string_equal(recovery_reason(result), reason);
        return NULL;
    }
    assert_null(reason);
    struct peer *p = open_peer(recovery_user(s));
    recovery_resume(s, &p->client, p->pid);
    assert_string_equal(p->pid, old->pid);
    p->sent = recovery_seen(&p->client);
    p->seen = old->seen;
    recovery_replay(&p->client);
    return p;
}

static void init(struct message *m, const char *data) {
    message_init(m, MESSAGE_EVENT);
    m->event = SPAN("e");
    m->data = span_of(data);
    m->argc = 1;
}

static void say(const char *room, const char *data, const struct except *except) {
    struct message m;
    char offset[OFFSET_MAX];
    init(&m, data);
    assert_int_equal(hub_publish(house.ns, span_of(room), &m, except, offset), 0);
    message_deinit(&m);
}

static void say_to_all(const char *data, uint8_t flags) {
    struct message m;
    init(&m, data);
    m.flags = flags;
    hub_publish_ns(house.ns, &m, NULL);
    message_deinit(&m);
}

#define assert_heard(peer, text)                                                               \
    do {                                                                                       \
        writer_putc(&(peer)->heard, '\0');                                                     \
        assert_string_equal(writer_len(&(peer)->heard) ? (peer)->heard.buf->bytes : "", text); \
        writer_clear(&(peer)->heard);                                                          \
    } while (0)

/* --- who it is ------------------------------------------------------------------------------- */

static void id_user_and_rooms_come_back(void **state) {
    (void)state;
    char before[CLIENT_ID_LEN + 1], after[CLIENT_ID_LEN + 1];
    struct peer *old = connect_as("u");
    assert_int_equal(hub_join(&old->client, SPAN("r")), 0);
    client_id(&old->client, before);
    drop(old);
    assert_null(hub_client(house.hub, span_of(before)));
    struct peer *other = connect_as(NULL); /* takes the slot */
    for (int i = 0; i < 3; i++) {
        struct peer *back = come_back(old, NULL);
        client_id(&back->client, after);
        assert_string_equal(after, before);
        assert_ptr_equal(hub_client(house.hub, span_of(before)), &back->client);
        assert_true(hub_is_member(&back->client, SPAN("r")));
        assert_true(span_is(client_user(&back->client), "u"));
        assert_int_equal(room_count(house.ns, SPAN("r")), 1);
        drop(back);
        old = back;
    }
    client_id(&other->client, after);
    assert_ptr_equal(hub_client(house.hub, span_of(after)), &other->client);
}

static void the_apps_part_waits_and_goes(void **state) {
    (void)state;
    struct recovery_session *s;
    struct peer *a = connect_as(NULL), *b = connect_as(NULL);
    a->client.script = b->client.script = &house;
    drop(a);
    assert_int_equal(find(a, &s), RECOVERY_DONE);
    assert_ptr_equal(recovery_script(s), &house);
    recovery_drop(s);
    assert_int_equal(house.dropped, 1);
    drop(b);
    hub_set_now(house.hub, 999);
    hub_sweep(house.hub);
    assert_int_equal(house.dropped, 1);
    hub_set_now(house.hub, 1000);
    hub_sweep(house.hub);
    assert_int_equal(house.dropped, 2);
    assert_null(come_back(b, "expired"));
}

static void who_has_left_does_not_come_back(void **state) {
    (void)state;
    struct peer *left = connect_as(NULL), *sent_away = connect_as(NULL), *slow = connect_as(NULL);
    recovery_forget(&left->client);
    drop(left);
    assert_null(come_back(left, "expired"));
    client_disconnect(&sent_away->client, 1000, "server namespace disconnect");
    end_turn();
    assert_null(come_back(sent_away, "expired"));
    client_disconnect(&slow->client, 0, "slow consumer");
    end_turn();
    assert_non_null(come_back(slow, NULL));
}

static void a_pid_is_a_secret(void **state) {
    (void)state;
    struct peer *p = connect_as(NULL);
    struct peer forged = *p;
    drop(p);
    forged.pid[PID_LEN - 1] = forged.pid[PID_LEN - 1] == 'A' ? 'B' : 'A';
    assert_null(come_back(&forged, "expired"));
    forged = *p;
    forged.pid[0] = forged.pid[0] == 'A' ? 'B' : 'A';
    assert_null(come_back(&forged, "epoch"));
    forged.pid[PID_LEN - 1] = '\0';
    assert_null(come_back(&forged, "invalid"));
    forged.pid[0] = '\0';
    assert_null(come_back(&forged, "invalid"));
    assert_non_null(come_back(p, NULL));
}

struct waiter {
    struct recovery_wait wait;
    int woken;
};

static void wake(struct deferred *deferred) {
    ((struct waiter *)deferred)->woken++;
}

static void a_second_use_ends_the_first(void **state) {
    (void)state;
    struct waiter waiter = {.wait.deferred.run = wake};
    struct recovery_session *s;
    struct peer *p = connect_as(NULL);
    assert_int_equal(find(p, &s), RECOVERY_BUSY);
    recovery_take_over(s, &waiter.wait);
    assert_string_equal(p->client.closing->reason, "taken over");
    assert_int_equal(waiter.woken, 0);
    end_turn();
    assert_true(p->freed);
    assert_int_equal(waiter.woken, 1);
    assert_non_null(come_back(p, NULL));
}

/* --- what it has missed ---------------------------------------------------------------------- */

static void each_target_is_told_to_whom_it_was_for(void **state) {
    (void)state;
    struct message m;
    struct peer *old = connect_as("u"), *other = connect_as("v");
    assert_int_equal(hub_join(&old->client, SPAN("r")), 0);
    assert_int_equal(hub_join(&old->client, SPAN("x")), 0);
    old->deaf = true;
    struct client *self = &old->client;
    init(&m, "direct");
    assert_int_equal(hub_publish_client(self, &m), 0);
    message_deinit(&m);
    init(&m, "other's");
    assert_int_equal(hub_publish_client(&other->client, &m), 0);
    message_deinit(&m);
    struct except me = {.clients = &self, .client_count = 1};
    say("r", "not for me", &me);
    drop(old);
    say("r", "room", NULL);
    say("q", "another room", NULL);
    struct span both[] = {SPAN("q"), SPAN("r")}, x = SPAN("x"), y = SPAN("y");
    init(&m, "rooms");
    assert_int_equal(hub_publish_rooms(house.ns, both, 2, &m, NULL), 0);
    message_deinit(&m);
    say("r", "without x", &(struct except){.rooms = &x, .room_count = 1});
    say("r", "without y", &(struct except){.rooms = &y, .room_count = 1});
    struct peer *back = come_back(old, NULL);
    assert_heard(back, "direct room rooms without y ");
    drop(back);
    init(&m, "user");
    hub_publish_user(house.ns, SPAN("u"), &m, NULL);
    message_deinit(&m);
    init(&m, "other user");
    hub_publish_user(house.ns, SPAN("v"), &m, NULL);
    message_deinit(&m);
    say_to_all("all", 0);
    say_to_all("volatile", MESSAGE_VOLATILE);
    back = come_back(back, NULL);
    assert_heard(back, "user all ");
}

static void a_membership_counts_while_it_is(void **state) {
    (void)state;
    struct peer *p = connect_as(NULL);
    p->deaf = true;
    say("r", "early", NULL);
    assert_int_equal(hub_join(&p->client, SPAN("r")), 0);
    say("r", "1", NULL);
    assert_true(hub_leave(&p->client, SPAN("r")));
    say("r", "between", NULL);
    assert_int_equal(hub_join(&p->client, SPAN("r")), 0);
    say("r", "2", NULL);
    drop(p);
    say("r", "3", NULL);
    struct peer *back = come_back(p, NULL);
    say("r", "4", NULL);
    assert_heard(back, "1 2 3 4 ");
}

static void the_clients_word_decides(void **state) {
    (void)state;
    struct peer *p = connect_as(NULL);
    say_to_all("1", 0);
    p->deaf = true;
    say_to_all("2", 0);
    say_to_all("3", 0);
    drop(p);
    struct peer *back = come_back(p, NULL);
    assert_heard(back, "2 3 ");
    back->seen = p->seen; /* Those have been lost, too. */
    drop(back);
    back = come_back(back, NULL);
    assert_heard(back, "2 3 ");
    back->seen += 100;
    drop(back);
    assert_null(come_back(back, "invalid"));
}

static void nothing_seen_means_everything_is_missing(void **state) {
    (void)state;
    struct peer *p = connect_as(NULL);
    p->deaf = true;
    say_to_all("1", 0);
    drop(p);
    p = come_back(p, NULL);
    assert_heard(p, "1 ");
}

/* --- what cannot be -------------------------------------------------------------------------- */

static void flood(void) {
    for (int i = 0; i < 20; i++) {
        say("nobody", "x", NULL);
    }
}

static void a_short_log_matters_only_to_who_missed_something(void **state) {
    (void)state;
    struct peer *had_all = connect_as(NULL), *missed = connect_as(NULL);
    say_to_all("1", 0);
    missed->deaf = true;
    say_to_all("2", 0);
    flood();
    drop(had_all);
    drop(missed);
    assert_null(come_back(missed, "trimmed"));
    assert_null(come_back(missed, "expired")); /* It is gone. */
    had_all = come_back(had_all, NULL);
    drop(had_all);
    had_all = come_back(had_all, NULL);
    drop(had_all);
    flood();
    assert_null(come_back(had_all, "trimmed"));
}

static void what_is_old_goes_with_its_time(void **state) {
    (void)state;
    struct peer *p = connect_as(NULL);
    p->deaf = true;
    say_to_all("1", 0);
    hub_set_now(house.hub, 1000 + house.config.ping_interval + house.config.ping_timeout);
    hub_sweep(house.hub);
    say_to_all("2", 0);
    drop(p);
    struct peer *back = come_back(p, NULL); /* On the edge: it is still there. */
    assert_heard(back, "1 2 ");
    back->seen = 0;
    hub_set_now(house.hub, 2001 + house.config.ping_interval + house.config.ping_timeout);
    hub_sweep(house.hub);
    drop(back);
    assert_null(come_back(back, "trimmed"));
}

static void a_reload_turns_it_off_and_on(void **state) {
    (void)state;
    struct peer *absent = connect_as(NULL), *present = connect_as(NULL);
    absent->client.script = &house;
    drop(absent);
    house.settings.recovery.size = 0;
    ns_configure(house.ns, &house.settings);
    assert_int_equal(house.dropped, 1);
    assert_false(recovery_is_on(house.ns));
    assert_false(present->client.kept);
    say_to_all("1", 0);
    drop(present);
    house.settings.recovery.size = 2;
    ns_configure(house.ns, &house.settings);
    assert_null(come_back(present, "epoch"));
    struct peer *p = connect_as(NULL);
    drop(p);
    say_to_all("1", 0);
    say_to_all("2", 0);
    house.settings.recovery.size = 4;
    ns_configure(house.ns, &house.settings);
    say_to_all("3", 0);
    p = come_back(p, NULL);
    assert_heard(p, "1 2 3 ");
}

/* --- at the reader's pace -------------------------------------------------------------------- */

static void who_is_behind_gets_the_present_from_the_log(void **state) {
    (void)state;
    struct message m;
    struct peer *p = connect_as(NULL);
    drop(p);
    say_to_all("1", 0);
    struct recovery_session *s;
    assert_int_equal(find(p, &s), RECOVERY_DONE);
    struct peer *back = open_peer(NULL);
    back->blocked = true;
    recovery_resume(s, &back->client, back->pid);
    back->sent = recovery_seen(&back->client);
    recovery_replay(&back->client);
    say_to_all("2", 0);
    say_to_all("lost", MESSAGE_VOLATILE);
    init(&m, "3");
    assert_int_equal(hub_publish_client(&back->client, &m), 0);
    message_deinit(&m);
    assert_heard(back, "");
    back->blocked = false;
    client_drained(&back->client);
    end_turn();
    say_to_all("4", 0);
    assert_heard(back, "1 2 3 4 ");
}

static void who_drops_while_behind_goes_on_there(void **state) {
    (void)state;
    struct peer *p = connect_as(NULL);
    drop(p);
    say_to_all("1", 0);
    struct recovery_session *s;
    assert_int_equal(find(p, &s), RECOVERY_DONE);
    struct peer *back = open_peer(NULL);
    back->blocked = true;
    recovery_resume(s, &back->client, back->pid);
    back->sent = recovery_seen(&back->client);
    recovery_replay(&back->client);
    say_to_all("2", 0);
    drop(back);
    back = come_back(back, NULL);
    assert_heard(back, "1 2 ");
}

static void who_never_reads_begins_anew(void **state) {
    (void)state;
    struct peer *p = connect_as(NULL);
    drop(p);
    say_to_all("1", 0);
    struct recovery_session *s;
    assert_int_equal(find(p, &s), RECOVERY_DONE);
    struct peer *back = open_peer(NULL);
    back->blocked = true;
    recovery_resume(s, &back->client, back->pid);
    recovery_replay(&back->client);
    flood();
    back->blocked = false;
    client_drained(&back->client);
    assert_string_equal(back->client.closing->reason, "slow consumer");
    end_turn();
    assert_null(come_back(back, "trimmed"));
}

/* --- the log --------------------------------------------------------------------------------- */

static void positions_may_have_gaps(void **state) {
    (void)state;
    static const uint64_t said[] = {2, 3, 1000000000, 1000000007};
    struct recovery_log log;
    recovery_log_init(&log, 3);
    for (size_t i = 0; i < 4; i++) {
        recovery_log_append(&log, said[i], buf_copy("x", 1), i);
    }
    uint64_t position = 2;
    assert_int_equal(log.gone, 2);
    assert_null(recovery_log_next(&log, &position).at); /* Nothing has been committed. */
    log.visible = said[2];
    for (size_t i = 1; i < 3; i++) {
        assert_int_equal(recovery_log_next(&log, &position).len, 1);
        assert_int_equal(position, said[i]);
    }
    assert_null(recovery_log_next(&log, &position).at);
    position = 500;
    assert_non_null(recovery_log_next(&log, &position).at);
    assert_int_equal(position, said[2]);
    recovery_log_trim(&log, 100); /* but for what is still to be sent */
    assert_int_equal(log.count, 1);
    assert_int_equal(log.gone, said[2]);
    recovery_log_deinit(&log);
}

/* --- packets --------------------------------------------------------------------------------- */

static void packets_are_read_as_they_were_written(void **state) {
    (void)state;
    struct writer out = {0};
    struct message m;
    struct packet p;
    struct span text;
    init(&m, "{\"a\":1},2");
    m.argc = 2;
    m.attachments = SPAN("packed");
    packet_put(&out, &m, PACKET_ROOMS);
    size_t list = packet_list_begin(&out);
    packet_list_add(&out, list, SPAN("a"));
    packet_list_add(&out, list, SPAN("bc"));
    (void)packet_list_begin(&out);
    list = packet_list_begin(&out);
    packet_list_add(&out, list, SPAN("d"));
    struct span bytes = writer_span(&out);
    assert_true(packet_read(&p, bytes));
    assert_true(span_is(p.message.event, "e") && span_is(p.message.data, "{\"a\":1},2"));
    assert_true(span_is(p.message.attachments, "packed"));
    assert_int_equal(p.message.argc, 2);
    assert_int_equal(p.target, PACKET_ROOMS);
    assert_true(packet_list_has(p.names, SPAN("bc")));
    assert_false(packet_list_has(p.names, SPAN("b")));
    assert_true(packet_list_has(p.except_rooms, SPAN("d")));
    assert_true(packet_list_next(&p.names, &text) && span_is(text, "a"));
    assert_true(packet_list_next(&p.names, &text) && span_is(text, "bc"));
    assert_false(packet_list_next(&p.names, &text));
    assert_false(packet_list_next(&p.except_ids, &text));
    for (size_t len = 0; len < bytes.len; len++) {
        assert_false(packet_read(&p, (struct span){bytes.at, len}));
    }
    writer_putc(&out, 0);
    assert_false(packet_read(&p, writer_span(&out)));
    writer_deinit(&out);
}

int main(void) {
#define IN_HOUSE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_HOUSE(id_user_and_rooms_come_back),
        IN_HOUSE(the_apps_part_waits_and_goes),
        IN_HOUSE(who_has_left_does_not_come_back),
        IN_HOUSE(a_pid_is_a_secret),
        IN_HOUSE(a_second_use_ends_the_first),
        IN_HOUSE(each_target_is_told_to_whom_it_was_for),
        IN_HOUSE(a_membership_counts_while_it_is),
        IN_HOUSE(the_clients_word_decides),
        IN_HOUSE(nothing_seen_means_everything_is_missing),
        IN_HOUSE(a_short_log_matters_only_to_who_missed_something),
        IN_HOUSE(what_is_old_goes_with_its_time),
        IN_HOUSE(a_reload_turns_it_off_and_on),
        IN_HOUSE(who_is_behind_gets_the_present_from_the_log),
        IN_HOUSE(who_drops_while_behind_goes_on_there),
        IN_HOUSE(who_never_reads_begins_anew),
        cmocka_unit_test(positions_may_have_gaps),
        cmocka_unit_test(packets_are_read_as_they_were_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
