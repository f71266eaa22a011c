/* The sessions of clients that may come back, and their way through the log (recovery.h). A session
 * is made with its client, waits without one for as long as the namespace's ttl, and is resumed or
 * dropped. Called by the rest of the hub, by the wire that resumes it, and by the app, whose part
 * of a session waits with it. */
#include "base/random.h"
#include "hub/recovery_internal.h"
#include "hub/slow.h"

#include <stdlib.h>
#include <string.h>

#define ABSENT_MAX 65536 /* sessions without a client: beyond it the one that left first goes */

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

struct recovery_session *recovery_session_of(const struct client *c) {
    struct recovery_session *s;
    HASH_FIND(of_client, c->ns->recovery->present, &c, sizeof c, s);
    return s;
}

static struct hub *hub_of(const struct recovery_session *s) {
    return s->recovery->ns->hub;
}

/* --- the life of a session ------------------------------------------------------------------- */

static void release_waits(struct recovery_session *s) {
    struct recovery_wait *wait;
    while ((wait = LIST_FIRST(&s->waits))) {
        LIST_REMOVE(wait, link);
        hub_of(s)->defer(hub_of(s)->io, &wait->deferred);
    }
}

static void detach(struct recovery_session *s) {
    recovery_end_behind(s);
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
    buf_unref(s->text);
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

/* From memory: on disk it may be found again. */
static void let_go(struct recovery_session *s) {
    struct app *app = hub_of(s)->app;
    void *script = s->script;
    take_from_absent(s);
    session_free(s);
    if (script) {
        app->drop_session(app, script);
    }
}

void recovery_drop(struct recovery_session *s) {
    recovery_disk_forget(s);
    let_go(s);
}

void recovery_forget(struct client *c) {
    if (c->kept) {
        struct recovery_session *s = recovery_session_of(c);
        recovery_disk_forget(s);
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
    s->began = s->seen = r->log.visible;
    s->next.run = recovery_go_on;
    LIST_INIT(&s->waits);
    random_bytes(s->secret, sizeof s->secret);
    client_id(c, s->id);
    struct span user = client_user(c);
    s->user = user.len ? memory_strndup(user.at, user.len) : NULL;
    HASH_ADD_KEYPTR(hh, r->sessions, s->secret, PID_HANDLE, s);
    attach(s, c);
    recovery_disk_save(s, true);
    write_pid(s, pid);
}

uint32_t recovery_seen(const struct client *c) {
    return (uint32_t)recovery_session_of(c)->seen;
}

/* What the transport notes is the low half of a position. */
static uint64_t widen(uint32_t low, uint64_t last) {
    return last - (uint32_t)((uint32_t)last - low);
}

void recovery_closing(struct client *c) {
    struct recovery_session *s = recovery_session_of(c);
    uint64_t last = s->recovery->log.visible;
    s->left = s->is_behind ? s->cursor : last;
    s->sent = widen(c->ops->sent(c), last);
    s->gap = replay_is_behind(c) ? 1 : slow_gap(c);
    recovery_end_behind(s);
    TAILQ_INSERT_TAIL(&s->recovery->leaving, s, link);
    s->is_leaving = true;
}

bool recovery_keeps(const struct client *c) {
    return c->kept;
}

void recovery_released(struct client *c) {
    struct recovery_session *s = recovery_session_of(c);
    struct recovery *r = s->recovery;
    detach(s);
    s->script = c->script;
    s->deadline = r->ns->hub->now + r->ttl;
    recovery_disk_save(s, true);
    recovery_add_absent(s);
    release_waits(s);
    if (r->absent_count > ABSENT_MAX) {
        recovery_drop(TAILQ_FIRST(&r->absent));
    }
}

void recovery_add_absent(struct recovery_session *s) {
    struct recovery *r = s->recovery;
    TAILQ_INSERT_TAIL(&r->absent, s, link);
    r->absent_count++;
    ns_ref(r->ns);
}

void recovery_touch(struct client *c) {
    if (c->kept && c->ns->recovery->disk) {
        recovery_session_of(c)->changed = true;
    }
}

/* --- coming back ----------------------------------------------------------------------------- */

/* In a time that does not depend on where they differ. */
static bool same_secret(const unsigned char *a, const unsigned char *b) {
    unsigned char differs = 0;
    for (size_t i = 0; i < PID_SECRET; i++) {
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
    if (s->seen > log->visible) {
        return RECOVERY_INVALID;
    }
    if (s->gap && s->gap <= s->seen) {
        return RECOVERY_SKIPPED;
    }
    if (s->seen >= s->sent && s->left > s->cursor && !s->gap) {
        s->cursor = s->left; /* It has had everything, however long ago that was. */
    }
    return s->cursor < log->gone ? RECOVERY_TRIMMED : RECOVERY_DONE;
}

enum recovery_result recovery_find(struct ns *ns, struct span pid, struct span offset,
                                   struct recovery_session **out) {
    struct recovery *r = ns->recovery;
    unsigned char secret[PID_SECRET];
    struct recovery_session *s;
    *out = NULL;
    if (pid.len != PID_LEN) {
        return RECOVERY_INVALID;
    }
    struct span name = {pid.at + EPOCH_LEN, pid.len - EPOCH_LEN};
    if (base64url_decode(secret, name) != PID_SECRET) {
        return RECOVERY_INVALID;
    }
    if (memcmp(pid.at, r->log.epoch, EPOCH_LEN) != 0) {
        return RECOVERY_EPOCH;
    }
    HASH_FIND(hh, r->sessions, secret, PID_HANDLE, s);
    s = s ? s : recovery_disk_find(r, secret);
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
        if (stay->to == STILL && hub_join(c, (struct span){stay->name, stay->len})) {
            stay->to = s->recovery->log.visible; /* The limits have changed. */
        }
    }
    attach(s, c);
    recovery_disk_save(s, true);
    s->is_behind = true;
    LIST_INSERT_HEAD(&s->recovery->behind, s, behind);
    write_pid(s, pid);
}

/* --- namespaces ------------------------------------------------------------------------------ */

static struct recovery *recovery_new(struct ns *ns, const struct recovery_rule *rule) {
    struct recovery *r = memory_zalloc(sizeof *r);
    r->ns = ns;
    r->ttl = rule->ttl;
    recovery_log_init(&r->log, rule->size);
    TAILQ_INIT(&r->absent);
    TAILQ_INIT(&r->leaving);
    LIST_INIT(&r->behind);
    if (rule->durable) {
        recovery_disk_open(r);
    }
    return r;
}

/* Sessions are either on disk or not: where that changes, all begin anew. */
void recovery_configure(struct ns *ns) {
    const struct recovery_rule *rule = ns->settings ? &ns->settings->recovery : NULL;
    bool on = rule && rule->size;
    if (ns->recovery && (!on || rule->durable != (ns->recovery->disk != NULL))) {
        recovery_free(ns);
    }
    if (!on) {
        return;
    }
    if (!ns->recovery) {
        ns->recovery = recovery_new(ns, rule);
    }
    recovery_log_resize(&ns->recovery->log, rule->size);
    ns->recovery->ttl = rule->ttl;
}

static void drop_absent(struct recovery *r, uint64_t now, void drop(struct recovery_session *s)) {
    struct recovery_session *s;
    while ((s = TAILQ_FIRST(&r->absent)) && s->deadline <= now) {
        drop(s);
    }
}

uint64_t recovery_kept(const struct recovery *r) {
    const struct config *config = r->ns->hub->config;
    return r->ttl + config->ping_interval + config->ping_timeout;
}

static void save_changed(struct recovery *r) {
    for (struct recovery_session *s = r->present; s; s = s->of_client.next) {
        bool old = r->ns->hub->now - s->saved > recovery_kept(r);
        if (s->changed || old) {
            recovery_disk_save(s, true);
        }
    }
}

/* A packet may still be missed for as long as a session is kept, and a silent connection taken for
 * a living one. */
void recovery_expire(struct ns *ns) {
    struct recovery *r = ns->recovery;
    uint64_t kept = recovery_kept(r);
    uint64_t now = ns->hub->now;
    drop_absent(r, now, recovery_drop);
    if (r->disk) {
        save_changed(r);
    }
    bool wanted = r->sessions || r->disk;
    recovery_log_trim(&r->log, !wanted ? STILL : now > kept ? now - kept : 0);
}

void recovery_free(struct ns *ns) {
    struct recovery *r = ns->recovery;
    if (!r) {
        return;
    }
    drop_absent(r, STILL, let_go);
    while (r->present) {
        struct recovery_session *s = r->present;
        detach(s);
        session_free(s);
    }
    recovery_disk_close(r);
    recovery_log_deinit(&r->log);
    free(r);
    ns->recovery = NULL;
}

static void stop_ns(struct ns *ns, void *data) {
    (void)data;
    if (ns->recovery) {
        drop_absent(ns->recovery, STILL, let_go);
    }
}

void recovery_stop(struct hub *hub) {
    hub_each_ns(hub, stop_ns, NULL);
}
