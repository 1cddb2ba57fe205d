/*
 * What RDMSR and WRMSR do in a guest for the MSRs that exit. Pure. The MSR bitmap lets the guest's
 * own MSRs through (SYSCALL, SYSENTER, FS/GS base, PAT, EFER, TSC_AUX); any other MSR gives #GP.
 */
#pragma once

#include "hv/types.h"

#define MISC_ENABLE_FAST_STRINGS (1ull << 0)
#define MISC_ENABLE_LIMIT_CPUID  (1ull << 22)
#define MISC_ENABLE_NO_XD        (1ull << 34)

struct msr_policy {
    uint64_t misc_enable;
    uint64_t bios_sign_id;
    uint64_t mtrr_def_type;
};

/* What the owner must do after a write. */
enum msr_result {
    MSR_DONE,
    MSR_FAULT,    /* inject #GP(0) */
    MSR_TSC,      /* the guest's time-stamp counter becomes this value */
    MSR_APIC,     /* it is of the local APIC: x86_apic_read(), x86_apic_write() */
    MSR_DEBUGCTL, /* the guest's IA32_DEBUGCTL becomes this value */
    MSR_CLOCK,    /* kvm_clock_read(), kvm_clock_write() */
    MSR_CPUID,    /* CPUID changes: cpuid_policy_limit() with p->misc_enable */
};

/* After reset. */
void msr_policy_reset(struct msr_policy *p);
/* MSR_DONE with the value, or MSR_FAULT; MSR_DEBUGCTL, MSR_CLOCK, MSR_APIC: the owner reads the
 * value. */
struct msr_read {
    enum msr_result result;
    uint64_t value;
};
struct msr_read msr_policy_read(const struct msr_policy *p, uint32_t msr);
enum msr_result msr_policy_write(struct msr_policy *p, uint32_t msr, uint64_t value);

/* Fills a VMX MSR bitmap (4096 bytes): everything exits except the guest's own MSRs and reads of
 * the TSC. SDM 3C "MSR-Bitmap Address". */
void msr_bitmap_make(uint8_t bitmap[4096]);
/* Lets RDMSR, or WRMSR, of one more MSR through, for which the bitmap has bits. */
void msr_bitmap_allow(uint8_t bitmap[4096], uint32_t msr, bool write);
