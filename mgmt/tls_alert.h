/* A client whose handshake fails is told so by an alert: mbedTLS does not send one for each fault.
 */
#pragma once

#include "hv/types.h"
#include "mbedtls/ssl.h"

/* mbedtls_ssl_handshake(), in which altcp_tls calls it. */
int tls_handshake(mbedtls_ssl_context *ssl);
