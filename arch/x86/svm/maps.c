#include "arch/x86/svm/maps.h"

#include "arch/x86/cpu/msr.h"
#include "hv/lib.h"

#define RANGE_MSRS  0x2000u
#define RANGE_BYTES 0x800u
#define READ_BIT    1u
#define WRITE_BIT   2u

/* Those that the VMCB or the core holds while the vCPU is loaded. Not EFER, which would show SVME;
 * not PAT, which would change the memory type of the guest's accesses; not the TSC, to whose RDMSR
 * not all CPUs add the offset. */
static const uint32_t own_msrs[] = {
    MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP,   MSR_IA32_SYSENTER_EIP, MSR_IA32_STAR,
    MSR_IA32_LSTAR,       MSR_IA32_CSTAR,          MSR_IA32_FMASK,        MSR_IA32_FS_BASE,
    MSR_IA32_GS_BASE,     MSR_IA32_KERNEL_GS_BASE, MSR_IA32_TSC_AUX,
};

/* The place of an MSR's two bits; MSRPM_SIZE * 8: the map has none. */
static uint32_t bit_of(uint32_t msr)
{
    static const uint32_t first[] = {0, 0xc0000000u, 0xc0010000u};

    for (uint32_t i = 0; i < ARRAY_LEN(first); i++)
        if (msr - first[i] < RANGE_MSRS)
            return i * RANGE_BYTES * 8 + (msr - first[i]) * 2;
    return MSRPM_SIZE * 8;
}

void msrpm_make(uint8_t map[MSRPM_SIZE])
{
    memset(map, 0xff, MSRPM_SIZE);
    for (unsigned i = 0; i < ARRAY_LEN(own_msrs); i++) {
        uint32_t bit = bit_of(own_msrs[i]);

        map[bit / 8] &= (uint8_t) ~((READ_BIT | WRITE_BIT) << bit % 8);
    }
}

bool msrpm_exits(const uint8_t map[MSRPM_SIZE], uint32_t msr, bool write)
{
    uint32_t bit = bit_of(msr);

    return bit == MSRPM_SIZE * 8 ||
           ((uint32_t)map[bit / 8] >> bit % 8 & (write ? WRITE_BIT : READ_BIT));
}
