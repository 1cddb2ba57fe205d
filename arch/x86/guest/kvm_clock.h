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

#include "hv/gmem.h"
#include "hv/types.h"

#define MSR_KVM_WALL_CLOCK   0x4b564d00u
#define MSR_KVM_SYSTEM_TIME  0x4b564d01u
/* CPUID 0x40000001 EAX. */
#define KVM_NO_IO_DELAY      (1u << 1)  /* ports need no delay, such as by port 0x80 */
#define KVM_CLOCKSOURCE2     (1u << 3)  /* these two MSRs */
#define KVM_CLOCKSOURCE_SAME (1u << 24) /* KVM_CLOCK_SAME will be set */

#define KVM_TIME_ENABLE      1ull /* bit of the system-time MSR; the rest is an address */
#define KVM_CLOCK_SAME       1u   /* the time never differs between vCPUs */

struct kvm_system_time {
    uint32_t version; /* odd: it is being changed */
    uint32_t pad;
    uint64_t tsc, time; /* at this TSC value it was so many ns */
    uint32_t multiplier;
    int8_t shift; /* ns = (TSC << shift) * multiplier >> 32 */
    uint8_t flags;
    uint8_t pad2[2];
};

struct kvm_wall_clock {
    uint32_t version, seconds, nanoseconds; /* at system time 0, since 1970 */
};

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
