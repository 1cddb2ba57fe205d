/* A guest's ways to end itself: keyboard controller pulse (0x64), reset control register (0xcf9),
 * exit port (0xf4). Pure. */
#pragma once

#include "hv/pc/device.h"

#define RESET_KBD_PORT     0x64u
#define RESET_CONTROL_PORT 0xcf9u
#define CONFADD_PORT       0xcf8u /* doublewords there are the host bridge's, see reset.c */
#define EXIT_PORT          0xf4u
#define EXIT_PORT_COUNT    4u

struct reset {
    void *ctx;
    void (*on_reset)(void *ctx, const char *how);
    void (*on_exit)(void *ctx, uint32_t code);
    uint8_t control;
};

extern const struct io_ops reset_kbd_ops, reset_control_ops, exit_ops;
/* Both use struct reset; the first one resets it. */
extern const struct device reset_device, exit_device;
