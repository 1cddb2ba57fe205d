#include "arch/x86/cpu/machine_check.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/errata.h"
#include "arch/x86/cpu/msr.h"

#define BANK_COUNT    0xffu
#define MCIP          (1ull << 2)
#define OVERFLOW      (1ull << 62)
#define L1_MULTIMATCH 0xb600000000010015ull
#define FAMILY_10H    0x10u /* AMD's, but for CPUs without SVM */
#define CTL_EXISTS    (1u << 8)
#define ALL           UINT64_MAX
#define FAMILY_P6     0x6u
#define MODEL_NEHALEM 0x1au
#define FAMILY(eax)   ((eax) >> 8 & 0xf)
#define MODEL(eax)    (((eax) >> 4 & 0xf) | ((eax) >> 12 & 0xf0))

void machine_check_enable(void)
{
    struct cpuid_regs one = cpuid(1, 0);
    bool bank0_is_firmwares = FAMILY(one.eax) == FAMILY_P6 && MODEL(one.eax) < MODEL_NEHALEM;
    uint64_t cap;

    if (!(one.edx & CPUID_1_EDX_MCA) || msr_read_safe(MSR_IA32_MCG_CAP, &cap))
        return;
    if (cap & CTL_EXISTS)
        (void)!msr_write_safe(MSR_IA32_MCG_CTL, ALL);
    for (uint32_t bank = bank0_is_firmwares; bank < (cap & BANK_COUNT); bank++)
        (void)!msr_write_safe(MSR_IA32_MC0_CTL + 4 * bank, ALL);
}

/* AMD, "Revision Guide for AMD Family 10h Processors", erratum 383: the L1 TLB has two entries for
 * an address. */
bool machine_check_is_guests(void)
{
    uint64_t status, cap;

    if (signature_family(cpuid(1, 0).eax) != FAMILY_10H ||
        msr_read_safe(MSR_IA32_MC0_STATUS, &status) || (status & ~OVERFLOW) != L1_MULTIMATCH ||
        msr_read_safe(MSR_IA32_MCG_CAP, &cap))
        return false;
    for (uint32_t bank = 0; bank < (cap & BANK_COUNT); bank++)
        (void)!msr_write_safe(MSR_IA32_MC0_STATUS + 4 * bank, 0);
    msr_change(MSR_IA32_MCG_STATUS, MCIP, 0);
    return true;
}
