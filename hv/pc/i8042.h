/*
 * The keyboard controller of a PC, with nothing plugged in: ports 0x60 and 0x64, IRQs 1 and 12.
 * Intel 8042 as in the IBM Personal Computer AT Technical Reference "Keyboard Controller", with the
 * PS/2's second port. Pure.
 *
 * Software finds an empty output buffer, a controller whose tests pass, and two ports where every
 * byte sent times out. Address line 20 is always on.
 */
#pragma once

#include "hv/pc/device.h"

#define I8042_DATA_PORT    0x60u
#define I8042_COMMAND_PORT 0x64u
#define I8042_IRQ          1u
#define I8042_AUX_IRQ      12u

struct i8042 {
    struct irq_line irq, aux_irq;
    const struct platform_host *host;
    uint8_t mode;    /* the command byte */
    uint8_t pending; /* the command whose parameter comes next at port 0x60; 0: none */
    uint8_t status;  /* without the constant bits */
    uint8_t output;  /* the output buffer */
};

extern const struct device i8042_device;
