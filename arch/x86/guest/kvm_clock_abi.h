/* KVM's paravirtual clock as a guest sees it: Linux kernel documentation "KVM-specific MSRs".
 * Depends on nothing else here: guests use it too (iso/sdk/). */
#pragma once

#include <stdint.h>

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
