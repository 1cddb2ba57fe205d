/* CPUID. SDM 2A "CPUID—CPU Identification". */
#pragma once

#include "hv/abi/cpu_faults.h"
#include "hv/types.h"

struct cpuid_regs {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r;

    __asm__ volatile("cpuid"
                     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                     : "a"(leaf), "c"(subleaf));
    return r;
}

/* A leaf from CPUID_EXTENDED on; zeros if the CPU does not have it. */
#define CPUID_EXTENDED 0x80000000u
static inline struct cpuid_regs cpuid_extended(uint32_t leaf)
{
    return leaf <= cpuid(CPUID_EXTENDED, 0).eax ? cpuid(leaf, 0) : (struct cpuid_regs){0};
}

/* The first four letters of GenuineIntel, AuthenticAMD. */
#define CPUID_0_EBX_INTEL        0x756e6547u
#define CPUID_0_EBX_AMD          0x68747541u
#define CPUID_1_ECX_VMX          (1u << 5)
#define CPUID_1_ECX_X2APIC       (1u << 21)
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CPUID_1_ECX_XSAVE        (1u << 26)
#define CPUID_1_ECX_RDRAND       (1u << 30)
#define CPUID_1_ECX_HYPERVISOR   (1u << 31)
#define CPUID_1_EDX_MCA          (1u << 14)
#define CPUID_7_EBX_SMEP         (1u << 7)
#define CPUID_7_EBX_RDSEED       (1u << 18)
#define CPUID_7_EBX_SMAP         (1u << 20)
#define CPUID_7_ECX_UMIP         (1u << 2)
#define CPUID_81_EDX_PAGE_1G     (1u << 26)

/* The processor's name; `brand` has room for 49 bytes. */
static inline void cpuid_brand(char *brand)
{
    for (uint32_t i = 0; i < 3; i++) {
        struct cpuid_regs r = cpuid(0x80000002u + i, 0);

        __builtin_memcpy(brand + i * sizeof(r), &r, sizeof(r));
    }
    brand[3 * sizeof(struct cpuid_regs)] = 0;
}
