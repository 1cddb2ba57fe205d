/*
 * MSI-X: a function's table of messages, in one of its BARs, and which of them are pending. Pure.
 * PCI Local Bus Specification 3.0, "MSI-X Capability and Table Structure".
 */
#pragma once

#include "hv/pc/pci.h"

#define MSIX_VECTORS_MAX 18u
#define MSIX_SIZE        0x1000u /* of the part of the BAR with table and pending bits */

struct msix {
    struct pci_function *function;
    unsigned cap;   /* the capability's offset; 0: there is none */
    unsigned count; /* of messages; 0: only an interrupt line exists */
    struct msix_entry {
        uint32_t words[4]; /* address, upper address, data, vector control */
    } table[MSIX_VECTORS_MAX];
    uint32_t pending; /* bits */
};

/* Adds the capability: `count` messages, at `offset` in BAR `bar`. */
void msix_init(struct msix *m, struct pci_function *f, unsigned count, unsigned bar,
               uint32_t offset);
/* The power-on state, also without messages. After pci_plug(). */
void msix_reset(struct msix *m, struct pci_function *f);

bool msix_is_enabled(const struct msix *m);
/* Sends message `n`, below `count`, or keeps it pending while it is masked. */
void msix_send(struct msix *m, unsigned n);

/* Accesses to its part of the BAR, of at most 4 bytes. */
uint32_t msix_read(const struct msix *m, unsigned at, unsigned size);
void msix_write(struct msix *m, unsigned at, unsigned size, uint32_t value);
/* The guest has written to the function's capabilities. */
void msix_written(struct msix *m);
