/* What conn.c and conn_write.c share; nobody else includes this. */
#ifndef MOONWIRE_NET_CONN_INTERNAL_H
#define MOONWIRE_NET_CONN_INTERNAL_H

#include "net/conn.h"

/* conn.c */
struct conn_rare *conn_need(struct conn *conn); /* conn->rare for writing: made now, if need be */
/* Asks epoll for what is wanted now. More is asked for at once, less only when something has come
 * for nobody: a pause is mostly over by then. */
void conn_watch(struct conn *conn);
void conn_watch_exactly(struct conn *conn); /* also for less */
/* Marks the conn closed; the rest waits for the end of the turn, for the caller may be anywhere,
 * even in the middle of a fan-out over conns. */
void conn_start_close(struct conn *conn, int error);
void conn_after_flush(struct conn *conn); /* Everything of a finishing conn is written. */

/* conn_write.c */
void conn_write_blocked(struct conn *conn); /* The socket takes bytes again. */
void conn_drop_output(struct conn *conn);

#endif
