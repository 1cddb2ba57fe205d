/* A small virtio-net driver for the guests that speak Ethernet: included by one .c file of each. */
#pragma once

#include "hv/pc/virtio_net.h"
#include "test/guests/lib/guest.h"

#define QUEUE              16u
#define BUFFER             2048u
#define DESC_NEXT          1u
#define DESC_WRITE         2u
#define AVAIL_NO_INTERRUPT 1u
#define REG(r)             ((uint16_t)(ports + (r)))
#define STATUS_READY       (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK)

struct desc {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

static struct queue {
    struct desc desc[QUEUE] __attribute__((aligned(16)));
    struct {
        uint16_t flags, index, ring[QUEUE];
    } avail;
    struct {
        uint16_t flags, index;
        struct {
            uint32_t id, length;
        } ring[QUEUE];
    } used __attribute__((aligned(4)));
    uint16_t seen; /* of used.index */
    uint8_t buffers[QUEUE][BUFFER];
} rx, tx;

static uint8_t mac[6];
static uint16_t ports; /* the device's */

static void on_net(void)
{
    (void)inb(REG(VIRTIO_ISR));
}

static void publish(struct queue *q, uint16_t head)
{
    q->avail.ring[q->avail.index % QUEUE] = head;
    __atomic_store_n(&q->avail.index, (uint16_t)(q->avail.index + 1), __ATOMIC_RELEASE);
}

static uint16_t used_index(const struct queue *q)
{
    return __atomic_load_n(&q->used.index, __ATOMIC_ACQUIRE);
}

static void set_address(uint16_t reg, uint64_t a)
{
    outl(REG(reg), (uint32_t)a);
    outl(REG(reg + 4), (uint32_t)(a >> 32));
}

static void set_queue(uint16_t number, uint16_t size, uint64_t desc, uint64_t avail, uint64_t used)
{
    outw(REG(VIRTIO_QUEUE_SELECT), number);
    outw(REG(VIRTIO_QUEUE_SIZE), size);
    set_address(VIRTIO_QUEUE_DESC, desc);
    set_address(VIRTIO_QUEUE_DRIVER, avail);
    set_address(VIRTIO_QUEUE_DEVICE, used);
    outw(REG(VIRTIO_QUEUE_ENABLE), 1);
}

static void start_queue(uint16_t number, struct queue *q)
{
    q->avail.flags = number == 1 ? AVAIL_NO_INTERRUPT : 0;
    q->avail.index = q->used.index = q->seen = 0;
    for (uint16_t i = 0; i < QUEUE; i++)
        q->desc[i] =
            (struct desc){(uintptr_t)q->buffers[i], BUFFER, number == 0 ? DESC_WRITE : 0, 0};
    set_queue(number, QUEUE, (uintptr_t)q->desc, (uintptr_t)&q->avail, (uintptr_t)&q->used);
}

static void reset_device(void)
{
    ports = pc_pci_ports(VIRTIO_PCI_VENDOR, VIRTIO_NET_DEVICE, 0);
    if (!ports) {
        say("net: there is no device\n");
        guest_exit(1);
    }
    outb(REG(VIRTIO_STATUS), 0);
    outb(REG(VIRTIO_STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    outl(REG(VIRTIO_DRIVER_FEATURE_SELECT), 0);
    outl(REG(VIRTIO_DRIVER_FEATURE), VIRTIO_NET_F_MAC);
    outl(REG(VIRTIO_DRIVER_FEATURE_SELECT), 1);
    outl(REG(VIRTIO_DRIVER_FEATURE), VIRTIO_F_VERSION_1 >> 32);
    outb(REG(VIRTIO_STATUS), STATUS_READY);
}

/* With `fill`, gives all receive buffers to the device. */
static void start_device(bool fill)
{
    reset_device();
    start_queue(0, &rx);
    start_queue(1, &tx);
    for (uint16_t i = 0; fill && i < QUEUE; i++)
        publish(&rx, i);
    outb(REG(VIRTIO_STATUS), STATUS_READY | VIRTIO_DRIVER_OK);
    outw(REG(VIRTIO_NOTIFY), 0);
    if (inb(REG(VIRTIO_STATUS)) != (STATUS_READY | VIRTIO_DRIVER_OK)) {
        say("net: the device does not start\n");
        guest_exit(1);
    }
    for (unsigned i = 0; i < sizeof(mac); i++)
        mac[i] = inb(REG(VIRTIO_CONFIG + i));
}

/* Copies the next received frame to `frame` (BUFFER bytes); returns its length, or 0. Empty frames
 * are skipped. */
static size_t receive_frame(uint8_t *frame)
{
    while (rx.seen != used_index(&rx)) {
        uint16_t id = (uint16_t)rx.used.ring[rx.seen % QUEUE].id;
        size_t len = rx.used.ring[rx.seen % QUEUE].length;

        rx.seen++;
        len = len > VIRTIO_NET_HEADER ? len - VIRTIO_NET_HEADER : 0;
        memcpy(frame, rx.buffers[id] + VIRTIO_NET_HEADER, len);
        publish(&rx, id);
        outw(REG(VIRTIO_NOTIFY), 0);
        if (len)
            return len;
    }
    return 0;
}
