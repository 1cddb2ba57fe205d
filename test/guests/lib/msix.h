/* Interrupts as messages (MSI-X, PCI Local Bus Specification 3.0), for the driver of a function on
 * the guest's PCI bus. */
#pragma once

#include "hv/pc/pci_registers.h"
#include "test/guests/lib/apic.h"
#include "test/guests/lib/guest.h"

#define APIC_EOI 0xb0u
#define APIC_SVR 0xf0u

static uint32_t config_read(unsigned slot, unsigned at)
{
    outl(0xcf8, 0x80000000u | slot << 11 | at);
    return inl(0xcfc);
}

static void config_write(unsigned slot, unsigned at, uint32_t value)
{
    outl(0xcf8, 0x80000000u | slot << 11 | at);
    outl(0xcfc, value);
}

/* Turns the local APIC on, and the function's messages: these vectors from the first on. */
static void msix_start(unsigned slot, unsigned first)
{
    unsigned cap = config_read(slot, PCI_CAPABILITIES) & 0xff, count;
    volatile uint32_t *table;
    uint32_t where;

    while (cap && (config_read(slot, cap) & 0xff) != PCI_CAP_MSIX)
        cap = config_read(slot, cap) >> 8 & 0xff;
    count = (config_read(slot, cap) >> 16 & 0x7ff) + 1;
    where = config_read(slot, cap + 4);
    where = (config_read(slot, PCI_BAR + 4 * (where & 7)) & ~0xfu) + (where & ~7u);
    table = (volatile uint32_t *)(uintptr_t)where; /* NOLINT: a BAR's address */
    apic_vectors();
    apic_write(APIC_SVR, 0x1ff);
    config_write(slot, PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    for (unsigned i = 0; i < count; i++) {
        table[4 * i] = (uint32_t)APIC_PAGE;
        table[4 * i + 1] = 0;
        table[4 * i + 2] = first + i;
        table[4 * i + 3] = 0;
    }
    config_write(slot, cap, 0x80000000);
}
