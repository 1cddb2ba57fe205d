/* SOURCES: */
/* What the root does on which CPU so that guests do not learn of others, as writes to MSRs and as
 * instructions. */
#include "test/unit/fake_cpu.h"

#include "arch/x86/cpu/leaks.c"

#define EXT(n)            (0x80000000u + (n))
#define CPUID_88_EBX_IBRS (1u << 14)

static void vendor(uint32_t ebx)
{
    fake_leaf(0, 0, (struct cpuid_regs){.eax = 0x20, .ebx = ebx});
    fake_leaf(EXT(0), 0, (struct cpuid_regs){.eax = EXT(0x21)});
}

/* An Intel CPU with what updated microcode brings. */
static void intel(uint32_t leaf7_ebx, uint32_t leaf7_edx, uint32_t leaf72_edx, uint64_t caps)
{
    vendor(CPUID_0_EBX_INTEL);
    if (caps)
        leaf7_edx |= CPUID_7_EDX_ARCH_CAPS;
    fake_leaf(7, 0, (struct cpuid_regs){.eax = 2, .ebx = leaf7_ebx, .edx = leaf7_edx});
    fake_leaf(7, 2, (struct cpuid_regs){.edx = leaf72_edx});
    fake_msr(MSR_IA32_ARCH_CAPABILITIES, caps);
    fake_msr(MSR_IA32_SPEC_CTRL, 0);
    fake_msr(MSR_IA32_TSX_CTRL, 0);
    fake_msr(MSR_IA32_PRED_CMD, 0);
    fake_msr(MSR_IA32_FLUSH_CMD, 0);
}

static void amd(uint32_t signature, uint32_t ext8_ebx, uint32_t ext21_eax, uint32_t ext21_ecx)
{
    vendor(CPUID_0_EBX_AMD);
    fake_leaf(1, 0, (struct cpuid_regs){.eax = signature});
    fake_leaf(EXT(8), 0, (struct cpuid_regs){.ebx = ext8_ebx});
    fake_leaf(EXT(0x21), 0, (struct cpuid_regs){.eax = ext21_eax, .ecx = ext21_ecx});
    fake_msr(MSR_IA32_SPEC_CTRL, 0);
    fake_msr(MSR_IA32_EFER, EFER_LME | EFER_LMA);
    fake_msr(MSR_IA32_PRED_CMD, 0);
}

/* Of a machine whose boot core this is. */
static uint32_t measures(void)
{
    memset(&cpu_faults, 0, sizeof(cpu_faults));
    found = false;
    leaks_set_up_core();
    return cpu_faults.measures;
}

#define SKYLAKE_EDX (CPUID_7_EDX_MD_CLEAR | CPUID_7_EDX_SPEC_CTRL | CPUID_7_EDX_L1D_FLUSH)

/* Says nothing, has nothing: an emulator, or a CPU with its first microcode. Its MSRs must not be
 * written. */
static void knows_nothing(void **state)
{
    (void)state;
    fake_leaf(0, 0, (struct cpuid_regs){.eax = 1, .ebx = CPUID_0_EBX_INTEL});
    fake_leaf(7, 0, (struct cpuid_regs){UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX});
    assert_int_equal(measures(), 0);
    leaks_change_guest();
    leaks_begin_run();
    /* Only the one that asks for the microcode's revision. */
    assert_int_equal(fake_cpu.wrong_writes, 1);
    assert_int_equal(fake_cpu.verws, 0);
}

static void skylake(void **state)
{
    (void)state;
    intel(0, SKYLAKE_EDX, 0, 0);
    assert_int_equal(measures(), ABI_MEASURE_IBPB | ABI_MEASURE_L1D | ABI_MEASURE_IBRS_EXITS |
                                     ABI_MEASURE_RETURNS);
    assert_int_equal(fake_writes(MSR_IA32_SPEC_CTRL), 0); /* VM exits and entries write it */
    leaks_change_guest();
    assert_int_equal(fake_value(MSR_IA32_PRED_CMD), PRED_CMD_IBPB);
    assert_int_equal(fake_writes(MSR_IA32_FLUSH_CMD), 0);
    leaks_begin_run();
    leaks_begin_run();
    assert_int_equal(fake_value(MSR_IA32_FLUSH_CMD), FLUSH_CMD_L1D);
    assert_int_equal(fake_writes(MSR_IA32_FLUSH_CMD), 2);
    assert_int_equal(fake_writes(MSR_IA32_PRED_CMD), 1);
    assert_int_equal(fake_cpu.verws, 0);
}

/* Not affected by L1TF; transactions are switched off. */
static void cascade_lake(void **state)
{
    (void)state;
    intel(CPUID_7_EBX_RTM, SKYLAKE_EDX, 0,
          ARCH_CAPABILITIES_RDCL_NO | ARCH_CAPABILITIES_IBRS_ALL | ARCH_CAPABILITIES_MDS_NO |
              ARCH_CAPABILITIES_TSX_CTRL);
    assert_int_equal(measures(),
                     ABI_MEASURE_IBPB | ABI_MEASURE_IBRS | ABI_MEASURE_RETURN | ABI_MEASURE_NO_TSX);
    assert_int_equal(fake_value(MSR_IA32_SPEC_CTRL), SPEC_CTRL_IBRS);
    assert_int_equal(fake_value(MSR_IA32_TSX_CTRL), 3);
    leaks_begin_run();
    assert_int_equal(fake_cpu.verws + fake_writes(MSR_IA32_FLUSH_CMD), 0);
}

static void needs_verw(void **state)
{
    const uint64_t no_l1tf = ARCH_CAPABILITIES_RDCL_NO | ARCH_CAPABILITIES_IBRS_ALL;
    const struct {
        uint32_t leaf7_ebx;
        uint64_t caps;
        unsigned verws;
    } rows[] = {
        {0, no_l1tf, 1}, /* MDS */
        {0, no_l1tf | ARCH_CAPABILITIES_MDS_NO, 0},
        {CPUID_7_EBX_RTM, no_l1tf | ARCH_CAPABILITIES_MDS_NO, 1}, /* TAA */
        {CPUID_7_EBX_RTM, no_l1tf | ARCH_CAPABILITIES_MDS_NO | ARCH_CAPABILITIES_TAA_NO, 0},
        {0, no_l1tf | ARCH_CAPABILITIES_MDS_NO | ARCH_CAPABILITIES_RFDS_CLEAR, 1}, /* RFDS */
        {0,
         no_l1tf | ARCH_CAPABILITIES_MDS_NO | ARCH_CAPABILITIES_RFDS_CLEAR |
             ARCH_CAPABILITIES_RFDS_NO,
         0},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fake_cpu_new(state);
        intel(rows[i].leaf7_ebx, SKYLAKE_EDX, 0, rows[i].caps);
        (void)measures();
        leaks_begin_run();
        assert_int_equal(fake_cpu.verws, rows[i].verws);
        assert_int_equal(fake_writes(MSR_IA32_FLUSH_CMD), 0);
    }
}

/* A CPU with BHI_CTRL, from Alder Lake on. */
static void branch_history(void **state)
{
    (void)state;
    intel(0, SKYLAKE_EDX, CPUID_72_EDX_BHI_CTRL,
          ARCH_CAPABILITIES_RDCL_NO | ARCH_CAPABILITIES_IBRS_ALL | ARCH_CAPABILITIES_MDS_NO |
              ARCH_CAPABILITIES_PBRSB_NO);
    assert_int_equal(measures(), ABI_MEASURE_IBPB | ABI_MEASURE_IBRS | ABI_MEASURE_BHI_DIS_S);
    assert_int_equal(fake_value(MSR_IA32_SPEC_CTRL), SPEC_CTRL_IBRS | SPEC_CTRL_BHI_DIS_S);
    fake_cpu_new(state);
    intel(0, SKYLAKE_EDX, CPUID_72_EDX_BHI_CTRL,
          ARCH_CAPABILITIES_RDCL_NO | ARCH_CAPABILITIES_IBRS_ALL | ARCH_CAPABILITIES_MDS_NO |
              ARCH_CAPABILITIES_PBRSB_NO | ARCH_CAPABILITIES_BHI_NO);
    assert_int_equal(measures(), ABI_MEASURE_IBPB | ABI_MEASURE_IBRS);
    assert_int_equal(fake_value(MSR_IA32_SPEC_CTRL), SPEC_CTRL_IBRS);
}

/* Firmware's bits stay, and nothing is written again. */
static void keeps_what_is_set(void **state)
{
    (void)state;
    intel(0, SKYLAKE_EDX, 0,
          ARCH_CAPABILITIES_RDCL_NO | ARCH_CAPABILITIES_IBRS_ALL | ARCH_CAPABILITIES_MDS_NO);
    fake_cpu.msr[fake_msr_at(MSR_IA32_SPEC_CTRL)].value = 4;
    (void)measures();
    assert_int_equal(fake_value(MSR_IA32_SPEC_CTRL), 4 | SPEC_CTRL_IBRS);
    leaks_set_up_core();
    assert_int_equal(fake_writes(MSR_IA32_SPEC_CTRL), 1);
}

static void zens(void **state)
{
    enum { ZEN_1 = 0x800f12, ZEN_3 = 0xa00f11, ZEN_4 = 0xa10f11, ZEN_5 = 0xb00f21 };
    static const struct {
        uint32_t signature, ext8_ebx, ext21_eax, ext21_ecx, measures;
    } rows[] = {
        {ZEN_1, 0, 0, 0, 0}, /* first microcode */
        {ZEN_1, CPUID_88_EBX_IBPB | CPUID_88_EBX_IBRS, 0, 0, ABI_MEASURE_IBPB},
        {ZEN_1, CPUID_88_EBX_IBPB | CPUID_88_EBX_IBRS | CPUID_88_EBX_IBRS_ALWAYS_ON, 0, 0,
         ABI_MEASURE_IBPB | ABI_MEASURE_IBRS},
        {ZEN_3, CPUID_88_EBX_IBPB, 0, 0, ABI_MEASURE_IBPB | ABI_MEASURE_VERW}, /* as it says */
        {ZEN_3, CPUID_88_EBX_IBPB, CPUID_821_EAX_VERW_CLEAR, CPUID_821_ECX_TSA_SQ_NO,
         ABI_MEASURE_IBPB | ABI_MEASURE_VERW},
        {ZEN_4, CPUID_88_EBX_IBPB, CPUID_821_EAX_VERW_CLEAR | CPUID_821_EAX_AUTOMATIC_IBRS,
         CPUID_821_ECX_TSA_SQ_NO | CPUID_821_ECX_TSA_L1_NO,
         ABI_MEASURE_IBPB | ABI_MEASURE_AUTO_IBRS},
        {ZEN_5, CPUID_88_EBX_IBPB, CPUID_821_EAX_AUTOMATIC_IBRS, 0,
         ABI_MEASURE_IBPB | ABI_MEASURE_AUTO_IBRS},
    };

    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool automatic = rows[i].measures & ABI_MEASURE_AUTO_IBRS;

        fake_cpu_new(state);
        amd(rows[i].signature, rows[i].ext8_ebx, rows[i].ext21_eax, rows[i].ext21_ecx);
        assert_int_equal(measures(), rows[i].measures);
        assert_int_equal(fake_value(MSR_IA32_EFER),
                         EFER_LME | EFER_LMA | (automatic ? EFER_AIBRSE : 0));
        assert_int_equal(fake_value(MSR_IA32_SPEC_CTRL),
                         rows[i].measures & ABI_MEASURE_IBRS ? SPEC_CTRL_IBRS : 0);
        leaks_change_guest();
        assert_int_equal(fake_writes(MSR_IA32_PRED_CMD), i > 0);
        leaks_begin_run();
        assert_int_equal(fake_cpu.verws, rows[i].measures & ABI_MEASURE_VERW ? 1 : 0);
    }
}

/* CPUs without leaf 80000021H answer it with the highest basic leaf's values. */
static void no_such_leaf(void **state)
{
    (void)state;
    fake_leaf(0, 0, (struct cpuid_regs){.eax = 0xd, .ebx = CPUID_0_EBX_AMD});
    fake_leaf(EXT(0), 0, (struct cpuid_regs){.eax = EXT(0x1f)});
    fake_leaf(EXT(0x21), 0, (struct cpuid_regs){.eax = UINT32_MAX});
    assert_int_equal(measures(), 0);
}

/* Intel's CPUs show the revision after CPUID, in the high half; AMD's always, in the low half. */
static void microcode_revision(void **state)
{
    intel(0, 0, 0, 0);
    fake_msr(MSR_IA32_BIOS_SIGN_ID, 0x12345678);
    fake_cpu.revision = 0xb2;
    (void)measures();
    assert_int_equal(cpu_faults.microcode, 0xb2);
    fake_cpu_new(state);
    intel(0, 0, 0, 0);
    fake_msr(MSR_IA32_BIOS_SIGN_ID, 0xffull << 32); /* CPUID leaves the 0 that was written */
    (void)measures();
    assert_int_equal(cpu_faults.microcode, 0);
    fake_cpu_new(state);
    amd(0, 0, 0, 0);
    fake_msr(MSR_IA32_BIOS_SIGN_ID, 0x0830107a);
    (void)measures();
    assert_int_equal(cpu_faults.microcode, 0x0830107a);
    assert_int_equal(fake_writes(MSR_IA32_BIOS_SIGN_ID), 0);
}

#define TEST(f) cmocka_unit_test_setup(f, fake_cpu_new)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(knows_nothing), TEST(skylake),        TEST(cascade_lake),
        TEST(needs_verw),    TEST(branch_history), TEST(keeps_what_is_set),
        TEST(zens),          TEST(no_such_leaf),   TEST(microcode_revision),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
