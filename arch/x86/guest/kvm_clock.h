/*
 * KVM's paravirtual clock, which many systems prefer to anything a PC has: a structure in the
 * guest's memory that turns the TSC into time. Linux kernel documentation "KVM-specific MSRs".
 * Pure; what the guest writes is hostile.
 *
 * All vCPUs read the time since power-on by the same factor from the same TSC: the structure is
 * written once, when the guest asks for it, and again if the guest changes its TSC. The time stands
 * still while the guest is paused if its TSC does.
 */
#pragma once

#include "arch/x86/guest/kvm_clock_abi.h"
#include "hv/gmem.h"
#include "hv/types.h"

/* One vCPU's: what it wrote to the MSRs. */
struct kvm_clock {
    uint64_t wall, time;
};

/* What they say depends on. */
struct kvm_clock_env {
    uint64_t tsc_hz;
    uint64_t power_on; /* the guest's TSC then, without pauses if its TSC stands still in them */
    uint64_t epoch;    /* seconds since 1970 then */
};

/* WRMSR. False: #GP, the structure is not in the guest's memory or not aligned. */
bool kvm_clock_write(struct kvm_clock *c, const struct gmem *m, uint32_t msr, uint64_t value,
                     const struct kvm_clock_env *env);
uint64_t kvm_clock_read(const struct kvm_clock *c, uint32_t msr);
/* The guest has changed its TSC. */
void kvm_clock_update(const struct kvm_clock *c, const struct gmem *m,
                      const struct kvm_clock_env *env);
