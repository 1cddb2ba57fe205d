/* SOURCES: hv/pc/rtc.c hv/date.c hv/pc/bus.c hv/lib.c */
#include "hv/pc/rtc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#define TSC_HZ 2999999017ull
#define START  987654321ull
/* 2024-02-29 12:34:56 UTC, a Thursday */
#define EPOCH  1709210096ull

static struct dev_clock clock_;
static struct rtc rtc;
static bool level;

static void on_line(void *ctx, unsigned irq, bool l)
{
    assert_ptr_equal(ctx, &rtc);
    assert_int_equal(irq, 8);
    level = l;
}

static void start(uint64_t epoch, uint64_t memory)
{
    const struct device_env env = {.clock = &clock_,
                                   .merge_ticks = true,
                                   .epoch = epoch,
                                   .memory = memory,
                                   .irq = {.set = on_line, .ctx = &rtc, .irq = 8}};

    clock_ = (struct dev_clock){START, TSC_HZ};
    level = false;
    rtc_device.reset(&rtc, &env);
}

static int setup(void **state)
{
    (void)state;
    start(EPOCH, 64ull << 20);
    return 0;
}

static unsigned get(unsigned index)
{
    rtc_device.ports[0].ops->out(&rtc, 0x70, 1, index);
    return rtc_device.ports[0].ops->in(&rtc, 0x71, 1);
}

static void put(unsigned index, unsigned v)
{
    rtc_device.ports[0].ops->out(&rtc, 0x70, 1, index);
    rtc_device.ports[0].ops->out(&rtc, 0x71, 1, v);
}

/* To the n-th tick of 32768 Hz. */
static void at(uint64_t n)
{
    clock_.now = START + (uint64_t)(((unsigned __int128)n * TSC_HZ + 32767) / 32768);
}

static void at_second(uint64_t n)
{
    at(n * 32768);
}

static void bcd_24(void **state)
{
    (void)state;
    assert_int_equal(get(0), 0x56);
    assert_int_equal(get(2), 0x34);
    assert_int_equal(get(4), 0x12);
    assert_int_equal(get(6), 5);
    assert_int_equal(get(7), 0x29);
    assert_int_equal(get(8), 0x02);
    assert_int_equal(get(9), 0x24);
    assert_int_equal(get(0x32), 0x20);
    assert_int_equal(get(0x0d), 0x80);
    assert_int_equal(get(0x80 | 4), 0x12); /* the NMI bit of the index */
    assert_int_equal(rtc_device.ports[0].ops->in(&rtc, 0x70, 1), 0xff);
    clock_.now += 4 * TSC_HZ + 100;
    assert_int_equal(get(0), 0x00);
    assert_int_equal(get(2), 0x35);
}

/* A shift in time is not shown, and the distance to the next interrupt stays the same. */
static void shifted(void **state)
{
    uint64_t due;

    (void)state;
    put(11, 0x42); /* periodic interrupts */
    at_second(3);
    rtc_device.update(&rtc);
    due = rtc.deadline;
    assert_true(due != NEVER);
    clock_.now += 1000 * TSC_HZ;
    device_shift(&rtc_device, &rtc, 1000 * TSC_HZ);
    assert_int_equal(get(0), 0x59);
    assert_int_equal(get(2), 0x34);
    assert_int_equal(rtc.deadline, due + 1000 * TSC_HZ);
}

static void binary_and_12_hours(void **state)
{
    (void)state;
    put(0x0b, 0x06);
    assert_int_equal(get(0), 56);
    assert_int_equal(get(4), 12);
    assert_int_equal(get(0x32), 20);
    put(0x0b, 0x00);
    assert_int_equal(get(4), 0x92); /* noon: 12 PM */
    at_second(3600);
    assert_int_equal(get(4), 0x81);
    at_second(12 * 3600);
    assert_int_equal(get(4), 0x12); /* midnight: 12 AM */
    put(0x0b, 0x04);
    at_second(11 * 3600);
    assert_int_equal(get(4), 0x8b);
}

/* Against the C library, over days of five centuries. */
static void calendar(void **state)
{
    (void)state;
    for (uint64_t e = 0; e < 16000000000ull; e += 86400 * 13 + 12345) {
        time_t t = (time_t)e;
        struct tm tm;

        start(e, 1 << 20);
        put(0x0b, 0x06);
        tm = *gmtime(&t);
        assert_int_equal(get(0), tm.tm_sec);
        assert_int_equal(get(2), tm.tm_min);
        assert_int_equal(get(4), tm.tm_hour);
        assert_int_equal(get(6), tm.tm_wday + 1);
        assert_int_equal(get(7), tm.tm_mday);
        assert_int_equal(get(8), tm.tm_mon + 1);
        assert_int_equal(get(9), tm.tm_year % 100);
        assert_int_equal(get(0x32), (tm.tm_year + 1900) / 100);
    }
}

static void put_date(const unsigned v[8])
{
    static const uint8_t at_[8] = {0, 2, 4, 6, 7, 8, 9, 0x32};

    for (unsigned i = 0; i < 8; i++)
        put(at_[i], v[i]);
}

static void expect_date(const unsigned v[8])
{
    static const uint8_t at_[8] = {0, 2, 4, 6, 7, 8, 9, 0x32};

    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(get(at_[i]), v[i]);
}

/* MC146818A data sheet, "SET": no updates, and the time can be initialised. */
static void set_stops_the_clock(void **state)
{
    (void)state;
    put(0x0b, 0x92);
    assert_int_equal(get(0x0b), 0x82); /* SET clears UIE */
    at_second(3);
    assert_int_equal(get(0), 0x56);
    put(0, 0x42);
    assert_int_equal(get(0), 0x42);
    put(0x0b, 0x02);
    assert_int_equal(get(0), 0x42);
    at_second(4);
    assert_int_equal(get(0), 0x43);
    assert_int_equal(get(2), 0x34);
}

/* What is written stays, in each form, far from today, and with the guest's own days of the week.
 */
static void time_is_kept(void **state)
{
    static const unsigned old[8] = {0x59, 0x59, 0x23, 3, 0x31, 0x12, 0x99, 0x18},
                          old_next[8] = {0x00, 0x00, 0x00, 4, 0x01, 0x01, 0x00, 0x19},
                          far[8] = {59, 59, 0x8b, 7, 28, 2, 96, 99},
                          far_next[8] = {0, 0, 12, 1, 29, 2, 96, 99};

    (void)state;
    put(0x0b, 0x82);
    put_date(old);
    expect_date(old);
    put(0x0b, 0x02);
    expect_date(old);
    at_second(1);
    expect_date(old_next);
    put(0x0b, 0x84); /* binary, 12 hours */
    put_date(far);
    put(0x0b, 0x04);
    expect_date(far);
    at_second(2);
    expect_date(far_next);
    /* As Linux does it: the divider is in reset meanwhile, and the first second is half as long. */
    put(0x0b, 0x82);
    put(0x0a, 0x76);
    put_date(old);
    put(0x0b, 0x02);
    at_second(3);
    put(0x0a, 0x26);
    at(3 * 32768 + 16384 - 1);
    expect_date(old);
    at(3 * 32768 + 16384 + 1);
    expect_date(old_next);
    assert_int_equal(get(0x0c) & 0x10, 0x10);
    /* While it runs a value counts at once. */
    put(4, 0x07);
    put(2, 0x08);
    assert_int_equal(get(4), 0x07);
    assert_int_equal(get(2), 0x08);
    assert_int_equal(get(0), 0x00);
}

/* No such values: the least ones count. No such day: one of the next month. */
static void impossible_times(void **state)
{
    static const unsigned none[8] = {0x7a, 0x60, 0x24, 0, 0x00, 0x13, 0xff, 0xff},
                          least[8] = {0, 0, 0, 1, 1, 1, 0, 0},
                          february[8] = {0, 0, 0, 1, 0x30, 0x02, 0x24, 0x20},
                          march[8] = {0, 0, 0, 1, 0x01, 0x03, 0x24, 0x20};

    (void)state;
    put(0x0b, 0x82);
    put_date(none);
    expect_date(none);
    put(0x0b, 0x02);
    expect_date(least);
    put(0x0b, 0x82);
    put_date(february);
    put(0x0b, 0x02);
    expect_date(march);
}

/* An alarm at a time that was written. */
static void alarm_of_the_written_time(void **state)
{
    (void)state;
    put(0x0b, 0x82);
    put(4, 0x23);
    put(2, 0x59);
    put(0, 0x58);
    put(5, 0);
    put(3, 0);
    put(1, 0);
    put(0x0b, 0x22);
    at_second(1);
    rtc_device.update(&rtc);
    assert_false(level);
    at_second(2);
    clock_.now++;
    rtc_device.update(&rtc);
    assert_true(level);
    assert_int_equal(get(0x0c) & 0x20, 0x20);
    assert_int_equal(get(4), 0);
}

/* The first and the last second of each year, against a sum of their days. */
static void years(void **state)
{
    uint64_t days = 0;

    (void)state;
    for (uint32_t year = 1970; year < 20000; year++) {
        bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        struct date d = date_of(days * 86400);

        assert_true(d.year == year && d.month == 1 && d.day == 1 && d.second == 0);
        assert_int_equal(date_seconds(&d), days * 86400);
        days += leap ? 366 : 365;
        d = date_of(days * 86400 - 1);
        assert_true(d.year == year && d.month == 12 && d.day == 31 && d.second == 59);
        assert_int_equal(date_seconds(&d), days * 86400 - 1);
    }
}

/* There and back. */
static void dates(void **state)
{
    (void)state;
    for (uint64_t e = 0; e < 400000000000ull; e += 86400 * 1234 + 4321) {
        struct date d = date_of(e);

        assert_true(date_seconds(&d) == e);
    }
}

static void cmos_memory(void **state)
{
    static const struct {
        uint64_t memory;
        unsigned extended, above_16m, above_4g;
    } cases[] = {
        {0, 0, 0, 0},
        {2ull << 20, 1024, 0, 0},
        {16ull << 20, 15360, 0, 0},
        {64ull << 20, 64512, 768, 0},
        {3ull << 30, 64512, 0xbf00, 0},
        {(3ull << 30) + (2 << 20), 64512, 0xbf00, 32},
        {256ull << 30, 64512, 0xbf00, 253 << 14},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        start(EPOCH, cases[i].memory);
        assert_int_equal(get(0x15) | get(0x16) << 8, 640);
        assert_int_equal(get(0x17) | get(0x18) << 8, cases[i].extended);
        assert_int_equal(get(0x30) | get(0x31) << 8, cases[i].extended);
        assert_int_equal(get(0x34) | get(0x35) << 8, cases[i].above_16m);
        assert_int_equal(get(0x5b) | get(0x5c) << 8 | get(0x5d) << 16, cases[i].above_4g);
    }
    for (unsigned i = 0x0e; i < 128; i++)
        if (i != 0x32)
            put(i, i ^ 0x5a);
    for (unsigned i = 0x0e; i < 128; i++)
        if (i != 0x32)
            assert_int_equal(get(i), i ^ 0x5a);
}

static void quiet_at_first(void **state)
{
    (void)state;
    assert_true(rtc.deadline == NEVER);
    at_second(100000);
    rtc_device.update(&rtc);
    assert_false(level);
    assert_true(rtc.deadline == NEVER);
}

static void periodic(void **state)
{
    (void)state;
    put(0x0b, 0x42);
    for (uint64_t i = 1; i < 2000; i++) { /* 1024 Hz: every 32 ticks */
        at(i * 32);
        assert_true(rtc.deadline >= clock_.now && rtc.deadline <= clock_.now + 1);
        clock_.now = rtc.deadline - 2; /* it may be rounded up by one */
        rtc_device.update(&rtc);
        assert_false(level);
        clock_.now += 2;
        rtc_device.update(&rtc);
        assert_true(level);
        assert_int_equal(get(0x0c) & 0xc0, 0xc0);
        assert_false(level);
        assert_int_equal(get(0x0c), 0);
    }
    /* Missed periods are one interrupt, and the phase stays. */
    at(32 * 2000 + 32 * 100 + 5);
    rtc_device.update(&rtc);
    assert_int_equal(get(0x0c) & 0xc0, 0xc0);
    at(32 * 2101);
    assert_true(rtc.deadline - clock_.now <= 1);
    put(0x0b, 0x02);
    assert_true(rtc.deadline == NEVER);
}

static void rates(void **state)
{
    /* Periods in ticks of 32768 Hz; data sheet, "Periodic Interrupt Rate". */
    static const uint32_t period[16] = {0,   128, 256, 4,    8,    16,   32,   64,
                                        128, 256, 512, 1024, 2048, 4096, 8192, 16384};

    (void)state;
    put(0x0b, 0x42);
    for (unsigned rate = 0; rate < 16; rate++) {
        put(0x0a, 0xa0 | rate);
        assert_int_equal(get(0x0a), 0x20 | rate);
        if (rate == 0) {
            assert_true(rtc.deadline == NEVER);
            continue;
        }
        at(period[rate]);
        assert_true(rtc.deadline - clock_.now <= 1);
        clock_.now = START;
    }
    put(0x0a, 0x66); /* divider held in reset */
    assert_true(rtc.deadline == NEVER);
    at_second(2);
    assert_int_equal(get(0x0c), 0);
}

/* Of the dividers below 3 all count seconds, as in QEMU; of the others none. */
static void dividers(void **state)
{
    for (unsigned divider = 0; divider < 8; divider++) {
        (void)setup(state);
        put(0x0a, divider << 4 | 6);
        assert_int_equal(get(0x00), 0x56);
        at_second(2);
        assert_int_equal(get(0x00), divider < 3 ? 0x58 : 0x56);
        assert_int_equal(get(0x0c), divider < 3 ? 0x50 : 0);
    }
}

static void update_ended(void **state)
{
    (void)state;
    put(0x0b, 0x12);
    at_second(1);
    assert_true(rtc.deadline - clock_.now <= 1);
    rtc_device.update(&rtc);
    clock_.now++;
    rtc_device.update(&rtc);
    assert_true(level);
    assert_int_equal(get(0x0c) & 0xb0, 0x90);
    assert_false(level);
    /* Asleep for three seconds: once. */
    at(4 * 32768 + 1);
    rtc_device.update(&rtc);
    assert_true(level);
    assert_int_equal(get(0x0c) & 0xb0, 0x90);
    rtc_device.update(&rtc);
    assert_false(level);
    put(0x0b, 0x92); /* SET: no updates */
    assert_true(rtc.deadline == NEVER);
    at_second(6);
    rtc_device.update(&rtc);
    assert_false(level);
}

static void flags_without_interrupts(void **state)
{
    (void)state;
    assert_int_equal(get(0x0c), 0);
    at(31);
    assert_int_equal(get(0x0c), 0);
    at(33);
    assert_int_equal(get(0x0c), 0x40);
    at(32769);
    assert_int_equal(get(0x0c), 0x50);
    assert_false(level);
    /* A flag that is set already interrupts as soon as it is enabled, and no longer than that. */
    at(2 * 32768 + 1);
    put(0x0b, 0x12);
    assert_true(level);
    put(0x0b, 0x02);
    assert_false(level);
    assert_int_equal(get(0x0c), 0x50);
}

static void update_in_progress(void **state)
{
    (void)state;
    at(32768 - 9);
    assert_int_equal(get(0x0a), 0x26);
    at(32768 - 8);
    assert_int_equal(get(0x0a), 0xa6);
    assert_int_equal(get(0), 0x56);
    at(32768);
    assert_int_equal(get(0x0a), 0x26);
    assert_int_equal(get(0), 0x57);
    put(0x0b, 0x82);
    at(2 * 32768 - 1);
    assert_int_equal(get(0x0a), 0x26);
}

static void set_alarm(unsigned h, unsigned m, unsigned s)
{
    put(1, s);
    put(3, m);
    put(5, h);
}

/* Seconds from power-on until the alarm goes off; 0: never. */
static uint64_t alarm_in(void)
{
    uint64_t d = rtc.deadline;

    return d == NEVER ? 0 : (d - START) / TSC_HZ;
}

static void alarm_times(void **state)
{
    (void)state;
    put(0x0b, 0x22);
    set_alarm(0x12, 0x35, 0x00);
    assert_int_equal(alarm_in(), 4);
    set_alarm(0x12, 0x34, 0x56); /* now: tomorrow */
    assert_int_equal(alarm_in(), 86400);
    set_alarm(0x12, 0x34, 0x55);
    assert_int_equal(alarm_in(), 86399);
    set_alarm(0x00, 0x00, 0x00);
    assert_int_equal(alarm_in(), 11 * 3600 + 25 * 60 + 4);
    set_alarm(0xff, 0xff, 0xff);
    assert_int_equal(alarm_in(), 1);
    set_alarm(0xc0, 0xff, 0x56);
    assert_int_equal(alarm_in(), 60);
    set_alarm(0xff, 0x34, 0xff);
    assert_int_equal(alarm_in(), 1);
    set_alarm(0xff, 0x33, 0x00);
    assert_int_equal(alarm_in(), 3600 - 116);
    set_alarm(0x12, 0x33, 0x00);
    assert_int_equal(alarm_in(), 86400 - 116);
    set_alarm(0x11, 0xff, 0x59);
    assert_int_equal(alarm_in(), 22 * 3600 + 25 * 60 + 63);
    set_alarm(0x24, 0, 0); /* no such time */
    assert_int_equal(alarm_in(), 0);
    set_alarm(0, 0x60, 0);
    assert_int_equal(alarm_in(), 0);
    set_alarm(0, 0, 0x0a);
    assert_int_equal(alarm_in(), 0);
    /* 12 hours. */
    set_alarm(0x81, 0, 0);
    put(0x0b, 0x20);
    assert_int_equal(alarm_in(), 25 * 60 + 4);
    set_alarm(0x12, 0, 0); /* midnight */
    assert_int_equal(alarm_in(), 11 * 3600 + 25 * 60 + 4);
    set_alarm(0x80, 0, 0);
    assert_int_equal(alarm_in(), 0);
    /* Binary. */
    put(0x0b, 0x26);
    set_alarm(13, 0, 59);
    assert_int_equal(alarm_in(), 25 * 60 + 4 + 59);
}

/* The alarm's deadline against a search through all seconds of a day. */
static void alarm_search(void **state)
{
    uint32_t seed = 1;

    (void)state;
    put(0x0b, 0x26);
    for (unsigned i = 0; i < 300; i++) {
        unsigned v[3];
        uint64_t n;

        for (unsigned k = 0; k < 3; k++) {
            seed = seed * 1664525 + 1013904223;
            v[k] = seed >> 24 & 1 ? 0xff : (seed >> 8) % (k == 2 ? 24 : 60);
        }
        set_alarm(v[2], v[1], v[0]);
        for (n = 1; n <= 86400; n++) {
            uint64_t t = (EPOCH + n) % 86400;

            if ((v[0] == 0xff || t % 60 == v[0]) && (v[1] == 0xff || t / 60 % 60 == v[1]) &&
                (v[2] == 0xff || t / 3600 == v[2]))
                break;
        }
        assert_int_equal(alarm_in(), n);
    }
}

static void alarm_fires(void **state)
{
    (void)state;
    set_alarm(0x12, 0x35, 0x00);
    put(0x0b, 0x22);
    clock_.now = rtc.deadline - 2;
    rtc_device.update(&rtc);
    assert_false(level);
    clock_.now += 2;
    rtc_device.update(&rtc);
    assert_true(level);
    assert_int_equal(get(0x0c) & 0xb0, 0xb0);
    assert_false(level);
    assert_int_equal(alarm_in(), 86404); /* and tomorrow again */
    /* Not lost if the device was not updated in the alarm's second. */
    at_second(86404 + 1000);
    rtc_device.update(&rtc);
    assert_true(level);
    assert_int_equal(get(0x0c) & 0x20, 0x20);
    assert_int_equal(alarm_in(), 2 * 86400 + 4);
    /* Without the interrupt the flag alone. */
    put(0x0b, 0x02);
    at_second(2 * 86400 + 5);
    assert_int_equal(get(0x0c) & 0xa0, 0x20);
    assert_false(level);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(bcd_24, setup),
        cmocka_unit_test_setup(shifted, setup),
        cmocka_unit_test_setup(binary_and_12_hours, setup),
        cmocka_unit_test_setup(calendar, setup),
        cmocka_unit_test_setup(set_stops_the_clock, setup),
        cmocka_unit_test_setup(time_is_kept, setup),
        cmocka_unit_test_setup(impossible_times, setup),
        cmocka_unit_test_setup(alarm_of_the_written_time, setup),
        cmocka_unit_test(years),
        cmocka_unit_test(dates),
        cmocka_unit_test_setup(cmos_memory, setup),
        cmocka_unit_test_setup(quiet_at_first, setup),
        cmocka_unit_test_setup(periodic, setup),
        cmocka_unit_test_setup(rates, setup),
        cmocka_unit_test_setup(dividers, setup),
        cmocka_unit_test_setup(update_ended, setup),
        cmocka_unit_test_setup(flags_without_interrupts, setup),
        cmocka_unit_test_setup(update_in_progress, setup),
        cmocka_unit_test_setup(alarm_times, setup),
        cmocka_unit_test_setup(alarm_search, setup),
        cmocka_unit_test_setup(alarm_fires, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
