#include "hv/pc/reset.h"

#define KBD_PULSE_RESET 0xfeu
#define CONTROL_RESET   0x04u /* a rising edge of this bit resets */
#define CONTROL_FULL    0x02u

/* No keyboard controller is there. Its output buffer seems full for ever, so a driver that drains
 * it gives up after a few reads; its input buffer seems empty, because much software waits for that
 * without end before it sends the reset pulse. */
#define KBD_STATUS      0xfffffffdu

static uint32_t kbd_in(void *dev, uint16_t port, unsigned size)
{
    (void)dev;
    (void)port;
    return size == 1 ? KBD_STATUS & 0xff : size == 2 ? KBD_STATUS & 0xffff : KBD_STATUS;
}

static void kbd_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct reset *r = dev;

    (void)port;
    (void)size;
    if ((uint8_t)value == KBD_PULSE_RESET)
        r->on_reset(r->ctx, "keyboard controller, port 0x64");
}

static uint32_t control_in(void *dev, uint16_t port, unsigned size)
{
    const struct reset *r = dev;

    (void)port;
    (void)size;
    return r->control;
}

static void control_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct reset *r = dev;
    bool edge = (value & CONTROL_RESET) && !(r->control & CONTROL_RESET);

    (void)port;
    (void)size;
    r->control = (uint8_t)(value & (CONTROL_RESET | CONTROL_FULL));
    if (edge)
        r->on_reset(r->ctx, "reset control register, port 0xcf9");
}

static uint32_t exit_in(void *dev, uint16_t port, unsigned size)
{
    (void)dev;
    (void)port;
    (void)size;
    return 0;
}

static void exit_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct reset *r = dev;

    (void)port;
    r->on_exit(r->ctx, size == 1 ? value & 0xff : size == 2 ? value & 0xffff : value);
}

const struct io_ops reset_kbd_ops = {kbd_in, kbd_out};
const struct io_ops reset_control_ops = {control_in, control_out};
const struct io_ops exit_ops = {exit_in, exit_out};
