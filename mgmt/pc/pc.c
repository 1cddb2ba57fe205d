#include "mgmt/pc/pc.h"

#include "hv/pc/pci.h"
#include "hv/pc/pci_registers.h"

#define PCI_ADDRESS 0xcf8u
#define PCI_DATA    0xcfcu
#define PCI_ENABLE  0x80000000u
#define PIC1        0x20u
#define PIC2        0xa0u
#define PIC_EOI     0x20u
#define CASCADE     2u
#define CODE        0x08u   /* of start.asm's GDT */
#define GATE        0x8e00u /* present, interrupt gate */

struct gate {
    uint16_t low, selector, flags, middle;
    uint32_t high, reserved;
};

extern const uint64_t guest_stubs[PC_VECTORS];
static struct gate idt[PC_VECTORS];

void pc_unmask(unsigned irq)
{
    uint16_t port = irq < 8 ? PIC1 + 1 : PIC2 + 1;

    outb(port, (uint8_t)(inb(port) & ~(1u << irq % 8)));
}

void pc_eoi(unsigned irq)
{
    if (irq >= 8)
        outb(PIC2, PIC_EOI);
    outb(PIC1, PIC_EOI);
}

static uint32_t read_pci(unsigned slot, unsigned at)
{
    outl(PCI_ADDRESS, PCI_ENABLE | slot << 11 | at);
    return inl(PCI_DATA);
}

uint16_t pc_pci_ports(uint16_t vendor, uint16_t device, unsigned n)
{
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        if (read_pci(slot, PCI_VENDOR) != ((uint32_t)device << 16 | vendor) || n--)
            continue;
        outl(PCI_DATA, read_pci(slot, PCI_COMMAND) | PCI_COMMAND_MASTER);
        return (uint16_t)(read_pci(slot, PCI_BAR) & ~3u);
    }
    return 0;
}

void pc_start(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = {sizeof(idt) - 1, (uintptr_t)idt};

    for (unsigned i = 0; i < PC_VECTORS; i++) {
        uint64_t a = guest_stubs[i];

        idt[i] =
            (struct gate){(uint16_t)a, CODE, GATE, (uint16_t)(a >> 16), (uint32_t)(a >> 32), 0};
    }
    __asm__ volatile("lidt %0" ::"m"(pointer));
    outb(PIC1, 0x11);
    outb(PIC2, 0x11);
    outb(PIC1 + 1, PC_EXCEPTIONS);
    outb(PIC2 + 1, PC_EXCEPTIONS + 8);
    outb(PIC1 + 1, 1u << CASCADE);
    outb(PIC2 + 1, CASCADE);
    outb(PIC1 + 1, 1);
    outb(PIC2 + 1, 1);
    outb(PIC1 + 1, (uint8_t) ~(1u << CASCADE));
    outb(PIC2 + 1, 0xff);
}
