/* The appliance's certificate and key: the configured ones, or its own. */
#pragma once

#include "hv/types.h"

struct tls_credentials {
    const uint8_t *certificate, *key; /* PEM with its NUL, or DER */
    size_t certificate_len, key_len;
    uint8_t sha256[32]; /* of the first certificate's DER: its fingerprint */
    bool configured;    /* not made by us */
    uint64_t not_after; /* then: the first certificate's end, seconds since 1970 */
};

/* The configured certificate and key; otherwise those kept when the management guest last ran;
 * otherwise new ones for `ip`, which are kept. Returns NULL on success, or what is wrong, as a
 * sentence for the log. Call it after tls_port_start(). */
const char *tls_credentials_get(struct tls_credentials *c, const uint8_t ip[4]);
