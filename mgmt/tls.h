/*
 * HTTPS: TLS 1.3 and 1.2 on port 443 by mbedTLS under lwIP's altcp_tls. A connection is the
 * server's once its handshake is done; before that it has no room there, only a place in a short
 * list, and a time limit.
 */
#pragma once

#include "lwip/altcp.h"
#include "mgmt/api.h"

#define TLS_PORT           443u
#define TLS_HANDSHAKES_MAX 8u

/* Looks whether this CPU can make keys; says so in the log where not. */
void tls_start(struct api_tls *counters);
/* Once an address is known: gets the certificate, says its fingerprint, listens. `ip`: NULL while
 * there is none of IPv4. */
void tls_listen(const uint8_t ip[4]);
/* Ends handshakes that found no free connection. From the main loop. */
void tls_poll(void);
/* Why nothing may be served at all, or NULL: the certificate or key of the configuration cannot be
 * used. */
const char *tls_refusal(void);
/* HTTPS is served, or will be once the address is known. */
bool tls_works(void);
/* Its certificate is the configuration's, not one that we made. */
bool tls_is_configured(void);

/* Of a connection that is ours: bytes of records that TCP has not taken yet. */
size_t tls_unsent(struct altcp_pcb *pcb);
/* Buffers that have come and were not decrypted: of a record that it cannot read, they stay. */
unsigned tls_unread(struct altcp_pcb *pcb);
/* Says goodbye, before altcp_close(). */
void tls_close_notify(struct altcp_pcb *pcb);
