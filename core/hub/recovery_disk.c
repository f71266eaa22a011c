/* Recovery that outlives the process: the log and the sessions of a namespace in the store. A
 * client is told what is in the log once that has been committed, in order: so no client has seen
 * what a restarted server does not know. Called by the other files of recovery. */
#include "base/memory.h"
#include "hub/recovery_internal.h"
#include "hub/store.h"

#include <stdlib.h>
#include <string.h>

/* A packet that waits for its commit, or, if it could not be queued, for those before it. */
struct waiting {
    struct store_wait wait; /* first */
    TAILQ_ENTRY(waiting) link;
    struct recovery_disk *disk;
    struct buf *bytes;
    uint64_t position;
    bool failed;
};

struct recovery_disk {
    struct recovery *recovery; /* NULL: closed, and freed with the last that waits */
    struct store_log *log;
    TAILQ_HEAD(, waiting) waiting;
    uint64_t lost; /* the newest position that could not be written */
};

/* --- the log --------------------------------------------------------------------------------- */

static struct writer name_in_store(const struct recovery *r, const char *kind) {
    struct writer name = {0};
    struct span ns = ns_name(r->ns);
    writer_printf(&name, "%s:%zu:", kind, ns.len);
    writer_put_span(&name, ns);
    return name;
}

static void take_record(uint64_t position, struct span bytes, void *data) {
    struct recovery *r = data;
    recovery_log_append(&r->log, position, buf_copy(bytes.at, bytes.len), r->ns->hub->now);
}

void recovery_disk_open(struct recovery *r) {
    struct store *store = r->ns->hub->store;
    struct recovery_disk *disk = memory_zalloc(sizeof *disk);
    struct writer name = name_in_store(r, "recovery");
    struct store_state state;
    disk->recovery = r;
    TAILQ_INIT(&disk->waiting);
    int status = store ? store_log_open(&disk->log, store, writer_span(&name), r->log.size + 1,
                                        &state, take_record, r)
                       : UV_ENOTSUP;
    writer_deinit(&name);
    if (status) {
        free(disk);
        return;
    }
    r->disk = disk;
    if (!state.epoch[0] || strlen(state.epoch) != EPOCH_LEN) {
        store_log_begin(disk->log, r->log.epoch, recovery_kept(r));
        return;
    }
    memcpy(r->log.epoch, state.epoch, EPOCH_LEN);
    r->log.last = r->log.visible = state.last > 1 ? state.last : 1;
    r->log.gone = state.trimmed > r->log.gone ? state.trimmed : r->log.gone;
}

static void free_waiting(struct waiting *w) {
    buf_unref(w->bytes);
    free(w);
}

static void free_if_over(struct recovery_disk *disk) {
    if (!disk->recovery && TAILQ_EMPTY(&disk->waiting)) {
        free(disk);
    }
}

void recovery_disk_close(struct recovery *r) {
    if (r->disk) {
        store_log_close(r->disk->log);
        r->disk->recovery = NULL;
        free_if_over(r->disk);
        r->disk = NULL;
    }
}

/* It was said, whether it could be written or not; who comes back to another process would miss it
 * without a word, so that the log begins anew behind it. */
static void tell(struct recovery_disk *disk, struct waiting *w) {
    struct packet p;
    struct recovery *r = disk->recovery;
    if (w->failed) {
        disk->lost = w->position;
    }
    if (r) {
        r->log.visible = w->position;
        if (packet_read(&p, (struct span){w->bytes->bytes, w->bytes->len})) {
            publish_committed(r->ns, &p, w->position);
        }
    }
}

/* All that need not wait any more. */
static void on_committed(struct store_wait *wait, int status) {
    struct waiting *w = (struct waiting *)wait;
    struct recovery_disk *disk = w->disk;
    w->failed = status != 0;
    do {
        TAILQ_REMOVE(&disk->waiting, w, link);
        tell(disk, w);
        free_waiting(w);
        w = TAILQ_FIRST(&disk->waiting);
    } while (w && w->failed);
    free_if_over(disk);
}

bool recovery_disk_append(struct recovery *r, struct span bytes) {
    struct recovery_disk *disk = r->disk;
    if (!disk) {
        return false;
    }
    struct waiting *w = memory_zalloc(sizeof *w);
    w->wait.done = on_committed;
    w->disk = disk;
    w->position = r->log.last;
    struct store_record record = {
        .sequence = w->position,
        .bytes = bytes,
        .trimmed = r->log.gone > disk->lost ? r->log.gone : disk->lost,
        .ttl = recovery_kept(r),
    };
    w->failed = store_append(disk->log, &record, &w->wait) != 0;
    if (w->failed && TAILQ_EMPTY(&disk->waiting)) {
        disk->lost = w->position;
        free(w);
        return false;
    }
    w->bytes = buf_copy(bytes.at, bytes.len);
    TAILQ_INSERT_TAIL(&disk->waiting, w, link);
    return true;
}

/* --- sessions -------------------------------------------------------------------------------- */

/* A session as bytes: numbers of eight bytes, and texts behind their lengths. */
static void put_number(struct writer *out, uint64_t number) {
    for (int i = 0; i < 8; i++) {
        writer_putc(out, (char)(number >> (8 * i)));
    }
}

static void put_text(struct writer *out, struct span text) {
    put_number(out, text.len);
    writer_put_span(out, text);
}

static bool take_number(struct span *rest, uint64_t *number) {
    if (rest->len < 8) {
        return false;
    }
    *number = 0;
    for (int i = 0; i < 8; i++) {
        *number |= (uint64_t)(unsigned char)rest->at[i] << (8 * i);
    }
    *rest = (struct span){rest->at + 8, rest->len - 8};
    return true;
}

static bool take_text(struct span *rest, struct span *text) {
    uint64_t len;
    if (!take_number(rest, &len) || len > rest->len) {
        return false;
    }
    *text = (struct span){rest->at, (size_t)len};
    *rest = (struct span){rest->at + len, rest->len - (size_t)len};
    return true;
}

static struct writer key_of(const struct recovery *r, const unsigned char *handle) {
    struct writer key = name_in_store(r, "session");
    writer_put(&key, handle, PID_HANDLE);
    return key;
}

static void write_session(const struct recovery_session *s, struct writer *out) {
    writer_put(out, s->secret, sizeof s->secret);
    writer_put(out, s->id, CLIENT_ID_LEN);
    put_number(out, s->began);
    put_text(out, span_of(s->user));
    put_text(out, s->text ? (struct span){s->text->bytes, s->text->len} : (struct span){0});
    for (const struct stay *stay = s->stays; stay; stay = stay->next) {
        put_number(out, stay->from);
        put_number(out, stay->to);
        put_text(out, (struct span){stay->name, stay->len});
    }
}

static void refresh_text(struct recovery_session *s) {
    struct app *app = s->recovery->ns->hub->app;
    void *script = s->client ? s->client->script : s->script;
    struct writer text = {0};
    if (script) {
        app->save_session(app, script, &text);
        buf_unref(s->text);
        s->text = writer_take(&text);
        s->changed = false;
    }
}

/* What cannot be written now is written when it changes next. */
void recovery_disk_save(struct recovery_session *s, bool with_app) {
    struct recovery *r = s->recovery;
    if (!r->disk) {
        return;
    }
    if (with_app) {
        refresh_text(s);
    }
    struct writer key = key_of(r, s->secret);
    struct writer value = {0};
    write_session(s, &value);
    uint64_t ttl = s->client ? 2 * recovery_kept(r) : r->ttl;
    (void)!store_set(r->ns->hub->store, writer_span(&key), writer_span(&value), ttl, NULL);
    s->saved = r->ns->hub->now;
    writer_deinit(&value);
    writer_deinit(&key);
}

void recovery_disk_forget(const struct recovery_session *s) {
    struct recovery *r = s->recovery;
    if (r->disk) {
        struct writer key = key_of(r, s->secret);
        (void)!store_delete(r->ns->hub->store, writer_span(&key), NULL);
        writer_deinit(&key);
    }
}

/* Also where its identity or its data could not be kept as text, it is that client. */
static struct recovery_session *read_session(struct recovery *r, struct span rest) {
    struct recovery_session *s = memory_zalloc(sizeof *s);
    struct app *app = r->ns->hub->app;
    struct span user, text, room;
    uint64_t from, to;
    size_t fixed = sizeof s->secret + CLIENT_ID_LEN;
    s->recovery = r;
    if (rest.len < fixed) {
        free(s);
        return NULL;
    }
    memcpy(s->secret, rest.at, sizeof s->secret);
    memcpy(s->id, rest.at + sizeof s->secret, CLIENT_ID_LEN);
    rest = (struct span){rest.at + fixed, rest.len - fixed};
    if (!take_number(&rest, &s->began) || !take_text(&rest, &user) || !take_text(&rest, &text)) {
        free(s);
        return NULL;
    }
    s->user = user.len ? memory_strndup(user.at, user.len) : NULL;
    while (take_number(&rest, &from) && take_number(&rest, &to) && take_text(&rest, &room)) {
        recovery_add_stay(s, room, from, to);
    }
    s->text = buf_copy(text.at, text.len);
    s->script = app->load_session(app, r->ns, span_of(s->id), text);
    return s;
}

struct recovery_session *recovery_disk_find(struct recovery *r, const unsigned char *handle) {
    struct recovery_session *s = NULL;
    struct writer value = {0};
    if (!r->disk) {
        return NULL;
    }
    struct writer key = key_of(r, handle);
    if (store_get(r->ns->hub->store, writer_span(&key), &value)) {
        s = read_session(r, writer_span(&value));
    }
    writer_deinit(&key);
    writer_deinit(&value);
    if (s) {
        LIST_INIT(&s->waits);
        s->next.run = recovery_go_on;
        s->sent = STILL; /* Who knows: its own word counts. */
        s->deadline = r->ns->hub->now + r->ttl;
        HASH_ADD_KEYPTR(hh, r->sessions, s->secret, PID_HANDLE, s);
        recovery_add_absent(s);
    }
    return s;
}
