/* Makes the appliance's self-signed certificate. */
#pragma once

#include "hv/types.h"
#include "mbedtls/pk.h"

#define TLS_CERTIFICATE_MAX 1024u

struct tls_subject {
    const char *name;  /* the host's: also used with ".local" */
    const uint8_t *ip; /* 4 bytes, in network order; NULL: none */
    uint64_t now;      /* seconds since 1970 */
};

/* Makes a certificate in DER for `key`, an ECDSA key, signed by it. Returns the length, or
 * mbedTLS's negative error. */
int tls_certificate_make(const struct tls_subject *s, mbedtls_pk_context *key,
                         uint8_t out[TLS_CERTIFICATE_MAX]);
