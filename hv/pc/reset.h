/* A guest's ways to end itself: system control port A (0x92), reset control register (0xcf9), exit
 * port (0xf4). The keyboard controller's is in i8042.h. Pure. */
#pragma once

#include "hv/pc/device.h"

#define SYSTEM_PORT_A      0x92u
#define RESET_CONTROL_PORT 0xcf9u
#define CONFADD_PORT       0xcf8u /* doublewords there are the host bridge's, see reset.c */
#define EXIT_PORT          0xf4u
#define EXIT_PORT_COUNT    4u

struct reset {
    const struct platform_host *host;
    bool resets; /* with DEV_RESET */
    uint8_t control;
    uint8_t port_a;
    uint32_t *pci_address; /* the host bridge's address register; NULL: no PCI bus */
};

/* All use struct reset; the first one resets it. */
extern const struct device reset_device, control_device, exit_device;
