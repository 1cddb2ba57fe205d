/*
 * The server's connections: which one is free, and who has to go when one more wants in or memory
 * is short.
 */
#pragma once

#include "mgmt/connection.h"

/* Buffers that all connections together may hold without having looked at them. Whoever makes it
 * more, by sending on while an answer waits for its acknowledgement, holds most of them. */
#define PLACES_HELD_MAX        256u

/* Of SERVER_CONNECTIONS, and of PLACES_STREAMS answers without end: what tokens of the role `read`
 * may hold when others want in, and what these and `operate` may together. */
#define PLACES_READ            12u
#define PLACES_OPERATE         14u
#define PLACES_STREAMS         8u
#define PLACES_STREAMS_READ    6u
#define PLACES_STREAMS_OPERATE 7u

/* SERVER_CONNECTIONS of them, free or not. */
struct connection *places_all(void);
/* A free one. Where there is none, the one goes that is missed least: without a token before those
 * that have shown one, and of these one that asks for nothing now. Where all are at work, tokens of
 * lesser roles have to leave some for others (PLACES_READ, PLACES_OPERATE). NULL: all stay. */
struct connection *places_take(void);
/* Are so many streams open to tokens of this role and lesser ones that it gets no more? */
bool places_are_streams_taken(uint32_t role);

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
