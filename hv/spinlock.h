/* A test-and-set lock for the few places that two cores may touch. Never taken on the VM-exit path.
 * Interrupts are off in root operation except in the idle HLT, so there is no irqsave variant. */
#pragma once

#include "hv/types.h"

struct spinlock {
    bool held;
};

static inline void spin_lock(struct spinlock *l)
{
    while (__atomic_test_and_set(&l->held, __ATOMIC_ACQUIRE))
        while (__atomic_load_n(&l->held, __ATOMIC_RELAXED))
            __builtin_ia32_pause();
}

static inline void spin_unlock(struct spinlock *l)
{
    __atomic_clear(&l->held, __ATOMIC_RELEASE);
}
