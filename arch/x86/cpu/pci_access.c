/* PCI configuration space by mechanism 1: an address port and a data port. */
#include "arch/x86/cpu/apic.h"
#include "arch/x86/cpu/io.h"
#include "arch/x86/cpu/pci.h"
#include "hv/arch.h"
#include "hv/spinlock.h"

#define PCI_ADDRESS 0xcf8u
#define PCI_DATA    0xcfcu
#define PCI_ENABLE  (1u << 31)

static struct spinlock lock;

/* Address and data port belong together: two cores must not interleave their accesses. */
static uint32_t access(uint32_t bdf, uint16_t offset, bool write, uint32_t value)
{
    spin_lock(&lock);
    outl(PCI_ADDRESS, PCI_ENABLE | (bdf & 0xffff) << 8 | (offset & 0xfcu));
    if (write)
        outl(PCI_DATA, value);
    else
        value = inl(PCI_DATA);
    spin_unlock(&lock);
    return value;
}

uint32_t arch_pci_read(uint32_t bdf, uint16_t offset)
{
    return access(bdf, offset, false, 0);
}

void arch_pci_write(uint32_t bdf, uint16_t offset, uint32_t value)
{
    (void)access(bdf, offset, true, value);
}

static uint32_t read(void *ctx, uint32_t bdf, uint16_t offset)
{
    (void)ctx;
    return arch_pci_read(bdf, offset);
}

static void write(void *ctx, uint32_t bdf, uint16_t offset, uint32_t value)
{
    (void)ctx;
    arch_pci_write(bdf, offset, value);
}

static const struct pci_config machine = {.read = read, .write = write};

uint32_t arch_pci_next(uint32_t *bdf)
{
    return pci_next(&machine, bdf);
}

void arch_pci_enable(uint32_t bdf, uint32_t bits)
{
    pci_enable(&machine, bdf, bits);
}

int arch_pci_bar(uint32_t bdf, unsigned bar, uint64_t *base)
{
    return pci_bar(&machine, bdf, bar, base);
}

enum arch_irq arch_pci_interrupt(uint32_t bdf, unsigned core, void (*handler)(void *ctx), void *ctx)
{
    uint32_t command = arch_pci_read(bdf, PCI_COMMAND) & UINT16_MAX;

    if (ioapic_route(arch_pci_read(bdf, PCI_INTERRUPT) & 0xff, core, handler, ctx))
        return ARCH_IRQ_NONE;
    arch_pci_write(bdf, PCI_COMMAND, command & ~PCI_COMMAND_NO_INTX);
    return ARCH_IRQ_LINE;
}

struct pci_quiet pci_quieten_machine(void)
{
    return pci_quieten(&machine);
}
