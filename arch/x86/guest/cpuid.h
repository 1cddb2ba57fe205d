/*
 * What CPUID says to a guest: computed once for each vCPU from what the hardware says, looked up at
 * each exit. Pure.
 */
#pragma once

#include "arch/x86/cpu/cpuid.h"
#include "hv/types.h"

#define CPUID_BASIC_MAX      0x16u
#define CPUID_EXTENDED       0x80000000u
#define CPUID_EXTENDED_MAX   8u
#define CPUID_HYPERVISOR     0x40000000u
#define CPUID_HYPERVISOR_MAX 0x10u

struct cpuid_policy {
    struct cpuid_regs basic[CPUID_BASIC_MAX + 1];
    struct cpuid_regs extended[CPUID_EXTENDED_MAX + 1];
    struct cpuid_regs hypervisor[2]; /* the first leaf and the last */
};

/* `host` answers as the hardware does. */
void cpuid_policy_make(struct cpuid_policy *p,
                       struct cpuid_regs (*host)(uint32_t leaf, uint32_t subleaf), uint64_t tsc_hz);
/* Leaves that are not there are all zero. */
const struct cpuid_regs *cpuid_policy_lookup(const struct cpuid_policy *p, uint32_t leaf,
                                             uint32_t subleaf);
