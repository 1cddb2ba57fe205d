/*
 * The one PCI bus of a guest's PC: configuration space by mechanism 1 (ports 0xcf8 and 0xcfc) and
 * by ECAM, base address registers, interrupt lines. Pure. PCI Local Bus Specification 3.0,
 * "Configuration Space"; PCI Express Base Specification, "Enhanced Configuration Access Mechanism".
 *
 * No firmware runs in a guest, so at power-on the functions are as firmware hands them over:
 * addresses assigned, decoding on, Interrupt Line set, bus mastering off. A guest may move them.
 * Addresses that the bus cannot decode (outside its windows, or where another device is) are not
 * decoded, and nothing else happens.
 *
 * Each slot has function 0 alone, with its interrupt pin A. The platform's core calls all of this.
 */
#pragma once

#include "hv/abi/pc.h"
#include "hv/pc/device.h"
#include "hv/types.h"

/* CONFIG_ADDRESS, at port 0xcf8, is reset.c's, because other widths reach the register behind. */
#define PCI_ADDRESS_BITS  0x80fffffcu /* those that exist */
#define PCI_DATA_PORT     0xcfcu
#define PCI_ECAM          ((uint64_t)PC_ECAM)
#define PCI_ECAM_SIZE     ((uint64_t)PC_ECAM_SIZE)
/* What the host bridge forwards to the bus, beside the ECAM within. */
#define PCI_MEMORY        ((uint64_t)PC_PCI_LOW)
#define PCI_MEMORY_END    (PC_PCI_HIGH_LAST + 1ull)
#define PCI_PORTS         ((uint32_t)PC_PCI_PORTS)
/* Where functions are at power-on: their slot's share of the windows. */
#define PCI_SLOT_MEMORY   0xfe000000ull
#define PCI_SLOT_SIZE     0x4000u
#define PCI_SLOT_PORTS    0x80u

#define PCI_SLOTS         32u
#define PCI_FUNCTIONS_MAX 16u
#define PCI_BARS          6u
#define PCI_CONFIG_SIZE   256u

/* The interrupt line of a slot, level-triggered: the same number at the PICs and as a GSI. */
#define PCI_GSI_FIRST     ((unsigned)PC_PCI_IRQ_A) /* and the next one */
#define PCI_GSI(slot)     (PCI_GSI_FIRST + ((slot)&1u))
#define PCI_GSI_MASK      0x0c00u /* of all of them */

struct pci_identity {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class; /* class, subclass, programming interface */
    uint8_t revision;
};

struct pci_function {
    uint8_t config[PCI_CONFIG_SIZE],
        writable[PCI_CONFIG_SIZE]; /* the bits that a guest can write */
    struct pci_bar {
        uint32_t size; /* a power of two; 0: none */
        /* One of the two; a memory BAR has 64 bits, and takes the next BAR as well, unless it is
         * narrow. */
        const struct io_ops *ports;
        const struct mmio_ops *memory;
        bool narrow, prefetchable;
        uint64_t home; /* where it is at power-on; 0: in its slot's share of the window */
        uint64_t at;   /* where it is decoded; 0: nowhere */
    } bars[PCI_BARS];
    unsigned caps_end; /* where the next capability goes */
    unsigned last_cap; /* where the pointer to it goes */
    void *dev;         /* what is passed to all of these, and owns what the BARs claim */
    /* A capability is read, or has been written: [at, at + size). NULL: nothing happens. */
    void (*before_read)(void *dev, unsigned at, unsigned size);
    void (*after_write)(void *dev, unsigned at, unsigned size);
    /* `at` of its BARs may have changed. NULL: nothing happens. */
    void (*moved)(void *dev);
    /* Called in the guest's own time once `due` has come; bounded; sets `due` again. */
    void (*work)(void *dev);
    uint64_t due; /* absolute ticks, 0: now, NEVER */
    struct pci *bus;
    unsigned slot;
    bool intx;    /* the function asks for its interrupt */
    bool no_intx; /* it uses messages instead */
    bool apart;   /* it has no configuration space: pci_join() */
};

struct pci {
    uint32_t address; /* CONFIG_ADDRESS */
    struct pci_function bridge;
    struct pci_function *functions[PCI_FUNCTIONS_MAX]; /* the first is the bridge */
    unsigned count, turn;
    uint32_t lines[2]; /* bits: slots that hold the line up */
    uint64_t deadline; /* the earliest `due` */
    const struct dev_clock *clock;
    struct io_bus *ports;
    struct irq_line irq;                                    /* its `set` and `ctx` count */
    int (*msi)(void *ctx, uint64_t address, uint32_t data); /* NULL: no one takes messages */
};

extern const struct device pci_device;

/* Makes a function, all of whose BARs and capabilities follow; *f is all zero. Once, before it is
 * plugged. */
void pci_function_init(struct pci_function *f, const struct pci_identity *id, void *dev);
void pci_add_bar(struct pci_function *f, unsigned number, const struct pci_bar *bar);
/* The capability's offset; `body` follows its two first bytes. There must be room. */
unsigned pci_add_capability(struct pci_function *f, uint8_t id, const void *body, size_t size);

/* Puts it into a slot, in its power-on state. Once a life, after pci_device.plug; what it claimed
 * in an earlier life has been released. */
void pci_plug(struct pci *p, struct pci_function *f, unsigned slot);

/* A device that is not on the bus, but has a slot's line and works in turn with the functions; *f
 * is all zero but for `dev` and `work`. */
void pci_join(struct pci *p, struct pci_function *f, unsigned slot);

/* Raises or lowers INTx. */
void pci_intx(struct pci_function *f, bool level);
/* The same level, after `no_intx` or the COMMAND register has changed. */
void pci_update_intx(struct pci_function *f);
bool pci_is_master(const struct pci_function *f);

/* There is work for the function: its work() is called before the next entry. */
static inline void pci_work_now(struct pci_function *f)
{
    f->due = 0;
    if (f->bus)
        f->bus->deadline = 0;
}
