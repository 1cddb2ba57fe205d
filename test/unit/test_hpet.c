/* SOURCES: hv/pc/hpet.c hv/pc/bus.c hv/lib.c */
/* IA-PC HPET Specification 1.0a. */
#include "hv/pc/hpet.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TSC_HZ 2999999017ull
#define START  987654321ull

static struct dev_clock clock_;
static struct hpet hpet;
static struct io_bus bus;
static bool level[32];
static unsigned edges[32];

static void on_line(void *ctx, unsigned irq, bool l)
{
    assert_ptr_equal(ctx, &hpet);
    assert_true(irq < 32);
    edges[irq] += l && !level[irq];
    level[irq] = l;
}

static enum irq_state line_state;

static enum irq_state on_look(void *ctx, unsigned irq)
{
    assert_ptr_equal(ctx, &hpet);
    assert_true(irq < 32);
    return line_state;
}

static unsigned reroutes;

static void on_reroute(void *ctx)
{
    assert_ptr_equal(ctx, &hpet);
    assert_false(level[0] || level[8]);
    reroutes++;
}

static int setup(void **state)
{
    const struct device_env env = {.clock = &clock_,
                                   .rerouted = on_reroute,
                                   .merge_ticks = true,
                                   .irq = {.set = on_line, .ctx = &hpet, .state = on_look}};

    (void)state;
    clock_ = (struct dev_clock){START, TSC_HZ};
    line_state = IRQ_TAKEN;
    memset(level, 0, sizeof(level));
    memset(edges, 0, sizeof(edges));
    memset(&bus, 0, sizeof(bus));
    hpet_device.reset(&hpet, &env);
    assert_int_equal(mmio_claim(&bus, hpet_device.memory.base, hpet_device.memory.size,
                                hpet_device.memory.ops, &hpet),
                     0);
    return 0;
}

static uint64_t get(unsigned offset, unsigned size)
{
    uint64_t v;

    assert_true(mmio_read(&bus, 0xfed00000 + offset, size, &v));
    return v;
}

static void put(unsigned offset, unsigned size, uint64_t v)
{
    assert_true(mmio_write(&bus, 0xfed00000 + offset, size, v));
}

/* To the n-th tick after START, which are 10 ns each. */
static void at(uint64_t n)
{
    clock_.now = START + (uint64_t)(((unsigned __int128)n * TSC_HZ + 99999999) / 100000000);
}

/* The next interrupt falls due at tick n, not before, and is delivered then. */
static void comes_at(uint64_t n)
{
    at(n);
    assert_true(hpet.deadline >= clock_.now && hpet.deadline <= clock_.now + 1);
    clock_.now = hpet.deadline - 2; /* it may be rounded up by one */
    hpet_device.update(&hpet);
    assert_true(hpet.deadline > clock_.now);
    clock_.now = hpet.deadline;
    hpet_device.update(&hpet);
    assert_true(hpet.deadline > clock_.now);
}

static void capabilities(void **state)
{
    (void)state;
    assert_true(get(0, 8) == (10000000ull << 32 | 0x8086a201));
    assert_int_equal(get(4, 4), 10000000); /* femtoseconds */
    put(0, 8, 0);
    assert_int_equal(get(0, 4), 0x8086a201);
    for (unsigned n = 0; n < 3; n++) {
        assert_true(get(0x100 + 0x20 * n, 8) == 0x00ff000000000030);
        assert_true(get(0x108 + 0x20 * n, 8) == UINT64_MAX);
        assert_int_equal(get(0x110 + 0x20 * n, 8), 0); /* no messages */
    }
    assert_int_equal(get(0x160, 8) | get(0x3f8, 8) | get(0x10, 8) | get(0x20, 8), 0);
    assert_int_equal(get(2, 1), 0x86);
    assert_true(hpet.deadline == NEVER);
}

static void counter_counts(void **state)
{
    (void)state;
    at(1000);
    assert_int_equal(get(0xf0, 8), 0);
    put(0xf0, 8, 0x1fffffff0);
    put(0x10, 4, 1);
    clock_.now += TSC_HZ;
    assert_in_range(get(0xf0, 8), 0x1fffffff0 + 100000000, 0x1fffffff0 + 100000001);
    assert_int_equal(get(0xf4, 4), 0x2);
    put(0x10, 4, 0);
    clock_.now += TSC_HZ;
    assert_in_range(get(0xf0, 8), 0x1fffffff0 + 100000000, 0x1fffffff0 + 100000001);
    put(0x10, 4, 1);
    clock_.now += TSC_HZ;
    device_shift(&hpet_device, &hpet, TSC_HZ / 2);
    assert_in_range(get(0xf0, 8), 0x1fffffff0 + 149999999, 0x1fffffff0 + 150000002);
}

static void one_shot(void **state)
{
    (void)state;
    put(0x10, 8, 1);
    put(0x120, 8, 20u << 9 | 4);
    put(0x128, 8, 5000);
    comes_at(5000);
    assert_int_equal(edges[20], 1);
    assert_int_equal(get(0x20, 8), 0); /* edges leave no status */
    assert_true(hpet.deadline == NEVER);
    put(0x128, 8, 4000); /* already past: 64 bits until it comes round */
    assert_true(hpet.deadline == NEVER);
    put(0x128, 8, 9000);
    put(0x120, 8, 20u << 9); /* off */
    at(10000);
    hpet_device.update(&hpet);
    assert_int_equal(edges[20], 1);
    put(0x120, 8, 3u << 9); /* no such route: the old one stays */
    assert_int_equal(get(0x120, 4), 20u << 9 | 0x30);
    put(0x120, 8, 20u << 9 | 0x104); /* 32 bits: round again, and again */
    put(0x128, 8, 0x700000500);
    assert_int_equal(get(0x128, 8), 0x500);
    comes_at(0x100000500);
    comes_at(0x200000500);
    assert_int_equal(edges[20], 3);
}

/* As Linux programs it: the first value with VAL_SET, then the period. */
static void periodic(void **state)
{
    (void)state;
    put(0x10, 4, 1);
    put(0x140, 4, 23u << 9 | 0x4c);
    assert_int_equal(get(0x140, 4) & 0x40, 0x40);
    put(0x148, 8, 7000);
    assert_int_equal(get(0x140, 4) & 0x40, 0); /* it clears itself */
    put(0x148, 8, 1000);
    for (uint64_t i = 0; i < 100; i++)
        comes_at(7000 + 1000 * i);
    assert_int_equal(edges[23], 100);
    assert_int_equal(get(0x148, 8), 107000);
    at(150500); /* late: one interrupt, in phase */
    hpet_device.update(&hpet);
    assert_int_equal(edges[23], 101);
    comes_at(151000);
    put(0x140, 4, 23u << 9 | 0x4c);
    put(0x148, 8, 0); /* no period at all */
    assert_true(hpet.deadline == NEVER);
    put(0x10, 4, 0);
    put(0x148, 8, 1);
    put(0x10, 4, 1);
    assert_true(hpet.deadline > clock_.now);
}

/* Interrupts that come by tick n, in steps of a tenth of the period of 1000. */
static unsigned come_by(uint64_t from, uint64_t n, unsigned line)
{
    unsigned before = edges[line];

    for (uint64_t i = from; i <= n; i += 50) {
        at(i);
        hpet_device.update(&hpet);
    }
    return edges[line] - before;
}

/* Periods that went by unseen are made up for, at sixteen times the rate and no faster. */
static void catching_up(void **state)
{
    (void)state;
    hpet.timer[2].ticks.merge = false;
    put(0x10, 4, 1);
    put(0x140, 4, 23u << 9 | 0x4c);
    put(0x148, 8, 1000);
    assert_int_equal(come_by(0, 5000, 23), 5);
    at(25010); /* twenty periods later */
    hpet_device.update(&hpet);
    assert_int_equal(edges[23], 6);
    assert_int_equal(hpet.timer[2].ticks.owed, 19);
    assert_true(hpet.deadline > clock_.now &&
                hpet.deadline - clock_.now <= TSC_HZ / 100000000 * 63 + 63);
    line_state = IRQ_WAITS; /* it has not taken that one */
    assert_int_equal(come_by(25010, 25900, 23), 0);
    line_state = IRQ_TAKEN;
    assert_int_equal(come_by(25910, 29960, 23), 23); /* 19 owed, and 26000 to 29000 */
    assert_int_equal(hpet.timer[2].ticks.owed, 0);
    at(130005);
    hpet_device.update(&hpet);
    put(0x140, 4, 23u << 9 | 0x0c); /* programmed again: nothing is owed */
    assert_int_equal(hpet.timer[2].ticks.owed, 0);
    at(230005);
    line_state = IRQ_MASKED;
    hpet_device.update(&hpet);
    assert_int_equal(hpet.timer[2].ticks.owed, 0);
    line_state = IRQ_TAKEN;
    at(1000ull * 1000000); /* long ago: what is too much is merged */
    hpet_device.update(&hpet);
    assert_int_equal(hpet.timer[2].ticks.owed, 9999);
}

static void levels(void **state)
{
    (void)state;
    put(0x10, 4, 1);
    put(0x100, 4, 16u << 9 | 0x06);
    put(0x108, 4, 500);
    put(0x10c, 4, 0);
    comes_at(500);
    assert_true(level[16]);
    assert_int_equal(get(0x20, 4), 1);
    put(0x20, 4, 6);
    assert_true(level[16]);
    put(0x100, 4, 16u << 9 | 0x02);
    assert_false(level[16]);
    put(0x100, 4, 17u << 9 | 0x06);
    assert_true(level[17]);
    put(0x20, 4, 1);
    assert_false(level[17]);
    assert_int_equal(get(0x20, 4), 0);
}

static void legacy_route(void **state)
{
    (void)state;
    level[0] = level[8] = true; /* the PIT and the RTC had them */
    reroutes = 0;
    put(0x10, 4, 3);
    assert_true(hpet_is_legacy(&hpet));
    put(0x10, 4, 3);
    assert_int_equal(reroutes, 1);
    put(0x100, 4, 0x04);
    put(0x108, 8, 500);
    put(0x120, 4, 20u << 9 | 0x04);
    put(0x128, 8, 600);
    put(0x140, 4, 21u << 9 | 0x04);
    put(0x148, 8, 700);
    comes_at(500);
    assert_int_equal(edges[0], 1);
    comes_at(600);
    assert_int_equal(edges[8], 1);
    comes_at(700);
    assert_int_equal(edges[21], 1);
    put(0x10, 4, 1);
    assert_false(level[0] || level[8]);
    assert_int_equal(reroutes, 2);
    put(0x100, 4, 0x04); /* route 0 does not exist */
    put(0x108, 8, 10000);
    comes_at(10000);
    assert_int_equal(edges[0], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(capabilities, setup), cmocka_unit_test_setup(counter_counts, setup),
        cmocka_unit_test_setup(one_shot, setup),     cmocka_unit_test_setup(periodic, setup),
        cmocka_unit_test_setup(catching_up, setup),  cmocka_unit_test_setup(levels, setup),
        cmocka_unit_test_setup(legacy_route, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
