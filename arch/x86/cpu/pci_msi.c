/* Message-signalled interrupts: the capabilities MSI and MSI-X of PCI 3.0, "MSI and MSI-X
 * Capability and Table Structures". Pure. */
#include "arch/x86/cpu/pci.h"

#define STATUS_CAPABILITIES (1u << 20) /* in PCI_COMMAND's doubleword */
#define CAP_POINTER         0x34u
#define CAP_FIRST           0x40u
#define CAP_LIMIT           48u /* as many fit behind the header */
#define CAP_MSI             0x05u
#define CAP_MSIX            0x11u
/* In the first doubleword of either: the upper half is the control register. */
#define MSI_ENABLE          (1u << 16)
#define MSI_COUNT           (7u << 20) /* log2 of the vectors enabled */
#define MSI_64              (1u << 23)
#define MSI_MASKS           (1u << 24)
#define MSIX_SIZE           0x7ffu /* of the table, less one */
#define MSIX_FUNCTION_MASK  (1u << 30)
#define MSIX_ENABLE         (1u << 31)
#define MSIX_BAR            7u

static uint32_t get(const struct pci_config *c, uint32_t bdf, unsigned at)
{
    return c->read(c->ctx, bdf, (uint16_t)at);
}

static void put(const struct pci_config *c, uint32_t bdf, unsigned at, uint32_t v)
{
    c->write(c->ctx, bdf, (uint16_t)at, v);
}

/* Where the capability is, or 0. A list that runs in circles ends. */
static unsigned find(const struct pci_config *c, uint32_t bdf, uint32_t id)
{
    unsigned at;

    if (!(get(c, bdf, PCI_COMMAND) & STATUS_CAPABILITIES))
        return 0;
    at = get(c, bdf, CAP_POINTER) & 0xfc;
    for (unsigned i = 0; i < CAP_LIMIT && at >= CAP_FIRST; i++) {
        uint32_t v = get(c, bdf, at);

        if ((v & 0xff) == id)
            return at;
        at = v >> 8 & 0xfc;
    }
    return 0;
}

bool pci_msi_enable(const struct pci_config *c, uint32_t bdf, uint32_t address, uint16_t data)
{
    unsigned at = find(c, bdf, CAP_MSI), data_at;
    uint32_t control;

    /* The longest form must end before the space does. */
    if (!at || at + 0x18 > 0x100)
        return false;
    control = get(c, bdf, at) & ~(MSI_ENABLE | MSI_COUNT);
    put(c, bdf, at, control);
    put(c, bdf, at + 4, address);
    if (control & MSI_64)
        put(c, bdf, at + 8, 0);
    data_at = at + (control & MSI_64 ? 12 : 8);
    put(c, bdf, data_at, data);
    if (control & MSI_MASKS)
        put(c, bdf, data_at + 4, 0);
    put(c, bdf, at, control | MSI_ENABLE);
    return true;
}

bool pci_msix_find(const struct pci_config *c, uint32_t bdf, struct pci_msix *x)
{
    uint32_t control, table;

    x->at = find(c, bdf, CAP_MSIX);
    if (!x->at || x->at + 12 > 0x100)
        return false;
    control = get(c, bdf, x->at);
    table = get(c, bdf, x->at + 4);
    x->count = (control >> 16 & MSIX_SIZE) + 1;
    x->bar = table & MSIX_BAR;
    x->offset = table & ~MSIX_BAR;
    return x->bar < PCI_BARS;
}

void pci_msix_enable(const struct pci_config *c, uint32_t bdf, const struct pci_msix *x,
                     volatile uint32_t *table, uint32_t address, uint16_t data)
{
    uint32_t control = get(c, bdf, x->at) & ~(MSIX_ENABLE | MSIX_FUNCTION_MASK);

    put(c, bdf, x->at, control | MSIX_ENABLE | MSIX_FUNCTION_MASK);
    for (unsigned i = 0; i < x->count; i++)
        table[PCI_MSIX_ENTRY / 4 * i + 3] |= PCI_MSIX_MASKED;
    table[0] = address;
    table[1] = 0;
    table[2] = data;
    table[3] &= ~PCI_MSIX_MASKED;
    put(c, bdf, x->at, control | MSIX_ENABLE);
}
