/* What the CPU has, as a guest sees it. SDM 2A "CPUID". In a guest each question is an exit. */
#pragma once

#include "arch/x86/cpu/cpuid.h"

#define CPUID_1_ECX_PCLMULQDQ (1u << 1)
#define CPUID_1_ECX_SSSE3     (1u << 9)
#define CPUID_1_ECX_AES       (1u << 25)
#define CPUID_7_EBX_BMI1      (1u << 3)
#define CPUID_7_EBX_BMI2      (1u << 8)
#define CPUID_7_EBX_SHA       (1u << 29)

#define CR4_OSFXSR            (1ul << 9)

static inline bool cpu_has_1_ecx(uint32_t bits)
{
    return (cpuid(1, 0).ecx & bits) == bits;
}

static inline bool cpu_has_7_ebx(uint32_t bits)
{
    return cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & bits) == bits;
}

/* Interrupt handlers do not save these registers: they must not use them. */
static inline void cpu_allow_xmm(void)
{
    uint64_t cr4;

    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" ::"r"(cr4 | CR4_OSFXSR) : "memory");
}
