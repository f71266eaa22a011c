/* The sessions of clients that may come back, and their way through the log (recovery.h). A session
 * is made with its client, waits without one for as long as the namespace's ttl, and is resumed or
 * dropped. Called by the rest of the hub, by the wire that resumes it, and by the app, whose part
 * of a session waits with it. */
#include "hub/recovery.h"

#include "base/memory.h"
#include "base/random.h"
#include "hub/recovery_log.h"
#include "hub/slow.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define SECRET_BYTES 24
#define HANDLE_BYTES 8 /* of them, by which a session is found; the rest is then compared */
#define STILL UINT64_MAX
#define ABSENT_MAX 65536 /* sessions without a client: beyond it the one that left first goes */
#define CHUNK (64 << 10) /* bytes of a replay before others have their turn */
#define OVERHEAD 64      /* of a packet: its frame, its offset */

/* A membership: of what was said at positions from < p <= to. */
struct stay {
    struct stay *next;
    uint64_t from;
    uint64_t to; /* STILL */
    uint32_t len;
    char name[];
};

struct recovery_session {
    UT_hash_handle hh;        /* by its handle */
    UT_hash_handle of_client; /* by its client, while it has one */
    struct recovery *recovery;
    struct client *client;              /* NULL: gone */
    TAILQ_ENTRY(recovery_session) link; /* among those who are leaving, or gone */
    LIST_ENTRY(recovery_session) behind;
    LIST_HEAD(, recovery_wait) waits;
    struct deferred next; /* goes on with the replay */
    struct stay *stays;
    char *user;
    void *script;
    uint64_t began;    /* the position of the first CONNECT */
    uint64_t seen;     /* what the client had seen when it came, by its own words */
    uint64_t sent;     /* of a client that is gone: of the last packet that was sent to it, */
    uint64_t left;     /* up to where everything for it was, */
    uint64_t gap;      /* and where something was not, because it was slow; 0: nowhere */
    uint64_t cursor;   /* of one that is behind: it has been sent everything up to here */
    uint64_t deadline; /* ms */
    bool is_behind;
    bool is_leaving; /* its client is closed, and the app not done with it */
    unsigned char secret[SECRET_BYTES];
    char id[CLIENT_ID_LEN + 1];
};

struct recovery {
    struct ns *ns;
    struct recovery_log log;
    uint64_t ttl; /* ms */
    struct recovery_session *sessions;
    struct recovery_session *present; /* those with a client, by it */
    TAILQ_HEAD(recovery_sessions, recovery_session) absent;
    struct recovery_sessions leaving;
    uint32_t absent_count;
    LIST_HEAD(, recovery_session) behind;
};

const char *recovery_reason(enum recovery_result result) {
    static const char *const reasons[] = {
        [RECOVERY_INVALID] = "invalid", [RECOVERY_EPOCH] = "epoch",
        [RECOVERY_EXPIRED] = "expired", [RECOVERY_TRIMMED] = "trimmed",
        [RECOVERY_SKIPPED] = "skipped", [RECOVERY_IDENTITY] = "identity",
        [RECOVERY_BUSY] = NULL};
    return reasons[result];
}

bool recovery_is_on(const struct ns *ns) {
    return ns->recovery != NULL;
}

struct span recovery_offset(const struct ns *ns, uint64_t position, char text[OFFSET_MAX]) {
    return ns->recovery ? offset_write(text, ns->recovery->log.epoch, position) : (struct span){0};
}

static struct recovery_session *session_of(const struct client *c) {
    struct recovery_session *s;
    HASH_FIND(of_client, c->ns->recovery->present, &c, sizeof c, s);
    return s;
}

static struct hub *hub_of(const struct recovery_session *s) {
    return s->recovery->ns->hub;
}

/* --- rooms ----------------------------------------------------------------------------------- */

static void drop_stays(struct recovery_session *s, uint64_t before) {
    struct stay **at = &s->stays;
    while (*at) {
        struct stay *stay = *at;
        if (stay->to < before || stay->from == stay->to) {
            *at = stay->next;
            free(stay);
        } else {
            at = &stay->next;
        }
    }
}

static struct span stay_name(const struct stay *stay) {
    return (struct span){stay->name, stay->len};
}

void recovery_joined(struct client *c, struct span room) {
    struct recovery_session *s = session_of(c);
    struct stay *stay = memory_alloc(sizeof *stay + room.len);
    *stay = (struct stay){
        .next = s->stays, .from = s->recovery->log.last, .to = STILL, .len = (uint32_t)room.len};
    memcpy(stay->name, room.at, room.len);
    s->stays = stay;
}

/* What is older than the log is nobody's any more. */
void recovery_left(struct client *c, struct span room) {
    struct recovery_session *s = session_of(c);
    const struct recovery_log *log = &s->recovery->log;
    for (struct stay *stay = s->stays; stay; stay = stay->next) {
        if (stay->to == STILL && span_equal(stay_name(stay), room)) {
            stay->to = log->last;
        }
    }
    drop_stays(s, recovery_log_oldest(log));
}

static bool was_in(const struct recovery_session *s, struct packet_list rooms, uint64_t position) {
    for (const struct stay *stay = rooms.packed.len ? s->stays : NULL; stay; stay = stay->next) {
        if (stay->from < position && position <= stay->to &&
            packet_list_has(rooms, stay_name(stay))) {
            return true;
        }
    }
    return false;
}

static bool is_for(const struct recovery_session *s, const struct packet *p, uint64_t position) {
    bool meant = false;
    switch (p->target) {
    case PACKET_NAMESPACE:
        meant = true;
        break;
    case PACKET_ROOMS:
        meant = was_in(s, p->names, position);
        break;
    case PACKET_USER:
        meant = packet_list_has(p->names, span_of(s->user ? s->user : s->id));
        break;
    default:
        meant = packet_list_has(p->names, span_of(s->id));
    }
    return meant && !packet_list_has(p->except_ids, span_of(s->id)) &&
           !was_in(s, p->except_rooms, position);
}

/* --- the log --------------------------------------------------------------------------------- */

static void put_except(struct writer *out, const struct except *except) {
    size_t list = packet_list_begin(out);
    for (size_t i = 0; except && i < except->client_count; i++) {
        char id[CLIENT_ID_LEN + 1];
        if (except->clients[i]->kept) {
            client_id(except->clients[i], id);
            packet_list_add(out, list, span_of(id));
        }
    }
    for (size_t i = 0; except && i < except->id_count; i++) {
        packet_list_add(out, list, except->ids[i]);
    }
    list = packet_list_begin(out);
    for (size_t i = 0; except && i < except->room_count; i++) {
        packet_list_add(out, list, except->rooms[i]);
    }
}

/* Where nobody could ever ask for it, nothing is kept. */
void recovery_note(struct ns *ns, struct message *m, enum packet_target target,
                   const struct span *names, size_t count, const struct except *except) {
    struct recovery *r = ns->recovery;
    if (!(m->flags & MESSAGE_VOLATILE) && r->sessions) {
        struct writer out = {0};
        packet_put(&out, m, target);
        size_t list = packet_list_begin(&out);
        for (size_t i = 0; i < count; i++) {
            packet_list_add(&out, list, names[i]);
        }
        put_except(&out, except);
        struct span bytes = writer_span(&out);
        recovery_log_append(&r->log, buf_copy(bytes.at, bytes.len), ns->hub->now);
        writer_deinit(&out);
    }
    m->position = r->log.last;
}

void recovery_hold(struct ns *ns, uint64_t stamp) {
    struct recovery_session *s;
    LIST_FOREACH (s, &ns->recovery->behind, behind) {
        s->client->stamp = stamp;
    }
}

bool recovery_is_behind(const struct client *c) {
    return session_of(c)->is_behind;
}

uint64_t recovery_position(const struct client *c) {
    const struct recovery_session *s = session_of(c);
    return s->is_behind ? s->cursor : s->recovery->log.last;
}

/* --- the life of a session ------------------------------------------------------------------- */

static void release_waits(struct recovery_session *s) {
    struct recovery_wait *wait;
    while ((wait = LIST_FIRST(&s->waits))) {
        LIST_REMOVE(wait, link);
        hub_of(s)->defer(hub_of(s)->io, &wait->deferred);
    }
}

static void end_behind(struct recovery_session *s) {
    if (s->is_behind) {
        LIST_REMOVE(s, behind);
        s->is_behind = false;
    }
}

static void detach(struct recovery_session *s) {
    end_behind(s);
    if (s->is_leaving) {
        TAILQ_REMOVE(&s->recovery->leaving, s, link);
        s->is_leaving = false;
    }
    HASH_DELETE(of_client, s->recovery->present, s);
    s->client->kept = false;
    s->client = NULL;
}

static void session_free(struct recovery_session *s) {
    HASH_DEL(s->recovery->sessions, s);
    release_waits(s);
    while (s->stays) {
        struct stay *next = s->stays->next;
        free(s->stays);
        s->stays = next;
    }
    free(s->user);
    s->recovery = NULL;
    if (!s->next.queued) {
        free(s);
    }
}

static void take_from_absent(struct recovery_session *s) {
    TAILQ_REMOVE(&s->recovery->absent, s, link);
    s->recovery->absent_count--;
    ns_unref(s->recovery->ns);
}

void recovery_drop(struct recovery_session *s) {
    struct app *app = hub_of(s)->app;
    void *script = s->script;
    take_from_absent(s);
    session_free(s);
    if (script) {
        app->drop_session(app, script);
    }
}

void recovery_forget(struct client *c) {
    if (c->kept) {
        struct recovery_session *s = session_of(c);
        detach(s);
        session_free(s);
    }
}

static void forget_all_of(struct recovery_session *first, struct span user) {
    struct recovery_session *next;
    for (struct recovery_session *s = first; s; s = next) {
        next = TAILQ_NEXT(s, link);
        if (!span_is(user, s->user ? s->user : s->id)) {
            continue;
        }
        if (s->client) {
            recovery_forget(s->client);
        } else {
            recovery_drop(s);
        }
    }
}

void recovery_forget_user(struct ns *ns, struct span user) {
    if (ns->recovery) {
        forget_all_of(TAILQ_FIRST(&ns->recovery->leaving), user);
        forget_all_of(TAILQ_FIRST(&ns->recovery->absent), user);
    }
}

static void go_on(struct deferred *deferred);

static void attach(struct recovery_session *s, struct client *c) {
    s->client = c;
    c->kept = true;
    HASH_ADD(of_client, s->recovery->present, client, sizeof c, s);
}

static void write_pid(const struct recovery_session *s, char pid[PID_LEN + 1]) {
    memcpy(pid, s->recovery->log.epoch, EPOCH_LEN);
    base64url_encode(pid + EPOCH_LEN, s->secret, sizeof s->secret);
    pid[PID_LEN] = '\0';
}

void recovery_begin(struct client *c, char pid[PID_LEN + 1]) {
    struct recovery *r = c->ns->recovery;
    struct recovery_session *s = memory_zalloc(sizeof *s);
    s->recovery = r;
    s->began = s->seen = r->log.last;
    s->next.run = go_on;
    LIST_INIT(&s->waits);
    random_bytes(s->secret, sizeof s->secret);
    client_id(c, s->id);
    struct span user = client_user(c);
    s->user = user.len ? memory_strndup(user.at, user.len) : NULL;
    HASH_ADD_KEYPTR(hh, r->sessions, s->secret, HANDLE_BYTES, s);
    attach(s, c);
    write_pid(s, pid);
}

uint32_t recovery_seen(const struct client *c) {
    return (uint32_t)session_of(c)->seen;
}

/* What the transport notes is the low half of a position. */
static uint64_t widen(uint32_t low, uint64_t last) {
    return last - (uint32_t)((uint32_t)last - low);
}

void recovery_closing(struct client *c) {
    struct recovery_session *s = session_of(c);
    uint64_t last = s->recovery->log.last;
    s->left = s->is_behind ? s->cursor : last;
    s->sent = widen(c->ops->sent(c), last);
    s->gap = replay_is_behind(c) ? 1 : slow_gap(c);
    end_behind(s);
    TAILQ_INSERT_TAIL(&s->recovery->leaving, s, link);
    s->is_leaving = true;
}

bool recovery_keeps(const struct client *c) {
    return c->kept;
}

void recovery_released(struct client *c) {
    struct recovery_session *s = session_of(c);
    struct recovery *r = s->recovery;
    detach(s);
    s->script = c->script;
    s->deadline = r->ns->hub->now + r->ttl;
    TAILQ_INSERT_TAIL(&r->absent, s, link);
    r->absent_count++;
    ns_ref(r->ns);
    release_waits(s);
    if (r->absent_count > ABSENT_MAX) {
        recovery_drop(TAILQ_FIRST(&r->absent));
    }
}

/* --- coming back ----------------------------------------------------------------------------- */

/* In a time that does not depend on where they differ. */
static bool same_secret(const unsigned char *a, const unsigned char *b) {
    unsigned char differs = 0;
    for (size_t i = 0; i < SECRET_BYTES; i++) {
        differs |= (unsigned char)(a[i] ^ b[i]);
    }
    return differs == 0;
}

/* Where the client stands. What it presents may be an offset of an earlier session, which it keeps
 * until it sees the first event of this one: then it has seen none, as if it had presented none. */
static uint64_t position_of(const struct recovery_session *s, struct span offset) {
    struct offset o;
    bool ours = offset_read(&o, offset) && span_is(o.epoch, s->recovery->log.epoch);
    return ours && o.sequence > s->began ? o.sequence : s->began;
}

/* From where the log is to be read. */
static enum recovery_result judge(struct recovery_session *s, struct span offset) {
    const struct recovery_log *log = &s->recovery->log;
    s->seen = position_of(s, offset);
    s->cursor = s->seen;
    if (s->seen > log->last) {
        return RECOVERY_INVALID;
    }
    if (s->gap && s->gap <= s->seen) {
        return RECOVERY_SKIPPED;
    }
    if (s->seen >= s->sent && s->left > s->cursor && !s->gap) {
        s->cursor = s->left; /* It has had everything, however long ago that was. */
    }
    return s->cursor + 1 < recovery_log_oldest(log) ? RECOVERY_TRIMMED : RECOVERY_DONE;
}

enum recovery_result recovery_find(struct ns *ns, struct span pid, struct span offset,
                                   struct recovery_session **out) {
    struct recovery *r = ns->recovery;
    unsigned char secret[SECRET_BYTES];
    struct recovery_session *s;
    *out = NULL;
    struct span name = {pid.at + EPOCH_LEN, pid.len - EPOCH_LEN};
    if (pid.len != PID_LEN || base64url_decode(secret, name) != SECRET_BYTES) {
        return RECOVERY_INVALID;
    }
    if (memcmp(pid.at, r->log.epoch, EPOCH_LEN) != 0) {
        return RECOVERY_EPOCH;
    }
    HASH_FIND(hh, r->sessions, secret, HANDLE_BYTES, s);
    if (!s || !same_secret(s->secret, secret)) {
        return RECOVERY_EXPIRED;
    }
    if (s->client) {
        *out = s;
        return RECOVERY_BUSY;
    }
    bool over = s->deadline <= ns->hub->now;
    enum recovery_result result = over ? RECOVERY_EXPIRED : judge(s, offset);
    if (result == RECOVERY_DONE) {
        *out = s;
    } else {
        recovery_drop(s);
    }
    return result;
}

void recovery_take_over(struct recovery_session *s, struct recovery_wait *wait) {
    LIST_INSERT_HEAD(&s->waits, wait, link);
    client_disconnect(s->client, 0, "taken over");
}

const char *recovery_user(const struct recovery_session *s) {
    return s->user;
}

void *recovery_script(const struct recovery_session *s) {
    return s->script;
}

void recovery_resume(struct recovery_session *s, struct client *c, char pid[PID_LEN + 1]) {
    take_from_absent(s);
    s->script = NULL;
    client_rename(c, span_of(s->id));
    for (struct stay *stay = s->stays; stay; stay = stay->next) {
        if (stay->to == STILL && hub_join(c, stay_name(stay))) {
            stay->to = s->recovery->log.last; /* The limits have changed. */
        }
    }
    attach(s, c);
    s->is_behind = true;
    LIST_INSERT_HEAD(&s->recovery->behind, s, behind);
    write_pid(s, pid);
}

/* --- the replay ------------------------------------------------------------------------------ */

static size_t send_packet(struct client *c, struct packet *p, uint64_t position) {
    struct message *m = &p->message;
    m->position = position;
    (void)client_send(c, m);
    message_deinit(m);
    return m->data.len + m->event.len + m->attachments.len + OVERHEAD;
}

/* As much as the client takes, but for so many bytes. False: there is more. */
static bool advance(struct recovery_session *s, size_t budget) {
    struct client *c = s->client;
    const struct recovery_log *log = &s->recovery->log;
    while (s->cursor < log->last) {
        struct packet p;
        struct span bytes = recovery_log_at(log, s->cursor + 1);
        if (c->closing || c->ops->blocked(c) || !budget) {
            return false;
        }
        if (!bytes.at) { /* It reads so slowly that the log has gone by: it may begin anew. */
            slow_close(c);
            return false;
        }
        s->cursor++;
        if (packet_read(&p, bytes) && is_for(s, &p, s->cursor)) {
            size_t used = send_packet(c, &p, s->cursor);
            budget -= used < budget ? used : budget;
        }
    }
    return true;
}

static void pump(struct recovery_session *s) {
    struct client *c = s->client;
    struct hub *hub = hub_of(s);
    size_t half = hub->config->high_mark / 2;
    if (advance(s, half < CHUNK ? half : CHUNK)) {
        end_behind(s);
    } else if (!c->closing && !c->ops->blocked(c) && !s->next.queued) {
        hub->defer(hub->io, &s->next);
    }
}

static void go_on(struct deferred *deferred) {
    struct recovery_session *s =
        (struct recovery_session *)((char *)deferred - offsetof(struct recovery_session, next));
    if (!s->recovery) {
        free(s);
    } else if (s->is_behind) {
        pump(s);
    }
}

void recovery_replay(struct client *c) {
    pump(session_of(c));
}

void recovery_drained(struct client *c) {
    struct recovery_session *s = session_of(c);
    if (s->is_behind && !s->next.queued) {
        pump(s);
    }
}

/* --- namespaces ------------------------------------------------------------------------------ */

static struct recovery *recovery_new(struct ns *ns, uint32_t size) {
    struct recovery *r = memory_zalloc(sizeof *r);
    r->ns = ns;
    recovery_log_init(&r->log, size);
    TAILQ_INIT(&r->absent);
    TAILQ_INIT(&r->leaving);
    LIST_INIT(&r->behind);
    return r;
}

void recovery_configure(struct ns *ns) {
    const struct recovery_rule *rule = ns->settings ? &ns->settings->recovery : NULL;
    if (!rule || !rule->size) {
        recovery_free(ns);
        return;
    }
    if (!ns->recovery) {
        ns->recovery = recovery_new(ns, rule->size);
    }
    recovery_log_resize(&ns->recovery->log, rule->size);
    ns->recovery->ttl = rule->ttl;
}

static void drop_absent(struct recovery *r, uint64_t now) {
    struct recovery_session *s;
    while ((s = TAILQ_FIRST(&r->absent)) && s->deadline <= now) {
        recovery_drop(s);
    }
}

/* A packet may still be missed for as long as a session is kept, and a silent connection taken for
 * a living one. */
void recovery_expire(struct ns *ns) {
    struct recovery *r = ns->recovery;
    const struct config *config = ns->hub->config;
    uint64_t kept = r->ttl + config->ping_interval + config->ping_timeout;
    uint64_t now = ns->hub->now;
    drop_absent(r, now);
    recovery_log_trim(&r->log, !r->sessions ? STILL : now > kept ? now - kept : 0);
}

void recovery_free(struct ns *ns) {
    struct recovery *r = ns->recovery;
    if (!r) {
        return;
    }
    drop_absent(r, STILL);
    while (r->present) {
        recovery_forget(r->present->client);
    }
    recovery_log_deinit(&r->log);
    free(r);
    ns->recovery = NULL;
}

static void stop_ns(struct ns *ns, void *data) {
    (void)data;
    if (ns->recovery) {
        drop_absent(ns->recovery, STILL);
    }
}

void recovery_stop(struct hub *hub) {
    hub_each_ns(hub, stop_ns, NULL);
}
