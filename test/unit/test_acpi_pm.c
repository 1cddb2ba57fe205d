/* SOURCES: hv/pc/acpi_pm.c hv/pc/bus.c hv/lib.c */
#include "hv/pc/acpi_pm.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TSC_HZ 2999999017ull
#define START  987654321ull

static struct dev_clock clock_;
static struct acpi_pm pm;
static struct io_bus bus;
static bool level;
static unsigned offs;

static void on_line(void *ctx, unsigned irq, bool l)
{
    assert_ptr_equal(ctx, &pm);
    assert_int_equal(irq, 9);
    level = l;
}

static void on_power_off(void *ctx, const char *how)
{
    assert_ptr_equal(ctx, &offs);
    assert_non_null(strstr(how, "S5"));
    offs++;
}

static int setup(void **state)
{
    static const struct platform_host host = {.ctx = &offs, .power_off = on_power_off};
    const struct device_env env = {
        .clock = &clock_, .irq = {.set = on_line, .ctx = &pm, .irq = 9}, .host = &host};
    const struct device *d = &acpi_pm_device;

    (void)state;
    clock_ = (struct dev_clock){START, TSC_HZ};
    level = false;
    offs = 0;
    memset(&bus, 0, sizeof(bus));
    d->reset(&pm, &env);
    for (unsigned i = 0; i < DEVICE_PORTS; i++)
        assert_int_equal(io_claim(&bus, d->ports[i].first, d->ports[i].last, d->ports[i].ops, &pm),
                         0);
    return 0;
}

static uint32_t in(unsigned port, unsigned size)
{
    return io_in(&bus, (uint16_t)port, size);
}

static void out(unsigned port, unsigned size, uint32_t v)
{
    io_out(&bus, (uint16_t)port, size, v);
}

/* To the n-th tick of the timer. */
static void at(uint64_t n)
{
    clock_.now = START + (uint64_t)(((unsigned __int128)n * TSC_HZ + 3579544) / 3579545);
}

static void timer_counts(void **state)
{
    static const uint64_t ticks[] = {0,          1,           2,           3579545,
                                     0x00ffffff, 0x01000000,  0x7fffffff,  0x80000000,
                                     0xffffffff, 0x100000000, 0x123456789, 3579545ull * 86400};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(ticks); i++) {
        at(ticks[i]);
        assert_true(in(0x608, 4) == (uint32_t)ticks[i]);
        assert_int_equal(in(0x60a, 2), ticks[i] >> 16 & 0xffff);
        assert_int_equal(in(0x609, 1), ticks[i] >> 8 & 0xff);
    }
    out(0x608, 4, 0);
    assert_true(in(0x608, 4) == (uint32_t)(3579545ull * 86400));
    clock_.now += 5 * TSC_HZ;
    device_shift(&acpi_pm_device, &pm, 5 * TSC_HZ);
    assert_true(in(0x608, 4) == (uint32_t)(3579545ull * 86400));
}

/* TMR_STS is set whenever the highest bit changes; ACPI 6.4, 4.8.3.3 "Power Management Timer". */
static void timer_carries(void **state)
{
    (void)state;
    assert_true(pm.deadline == NEVER);
    at(0x7fffffff);
    assert_int_equal(in(0x600, 2), 0);
    at(0x80000000);
    assert_int_equal(in(0x600, 2), 1);
    assert_false(level);
    out(0x600, 2, 0xffff);
    assert_int_equal(in(0x600, 2), 0);
    out(0x602, 2, 1);
    for (uint64_t n = 2; n < 5; n++) {
        at(n << 31);
        assert_true(pm.deadline >= clock_.now && pm.deadline <= clock_.now + 1);
        clock_.now = pm.deadline - 2;
        acpi_pm_device.update(&pm);
        assert_false(level);
        clock_.now += 2;
        acpi_pm_device.update(&pm);
        assert_true(level);
        assert_true(pm.deadline > clock_.now);
        assert_int_equal(in(0x600, 4), 0x00010001);
        out(0x600, 2, 1);
        assert_false(level);
    }
    out(0x602, 2, 0);
    assert_true(pm.deadline == NEVER);
}

/* As if there were a power button. */
static void event_happens(void)
{
    pm.status |= 0x100;
    acpi_pm_device.update(&pm);
}

static void events(void **state)
{
    (void)state;
    event_happens();
    assert_int_equal(in(0x600, 2), 0x100);
    assert_false(level);
    out(0x603, 1, 0x01);
    assert_true(level);
    assert_int_equal(in(0x600, 4), 0x01000100);
    out(0x600, 1, 0xff); /* the other byte */
    assert_true(level);
    out(0x601, 1, 0x01);
    assert_false(level);
    event_happens();
    assert_true(level);
    out(0x600, 4, 0xffff0100); /* both at once */
    assert_false(level);
    assert_int_equal(in(0x602, 2), 0x521); /* only what exists can be enabled */
}

static void control(void **state)
{
    (void)state;
    assert_int_equal(in(0x604, 2), 1); /* always in ACPI mode */
    out(0x604, 2, 0);
    assert_int_equal(in(0x604, 1), 1);
    out(0x604, 2, 0xffff & ~0x2000u);
    assert_int_equal(in(0x604, 2), 0x1c03);
    for (unsigned type = 1; type < 8; type++)
        out(0x604, 2, type << 10 | 0x2001);
    assert_int_equal(offs, 0);
    out(0x604, 2, 0x0001);
    assert_int_equal(offs, 0);
    out(0x604, 2, 0x2001);
    assert_int_equal(offs, 1);
    out(0x605, 1, 0x20);
    assert_int_equal(offs, 2);
    assert_int_equal(in(0x604, 2), 1); /* SLP_EN reads 0 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(timer_counts, setup),
        cmocka_unit_test_setup(timer_carries, setup),
        cmocka_unit_test_setup(events, setup),
        cmocka_unit_test_setup(control, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
