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
#define PCI_SEGMENT         0x10000u /* 256 buses, 32 devices, 8 functions */

/* Access to aligned doublewords. `bdf` is segment << 16 | bus << 8 | device << 3 | function. */
struct pci_config {
    uint32_t (*read)(void *ctx, uint32_t bdf, uint16_t offset);
    void (*write)(void *ctx, uint32_t bdf, uint16_t offset, uint32_t value);
    /* The first number at or after `bdf` on a bus that can be reached, or PCI_NOBODY. */
    uint32_t (*bus)(void *ctx, uint32_t bdf);
    void *ctx;
};

/* Advances *bdf to the first function at or after it. Returns its PCI_ID; PCI_NOBODY: none. */
uint32_t pci_next(const struct pci_config *c, uint32_t *bdf);

/* The command register; arch_pci_bar(). */
void pci_disable(const struct pci_config *c, uint32_t bdf, uint32_t bits);
void pci_enable(const struct pci_config *c, uint32_t bdf, uint32_t bits);
int pci_bar(const struct pci_config *c, uint32_t bdf, unsigned bar, uint64_t *base) MUST_CHECK;

/* One vector by MSI. False if the function has no such capability. */
bool pci_msi_enable(const struct pci_config *c, uint32_t bdf, uint32_t address,
                    uint16_t data) MUST_CHECK;

#define PCI_MSIX_ENTRY  16u /* bytes */
#define PCI_MSIX_MASKED 1u  /* in the last doubleword */

struct pci_msix {
    unsigned at; /* the capability */
    unsigned count;
    unsigned bar;
    uint32_t offset; /* of the table in it */
};

/* One vector by MSI-X: entry 0 of the mapped table; the others are masked. */
bool pci_msix_find(const struct pci_config *c, uint32_t bdf, struct pci_msix *x) MUST_CHECK;
void pci_msix_enable(const struct pci_config *c, uint32_t bdf, const struct pci_msix *x,
                     volatile uint32_t *table, uint32_t address, uint16_t data);

struct pci_quiet {
    unsigned functions;
    unsigned silenced;                 /* functions that could write to memory until now */
    unsigned screens;                  /* functions that still can: see pci_quieten() */
    uint32_t buses[PCI_SEGMENT >> 13]; /* of segment 0: a bit for each that has a function */
};

/*
 * Devices that firmware and boot loader left running must not reach memory that now has another
 * owner. Switches off bus mastering on every endpoint (header type 0), and the legacy interrupt of
 * every function: an unhandled one on the card's line would never stop. Drivers switch their own
 * device on. Begins at the function `first`. Bridges (by header or class) still pass transactions.
 * Active display controllers also stay on: integrated ones fetch their picture from memory as bus
 * masters.
 */
struct pci_quiet pci_quieten(const struct pci_config *c, uint32_t first);

/* The same for this machine, segment 0 (pci_access.c). Later searches pass over the buses that are
 * empty. Boot core, before memory is allocated. */
struct pci_quiet pci_quieten_machine(void);
/* Uses the configuration spaces in memory of the MCFG from now on. Returns the number of buses that
 * are reached so. Boot core. */
struct acpi_info;
unsigned pci_use_memory(const struct acpi_info *a);
/* pci_quieten() for the segments that only pci_use_memory() shows. */
struct pci_quiet pci_quieten_segments(void);
/* This machine's. */
const struct pci_config *pci_machine(void);
