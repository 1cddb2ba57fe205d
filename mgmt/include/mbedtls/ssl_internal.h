/*
 * Adapts mbedTLS 3 to lwIP's altcp_tls, which is written for mbedTLS 2 and includes this file last:
 * some functions that it calls have other names or arguments now. altcp_tls is also compiled with
 * MBEDTLS_ALLOW_PRIVATE_ACCESS (mgmt.mk), because it looks into contexts.
 */
#pragma once

#include "mbedtls/pk.h"
#include "mbedtls/ssl.h"
#include "mgmt/tls_alert.h"
#include "mgmt/tls_port.h"

#define MBEDTLS_SSL_MAX_CONTENT_LEN MBEDTLS_SSL_IN_CONTENT_LEN

/* Blinds the computation of the public key if the file has none. */
#define mbedtls_pk_parse_key(key, bytes, len, password, password_len)                              \
    mbedtls_pk_parse_key(key, bytes, len, password, password_len, tls_random, NULL)

/* Says why it failed. */
#define mbedtls_ssl_handshake(ssl)        tls_handshake(ssl)

#define mbedtls_ssl_get_max_frag_len(ssl) ((size_t)mbedtls_ssl_get_max_out_record_payload(ssl))

/* In library/ssl_misc.h. */
int mbedtls_ssl_flush_output(mbedtls_ssl_context *ssl);

/* For clients: only functions that are never called use them, so the linker does not need them. */
int mbedtls_ssl_get_session(const mbedtls_ssl_context *ssl, mbedtls_ssl_session *session);
int mbedtls_ssl_set_session(mbedtls_ssl_context *ssl, const mbedtls_ssl_session *session);
