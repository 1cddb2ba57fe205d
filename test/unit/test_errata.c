/* SOURCES: */
/* Which CPUs have a known fault, by their signatures, and what is written to their MSRs. */
#include "test/unit/fake_cpu.h"

#include "arch/x86/cpu/errata.c"
#include "arch/x86/cpu/machine_check.c"

#define ZEN_1      0x800f12u
#define ZEN_2_ROME 0x830f10u

static void families(void **state)
{
    (void)state;
    assert_int_equal(signature_family(0x100f43), 0x10);
    assert_int_equal(signature_family(ZEN_1), 0x17);
    assert_int_equal(signature_family(0xa20f10), 0x19);
    assert_int_equal(signature_family(0x506e3), 6);
    assert_int_equal(signature_model(ZEN_2_ROME), 0x31);
    assert_int_equal(signature_model(0x506e3), 0x5e);
}

/* AMD's family 10h: errata 400 and 383; others have neither. */
static void family_10h(void **state)
{
    static const uint32_t with[] = {0x100f22, 0x100f43, 0x100fa0};
    static const uint32_t without[] = {0x300f10, 0x500f20, 0x600f12, ZEN_1, 0xa20f10};

    for (unsigned i = 0; i < ARRAY_LEN(with); i++) {
        fake_cpu_new(state);
        fake_msr(MSR_AMD_INT_PENDING, 0x18000055);
        fake_msr(MSR_AMD_DC_CFG, 0x0000000010000000);
        errata_fix_core(with[i]);
        assert_int_equal(fake_value(MSR_AMD_INT_PENDING), 0x55);
        assert_int_equal(fake_value(MSR_AMD_DC_CFG), 0x0000800010000000);
    }
    for (unsigned i = 0; i < ARRAY_LEN(without); i++) {
        fake_cpu_new(state);
        fake_msr(MSR_AMD_INT_PENDING, 0x18000055);
        fake_msr(MSR_AMD_DC_CFG, 0);
        errata_fix_core(without[i]);
        assert_int_equal(fake_writes(MSR_AMD_INT_PENDING) + fake_writes(MSR_AMD_DC_CFG), 0);
    }
}

static void fixed_already(void **state)
{
    (void)state;
    fake_msr(MSR_AMD_INT_PENDING, 0);
    fake_msr(MSR_AMD_DC_CFG, 1ull << 47);
    errata_fix_core(0x100f43);
    assert_int_equal(fake_writes(MSR_AMD_INT_PENDING) + fake_writes(MSR_AMD_DC_CFG), 0);
}

/* An emulator or a hypervisor does not have them. */
static void no_such_msrs(void **state)
{
    (void)state;
    errata_fix_core(0x100f43);
    errata_fix_core(ZEN_2_ROME);
    assert_int_equal(fake_cpu.wrong_writes, 0);
}

static void zen(void **state)
{
    static const struct {
        uint32_t signature, msr;
        uint64_t value;
    } rows[] = {
        {ZEN_1, MSR_AMD_FP_CFG, 1u << 9},
        {0x850f00, MSR_AMD_FP_CFG, 1u << 9},
        {ZEN_2_ROME, MSR_AMD_FP_CFG, 0},
        {ZEN_2_ROME, MSR_AMD_DE_CFG, 1u << 9},
        {0x860f01, MSR_AMD_DE_CFG, 1u << 9},
        {0x870f10, MSR_AMD_DE_CFG, 1u << 9},
        {0x890f00, MSR_AMD_DE_CFG, 1u << 9},
        {0x8a0f00, MSR_AMD_DE_CFG, 1u << 9},
        {ZEN_1, MSR_AMD_DE_CFG, 0},
        {0xa20f10, MSR_AMD_DE_CFG, 0},
        {ZEN_2_ROME, MSR_AMD_DE_CFG2, 1u << 1},
        {ZEN_1, MSR_AMD_DE_CFG2, 0},
        {0xa10f11, MSR_AMD_BP_CFG, 1u << 5},
        {0xa60f12, MSR_AMD_BP_CFG, 1u << 5},
        {0xa20f10, MSR_AMD_BP_CFG, 0},
        {0x700f01, MSR_AMD_LS_CFG, 1u << 15},
        {0x730f01, MSR_AMD_LS_CFG, 0},
        {0x300f10, MSR_AMD_DE_CFG, 1u << 31},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        fake_cpu_new(state);
        fake_msr(rows[i].msr, 0);
        errata_fix_core(rows[i].signature);
        assert_int_equal(fake_value(rows[i].msr), rows[i].value);
    }
}

static void preemption_timer(void **state)
{
    (void)state;
    assert_true(erratum_preemption_timer_is_off(0x20652));
    assert_true(erratum_preemption_timer_is_off(0x20655 | 0x30000000)); /* reserved bits */
    assert_true(erratum_preemption_timer_is_off(0x306a8));
    assert_false(erratum_preemption_timer_is_off(0x306a9)); /* the next stepping */
    assert_false(erratum_preemption_timer_is_off(0x206c2));
    assert_false(erratum_preemption_timer_is_off(0x50654));
}

static void tsc_deadline(void **state)
{
    static const struct {
        uint32_t signature, revision;
    } rows[] = {
        {0x306c3, 0x22},       {0x306f2, 0x3a},       {0x306f4, 0x0f}, {0x406f1, 0x0b000020},
        {0x50663, 0x0700000e}, {0x50654, 0x02000014}, {0x506e3, 0xb2}, {0x906e9, 0x52},
        {0x306f3, 0},          {0x50656, 0},          {0x306a9, 0},    {0x606a6, 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(erratum_deadline_fixed_by(rows[i].signature), rows[i].revision);
    assert_int_equal(erratum_deadline_fixed_by(0x506e3 | 0x30000000), 0xb2); /* reserved bits */
}

/* ---- machine checks ---- */

#define BANKS 6u

static void banks(uint32_t signature, uint64_t status)
{
    fake_leaf(1, 0, (struct cpuid_regs){.eax = signature});
    fake_msr(MSR_IA32_MCG_CAP, BANKS);
    fake_msr(MSR_IA32_MCG_STATUS, 7);
    for (unsigned i = 0; i < BANKS; i++)
        fake_msr(MSR_IA32_MC0_STATUS + 4 * i, i == 0 ? status : 5);
}

/* Bit 62, overflow, may be set or not. All banks are cleared, and MCG_STATUS.MCIP: with it a second
 * machine check would shut the processor down. */
static void guests_machine_check(void **state)
{
    static const uint64_t statuses[] = {0xb600000000010015, 0xf600000000010015};

    for (unsigned i = 0; i < ARRAY_LEN(statuses); i++) {
        fake_cpu_new(state);
        banks(0x100f43, statuses[i]);
        assert_true(machine_check_is_guests());
        for (unsigned bank = 0; bank < BANKS; bank++)
            assert_int_equal(fake_value(MSR_IA32_MC0_STATUS + 4 * bank), 0);
        assert_int_equal(fake_value(MSR_IA32_MCG_STATUS), 3);
        assert_int_equal(fake_cpu.wrong_writes, 0);
    }
}

/* What the dump is to show stays. */
static void hosts_machine_check(void **state)
{
    static const struct {
        uint32_t signature;
        uint64_t status;
    } others[] = {
        {0x100f43, 0xb600000000010016}, {0x100f43, 0xbe00000000010015}, {0x100f43, 0},
        {ZEN_1, 0xb600000000010015},    {0x50654, 0xb600000000010015},
    };

    for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
        fake_cpu_new(state);
        banks(others[i].signature, others[i].status);
        assert_false(machine_check_is_guests());
        assert_int_equal(fake_value(MSR_IA32_MC0_STATUS), others[i].status);
        assert_int_equal(fake_value(MSR_IA32_MC0_STATUS + 4), 5);
        assert_int_equal(fake_value(MSR_IA32_MCG_STATUS), 7);
    }
    fake_cpu_new(state);
    fake_leaf(1, 0, (struct cpuid_regs){.eax = 0x100f43});
    assert_false(machine_check_is_guests()); /* no such MSRs */
}

#define TEST(f) cmocka_unit_test_setup(f, fake_cpu_new)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(families),
        TEST(family_10h),
        TEST(fixed_already),
        TEST(no_such_msrs),
        TEST(zen),
        TEST(preemption_timer),
        TEST(tsc_deadline),
        TEST(guests_machine_check),
        TEST(hosts_machine_check),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
