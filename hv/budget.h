/*
 * How much text somebody may cause to be written: so many bytes a second, and a burst at once.
 * Pure. What is beyond is for the caller to drop or to put off; nothing here waits.
 */
#pragma once

#include "hv/lib.h"
#include "hv/types.h"

struct budget {
    uint64_t paid; /* absolute: until then it is used up */
};

static inline bool budget_is_open(const struct budget *b, uint64_t now)
{
    return b->paid <= now;
}

/* `byte`: ticks that one takes at the rate; `burst`: bytes. The last text may overdraw it. */
static inline void budget_charge(struct budget *b, uint64_t now, uint64_t bytes, uint64_t byte,
                                 uint64_t burst)
{
    b->paid = max_u64(b->paid, now - min_u64(now, burst * byte)) + bytes * byte;
}
