/*
 * The server's connections: which one is free, and who has to go when one more wants in or memory
 * is short.
 */
#pragma once

#include "mgmt/connection.h"

/* Buffers that all connections together may hold without having looked at them. Whoever makes it
 * more, by sending on while an answer waits for its acknowledgement, holds most of them. */
#define PLACES_HELD_MAX 256u

/* SERVER_CONNECTIONS of them, free or not. */
struct connection *places_all(void);
/* A free one. Where there is none, the one goes that is missed least: without a token before those
 * that have shown one, and of these only one that asks for nothing now. NULL: all are at work. */
struct connection *places_take(void);
unsigned places_count_streams(void);

/* What has been received for `c`, behind what it holds already. */
void places_hold(struct connection *c, struct pbuf *p);
/* Gives back the first buffer that it holds, or all. */
void places_drop_first(struct connection *c);
void places_drop_all(struct connection *c);
/* More is held than may be: cuts off who holds most, and returns it (now free), else NULL. */
struct connection *places_shed(void);
/* The same when lwIP has no buffer left, however many are held here. */
void places_starved(void);

/* Ends a connection that owes nothing. ERR_ABRT when it had to be aborted: lwIP's callbacks must
 * then say so. */
err_t places_finish(struct connection *c);
/* Ends it at once. Callbacks of its own must return ERR_ABRT. */
void places_cut(struct connection *c);
/* lwIP has freed its pcb. */
void places_release(struct connection *c);
