/* What mbedTLS and lwIP's altcp_tls need of the machine: memory, time, entropy. */
#pragma once

#include "hv/types.h"

/* Before any other call of mbedTLS: its arena. False: this CPU has neither RDSEED nor RDRAND, or
 * what they give is not random; then there is nothing that keys could be made of. */
bool tls_port_start(void);

/* The arena, for whoever needs memory before it is mbedTLS's. */
void *tls_port_lend(size_t *size);

/* Random bytes for keys, in the form of mbedTLS's f_rng; `ctx` is not used. 0, or mbedTLS's error.
 * Calls port_work_long(): each of the computations that take long asks for random bytes first. */
int tls_random(void *ctx, unsigned char *out, size_t n);
/* The same for a few bytes that are no key. False: there is no generator, or not yet. */
bool tls_port_draw(void *out, size_t n);
