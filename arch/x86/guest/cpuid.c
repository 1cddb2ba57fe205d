#include "arch/x86/guest/cpuid.h"

#include "hv/lib.h"

/* CPUID.1:ECX: what a guest may see. SSE3, PCLMULQDQ, SSSE3, FMA is not (it needs XSAVE), CX16,
 * SSE4.1, SSE4.2, MOVBE, POPCNT, AES, RDRAND. */
#define LEAF1_ECX                                                                                  \
    ((1u << 0) | (1u << 1) | (1u << 9) | (1u << 13) | (1u << 19) | (1u << 20) | (1u << 22) |       \
     (1u << 23) | (1u << 25) | (1u << 30))
/* CPUID.1:EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, CX8, SEP, PGE, CMOV, PAT, PSE36, CLFSH, MMX, FXSR,
 * SSE, SSE2. Not: MCE, APIC, MTRR, MCA, DS, ACPI. */
#define LEAF1_EDX                                                                                  \
    ((1u << 0) | (1u << 1) | (1u << 2) | (1u << 3) | (1u << 4) | (1u << 5) | (1u << 6) |           \
     (1u << 8) | (1u << 11) | (1u << 13) | (1u << 15) | (1u << 16) | (1u << 17) | (1u << 19) |     \
     (1u << 23) | (1u << 24) | (1u << 25) | (1u << 26))
/* CPUID.7:EBX: FSGSBASE, BMI1, SMEP, BMI2, ERMS, RDSEED, ADX, SMAP, CLFLUSHOPT, SHA. */
#define LEAF7_EBX                                                                                  \
    ((1u << 0) | (1u << 3) | (1u << 7) | (1u << 8) | (1u << 9) | (1u << 18) | (1u << 19) |         \
     (1u << 20) | (1u << 23) | (1u << 29))
/* CPUID.7:ECX: UMIP. */
#define LEAF7_ECX         (1u << 2)
/* CPUID.80000001H:ECX: LAHF64, LZCNT. EDX: SYSCALL, NX, 1 GB pages, RDTSCP, long mode. */
#define EXT1_ECX          ((1u << 0) | (1u << 5))
#define EXT1_EDX          ((1u << 11) | (1u << 20) | (1u << 26) | (1u << 27) | (1u << 29))
#define EXT7_EDX          (1u << 8) /* invariant TSC */
#define LEAF1_EBX_CLFLUSH 0x0000ff00u
#define ONE_CPU           (1u << 16)
#define PERIOD_OF_CRYSTAL 1u

static const struct cpuid_regs zeros;

static void make_basic(struct cpuid_policy *p, struct cpuid_regs (*host)(uint32_t, uint32_t),
                       uint64_t tsc_hz)
{
    struct cpuid_regs r = host(0, 0);

    p->basic[0] = r;
    p->basic[0].eax = CPUID_BASIC_MAX;
    r = host(1, 0);
    p->basic[1] = (struct cpuid_regs){
        .eax = r.eax,
        .ebx = (r.ebx & LEAF1_EBX_CLFLUSH) | ONE_CPU,
        .ecx = (r.ecx & LEAF1_ECX) | CPUID_1_ECX_HYPERVISOR,
        .edx = r.edx & LEAF1_EDX,
    };
    r = host(7, 0);
    p->basic[7] = (struct cpuid_regs){.ebx = r.ebx & LEAF7_EBX, .ecx = r.ecx & LEAF7_ECX};
    /* TSC = crystal * EBX / EAX: a "crystal" of the TSC's own frequency when it fits, as measured
     * and not as the CPU believes. */
    if (tsc_hz <= UINT32_MAX)
        p->basic[0x15] = (struct cpuid_regs){1, 1, (uint32_t)tsc_hz, 0};
    else
        p->basic[0x15] = (struct cpuid_regs){1, 1000, (uint32_t)(tsc_hz / 1000), 0};
    p->basic[0x16] = (struct cpuid_regs){.eax = (uint32_t)(tsc_hz / 1000000)};
}

static void make_extended(struct cpuid_policy *p, struct cpuid_regs (*host)(uint32_t, uint32_t))
{
    struct cpuid_regs r;

    p->extended[0].eax = CPUID_EXTENDED + CPUID_EXTENDED_MAX;
    r = host(CPUID_EXTENDED + 1, 0);
    p->extended[1] = (struct cpuid_regs){.ecx = r.ecx & EXT1_ECX, .edx = r.edx & EXT1_EDX};
    for (uint32_t i = 2; i <= 4; i++)
        p->extended[i] = host(CPUID_EXTENDED + i, 0);
    p->extended[6] = host(CPUID_EXTENDED + 6, 0);
    p->extended[7].edx = EXT7_EDX;
    p->extended[8].eax = host(CPUID_EXTENDED + 8, 0).eax;
}

void cpuid_policy_make(struct cpuid_policy *p,
                       struct cpuid_regs (*host)(uint32_t leaf, uint32_t subleaf), uint64_t tsc_hz)
{
    memset(p, 0, sizeof(*p));
    make_basic(p, host, tsc_hz);
    make_extended(p, host);
    p->hypervisor[0].eax = CPUID_HYPERVISOR + CPUID_HYPERVISOR_MAX;
    memcpy(&p->hypervisor[0].ebx, "Bulk", 4);
    memcpy(&p->hypervisor[0].ecx, "head", 4);
    memcpy(&p->hypervisor[0].edx, "Bulk", 4);
    /* The convention of other hypervisors: TSC and bus frequency in kHz. */
    p->hypervisor[1].eax = (uint32_t)(tsc_hz / 1000);
}

const struct cpuid_regs *cpuid_policy_lookup(const struct cpuid_policy *p, uint32_t leaf,
                                             uint32_t subleaf)
{
    if (leaf <= CPUID_BASIC_MAX)
        return leaf == 7 && subleaf ? &zeros : &p->basic[leaf];
    if (leaf - CPUID_EXTENDED <= CPUID_EXTENDED_MAX)
        return &p->extended[leaf - CPUID_EXTENDED];
    if (leaf == CPUID_HYPERVISOR)
        return &p->hypervisor[0];
    if (leaf == CPUID_HYPERVISOR + CPUID_HYPERVISOR_MAX)
        return &p->hypervisor[1];
    return &zeros;
}
