/* What the appliance proves itself with: the configuration's certificate and key, or its own. */
#pragma once

#include "hv/types.h"

struct tls_credentials {
    const uint8_t *certificate, *key; /* PEM with its NUL, or DER */
    size_t certificate_len, key_len;
    uint8_t sha256[32]; /* of the first certificate's DER: its fingerprint */
    bool configured;    /* not our own */
};

/* The certificate and key of the configuration; without, those that were kept when the management
 * guest last ran; without, new ones for `ip`, which are kept. NULL when all is well, or what is
 * wrong, as a sentence for the log. After tls_port_start(). */
const char *tls_credentials_get(struct tls_credentials *c, const uint8_t ip[4]);
