/* The part of mbedTLS that the management guest's pure code uses, on the host. */
#pragma once

#define MBEDTLS_SHA256_C
#define MBEDTLS_SHA256_PROCESS_ALT /* mgmt/sha256.c */
#define MBEDTLS_BASE64_C
#define MBEDTLS_CHACHA20_C
#define MBEDTLS_POLY1305_C
#define MBEDTLS_CHACHAPOLY_C
