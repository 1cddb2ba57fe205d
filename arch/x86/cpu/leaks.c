#include "arch/x86/cpu/leaks.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/desc.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"

#define FAMILY_19H 0x19u /* AMD's Zen 3 and 4 */

struct abi_cpu_faults cpu_faults;
static bool found;

static uint64_t read_or_zero(uint32_t msr)
{
    uint64_t v;

    return msr_read_safe(msr, &v) ? 0 : v;
}

/* SDM 3A "Determining the Signature of a Microcode Update": Intel's CPUs write it when they execute
 * CPUID. */
static uint32_t microcode(bool intel)
{
    if (!intel)
        return (uint32_t)read_or_zero(MSR_IA32_BIOS_SIGN_ID);
    if (msr_write_safe(MSR_IA32_BIOS_SIGN_ID, 0))
        return 0;
    (void)cpuid(1, 0);
    return (uint32_t)(read_or_zero(MSR_IA32_BIOS_SIGN_ID) >> 32);
}

static void read_faults(struct abi_cpu_faults *f, bool intel)
{
    struct cpuid_regs seven = {0}, ext21 = cpuid_extended(CPUID_EXTENDED + 0x21);

    if (cpuid(0, 0).eax >= 7)
        seven = cpuid(7, 0);
    f->microcode = microcode(intel);
    f->leaf7_ebx = seven.ebx;
    f->leaf7_edx = seven.edx;
    f->leaf72_edx = seven.eax >= 2 ? cpuid(7, 2).edx : 0;
    f->ext8_ebx = cpuid_extended(CPUID_EXTENDED + 8).ebx;
    f->ext21_eax = ext21.eax;
    f->ext21_ecx = ext21.ecx;
    if (seven.edx & CPUID_7_EDX_ARCH_CAPS)
        f->arch_capabilities = read_or_zero(MSR_IA32_ARCH_CAPABILITIES);
}

/* Who says nothing is taken as affected: flushes and VERW do no harm. */
static uint32_t buffers(const struct abi_cpu_faults *f)
{
    const uint64_t caps = f->arch_capabilities;
    const uint32_t tsa = CPUID_821_ECX_TSA_SQ_NO | CPUID_821_ECX_TSA_L1_NO;
    bool taa = f->leaf7_ebx & CPUID_7_EBX_RTM &&
               !(caps & (ARCH_CAPABILITIES_TAA_NO | ARCH_CAPABILITIES_TSX_CTRL));

    /* It clears what VERW clears, too. */
    if (f->leaf7_edx & CPUID_7_EDX_L1D_FLUSH &&
        !(caps & (ARCH_CAPABILITIES_RDCL_NO | ARCH_CAPABILITIES_SKIP_L1DFL)))
        return ABI_MEASURE_L1D;
    if (f->leaf7_edx & CPUID_7_EDX_MD_CLEAR && (taa || !(caps & ARCH_CAPABILITIES_MDS_NO)))
        return ABI_MEASURE_VERW;
    if (caps & ARCH_CAPABILITIES_RFDS_CLEAR && !(caps & ARCH_CAPABILITIES_RFDS_NO))
        return ABI_MEASURE_VERW;
    /* VERW_CLEAR is for hypervisors to set: microcode with which VERW clears buffers does not. */
    if (signature_family(cpuid(1, 0).eax) == FAMILY_19H && (f->ext21_ecx & tsa) != tsa)
        return ABI_MEASURE_VERW;
    return 0;
}

/* What guests do must not steer the root's branches. */
static uint32_t branches(const struct abi_cpu_faults *f, bool intel)
{
    const uint64_t caps = f->arch_capabilities;
    uint32_t m = 0;

    if (f->leaf7_edx & CPUID_7_EDX_SPEC_CTRL || f->ext8_ebx & CPUID_88_EBX_IBPB)
        m |= ABI_MEASURE_IBPB;
    if (f->leaf72_edx & CPUID_72_EDX_BHI_CTRL && !(caps & ARCH_CAPABILITIES_BHI_NO))
        m |= ABI_MEASURE_BHI_DIS_S;
    if (f->ext21_eax & CPUID_821_EAX_AUTOMATIC_IBRS)
        return m | ABI_MEASURE_AUTO_IBRS;
    if (f->ext8_ebx & CPUID_88_EBX_IBRS_ALWAYS_ON)
        return m | ABI_MEASURE_IBRS;
    if (!intel || !(f->leaf7_edx & CPUID_7_EDX_SPEC_CTRL))
        return m;
    if (!(caps & ARCH_CAPABILITIES_IBRS_ALL))
        return m | ABI_MEASURE_IBRS_EXITS | ABI_MEASURE_RETURNS;
    return m | ABI_MEASURE_IBRS | (caps & ARCH_CAPABILITIES_PBRSB_NO ? 0 : ABI_MEASURE_RETURN);
}

static void find(struct abi_cpu_faults *f)
{
    bool intel = cpuid(0, 0).ebx == CPUID_0_EBX_INTEL;

    read_faults(f, intel);
    f->measures = buffers(f) | branches(f, intel);
    if (f->arch_capabilities & ARCH_CAPABILITIES_TSX_CTRL)
        f->measures |= ABI_MEASURE_NO_TSX;
}

void leaks_set_up_core(void)
{
    uint64_t spec_ctrl = 0;

    if (!found)
        find(&cpu_faults);
    found = true;
    if (cpu_faults.measures & ABI_MEASURE_IBRS)
        spec_ctrl |= SPEC_CTRL_IBRS;
    if (cpu_faults.measures & ABI_MEASURE_BHI_DIS_S)
        spec_ctrl |= SPEC_CTRL_BHI_DIS_S;
    if (spec_ctrl)
        msr_change(MSR_IA32_SPEC_CTRL, 0, spec_ctrl);
    if (cpu_faults.measures & ABI_MEASURE_AUTO_IBRS)
        msr_change(MSR_IA32_EFER, 0, EFER_AIBRSE);
    if (cpu_faults.measures & ABI_MEASURE_NO_TSX)
        msr_change(MSR_IA32_TSX_CTRL, 0, TSX_CTRL_RTM_DISABLE | TSX_CTRL_CPUID_CLEAR);
}

void leaks_change_guest(void)
{
    uint32_t quotient = 0, rest = 0;

    if (cpu_faults.measures & ABI_MEASURE_IBPB)
        (void)!msr_write_safe(MSR_IA32_PRED_CMD, PRED_CMD_IBPB);
    /* Zen 1 shows the quotient of its last division to one by zero. */
    __asm__ volatile("divl %2" : "+a"(quotient), "+d"(rest) : "r"(1u) : "cc");
}

void leaks_clear_buffers(void)
{
    static const uint16_t data = SEL_DATA;

    if (cpu_faults.measures & ABI_MEASURE_L1D)
        (void)!msr_write_safe(MSR_IA32_FLUSH_CMD, FLUSH_CMD_L1D);
    else
        cpu_verw(&data);
}
