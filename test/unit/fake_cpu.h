/* A CPU for host tests: MSRs that exist or do not, CPUID, VERW. Include it, then the source under
 * test. */
#pragma once

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define FAKE_MSRS   10u
#define FAKE_LEAVES 16u

static struct {
    struct {
        uint32_t number;
        uint64_t value;
        unsigned writes;
    } msr[FAKE_MSRS];
    struct {
        uint32_t leaf, subleaf;
        struct cpuid_regs r;
    } leaf[FAKE_LEAVES];
    unsigned msrs, leaves, verws, wrong_writes;
    uint64_t revision; /* what CPUID writes to IA32_BIOS_SIGN_ID, if that exists; 0: nothing */
} fake_cpu;

static void fake_msr(uint32_t number, uint64_t value)
{
    assert_true(fake_cpu.msrs < FAKE_MSRS);
    fake_cpu.msr[fake_cpu.msrs].number = number;
    fake_cpu.msr[fake_cpu.msrs++].value = value;
}

static unsigned fake_msr_at(uint32_t number)
{
    unsigned i = 0;

    while (i < fake_cpu.msrs && fake_cpu.msr[i].number != number)
        i++;
    return i;
}

static uint64_t fake_value(uint32_t number)
{
    unsigned i = fake_msr_at(number);

    assert_true(i < fake_cpu.msrs);
    return fake_cpu.msr[i].value;
}

static unsigned fake_writes(uint32_t number)
{
    unsigned i = fake_msr_at(number);

    assert_true(i < fake_cpu.msrs);
    return fake_cpu.msr[i].writes;
}

int msr_read_safe(uint32_t msr, uint64_t *v)
{
    unsigned i = fake_msr_at(msr);

    *v = i < fake_cpu.msrs ? fake_cpu.msr[i].value : 0;
    return i < fake_cpu.msrs ? 0 : -E_NOTSUP;
}

int msr_write_safe(uint32_t msr, uint64_t v)
{
    unsigned i = fake_msr_at(msr);

    if (i == fake_cpu.msrs) {
        fake_cpu.wrong_writes++;
        return -E_NOTSUP;
    }
    fake_cpu.msr[i].value = v;
    fake_cpu.msr[i].writes++;
    return 0;
}

static inline void fake_leaf(uint32_t leaf, uint32_t subleaf, struct cpuid_regs r)
{
    assert_true(fake_cpu.leaves < FAKE_LEAVES);
    fake_cpu.leaf[fake_cpu.leaves].leaf = leaf;
    fake_cpu.leaf[fake_cpu.leaves].subleaf = subleaf;
    fake_cpu.leaf[fake_cpu.leaves++].r = r;
}

static inline struct cpuid_regs fake_cpuid(uint32_t leaf, uint32_t subleaf)
{
    unsigned sign = fake_msr_at(MSR_IA32_BIOS_SIGN_ID);

    if (leaf == 1 && sign < fake_cpu.msrs && fake_cpu.revision)
        fake_cpu.msr[sign].value = fake_cpu.revision << 32;
    for (unsigned i = 0; i < fake_cpu.leaves; i++)
        if (fake_cpu.leaf[i].leaf == leaf && fake_cpu.leaf[i].subleaf == subleaf)
            return fake_cpu.leaf[i].r;
    return (struct cpuid_regs){0};
}

static inline struct cpuid_regs fake_extended(uint32_t leaf)
{
    return leaf <= fake_cpuid(CPUID_EXTENDED, 0).eax ? fake_cpuid(leaf, 0) : (struct cpuid_regs){0};
}

static inline int fake_cpu_new(void **state)
{
    (void)state;
    memset(&fake_cpu, 0, sizeof(fake_cpu));
    return 0;
}

#define cpuid          fake_cpuid
#define cpuid_extended fake_extended
#define cpu_verw(s)    ((void)*(s), fake_cpu.verws++)
