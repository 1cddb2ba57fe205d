/*
 * What a core's VT-x can do: the raw values of the IA32_VMX_* MSRs, as the management guest sees
 * them, and the decisions made from them. SDM 3D appendix A "VMX Capability Reporting Facility".
 * Pure, except for what it logs and caps_read.c.
 */
#pragma once

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/abi/control.h"
#include "hv/types.h"

/* `cap` is pin, cpu1, cpu2, exit or entry of the capabilities. */
static inline bool vmx_can_set(uint64_t cap, uint32_t bits)
{
    return ((uint32_t)(cap >> 32) & bits) == bits;
}

static inline bool vmx_can_clear(uint64_t cap, uint32_t bits)
{
    return ((uint32_t)cap & bits) == 0;
}

static inline unsigned vmx_cr3_targets(const struct abi_caps *c)
{
    return (unsigned)(c->misc >> 16 & 0x1ff);
}

/* Preemption timer ticks are TSC ticks shifted right by this. */
static inline unsigned vmx_timer_shift(const struct abi_caps *c)
{
    return (unsigned)(c->misc & VMX_MISC_TIMER_SHIFT_MASK);
}

/* Computes a control word: `wanted` as far as possible, plus all must-be-1 bits. -E_NOTSUP: a bit
 * of `required` cannot be 1. */
int vmx_adjust(uint32_t wanted, uint32_t required, uint64_t cap, uint32_t *out) MUST_CHECK;

/* True if it is safe to change the size of a page while code is fetched from it: from
 * CPUID.(7,0):EDX and, if that says the MSR exists, IA32_ARCH_CAPABILITIES. Unknown counts as
 * unsafe, even on CPUs that Intel lists as not affected. SDM 4 "IA32_ARCH_CAPABILITIES",
 * PSCHANGE_MC_NO. */
static inline bool vmx_page_size_changes_are_safe(uint32_t leaf7_edx, uint64_t arch_capabilities)
{
    return (leaf7_edx & CPUID_7_EDX_ARCH_CAPS) &&
           (arch_capabilities & ARCH_CAPABILITIES_PSCHANGE_MC_NO);
}

/* What must be written to IA32_FEATURE_CONTROL so that VMXON is allowed: 0: nothing to do; 1: write
 * *value; -E_PERM: it is locked off. */
int vmx_feature_control(const struct abi_caps *c, uint64_t *value);

/* Logs everything that is missing, then what the user can do about it. 0, or -E_NOTSUP.
 * IA32_FEATURE_CONTROL is judged as it would be after vmx_feature_control(). */
int vmx_caps_check(const struct abi_caps *c, unsigned core);

/* Logs the first MSR in which `c` differs from the boot core's. True when all agree. */
bool vmx_caps_same(const struct abi_caps *boot, const struct abi_caps *c, unsigned core);

/* caps_read.c, not pure. Reads the calling core's capabilities. A value that it does not report is
 * 0. */
void vmx_caps_read(struct abi_caps *c);
/* struct virt_ops' core_probe(). */
int vmx_caps_probe(unsigned core) MUST_CHECK;
/* The capabilities of all cores: core 0's; vmx_caps_probe() checks that the others agree. */
const struct abi_caps *vmx_caps_common(void);
