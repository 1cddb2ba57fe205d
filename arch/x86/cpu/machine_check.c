#include "arch/x86/cpu/machine_check.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"

#define BANK_COUNT    0xffu
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
