#include "mgmt/tls_chachapoly.h"

#include <bearssl_block.h>
#include <mbedtls/constant_time.h>
#include <mbedtls/platform_util.h>
#include <string.h>

#define KEY_WORD 4u /* of ChaCha20's state, RFC 8439, 2.3: after its constants */
#define TAG_SIZE 16u

/* BearSSL works in place. Of the key mbedTLS keeps only ChaCha20's words, which lie in memory as
 * its bytes did. */
static void run(const mbedtls_chachapoly_context *ctx, size_t length, const unsigned char *nonce,
                const unsigned char *aad, size_t aad_len, const unsigned char *input,
                unsigned char *output, unsigned char tag[TAG_SIZE], int encrypt)
{
    const uint32_t *key = &ctx->MBEDTLS_PRIVATE(chacha20_ctx).MBEDTLS_PRIVATE(state)[KEY_WORD];

    if (input != output && length)
        memmove(output, input, length);
    br_poly1305_ctmulq_run(key, nonce, output, length, aad, aad_len, tag, br_chacha20_sse2_run,
                           encrypt);
}

int __wrap_mbedtls_chachapoly_encrypt_and_tag(mbedtls_chachapoly_context *ctx, size_t length,
                                              const unsigned char nonce[12],
                                              const unsigned char *aad, size_t aad_len,
                                              const unsigned char *input, unsigned char *output,
                                              unsigned char tag[16])
{
    run(ctx, length, nonce, aad, aad_len, input, output, tag, 1);
    return 0;
}

int __wrap_mbedtls_chachapoly_auth_decrypt(mbedtls_chachapoly_context *ctx, size_t length,
                                           const unsigned char nonce[12], const unsigned char *aad,
                                           size_t aad_len, const unsigned char tag[16],
                                           const unsigned char *input, unsigned char *output)
{
    unsigned char right[TAG_SIZE];

    run(ctx, length, nonce, aad, aad_len, input, output, right, 0);
    if (mbedtls_ct_memcmp(tag, right, sizeof(right)) == 0)
        return 0;
    mbedtls_platform_zeroize(output, length);
    return MBEDTLS_ERR_CHACHAPOLY_AUTH_FAILED;
}
