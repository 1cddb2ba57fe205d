/* Prefers ChaCha20 to AES in TLS 1.3 too. */
#pragma once

#include "mbedtls/ssl.h"

/* Call it once, when everything else in `conf` is set. What `conf` points to must stay, and not all
 * connections see later changes to it. */
void tls_suites_prefer(const mbedtls_ssl_config *conf);

/* With the linker's --wrap: mbedTLS's calls lead to __wrap_X, and __real_X is its own function. */
int __wrap_mbedtls_ssl_tls13_fetch_handshake_msg(mbedtls_ssl_context *ssl, unsigned type,
                                                 unsigned char **message, size_t *len);
int __real_mbedtls_ssl_tls13_fetch_handshake_msg(mbedtls_ssl_context *ssl, unsigned type,
                                                 unsigned char **message, size_t *len);
int __wrap_mbedtls_ssl_ticket_parse(void *tickets, mbedtls_ssl_session *session,
                                    unsigned char *ticket, size_t len);
int __real_mbedtls_ssl_ticket_parse(void *tickets, mbedtls_ssl_session *session,
                                    unsigned char *ticket, size_t len);
