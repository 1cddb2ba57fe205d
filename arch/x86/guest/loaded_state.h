/* The part of arch/x86/guest/vcpu_state.h that every vendor's backend does in the same way. */
#pragma once

#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "hv/arch.h"
#include "hv/guest.h"

/* The root does not use these registers: they hold the guest's values while it is loaded here. */
static inline void vcpu_set_xcr0(struct vcpu *v, uint64_t value)
{
    (void)v;
    write_xcr0(value);
}

static inline uint64_t vcpu_get_tsc_aux(const struct vcpu *v)
{
    (void)v;
    return rdmsr(MSR_IA32_TSC_AUX);
}

static inline bool vcpu_random(const struct vcpu *v, bool seed, uint64_t *value)
{
    (void)v;
    return seed ? cpu_rdseed(value) : cpu_rdrand(value);
}

static inline uint64_t vcpu_get_tsc_offset(const struct vcpu *v);

static inline uint64_t vcpu_get_tsc(const struct vcpu *v)
{
    return arch_tsc() + vcpu_get_tsc_offset(v);
}

/* enter.asm tests these bits of RFLAGS; the fixed one is always set. */
static inline void vcpu_watch_ends(struct vcpu *v, bool all)
{
    v->end_flags = (uint32_t)(RFLAGS_TF | RFLAGS_RF | (all ? RFLAGS_FIXED : 0));
}
