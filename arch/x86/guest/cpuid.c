#include "arch/x86/guest/cpuid.h"

#include "arch/x86/guest/kvm_clock.h"
#include "hv/lib.h"

/* CPUID.1:ECX. What a guest may see: SSE3, PCLMULQDQ, SSSE3, CX16, SSE4.1, SSE4.2, MOVBE, POPCNT,
 * AES, RDRAND. Not: DTES64, MONITOR, VMX, SMX, EIST, PDCM. x2APIC and TSC deadline: not the CPU's.
 */
#define LEAF1_ECX                                                                                  \
    ((1u << 0) | (1u << 1) | (1u << 9) | (1u << 13) | (1u << 19) | (1u << 20) | (1u << 22) |       \
     (1u << 23) | (1u << 25) | (1u << 30))
#define LEAF1_ECX_FMA     (1u << 12)
#define LEAF1_ECX_PCID    (1u << 17)
#define LEAF1_ECX_APIC    ((1u << 21) | (1u << 24))
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF1_ECX_AVX     (1u << 28)
#define LEAF1_ECX_F16C    (1u << 29)
/* CPUID.1:EDX: FPU, VME, DE, PSE, TSC, MSR, PAE, CX8, SEP, MTRR, PGE, CMOV, PAT, PSE36, CLFSH, MMX,
 * FXSR, SSE, SSE2. Not: MCE, MCA, DS, ACPI. APIC: not the CPU's. */
#define LEAF1_EDX                                                                                  \
    ((1u << 0) | (1u << 1) | (1u << 2) | (1u << 3) | (1u << 4) | (1u << 5) | (1u << 6) |           \
     (1u << 8) | (1u << 11) | (1u << 12) | (1u << 13) | (1u << 15) | (1u << 16) | (1u << 17) |     \
     (1u << 19) | (1u << 23) | (1u << 24) | (1u << 25) | (1u << 26))
/* CPUID.7:EBX: FSGSBASE, BMI1, FDP_EXCPTN_ONLY, SMEP, BMI2, ERMS, FPU CS and DS deprecated, RDSEED,
 * ADX, SMAP, CLFLUSHOPT, CLWB, SHA. Not: SGX, HLE, RTM, MPX, PT, TSC_ADJUST. */
#define LEAF7_EBX                                                                                  \
    ((1u << 0) | (1u << 3) | (1u << 6) | (1u << 7) | (1u << 8) | (1u << 9) | (1u << 13) |          \
     (1u << 18) | (1u << 19) | (1u << 20) | (1u << 23) | (1u << 24) | (1u << 29))
#define LEAF7_EBX_INVPCID (1u << 10)
#define LEAF7_EBX_AVX     (1u << 5)
/* F, DQ, IFMA, PF, ER, CD, BW, VL. */
#define LEAF7_EBX_AVX512                                                                           \
    ((1u << 16) | (1u << 17) | (1u << 21) | (1u << 26) | (1u << 27) | (1u << 28) | (1u << 30) |    \
     (1u << 31))
/* CPUID.7:ECX: UMIP, GFNI, CLDEMOTE, MOVDIRI, MOVDIR64B. With AVX: VAES, VPCLMULQDQ. With AVX-512:
 * VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ. Not: PKU, OSPKE, WAITPKG, CET, LA57, ENQCMD. */
#define LEAF7_ECX         ((1u << 2) | (1u << 8) | (1u << 25) | (1u << 27) | (1u << 28))
#define LEAF7_ECX_AVX     ((1u << 9) | (1u << 10))
#define LEAF7_ECX_AVX512  ((1u << 1) | (1u << 6) | (1u << 11) | (1u << 12) | (1u << 14))
#define LEAF7_ECX_RDPID   (1u << 22)
/* CPUID.7:EDX: fast short REP MOV, MD_CLEAR (what VERW clears), SERIALIZE. With AVX-512: 4VNNIW,
 * 4FMAPS, VP2INTERSECT, FP16. Not: what comes with MSRs. */
#define LEAF7_EDX         ((1u << 4) | (1u << 10) | (1u << 14))
#define LEAF7_EDX_AVX512  ((1u << 2) | (1u << 3) | (1u << 8) | (1u << 23))
/* CPUID.(7,1):EAX: CMPccXADD; fast zero-length and short REP MOVS, STOS, CMPS. With AVX: SHA512,
 * SM3, SM4, VNNI, IFMA. With AVX-512: BF16. EDX: PREFETCHI. With AVX: VNNI-INT8, NE-CONVERT,
 * VNNI-INT16.
 */
#define LEAF71_EAX        ((1u << 7) | (1u << 10) | (1u << 11) | (1u << 12))
#define LEAF71_EAX_AVX    ((1u << 0) | (1u << 1) | (1u << 2) | (1u << 4) | (1u << 23))
#define LEAF71_EAX_AVX512 (1u << 5)
#define LEAF71_EDX        (1u << 14)
#define LEAF71_EDX_AVX    ((1u << 4) | (1u << 5) | (1u << 10))
/* CPUID.80000001H:ECX: LAHF64, LZCNT, PREFETCHW; of AMD's CPUs SSE4A, misaligned SSE, TBM, and with
 * AVX XOP, FMA4. EDX: SYSCALL, NX, AMD's extensions of MMX, 1 GB pages, long mode. */
#define EXT1_ECX          ((1u << 0) | (1u << 5) | (1u << 6) | (1u << 7) | (1u << 8) | (1u << 21))
#define EXT1_ECX_AVX      ((1u << 11) | (1u << 16))
#define EXT1_EDX_XD       (1u << 20)
#define EXT1_EDX          ((1u << 11) | (1u << 20) | (1u << 22) | (1u << 26) | (1u << 29))
#define EXT1_EDX_RDTSCP   (1u << 27)
#define EXT8_EBX          ((1u << 0) | (1u << 2)) /* AMD's CLZERO; XRSTOR loads error pointers */
#define EXT7_EDX          (1u << 8)               /* invariant TSC */
#define LINEAR_WIDTH_MASK 0xff00u                 /* CPUID.80000008H:EAX */
#define LINEAR_WIDTH_48   (48u << 8)
#define LEAF1_EBX_CLFLUSH 0x0000ff00u
#define LEAF1_EDX_APIC    (1u << 9)
#define LEAF1_EDX_HTT     (1u << 28) /* the count of logical processors is meaningful */
#define LEAF1_CPUS_SHIFT  16
#define LEAF1_ID_SHIFT    24
#define LEAF6_EAX_ARAT    (1u << 2)   /* the APIC timer always runs */
#define LEAF4_EAX         0x00003fffu /* type, level, self-initialising, associativity; one core */
/* CPUID.(0DH,1):EAX: XSAVEOPT, XGETBV with ECX = 1. Not: XSAVES, which needs IA32_XSS. Nor XSAVEC
 * without it: real hardware never offers that, and a Linux guest that got it (in Bochs 2.7, with
 * AVX-512) lost vector registers between its processes. */
#define XSAVE1_EAX        5u
#define XSAVE_ALIGN       (1u << 1) /* subleaf's ECX: aligned to 64 in the compacted format */
#define XSAVE_LEGACY      576u      /* FXSAVE area and header */
#define MAX_LIMITED       2u        /* "Limit CPUID Maxval" */
#define KHZ               1000u
#define MHZ               1000000u

#define LEAF_FEATURE      7u
#define LEAF_POWER        6u
#define LEAF_TOPOLOGY     0xbu
#define LEAF_XSAVE        0xdu
#define LEAF_TSC          0x15u
#define LEAF_MHZ          0x16u

static const struct cpuid_regs zeros;

/* Above the highest leaf, which firmware may have limited, Intel's CPUs answer with another one's
 * data. */
static struct cpuid_regs ask(const struct cpuid_env *env, uint32_t leaf, uint32_t subleaf)
{
    uint32_t highest = env->host(leaf & CPUID_EXTENDED, 0).eax;

    return leaf <= highest ? env->host(leaf, subleaf) : zeros;
}

static void make_features(struct cpuid_policy *p, const struct cpuid_env *env)
{
    struct cpuid_regs r = ask(env, 1, 0);
    uint32_t ecx = LEAF1_ECX, ebx7 = LEAF7_EBX, ecx7 = LEAF7_ECX, edx7 = LEAF7_EDX;
    uint32_t eax71 = LEAF71_EAX, edx71 = LEAF71_EDX;

    if (env->xcr0)
        ecx |= CPUID_1_ECX_XSAVE;
    if (env->xcr0 & XCR0_AVX) {
        ecx |= LEAF1_ECX_AVX | LEAF1_ECX_FMA | LEAF1_ECX_F16C;
        ebx7 |= LEAF7_EBX_AVX;
        ecx7 |= LEAF7_ECX_AVX;
        eax71 |= LEAF71_EAX_AVX;
        edx71 |= LEAF71_EDX_AVX;
    }
    if (env->xcr0 & XCR0_AVX512) {
        ebx7 |= LEAF7_EBX_AVX512;
        ecx7 |= LEAF7_ECX_AVX512;
        edx7 |= LEAF7_EDX_AVX512;
        eax71 |= LEAF71_EAX_AVX512;
    }
    if (env->invpcid) {
        ecx |= LEAF1_ECX_PCID;
        ebx7 |= LEAF7_EBX_INVPCID;
    }
    if (env->rdtscp)
        ecx7 |= LEAF7_ECX_RDPID;
    p->basic[1] = (struct cpuid_regs){
        .eax = r.eax,
        .ebx = (r.ebx & LEAF1_EBX_CLFLUSH) | env->vcpus << LEAF1_CPUS_SHIFT |
               env->vcpu << LEAF1_ID_SHIFT,
        .ecx = (r.ecx & ecx) | CPUID_1_ECX_HYPERVISOR,
        .edx = (r.edx & LEAF1_EDX) | (env->vcpus > 1 ? LEAF1_EDX_HTT : 0),
    };
    r = ask(env, LEAF_FEATURE, 0);
    p->basic[LEAF_FEATURE] =
        (struct cpuid_regs){.ebx = r.ebx & ebx7, .ecx = r.ecx & ecx7, .edx = r.edx & edx7};
    if (r.eax == 0) /* its highest subleaf */
        return;
    r = ask(env, LEAF_FEATURE, 1);
    p->features1 = (struct cpuid_regs){.eax = r.eax & eax71, .edx = r.edx & edx71};
    p->basic[LEAF_FEATURE].eax = 1;
}

/* SDM 2A "CPUID", leaf 0BH: each vCPU is a core with one thread. */
static void make_topology(struct cpuid_policy *p, const struct cpuid_env *env)
{
    uint32_t width = env->vcpus > 1 ? 32 - (uint32_t)__builtin_clz(env->vcpus - 1) : 0;

    if (!env->apic)
        return;
    p->topology[0] = (struct cpuid_regs){0, 1, 1 << 8, env->vcpu};
    p->topology[1] = (struct cpuid_regs){width, env->vcpus, 1 | 2 << 8, env->vcpu};
    p->topology[2] = (struct cpuid_regs){0, 0, 2, env->vcpu};
    p->basic[LEAF_POWER].eax = LEAF6_EAX_ARAT;
    p->basic[1].ecx |= LEAF1_ECX_APIC;
    cpuid_policy_apic(p, true);
}

static void make_caches(struct cpuid_policy *p, const struct cpuid_env *env)
{
    for (uint32_t i = 0; i < CPUID_CACHE_LEVELS; i++) {
        p->cache[i] = ask(env, CPUID_CACHE, i);
        if ((p->cache[i].eax & 0x1fu) == 0)
            p->cache[i] = zeros;
        p->cache[i].eax &= LEAF4_EAX;
    }
}

static void make_xsave(struct cpuid_policy *p, const struct cpuid_env *env)
{
    uint32_t size = XSAVE_LEGACY;

    if (!env->xcr0)
        return;
    for (uint32_t i = 2; i < CPUID_XSAVE_SUBLEAFS; i++) {
        struct cpuid_regs r;

        if (!(env->xcr0 >> i & 1))
            continue;
        r = ask(env, LEAF_XSAVE, i);
        p->xsave[i] = (struct cpuid_regs){r.eax, r.ebx, r.ecx & XSAVE_ALIGN, 0};
        if (r.eax + r.ebx > size)
            size = r.eax + r.ebx;
    }
    p->xsave[0] = (struct cpuid_regs){
        .eax = (uint32_t)env->xcr0, .ecx = size, .edx = (uint32_t)(env->xcr0 >> 32)};
    p->xsave[1].eax = ask(env, LEAF_XSAVE, 1).eax & XSAVE1_EAX;
    cpuid_policy_xcr0(p, XCR0_X87);
}

static void make_basic(struct cpuid_policy *p, const struct cpuid_env *env)
{
    uint64_t hz = env->tsc_hz;
    uint32_t ratio = (uint32_t)(hz >> 32) + 1;

    p->basic[0] = ask(env, 0, 0);
    p->basic[0].eax = CPUID_BASIC_MAX;
    p->intel = p->basic[0].ebx == CPUID_0_EBX_INTEL;
    p->basic[2] = ask(env, 2, 0);
    make_features(p, env);
    make_caches(p, env);
    make_xsave(p, env);
    make_topology(p, env);
    /* TSC = crystal * EBX / EAX: a "crystal" of the TSC's own frequency if that fits in 32 bits.
     * The measured value, not the CPU's. */
    p->basic[LEAF_TSC] = (struct cpuid_regs){1, ratio, (uint32_t)(hz / ratio), 0};
    p->basic[LEAF_MHZ] =
        (struct cpuid_regs){.eax = (uint32_t)(hz / MHZ), .ebx = (uint32_t)(hz / MHZ)};
    p->plain = (2u << CPUID_BASIC_MAX) - 1;
    p->plain &=
        ~((1u << CPUID_CACHE) | (1u << LEAF_FEATURE) | (1u << LEAF_TOPOLOGY) | (1u << LEAF_XSAVE));
}

/* Five-level paging is hidden: linear addresses have 48 bits even if the CPU has more. */
static uint32_t address_widths(uint32_t eax)
{
    if ((eax & LINEAR_WIDTH_MASK) > LINEAR_WIDTH_48)
        eax = (eax & ~LINEAR_WIDTH_MASK) | LINEAR_WIDTH_48;
    return eax;
}

static void make_extended(struct cpuid_policy *p, const struct cpuid_env *env)
{
    struct cpuid_regs r = ask(env, CPUID_EXTENDED + 1, 0);
    uint32_t edx = EXT1_EDX | (env->rdtscp ? EXT1_EDX_RDTSCP : 0);
    uint32_t ecx = EXT1_ECX | (env->xcr0 & XCR0_AVX ? EXT1_ECX_AVX : 0);

    p->extended[0].eax = CPUID_EXTENDED + CPUID_EXTENDED_MAX;
    p->extended[1] = (struct cpuid_regs){.ecx = r.ecx & ecx, .edx = r.edx & edx};
    p->xd = p->extended[1].edx & EXT1_EDX_XD;
    for (uint32_t i = 2; i <= 6; i++) /* its name and caches */
        p->extended[i] = ask(env, CPUID_EXTENDED + i, 0);
    p->extended[7].edx = EXT7_EDX;
    r = ask(env, CPUID_EXTENDED + 8, 0);
    p->extended[8] = (struct cpuid_regs){.eax = address_widths(r.eax), .ebx = r.ebx & EXT8_EBX};
}

/* Systems that know KVM's clock look for its name at the first of these leaves, some at each 256th.
 */
static void set_signature(struct cpuid_regs *r, const char *name)
{
    char text[12] = "";

    for (unsigned i = 0; name[i]; i++)
        text[i] = name[i];
    memcpy(&r->ebx, text, 4);
    memcpy(&r->ecx, text + 4, 4);
    memcpy(&r->edx, text + 8, 4);
}

void cpuid_policy_make(struct cpuid_policy *p, const struct cpuid_env *env)
{
    memset(p, 0, sizeof(*p));
    make_basic(p, env);
    make_extended(p, env);
    p->hypervisor[0].eax = CPUID_HYPERVISOR + CPUID_HYPERVISOR_MAX;
    set_signature(&p->hypervisor[0], "KVMKVMKVM");
    p->hypervisor[1].eax = KVM_NO_IO_DELAY | KVM_CLOCKSOURCE2 | KVM_CLOCKSOURCE_SAME;
    /* The convention of several hypervisors: the frequencies of the TSC and of the local APIC's
     * timer, in kHz. */
    p->hypervisor[CPUID_HYPERVISOR_MAX].eax = (uint32_t)(env->tsc_hz / KHZ);
    p->hypervisor[CPUID_HYPERVISOR_MAX].ebx = p->basic[LEAF_TSC].ecx / KHZ;
    p->own.eax = CPUID_HYPERVISOR_OWN;
    set_signature(&p->own, "BulkheadHV");
}

void cpuid_policy_osxsave(struct cpuid_policy *p, bool osxsave)
{
    p->basic[1].ecx &= ~LEAF1_ECX_OSXSAVE;
    if (osxsave)
        p->basic[1].ecx |= LEAF1_ECX_OSXSAVE;
}

void cpuid_policy_apic(struct cpuid_policy *p, bool enabled)
{
    p->basic[1].edx &= ~LEAF1_EDX_APIC;
    if (enabled)
        p->basic[1].edx |= LEAF1_EDX_APIC;
}

void cpuid_policy_xcr0(struct cpuid_policy *p, uint64_t xcr0)
{
    uint32_t standard = XSAVE_LEGACY, compacted = XSAVE_LEGACY;

    for (uint32_t i = 2; i < CPUID_XSAVE_SUBLEAFS; i++) {
        const struct cpuid_regs *r = &p->xsave[i];

        if (!(xcr0 >> i & 1))
            continue;
        if (r->eax + r->ebx > standard)
            standard = r->eax + r->ebx;
        if (r->ecx & XSAVE_ALIGN)
            compacted = (compacted + 63) & ~63u;
        compacted += r->eax;
    }
    p->xsave[0].ebx = standard;
    p->xsave[1].ebx = compacted;
}

const struct cpuid_regs *cpuid_policy_lookup(const struct cpuid_policy *p, uint32_t leaf,
                                             uint32_t subleaf)
{
    if (leaf <= CPUID_BASIC_MAX) {
        if (p->plain >> leaf & 1)
            return &p->basic[leaf];
        if (leaf == LEAF_FEATURE)
            return subleaf == 0 ? &p->basic[leaf] : subleaf == 1 ? &p->features1 : &zeros;
        if (leaf == LEAF_TOPOLOGY)
            return &p->topology[min_u64(subleaf, CPUID_TOPOLOGY_LEVELS - 1)];
        if (leaf == CPUID_CACHE)
            return subleaf < CPUID_CACHE_LEVELS ? &p->cache[subleaf] : &zeros;
        return subleaf < CPUID_XSAVE_SUBLEAFS ? &p->xsave[subleaf] : &zeros;
    }
    if (leaf - CPUID_EXTENDED <= CPUID_EXTENDED_MAX)
        return &p->extended[leaf - CPUID_EXTENDED];
    if (leaf - CPUID_HYPERVISOR <= CPUID_HYPERVISOR_MAX)
        return &p->hypervisor[leaf - CPUID_HYPERVISOR];
    if (leaf == CPUID_HYPERVISOR_OWN)
        return &p->own;
    return p->intel && leaf - CPUID_HYPERVISOR >= CPUID_HYPERVISORS ? &p->basic[CPUID_BASIC_MAX]
                                                                    : &zeros;
}

void cpuid_policy_limit(struct cpuid_policy *p, bool limit, bool no_xd)
{
    p->basic[0].eax = limit ? MAX_LIMITED : CPUID_BASIC_MAX;
    p->extended[1].edx = no_xd ? p->extended[1].edx & ~EXT1_EDX_XD : p->extended[1].edx | p->xd;
}

bool xcr0_valid(uint64_t xcr0, uint64_t allowed)
{
    if ((xcr0 & ~allowed) || !(xcr0 & XCR0_X87))
        return false;
    if ((xcr0 & XCR0_AVX) && !(xcr0 & XCR0_SSE))
        return false;
    if (xcr0 & XCR0_AVX512)
        return (xcr0 & XCR0_AVX512) == XCR0_AVX512 && (xcr0 & XCR0_AVX);
    return true;
}
