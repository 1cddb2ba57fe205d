/* What mbedTLS and lwIP's altcp_tls need of the machine: memory, time, entropy. */
#pragma once

#include "hv/types.h"

/* Sets up mbedTLS's arena; call it before any other mbedTLS call. False: this CPU has neither
 * RDSEED nor RDRAND, or their output is not random, so no keys can be made. */
bool tls_port_start(void);

/* The arena, for code that needs memory before mbedTLS does. */
void *tls_port_lend(size_t *size);

/* Random bytes for keys, in the form of mbedTLS's f_rng; `ctx` is unused. 0, or mbedTLS's error.
 * Calls port_work_long(): every long computation asks for random bytes first. */
int tls_random(void *ctx, unsigned char *out, size_t n);
/* A few random bytes, not for keys. False: there is no generator, or not yet. */
bool tls_port_draw(void *out, size_t n);
