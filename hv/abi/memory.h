/*
 * Where a guest's RAM is: from 0 on, up to the hole for memory-mapped devices, and what does not
 * fit below the hole from 4 GB on.
 */
#pragma once

#include "hv/types.h"

#define MEMORY_HOLE  (3ull << 30) /* where the hole begins */
#define MEMORY_ABOVE (4ull << 30) /* where it ends */

/* The distance of a guest-physical address from the beginning of RAM, the hole not counted; NEVER
 * for one in the hole. */
static inline uint64_t memory_offset(uint64_t gpa)
{
    if (gpa < MEMORY_HOLE)
        return gpa;
    return gpa < MEMORY_ABOVE ? NEVER : gpa - (MEMORY_ABOVE - MEMORY_HOLE);
}

/* How much of `memory` bytes of RAM is below the hole. */
static inline uint64_t memory_below(uint64_t memory)
{
    return min_u64(memory, MEMORY_HOLE);
}
