/*
 * The Internet checksum, RFC 1071: sums of 16-bit words as they lie in memory, the last byte
 * alone if there is one. Pure.
 */
#pragma once

#include "hv/lib.h"

static inline uint64_t checksum_add(uint64_t sum, uint64_t more)
{
    return __builtin_add_overflow(sum, more, &sum) ? sum + 1 : sum;
}

/* Eight bytes at a time: 2^16 leaves the remainder 1, so it does not matter how the words are
 * grouped. */
static inline uint64_t checksum_add_bytes(uint64_t sum, const uint8_t *p, size_t n)
{
    for (; n >= 32; n -= 32, p += 32) {
        sum = checksum_add(sum, get_le64(p));
        sum = checksum_add(sum, get_le64(p + 8));
        sum = checksum_add(sum, get_le64(p + 16));
        sum = checksum_add(sum, get_le64(p + 24));
    }
    for (; n >= 8; n -= 8, p += 8)
        sum = checksum_add(sum, get_le64(p));
    for (; n >= 2; n -= 2, p += 2)
        sum = checksum_add(sum, get_le16(p));
    return n ? checksum_add(sum, *p) : sum;
}

/* The sum in 16 bits, not inverted. 0 only for 0. */
static inline uint16_t checksum_fold(uint64_t sum)
{
    for (unsigned i = 0; i < 4; i++)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}
