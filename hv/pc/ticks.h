/*
 * Ticks of a periodic timer that came while the guest could not take them, because it had no core
 * or had not taken the one before. They are made up for, or merged into one ("timer_ticks" of its
 * configuration). Pure.
 *
 * At most TICKS_OWED_MAX are owed to a guest; what is more is merged. Each comes after the one
 * before has been taken. The timer looks for that 2^TICKS_SHIFT times in its period, and when the
 * guest accesses it: a guest that has at least a sixteenth of its core keeps up. To an interrupt
 * that is masked nothing is owed.
 */
#pragma once

#include "hv/pc/device.h"

#define TICKS_OWED_MAX 10000u
#define TICKS_SHIFT    4

struct ticks {
    bool merge;
    uint32_t owed;
};

/* `periods` more have ended; `line` is the state of the timer's interrupt. True: raise it now. */
static inline bool ticks_due(struct ticks *t, uint64_t periods, enum irq_state line)
{
    if (t->merge || line == IRQ_MASKED) {
        t->owed = 0;
        return periods;
    }
    t->owed = (uint32_t)min_u64(t->owed + periods, TICKS_OWED_MAX);
    if (t->owed == 0 || line == IRQ_WAITS)
        return false;
    t->owed--;
    return true;
}

/* When to call ticks_due() again: at the end of the running period, or before, if some are owed.
 * All in the timer's own units. */
static inline uint64_t ticks_next(const struct ticks *t, uint64_t now, uint64_t end,
                                  uint64_t period)
{
    return t->owed ? min_u64(end, now + max_u64(period >> TICKS_SHIFT, 1)) : end;
}
