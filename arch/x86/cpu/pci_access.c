/* PCI configuration space by mechanism 1: an address port and a data port. */
#include "arch/x86/cpu/io.h"
#include "arch/x86/cpu/pci.h"
#include "hv/arch.h"
#include "hv/spinlock.h"

#define PCI_ADDRESS 0xcf8u
#define PCI_DATA    0xcfcu
#define PCI_ENABLE  (1u << 31)

static struct spinlock lock;

/* Address and data port belong together: two cores must not interleave their accesses. */
static uint32_t access(uint16_t bdf, uint16_t offset, bool write, uint32_t value)
{
    spin_lock(&lock);
    outl(PCI_ADDRESS, PCI_ENABLE | (uint32_t)bdf << 8 | (offset & 0xfcu));
    if (write)
        outl(PCI_DATA, value);
    else
        value = inl(PCI_DATA);
    spin_unlock(&lock);
    return value;
}

uint32_t arch_pci_read(uint16_t bdf, uint16_t offset)
{
    return access(bdf, offset, false, 0);
}

void arch_pci_write(uint16_t bdf, uint16_t offset, uint32_t value)
{
    (void)access(bdf, offset, true, value);
}

static uint32_t read(void *ctx, uint16_t bdf, uint16_t offset)
{
    (void)ctx;
    return arch_pci_read(bdf, offset);
}

static void write(void *ctx, uint16_t bdf, uint16_t offset, uint32_t value)
{
    (void)ctx;
    arch_pci_write(bdf, offset, value);
}

static const struct pci_config machine = {.read = read, .write = write};

uint32_t arch_pci_next(uint32_t *bdf)
{
    return pci_next(&machine, bdf);
}

struct pci_quiet pci_quieten_machine(void)
{
    return pci_quieten(&machine);
}
