/* SOURCES: arch/x86/cpu/clocks.c arch/x86/cpu/calibrate.c */
#include "arch/x86/cpu/clocks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/*
 * A board whose time is the TSC: each access takes `cost` ticks. Each clock may be missing (ports
 * read ones, memory zeros), dead (it answers, and stands still), or right.
 */
#define PM_PORT 0x608u
#define HPET_HZ 14318179ull
#define HPET_PS 69841279u
#define LIMIT   200000000ull /* accesses: more is called a hang */

enum state { MISSING, DEAD, STOPS, RIGHT };

static struct board {
    uint64_t hz, cost;
    enum state pit, pm, hpet, rtc;
    unsigned pm_bits;
    bool hpet_on;     /* by firmware */
    bool port61_zero; /* absent ports read 0 */
} b;

static uint64_t now, accesses;
static uint64_t pit_end;  /* when channel 2 ends */
static bool pit_loading;  /* low byte has been written */
static bool hpet_enabled; /* and since when, at which count */
static uint64_t hpet_since, hpet_count, stop_at;
static uint8_t cmos_index;

static void tick(void)
{
    now += b.cost;
    assert_true(++accesses < LIMIT);
}

/* A clock's count after the machine's time, without overflow. */
static uint64_t scaled(uint64_t ticks, uint64_t clock_hz)
{
    return (uint64_t)((unsigned __int128)ticks * clock_hz / b.hz);
}

static uint64_t time_of(enum state s)
{
    return s == STOPS && now > stop_at ? stop_at : now;
}

static uint64_t model_tsc(void *ctx)
{
    (void)ctx;
    tick();
    return now;
}

static uint8_t model_in8(void *ctx, uint16_t port)
{
    uint8_t absent = b.port61_zero ? 0 : 0xff;

    (void)ctx;
    tick();
    if (port == 0x61 && b.pit != MISSING)
        return b.pit == RIGHT && now >= pit_end ? 0x20 : 0;
    if (port == 0x71 && b.rtc != MISSING) {
        uint64_t s = b.rtc == RIGHT ? now / b.hz % 60 : 30;

        return cmos_index == 0 ? (uint8_t)(s / 10 << 4 | s % 10) : cmos_index == 0xa ? 0x26 : 0;
    }
    return absent;
}

static void model_out8(void *ctx, uint16_t port, uint8_t v)
{
    (void)ctx;
    tick();
    if (port == 0x70)
        cmos_index = v;
    if (port == 0x43)
        pit_loading = false;
    if (port != 0x42)
        return;
    if (pit_loading)
        pit_end = now + (v * 256u + 0x38) * b.hz / CALIBRATE_PIT_HZ;
    pit_loading = true;
}

static uint32_t model_in32(void *ctx, uint16_t port)
{
    uint64_t n = scaled(time_of(b.pm), CALIBRATE_PM_TIMER_HZ) + 0xfff000; /* wraps soon */

    (void)ctx;
    tick();
    assert_int_equal(port, PM_PORT);
    if (b.pm == MISSING)
        return UINT32_MAX;
    return b.pm == DEAD ? 12345 : (uint32_t)(n & (UINT64_MAX >> (64 - b.pm_bits)));
}

static uint64_t hpet_now(void)
{
    return hpet_count + (hpet_enabled ? scaled(time_of(b.hpet) - hpet_since, HPET_HZ) : 0);
}

static uint32_t model_hpet_read(void *ctx, uint32_t offset)
{
    (void)ctx;
    tick();
    if (b.hpet == MISSING)
        return 0;
    switch (offset) {
    case 0x004:
        return HPET_PS;
    case 0x010:
        return hpet_enabled;
    case 0x0f0:
        return b.hpet == DEAD ? 7 : (uint32_t)(hpet_now() + 0xffff0000u);
    default:
        fail();
        return 0;
    }
}

static void model_hpet_write(void *ctx, uint32_t offset, uint32_t v)
{
    (void)ctx;
    tick();
    assert_int_equal(offset, 0x010);
    hpet_count = hpet_now();
    hpet_since = now;
    hpet_enabled = v & 1;
}

static struct clocks c;
static uint64_t hz[CALIBRATE_SOURCES];

static void measure(const struct board *board)
{
    static const struct clocks_ops ops = {model_tsc,       model_in8,        model_out8, model_in32,
                                          model_hpet_read, model_hpet_write, NULL};

    b = *board;
    if (!b.cost)
        b.cost = b.hz / 2000000 + 1; /* half a microsecond */
    if (!b.pm_bits)
        b.pm_bits = 24;
    now = b.hz / 3;
    stop_at = now + b.hz / 40;
    accesses = hpet_since = hpet_count = 0;
    hpet_enabled = b.hpet_on;
    c = (struct clocks){.ops = &ops, .pm_port = PM_PORT, .hpet = true};
    clocks_begin(&c);
    clocks_measure(&c, hz);
    clocks_end(&c);
    assert_int_equal(hpet_enabled, b.hpet_on);
}

static void close_to(uint64_t value, uint64_t expected)
{
    assert_in_range(value, expected - expected / 1000, expected + expected / 1000);
}

static void all_clocks(void **state)
{
    static const uint64_t rates[] = {20000000, 1000000000, 2893201000, 5700000000};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rates); i++)
        for (unsigned bits = 24; bits <= 32; bits += 8) {
            measure(&(struct board){.hz = rates[i],
                                    .pit = RIGHT,
                                    .pm = RIGHT,
                                    .hpet = RIGHT,
                                    .pm_bits = bits,
                                    .hpet_on = bits == 24});
            for (unsigned k = 0; k < CALIBRATE_CLOCKS; k++)
                close_to(hz[k], rates[i]);
            assert_true(now - rates[i] / 3 < rates[i] / 10); /* all of it takes 60 ms and a bit */
        }
}

/* Every combination of missing, dead and right clocks: those that are right measure right, the
 * others say nothing, and nothing hangs. */
static void some_clocks(void **state)
{
    static const enum state states[] = {MISSING, DEAD, RIGHT};

    (void)state;
    for (unsigned n = 0; n < 27; n++) {
        struct board board = {
            .hz = 3000000000, .pit = states[n % 3], .pm = states[n / 3 % 3], .hpet = states[n / 9]};
        const enum state is[] = {board.pit, board.pm, board.hpet};

        measure(&board);
        for (unsigned k = 0; k < CALIBRATE_CLOCKS; k++)
            if (is[k] == RIGHT)
                close_to(hz[k], board.hz);
            else
                assert_int_equal(hz[k], 0);
        assert_true(now < 3 * board.hz); /* in the worst case */
    }
}

/* Boards whose absent ports read zeros: the PIT's output seems to be low for ever. */
static void no_pit_that_reads_zero(void **state)
{
    (void)state;
    measure(&(struct board){.hz = 3000000000, .hpet = RIGHT, .port61_zero = true});
    assert_int_equal(hz[CALIBRATE_PIT], 0);
    close_to(hz[CALIBRATE_HPET], 3000000000);
    measure(&(struct board){.hz = 3000000000, .port61_zero = true});
    assert_int_equal(hz[CALIBRATE_PIT] | hz[CALIBRATE_PM_TIMER] | hz[CALIBRATE_HPET], 0);
    assert_true(now < 3 * b.hz);
    /* An emulator where the TSC is slow: reads are the limit. */
    measure(&(struct board){.hz = 20000000, .cost = 1, .port61_zero = true});
    assert_true(accesses < 30000000);
}

/* A clock that counts at first and then stops: not used, and not waited for. */
static void stops_on_the_way(void **state)
{
    (void)state;
    measure(&(struct board){.hz = 3000000000, .pit = RIGHT, .pm = STOPS, .hpet = RIGHT});
    assert_int_equal(hz[CALIBRATE_PM_TIMER], 0);
    close_to(hz[CALIBRATE_HPET], 3000000000);
    measure(&(struct board){.hz = 3000000000, .pm = STOPS, .hpet = RIGHT});
    assert_int_equal(hz[CALIBRATE_PM_TIMER], 0);
    measure(&(struct board){.hz = 3000000000, .pm = STOPS});
    assert_int_equal(hz[CALIBRATE_PM_TIMER], 0);
    assert_true(now < 6 * b.hz);
}

static void rtc(void **state)
{
    (void)state;
    measure(&(struct board){.hz = 3000000000, .rtc = RIGHT});
    close_to(clocks_measure_rtc(&c), 3000000000);
    measure(&(struct board){.hz = 20000000, .rtc = RIGHT});
    close_to(clocks_measure_rtc(&c), 20000000);
    measure(&(struct board){.hz = 3000000000});
    assert_int_equal(clocks_measure_rtc(&c), 0);
    measure(&(struct board){.hz = 3000000000, .rtc = DEAD});
    assert_int_equal(clocks_measure_rtc(&c), 0);
    assert_true(now < 20 * b.hz);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_clocks),
        cmocka_unit_test(some_clocks),
        cmocka_unit_test(no_pit_that_reads_zero),
        cmocka_unit_test(stops_on_the_way),
        cmocka_unit_test(rtc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
