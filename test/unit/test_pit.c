/* SOURCES: hv/pc/pit.c hv/pc/bus.c hv/lib.c */
#include "hv/pc/pit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* Not a multiple of the PIT's frequency, and large enough for rounding to show. */
#define TSC_HZ 2999999017ull
#define START  123456789012ull

static struct dev_clock clock;
static struct pit pit;
static bool level;
static unsigned edges;

static void on_line(void *ctx, unsigned irq, bool l)
{
    assert_ptr_equal(ctx, &pit);
    assert_int_equal(irq, 0);
    if (l && !level)
        edges++;
    level = l;
}

static int setup(void **state)
{
    const struct device_env env = {
        .clock = &clock, .merge_ticks = true, .irq = {.set = on_line, .ctx = &pit}};

    (void)state;
    clock = (struct dev_clock){START, TSC_HZ};
    level = false;
    edges = 0;
    pit_device.reset(&pit, &env);
    return 0;
}

static void out(unsigned port, unsigned v)
{
    if (port == PIT_PORT_B)
        pit_device.ports[1].ops->out(&pit, PIT_PORT_B, 1, v);
    else
        pit_device.ports[0].ops->out(&pit, (uint16_t)port, 1, v);
}

static unsigned in(unsigned port)
{
    return port == PIT_PORT_B ? pit_device.ports[1].ops->in(&pit, PIT_PORT_B, 1)
                              : pit_device.ports[0].ops->in(&pit, (uint16_t)port, 1);
}

static void load(unsigned channel, unsigned control, unsigned count)
{
    out(0x43, channel << 6 | 0x30 | control);
    out(0x40 + channel, count & 0xff);
    out(0x40 + channel, count >> 8);
}

static unsigned read16(unsigned channel)
{
    unsigned low = in(0x40 + channel);

    return low | in(0x40 + channel) << 8;
}

static unsigned latched(unsigned channel)
{
    out(0x43, channel << 6);
    return read16(channel);
}

/* The first TSC value at which `n` PIT ticks have passed since `from`: exact, by 128-bit division.
 */
static uint64_t tick(uint64_t from, uint64_t n)
{
    return from + (uint64_t)(((unsigned __int128)n * TSC_HZ + PIT_HZ - 1) / PIT_HZ);
}

/* To that PIT tick, and a little into it. */
static void at(uint64_t n)
{
    clock.now = tick(START, n) + 2;
}

static void power_on(void **state)
{
    (void)state;
    assert_true(pit.deadline == NEVER);
    clock.now += 100 * TSC_HZ;
    pit_device.update(&pit);
    assert_int_equal(edges, 0);
    assert_int_equal(in(0x43), 0xff);
}

/* A shift in time: the count and the distance to the next interrupt stay the same. */
static void shifted(void **state)
{
    uint64_t due, away = 123456789;
    unsigned count;

    (void)state;
    load(0, 4, 10000);
    load(2, 4, 5000);
    at(23456);
    pit_device.update(&pit);
    due = pit.deadline;
    count = latched(0);
    clock.now += away;
    device_shift(&pit_device, &pit, away);
    assert_int_equal(pit.deadline, due + away);
    assert_int_equal(latched(0), count);
    edges = 0;
    clock.now = due + away - 1;
    pit_device.update(&pit);
    assert_int_equal(edges, 0);
    clock.now++;
    pit_device.update(&pit);
    assert_int_equal(edges, 1);
    /* With no interrupt due, none becomes due. */
    (void)setup(state);
    device_shift(&pit_device, &pit, away);
    assert_true(pit.deadline == NEVER);
}

/* Linux: mode 2, HZ = 250. */
static void periodic(void **state)
{
    unsigned count = (PIT_HZ + 125) / 250;

    (void)state;
    load(0, 4, count);
    for (unsigned i = 1; i <= 1000; i++) {
        uint64_t due = pit.deadline, exact = tick(START, (uint64_t)i * count);

        /* Never before the tick, at most one TSC tick after. */
        assert_true(due >= exact && due <= exact + 1);
        clock.now = due - 1;
        pit_device.update(&pit);
        assert_int_equal(edges, i - 1);
        clock.now = due;
        pit_device.update(&pit);
        assert_int_equal(edges, i);
    }
}

static void no_drift_in_a_year(void **state)
{
    unsigned count = 1193;
    uint64_t year = 365ull * 86400 * PIT_HZ / count * count;

    (void)state;
    load(0, 4, count);
    clock.now = tick(START, year) + 2;
    pit_device.update(&pit);
    assert_int_equal(edges, 1);
    assert_true(pit.deadline >= tick(START, year + count) &&
                pit.deadline <= tick(START, year + count) + 1);
}

static void missed_periods_coalesce_in_phase(void **state)
{
    (void)state;
    load(0, 4, 1000);
    at(7777);
    pit_device.update(&pit);
    assert_int_equal(edges, 1);
    pit_device.update(&pit);
    assert_int_equal(edges, 1);
    assert_true(pit.deadline - tick(START, 8000) <= 1);
    /* Exactly one period late, just before and just after the next edge. */
    at(8999);
    pit_device.update(&pit);
    assert_int_equal(edges, 2);
    at(10000);
    pit_device.update(&pit);
    assert_int_equal(edges, 3);
    assert_true(pit.deadline - tick(START, 11000) <= 1);
}

static void full_range_and_least(void **state)
{
    (void)state;
    load(0, 6, 0);
    assert_true(pit.deadline - tick(START, 65536) <= 1);
    load(0, 4, 1); /* illegal: taken as 2 */
    assert_true(pit.deadline - tick(START, 2) <= 1);
    load(0, 1, 0); /* BCD, mode 0 */
    assert_true(pit.deadline - tick(START, 10000) <= 1);
    load(0, 5, 0x1234);
    assert_true(pit.deadline - tick(START, 1234) <= 1);
    assert_int_equal(latched(0), 0x1234);
    at(235);
    assert_int_equal(latched(0), 0x0999);
}

static void counting_mode_2(void **state)
{
    (void)state;
    load(0, 4, 1000);
    assert_int_equal(latched(0), 1000);
    at(1);
    assert_int_equal(latched(0), 999);
    at(999);
    assert_int_equal(latched(0), 1);
    at(1000);
    assert_int_equal(latched(0), 1000);
    assert_int_equal(edges, 1); /* looking at the counter does not lose the edge */
    at(1001);
    assert_int_equal(read16(0), 999);
    /* Far in the past. */
    at(123456);
    assert_int_equal(latched(0), 1000 - 456);
    assert_int_equal(edges, 2);
}

static void counting_mode_3(void **state)
{
    (void)state;
    load(0, 6, 1000);
    at(100);
    assert_int_equal(latched(0), 800);
    at(499);
    assert_int_equal(latched(0), 2);
    at(500);
    assert_int_equal(latched(0), 1000);
    at(600);
    assert_int_equal(latched(0), 800);
    /* Odd: 4 high, 3 low; only even values are ever read. */
    setup(NULL);
    load(0, 6, 7);
    for (unsigned i = 0; i < 14; i++) {
        static const uint8_t want[7] = {6, 4, 2, 0, 6, 4, 2};

        at(i);
        out(0x43, 0xe2); /* read back the status of channel 0 */
        assert_int_equal(in(0x40) >> 7, i % 7 < 4);
        assert_int_equal(latched(0), want[i % 7]);
    }
}

static void mode_0(void **state)
{
    (void)state;
    load(0, 0, 5000);
    assert_false(level);
    at(4999);
    pit_device.update(&pit);
    assert_int_equal(edges, 0);
    assert_int_equal(latched(0), 1);
    at(5000);
    pit_device.update(&pit);
    assert_int_equal(edges, 1);
    assert_true(level);
    assert_true(pit.deadline == NEVER);
    at(5001);
    assert_int_equal(latched(0), 0xffff); /* it counts on */
    at(200000);
    pit_device.update(&pit);
    assert_int_equal(edges, 1);
    /* The first byte of a new count stops it, the second one starts it. */
    out(0x40, 100);
    assert_false(level);
    clock.now += TSC_HZ;
    pit_device.update(&pit);
    assert_int_equal(edges, 1);
    out(0x40, 0);
    assert_true(pit.deadline - tick(clock.now, 100) <= 1);
    clock.now = pit.deadline;
    pit_device.update(&pit);
    assert_int_equal(edges, 2);
}

/* Linux without a local APIC uses mode 4 for its one-shot clock events. */
static void mode_4(void **state)
{
    (void)state;
    out(0x43, 0x38);
    assert_true(pit.deadline == NEVER);
    for (unsigned i = 1; i < 10; i++) {
        out(0x40, 0xa9);
        out(0x40, 0x04);
        assert_true(pit.deadline - tick(clock.now, 0x4a9) <= 1);
        assert_int_equal(edges, i - 1);
        clock.now = pit.deadline + 12345;
        pit_device.update(&pit);
        assert_int_equal(edges, i);
        assert_true(pit.deadline == NEVER);
    }
    /* Loaded again before the end: only the later one counts. */
    out(0x40, 0xff);
    out(0x40, 0xff);
    clock.now += 1000;
    out(0x40, 0x64);
    out(0x40, 0);
    clock.now += TSC_HZ;
    pit_device.update(&pit);
    assert_int_equal(edges, 10);
}

static void channel_0_has_no_trigger(void **state)
{
    (void)state;
    load(0, 2, 100);
    assert_true(pit.deadline == NEVER);
    load(0, 10, 100);
    assert_true(pit.deadline == NEVER);
}

static void new_count_waits_for_the_period(void **state)
{
    (void)state;
    load(0, 4, 1000);
    at(300);
    out(0x40, 0xf4);
    out(0x40, 0x01); /* 500 */
    assert_true(pit.deadline - tick(START, 1000) <= 1);
    out(0x43, 0xe2);
    assert_int_equal(in(0x40), 0xf4); /* output high, null count, both bytes, mode 2 */
    at(999);
    assert_int_equal(latched(0), 1);
    at(1000);
    assert_int_equal(latched(0), 500);
    assert_int_equal(edges, 1);
    out(0x43, 0xe2);
    assert_int_equal(in(0x40), 0xb4);
    assert_true(pit.deadline - tick(START, 1500) <= 1);
    /* The control word does not wait. */
    load(0, 4, 2000);
    assert_true(pit.deadline - tick(clock.now, 2000) <= 1);
}

static void setting_a_mode_stops(void **state)
{
    (void)state;
    load(0, 4, 100);
    out(0x43, 0x34);
    assert_true(pit.deadline == NEVER);
    clock.now += TSC_HZ;
    pit_device.update(&pit);
    assert_int_equal(edges, 0);
    /* Due before the control word: it did happen. */
    load(0, 4, 100);
    clock.now += TSC_HZ;
    out(0x43, 0x34);
    assert_int_equal(edges, 1);
    assert_true(level); /* still waiting in the PIC */
    out(0x43, 0x30);    /* mode 0: the output falls */
    assert_false(level);
}

static void latching(void **state)
{
    (void)state;
    load(0, 4, 50000);
    at(10000);
    out(0x43, 0x00);
    at(20000);
    out(0x43, 0x00); /* a second latch before the read does nothing */
    assert_int_equal(in(0x40), 40000 & 0xff);
    at(30000);
    assert_int_equal(in(0x40), 40000 >> 8);
    assert_int_equal(read16(0), 20000); /* live again */
    /* Status and count of a read-back: status first. */
    out(0x43, 0xc2);
    at(40000);
    assert_int_equal(in(0x40), 0xb4);
    assert_int_equal(read16(0), 20000);
    /* Several channels at once; unselected ones are left alone. */
    load(2, 0, 77);
    out(0x43, 0xdc); /* the counts of 1 and 2 */
    assert_false(pit.channel[0].count_latched);
    assert_true(pit.channel[1].count_latched);
    assert_true(pit.channel[2].count_latched);
    assert_false(pit.channel[2].status_latched);
    out(0x43, 0xe0); /* status of no channel */
    assert_false(pit.channel[0].status_latched);
}

static void access_modes(void **state)
{
    (void)state;
    out(0x43, 0x14); /* low byte only */
    out(0x40, 200);
    assert_int_equal(pit.channel[0].count, 200);
    assert_int_equal(in(0x40), 200);
    at(50);
    assert_int_equal(in(0x40), 150);
    assert_int_equal(in(0x40), 150);
    out(0x43, 0x24); /* high byte only */
    out(0x40, 0x12);
    assert_int_equal(pit.channel[0].count, 0x1200);
    assert_int_equal(in(0x40), 0x12);
    out(0x43, 0x34);
    out(0x40, 1); /* half a count */
    assert_true(pit.deadline == NEVER);
    out(0x43, 0x34); /* starts over */
    out(0x40, 0x34);
    out(0x40, 0x12);
    assert_int_equal(pit.channel[0].count, 0x1234);
    /* Modes 6 and 7 are 2 and 3. */
    out(0x43, 0x3c);
    assert_int_equal(pit.channel[0].mode, 2);
    out(0x43, 0x3e);
    assert_int_equal(pit.channel[0].mode, 3);
}

/* Linux calibrates its TSC this way: gate on, speaker off, mode 0, wait for the output. */
static void speaker_calibration(void **state)
{
    unsigned loops = 0;

    (void)state;
    out(0x61, (in(0x61) & ~0x02u) | 0x01);
    out(0x43, 0xb0);
    out(0x42, 0x9b);
    out(0x42, 0x2e); /* 11931: 10 ms */
    assert_int_equal(in(0x61) & 0x20, 0);
    while (!(in(0x61) & 0x20) && loops < 100000) {
        clock.now += 1000;
        loops++;
    }
    assert_in_range(clock.now - START, TSC_HZ / 100 - 5000, TSC_HZ / 100 + 5000);
    assert_true(pit.deadline == NEVER); /* channel 2 causes no wake-up */
}

static void gate(void **state)
{
    (void)state;
    /* Mode 0: the gate only pauses. */
    out(0x61, 1);
    load(2, 0, 1000);
    at(400);
    out(0x61, 0);
    at(5000);
    assert_int_equal(latched(2), 600);
    assert_int_equal(in(0x61) & 0x20, 0);
    out(0x61, 1);
    assert_int_equal(latched(2), 600);
    at(5599);
    assert_int_equal(in(0x61) & 0x20, 0);
    at(5601);
    assert_int_equal(in(0x61) & 0x20, 0x20);
    /* Modes 2 and 3: low holds the output high, the rising edge restarts the count. */
    setup(NULL);
    out(0x61, 1);
    load(2, 6, 1000);
    at(700);
    assert_int_equal(in(0x61) & 0x20, 0);
    out(0x61, 0);
    assert_int_equal(in(0x61) & 0x20, 0x20);
    at(1700);
    out(0x61, 1);
    assert_int_equal(latched(2), 1000);
    at(2199);
    assert_int_equal(in(0x61) & 0x20, 0x20);
    at(2201);
    assert_int_equal(in(0x61) & 0x20, 0);
}

/* What channel 2 shows in its status: output, null count, and the control word "exactly as
 * written".
 */
static unsigned status(void)
{
    out(0x43, 0xe8);
    return in(0x42);
}

/* 8254 data sheet, "Mode Definitions" and "Gate Pin Operations": counts while the gate is low. */
static void gate_is_low(void **state)
{
    (void)state;
    for (unsigned mode = 0; mode < 8; mode++) {
        bool waits = mode % 4 == 1, first = mode == 0;

        setup(NULL);
        load(2, mode << 1, 1000);
        assert_int_equal(status(), (first ? 0 : 0x80) | (waits ? 0x40 : 0) | 0x30 | mode << 1);
        at(5000); /* nothing counts */
        if (!waits)
            assert_int_equal(latched(2), 1000);
        assert_int_equal(in(0x61) & 0x20, first ? 0 : 0x20);
        /* One more count: only modes 0 and 4 take it before the gate rises. */
        out(0x42, 0xf4);
        out(0x42, 0x01); /* 500 */
        assert_int_equal(status() & 0x40, mode % 4 == 0 ? 0 : 0x40);
        if (!waits)
            assert_int_equal(latched(2), mode % 4 == 0 ? 500 : 1000);
        out(0x61, 1);
        assert_int_equal(status() & 0x40, 0);
        assert_int_equal(latched(2), 500);
        clock.now = tick(clock.now, 100) + 2;
        assert_int_equal(latched(2), mode % 4 == 3 ? 300 : 400);
        out(0x61, 0);
        clock.now = tick(clock.now, 1000);
        if (!waits) /* those began with the gate's edge, and go on without it */
            assert_int_equal(latched(2), mode % 4 == 3 ? 300 : 400);
        assert_int_equal(in(0x61) & 0x20, first ? 0 : 0x20);
    }
}

static void one_shot(void **state)
{
    (void)state;
    load(2, 2, 100);
    assert_int_equal(in(0x61) & 0x20, 0x20);
    at(1000);
    assert_int_equal(in(0x61) & 0x20, 0x20); /* not before the trigger */
    out(0x61, 1);
    assert_int_equal(in(0x61) & 0x20, 0);
    out(0x61, 0); /* only the rising edge matters */
    at(1099);
    assert_int_equal(in(0x61) & 0x20, 0);
    at(1101);
    assert_int_equal(in(0x61) & 0x20, 0x20);
    at(2000);
    out(0x61, 1); /* triggered again, without a new count */
    assert_int_equal(in(0x61) & 0x20, 0);
    at(2050);
    out(0x42, 50);
    out(0x42, 0);                     /* for the next trigger */
    assert_int_equal(latched(2), 51); /* it was triggered late in its tick */
    at(2099);
    assert_int_equal(in(0x61) & 0x20, 0);
    out(0x61, 0);
    out(0x61, 1);
    at(2148);
    assert_int_equal(in(0x61) & 0x20, 0);
    at(2150);
    assert_int_equal(in(0x61) & 0x20, 0x20);
    /* Mode 5: a strobe of one tick at the end. */
    load(2, 10, 10);
    at(3000);
    assert_int_equal(in(0x61) & 0x20, 0x20);
    out(0x61, 0);
    out(0x61, 1);
    at(3009);
    assert_int_equal(in(0x61) & 0x20, 0x20);
    clock.now = tick(clock.now, 1);
    assert_int_equal(in(0x61) & 0x20, 0);
    clock.now = tick(clock.now, 1);
    assert_int_equal(in(0x61) & 0x20, 0x20);
}

static void port_b(void **state)
{
    unsigned changes = 0, last = in(0x61) & 0x10;

    (void)state;
    out(0x61, 0xff);
    assert_int_equal(in(0x61) & 0xcf, 0x0f); /* parity and channel check stay clear */
    out(0x61, 0);
    assert_int_equal(in(0x61) & 0xcf, 0);
    /* The refresh bit: 66 kHz, so 33000 changes each way in a second; here 10 ms. */
    for (uint64_t t = 0; t < TSC_HZ / 100; t += 1000) {
        clock.now = START + t;
        if ((in(0x61) & 0x10) != last) {
            last ^= 0x10;
            changes++;
        }
    }
    assert_in_range(changes, 655, 670);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(power_on, setup),
        cmocka_unit_test_setup(shifted, setup),
        cmocka_unit_test_setup(periodic, setup),
        cmocka_unit_test_setup(no_drift_in_a_year, setup),
        cmocka_unit_test_setup(missed_periods_coalesce_in_phase, setup),
        cmocka_unit_test_setup(full_range_and_least, setup),
        cmocka_unit_test_setup(counting_mode_2, setup),
        cmocka_unit_test_setup(counting_mode_3, setup),
        cmocka_unit_test_setup(mode_0, setup),
        cmocka_unit_test_setup(mode_4, setup),
        cmocka_unit_test_setup(channel_0_has_no_trigger, setup),
        cmocka_unit_test_setup(new_count_waits_for_the_period, setup),
        cmocka_unit_test_setup(setting_a_mode_stops, setup),
        cmocka_unit_test_setup(latching, setup),
        cmocka_unit_test_setup(access_modes, setup),
        cmocka_unit_test_setup(speaker_calibration, setup),
        cmocka_unit_test_setup(gate, setup),
        cmocka_unit_test_setup(gate_is_low, setup),
        cmocka_unit_test_setup(one_shot, setup),
        cmocka_unit_test_setup(port_b, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
