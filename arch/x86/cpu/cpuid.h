/* The CPUID instruction and the feature bits that the root looks at (SDM 2A "CPUID"). */
#pragma once

#include "hv/types.h"

struct cpuid {
    uint32_t eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid_read(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid c;

    __asm__ volatile("cpuid"
                     : "=a"(c.eax), "=b"(c.ebx), "=c"(c.ecx), "=d"(c.edx)
                     : "a"(leaf), "c"(subleaf));
    return c;
}

/* The leaf, or zeros when the CPU does not have it (basic and extended leaves). */
static inline struct cpuid cpuid_read_if(uint32_t leaf, uint32_t subleaf)
{
    uint32_t highest = cpuid_read(leaf & 0x80000000u, 0).eax;

    if (highest < leaf || (highest ^ leaf) & 0x80000000u)
        return (struct cpuid){0, 0, 0, 0};
    return cpuid_read(leaf, subleaf);
}

#define CPUID_1_ECX_VMX          (1u << 5)
#define CPUID_1_ECX_X2APIC       (1u << 21)
#define CPUID_1_ECX_TSC_DEADLINE (1u << 24)
#define CPUID_1_ECX_XSAVE        (1u << 26)
#define CPUID_1_ECX_OSXSAVE      (1u << 27)
#define CPUID_1_ECX_RDRAND       (1u << 30)
#define CPUID_1_ECX_HYPERVISOR   (1u << 31)
#define CPUID_1_EDX_MSR          (1u << 5)
#define CPUID_1_EDX_MCE          (1u << 7)
#define CPUID_1_EDX_APIC         (1u << 9)
#define CPUID_1_EDX_MCA          (1u << 14)
#define CPUID_1_EDX_PAT          (1u << 16)
#define CPUID_1_EDX_FXSR         (1u << 24)
#define CPUID_1_EDX_SSE          (1u << 25)
#define CPUID_7_EBX_SMEP         (1u << 7)
#define CPUID_7_EBX_SMAP         (1u << 20)
#define CPUID_7_ECX_UMIP         (1u << 2)
#define CPUID_80000001_EDX_NX    (1u << 20)
#define CPUID_80000001_EDX_1G    (1u << 26)
#define CPUID_80000001_EDX_LM    (1u << 29)
