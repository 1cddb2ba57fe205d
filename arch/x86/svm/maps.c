#include "arch/x86/svm/maps.h"

#include "arch/x86/cpu/msr.h"
#include "hv/lib.h"

#define HIGH_MSRS 0xc0000000u
#define HIGH_BITS (8 * 0x800u) /* where theirs begin */
#define BOTH_BITS 3u           /* reads and writes */

/* Those that the VMCB or the core holds while the vCPU is loaded. Not EFER, which would show SVME;
 * not PAT, which would change the memory type of the guest's accesses; not the TSC, to whose RDMSR
 * not all CPUs add the offset. */
static const uint32_t own_msrs[] = {
    MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP,   MSR_IA32_SYSENTER_EIP, MSR_IA32_STAR,
    MSR_IA32_LSTAR,       MSR_IA32_CSTAR,          MSR_IA32_FMASK,        MSR_IA32_FS_BASE,
    MSR_IA32_GS_BASE,     MSR_IA32_KERNEL_GS_BASE, MSR_IA32_TSC_AUX,
};

void msrpm_make(uint8_t map[MSRPM_SIZE])
{
    memset(map, 0xff, MSRPM_SIZE);
    for (unsigned i = 0; i < ARRAY_LEN(own_msrs); i++) {
        uint32_t msr = own_msrs[i];
        uint32_t bit = msr < HIGH_MSRS ? 2 * msr : HIGH_BITS + 2 * (msr - HIGH_MSRS);

        map[bit / 8] &= (uint8_t) ~(BOTH_BITS << bit % 8);
    }
}
