/*
 * Limits the text that one source may write: a rate in bytes per second, and a burst. Pure. The
 * caller drops or delays what exceeds it; nothing here waits.
 */
#pragma once

#include "hv/lib.h"
#include "hv/types.h"

struct budget {
    uint64_t paid; /* absolute: the budget is used up until then */
};

static inline bool budget_is_open(const struct budget *b, uint64_t now)
{
    return b->paid <= now;
}

/* `byte`: ticks per byte at the rate; `burst`: bytes. The last text may overdraw the budget. */
static inline void budget_charge(struct budget *b, uint64_t now, uint64_t bytes, uint64_t byte,
                                 uint64_t burst)
{
    b->paid = max_u64(b->paid, now - min_u64(now, burst * byte)) + bytes * byte;
}
