/*
 * Memory that guests share, and doorbells between them, as QEMU's ivshmem-doorbell has them (QEMU's
 * "Device Specification for Inter-VM shared memory device", revision 1 of the device), in slot
 * IVSHMEM_SLOT + number of the PCI bus. Pure. BAR 0 has the registers, BAR 1 the MSI-X table, BAR 2
 * is the memory: 64 bits, prefetchable, and mapped where the guest puts it.
 *
 * A doorbell is one bit for each peer and vector, so ringing again before the peer has looked
 * changes nothing. A guest without a local APIC takes no messages: it has the memory alone, as with
 * ivshmem-plain.
 *
 * Ownership: the platform's core. Doorbells come from any core: atomic.
 */
#pragma once

#include "hv/pc/msix.h"
#include "hv/pc/pci.h"

#define IVSHMEM_SLOT      24u
#define IVSHMEM_MAX       4u /* devices */
#define IVSHMEM_VENDOR    0x1af4u
#define IVSHMEM_DEVICE    0x1110u
#define IVSHMEM_REVISION  1u
#define IVSHMEM_REGISTERS 0x100u /* bytes of BAR 0 */
#define IVSHMEM_VECTORS   16u
#define IVSHMEM_WORK      2u /* messages in a call */

/* In BAR 0, 32 bits each: other widths read ones and write nothing. */
enum ivshmem_register {
    IVSHMEM_INTR_MASK = 0x0,   /* reserved in revision 1: keeps what is written */
    IVSHMEM_INTR_STATUS = 0x4, /* likewise: 0 */
    IVSHMEM_POSITION = 0x8,    /* RO, the own ID; 0 without doorbells */
    IVSHMEM_DOORBELL = 0xc,    /* WO, bits 31:16: the peer's ID, bits 15:0: its vector */
};

/* What a device is made from; all of it stays the caller's. */
struct ivshmem_setup {
    unsigned number, id; /* of the device, 0..IVSHMEM_MAX-1; the guest's own among the peers */
    uint8_t *memory;
    uint32_t size;  /* bytes, a power of two; 0: the device does not exist */
    uint64_t home;  /* guest-physical: where the memory is mapped now, and at each power-on */
    uint32_t *rung; /* bits: vectors that peers have rung and that are not yet taken. Atomic */
    void *ctx;
    /* The memory is to be mapped at `to`, and no longer at `from`; 0: nowhere. In an access to the
     * PC, or at power-on. */
    void (*place)(void *ctx, unsigned number, uint64_t from, uint64_t to);
    /* Rings for a peer, which may not exist; `vector` does. In an access to the PC. */
    void (*ring)(void *ctx, unsigned number, unsigned peer, unsigned vector);
};

struct ivshmem {
    struct pci_function pci;
    struct msix msix;
    struct ivshmem_setup setup;
    uint64_t at; /* where the memory is mapped; 0: nowhere */
    uint32_t mask;
};

extern const struct device ivshmem_device;

/* Once. */
void ivshmem_init(struct ivshmem *d, const struct ivshmem_setup *s);

static inline bool ivshmem_is_there(const struct ivshmem *d)
{
    return d->setup.size;
}
