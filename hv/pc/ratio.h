/* Multiplication by a fixed fraction without division: for conversions between the TSC and a
 * device's own clock. Pure. */
#pragma once

#include "hv/types.h"

/* value * num / den, as a 64.64 fixed-point factor; num / den < 2^32. */
struct ratio {
    uint64_t whole, fraction;
};

static inline struct ratio ratio_make(uint64_t num, uint64_t den)
{
    struct ratio r = {num / den, 0};
    uint64_t low = 0, rest = num % den;

    /* (rest << 64) / den: fits, since rest < den. C's 128-bit division would need a library. */
    __asm__("divq %2" : "+a"(low), "+d"(rest) : "r"(den) : "cc");
    r.fraction = low;
    return r;
}

/* The same, but slightly too large instead of too small. With one of each kind a round trip loses
 * no unit: a deadline computed with one has been reached when the other converts it. */
static inline struct ratio ratio_make_up(uint64_t num, uint64_t den)
{
    struct ratio r = ratio_make(num, den);

    r.fraction++; /* cannot wrap: it is at most 2^64 - 2^64 / den */
    return r;
}

/* Rounds down; the error is below one for values under 2^64. */
static inline uint64_t ratio_apply(struct ratio r, uint64_t v)
{
    return v * r.whole + (uint64_t)(((unsigned __int128)v * r.fraction) >> 64);
}
