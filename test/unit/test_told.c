/* SOURCES: arch/x86/cpu/told.c hv/lib.c */
#include "arch/x86/cpu/told.h"

#include "arch/x86/cpu/msr.h"
#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define MHZ 1000000ull

/* A CPU's leaves and MSRs. */
static struct cpu {
    const char *vendor, *hypervisor; /* hypervisor NULL: none */
    uint32_t signature, highest, highest_hypervisor;
    struct cpuid_regs leaf15;
    uint32_t base_mhz, tsc_khz;
    uint64_t platform_info, hwcr, pstate; /* 0: no such MSR */
} cpu;

static struct cpuid_regs model_cpuid(void *ctx, uint32_t leaf)
{
    struct cpuid_regs r = {0};

    assert_ptr_equal(ctx, &cpu);
    if (leaf >= 0x40000000) {
        assert_non_null(cpu.hypervisor);
        if (leaf == 0x40000000) {
            r.eax = cpu.highest_hypervisor;
            memcpy(&r.ebx, cpu.hypervisor, 4);
            memcpy(&r.ecx, cpu.hypervisor + 4, 4);
            memcpy(&r.edx, cpu.hypervisor + 8, 4);
            return r;
        }
        assert_true(leaf <= cpu.highest_hypervisor);
        assert_int_equal(leaf, 0x40000010);
        r.eax = cpu.tsc_khz;
        return r;
    }
    assert_true(leaf <= cpu.highest);
    switch (leaf) {
    case 0:
        r.eax = cpu.highest;
        memcpy(&r.ebx, cpu.vendor, 4);
        memcpy(&r.edx, cpu.vendor + 4, 4);
        memcpy(&r.ecx, cpu.vendor + 8, 4);
        break;
    case 1:
        r.eax = cpu.signature;
        r.ecx = cpu.hypervisor ? CPUID_1_ECX_HYPERVISOR : 0;
        break;
    case 0x15:
        return cpu.leaf15;
    case 0x16:
        r.eax = cpu.base_mhz | 0xabcd0000; /* the upper half is reserved */
        break;
    default:
        fail();
    }
    return r;
}

static int model_rdmsr(void *ctx, uint32_t msr, uint64_t *v)
{
    bool intel = memcmp(cpu.vendor, "Genu", 4) == 0;

    (void)ctx;
    switch (msr) {
    case MSR_PLATFORM_INFO:
        assert_true(intel);
        *v = cpu.platform_info;
        break;
    case MSR_AMD_HWCR:
        assert_false(intel);
        *v = cpu.hwcr;
        break;
    case MSR_AMD_PSTATE_DEF0:
        assert_false(intel);
        *v = cpu.pstate;
        break;
    default:
        fail();
    }
    return *v ? 0 : -E_NOTSUP;
}

static uint64_t hz[CALIBRATE_SOURCES];

static void ask(const struct cpu *c)
{
    const struct told_ops ops = {model_cpuid, model_rdmsr, &cpu};

    cpu = *c;
    memset(hz, 0xee, sizeof(hz));
    told_tsc_hz(&ops, hz);
    assert_int_equal(hz[CALIBRATE_HPET], 0xeeeeeeeeeeeeeeee); /* not ours */
}

static void intel(void **state)
{
    struct cpu c = {.vendor = "GenuineIntel",
                    .signature = 0x806ea,
                    .highest = 0x16, /* Kaby Lake */
                    .leaf15 = {2, 166, 0, 0},
                    .base_mhz = 2000,
                    .platform_info = 0x80838f3011400};

    (void)state;
    ask(&c);
    assert_int_equal(hz[CALIBRATE_CPUID_15], 1992 * MHZ);
    assert_int_equal(hz[CALIBRATE_CPUID_16], 2000 * MHZ);
    assert_int_equal(hz[CALIBRATE_PLATFORM_INFO], 2000 * MHZ);
    assert_int_equal(hz[CALIBRATE_HYPERVISOR], 0);
    assert_int_equal(hz[CALIBRATE_PSTATE], 0);
    c.leaf15.ecx = 38400000; /* the CPU's own word goes before the table */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_CPUID_15], 3187200000);
    c.platform_info = 0;
    c.leaf15 = (struct cpuid_regs){0, 166, 0, 0}; /* not enumerated */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_CPUID_15], 0);
    assert_int_equal(hz[CALIBRATE_PLATFORM_INFO], 0);
    c = (struct cpu){.vendor = "GenuineIntel",
                     .signature = 0x506c9,
                     .highest = 0x15, /* Goldmont */
                     .leaf15 = {3, 171, 0, 0},
                     .platform_info = 0x80838f3011400};
    ask(&c);
    assert_int_equal(hz[CALIBRATE_CPUID_15], 1094400000);
    assert_int_equal(hz[CALIBRATE_CPUID_16], 0);
    assert_int_equal(hz[CALIBRATE_PLATFORM_INFO], 0); /* not asked: its bus clock is another's */
    c = (struct cpu){.vendor = "GenuineIntel",
                     .signature = 0x106a5,
                     .highest = 0xb, /* Nehalem */
                     .platform_info = 22 << 8};
    ask(&c);
    assert_int_equal(hz[CALIBRATE_PLATFORM_INFO], 2933326000);
    assert_int_equal(hz[CALIBRATE_CPUID_15], 0);
    c = (struct cpu){.vendor = "GenuineIntel",
                     .signature = 0xc06f2,
                     .highest = 0x20,
                     .leaf15 = {1, 104, 0, 0}}; /* no crystal, and an unknown model */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_CPUID_15], 0);
}

static void amd(void **state)
{
    struct cpu c = {.vendor = "AuthenticAMD",
                    .signature = 0x800f12,
                    .highest = 0xd, /* Zen */
                    .hwcr = HWCR_TSC_FREQ_SEL,
                    .pstate = PSTATE_EN | 8 << 8 | 0x88};

    (void)state;
    ask(&c);
    assert_int_equal(hz[CALIBRATE_PSTATE], 3400 * MHZ);
    c.pstate = 8 << 8 | 0x88; /* P-state 0 is not enabled */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_PSTATE], 0);
    c.pstate = PSTATE_EN | 0x88; /* divisor 0 */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_PSTATE], 0);
    c.pstate = PSTATE_EN | 8 << 8 | 0x88;
    c.hwcr = 1; /* the TSC counts something else */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_PSTATE], 0);
    c.hwcr = 0; /* a hypervisor without these MSRs */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_PSTATE], 0);
    c.hwcr = HWCR_TSC_FREQ_SEL;
    c.signature = 0xb40f40; /* family 1Ah has another layout */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_PSTATE], 0);
}

static void hypervisors(void **state)
{
    struct cpu c = {.vendor = "AuthenticAMD",
                    .signature = 0x800f12,
                    .highest = 0xd,
                    .hypervisor = "VMwareVMware",
                    .highest_hypervisor = 0x40000010,
                    .tsc_khz = 2399999};

    (void)state;
    ask(&c);
    assert_int_equal(hz[CALIBRATE_HYPERVISOR], 2399999000);
    c.tsc_khz = 0;
    ask(&c);
    assert_int_equal(hz[CALIBRATE_HYPERVISOR], 0);
    c.tsc_khz = UINT32_MAX; /* not possible */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_HYPERVISOR], 0);
    c.tsc_khz = 2399999;
    c.hypervisor = "Microsoft Hv"; /* this leaf is something else there */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_HYPERVISOR], 0);
    c.hypervisor = "KVMKVMKVM\0\0\0";
    c.highest_hypervisor = 0x40000001;
    ask(&c);
    assert_int_equal(hz[CALIBRATE_HYPERVISOR], 0);
    c.highest_hypervisor = 0; /* as old KVM says */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_HYPERVISOR], 0);
}

static void impossible(void **state)
{
    struct cpu c = {.vendor = "GenuineIntel",
                    .signature = 0x806ea,
                    .highest = 0x16,
                    .leaf15 = {1, UINT32_MAX, UINT32_MAX, 0},
                    .platform_info = UINT64_MAX};

    (void)state;
    ask(&c);
    assert_int_equal(hz[CALIBRATE_CPUID_15], 0);
    assert_int_equal(hz[CALIBRATE_CPUID_16], 0);
    c.leaf15 = (struct cpuid_regs){UINT32_MAX, 1, 24000000, 0}; /* not even 1 Hz */
    ask(&c);
    assert_int_equal(hz[CALIBRATE_CPUID_15], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intel),
        cmocka_unit_test(amd),
        cmocka_unit_test(hypervisors),
        cmocka_unit_test(impossible),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
