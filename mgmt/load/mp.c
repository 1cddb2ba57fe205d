/* The tables of processors and interrupts before ACPI's: MultiProcessor Specification 1.4, chapter
 * 4. Kernels without ACPI look for them, and those with it do not. */
#include "hv/abi/pc.h"
#include "mgmt/load/rom.h"

#define POINTER_SIZE   16u
#define HEADER_SIZE    44u
#define REVISION       4u /* 1.4 */
#define LAPIC_VERSION  0x14u
#define IOAPIC_VERSION 0x20u
#define CPU_SIGNATURE  0x600u /* family 6; CPUID says more */
#define CPU_FEATURES   0x201u /* FPU and APIC */
#define ALL_LAPICS     0xffu
#define PCI_SLOTS      32u

enum { ENTRY_PROCESSOR, ENTRY_BUS, ENTRY_IO_APIC, ENTRY_IO_INTERRUPT, ENTRY_LOCAL_INTERRUPT };
enum { INT = 0, NMI = 1, EXT_INT = 3 };
enum { BUS_ISA, BUS_PCI };

#define CONFORMS   0x0u
#define LEVEL_HIGH 0xdu /* polarity and trigger as they say, not as the bus has it */

struct table {
    struct rom *rom;
    unsigned count;
    uint8_t ioapic;
};

static uint8_t *add(struct table *t, uint8_t type, size_t size)
{
    uint8_t *e = rom_add(t->rom, size, 1);

    t->count++;
    if (e)
        e[0] = type;
    return e;
}

static void add_processor(struct table *t, uint8_t id)
{
    uint8_t *e = add(t, ENTRY_PROCESSOR, 20);

    if (!e)
        return;
    e[1] = id;
    e[2] = LAPIC_VERSION;
    e[3] = id == 0 ? 3 : 1; /* enabled; the boot processor */
    put_le32(e + 4, CPU_SIGNATURE);
    put_le32(e + 8, CPU_FEATURES);
}

static void add_bus(struct table *t, uint8_t id, const char *name)
{
    uint8_t *e = add(t, ENTRY_BUS, 8);

    if (!e)
        return;
    e[1] = id;
    memcpy(e + 2, name, 6);
}

static void add_io_apic(struct table *t)
{
    uint8_t *e = add(t, ENTRY_IO_APIC, 8);

    if (!e)
        return;
    e[1] = t->ioapic;
    e[2] = IOAPIC_VERSION;
    e[3] = 1; /* enabled */
    put_le32(e + 4, PC_IO_APIC);
}

/* From a bus's interrupt to an input of an IOAPIC or of local APICs. */
static void add_interrupt(struct table *t, uint8_t entry, uint8_t type, uint16_t flags, uint8_t bus,
                          uint8_t irq, uint8_t apic, uint8_t input)
{
    uint8_t *e = add(t, entry, 8);

    if (!e)
        return;
    e[1] = type;
    put_le16(e + 2, flags);
    e[4] = bus;
    e[5] = irq;
    e[6] = apic;
    e[7] = input;
}

static void add_isa(struct table *t, bool pci, bool acpi)
{
    add_interrupt(t, ENTRY_IO_INTERRUPT, EXT_INT, CONFORMS, BUS_ISA, 0, t->ioapic, 0);
    for (uint8_t irq = 0; irq < 16; irq++) {
        bool level = irq == PC_SCI && acpi;

        if (irq == 2 || (pci && (irq == PC_PCI_IRQ_A || irq == PC_PCI_IRQ_B)))
            continue;
        add_interrupt(t, ENTRY_IO_INTERRUPT, INT, level ? LEVEL_HIGH : CONFORMS, BUS_ISA, irq,
                      t->ioapic, irq == 0 ? 2 : irq);
    }
}

/* Pin A of each slot: other pins are not used. */
static void add_pci(struct table *t)
{
    for (uint8_t slot = 0; slot < PCI_SLOTS; slot++)
        add_interrupt(t, ENTRY_IO_INTERRUPT, INT, LEVEL_HIGH, BUS_PCI, (uint8_t)(slot << 2),
                      t->ioapic, slot & 1 ? PC_PCI_IRQ_B : PC_PCI_IRQ_A);
}

void mp_make(struct rom *r, const struct load_request *q)
{
    uint8_t *p = rom_add(r, POINTER_SIZE, 16), *h = rom_add(r, HEADER_SIZE, 16);
    struct table t = {.rom = r, .ioapic = (uint8_t)load_vcpus(q)};
    bool pci = q->devices & DEV_PCI;

    for (uint8_t i = 0; i < t.ioapic; i++)
        add_processor(&t, i);
    add_bus(&t, BUS_ISA, "ISA   ");
    if (pci)
        add_bus(&t, BUS_PCI, "PCI   ");
    add_io_apic(&t);
    add_isa(&t, pci, q->devices & DEV_ACPI);
    if (pci)
        add_pci(&t);
    add_interrupt(&t, ENTRY_LOCAL_INTERRUPT, EXT_INT, CONFORMS, BUS_ISA, 0, 0, 0);
    add_interrupt(&t, ENTRY_LOCAL_INTERRUPT, NMI, CONFORMS, BUS_ISA, 0, ALL_LAPICS, 1);
    if (!p || !h || r->full)
        return;
    memcpy(h, "PCMP", 4);
    put_le16(h + 4, (uint16_t)(r->bytes + r->len - h));
    h[6] = REVISION;
    memcpy(h + 8, "BLKHED  Bulkhead    ", 20);
    put_le16(h + 34, (uint16_t)t.count);
    put_le32(h + 36, PC_LOCAL_APIC);
    rom_sum(h, (size_t)(r->bytes + r->len - h), h + 7);
    memcpy(p, "_MP_", 4);
    put_le32(p + 4, rom_address(r, h));
    p[8] = POINTER_SIZE / 16;
    p[9] = REVISION;
    rom_sum(p, POINTER_SIZE, p + 10);
}
