/*
 * A fuzzer's input as bytes and numbers. After its end, a pseudo-random sequence seeded by the
 * input continues for `goes_on` bytes, so that short inputs get far too, each in its own way.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

static const uint8_t *in;
static size_t left, more; /* bytes left of the input, and after it */
static uint32_t sequence;

static inline void sequence_begin(const uint8_t *data, size_t size, size_t goes_on)
{
    in = data;
    left = size;
    more = goes_on;
    sequence = 2166136261u;
}

static inline uint8_t byte(void)
{
    if (left) {
        left--;
        sequence = (sequence ^ *in) * 16777619u;
        return *in++;
    }
    more -= more > 0;
    sequence = sequence * 1664525u + 1013904223u;
    return (uint8_t)(sequence >> 24);
}

/* The first byte is the highest. */
static inline uint64_t number(unsigned bytes)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < bytes; i++)
        v = v << 8 | byte();
    return v;
}
