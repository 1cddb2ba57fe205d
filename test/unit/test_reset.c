/* SOURCES: hv/pc/reset.c hv/pc/i8042.c hv/lib.c */
#include "hv/pc/reset.h"

#include "hv/config.h"
#include "hv/lib.h"
#include "hv/pc/i8042.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct reset dev;
static struct i8042 kbd;
static bool lines[16];
static unsigned resets, exits;
static uint32_t code;
static const char *how;

static void on_reset(void *ctx, const char *text)
{
    assert_ptr_equal(ctx, &code);
    resets++;
    how = text;
}

static void on_exit_port(void *ctx, uint32_t value)
{
    assert_ptr_equal(ctx, &code);
    exits++;
    code = value;
}

static void on_line(void *ctx, unsigned irq, bool level)
{
    assert_ptr_equal(ctx, &kbd);
    lines[irq] = level;
}

static int setup(void **state)
{
    static const struct platform_host host = {
        .ctx = &code, .reset = on_reset, .exit = on_exit_port};
    const struct device_env env = {.devices = DEV_RESET,
                                   .irq = {.set = on_line, .ctx = &kbd, .irq = I8042_IRQ},
                                   .host = &host};

    (void)state;
    resets = exits = 0;
    memset(lines, 0, sizeof(lines));
    reset_device.reset(&dev, &env);
    i8042_device.reset(&kbd, &env);
    return 0;
}

static unsigned status(void)
{
    return i8042_device.ports[0].ops->in(&kbd, 0x64, 1);
}

static unsigned read_data(void)
{
    return i8042_device.ports[0].ops->in(&kbd, 0x60, 1);
}

static void command(unsigned v)
{
    i8042_device.ports[0].ops->out(&kbd, 0x64, 1, v);
}

static void data(unsigned v)
{
    i8042_device.ports[0].ops->out(&kbd, 0x60, 1, v);
}

static void keyboard_controller_resets(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 256; i++)
        if (i < 0xf0 || (i & 1))
            command(i);
    assert_int_equal(resets, 0);
    command(0xfe);
    assert_int_equal(resets, 1);
    assert_non_null(strstr(how, "0x64"));
    command(0xd1);
    data(0xdf); /* A20 on */
    data(0xfe); /* goes to the keyboard */
    assert_int_equal(resets, 1);
    command(0xd1);
    data(0xfe);
    assert_int_equal(resets, 2);
}

/* It is empty and says so: a driver that drains it ends at once, one that waits to send goes on. */
static void keyboard_controller_is_empty(void **state)
{
    (void)state;
    assert_int_equal(status(), 0x14);
    assert_int_equal(read_data(), 0);
    assert_int_equal(status() & 3, 0);
    command(0xaa);
    assert_int_equal(status() & 0x7f, 0x1d);
    assert_int_equal(read_data(), 0x55);
    assert_int_equal(status() & 3, 0);
    command(0xab);
    assert_int_equal(read_data(), 0);
    command(0xa9);
    assert_int_equal(read_data(), 0);
    command(0xd0);
    assert_int_equal(read_data() & 3, 3);
    command(0xc0);
    assert_int_equal(read_data(), 0x80);
    command(0x20);
    assert_int_equal(read_data(), 0x34);
    command(0xae);
    command(0xa8);
    command(0x20);
    assert_int_equal(read_data(), 0x04);
    command(0xad);
    command(0xa7);
    command(0x20);
    assert_int_equal(read_data(), 0x34);
}

/* No keyboard and no mouse: "time-out" and 0xfe, with the interrupts that are enabled. */
static void nothing_is_plugged_in(void **state)
{
    (void)state;
    data(0xed);
    assert_int_equal(status(), 0x55);
    assert_false(lines[1]);
    assert_int_equal(read_data(), 0xfe);
    command(0x60);
    data(0x47);
    command(0x20);
    assert_true(lines[1]);
    assert_int_equal(read_data(), 0x47);
    assert_false(lines[1]);
    data(0xff);
    assert_true(lines[1]);
    assert_int_equal(read_data(), 0xfe);
    command(0xd4);
    data(0xf2);
    assert_int_equal(status(), 0x75);
    assert_true(lines[12]);
    assert_false(lines[1]);
    assert_int_equal(read_data(), 0xfe);
    assert_false(lines[12]);
    command(0xd3); /* the way drivers look for a second port */
    data(0x5a);
    assert_int_equal(status() & 0x61, 0x21);
    assert_int_equal(read_data(), 0x5a);
    command(0xd2);
    data(0xa5);
    assert_int_equal(status() & 0x61, 0x01);
    command(0x60);
    data(0x04);
    assert_false(lines[1]);
    assert_int_equal(read_data(), 0xa5);
}

static void system_port_a(void **state)
{
    (void)state;
    assert_int_equal(reset_device.ports[0].ops->in(&dev, 0x92, 1), 0x02);
    reset_device.ports[0].ops->out(&dev, 0x92, 1, 0x00);
    assert_int_equal(reset_device.ports[0].ops->in(&dev, 0x92, 1), 0x00);
    reset_device.ports[0].ops->out(&dev, 0x92, 1, 0xfe);
    assert_int_equal(reset_device.ports[0].ops->in(&dev, 0x92, 1), 0x02);
    assert_int_equal(resets, 0);
    reset_device.ports[0].ops->out(&dev, 0x92, 1, 0x03);
    assert_int_equal(resets, 1);
    assert_non_null(strstr(how, "0x92"));
    reset_device.ports[0].ops->out(&dev, 0x92, 1, 0x03); /* no edge */
    assert_int_equal(resets, 1);
}

static void control_register(void **state)
{
    (void)state;
    assert_int_equal(control_device.ports[0].ops->in(&dev, 0xcf9, 1), 0);
    control_device.ports[0].ops->out(&dev, 0xcf9, 1, 0x02);
    assert_int_equal(resets, 0);
    assert_int_equal(control_device.ports[0].ops->in(&dev, 0xcf9, 1), 0x02);
    control_device.ports[0].ops->out(&dev, 0xcf9, 1, 0xf9); /* none of its bits */
    assert_int_equal(resets, 0);
    control_device.ports[0].ops->out(&dev, 0xcf9, 1, 0x06);
    assert_int_equal(resets, 1);
    control_device.ports[0].ops->out(&dev, 0xcf9, 1, 0x06); /* no edge */
    assert_int_equal(resets, 1);
    control_device.ports[0].ops->out(&dev, 0xcf9, 1, 0x02);
    control_device.ports[0].ops->out(&dev, 0xcf9, 1, 0x04);
    assert_int_equal(resets, 2);
    assert_non_null(strstr(how, "0xcf9"));
}

/* 82441FX "CONFADD - Configuration Address Register": doublewords are its own, bytes and words pass
 * through. A search for PCI devices must not reset the guest. */
static void configuration_address(void **state)
{
    uint32_t address = 0;

    (void)state;
    for (uint32_t function = 0; function < 256; function++)
        control_device.ports[0].ops->out(&dev, 0xcf8, 4, 0x80000000 | function << 8);
    assert_int_equal(resets, 0);
    assert_true(control_device.ports[0].ops->in(&dev, 0xcf8, 4) == 0xffffffff);
    control_device.ports[0].ops->out(&dev, 0xcf8, 1, 0x06);
    control_device.ports[0].ops->out(&dev, 0xcfa, 2, 0x0606);
    assert_int_equal(resets, 0);
    control_device.ports[0].ops->out(&dev, 0xcf8, 2, 0x0206);
    assert_int_equal(control_device.ports[0].ops->in(&dev, 0xcf8, 2), 0x02ff);
    assert_int_equal(control_device.ports[0].ops->in(&dev, 0xcf9, 2), 0xff02);
    assert_int_equal(control_device.ports[0].ops->in(&dev, 0xcf9, 1), 0x02);
    assert_int_equal(control_device.ports[0].ops->in(&dev, 0xcfb, 1), 0xff);
    control_device.ports[0].ops->out(&dev, 0xcf9, 2, 0xff06);
    assert_int_equal(resets, 1);
    dev.pci_address = &address;
    control_device.ports[0].ops->out(&dev, 0xcf8, 4, 0xffffffff);
    assert_true(address == 0x80fffffc);
    assert_true(control_device.ports[0].ops->in(&dev, 0xcf8, 4) == 0x80fffffc);
    assert_int_equal(control_device.ports[0].ops->in(&dev, 0xcf9, 1), 0x06);
    control_device.ports[0].ops->out(&dev, 0xcf8, 2, 0);
    assert_true(address == 0x80fffffc);
    dev.resets = false; /* the address alone exists */
    assert_int_equal(control_device.ports[0].ops->in(&dev, 0xcf9, 1), 0xff);
    control_device.ports[0].ops->out(&dev, 0xcf9, 1, 0x06);
    assert_int_equal(resets, 1);
}

static void exit_port(void **state)
{
    (void)state;
    exit_device.ports[0].ops->out(&dev, 0xf4, 1, 0xabcdef31);
    assert_true(code == 0x31);
    exit_device.ports[0].ops->out(&dev, 0xf4, 2, 0xabcdef31);
    assert_true(code == 0xef31);
    exit_device.ports[0].ops->out(&dev, 0xf4, 4, 0xabcdef31);
    assert_true(code == 0xabcdef31);
    exit_device.ports[0].ops->out(&dev, 0xf4, 1, 0);
    assert_true(code == 0);
    exit_device.ports[0].ops->out(&dev, 0xf5, 1, 7);
    exit_device.ports[0].ops->out(&dev, 0xf6, 2, 7);
    assert_int_equal(exit_device.ports[0].ops->in(&dev, 0xf6, 2), 0xffff);
    assert_int_equal(exits, 4);
    assert_int_equal(exit_device.ports[0].ops->in(&dev, 0xf4, 1), 0);
    assert_int_equal(resets, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(keyboard_controller_resets, setup),
        cmocka_unit_test_setup(keyboard_controller_is_empty, setup),
        cmocka_unit_test_setup(nothing_is_plugged_in, setup),
        cmocka_unit_test_setup(system_port_a, setup),
        cmocka_unit_test_setup(control_register, setup),
        cmocka_unit_test_setup(configuration_address, setup),
        cmocka_unit_test_setup(exit_port, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
