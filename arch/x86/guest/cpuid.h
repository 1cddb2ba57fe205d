/*
 * What CPUID tells a guest: computed once for each vCPU from the hardware's values, looked up at
 * each exit. Pure.
 */
#pragma once

#include "arch/x86/cpu/cpuid.h"
#include "hv/types.h"

#define CPUID_BASIC_MAX       0x16u
#define CPUID_CACHE           4u /* the leaf */
#define CPUID_CACHE_LEVELS    4u
#define CPUID_XSAVE_SUBLEAFS  8u
#define CPUID_TOPOLOGY_LEVELS 3u
#define CPUID_EXTENDED_MAX    8u
#define CPUID_HYPERVISOR      0x40000000u
#define CPUID_HYPERVISORS     0x10000000u /* this many leaves are theirs */
#define CPUID_HYPERVISOR_MAX  0x10u
#define CPUID_HYPERVISOR_OWN  (CPUID_HYPERVISOR + 0x100)

/* Components of the extended state. SDM 1 "XSAVE-Supported Features and State-Component Bitmaps" */
#define XCR0_X87              (1ull << 0)
#define XCR0_SSE              (1ull << 1)
#define XCR0_AVX              (1ull << 2)
#define XCR0_AVX512           (7ull << 5) /* opmask, ZMM_Hi256, Hi16_ZMM: all or none */
#define XCR0_LAST_AVX512      7u

struct cpuid_policy {
    uint32_t xd;    /* execute-disable in leaf 80000001H, if it exists */
    bool intel;     /* above the highest leaf the CPU answers with the highest basic one */
    uint32_t plain; /* bit n: basic leaf n looks the same for all subleaves */
    struct cpuid_regs basic[CPUID_BASIC_MAX + 1];
    struct cpuid_regs cache[CPUID_CACHE_LEVELS];       /* leaf 4 */
    struct cpuid_regs xsave[CPUID_XSAVE_SUBLEAFS];     /* leaf 0xd */
    struct cpuid_regs features1;                       /* leaf 7, subleaf 1 */
    struct cpuid_regs topology[CPUID_TOPOLOGY_LEVELS]; /* leaf 0xb */
    struct cpuid_regs extended[CPUID_EXTENDED_MAX + 1];
    struct cpuid_regs hypervisor[CPUID_HYPERVISOR_MAX + 1], own; /* KVM's, and our name */
};

/* What the backend can offer a guest. */
struct cpuid_env {
    struct cpuid_regs (*host)(uint32_t leaf, uint32_t subleaf); /* answers as the hardware does */
    uint64_t tsc_hz;
    uint64_t xcr0;        /* components that guests may enable; 0: no XSAVE */
    bool invpcid;         /* the instruction works in guests; with it PCID is offered */
    bool rdtscp;          /* RDTSCP and RDPID work in guests */
    bool apic;            /* the guest has local APICs */
    uint32_t vcpu, vcpus; /* its number, which is its APIC id, and how many the guest has */
};

/* The state after reset: CR4.OSXSAVE clear, XCR0 = x87. */
void cpuid_policy_make(struct cpuid_policy *p, const struct cpuid_env *env);
/* CPUID reports these registers: call when the guest changes them. */
void cpuid_policy_osxsave(struct cpuid_policy *p, bool osxsave);
void cpuid_policy_apic(struct cpuid_policy *p, bool enabled); /* IA32_APIC_BASE.EN */
void cpuid_policy_xcr0(struct cpuid_policy *p, uint64_t xcr0);
/* IA32_MISC_ENABLE has "Limit CPUID Maxval" or "XD Bit Disable" set. */
void cpuid_policy_limit(struct cpuid_policy *p, bool limit, bool no_xd);
/* SDM 2A "CPUID": a leaf above the maximum of its range reads as the highest basic one (Intel), or
 * as zero, as leaves below the maximum and those of hypervisors do that do not exist. */
const struct cpuid_regs *cpuid_policy_lookup(const struct cpuid_policy *p, uint32_t leaf,
                                             uint32_t subleaf);

/* True if a guest may write this to XCR0 when `allowed` components exist. SDM 2B "XSETBV". */
bool xcr0_valid(uint64_t xcr0, uint64_t allowed);
