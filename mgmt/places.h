/*
 * The server's connections: which are free, and which must go when another one arrives or memory is
 * short.
 */
#pragma once

#include "mgmt/connection.h"

/* Buffers that all connections together may hold unread. The connection that exceeds it, by sending
 * on while an answer waits for its acknowledgement, holds most of them. */
#define PLACES_HELD_MAX        256u

/* What tokens of the role `read` may hold when others want a place, of SERVER_CONNECTIONS and of
 * PLACES_STREAMS answers without end; and what `read` and `operate` may hold together. */
#define PLACES_READ            12u
#define PLACES_OPERATE         14u
#define PLACES_STREAMS         8u
#define PLACES_STREAMS_READ    6u
#define PLACES_STREAMS_OPERATE 7u

/* All SERVER_CONNECTIONS of them, free or not. */
struct connection *places_all(void);
/* A free connection. If there is none, the least important one goes: those without a token before
 * those that have shown one, and of the latter one that is idle. If all are busy, tokens of lesser
 * roles must leave some places for others (PLACES_READ, PLACES_OPERATE). NULL: all stay. */
struct connection *places_take(void);
/* Are so many streams open to tokens of this role and lesser ones that it gets no more? */
bool places_are_streams_taken(uint32_t role);

/* Appends what was received for `c` to what it already holds. */
void places_hold(struct connection *c, struct pbuf *p);
/* Frees the first buffer that it holds, or all. */
void places_drop_first(struct connection *c);
void places_drop_all(struct connection *c);
/* If more is held than allowed, cuts off the connection that holds most and returns it (now free);
 * else NULL. */
struct connection *places_shed(void);
/* The same when lwIP has no buffers left, however many are held here. */
void places_starved(void);

/* Ends a connection that has nothing left to send. ERR_ABRT: it had to be aborted, and lwIP's
 * callbacks must return that. */
err_t places_finish(struct connection *c);
/* Ends it at once. Its own callbacks must then return ERR_ABRT. */
void places_cut(struct connection *c);
/* lwIP has freed its pcb. */
void places_release(struct connection *c);
