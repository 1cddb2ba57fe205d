/* Model-specific registers by their SDM names (SDM 4 "Model-Specific Registers"), and access to
 * them. */
#pragma once

#include "hv/types.h"

#define MSR_IA32_PLATFORM_ID             0x017u
#define MSR_IA32_APIC_BASE               0x01bu
#define MSR_IA32_FEATURE_CONTROL         0x03au
#define MSR_IA32_SPEC_CTRL               0x048u
#define SPEC_CTRL_IBRS                   (1ull << 0)
#define SPEC_CTRL_BHI_DIS_S              (1ull << 10)
#define MSR_IA32_PRED_CMD                0x049u
#define PRED_CMD_IBPB                    (1ull << 0)
#define MSR_IA32_BIOS_SIGN_ID            0x08bu /* AMD: PATCH_LEVEL */
#define MSR_PLATFORM_INFO                0x0ceu
#define MSR_IA32_MTRRCAP                 0x0feu
#define MSR_IA32_ARCH_CAPABILITIES       0x10au
#define MSR_IA32_FLUSH_CMD               0x10bu
#define FLUSH_CMD_L1D                    (1ull << 0)
#define MSR_IA32_TSX_CTRL                0x122u
#define TSX_CTRL_RTM_DISABLE             (1ull << 0)
#define TSX_CTRL_CPUID_CLEAR             (1ull << 1)
#define MSR_IA32_SYSENTER_CS             0x174u
#define MSR_IA32_SYSENTER_ESP            0x175u
#define MSR_IA32_SYSENTER_EIP            0x176u
#define MSR_IA32_MCG_CAP                 0x179u
#define MSR_IA32_MCG_STATUS              0x17au
#define MSR_IA32_MCG_CTL                 0x17bu
#define MSR_IA32_MISC_ENABLE             0x1a0u
#define MSR_IA32_DEBUGCTL                0x1d9u
#define DEBUGCTL_LBR                     (1ull << 0)
#define DEBUGCTL_BTF                     (1ull << 1)
#define MSR_IA32_PAT                     0x277u
#define MSR_IA32_MTRR_DEF_TYPE           0x2ffu
#define MSR_IA32_MC0_CTL                 0x400u
#define MSR_IA32_MC0_STATUS              0x401u
#define MSR_IA32_MC0_ADDR                0x402u
#define MSR_IA32_MC0_MISC                0x403u
#define MSR_IA32_VMX_BASIC               0x480u
#define MSR_IA32_VMX_PINBASED_CTLS       0x481u
#define MSR_IA32_VMX_PROCBASED_CTLS      0x482u
#define MSR_IA32_VMX_EXIT_CTLS           0x483u
#define MSR_IA32_VMX_ENTRY_CTLS          0x484u
#define MSR_IA32_VMX_MISC                0x485u
#define MSR_IA32_VMX_CR0_FIXED0          0x486u
#define MSR_IA32_VMX_CR0_FIXED1          0x487u
#define MSR_IA32_VMX_CR4_FIXED0          0x488u
#define MSR_IA32_VMX_CR4_FIXED1          0x489u
#define MSR_IA32_VMX_VMCS_ENUM           0x48au
#define MSR_IA32_VMX_PROCBASED_CTLS2     0x48bu
#define MSR_IA32_VMX_EPT_VPID_CAP        0x48cu
#define MSR_IA32_VMX_TRUE_PINBASED_CTLS  0x48du
#define MSR_IA32_VMX_TRUE_PROCBASED_CTLS 0x48eu
#define MSR_IA32_VMX_TRUE_EXIT_CTLS      0x48fu
#define MSR_IA32_VMX_TRUE_ENTRY_CTLS     0x490u
#define MSR_IA32_VMX_VMFUNC              0x491u
#define MSR_IA32_VMX_PROCBASED_CTLS3     0x492u
#define MSR_IA32_VMX_EXIT_CTLS2          0x493u
#define MSR_IA32_TSC_DEADLINE            0x6e0u
#define MSR_IA32_X2APIC_BASE             0x800u /* X2APIC_MSRS from here on */
#define X2APIC_MSRS                      0x100u
#define MSR_IA32_EFER                    0xc0000080u
#define MSR_IA32_STAR                    0xc0000081u
#define MSR_IA32_LSTAR                   0xc0000082u
#define MSR_IA32_CSTAR                   0xc0000083u
#define MSR_IA32_FMASK                   0xc0000084u
#define MSR_IA32_FS_BASE                 0xc0000100u
#define MSR_IA32_GS_BASE                 0xc0000101u
#define MSR_IA32_KERNEL_GS_BASE          0xc0000102u
#define MSR_IA32_TSC_AUX                 0xc0000103u

#define MSR_AMD_SYSCFG                   0xc0010010u
#define MSR_AMD_HWCR                     0xc0010015u
#define HWCR_TSC_FREQ_SEL                (1ull << 24)
#define MSR_AMD_NB_CFG                   0xc001001fu
#define MSR_AMD_INT_PENDING              0xc0010055u
#define MSR_AMD_PSTATE_DEF0              0xc0010064u
#define PSTATE_EN                        (1ull << 63)
#define MSR_AMD_LS_CFG                   0xc0011020u
#define MSR_AMD_DC_CFG                   0xc0011022u
#define MSR_AMD_FP_CFG                   0xc0011028u
#define MSR_AMD_DE_CFG                   0xc0011029u
#define MSR_AMD_BP_CFG                   0xc001102eu
#define MSR_AMD_DE_CFG2                  0xc00110e3u

#define EFER_SCE                         (1ull << 0)
#define EFER_LME                         (1ull << 8)
#define EFER_LMA                         (1ull << 10)
#define EFER_NXE                         (1ull << 11)
#define EFER_AIBRSE                      (1ull << 21)

#define APIC_BASE_X2APIC                 (1ull << 10)
#define APIC_BASE_EN                     (1ull << 11)

/* IA32_PAT after reset: WB, WT, UC-, UC, twice. */
#define PAT_RESET_VALUE                  0x0007040600070406ull
/* The root's: write-combining instead of WT. */
#define PAT_HOST                         0x0007010600070106ull
#define APIC_BASE_ADDRESS                0x000ffffffffff000ull

static inline uint64_t rdmsr(uint32_t msr)
{
    uint32_t lo, hi;

    __asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
    return (uint64_t)hi << 32 | lo;
}

static inline void wrmsr(uint32_t msr, uint64_t v)
{
    __asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32)) : "memory");
}

/* The same for an MSR that may not exist: -E_NOTSUP instead of #GP (fixed up by the exception
 * handler). */
int msr_read_safe(uint32_t msr, uint64_t *v) MUST_CHECK;
int msr_write_safe(uint32_t msr, uint64_t v) MUST_CHECK;

/* Clears and sets bits of an MSR that may not exist. */
static inline void msr_change(uint32_t msr, uint64_t clear, uint64_t set)
{
    uint64_t old, changed;

    if (msr_read_safe(msr, &old))
        return;
    changed = (old & ~clear) | set;
    if (changed != old)
        (void)!msr_write_safe(msr, changed);
}
