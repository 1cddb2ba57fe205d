/* SOURCES: @virtio hv/pc/virtio_net.c */
/* A driver that does anything: register accesses, memory writes, frames from the wire. */
#include "hv/pc/virtio_net.h"

#include "test/unit/virtio_fixture.h"

#define MEMORY 0x4000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_net dev;
static struct virtio_net_frame ring[VIRTIO_NET_RX_RING];
static uint64_t sent;

static void on_transmit(void *ctx, const uint8_t *frame, size_t len)
{
    uint8_t copy[VIRTIO_NET_FRAME_MAX];

    (void)ctx;
    if (len < VIRTIO_NET_FRAME_MIN || len > VIRTIO_NET_FRAME_MAX)
        abort();
    memcpy(copy, frame, len);
    sent++;
    /* Sent frames come back while the device is at work. */
    (void)virtio_net_rx_push(&dev, copy, len);
}

/* Starts the device like a good driver, so that the rings are reached. */
static void start(uint32_t low)
{
    negotiate(low & (uint32_t)dev.virtio.features, 1);
    for (unsigned n = 0; n < 2; n++)
        set_queue(n, 8, 0x400 * n, 0x400 * n + 0x100, 0x400 * n + 0x200);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
}

static void step(const uint8_t op[8])
{
    uint32_t v = op[4] | (uint32_t)op[5] << 8 | (uint32_t)op[6] << 16 | (uint32_t)op[7] << 24;
    unsigned at = (op[2] | (unsigned)op[3] << 8) % (MEMORY - 4), sizes[4] = {1, 2, 4, 4};
    unsigned reg = op[1] % VIRTIO_WINDOW;
    uint8_t frame[VIRTIO_NET_FRAME] = {0};

    switch (op[0] % 8) {
    case 0:
        start(v);
        break;
    case 1:
        out(reg, sizes[op[0] >> 6], v);
        break;
    case 2:
        (void)in(reg, sizes[op[0] >> 6]);
        if (reg == VIRTIO_ISR && op[0] >> 6 == 0 && pci_level(VIRTIO_NET_IRQ))
            abort();
        break;
    case 3:
    case 4:
    case 5:
        put(op[0] & 0x80 ? at % 0x800 : at, v, 4);
        break;
    case 6:
        (void)virtio_net_rx_push(&dev, frame, (size_t)v % (VIRTIO_NET_FRAME + 4));
        pci_work_now(&dev.virtio.pci);
        break;
    default:
        out(VIRTIO_NOTIFY, 2, op[1] & 1);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    const struct virtio_net_host host = {NULL, on_transmit};

    virtio_fixture_memory(MEMORY);
    virtio_net_init(&dev, &mem, mac, ring, &host);
    virtio_fixture_plug(&virtio_net_device, &dev, VIRTIO_NET_SLOT, DEV_NET);
    sent = 0;
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t before = sent;

        step(data);
        if (pci_bus.deadline == 0)
            pci_device.update(&pci_bus);
        /* Work and queue are bounded, and an interrupt is raised exactly while there is a
         * reason. */
        if (sent - before > VIRTQUEUE_MAX || dev.rx_head - dev.rx_tail > VIRTIO_NET_RX_RING ||
            pci_level(VIRTIO_NET_IRQ) != (dev.virtio.isr != 0))
            abort();
    }
    if (sent != dev.tx_frames)
        abort();
    free(mem.base);
    return 0;
}
