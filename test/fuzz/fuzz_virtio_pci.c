/* SOURCES: @virtio hv/pc/virtio_net.c hv/pc/virtio_net_control.c
 * hv/pc/virtio_net_rx.c */
/* A guest that does anything with the configuration space of its bus, and with what it finds there:
 * ports, memory, messages; transitional and memory-mapped devices too. */
#include "hv/pc/virtio_mmio.h"
#include "hv/pc/virtio_net.h"

#include "hv/lib.h"
#include "test/unit/pci_fixture.h"

#include <stdlib.h>

#define MEMORY 0x1000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_net dev;
static struct virtio_net_frame ring[VIRTIO_NET_RX_RING];
static struct gmem mem;

static bool on_transmit(void *ctx, uint8_t *frame, size_t len, const struct net_offload *o)
{
    (void)o;
    (void)ctx;
    (void)frame;
    (void)len;
    return false;
}

/* Only a bus master sends. */
static int on_message(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx;
    (void)address;
    (void)data;
    if (!pci_is_master(&dev.virtio.pci))
        abort();
    return -E_NOTSUP;
}

/* The addresses of the BARs as they stand, or anything. */
static uint64_t place(unsigned what, uint32_t v)
{
    const uint8_t *bars = &dev.virtio.pci.config[PCI_BAR];
    uint32_t ports, low;

    memcpy(&ports, bars, sizeof(ports));
    memcpy(&low, bars + 8, sizeof(low));
    switch (what % 4) {
    case 0:
        return (ports & ~0xfu) + v % VIRTIO_WINDOW;
    case 1:
        return (low & ~0xfu) + v % 0x2000;
    case 2:
        return PCI_ECAM + (v & (PCI_ECAM_SIZE - 1));
    default:
        return pci_env.virtio == VIRTIO_MMIO ? VIRTIO_MMIO_AT(VIRTIO_NET_SLOT) + v % 0x200 : v;
    }
}

static void step(const uint8_t op[8])
{
    static const unsigned sizes[4] = {1, 2, 4, 8};
    uint32_t v = op[4] | (uint32_t)op[5] << 8 | (uint32_t)op[6] << 16 | (uint32_t)op[7] << 24;
    uint32_t where = op[2] | (uint32_t)op[3] << 8;
    unsigned size = sizes[op[1] & 3], narrow = size > 4 ? 4 : size;
    uint64_t value = v * 0x100000001ull, at = place(op[1] >> 2, op[1] & 0x80 ? v : where);
    uint16_t data_port = (uint16_t)(PCI_DATA_PORT + op[1] % 4);

    switch (op[0] % 8) {
    case 0:
        pci_bus.address = op[0] & 8 ? v : 0x80000000u | VIRTIO_NET_SLOT << 11 | (where & 0xfc);
        break;
    case 1:
        io_out(&pci_io, data_port, narrow, v);
        break;
    case 2:
        (void)io_in(&pci_io, data_port, narrow);
        break;
    case 3:
        io_out(&pci_io, (uint16_t)at, narrow, v);
        break;
    case 4:
        (void)io_in(&pci_io, (uint16_t)at, narrow);
        break;
    case 5:
        (void)mmio_write(&pci_io, at, size, value);
        break;
    case 6:
        (void)mmio_read(&pci_io, at, size, &value);
        break;
    default:
        memcpy(mem.base + where % (MEMORY - 4), &v, 4);
        (void)virtio_net_rx_push(&dev, mem.base, v % 100, NULL);
        pci_work_now(&dev.virtio.pci);
        break;
    }
}

static void check(void)
{
    const struct pci_function *f = &dev.virtio.pci;
    uint8_t intx = (uint8_t)(f->config[PCI_STATUS] & PCI_STATUS_INTX);
    unsigned regions = 0;

    if (!f->apart && (f->config[PCI_VENDOR] != 0xf4 || f->config[PCI_INTERRUPT_PIN] != 1))
        abort();
    if ((intx != 0) != f->intx || (f->intx && !dev.virtio.isr))
        abort();
    if (pci_level(VIRTIO_NET_IRQ) &&
        (!f->intx || (f->config[PCI_COMMAND + 1] & 4) || msix_is_enabled(&dev.virtio.msix)))
        abort();
    for (unsigned i = 0; i < IO_REGIONS_MAX; i++)
        regions += pci_io.regions[i].ops != NULL;
    if (regions > 2 || dev.virtio.msix.pending >> dev.virtio.msix.count)
        abort();
}

/* The first byte: whether messages exist, and the transport. Then steps. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    const struct virtio_net_host host = {.transmit = on_transmit};
    const struct virtio_net_memory memory = {.rx_ring = ring, .pairs = 1};

    if (size == 0)
        return 0;
    mem = (struct gmem){.base = aligned_alloc(4096, MEMORY), .size = MEMORY};
    memset(mem.base, 0, MEMORY);
    virtio_net_init(&dev, &mem, mac, &memory, &host);
    pci_fixture_start(DEV_NET, data[0] & 1 ? on_message : NULL);
    pci_env.virtio = data[0] >> 2 & 3;
    virtio_net_device.plug(&dev, &pci_env);
    if (data[0] & 2)
        pci_fixture_master(VIRTIO_NET_SLOT);
    for (data++, size--; size >= 8; data += 8, size -= 8) {
        step(data);
        if (pci_bus.deadline == 0)
            pci_device.update(&pci_bus);
        check();
    }
    free(mem.base);
    return 0;
}
