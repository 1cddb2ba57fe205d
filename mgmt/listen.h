/*
 * Listening for HTTP and HTTPS: what is decided about a connection before lwIP's altcp has it. A
 * connection that is not accepted yet, or already closed, never costs one that is in use its place.
 */
#pragma once

#include "hv/types.h"
#include "lwip/altcp.h"

/* Segments smaller than this fill a connection's queue before an answer, or what a TLS handshake
 * says, is in it. The smallest packets of IPv4's links (296 bytes) hold as much. */
#define LISTEN_MSS_LEAST 256u

/* So far from what is expected next a segment may begin: more than a window, which has 16 bits. */
#define LISTEN_FAR       0x10000

/* What a connection expects: the next byte, how many more it takes, and what it has already of
 * those: `queued` is behind the last of them, and their end, if it is known, at `fin`. */
struct listen_place {
    u32_t next, window, queued, fin;
    bool has_fin;
};

/* Is a segment of `data` bytes at `seqno`, perhaps with an end behind them, one that a client can
 * have sent there? Pure. */
bool listen_is_near(const struct listen_place *p, u32_t seqno, u16_t data, bool fin);

/* Before sys_check_timeouts(): ends the asking whether a window is open (lwIP's persist timer)
 * where nothing waits for it any more. lwIP leaves it on when what waited was acknowledged all the
 * same, and asserts in its timer that something waits. */
void listen_before_timers(void);

/* Listens with a bound pcb of altcp, over TCP or TLS. `accept` is called as by altcp_accept(), but
 * never without a pcb. NULL: no memory. */
struct altcp_pcb *listen_start(struct altcp_pcb *pcb, altcp_accept_fn accept);
