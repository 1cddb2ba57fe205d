#include "arch/x86/cpu/pci.h"

#define FUNCTION_MASK 7u
#define STATUS_MASK   0xffff0000u

uint32_t pci_next(const struct pci_config *c, uint32_t *bdf)
{
    for (uint32_t at = *bdf; (at = c->bus(c->ctx, at)) != PCI_NOBODY; at++) {
        uint32_t first = at & ~FUNCTION_MASK;
        uint32_t id;

        /* Functions 1 to 7 exist only if function 0 says so. */
        if ((at & FUNCTION_MASK) && !(c->read(c->ctx, first, PCI_HEADER) & PCI_HEADER_MULTI)) {
            at |= FUNCTION_MASK;
            continue;
        }
        id = c->read(c->ctx, at, PCI_ID);
        if (id != PCI_NOBODY) {
            *bdf = at;
            return id;
        }
        if ((at & FUNCTION_MASK) == 0)
            at |= FUNCTION_MASK;
    }
    return PCI_NOBODY;
}

static bool is_endpoint(const struct pci_config *c, uint32_t bdf, uint32_t class)
{
    return (c->read(c->ctx, bdf, PCI_HEADER) & PCI_HEADER_TYPE) == 0 && class != PCI_CLASS_BRIDGE;
}

void pci_enable(const struct pci_config *c, uint32_t bdf, uint32_t bits)
{
    uint32_t command = c->read(c->ctx, bdf, PCI_COMMAND) & ~STATUS_MASK;

    c->write(c->ctx, bdf, PCI_COMMAND, command | bits);
}

void pci_disable(const struct pci_config *c, uint32_t bdf, uint32_t bits)
{
    uint32_t command = c->read(c->ctx, bdf, PCI_COMMAND) & ~STATUS_MASK;

    c->write(c->ctx, bdf, PCI_COMMAND, command & ~bits);
}

int pci_bar(const struct pci_config *c, uint32_t bdf, unsigned bar, uint64_t *base)
{
    uint16_t at = (uint16_t)(PCI_BAR0 + 4 * bar);
    uint32_t low;

    if (bar >= PCI_BARS)
        return -E_RANGE;
    low = c->read(c->ctx, bdf, at);
    if (low & PCI_BAR_IO)
        return -E_NOTSUP;
    *base = low & PCI_BAR_ADDRESS;
    if ((low & PCI_BAR_TYPE) == PCI_BAR_64) {
        if (bar + 1 == PCI_BARS)
            return -E_RANGE;
        *base |= (uint64_t)c->read(c->ctx, bdf, (uint16_t)(at + 4)) << 32;
    }
    return *base ? 0 : -E_IO;
}

struct pci_quiet pci_quieten(const struct pci_config *c, uint32_t first)
{
    struct pci_quiet q = {.functions = 0};

    for (uint32_t at = first; pci_next(c, &at) != PCI_NOBODY; at++) {
        uint32_t command = c->read(c->ctx, at, PCI_COMMAND) & ~STATUS_MASK;
        uint32_t class = c->read(c->ctx, at, PCI_CLASS) >> 24;
        bool master = command & PCI_COMMAND_MASTER;

        q.functions++;
        if (at < PCI_SEGMENT)
            q.buses[at >> 13] |= 1u << (at >> 8 & 31);
        command |= PCI_COMMAND_NO_INTX;
        if (is_endpoint(c, at, class) && master) {
            if (class == PCI_CLASS_DISPLAY && (command & PCI_COMMAND_MEMORY)) {
                q.screens++;
            } else {
                command &= ~PCI_COMMAND_MASTER;
                q.silenced++;
            }
        }
        c->write(c->ctx, at, PCI_COMMAND, command);
    }
    return q;
}
