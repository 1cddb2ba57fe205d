/* SOURCES: arch/x86/guest/msr.c hv/lib.c */
#include "arch/x86/guest/msr.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TSC           0x10u
#define PLATFORM_ID   0x17u
#define APIC_BASE     0x1bu
#define FEATURE_CTL   0x3au
#define UPDT_TRIG     0x79u
#define SIGN_ID       0x8bu
#define MISC_ENABLE   0x1a0u
#define DEBUGCTL      0x1d9u
#define MTRRCAP       0x0feu
#define MTRR_DEF_TYPE 0x2ffu

#define BITMAP        4096u
#define GUARD         0xa5u

/* SYSENTER_CS, _ESP, _EIP, PAT, EFER, STAR, LSTAR, CSTAR, FMASK, FS_BASE, GS_BASE, KERNEL_GS_BASE,
 * TSC_AUX: their numbers typed from SDM 4. */
static const uint32_t own[] = {0x174,      0x175,      0x176,      0x277,      0xc0000080,
                               0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000100,
                               0xc0000101, 0xc0000102, 0xc0000103};

static struct msr_policy policy;

static int setup(void **state)
{
    (void)state;
    memset(&policy, 0x5a, sizeof(policy));
    msr_policy_reset(&policy);
    return 0;
}

static bool is_own(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_LEN(own); i++)
        if (own[i] == msr)
            return true;
    return false;
}

/* The bit as SDM 3C "MSR-Bitmap Address" places it: read low, read high, write low, write high. */
static bool raw_bit(const uint8_t *bitmap, uint32_t msr, bool write)
{
    unsigned at = (write ? 2048u : 0) + (msr >= 0xc0000000u ? 1024u : 0);

    return bitmap[at + (msr & 0x1fff) / 8] >> (msr % 8) & 1;
}

static void every_bit_of_the_bitmap(void **state)
{
    uint8_t memory[BITMAP + 16];
    unsigned clear = 0;

    (void)state;
    memset(memory, GUARD, sizeof(memory));
    msr_bitmap_make(memory);
    for (unsigned half = 0; half < 2; half++)
        for (uint32_t i = 0; i < 0x2000; i++) {
            uint32_t msr = half * 0xc0000000u + i;
            bool read = !is_own(msr) && msr != TSC, write = !is_own(msr);

            assert_int_equal(raw_bit(memory, msr, false), read);
            assert_int_equal(raw_bit(memory, msr, true), write);
        }
    for (unsigned i = 0; i < BITMAP * 8; i++)
        clear += !(memory[i / 8] >> (i % 8) & 1);
    assert_int_equal(clear, 2 * ARRAY_LEN(own) + 1);
    for (unsigned i = BITMAP; i < sizeof(memory); i++)
        assert_int_equal(memory[i], GUARD);
}

static void one_more_msr(void **state)
{
    static uint8_t memory[BITMAP];

    (void)state;
    msr_bitmap_make(memory);
    msr_bitmap_allow(memory, 0x808, false);
    msr_bitmap_allow(memory, 0x80b, true);
    for (uint32_t msr = 0x800; msr < 0x900; msr++) {
        assert_int_equal(raw_bit(memory, msr, false), msr != 0x808);
        assert_int_equal(raw_bit(memory, msr, true), msr != 0x80b);
    }
}

static void expect(uint32_t msr, uint64_t expected)
{
    struct msr_read r = msr_policy_read(&policy, msr);

    assert_int_equal(r.result, MSR_DONE);
    assert_int_equal(r.value, expected);
}

static void after_reset(void **state)
{
    (void)state;
    expect(PLATFORM_ID, 0);
    /* Locked, VMX off. */
    expect(FEATURE_CTL, 1);
    expect(SIGN_ID, 1ull << 32);
    /* Fast strings; no BTS, no PEBS; no XD disable (bit 34), no limit of CPUID (bit 22). */
    expect(MISC_ENABLE, 1 | 1 << 11 | 1 << 12);
    assert_int_equal(msr_policy_read(&policy, DEBUGCTL).result, MSR_DEBUGCTL);
}

/* IA32_APIC_BASE, IA32_TSC_DEADLINE, and the x2APIC's: the local APIC's affair. */
static bool is_apic(uint32_t msr)
{
    return msr == APIC_BASE || msr == 0x6e0 || (msr >= 0x800 && msr <= 0x8ff);
}

static bool readable(uint32_t msr)
{
    return msr == PLATFORM_ID || msr == FEATURE_CTL || msr == SIGN_ID || msr == MISC_ENABLE ||
           msr == DEBUGCTL || msr == MTRRCAP || msr == MTRR_DEF_TYPE;
}

static bool writable(uint32_t msr)
{
    return msr == TSC || msr == UPDT_TRIG || msr == SIGN_ID || msr == MISC_ENABLE ||
           msr == DEBUGCTL;
}

static void check_unknown(uint32_t msr)
{
    struct msr_policy before = policy;

    enum msr_result expected = is_apic(msr) ? MSR_APIC : MSR_FAULT;

    if (!readable(msr))
        assert_int_equal(msr_policy_read(&policy, msr).result, expected);
    /* The default memory type is tried on its own. */
    if (!writable(msr) && msr != MTRR_DEF_TYPE) {
        assert_int_equal(msr_policy_write(&policy, msr, 0), expected);
        assert_int_equal(msr_policy_write(&policy, msr, UINT64_MAX), expected);
    }
    assert_memory_equal(&before, &policy, sizeof(policy));
}

static void everything_else_faults(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 0x20000; i++) {
        check_unknown(i);
        check_unknown(0xc0000000u + i);
        check_unknown(0x40000000u + i);
        check_unknown(0x80000000u + i);
        check_unknown(0xfffe0000u + i);
    }
}

static void debugctl(void **state)
{
    (void)state;
    assert_int_equal(msr_policy_write(&policy, DEBUGCTL, 0), MSR_DEBUGCTL);
    assert_int_equal(msr_policy_write(&policy, DEBUGCTL, 3), MSR_DEBUGCTL);
    for (unsigned bit = 0; bit < 64; bit++)
        assert_int_equal(msr_policy_write(&policy, DEBUGCTL, 1ull << bit),
                         bit < 2 ? MSR_DEBUGCTL : MSR_FAULT);
    assert_int_equal(msr_policy_write(&policy, DEBUGCTL, UINT64_MAX), MSR_FAULT);
}

static void misc_enable(void **state)
{
    (void)state;
    const uint64_t fixed = 1 << 11 | 1 << 12; /* no BTS, no PEBS: read-only */

    /* Fast strings, thermal control, SpeedStep, MONITOR, limit of CPUID, xTPR, XD disable. */
    static const uint64_t writable =
        1 << 0 | 1 << 3 | 1 << 16 | 1 << 18 | 1 << 22 | 1 << 23 | 1ull << 34;

    for (unsigned bit = 0; bit < 64; bit++) {
        bool works = (writable | fixed) >> bit & 1;

        assert_int_equal(msr_policy_write(&policy, MISC_ENABLE, fixed | 1ull << bit),
                         works ? MSR_CPUID : MSR_FAULT);
        if (works)
            expect(MISC_ENABLE, fixed | 1ull << bit);
    }
    assert_int_equal(msr_policy_write(&policy, MISC_ENABLE, 0), MSR_FAULT);
}

static void mtrr(void **state)
{
    (void)state;
    expect(MTRRCAP, 0); /* neither fixed nor variable ranges */
    expect(MTRR_DEF_TYPE, 0x806);
    /* SDM 3A table "Memory Types That Can Be Encoded in MTRRs". */
    for (unsigned type = 0; type < 256; type++)
        assert_int_equal(msr_policy_write(&policy, MTRR_DEF_TYPE, 0x800 | type),
                         type == 0 || type == 1 || (type >= 4 && type <= 6) ? MSR_DONE : MSR_FAULT);
    expect(MTRR_DEF_TYPE, 0x806);
    for (unsigned bit = 8; bit < 64; bit++)
        assert_int_equal(msr_policy_write(&policy, MTRR_DEF_TYPE, 1ull << bit),
                         bit == 10 || bit == 11 ? MSR_DONE : MSR_FAULT);
    expect(MTRR_DEF_TYPE, 0x800);
    assert_int_equal(msr_policy_write(&policy, MTRRCAP, 0), MSR_FAULT);
}

static void microcode(void **state)
{
    (void)state;
    assert_int_equal(msr_policy_write(&policy, SIGN_ID, 0), MSR_DONE);
    expect(SIGN_ID, 1ull << 32);
    assert_int_equal(msr_policy_write(&policy, SIGN_ID, UINT64_MAX), MSR_DONE);
    expect(SIGN_ID, 1ull << 32);
    assert_int_equal(msr_policy_write(&policy, UPDT_TRIG, 0xdeadbeef), MSR_DONE);
    expect(SIGN_ID, 1ull << 32);
}

static void tsc(void **state)
{
    (void)state;
    assert_int_equal(msr_policy_write(&policy, TSC, 0), MSR_TSC);
    assert_int_equal(msr_policy_write(&policy, TSC, UINT64_MAX), MSR_TSC);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(every_bit_of_the_bitmap),
        TEST(one_more_msr),
        TEST(after_reset),
        TEST(everything_else_faults),
        TEST(debugctl),
        TEST(misc_enable),
        TEST(mtrr),
        TEST(microcode),
        TEST(tsc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
