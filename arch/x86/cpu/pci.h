/*
 * PCI configuration space: finds functions and quiets them at start-up. PCI Local Bus
 * Specification 3.0 "Configuration Space Organization". Pure, except pci_access.c.
 */
#pragma once

#include "hv/types.h"

#define PCI_ID              0x00u /* device << 16 | vendor */
#define PCI_COMMAND         0x04u /* the upper half is the status register, where ones clear bits */
#define PCI_CLASS           0x08u /* base class in bits 31:24 */
#define PCI_HEADER          0x0cu
#define PCI_COMMAND_MEMORY  (1u << 1)
#define PCI_COMMAND_MASTER  (1u << 2)
#define PCI_COMMAND_NO_INTX (1u << 10)
#define PCI_HEADER_TYPE     (0x7fu << 16)
#define PCI_HEADER_MULTI    (1u << 23)
#define PCI_BAR0            0x10u
#define PCI_BARS            6u
#define PCI_BAR_IO          (1u << 0)
#define PCI_BAR_TYPE        (3u << 1)
#define PCI_BAR_64          (2u << 1)
#define PCI_BAR_ADDRESS     (~0xfu)
#define PCI_INTERRUPT       0x3cu
#define PCI_CLASS_DISPLAY   0x03u
#define PCI_CLASS_BRIDGE    0x06u
#define PCI_NOBODY          0xffffffffu
#define PCI_ALL             0x10000u /* 256 buses, 32 devices, 8 functions */

/* Access to aligned doublewords. `bdf` is bus << 8 | device << 3 | function. */
struct pci_config {
    uint32_t (*read)(void *ctx, uint32_t bdf, uint16_t offset);
    void (*write)(void *ctx, uint32_t bdf, uint16_t offset, uint32_t value);
    void *ctx;
};

/* Advances *bdf to the first function at or after it. Returns its PCI_ID; PCI_NOBODY: none. */
uint32_t pci_next(const struct pci_config *c, uint32_t *bdf);

/* As arch_pci_enable() and arch_pci_bar(). */
void pci_enable(const struct pci_config *c, uint32_t bdf, uint32_t bits);
int pci_bar(const struct pci_config *c, uint32_t bdf, unsigned bar, uint64_t *base) MUST_CHECK;

struct pci_quiet {
    unsigned functions;
    unsigned silenced; /* functions that could write to memory until now */
    unsigned screens;  /* functions that still can: see pci_quieten() */
};

/*
 * Devices that firmware and boot loader left running must not reach memory that now has another
 * owner. Switches off bus mastering on every endpoint (header type 0), and the legacy interrupt of
 * every function: an unhandled one on the card's line would never stop. Drivers switch their own
 * device on. Bridges (by header or class) still pass transactions. Active display controllers also
 * stay on: integrated ones fetch their picture from memory as bus masters.
 */
struct pci_quiet pci_quieten(const struct pci_config *c);

/* The same for this machine (pci_access.c). Boot core, before memory is allocated. */
struct pci_quiet pci_quieten_machine(void);
