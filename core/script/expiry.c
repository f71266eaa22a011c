/* The heap of identities that end (expiry.h), by what comes next for each: the question to its
 * client, or the end. Times are the wall clock's, because that is what tokens speak of. on_auth is
 * asked through auth.c, which also sets what it says; session.c passes on what clients answer. */
#include "script/expiry.h"
#include "base/number.h"
#include "script/auth.h"

#include <math.h>
#include <stdlib.h>
#include <time.h>

#define EVENT "refresh"
#define CLOSE_EXPIRED 4401           /* WebSocket; 4000 to 4999 are the applications' own */
#define LOOK_AT_CLOCK 60000          /* ms: the wall clock may be set while the timer runs */
#define AT_ONCE 256                  /* entries between two turns of the loop */
#define FAR_FUTURE 9007199254740991. /* ms: doubles count exactly up to here */

/* Many clients may have one, so it is kept small: found through a table of its own, and with no
 * more than 64 bytes. */
struct expiry {
    struct expiry *next;     /* of the same bucket */
    struct session *session; /* NULL: gone, and only on_auth is still waited for */
    uint64_t at;             /* ms since 1970: the end */
    uint64_t due;            /* what comes next: the question, or the end */
    uint64_t asked;          /* the question's id; 0: none is open */
    uint32_t place;          /* in the heap, or NOWHERE */
    bool refreshing;         /* on_auth has been asked again and not answered */
};
#define NOWHERE UINT32_MAX

struct expiries {
    struct hooks *hooks;
    uv_timer_t timer;
    struct expiry **heap; /* the least due is the first */
    uint32_t count;
    uint32_t cap;
    struct expiry **buckets; /* by session */
    uint32_t bucket_bits;    /* how many of them there are, as a power of two */
    uint32_t entries;        /* in the buckets */
    bool stopped;
};

static uint64_t wall_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Never a moment too early. */
static uint64_t to_ms(double seconds) {
    double ms = ceil(seconds * 1000);
    return ms > FAR_FUTURE ? (uint64_t)FAR_FUTURE : ms > 0 ? (uint64_t)ms : 0;
}

bool expiry_is_over(double expires) {
    return to_ms(expires) <= wall_clock();
}

/* --- the heap --- */

static void put(struct expiries *all, uint32_t place, struct expiry *e) {
    all->heap[place] = e;
    e->place = place;
}

/* Moves the entry from this place, which is its own or free, to where it belongs. */
static void settle(struct expiries *all, uint32_t place, struct expiry *e) {
    while (place && all->heap[(place - 1) / 2]->due > e->due) {
        put(all, place, all->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (;;) {
        uint32_t child = place * 2 + 1;
        if (child + 1 < all->count && all->heap[child + 1]->due < all->heap[child]->due) {
            child++;
        }
        if (child >= all->count || all->heap[child]->due >= e->due) {
            break;
        }
        put(all, place, all->heap[child]);
        place = child;
    }
    put(all, place, e);
}

static void heap_put(struct expiries *all, struct expiry *e) {
    if (e->place == NOWHERE) {
        if (all->count == all->cap) {
            all->cap = all->cap ? all->cap * 2 : 64;
            all->heap = memory_resize(all->heap, all->cap * sizeof *all->heap);
        }
        e->place = all->count++;
    }
    settle(all, e->place, e);
}

static void heap_remove(struct expiries *all, struct expiry *e) {
    if (e->place == NOWHERE) {
        return;
    }
    struct expiry *last = all->heap[--all->count];
    if (last != e) {
        settle(all, e->place, last);
    }
    e->place = NOWHERE;
}

/* --- entries --- */

#define BUCKET_BITS_MIN 6

/* An address is nothing that a peer chooses; its low bits are all alike, and the product's high
 * bits are not (Knuth's multiplicative hashing). */
static struct expiry **bucket_of(const struct expiries *all, const struct session *s) {
    uint64_t hash = (uint64_t)(uintptr_t)s * 0x9e3779b97f4a7c15U;
    return &all->buckets[hash >> (64 - all->bucket_bits)];
}

static void table_put(struct expiries *all, struct expiry *e) {
    struct expiry **bucket = bucket_of(all, e->session);
    e->next = *bucket;
    *bucket = e;
}

static void table_grow(struct expiries *all) {
    size_t before = all->buckets ? (size_t)1 << all->bucket_bits : 0;
    struct expiry **old = all->buckets;
    all->bucket_bits = before ? all->bucket_bits + 1 : BUCKET_BITS_MIN;
    all->buckets = memory_zalloc(sizeof *all->buckets << all->bucket_bits);
    for (size_t i = 0; i < before; i++) {
        while (old[i]) {
            struct expiry *e = old[i];
            old[i] = e->next;
            table_put(all, e);
        }
    }
    free(old);
}

static void table_add(struct expiries *all, struct expiry *e) {
    if (!all->buckets || all->entries >> all->bucket_bits) {
        table_grow(all);
    }
    table_put(all, e);
    all->entries++;
}

static void table_remove(struct expiries *all, const struct expiry *e) {
    struct expiry **at = bucket_of(all, e->session);
    while (*at != e) {
        at = &(*at)->next;
    }
    *at = e->next;
    all->entries--;
}

static struct expiries *all_of(const struct session *s) {
    return s->scope->hooks->expiries;
}

static struct expiry *find(const struct session *s) {
    struct expiry *e = s->expires ? *bucket_of(all_of(s), s) : NULL;
    while (e && e->session != s) {
        e = e->next;
    }
    return e;
}

static void forget(struct session *s, struct expiry *e) {
    struct expiries *all = all_of(s);
    heap_remove(all, e);
    table_remove(all, e);
    s->expires = false;
    e->session = NULL;
    if (!e->refreshing) {
        free(e);
    }
}

/* --- the question --- */

/* Can whoever is there be asked? Raw frames are the app's own, and a one-shot client hears nothing.
 */
static bool can_be_asked(const struct session *s) {
    const struct client *c = s->client;
    const struct ns_settings *settings = c ? ns_settings(c->ns) : NULL;
    if (!c || c->closing || !s->request) {
        return false;
    }
    switch (c->ops->wire) {
    case WIRE_POST:
    case WIRE_EIO_WS:
    case WIRE_EIO_POLLING:
        return false;
    case WIRE_SSE:
    case WIRE_SIO_WS:
    case WIRE_SIO_POLLING:
        return true;
    default:
        return settings && settings->events;
    }
}

/* A request, which no slow reader's policy drops; on a stream its id is not seen, and a POST of the
 * same name answers. */
static void ask(struct expiry *e) {
    struct session *s = e->session;
    char data[NUMBER_MAX + 16] = "{\"expires\":";
    char id[NUMBER_MAX];
    struct message m;
    if (!can_be_asked(s)) {
        return;
    }
    size_t len = strlen(data);
    len += number_print(data + len, (double)e->at / 1000);
    data[len++] = '}';
    e->asked = ++s->scope->hooks->ask_count;
    message_init(&m, MESSAGE_EVENT);
    m.event = SPAN(EVENT);
    m.data = (struct span){data, len};
    m.argc = 1;
    m.id = (struct span){id, number_print_integer(id, (long long)e->asked)};
    /* A client that is too slow to hear this is closed by the same call. */
    (void)!client_send(s->client, &m);
    message_deinit(&m);
}

/* The answer to an open question, or none of ours. */
static void refresh(struct expiry *e, struct span args, struct span attachments, struct ack *ack) {
    e->asked = 0;
    e->refreshing = true;
    auth_again(e, args, attachments, ack);
}

bool expiry_answer(struct session *s, uint64_t id, struct span args, struct span attachments,
                   struct span error) {
    struct expiry *e = find(s);
    if (!e || e->asked != id) {
        return false;
    }
    if (error.len) {
        e->asked = 0;
    } else {
        refresh(e, args, attachments, NULL);
    }
    return true;
}

bool expiry_event(struct session *s, struct span event, struct span args, struct span attachments,
                  struct ack *ack) {
    struct expiry *e = find(s);
    if (!e || !e->asked || s->client->ops->wire != WIRE_SSE || !span_is(event, EVENT)) {
        return false;
    }
    refresh(e, args, attachments, ack);
    return true;
}

struct session *expiry_session(const struct expiry *e) {
    return e->session;
}

void expiry_refreshed(struct expiry *e) {
    e->refreshing = false;
    if (!e->session) {
        free(e);
    }
}

/* --- time --- */

static void act(struct expiries *all, struct expiry *e) {
    struct client *c = e->session->client;
    if (e->due < e->at) {
        e->due = e->at;
        heap_put(all, e);
        ask(e);
        return;
    }
    heap_remove(all, e);
    e->asked = 0;
    if (c && c->ops->wire != WIRE_POST) { /* A one-shot client is about to go by itself. */
        client_disconnect(c, CLOSE_EXPIRED, "expired");
    }
}

static void on_timer(uv_timer_t *timer);

static void arm(struct expiries *all) {
    uint64_t now = wall_clock();
    if (all->stopped || all->count == 0) {
        uv_timer_stop(&all->timer);
        return;
    }
    uint64_t due = all->heap[0]->due;
    uint64_t left = due > now ? due - now : 0;
    uv_update_time(all->timer.loop);
    uv_timer_start(&all->timer, on_timer, left < LOOK_AT_CLOCK ? left : LOOK_AT_CLOCK, 0);
}

static void on_timer(uv_timer_t *timer) {
    struct expiries *all = timer->data;
    uint64_t now = wall_clock();
    for (int i = 0; i < AT_ONCE && all->count && all->heap[0]->due <= now; i++) {
        act(all, all->heap[0]);
    }
    arm(all);
}

static struct expiries *expiries_new(struct hooks *hooks) {
    struct expiries *all = memory_zalloc(sizeof *all);
    all->hooks = hooks;
    all->timer.data = all;
    uv_timer_init(hooks->script->env.io->loop, &all->timer);
    hooks->expiries = all;
    return all;
}

void expiry_set(struct session *s, double expires) {
    struct hooks *hooks = s->scope->hooks;
    struct expiries *all = hooks->expiries;
    struct expiry *e = find(s);
    if (expires == EXPIRY_NEVER || hooks->script->stopping) {
        if (e) {
            forget(s, e);
        }
        return;
    }
    if (!e) {
        all = all ? all : expiries_new(hooks);
        e = memory_zalloc(sizeof *e);
        e->session = s;
        e->place = NOWHERE;
        table_add(all, e);
        s->expires = true;
    }
    uint64_t now = wall_clock(), at = to_ms(expires);
    uint64_t before = hooks->script->env.config->refresh_before;
    uint64_t left = at > now ? at - now : 0;
    /* An answer that has won no time is not asked for again. */
    bool ask_again = at > e->at;
    e->due = ask_again ? at - (before < left / 2 ? before : left / 2) : at;
    e->at = at;
    e->asked = 0;
    heap_put(all, e);
    arm(all);
}

double expiry_of(const struct session *s) {
    const struct expiry *e = find(s);
    return e ? (double)e->at / 1000 : EXPIRY_NEVER;
}

void expiries_stop(struct hooks *hooks) {
    struct expiries *all = hooks->expiries;
    if (all) {
        all->stopped = true;
        uv_close((uv_handle_t *)&all->timer, NULL);
    }
}

void expiries_free(struct hooks *hooks) {
    struct expiries *all = hooks->expiries;
    if (all) {
        free(all->heap);
        free(all->buckets);
        free(all);
    }
}
