/* SOURCES: arch/x86/guest/cpuid.c hv/lib.c */
#include "arch/x86/guest/cpuid.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define HZ     2400000000ull
#define ALL    (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512)
#define BIT(n) (1u << (n))
/* CPUID.80000001H:ECX: LAHF64, LZCNT, SSE4A, misaligned SSE, PREFETCHW, TBM. */
#define EXT1   (BIT(0) | BIT(5) | BIT(6) | BIT(7) | BIT(8) | BIT(21))

static struct cpuid_policy policy;
static struct cpuid_env env;

/* XSAVE components of a common CPU: size, offset, alignment in the compacted format. */
static struct cpuid_regs host_xsave(uint32_t subleaf)
{
    switch (subleaf) {
    case 0:
        return (struct cpuid_regs){0xff, 0xa80, 0xa80, 0xabcd};
    case 1:
        return (struct cpuid_regs){0xffffffff, 0xa80, 0xffffffff, 0xffffffff};
    case 2:
        return (struct cpuid_regs){256, 576, 0xfffffffc, 0xffffffff};
    case 5:
        return (struct cpuid_regs){64, 1088, 0, 0};
    case 6:
        return (struct cpuid_regs){512, 1152, 2, 0};
    case 7:
        return (struct cpuid_regs){1024, 1664, 0, 0};
    default:
        return (struct cpuid_regs){0x111, 0x222, 3, 4};
    }
}

/* A CPU that has every feature. */
static struct cpuid_regs rich_host(uint32_t leaf, uint32_t subleaf)
{
    if (leaf == 0)
        return (struct cpuid_regs){0x20, 0x756e6547, 0x6c65746e, 0x49656e69};
    if (leaf == 4)
        return (struct cpuid_regs){subleaf < 3 ? 0xfc004121 + subleaf : 0, 0x1c0003f, 0x3f,
                                   subleaf};
    if (leaf == 0xd)
        return host_xsave(subleaf);
    if (leaf == 0x80000008)
        return (struct cpuid_regs){0x00003027, UINT32_MAX, UINT32_MAX, UINT32_MAX};
    if (leaf >= 0x80000002 && leaf <= 0x80000004)
        return (struct cpuid_regs){leaf, 2, 3, 4};
    return (struct cpuid_regs){UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX};
}

/* A CPU that has none. */
static struct cpuid_regs poor_host(uint32_t leaf, uint32_t subleaf)
{
    (void)leaf;
    (void)subleaf;
    return (struct cpuid_regs){0, 0, 0, 0};
}

static int setup(void **state)
{
    (void)state;
    memset(&policy, 0xa5, sizeof(policy));
    env = (struct cpuid_env){
        .host = rich_host, .tsc_hz = HZ, .xcr0 = ALL, .invpcid = true, .rdtscp = true, .vcpus = 1};
    cpuid_policy_make(&policy, &env);
    return 0;
}

static struct cpuid_regs ask(uint32_t leaf, uint32_t subleaf)
{
    return *cpuid_policy_lookup(&policy, leaf, subleaf);
}

static void expect(uint32_t leaf, uint32_t subleaf, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
    struct cpuid_regs r = ask(leaf, subleaf);

    assert_int_equal(r.eax, a);
    assert_int_equal(r.ebx, b);
    assert_int_equal(r.ecx, c);
    assert_int_equal(r.edx, d);
}

static void highest_leaves(void **state)
{
    (void)state;
    expect(0, 0, 0x16, 0x756e6547, 0x6c65746e, 0x49656e69);
    expect(0x80000000, 0, 0x80000008, 0, 0, 0);
}

/* SDM 2A table "Feature Information Returned in the ECX Register", bit by bit. */
static void leaf_1(void **state)
{
    static const unsigned ecx[] = {0, 1, 9, 12, 13, 17, 19, 20, 22, 23, 25, 26, 28, 29, 30, 31};
    static const unsigned edx[] = {0,  1,  2,  3,  4,  5,  6,  8,  11, 12,
                                   13, 15, 16, 17, 19, 23, 24, 25, 26};
    uint32_t c = 0, d = 0;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(ecx); i++)
        c |= BIT(ecx[i]);
    for (unsigned i = 0; i < ARRAY_LEN(edx); i++)
        d |= BIT(edx[i]);
    /* EBX: CLFLUSH line size, one logical processor, APIC ID 0, no brand index. */
    expect(1, 0, UINT32_MAX, 0x0001ff00, c, d);
    /* By name: MONITOR, VMX, SMX, EIST, x2APIC, TSC deadline, OSXSAVE; MCE, APIC, MCA, HTT.
     */
    assert_int_equal(c & (BIT(3) | BIT(5) | BIT(6) | BIT(7) | BIT(21) | BIT(24) | BIT(27)), 0);
    assert_int_equal(d & (BIT(7) | BIT(9) | BIT(14) | BIT(28)), 0);
}

/* SDM 2A "CPUID": the local APIC's bits, its id, the topology; each vCPU is a core. */
static void local_apic(void **state)
{
    struct cpuid_regs without = ask(1, 0);

    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        expect(0xb, i, 0, 0, 0, 0);
    expect(6, 0, 0, 0, 0, 0);
    env.apic = true;
    env.vcpu = 2;
    env.vcpus = 3;
    cpuid_policy_make(&policy, &env);
    /* x2APIC and TSC deadline; APIC and HTT. */
    expect(1, 0, without.eax, 0x0203ff00, without.ecx | BIT(21) | BIT(24),
           without.edx | BIT(9) | BIT(28));
    expect(0xb, 0, 0, 1, 0x100, 2);
    expect(0xb, 1, 2, 3, 0x201, 2);
    expect(0xb, 2, 0, 0, 2, 2);
    expect(6, 0, BIT(2), 0, 0, 0); /* ARAT */
    cpuid_policy_apic(&policy, false);
    assert_int_equal(ask(1, 0).edx, without.edx | BIT(28));
    cpuid_policy_apic(&policy, true);
    assert_int_equal(ask(1, 0).edx, without.edx | BIT(9) | BIT(28));
    env.vcpus = 1;
    env.vcpu = 0;
    cpuid_policy_make(&policy, &env);
    expect(0xb, 1, 0, 1, 0x201, 0);
}

static void leaf_7(void **state)
{
    struct cpuid_regs r = ask(7, 0);

    (void)state;
    assert_int_equal(r.eax, 1);
    /* Hidden: TSC_ADJUST, SGX, HLE, PQM, MPX, RTM, PQE, PT. */
    assert_int_equal(
        r.ebx & (BIT(1) | BIT(2) | BIT(4) | BIT(11) | BIT(12) | BIT(14) | BIT(15) | BIT(25)), 0);
    /* Shown: FSGSBASE, BMI1, AVX2, SMEP, BMI2, ERMS, INVPCID, SMAP, CLFLUSHOPT, CLWB. */
    assert_int_equal(~r.ebx & (BIT(0) | BIT(3) | BIT(5) | BIT(7) | BIT(8) | BIT(9) | BIT(10) |
                               BIT(20) | BIT(23) | BIT(24)),
                     0);
    /* Hidden: PKU, OSPKE, WAITPKG, CET_SS, LA57, KL, ENQCMD, SGX_LC, PKS. Shown: UMIP, GFNI,
     * RDPID, CLDEMOTE, MOVDIRI, MOVDIR64B. */
    assert_int_equal(r.ecx & (BIT(3) | BIT(4) | BIT(5) | BIT(7) | BIT(16) | BIT(23) | BIT(29) |
                              BIT(30) | BIT(31)),
                     0);
    assert_int_equal(~r.ecx & (BIT(2) | BIT(8) | BIT(22) | BIT(25) | BIT(27) | BIT(28)), 0);
    /* No feature whose MSR is absent: IBRS, STIBP, L1D_FLUSH, ARCH_CAPABILITIES, SSBD, PCONFIG.
     * MD_CLEAR has none. */
    assert_int_equal(r.edx, BIT(2) | BIT(3) | BIT(4) | BIT(8) | BIT(10) | BIT(14) | BIT(23));
    /* SHA512, SM3, SM4, AVX-VNNI, AVX512_BF16, CMPCCXADD, fast string forms, AVX-IFMA. Not: FRED,
     * LKGS, WRMSRNS, HRESET, LAM. AVX-VNNI-INT8, AVX-NE-CONVERT, AVX-VNNI-INT16, PREFETCHI. Not:
     * AMX, CET_SSS, AVX10. */
    expect(7, 1,
           BIT(0) | BIT(1) | BIT(2) | BIT(4) | BIT(5) | BIT(7) | BIT(10) | BIT(11) | BIT(12) |
               BIT(23),
           0, 0, BIT(4) | BIT(5) | BIT(10) | BIT(14));
    for (uint32_t subleaf = 2; subleaf < 5; subleaf++)
        expect(7, subleaf, 0, 0, 0, 0);
}

static void what_the_host_lacks(void **state)
{
    (void)state;
    env.host = poor_host;
    cpuid_policy_make(&policy, &env);
    expect(1, 0, 0, 0x00010000, BIT(31), 0);
    expect(7, 0, 0, 0, 0, 0);
    expect(0x80000001, 0, 0, 0, 0, 0);
    expect(4, 0, 0, 0, 0, 0);
    expect(0, 0, 0x16, 0, 0, 0);
}

/* SDM 3A "Limit CPUID Maxval": above it the CPU answers with the highest leaf's data. */
static struct cpuid_regs limited_host(uint32_t leaf, uint32_t subleaf)
{
    if (leaf == 0)
        return (struct cpuid_regs){2, 0x756e6547, 0x6c65746e, 0x49656e69};
    if (leaf == 0x80000000)
        return (struct cpuid_regs){0x80000001, 0, 0, 0};
    return rich_host(leaf <= 2 || leaf == 0x80000001 ? leaf : 2, subleaf);
}

static void what_firmware_has_limited(void **state)
{
    (void)state;
    env.host = limited_host;
    cpuid_policy_make(&policy, &env);
    assert_int_equal(ask(1, 0).eax, UINT32_MAX);
    expect(4, 0, 0, 0, 0, 0);
    expect(7, 0, 0, 0, 0, 0);
    expect(0xd, 2, 0, 0, 0, 0);
    expect(0x80000006, 0, 0, 0, 0, 0);
    assert_true(ask(0x80000001, 0).edx != 0);
}

static void without_xsave(void **state)
{
    (void)state;
    env.xcr0 = 0;
    cpuid_policy_make(&policy, &env);
    /* XSAVE, OSXSAVE, AVX, FMA, F16C. */
    assert_int_equal(ask(1, 0).ecx & (BIT(26) | BIT(27) | BIT(28) | BIT(12) | BIT(29)), 0);
    assert_int_equal(ask(7, 0).ebx & (BIT(5) | BIT(16) | BIT(31)), 0);
    assert_int_equal(ask(7, 0).ecx & (BIT(9) | BIT(10) | BIT(1) | BIT(11)), 0);
    for (uint32_t subleaf = 0; subleaf < 10; subleaf++)
        expect(0xd, subleaf, 0, 0, 0, 0);
}

static void without_avx(void **state)
{
    (void)state;
    env.xcr0 = XCR0_X87 | XCR0_SSE;
    cpuid_policy_make(&policy, &env);
    assert_int_equal(ask(1, 0).ecx & (BIT(26) | BIT(28) | BIT(12) | BIT(29)), BIT(26));
    assert_int_equal(ask(7, 0).ebx & (BIT(5) | BIT(16)), 0);
    assert_int_equal(ask(0x80000001, 0).ecx, EXT1); /* no XOP, FMA4 */
    expect(7, 1, BIT(7) | BIT(10) | BIT(11) | BIT(12), 0, 0, BIT(14));
    expect(0xd, 0, 3, 576, 576, 0);
    expect(0xd, 2, 0, 0, 0, 0);
    env.xcr0 |= XCR0_AVX;
    cpuid_policy_make(&policy, &env);
    assert_int_equal(ask(7, 0).ebx & (BIT(5) | BIT(16)), BIT(5));
    expect(0xd, 0, 7, 576, 832, 0);
}

static void without_invpcid_and_rdtscp(void **state)
{
    (void)state;
    assert_int_equal(ask(0x80000001, 0).edx & BIT(27), BIT(27));
    env.invpcid = env.rdtscp = false;
    cpuid_policy_make(&policy, &env);
    assert_int_equal(ask(1, 0).ecx & BIT(17), 0);
    assert_int_equal(ask(7, 0).ebx & BIT(10), 0);
    assert_int_equal(ask(7, 0).ecx & BIT(22), 0);
    assert_int_equal(ask(0x80000001, 0).edx & BIT(27), 0);
}

static void caches(void **state)
{
    (void)state;
    /* Type and level stay; cores and threads that share it are 1 (encoded 0). */
    expect(4, 0, 0x0121, 0x1c0003f, 0x3f, 0);
    expect(4, 2, 0x0123, 0x1c0003f, 0x3f, 2);
    /* Type 0 ends the list. */
    expect(4, 3, 0, 0, 0, 0);
    expect(4, 4, 0, 0, 0, 0);
    expect(4, UINT32_MAX, 0, 0, 0, 0);
}

static void xsave_leaf(void **state)
{
    (void)state;
    /* XCR0 = x87 after reset: legacy area and header. All components: up to 2688. */
    expect(0xd, 0, 0xe7, 576, 2688, 0);
    /* XSAVEOPT, XGETBV; neither XSAVEC nor XSAVES, and no supervisor components. */
    expect(0xd, 1, 5, 576, 0, 0);
    expect(0xd, 2, 256, 576, 0, 0);
    /* MPX's components are not offered, though the host has them. */
    expect(0xd, 3, 0, 0, 0, 0);
    expect(0xd, 4, 0, 0, 0, 0);
    expect(0xd, 5, 64, 1088, 0, 0);
    expect(0xd, 6, 512, 1152, 2, 0);
    expect(0xd, 7, 1024, 1664, 0, 0);
    for (uint32_t subleaf = 8; subleaf < 70; subleaf++)
        expect(0xd, subleaf, 0, 0, 0, 0);
    expect(0xd, UINT32_MAX, 0, 0, 0, 0);
}

/* Sizes follow XCR0: standard to the end of the last component, compacted one after the other. */
static void xsave_sizes(void **state)
{
    static const struct {
        uint64_t xcr0;
        uint32_t standard, compacted;
    } rows[] = {
        {XCR0_X87, 576, 576},
        {XCR0_X87 | XCR0_SSE, 576, 576},
        {XCR0_X87 | XCR0_SSE | XCR0_AVX, 832, 832},
        /* 576 + 256 + 64 = 896, aligned already, + 512 + 1024 */
        {ALL, 2688, 2432},
        {XCR0_X87, 576, 576},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        cpuid_policy_xcr0(&policy, rows[i].xcr0);
        assert_int_equal(ask(0xd, 0).ebx, rows[i].standard);
        assert_int_equal(ask(0xd, 1).ebx, rows[i].compacted);
        /* What could be enabled stays. */
        assert_int_equal(ask(0xd, 0).eax, 0xe7);
        assert_int_equal(ask(0xd, 0).ecx, 2688);
    }
}

static void osxsave(void **state)
{
    uint32_t ecx = ask(1, 0).ecx;

    (void)state;
    cpuid_policy_osxsave(&policy, true);
    assert_int_equal(ask(1, 0).ecx, ecx | BIT(27));
    cpuid_policy_osxsave(&policy, true);
    assert_int_equal(ask(1, 0).ecx, ecx | BIT(27));
    cpuid_policy_osxsave(&policy, false);
    assert_int_equal(ask(1, 0).ecx, ecx);
}

/* TSC = crystal * EBX / EAX: exact to a few Hz, also if the frequency needs more than 32 bits. */
static void tsc_leaves(void **state)
{
    static const uint64_t hz[] = {1000000,       HZ, 4294967295ull, 4294967296ull, 5200000001ull,
                                  12884901889ull};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(hz); i++) {
        struct cpuid_regs r;
        uint64_t told;

        env.tsc_hz = hz[i];
        cpuid_policy_make(&policy, &env);
        r = ask(0x15, 0);
        assert_int_not_equal(r.eax, 0);
        assert_int_not_equal(r.ebx, 0);
        assert_int_equal(r.edx, 0);
        told = (uint64_t)r.ecx * r.ebx / r.eax;
        assert_true(told <= hz[i] && hz[i] - told < 8);
        expect(0x16, 0, (uint32_t)(hz[i] / 1000000), (uint32_t)(hz[i] / 1000000), 0, 0);
        expect(0x40000010, 0, (uint32_t)(hz[i] / 1000), r.ecx / 1000, 0, 0);
    }
}

static void expect_signature(uint32_t leaf, uint32_t highest, const char *name)
{
    struct cpuid_regs r = ask(leaf, 0);
    char signature[13] = "";

    assert_int_equal(r.eax, highest);
    memcpy(signature, &r.ebx, 4);
    memcpy(signature + 4, &r.ecx, 4);
    memcpy(signature + 8, &r.edx, 4);
    assert_string_equal(signature, name);
}

/* Linux kernel documentation "KVM CPUID bits". */
static void hypervisor_leaves(void **state)
{
    (void)state;
    expect_signature(0x40000000, 0x40000010, "KVMKVMKVM");
    expect_signature(0x40000100, 0x40000100, "BulkheadHV");
    expect(0x40000001, 0, BIT(1) | BIT(3) | BIT(24), 0, 0, 0);
    expect(0x40000010, 7, HZ / 1000, HZ / 1000, 0, 0);
    for (uint32_t leaf = 0x40000002; leaf < 0x40000200; leaf++)
        if (leaf != 0x40000010 && leaf != 0x40000100)
            expect(leaf, 0, 0, 0, 0, 0);
}

static void extended_leaves(void **state)
{
    (void)state;
    /* LAHF64, LZCNT, PREFETCHW; SYSCALL, NX, 1 GB pages, RDTSCP, long mode. Not SVM. */
    /* Of AMD's too: what has no MSR, and no state beyond XCR0's. Not: SVM, IBS, SKINIT, topology,
     * performance counters. */
    expect(0x80000001, 0, 0, 0, EXT1 | BIT(11) | BIT(16),
           BIT(11) | BIT(20) | BIT(22) | BIT(26) | BIT(27) | BIT(29));
    for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; leaf++)
        expect(leaf, 0, leaf, 2, 3, 4);
    expect(0x80000005, 0, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
    expect(0x80000007, 0, 0, 0, 0, BIT(8));
    /* CLZERO, XSAVEERPTR. WBNOINVD exits, RDPRU is #UD, IBPB and the like have MSRs. */
    expect(0x80000008, 0, 0x00003027, BIT(0) | BIT(2), 0, 0);
}

static struct cpuid_regs host_la57(uint32_t leaf, uint32_t subleaf)
{
    struct cpuid_regs r = rich_host(leaf, subleaf);

    if (leaf == 0x80000008)
        r.eax = 0x00003934; /* 57 linear bits, 52 physical ones */
    return r;
}

/* Five levels are hidden, so linear addresses have 48 bits. */
static void linear_width(void **state)
{
    (void)state;
    env.host = host_la57;
    cpuid_policy_make(&policy, &env);
    expect(0x80000008, 0, 0x00003034, BIT(0) | BIT(2), 0, 0);
}

static void hidden_leaves(void **state)
{
    /* MONITOR, power, DCA, PMU, topology, PQM, PQE, SGX, PT. */
    static const uint32_t basic[] = {3,   5,   6,    8,    9,    0xa,  0xb, 0xc,
                                     0xe, 0xf, 0x10, 0x11, 0x12, 0x13, 0x14};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(basic); i++)
        for (uint32_t subleaf = 0; subleaf < 3; subleaf++)
            expect(basic[i], subleaf, 0, 0, 0, 0);
}

/* SDM 2A "CPUID": "the data for the highest basic information leaf is returned". The APM: zero. */
static void out_of_range(void **state)
{
    static const uint32_t leaves[] = {0x17,       0x18,       0x1f,       0x20,       0x3fffffff,
                                      0x50000000, 0x7fffffff, 0x80000009, 0x80000021, 0x8fffffff,
                                      0xc0000000, 0xc0000001, 0xffffffff};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(leaves); i++) {
        expect(leaves[i], 0, HZ / 1000000, HZ / 1000000, 0, 0);
        expect(leaves[i], UINT32_MAX, HZ / 1000000, HZ / 1000000, 0, 0);
    }
    expect(0x40000011, 0, 0, 0, 0, 0); /* no CPU answers there */
    expect(0x4fffffff, 0, 0, 0, 0, 0);
    env.host = poor_host; /* not Intel's */
    cpuid_policy_make(&policy, &env);
    for (unsigned i = 0; i < ARRAY_LEN(leaves); i++)
        expect(leaves[i], 0, 0, 0, 0, 0);
}

/* SDM 4 "IA-32 Architectural MSRs", IA32_MISC_ENABLE bits 22 and 34. */
static void limits(void **state)
{
    const uint32_t edx = ask(0x80000001, 0).edx;

    (void)state;
    cpuid_policy_limit(&policy, true, true);
    assert_int_equal(ask(0, 0).eax, 2);
    assert_int_equal(ask(0x80000001, 0).edx, edx & ~BIT(20));
    cpuid_policy_limit(&policy, false, false);
    assert_int_equal(ask(0, 0).eax, 0x16);
    assert_int_equal(ask(0x80000001, 0).edx, edx);
    env.host = poor_host; /* without XD */
    cpuid_policy_make(&policy, &env);
    cpuid_policy_limit(&policy, false, false);
    assert_int_equal(ask(0x80000001, 0).edx, 0);
}

/* Leaves without subleaves look the same for any value of ECX. */
static void subleaf_does_not_matter(void **state)
{
    static const uint32_t leaves[] = {0, 1, 2, 0x15, 0x16, 0x80000001, 0x80000008, 0x40000000};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(leaves); i++)
        assert_ptr_equal(cpuid_policy_lookup(&policy, leaves[i], 0),
                         cpuid_policy_lookup(&policy, leaves[i], UINT32_MAX));
}

/* SDM 2B "XSETBV", for every combination of ten bits. */
static void xcr0_values(void **state)
{
    (void)state;
    for (uint64_t x = 0; x < 1024; x++) {
        bool avx512 = (x & 0xe0) == 0xe0;
        bool ok = (x & 1) && (!(x & 4) || (x & 2)) && (avx512 ? (x & 4) != 0 : (x & 0xe0) == 0) &&
                  !(x & ~0xe7ull);

        assert_int_equal(xcr0_valid(x, ALL), ok);
        /* Never more than the CPU has. */
        assert_int_equal(xcr0_valid(x, 7), ok && !(x & ~7ull));
        assert_int_equal(xcr0_valid(x, 3), ok && !(x & ~3ull));
        assert_false(xcr0_valid(x, 0));
    }
    assert_false(xcr0_valid(1ull << 63 | 1, ALL));
    assert_false(xcr0_valid(1ull << 32 | 1, ALL));
    assert_false(xcr0_valid(UINT64_MAX, ALL));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(highest_leaves),
        TEST(leaf_1),
        TEST(leaf_7),
        TEST(local_apic),
        TEST(what_the_host_lacks),
        TEST(what_firmware_has_limited),
        TEST(without_xsave),
        TEST(without_avx),
        TEST(without_invpcid_and_rdtscp),
        TEST(caches),
        TEST(xsave_leaf),
        TEST(xsave_sizes),
        TEST(osxsave),
        TEST(tsc_leaves),
        TEST(hypervisor_leaves),
        TEST(extended_leaves),
        TEST(linear_width),
        TEST(hidden_leaves),
        TEST(out_of_range),
        TEST(limits),
        TEST(subleaf_does_not_matter),
        TEST(xcr0_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
