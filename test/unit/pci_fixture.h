/* A PCI bus without the rest of the PC, for tests of what is on it. */
#pragma once

#include "hv/config.h"
#include "hv/lib.h"
#include "hv/pc/pci.h"
#include "hv/pc/pci_registers.h"

static struct pci pci_bus;
static struct io_bus pci_io;
static struct dev_clock pci_clock = {1000, 1000000000};
static uint32_t pci_levels; /* bits: GSIs */
static const struct platform_host pci_host;
static struct device_env pci_env;

static inline void pci_on_line(void *ctx, unsigned irq, bool level)
{
    (void)ctx;
    if (level == (pci_levels >> irq & 1))
        __builtin_trap(); /* nothing changes */
    pci_levels ^= 1u << irq;
}

static inline bool pci_level(unsigned gsi)
{
    return pci_levels >> gsi & 1;
}

/* The beginning of a life: the PICs' inputs fall as well. */
static inline void pci_fixture_reset(void)
{
    pci_levels = 0;
    pci_device.reset(&pci_bus, &pci_env);
    pci_device.plug(&pci_bus, &pci_env);
}

static inline void pci_fixture_start(uint32_t devices, int (*msi)(void *, uint64_t, uint32_t))
{
    memset(&pci_io, 0, sizeof(pci_io));
    pci_env = (struct device_env){.clock = &pci_clock,
                                  .devices = devices | DEV_PCI,
                                  .bus = &pci_io,
                                  .pci = &pci_bus,
                                  .msi = msi,
                                  .irq = {.set = pci_on_line, .ctx = &pci_levels},
                                  .host = &pci_host};
    pci_fixture_reset();
    if (io_claim(&pci_io, pci_device.ports[0].first, pci_device.ports[0].last,
                 pci_device.ports[0].ops, &pci_bus) ||
        mmio_claim(&pci_io, pci_device.memory.base, pci_device.memory.size, pci_device.memory.ops,
                   &pci_bus))
        __builtin_trap();
}

/* What a device has claimed in an earlier life. */
static inline void pci_fixture_release(const void *dev)
{
    for (unsigned i = 0; i < IO_REGIONS_MAX; i++)
        if (pci_io.regions[i].dev == dev)
            io_release(&pci_io, pci_io.regions[i].first);
    for (unsigned i = pci_io.mmio_end; i-- > 0;)
        if (pci_io.mmio[i].dev == dev)
            mmio_release(&pci_io, pci_io.mmio[i].base);
}

static inline void pci_select(unsigned slot, unsigned at)
{
    pci_bus.address = 0x80000000u | slot << 11 | (at & 0xfcu);
}

static inline uint32_t pci_get(unsigned slot, unsigned at, unsigned size)
{
    pci_select(slot, at);
    return io_in(&pci_io, (uint16_t)(PCI_DATA_PORT + at % 4), size);
}

static inline void pci_put(unsigned slot, unsigned at, unsigned size, uint32_t value)
{
    pci_select(slot, at);
    io_out(&pci_io, (uint16_t)(PCI_DATA_PORT + at % 4), size, value);
}

static inline void pci_fixture_master(unsigned slot)
{
    pci_put(slot, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}
