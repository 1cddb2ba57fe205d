/*
 * Listening for HTTP and HTTPS: what is decided about a connection before lwIP's altcp has it. A
 * connection that is not yet accepted, or already closed, never takes the place of one in use.
 */
#pragma once

#include "hv/types.h"
#include "lwip/altcp.h"

/* Smaller segments fill a connection's queue before it holds an answer or a TLS handshake message.
 * The smallest packets of IPv4 links (296 bytes) carry this much. */
#define LISTEN_MSS_LEAST 256u

/* How far from the next expected byte a segment may begin: more than a window, which has 16 bits.
 */
#define LISTEN_FAR       0x10000

/* What a connection expects: the next byte, how many more it takes, and what it already has of
 * them. `queued` is behind the last of them; their end, if known, is at `fin`. */
struct listen_place {
    u32_t next, window, queued, fin;
    bool has_fin;
};

/* Can a client have sent a segment of `data` bytes at `seqno`, perhaps with an end behind them, to
 * that place? Pure. */
bool listen_is_near(const struct listen_place *p, u32_t seqno, u16_t data, bool fin);

/* Call it before sys_check_timeouts(). Stops lwIP's persist timer (which asks whether a window is
 * open) where nothing waits for it any more: lwIP leaves it running when the waiting data was
 * acknowledged anyway, and asserts in the timer that something waits. */
void listen_before_timers(void);

/* Listens with a bound altcp pcb, over TCP or TLS. `accept` is called as by altcp_accept(), but
 * never without a pcb. NULL: no memory. */
struct altcp_pcb *listen_start(struct altcp_pcb *pcb, altcp_accept_fn accept);
