/* SOURCES: hv/pc/reset.c hv/lib.c */
#include "hv/pc/reset.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct reset dev;
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

static int setup(void **state)
{
    (void)state;
    resets = exits = 0;
    dev = (struct reset){&code, on_reset, on_exit_port, 0};
    return 0;
}

static void keyboard_controller(void **state)
{
    (void)state;
    /* Software that waits for the input buffer goes on, a driver that drains gives up. */
    assert_int_equal(reset_kbd_ops.in(&dev, 0x64, 1), 0xfd);
    for (unsigned i = 0; i < 256; i++)
        if (i != 0xfe)
            reset_kbd_ops.out(&dev, 0x64, 1, i);
    assert_int_equal(resets, 0);
    reset_kbd_ops.out(&dev, 0x64, 1, 0xfe);
    assert_int_equal(resets, 1);
    assert_non_null(strstr(how, "0x64"));
}

static void control_register(void **state)
{
    (void)state;
    assert_int_equal(reset_control_ops.in(&dev, 0xcf9, 1), 0);
    reset_control_ops.out(&dev, 0xcf9, 1, 0x02);
    assert_int_equal(resets, 0);
    assert_int_equal(reset_control_ops.in(&dev, 0xcf9, 1), 0x02);
    reset_control_ops.out(&dev, 0xcf9, 1, 0xf9); /* none of its bits */
    assert_int_equal(resets, 0);
    reset_control_ops.out(&dev, 0xcf9, 1, 0x06);
    assert_int_equal(resets, 1);
    reset_control_ops.out(&dev, 0xcf9, 1, 0x06); /* no edge */
    assert_int_equal(resets, 1);
    reset_control_ops.out(&dev, 0xcf9, 1, 0x02);
    reset_control_ops.out(&dev, 0xcf9, 1, 0x04);
    assert_int_equal(resets, 2);
    assert_non_null(strstr(how, "0xcf9"));
}

/* 82441FX "CONFADD - Configuration Address Register": doublewords are its own, bytes and words pass
 * through. A search for PCI devices must not reset the guest. */
static void configuration_address(void **state)
{
    (void)state;
    for (uint32_t function = 0; function < 256; function++)
        reset_control_ops.out(&dev, 0xcf8, 4, 0x80000000 | function << 8);
    assert_int_equal(resets, 0);
    assert_true(reset_control_ops.in(&dev, 0xcf8, 4) == 0xffffffff);
    reset_control_ops.out(&dev, 0xcf8, 1, 0x06);
    reset_control_ops.out(&dev, 0xcfa, 2, 0x0606);
    assert_int_equal(resets, 0);
    reset_control_ops.out(&dev, 0xcf8, 2, 0x0206);
    assert_int_equal(reset_control_ops.in(&dev, 0xcf8, 2), 0x02ff);
    assert_int_equal(reset_control_ops.in(&dev, 0xcf9, 2), 0xff02);
    assert_int_equal(reset_control_ops.in(&dev, 0xcf9, 1), 0x02);
    assert_int_equal(reset_control_ops.in(&dev, 0xcfb, 1), 0xff);
    reset_control_ops.out(&dev, 0xcf9, 2, 0xff06);
    assert_int_equal(resets, 1);
}

static void exit_port(void **state)
{
    (void)state;
    exit_ops.out(&dev, 0xf4, 1, 0xabcdef31);
    assert_true(code == 0x31);
    exit_ops.out(&dev, 0xf4, 2, 0xabcdef31);
    assert_true(code == 0xef31);
    exit_ops.out(&dev, 0xf4, 4, 0xabcdef31);
    assert_true(code == 0xabcdef31);
    exit_ops.out(&dev, 0xf4, 1, 0);
    assert_true(code == 0);
    exit_ops.out(&dev, 0xf5, 1, 7);
    exit_ops.out(&dev, 0xf6, 2, 7);
    assert_int_equal(exit_ops.in(&dev, 0xf6, 2), 0xffff);
    assert_int_equal(exits, 4);
    assert_int_equal(exit_ops.in(&dev, 0xf4, 1), 0);
    assert_int_equal(resets, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(keyboard_controller, setup),
        cmocka_unit_test_setup(control_register, setup),
        cmocka_unit_test_setup(configuration_address, setup),
        cmocka_unit_test_setup(exit_port, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
