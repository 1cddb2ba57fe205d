/* The machine's PCI configuration spaces: by memory where the MCFG says so (PCI Express's enhanced
 * configuration access mechanism), else by mechanism 1, an address port and a data port. */
#include "arch/x86/cpu/acpi.h"
#include "arch/x86/cpu/io.h"
#include "arch/x86/cpu/pci.h"
#include "hv/arch.h"
#include "hv/log.h"
#include "hv/spinlock.h"

#define PCI_ADDRESS 0xcf8u
#define PCI_DATA    0xcfcu
#define PCI_ENABLE  (1u << 31)
#define BUS_SIZE    (1u << 20) /* of the memory of a bus */
#define FUNCTION    12u        /* shift: the memory of a function */

static struct spinlock lock;

/* Buses whose configuration space is memory. */
static struct window {
    volatile uint8_t *memory;
    uint32_t first, last; /* functions, as in arch_pci_read() */
} windows[ACPI_SEGMENTS_MAX];
static unsigned window_count;
/* In segment 0, once that is quiet. */
static struct pci_quiet found;

static volatile uint32_t *in_memory(uint32_t bdf, uint16_t offset)
{
    for (unsigned i = 0; i < window_count; i++)
        if (bdf >= windows[i].first && bdf <= windows[i].last)
            return (volatile uint32_t *)(volatile void *)(windows[i].memory +
                                                          ((size_t)(bdf - windows[i].first)
                                                           << FUNCTION) +
                                                          (offset & 0xffcu));
    return NULL;
}

/* Address and data port belong together: two cores must not interleave their accesses. */
static uint32_t by_ports(uint32_t bdf, uint16_t offset, bool write, uint32_t value)
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
    volatile uint32_t *p = in_memory(bdf, offset);

    if (p)
        return *p;
    return bdf < PCI_SEGMENT && offset < 0x100 ? by_ports(bdf, offset, false, 0) : PCI_NOBODY;
}

void arch_pci_write(uint32_t bdf, uint16_t offset, uint32_t value)
{
    volatile uint32_t *p = in_memory(bdf, offset);

    if (p)
        *p = value;
    else if (bdf < PCI_SEGMENT && offset < 0x100)
        (void)by_ports(bdf, offset, true, value);
}

/* If mechanism 1 shows nothing, memory may. */
static bool is_empty(uint32_t bus)
{
    return found.functions && !(found.buses[bus >> 5] >> (bus & 31) & 1);
}

/* Mechanism 1 reaches all buses of segment 0. */
static uint32_t next_bus(void *ctx, uint32_t bdf)
{
    uint32_t next = PCI_NOBODY;

    (void)ctx;
    while (bdf < PCI_SEGMENT && is_empty(bdf >> 8))
        bdf = (bdf | 0xff) + 1;
    if (bdf < PCI_SEGMENT)
        return bdf;
    for (unsigned i = 0; i < window_count; i++) {
        uint32_t at = bdf > windows[i].first ? bdf : windows[i].first;

        if (at <= windows[i].last && at < next)
            next = at;
    }
    return next;
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

static const struct pci_config machine = {.read = read, .write = write, .bus = next_bus};

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

const struct pci_config *pci_machine(void)
{
    return &machine;
}

struct pci_quiet pci_quieten_machine(void)
{
    found = pci_quieten(&machine, 0);
    return found;
}

/* Does the memory show the host bridge that mechanism 1 shows? */
static bool agrees(const struct window *w)
{
    return w->first != 0 ||
           *(volatile uint32_t *)(volatile void *)w->memory == by_ports(0, PCI_ID, false, 0);
}

unsigned pci_use_memory(const struct acpi_info *a)
{
    unsigned buses = 0;

    for (unsigned i = 0; i < a->segment_count; i++) {
        const struct acpi_segment *s = &a->segments[i];
        uint32_t count = s->last_bus - s->first_bus + 1u, number = (uint32_t)s->number << 16;
        struct window *w = &windows[window_count];

        *w = (struct window){.first = number | (uint32_t)s->first_bus << 8,
                             .last = number | (uint32_t)s->last_bus << 8 | 0xff};
        w->memory = arch_map_mmio(hpa(s->base + (uint64_t)s->first_bus * BUS_SIZE),
                                  (size_t)count * BUS_SIZE);
        if (!w->memory || !agrees(w)) {
            log_warn("PCI segment %u, buses %u to %u: its memory at 0x%lx is not usable", s->number,
                     s->first_bus, s->last_bus, s->base);
            continue;
        }
        window_count++;
        buses += count;
    }
    return buses;
}

struct pci_quiet pci_quieten_segments(void)
{
    return pci_quieten(&machine, PCI_SEGMENT);
}
