/* SOURCES: hv/pc/ivshmem.c hv/pc/msix.c hv/pc/pci.c hv/pc/bus.c hv/lib.c */
/* A guest that does anything with two regions of shared memory: their configuration space, their
 * registers, what is mapped; and peers that ring at any time. */
#include "hv/pc/ivshmem.h"

#include "hv/lib.h"
#include "test/unit/pci_fixture.h"

#include <stdlib.h>

#define DEVICES 2u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint32_t sizes[DEVICES] = {0x200000, 0x400000};
static const uint64_t homes[DEVICES] = {PCI_MEMORY + 0x400000, PCI_MEMORY};
static uint8_t *memory;
static struct ivshmem dev[DEVICES];
static uint32_t rung[DEVICES];
static uint64_t mapped[DEVICES]; /* 0: nowhere */
static unsigned messages;

/* As the hypervisor does it: what is mapped never overlaps, not even in between. */
static void place(void *ctx, unsigned number, uint64_t from, uint64_t to)
{
    (void)ctx;
    if (number >= DEVICES || from != mapped[number] || from == to || to % sizes[number])
        abort();
    mapped[number] = to;
    if (to && (to < PCI_MEMORY || to + sizes[number] > PCI_MEMORY_END ||
               (to < PCI_ECAM + PCI_ECAM_SIZE && PCI_ECAM < to + sizes[number])))
        abort();
    for (unsigned i = 0; to && i < DEVICES; i++)
        if (i != number && mapped[i] && to < mapped[i] + sizes[i] && mapped[i] < to + sizes[number])
            abort();
}

static void ring(void *ctx, unsigned number, unsigned peer, unsigned vector)
{
    (void)ctx;
    if (number >= DEVICES || peer > UINT16_MAX || vector >= IVSHMEM_VECTORS)
        abort();
    if (peer < DEVICES) {
        rung[peer] |= 1u << vector;
        pci_work_now(&dev[peer].pci);
    }
}

static int on_message(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx;
    (void)address;
    (void)data;
    messages++;
    return -E_NOTSUP;
}

/* Where something may be: the registers, the tables, the memory and what else is on the bus. */
static uint64_t somewhere(unsigned what, uint32_t v)
{
    const struct ivshmem *d = &dev[what & 1];

    switch (what >> 1 & 3) {
    case 0:
        return d->pci.bars[0].at + (v & 0xfc);
    case 1:
        return d->pci.bars[1].at + (v & 0xffc);
    case 2:
        return mapped[what & 1] + (v & (sizes[what & 1] - 1));
    default:
        return what & 8 ? PCI_ECAM + (v & (PCI_ECAM_SIZE - 1)) : v;
    }
}

static void begin(void)
{
    pci_fixture_reset();
    for (unsigned i = 0; i < DEVICES; i++) {
        pci_fixture_release(&dev[i]);
        ivshmem_device.reset(&dev[i], &pci_env);
    }
    for (unsigned i = 0; i < DEVICES; i++) {
        ivshmem_device.plug(&dev[i], &pci_env);
        if (mapped[i] != homes[i])
            abort();
    }
}

static void step(const uint8_t op[8])
{
    static const uint8_t registers[16] = {4,  5,  6,  0x10, 0x14, 0x18, 0x1c, 0x1b,
                                          42, 44, 48, 0x40, 0x42, 0x43, 0x12, 0x18};
    static const unsigned widths[4] = {1, 2, 4, 8};
    uint32_t v = op[4] | (uint32_t)op[5] << 8 | (uint32_t)op[6] << 16 | (uint32_t)op[7] << 24;
    unsigned width = widths[op[1] & 3], slot = IVSHMEM_SLOT + (op[2] & 1);
    uint64_t value = v * 0x100000001ull, at = somewhere(op[2], v ^ op[3]);

    switch (op[0] % 8) {
    case 0:
    case 1:
        pci_put(slot, registers[op[3] & 15], width > 4 ? 4 : width, v);
        break;
    case 2:
        (void)pci_get(slot, op[3] & 0xfcu, 4);
        break;
    case 3:
        pci_put(slot, PCI_BAR + 8, 4, (uint32_t)PCI_MEMORY + (v & 0x3fe00000));
        break;
    case 4:
        (void)mmio_write(&pci_io, at, width, value);
        break;
    case 5:
        (void)mmio_read(&pci_io, at, width, &value);
        break;
    case 6:
        rung[op[2] & 1] |= v & 0xffff; /* peers */
        pci_work_now(&dev[op[2] & 1].pci);
        break;
    default:
        if (op[1] == 0x5a)
            begin();
        break;
    }
}

static void check(void)
{
    unsigned before = messages;

    for (unsigned i = 0; i < DEVICES; i++)
        if (mapped[i] != dev[i].pci.bars[2].at || mapped[i] != dev[i].at ||
            dev[i].msix.pending >> IVSHMEM_VECTORS || dev[i].pci.intx)
            abort();
    if (pci_bus.deadline == 0)
        pci_device.update(&pci_bus);
    if (messages > before + IVSHMEM_WORK)
        abort();
    for (unsigned i = 0; i < DEVICES; i++) /* none is forgotten */
        if (rung[i] && dev[i].pci.due != 0)
            abort();
}

/* The first byte: whether messages exist. Then steps. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!memory)
        memory = calloc(1, sizes[0] + sizes[1]);
    for (unsigned i = 0; i < DEVICES; i++) {
        const struct ivshmem_setup s = {.number = i,
                                        .id = i,
                                        .memory = memory + (i ? sizes[0] : 0),
                                        .size = sizes[i],
                                        .home = homes[i],
                                        .rung = &rung[i],
                                        .place = place,
                                        .ring = ring};

        rung[i] = 0;
        mapped[i] = homes[i];
        ivshmem_init(&dev[i], &s);
    }
    messages = 0;
    pci_levels = 0;
    pci_fixture_start(DEV_APIC, size && (data[0] & 1) ? on_message : NULL);
    begin();
    for (size_t at = 1; at + 8 <= size; at += 8) {
        step(data + at);
        check();
    }
    return 0;
}
