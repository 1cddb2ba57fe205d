#include "arch/x86/guest/msr.h"

#include "arch/x86/cpu/msr.h"
#include "arch/x86/guest/kvm_clock.h"
#include "hv/lib.h"

#define BITMAP_SIZE             4096u
#define BITMAP_READ_HIGH        1024u
#define BITMAP_WRITE_LOW        2048u
#define BITMAP_MSRS             0x2000u
#define MSR_HIGH                0xc0000000u

#define MSR_IA32_TSC            0x010u
#define MSR_IA32_BIOS_UPDT_TRIG 0x079u
#define MISC_ENABLE_NO_BTS      (1ull << 11) /* read-only, as the next */
#define MISC_ENABLE_NO_PEBS     (1ull << 12)
/* Thermal control, SpeedStep, MONITOR, xTPR messages: kept as written, without effect. */
#define MISC_ENABLE_KEPT        (1ull << 3 | 1ull << 16 | 1ull << 18 | 1ull << 23)
#define MISC_ENABLE_WRITABLE                                                                       \
    (MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_LIMIT_CPUID | MISC_ENABLE_NO_XD | MISC_ENABLE_KEPT)
#define FEATURE_CONTROL_LOCKED_OFF 1ull
#define MICROCODE_REVISION         (1ull << 32) /* in the high half: any value except 0 */
/* No MTRR but the default type, which counts for nothing where EPT gives the type of memory;
 * kernels turn it on all the same, some without asking CPUID. At first as firmware leaves it:
 * write-back. */
#define MTRRCAP_NONE               0ull
#define MTRR_DEF_TYPE_VALID        0xcffull
#define MTRR_DEF_TYPE_RESET        0x806ull
#define MTRR_TYPES                 0x73u /* UC, WC, WT, WP, WB; the others are reserved */

/* All of these are switched: in the VMCS, or lazily when another vCPU runs on the core. */
static const uint32_t own_msrs[] = {
    MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, MSR_IA32_PAT,
    MSR_IA32_EFER,        MSR_IA32_STAR,         MSR_IA32_LSTAR,        MSR_IA32_CSTAR,
    MSR_IA32_FMASK,       MSR_IA32_FS_BASE,      MSR_IA32_GS_BASE,      MSR_IA32_KERNEL_GS_BASE,
    MSR_IA32_TSC_AUX,
};

void msr_policy_reset(struct msr_policy *p)
{
    *p = (struct msr_policy){
        .misc_enable = MISC_ENABLE_FAST_STRINGS | MISC_ENABLE_NO_BTS | MISC_ENABLE_NO_PEBS,
        .bios_sign_id = MICROCODE_REVISION,
        .mtrr_def_type = MTRR_DEF_TYPE_RESET,
    };
}

static bool is_apic(uint32_t msr)
{
    return msr == MSR_IA32_APIC_BASE || msr == MSR_IA32_TSC_DEADLINE ||
           msr - MSR_IA32_X2APIC_BASE < X2APIC_MSRS;
}

static __attribute__((noinline)) struct msr_read read_rare(const struct msr_policy *p, uint32_t msr)
{
    switch (msr) {
    case MSR_IA32_MTRRCAP:
        return (struct msr_read){MSR_DONE, MTRRCAP_NONE};
    case MSR_IA32_MTRR_DEF_TYPE:
        return (struct msr_read){MSR_DONE, p->mtrr_def_type};
    case MSR_IA32_DEBUGCTL:
        return (struct msr_read){MSR_DEBUGCTL, 0};
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_SYSTEM_TIME:
        return (struct msr_read){MSR_CLOCK, 0};
    default:
        return (struct msr_read){is_apic(msr) ? MSR_APIC : MSR_FAULT, 0};
    }
}

struct msr_read msr_policy_read(const struct msr_policy *p, uint32_t msr)
{
    switch (msr) {
    case MSR_IA32_PLATFORM_ID:
        return (struct msr_read){MSR_DONE, 0};
    case MSR_IA32_FEATURE_CONTROL:
        return (struct msr_read){MSR_DONE, FEATURE_CONTROL_LOCKED_OFF};
    case MSR_IA32_BIOS_SIGN_ID:
        return (struct msr_read){MSR_DONE, p->bios_sign_id};
    case MSR_IA32_MISC_ENABLE:
        return (struct msr_read){MSR_DONE, p->misc_enable};
    default:
        return read_rare(p, msr);
    }
}

/* SDM 3A "IA32_MTRR_DEF_TYPE MSR": reserved bits and types cause #GP. */
static enum msr_result write_mtrr_def_type(struct msr_policy *p, uint64_t value)
{
    uint32_t type = (uint32_t)value & 0xff;

    if (value & ~MTRR_DEF_TYPE_VALID || type > 6 || !(MTRR_TYPES >> type & 1))
        return MSR_FAULT;
    p->mtrr_def_type = value;
    return MSR_DONE;
}

enum msr_result msr_policy_write(struct msr_policy *p, uint32_t msr, uint64_t value)
{
    switch (msr) {
    case MSR_IA32_TSC:
        return MSR_TSC;
    case MSR_IA32_BIOS_UPDT_TRIG:
        /* A microcode update: silently ignored. */
        return MSR_DONE;
    case MSR_IA32_BIOS_SIGN_ID:
        /* Software writes zero, executes CPUID and reads the revision, which must then be back. */
        return MSR_DONE;
    case MSR_IA32_MISC_ENABLE:
        /* The others are read-only or reserved: SDM 4 "IA-32 Architectural MSRs". */
        if ((value ^ p->misc_enable) & ~MISC_ENABLE_WRITABLE)
            return MSR_FAULT;
        p->misc_enable = value;
        return MSR_CPUID;
    case MSR_IA32_MTRR_DEF_TYPE:
        return write_mtrr_def_type(p, value);
    case MSR_IA32_DEBUGCTL:
        return value & ~(DEBUGCTL_LBR | DEBUGCTL_BTF) ? MSR_FAULT : MSR_DEBUGCTL;
    case MSR_KVM_WALL_CLOCK:
    case MSR_KVM_SYSTEM_TIME:
        return MSR_CLOCK;
    default:
        return is_apic(msr) ? MSR_APIC : MSR_FAULT;
    }
}

/* The bitmap has bits for the first MSRs and for those from MSR_HIGH on: `msr` is one of them. */
static void allow(uint8_t *bitmap, uint32_t msr, uint32_t direction)
{
    uint32_t byte = msr % BITMAP_MSRS / 8 + (msr >= MSR_HIGH ? BITMAP_READ_HIGH : 0);

    bitmap[direction + byte] &= (uint8_t) ~(1u << (msr & 7));
}

void msr_bitmap_make(uint8_t bitmap[4096])
{
    memset(bitmap, 0xff, BITMAP_SIZE);
    for (unsigned i = 0; i < ARRAY_LEN(own_msrs); i++) {
        allow(bitmap, own_msrs[i], 0);
        allow(bitmap, own_msrs[i], BITMAP_WRITE_LOW);
    }
    /* The CPU adds the offset. */
    allow(bitmap, MSR_IA32_TSC, 0);
}

void msr_bitmap_allow(uint8_t bitmap[4096], uint32_t msr, bool write)
{
    allow(bitmap, msr, write ? BITMAP_WRITE_LOW : 0);
}
