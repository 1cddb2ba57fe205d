/*
 * Listening for HTTP and HTTPS: what is decided about a connection before lwIP's altcp has it. A
 * connection that is not accepted yet, or already closed, never costs one that is in use its place.
 */
#pragma once

#include "lwip/altcp.h"

/* Segments smaller than this fill a connection's queue before an answer, or what a TLS handshake
 * says, is in it. The smallest packets of IPv4's links (296 bytes) hold as much. */
#define LISTEN_MSS_LEAST 256u

/* Listens with a bound pcb of altcp, over TCP or TLS. `accept` is called as by altcp_accept(), but
 * never without a pcb. NULL: no memory. */
struct altcp_pcb *listen_start(struct altcp_pcb *pcb, altcp_accept_fn accept);
