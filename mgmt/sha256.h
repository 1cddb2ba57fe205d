/* SHA-256's compression function, FIPS 180-4, 6.2.2, as fast as the CPU allows. mbedTLS calls it
 * for each block (MBEDTLS_SHA256_PROCESS_ALT). Pure, but for CPUID. No way takes a branch or reads
 * memory by what is hashed. */
#pragma once

#include "hv/types.h"

enum sha256_way {
    SHA256_PLAIN,
    SHA256_BMI2, /* rotations and AND-NOT into other registers; SSSE3 makes four words at once */
    SHA256_SHA,  /* the instructions for it; they use XMM registers */
    SHA256_WAYS
};

/* What this CPU can do: the last way is the fastest. */
bool sha256_has(enum sha256_way way);
void sha256_compress(enum sha256_way way, uint32_t state[8], const uint8_t block[64]);
