/* R = m * P, as mbedTLS declares it: with the linker's --wrap its calls lead to __wrap_X, and
 * __real_X is its own function. */
#pragma once

#include "mbedtls/ecp.h"

typedef int tls_random_fn(void *ctx, unsigned char *out, size_t n);

int __wrap_mbedtls_ecp_mul(mbedtls_ecp_group *grp, mbedtls_ecp_point *r, const mbedtls_mpi *m,
                           const mbedtls_ecp_point *p, tls_random_fn *f_rng, void *ctx);
int __wrap_mbedtls_ecp_mul_restartable(mbedtls_ecp_group *grp, mbedtls_ecp_point *r,
                                       const mbedtls_mpi *m, const mbedtls_ecp_point *p,
                                       tls_random_fn *f_rng, void *ctx,
                                       mbedtls_ecp_restart_ctx *restart);
int __real_mbedtls_ecp_mul_restartable(mbedtls_ecp_group *grp, mbedtls_ecp_point *r,
                                       const mbedtls_mpi *m, const mbedtls_ecp_point *p,
                                       tls_random_fn *f_rng, void *ctx,
                                       mbedtls_ecp_restart_ctx *restart);
