/*
 * ChaCha20-Poly1305 (RFC 8439) of whole records by BearSSL, with SSE2, which every x86-64
 * CPU has, and with 64-bit multiplications: it takes 60 % of mbedTLS's instructions. The linker
 * redirects mbedTLS's calls here (mgmt.mk). Pure.
 */
#pragma once

#include <mbedtls/chachapoly.h>

int __wrap_mbedtls_chachapoly_encrypt_and_tag(mbedtls_chachapoly_context *ctx, size_t length,
                                              const unsigned char nonce[12],
                                              const unsigned char *aad, size_t aad_len,
                                              const unsigned char *input, unsigned char *output,
                                              unsigned char tag[16]);
/* Without the right tag: MBEDTLS_ERR_CHACHAPOLY_AUTH_FAILED, and the output is zero. */
int __wrap_mbedtls_chachapoly_auth_decrypt(mbedtls_chachapoly_context *ctx, size_t length,
                                           const unsigned char nonce[12], const unsigned char *aad,
                                           size_t aad_len, const unsigned char tag[16],
                                           const unsigned char *input, unsigned char *output);
