/*
 * X25519 by the formally verified code of Project Everest that mbedTLS carries: it takes a fiftieth
 * of the time of mbedTLS's big numbers. mbedTLS itself would use it for one half of a key agreement
 * in TLS 1.2, and not at all in TLS 1.3. The linker redirects its calls here (mgmt.mk).
 */
#include "mgmt/tls_x25519.h"

#include "Hacl_Curve25519.h"
#include "hv/types.h"
#include "mbedtls/platform_util.h"

#define BYTES 32u

/* Like mbedTLS: RFC 7748, section 5, after checking both. */
static int multiply(mbedtls_ecp_group *grp, mbedtls_ecp_point *r, const mbedtls_mpi *m,
                    const mbedtls_ecp_point *p)
{
    uint8_t secret[BYTES], point[BYTES], product[BYTES];
    int rc = mbedtls_ecp_check_privkey(grp, m);

    if (rc == 0)
        rc = mbedtls_ecp_check_pubkey(grp, p);
    if (rc == 0)
        rc = mbedtls_mpi_write_binary_le(m, secret, BYTES);
    if (rc == 0)
        rc = mbedtls_mpi_write_binary_le(&p->MBEDTLS_PRIVATE(X), point, BYTES);
    if (rc == 0) {
        Hacl_Curve25519_crypto_scalarmult(product, secret, point);
        rc = mbedtls_mpi_read_binary_le(&r->MBEDTLS_PRIVATE(X), product, BYTES);
    }
    if (rc == 0)
        rc = mbedtls_mpi_lset(&r->MBEDTLS_PRIVATE(Z), 1);
    mbedtls_mpi_free(&r->MBEDTLS_PRIVATE(Y));
    /* RFC 7748, 6.1: the peer's point was of small order. */
    if (rc == 0 && mbedtls_mpi_cmp_int(&r->MBEDTLS_PRIVATE(X), 0) == 0)
        rc = MBEDTLS_ERR_ECP_INVALID_KEY;
    mbedtls_platform_zeroize(secret, sizeof(secret));
    mbedtls_platform_zeroize(product, sizeof(product));
    return rc;
}

int __wrap_mbedtls_ecp_mul_restartable(mbedtls_ecp_group *grp, mbedtls_ecp_point *r,
                                       const mbedtls_mpi *m, const mbedtls_ecp_point *p,
                                       tls_random_fn *f_rng, void *ctx,
                                       mbedtls_ecp_restart_ctx *restart)
{
    return grp->id == MBEDTLS_ECP_DP_CURVE25519
               ? multiply(grp, r, m, p)
               : __real_mbedtls_ecp_mul_restartable(grp, r, m, p, f_rng, ctx, restart);
}

int __wrap_mbedtls_ecp_mul(mbedtls_ecp_group *grp, mbedtls_ecp_point *r, const mbedtls_mpi *m,
                           const mbedtls_ecp_point *p, tls_random_fn *f_rng, void *ctx)
{
    return __wrap_mbedtls_ecp_mul_restartable(grp, r, m, p, f_rng, ctx, NULL);
}
