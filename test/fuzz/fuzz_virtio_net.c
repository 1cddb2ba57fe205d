/* SOURCES: @virtio hv/pc/virtio_net.c hv/pc/virtio_net_control.c
 * hv/pc/virtio_net_rx.c */
/* A driver that does anything: register accesses, memory writes, frames from the wire. */
#include "hv/pc/virtio_net.h"

#include "test/unit/virtio_fixture.h"

#define MEMORY 0x4000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_net dev;
static struct virtio_net_frame ring[VIRTIO_NET_PAIRS * VIRTIO_NET_RX_SHARE];
static uint8_t segments[(1 + VIRTIO_NET_SEGMENTS) * VIRTIO_NET_SEGMENT];
static uint64_t sent;
static uint8_t *borrowed;
static unsigned again, queues;

static bool on_transmit(void *ctx, uint8_t *frame, size_t len, const struct net_offload *o)
{
    static uint8_t copy[NET_SEGMENT_MAX];

    (void)ctx;
    if (len < VIRTIO_NET_FRAME_MIN || len > (o->gso_type ? NET_SEGMENT_MAX : NET_FRAME_MAX) ||
        (net_needed(o) && !virtio_has(&dev.virtio, VIRTIO_NET_F_CSUM)))
        abort();
    memcpy(copy, frame, len);
    if (again++ % 3 == 0)
        return true;
    sent++;
    /* Sent frames come back while the device is at work. */
    if (o->gso_type && !borrowed)
        borrowed = virtio_net_rx_borrow(&dev);
    if (o->gso_type && borrowed) {
        memcpy(borrowed, copy, len);
        (void)virtio_net_rx_give(&dev, borrowed, len, o);
        borrowed = NULL;
    } else {
        (void)virtio_net_rx_push(&dev, copy, len, net_needed(o) ? o : NULL);
    }
    return false;
}

/* Without having chosen commands the driver gets all; broadcasts it gets in any case. */
static bool filter_is_right(void)
{
    static const uint8_t broadcast[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    if (virtio_net_takes(&dev) && !virtio_has(&dev.virtio, VIRTIO_NET_F_GUEST_CSUM))
        return false;
    return virtio_net_wants(&dev, broadcast) &&
           (dev.groups == UINT64_MAX || virtio_has(&dev.virtio, VIRTIO_NET_F_CTRL_RX));
}

static void on_cancel(void *ctx)
{
    (void)ctx;
    again = 1;
}

/* Each pair's ring is bounded, and lends what waits in it; pairs that do not receive have nothing.
 */
static bool rings_are_right(void)
{
    uint32_t lent = 0;

    for (unsigned i = 0; i < dev.config.queue_pairs; i++) {
        const struct virtio_net_pair *p = &dev.pairs[i];

        if (p->head - p->tail > p->size || (i >= dev.receiving && p->head != p->tail) ||
            (lent & p->segments))
            return false;
        lent |= p->segments;
    }
    return (dev.lent & lent) == lent && dev.receiving >= 1 &&
           dev.receiving <= dev.config.queue_pairs &&
           (dev.receiving == 1 || virtio_has(&dev.virtio, VIRTIO_NET_F_MQ));
}

/* Starts the device like a good driver, so that the rings are reached. */
static void start(uint32_t low)
{
    negotiate(low & (uint32_t)dev.virtio.features, 1);
    for (unsigned n = 0; n < queues; n++)
        set_queue(n, 8, 0x400 * n, 0x400 * n + 0x100, 0x400 * n + 0x200);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
}

static void step(const uint8_t op[8])
{
    uint32_t v = op[4] | (uint32_t)op[5] << 8 | (uint32_t)op[6] << 16 | (uint32_t)op[7] << 24;
    unsigned at = (op[2] | (unsigned)op[3] << 8) % (MEMORY - 4), sizes[4] = {1, 2, 4, 4};
    unsigned reg = op[1] % VIRTIO_WINDOW;
    uint8_t frame[VIRTIO_NET_FRAME] = {[12] = 8, [26] = op[2]}; /* IPv4: which pair receives it */

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
        put(op[0] & 0x80 ? at % (0x400 * queues) : at, v, 4);
        break;
    case 6:
        if (op[1] & 1)
            (void)((op[1] & 2 &&
                    virtio_net_rx_put(&dev, frame, (size_t)v % VIRTIO_NET_FRAME, NULL)) ||
                   virtio_net_rx_push(&dev, frame, (size_t)v % (VIRTIO_NET_FRAME + 4), NULL));
        else if (!borrowed)
            borrowed = virtio_net_rx_borrow(&dev);
        else if (virtio_net_rx_give(
                     &dev, borrowed, v % NET_SEGMENT_MAX,
                     &(struct net_offload){op[1] & 2 ? 1 : 0, op[2], 0, 0, 0, 0, 0}) ||
                 true)
            borrowed = NULL;
        pci_work_now(&dev.virtio.pci);
        break;
    default:
        out(VIRTIO_NOTIFY, 2, op[1] % queues);
        break;
    }
}

static bool has_time(void *ctx)
{
    (void)ctx;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    const struct virtio_net_host host = {.transmit = on_transmit,
                                         .cancel = on_cancel,
                                         .has_time = size && data[0] & 0x40 ? has_time : NULL};
    const unsigned pairs = size && data[0] & 0x20 ? 3 : 1;
    const struct virtio_net_memory memory = {.rx_ring = ring, .segments = segments, .pairs = pairs};

    virtio_fixture_memory(MEMORY);
    virtio_net_init(&dev, &mem, mac, &memory, &host);
    virtio_fixture_plug(&virtio_net_device, &dev, VIRTIO_NET_SLOT, DEV_NET);
    sent = again = 0;
    queues = 2 * pairs + 1;
    borrowed = NULL;
    for (; size >= 8; data += 8, size -= 8) {
        uint64_t before = sent;

        step(data);
        if (pci_bus.deadline == 0)
            pci_device.update(&pci_bus);
        /* Work and queue are bounded, and an interrupt is raised exactly while there is a
         * reason. */
        if (!filter_is_right() || sent - before > VIRTQUEUE_MAX || !rings_are_right() ||
            pci_level(VIRTIO_NET_IRQ) != (dev.virtio.isr != 0))
            abort();
    }
    free(mem.base);
    return 0;
}
