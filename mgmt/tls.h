/*
 * HTTPS: TLS 1.3 and 1.2 on port 443 by mbedTLS under lwIP's altcp_tls. The server gets a
 * connection once its handshake is done (tls_handshakes.h).
 */
#pragma once

#include "lwip/altcp.h"
#include "mgmt/api.h"

#define TLS_PORT 443u

/* Checks whether this CPU can make keys; logs it if not. */
void tls_start(struct api_tls *counters);
/* Called once an address is known: gets the certificate, logs its fingerprint, listens. `ip`: NULL
 * while there is no IPv4 address. */
void tls_listen(const uint8_t ip[4]);
/* Why nothing may be served at all, or NULL: the configured certificate or key is unusable. */
const char *tls_refusal(void);
/* HTTPS is served, or will be once the address is known. */
bool tls_works(void);
/* The certificate is the configured one, not one that we made. */
bool tls_is_configured(void);

/* For a TLS connection: bytes of records that TCP has not taken yet. */
size_t tls_unsent(struct altcp_pcb *pcb);
/* Buffers that have arrived and were not decrypted: those of an unreadable record stay. */
unsigned tls_unread(struct altcp_pcb *pcb);
/* Sends close_notify, before altcp_close(). */
void tls_close_notify(struct altcp_pcb *pcb);
