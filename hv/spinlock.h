/*
 * A ticket lock for the few places that two cores may touch. Cores get it in the order they ask, so
 * none waits longer than for each other core once; a holder's work is short and bounded.
 * hv/README.md lists where one is taken between a VM exit and the next entry. Interrupts are off in
 * root operation except in the idle HLT, so there is no irqsave variant.
 */
#pragma once

#include "hv/types.h"

struct spinlock {
    uint32_t next, served; /* tickets: the next to be given out, the one whose turn it is */
};

static inline void spin_lock(struct spinlock *l)
{
    uint32_t mine = __atomic_fetch_add(&l->next, 1, __ATOMIC_RELAXED);

    while (__atomic_load_n(&l->served, __ATOMIC_ACQUIRE) != mine)
        __builtin_ia32_pause();
}

static inline void spin_unlock(struct spinlock *l)
{
    __atomic_store_n(&l->served, l->served + 1, __ATOMIC_RELEASE);
}
