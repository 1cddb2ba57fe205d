/* A small virtio-net driver for the guests that speak Ethernet: included by one .c file of each. */
#pragma once

#include "hv/pc/virtio_net.h"
#include "test/guests/lib/virtio.h"

#define QUEUE  16u
#define BUFFER 2048u

static struct queue {
    VIRTQUEUE(QUEUE);
    uint16_t seen; /* of used.index */
    uint8_t buffers[QUEUE][BUFFER];
} rx, tx, commands;

static uint8_t mac[6];
static uint32_t vnet_features = VIRTIO_NET_F_MAC; /* those wanted, below bit 32 */
static bool vnet_messages; /* received frames interrupt by the card's first message */

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

/* Published before: the device looks at its index after it has asked for notifications. */
static void notify(const struct queue *q, uint16_t number)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!(__atomic_load_n(&q->used.flags, __ATOMIC_RELAXED) & USED_NO_NOTIFY))
        outw(REG(VIRTIO_NOTIFY), number);
}

static void start_queue(uint16_t number, struct queue *q)
{
    q->avail.flags = number ? AVAIL_NO_INTERRUPT : 0;
    q->avail.index = q->used.flags = q->used.index = q->seen = 0;
    for (uint16_t i = 0; i < QUEUE; i++)
        q->desc[i] =
            (struct desc){(uintptr_t)q->buffers[i], BUFFER, number == 0 ? DESC_WRITE : 0, 0};
    set_queue(number, QUEUE, (uintptr_t)q->desc, (uintptr_t)&q->avail, (uintptr_t)&q->used);
    if (vnet_messages && number == VIRTIO_NET_RX)
        outw(REG(VIRTIO_QUEUE_VECTOR), 0);
}

static void reset_device(void)
{
    if (!find_device(VIRTIO_NET_DEVICE, 0, vnet_features)) {
        say("net: there is no device\n");
        guest_exit(1);
    }
}

/* With `fill`, gives all receive buffers to the device. */
static void start_device(bool fill)
{
    reset_device();
    start_queue(VIRTIO_NET_RX, &rx);
    start_queue(VIRTIO_NET_TX, &tx);
    if (vnet_features & VIRTIO_NET_F_CTRL_VQ)
        start_queue(VIRTIO_NET_CONTROL, &commands);
    for (uint16_t i = 0; fill && i < QUEUE; i++)
        publish(&rx, i);
    if (!device_starts()) {
        say("net: the device does not start\n");
        guest_exit(1);
    }
    outw(REG(VIRTIO_NOTIFY), 0);
    for (unsigned i = 0; i < sizeof(mac); i++)
        mac[i] = inb(REG(VIRTIO_CONFIG + i));
}

/* The next received frame, in its buffer, which give_back() returns to the device; NULL: none.
 * Empty frames are skipped. */
static __attribute__((unused)) const uint8_t *next_frame(size_t *len)
{
    while (rx.seen != used_index(&rx)) {
        uint16_t id = (uint16_t)rx.used.ring[rx.seen % QUEUE].id;
        size_t n = rx.used.ring[rx.seen % QUEUE].length;

        rx.seen++;
        if (n > VIRTIO_NET_HEADER) {
            *len = n - VIRTIO_NET_HEADER;
            return rx.buffers[id] + VIRTIO_NET_HEADER;
        }
        publish(&rx, id);
        notify(&rx, 0);
    }
    return NULL;
}

static __attribute__((unused)) void give_back(const uint8_t *frame)
{
    publish(&rx, (uint16_t)((size_t)(frame - rx.buffers[0]) / BUFFER));
    notify(&rx, 0);
}

/* Copies the next received frame to `frame` (BUFFER bytes); returns its length, or 0. */
static __attribute__((unused)) size_t receive_frame(uint8_t *frame)
{
    size_t len = 0;
    const uint8_t *f = next_frame(&len);

    if (!f)
        return 0;
    memcpy(frame, f, len);
    give_back(f);
    return len;
}
