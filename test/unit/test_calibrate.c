/* SOURCES: arch/x86/cpu/calibrate.c */
#include "arch/x86/cpu/calibrate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HPET_HZ 14318179ull
#define GHZ     1000000000ull
#define ANY     CALIBRATE_CLOCKS /* they differ by rounding only */

static const uint64_t clocks[] = {CALIBRATE_PIT_HZ, CALIBRATE_PM_TIMER_HZ, HPET_HZ};

/* Three runs of 20 ms in which each clock measures this TSC frequency. 0: the clock does not
 * count. */
static struct calibration judge(uint64_t pit, uint64_t pm_timer, uint64_t hpet)
{
    const uint64_t wanted[] = {pit, pm_timer, hpet};
    struct calibrate_run runs[CALIBRATE_RUNS] = {{.tsc = {0}}};

    for (unsigned r = 0; r < CALIBRATE_RUNS; r++)
        for (unsigned i = 0; i < CALIBRATE_CLOCKS; i++)
            if (wanted[i]) {
                runs[r].count[i] = clocks[i] / 50;
                runs[r].tsc[i] = wanted[i] * runs[r].count[i] / clocks[i];
            }
    return calibrate_judge(runs, clocks);
}

static void expect(struct calibration c, enum calibrate_verdict verdict, uint64_t hz,
                   enum calibrate_clock taken)
{
    assert_int_equal(c.verdict, verdict);
    assert_in_range(c.hz, hz - hz / 10000, hz + hz / 10000);
    assert_int_equal(c.hz, c.tsc_hz[c.taken]);
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
    assert_int_equal(c.tsc_hz[CALIBRATE_PM_TIMER], 0);
    assert_in_range(c.tsc_hz[CALIBRATE_HPET], 1999900000, 2000100000);
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
    struct calibration c = calibrate_judge(r, clocks);

    (void)state;
    expect(c, CALIBRATE_AGREED, 3 * GHZ, ANY);
    for (unsigned i = 0; i < CALIBRATE_CLOCKS; i++)
        assert_in_range(c.tsc_hz[i], 2999700000, 3000300000);
    r[0].count[CALIBRATE_PIT] = 0;
    r[2].count[CALIBRATE_HPET] = 0;
    c = calibrate_judge(r, clocks);
    assert_int_equal(c.tsc_hz[CALIBRATE_PIT], 0);
    assert_int_equal(c.tsc_hz[CALIBRATE_HPET], 0);
    assert_int_equal(c.verdict, CALIBRATE_ALONE);
    assert_int_equal(c.taken, CALIBRATE_PM_TIMER);
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

static void promises(void **state)
{
    /* Denominator, numerator, crystal: a Skylake client, and a CPU that does not report the
     * crystal. */
    static const uint32_t skylake[] = {2, 216, 24000000}, silent[] = {2, 216, 0}, none[3];

    (void)state;
    assert_int_equal(calibrate_cpuid_hz(skylake, 2600), 2592000000);
    assert_int_equal(calibrate_cpuid_hz(silent, 2600), 2600000000);
    assert_int_equal(calibrate_cpuid_hz(none, 0), 0);
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
        cmocka_unit_test(promises),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
