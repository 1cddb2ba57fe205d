/*
 * TLS handshakes: a short list, of which one is computed at a time. The server gets a connection
 * once its handshake is done; until then it has a place here, and a time limit.
 */
#pragma once

#include "lwip/altcp.h"
#include "mgmt/api.h"

#define TLS_HANDSHAKES_MAX 8u

/* Counts into `counters` from now on. */
void tls_handshakes_start(struct api_tls *counters);
/* For altcp_accept(): takes a client into the list, or resets its connection. */
err_t tls_handshakes_accept(void *arg, struct altcp_pcb *pcb, err_t err);
/* Computes one step of one handshake, if any has something to compute, and ends those that found no
 * free connection. True: more is waiting. */
bool tls_handshakes_poll(void);
