/* SOURCES: arch/x86/cpu/calibrate.c */
#include "arch/x86/cpu/calibrate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HPET_HZ 14318179ull
#define GHZ     1000000000ull
#define ANY     CALIBRATE_SOURCES /* they say the same */

static const uint64_t clocks[] = {CALIBRATE_PIT_HZ, CALIBRATE_PM_TIMER_HZ, HPET_HZ};

static uint64_t hz[CALIBRATE_SOURCES];

/* Three clocks that measure this TSC frequency; 0: the clock does not count. Nothing is told. */
static struct calibration judge(uint64_t pit, uint64_t pm_timer, uint64_t hpet)
{
    for (unsigned i = 0; i < CALIBRATE_SOURCES; i++)
        hz[i] = 0;
    hz[CALIBRATE_PIT] = pit;
    hz[CALIBRATE_PM_TIMER] = pm_timer;
    hz[CALIBRATE_HPET] = hpet;
    return calibrate_judge(hz);
}

static void expect(struct calibration c, enum calibrate_verdict verdict, uint64_t value,
                   enum calibrate_source taken)
{
    assert_int_equal(c.verdict, verdict);
    assert_int_equal(c.hz, value);
    assert_int_equal(c.hz, hz[c.taken]);
    if (taken != ANY)
        assert_int_equal(c.taken, taken);
}

static void all_agree(void **state)
{
    (void)state;
    expect(judge(3 * GHZ, 3 * GHZ, 3 * GHZ), CALIBRATE_AGREED, 3 * GHZ, ANY);
    expect(judge(3000000000, 3100000000, 2900000000), CALIBRATE_AGREED, 3 * GHZ, CALIBRATE_PIT);
    /* The PIT was late in all three runs. */
    expect(judge(3100000000, 3000000000, 3001000000), CALIBRATE_AGREED, 3001000000, CALIBRATE_HPET);
    expect(judge(3100000000, 3001000000, 3000000000), CALIBRATE_AGREED, 3001000000,
           CALIBRATE_PM_TIMER);
    expect(judge(20000000, 20000000, 20000000), CALIBRATE_AGREED, 20000000, ANY);
    expect(judge(6 * GHZ, 6 * GHZ, 0), CALIBRATE_AGREED, 6 * GHZ, CALIBRATE_PIT);
    expect(judge(2 * GHZ, 0, 2 * GHZ), CALIBRATE_AGREED, 2 * GHZ, CALIBRATE_PIT);
}

/* Boards that stop the PIT's clock to save power, and those without one. */
static void without_a_pit(void **state)
{
    (void)state;
    expect(judge(0, 2 * GHZ, 2 * GHZ), CALIBRATE_AGREED, 2 * GHZ, CALIBRATE_PM_TIMER);
    expect(judge(0, 2 * GHZ, 0), CALIBRATE_ALONE, 2 * GHZ, CALIBRATE_PM_TIMER);
    expect(judge(0, 0, 2 * GHZ), CALIBRATE_ALONE, 2 * GHZ, CALIBRATE_HPET);
    expect(judge(0, GHZ, 2 * GHZ), CALIBRATE_DISPUTED, GHZ, CALIBRATE_PM_TIMER);
}

static void alone(void **state)
{
    (void)state;
    expect(judge(2 * GHZ, 0, 0), CALIBRATE_ALONE, 2 * GHZ, CALIBRATE_PIT);
    assert_int_equal(judge(0, 0, 0).verdict, CALIBRATE_NONE);
    assert_int_equal(judge(0, 0, 0).hz, 0);
}

/* If two clocks agree, their value is taken, whatever the third says. */
static void outvoted(void **state)
{
    (void)state;
    expect(judge(4 * GHZ, 3 * GHZ, 3 * GHZ), CALIBRATE_OUTVOTED, 3 * GHZ, CALIBRATE_PM_TIMER);
    expect(judge(3 * GHZ, 4 * GHZ, 3 * GHZ), CALIBRATE_OUTVOTED, 3 * GHZ, CALIBRATE_PIT);
    expect(judge(3 * GHZ, 3 * GHZ, 4 * GHZ), CALIBRATE_OUTVOTED, 3 * GHZ, CALIBRATE_PIT);
    expect(judge(3 * GHZ, 300000000, 3 * GHZ), CALIBRATE_OUTVOTED, 3 * GHZ, CALIBRATE_PIT);
    /* The first agrees with both others, which disagree with each other: no clock is called
     * wrong. */
    expect(judge(3000000000, 3140000000, 2870000000), CALIBRATE_AGREED, 3 * GHZ, CALIBRATE_PIT);
}

static void disputed(void **state)
{
    struct calibration c;

    (void)state;
    expect(judge(GHZ, 2 * GHZ, 3 * GHZ), CALIBRATE_DISPUTED, GHZ, CALIBRATE_PIT);
    expect(judge(3 * GHZ, 2 * GHZ, 0), CALIBRATE_DISPUTED, 3 * GHZ, CALIBRATE_PIT);
    c = judge(3 * GHZ, 0, 2 * GHZ);
    expect(c, CALIBRATE_DISPUTED, 3 * GHZ, CALIBRATE_PIT);
    assert_true(calibrate_agrees(&c, hz, CALIBRATE_PIT));
    assert_false(calibrate_agrees(&c, hz, CALIBRATE_PM_TIMER));
    assert_false(calibrate_agrees(&c, hz, CALIBRATE_HPET));
}

/* They may differ by 5 % of the lower one. */
static void tolerance(void **state)
{
    (void)state;
    assert_int_equal(judge(1000000000, 1049000000, 0).verdict, CALIBRATE_AGREED);
    assert_int_equal(judge(1049000000, 1000000000, 0).verdict, CALIBRATE_AGREED);
    assert_int_equal(judge(1000000000, 1051000000, 0).verdict, CALIBRATE_DISPUTED);
    assert_int_equal(judge(1051000000, 0, 1000000000).verdict, CALIBRATE_DISPUTED);
}

/* Of three runs, the PIT's shortest counts and the others' median. A clock that stood still in one
 * run is not used. */
static void runs_that_differ(void **state)
{
    struct calibrate_run r[CALIBRATE_RUNS] = {
        {{70000000, 20000000, 90000000}, {23864, 71591, 286364}},
        {{60000000, 60000000, 30000000}, {23864, 71591, 286364}},
        {{60100000, 90000000, 60000000}, {23864, 71591, 286364}},
    };
    uint64_t by[CALIBRATE_CLOCKS];

    (void)state;
    calibrate_by_clocks(r, clocks, by);
    for (unsigned i = 0; i < CALIBRATE_CLOCKS; i++)
        assert_in_range(by[i], 2999700000, 3000300000);
    r[0].count[CALIBRATE_PIT] = 0;
    r[2].count[CALIBRATE_HPET] = 0;
    calibrate_by_clocks(r, clocks, by);
    assert_int_equal(by[CALIBRATE_PIT], 0);
    assert_int_equal(by[CALIBRATE_HPET], 0);
    expect(judge(by[0], by[1], by[2]), CALIBRATE_ALONE, by[CALIBRATE_PM_TIMER], CALIBRATE_PM_TIMER);
}

/* What is told decides between measurements, but never beats them. */
static void measured_beats_told(void **state)
{
    struct calibration c;

    (void)state;
    (void)judge(20000000, 20000000, 20000000); /* an emulator that tells of another CPU */
    hz[CALIBRATE_CPUID_15] = hz[CALIBRATE_CPUID_16] = 3500000000;
    c = calibrate_judge(hz);
    expect(c, CALIBRATE_AGREED, 20000000, ANY);
    assert_false(calibrate_agrees(&c, hz, CALIBRATE_CPUID_15));

    (void)judge(0, 20000000, 0);
    hz[CALIBRATE_CPUID_15] = hz[CALIBRATE_CPUID_16] = 3500000000;
    expect(calibrate_judge(hz), CALIBRATE_DISPUTED, 20000000, CALIBRATE_PM_TIMER);
    hz[CALIBRATE_PLATFORM_INFO] = 20500000;
    expect(calibrate_judge(hz), CALIBRATE_AGREED, 20000000, CALIBRATE_PM_TIMER);

    (void)judge(GHZ, 2 * GHZ, 3 * GHZ);
    hz[CALIBRATE_HYPERVISOR] = 2001000000;
    c = calibrate_judge(hz);
    expect(c, CALIBRATE_OUTVOTED, 2 * GHZ, CALIBRATE_PM_TIMER);
    assert_true(calibrate_agrees(&c, hz, CALIBRATE_HYPERVISOR));

    (void)judge(GHZ, 2 * GHZ, 2 * GHZ);
    hz[CALIBRATE_HYPERVISOR] = hz[CALIBRATE_CPUID_15] = hz[CALIBRATE_CPUID_16] = GHZ;
    expect(calibrate_judge(hz), CALIBRATE_OUTVOTED, 2 * GHZ, CALIBRATE_PM_TIMER);

    (void)judge(0, 0, 0);
    hz[CALIBRATE_RTC] = 1010000000;
    hz[CALIBRATE_HYPERVISOR] = GHZ;
    expect(calibrate_judge(hz), CALIBRATE_AGREED, 1010000000, CALIBRATE_RTC);
}

static void only_told(void **state)
{
    (void)state;
    (void)judge(0, 0, 0);
    hz[CALIBRATE_CPUID_16] = 2600000000;
    expect(calibrate_judge(hz), CALIBRATE_ALONE, 2600000000, CALIBRATE_CPUID_16);
    hz[CALIBRATE_CPUID_15] = 2592000000;
    expect(calibrate_judge(hz), CALIBRATE_AGREED, 2592000000, CALIBRATE_CPUID_15);
    /* Model 0x55 with a crystal of 24 MHz, taken for one of 25: ratio 146. */
    hz[CALIBRATE_CPUID_15] = 3650000000;
    hz[CALIBRATE_CPUID_16] = hz[CALIBRATE_PLATFORM_INFO] = 3500000000;
    expect(calibrate_judge(hz), CALIBRATE_OUTVOTED, 3500000000, CALIBRATE_PLATFORM_INFO);
    hz[CALIBRATE_PLATFORM_INFO] = 0;
    expect(calibrate_judge(hz), CALIBRATE_DISPUTED, 3650000000, CALIBRATE_CPUID_15);
    hz[CALIBRATE_HYPERVISOR] = 3500000000;
    expect(calibrate_judge(hz), CALIBRATE_OUTVOTED, 3500000000, CALIBRATE_HYPERVISOR);
}

static void names(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CALIBRATE_SOURCES; i++)
        for (unsigned k = 0; k < i; k++)
            assert_string_not_equal(calibrate_source_name((enum calibrate_source)i),
                                    calibrate_source_name((enum calibrate_source)k));
    assert_string_equal(calibrate_verdict_name(CALIBRATE_DISPUTED), "disputed");
}

static void wrap(void **state)
{
    (void)state;
    assert_int_equal(calibrate_elapsed(10, 25, 24), 15);
    assert_int_equal(calibrate_elapsed(0xfffff0, 5, 24), 21);
    /* A 32-bit timer of which only 24 bits are used. */
    assert_int_equal(calibrate_elapsed(0x12fffff0, 0x13000005, 24), 21);
    assert_int_equal(calibrate_elapsed(0xfffffff0, 5, 32), 21);
    assert_int_equal(calibrate_elapsed(UINT64_MAX, 0, 64), 1);
    assert_int_equal(calibrate_elapsed(7, 7, 32), 0);
}

/* The periods of an ICH9's HPET and of QEMU's (10 ns), and impossible ones. */
static void hpet_periods(void **state)
{
    (void)state;
    assert_int_equal(calibrate_hpet_hz(69841279ull << 32 | 0x8086a201), 14318179);
    assert_int_equal(calibrate_hpet_hz(10000000ull << 32 | 0x8086a201), 100000000);
    assert_int_equal(calibrate_hpet_hz(0x8086a201), 0);
    assert_int_equal(calibrate_hpet_hz(100000001ull << 32), 0);
    assert_int_equal(calibrate_hpet_hz(UINT64_MAX), 0); /* no device answers */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_agree),
        cmocka_unit_test(without_a_pit),
        cmocka_unit_test(alone),
        cmocka_unit_test(outvoted),
        cmocka_unit_test(disputed),
        cmocka_unit_test(tolerance),
        cmocka_unit_test(runs_that_differ),
        cmocka_unit_test(wrap),
        cmocka_unit_test(hpet_periods),
        cmocka_unit_test(measured_beats_told),
        cmocka_unit_test(only_told),
        cmocka_unit_test(names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
