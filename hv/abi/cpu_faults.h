/*
 * What the CPU tells of faults through which a guest could learn secrets of others, and what the
 * root does about them. Raw: the words are the management guest's (mgmt/cpu_faults.c).
 */
#pragma once

#include "hv/types.h"

/* IA32_ARCH_CAPABILITIES. SDM 4 "IA32_ARCH_CAPABILITIES". */
#define ARCH_CAPABILITIES_RDCL_NO        (1ull << 0)
#define ARCH_CAPABILITIES_IBRS_ALL       (1ull << 1)
#define ARCH_CAPABILITIES_SKIP_L1DFL     (1ull << 3) /* on VM entry */
#define ARCH_CAPABILITIES_MDS_NO         (1ull << 5)
#define ARCH_CAPABILITIES_PSCHANGE_MC_NO (1ull << 6)
#define ARCH_CAPABILITIES_TSX_CTRL       (1ull << 7)
#define ARCH_CAPABILITIES_TAA_NO         (1ull << 8)
#define ARCH_CAPABILITIES_BHI_NO         (1ull << 20)
#define ARCH_CAPABILITIES_PBRSB_NO       (1ull << 24)
#define ARCH_CAPABILITIES_GDS_CTRL       (1ull << 25)
#define ARCH_CAPABILITIES_GDS_NO         (1ull << 26)
#define ARCH_CAPABILITIES_RFDS_NO        (1ull << 27)
#define ARCH_CAPABILITIES_RFDS_CLEAR     (1ull << 28)
#define ARCH_CAPABILITIES_ITS_NO         (1ull << 62)
/* CPUID.(7,0) */
#define CPUID_7_EBX_RTM                  (1u << 11)
#define CPUID_7_EDX_MD_CLEAR             (1u << 10)
#define CPUID_7_EDX_SPEC_CTRL            (1u << 26) /* IBRS, IBPB */
#define CPUID_7_EDX_L1D_FLUSH            (1u << 28)
#define CPUID_7_EDX_ARCH_CAPS            (1u << 29)
/* CPUID.(7,2) */
#define CPUID_72_EDX_BHI_CTRL            (1u << 4)
/* CPUID.80000008H. APM vol. 3, appendix E. */
#define CPUID_88_EBX_IBPB                (1u << 12)
#define CPUID_88_EBX_IBRS_ALWAYS_ON      (1u << 16)
/* CPUID.80000021H */
#define CPUID_821_EAX_VERW_CLEAR         (1u << 5) /* set by hypervisors alone */
#define CPUID_821_EAX_AUTOMATIC_IBRS     (1u << 8)
#define CPUID_821_EAX_SRSO_NO            (1u << 29)
#define CPUID_821_ECX_TSA_SQ_NO          (1u << 1)
#define CPUID_821_ECX_TSA_L1_NO          (1u << 2)

enum abi_measure {
    ABI_MEASURE_IBPB = 1u << 0, /* branch predictors forget before another guest runs on a core */
    ABI_MEASURE_L1D = 1u << 1,  /* the L1 data cache is flushed when a run of a vCPU begins, ... */
    ABI_MEASURE_VERW = 1u << 2, /* ... or buffers are cleared then */
    ABI_MEASURE_IBRS = 1u << 3, /* SPEC_CTRL.IBRS is always set */
    ABI_MEASURE_IBRS_EXITS = 1u << 4, /* each VM exit sets it, each VM entry clears it */
    ABI_MEASURE_AUTO_IBRS = 1u << 5,  /* EFER.AIBRSE is set */
    ABI_MEASURE_BHI_DIS_S = 1u << 6,  /* SPEC_CTRL.BHI_DIS_S is set */
    ABI_MEASURE_RETURNS = 1u << 7,    /* the return predictor is filled after each VM exit, ... */
    ABI_MEASURE_RETURN = 1u << 8,     /* ... or its first entry, on CPUs that forget the others */
    ABI_MEASURE_NO_TSX = 1u << 9,     /* TSX_CTRL switches transactions off */
};

struct abi_cpu_faults {
    uint64_t arch_capabilities; /* 0: there is no such MSR */
    uint32_t microcode;         /* its revision; 0: unknown */
    uint32_t leaf7_ebx, leaf7_edx, leaf72_edx, ext8_ebx, ext21_eax, ext21_ecx;
    uint32_t measures; /* enum abi_measure */
};

/* Of CPUID.1:EAX, with their extensions: SDM 2A "CPUID". */
static inline uint32_t signature_family(uint32_t signature)
{
    uint32_t family = signature >> 8 & 0xf;

    return family == 0xf ? family + (signature >> 20 & 0xff) : family;
}

static inline uint32_t signature_model(uint32_t signature)
{
    return (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);
}
