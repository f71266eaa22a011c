/* What the files of Engine.IO share; nobody else includes this. */
#ifndef MOONWIRE_PROTO_EIO_INTERNAL_H
#define MOONWIRE_PROTO_EIO_INTERNAL_H

#include "proto/eio.h"

enum eio_state {
    EIO_OPENED,
    EIO_CLOSING, /* the user has been told; a polling client hears of it when it asks next */
    EIO_CLOSED,
};

/* A WebSocket that carries a session, or is on its way to. */
struct eio_ws {
    struct ws_conn ws;
    struct eio *session; /* NULL: none any more */
};

/* What a session needs while it is polling. */
struct eio_polling {
    struct io *io;
    struct eio *session;  /* NULL: none any more */
    struct exchange *get; /* the poll that waits for something to tell */
    struct exchange *post;
    struct span rest; /* of the POST's body, not handled yet */
    struct writer queue;
    struct eio_ws *probe;
    bool probed;
    bool upgrade_waits;     /* for the POST to be done */
    struct timeout upgrade; /* from the probe to the upgrade */
    struct timeout check;   /* until polls are answered while a probe is on */
    struct deferred flush;
    struct deferred pump; /* goes on with the POST */
    struct deferred late; /* its freeing */
};

/* eio.c */
struct eio *eio_find(const struct eio_server *server, struct span sid);
struct eio *eio_new(struct eio_server *server, const struct eio_handler *handler,
                    const struct request *r);
void eio_opened(struct eio *e, void *data); /* the open packet is on its way */
void eio_put_open(const struct eio *e, struct writer *out);
void eio_put_cookie(const struct eio *e, struct writer *fields);
/* A packet of the transport that carries the session. False: no more until eio_resume. */
bool eio_receive(struct eio *e, const struct eio_packet *p);
/* The end. `last` is what a waiting poll hears. */
void eio_finish(struct eio *e, const char *reason, const char *last);

/* eio_polling.c */
struct eio_polling *eio_polling_new(struct eio *e);
void eio_polling_free(struct eio_polling *p); /* in time; its session forgets it */
void eio_polling_open(struct eio *e, struct exchange *x);
void eio_polling_serve(struct eio *e, struct exchange *x);
void eio_polling_put(struct eio_polling *p, struct span packets);
void eio_polling_answer(struct eio_polling *p, const char *last); /* the poll, with what there is */
void eio_polling_resume(struct eio_polling *p); /* goes on with the POST, at the end of the turn */
void eio_polling_end_post(struct eio_polling *p);

/* eio_ws.c */
extern const struct ws_conn_handler eio_ws_events;
void eio_ws_open(struct eio_server *server, const struct eio_handler *handler, void *data,
                 struct exchange *x);
void eio_ws_upgrade(struct eio *e, struct exchange *x); /* a WebSocket for a session */
void eio_ws_complete(struct eio *e);                    /* the probe takes over */
void eio_ws_drop_probe(struct eio_polling *p);
void eio_ws_put(struct eio_ws *w, struct span packet); /* sends one packet as a frame */
void eio_ws_detach(struct eio_ws *w, int code, const char *reason);

#endif
