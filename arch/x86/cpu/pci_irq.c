/* How a device's interrupt reaches a core: the one place that chooses. */
#include "arch/x86/cpu/apic.h"
#include "arch/x86/cpu/pci.h"
#include "arch/x86/cpu/trap.h"
#include "hv/arch.h"

#define MSI_ADDRESS   0xfee00000u
#define MSI_ID        12u /* shift */
#define NO_LINE       0xffu
#define INTERRUPT_PIN 0xff00u

static volatile uint32_t *map_table(uint32_t bdf, const struct pci_msix *x)
{
    uint64_t base;

    if (arch_pci_bar(bdf, x->bar, &base))
        return NULL;
    return arch_map_mmio(hpa(base + x->offset), (size_t)x->count * PCI_MSIX_ENTRY);
}

static enum arch_irq by_message(uint32_t bdf, uint32_t address, uint16_t vector)
{
    const struct pci_config *c = pci_machine();
    volatile uint32_t *table;
    struct pci_msix x;

    if (pci_msix_find(c, bdf, &x) && (table = map_table(bdf, &x)) != NULL) {
        pci_msix_enable(c, bdf, &x, table, address, vector);
        return ARCH_IRQ_MSIX;
    }
    return pci_msi_enable(c, bdf, address, vector) ? ARCH_IRQ_MSI : ARCH_IRQ_NONE;
}

static enum arch_irq by_line(uint32_t bdf, uint32_t apic_id, unsigned vector)
{
    uint32_t v = arch_pci_read(bdf, PCI_INTERRUPT);

    if (!(v & INTERRUPT_PIN) || (v & 0xff) == NO_LINE || ioapic_route(v & 0xff, apic_id, vector))
        return ARCH_IRQ_NONE;
    pci_disable(pci_machine(), bdf, PCI_COMMAND_NO_INTX);
    return ARCH_IRQ_LINE;
}

/* Without interrupt remapping a device reaches ids of 8 bits, of which 255 means all cores. */
static bool reachable(uint32_t *apic_id, unsigned core)
{
    *apic_id = arch_core_apic_id(core);
    for (unsigned i = 0; *apic_id > APIC_ID_MAX && i < arch_core_count(); i++)
        *apic_id = arch_core_apic_id(i);
    return *apic_id <= APIC_ID_MAX;
}

enum arch_irq arch_pci_interrupt(uint32_t bdf, unsigned core, void (*handler)(void *ctx), void *ctx)
{
    unsigned vector;
    uint32_t id;
    enum arch_irq how;

    if (!reachable(&id, core))
        return ARCH_IRQ_NONE;
    vector = trap_new_vector(handler, ctx);
    if (!vector)
        return ARCH_IRQ_NONE;
    how = by_message(bdf, MSI_ADDRESS | id << MSI_ID, (uint16_t)vector);
    return how != ARCH_IRQ_NONE ? how : by_line(bdf, id, vector);
}
