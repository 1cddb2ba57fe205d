/*
 * virtio-net, virtio 1.x (OASIS virtio v1.1 "Network Device"), split virtqueues. Register access is
 * by port I/O: the common, notify, ISR and device configuration structures of "Virtio Over PCI Bus"
 * lie in one I/O window of VIRTIO_NET_PORTS ports at VIRTIO_NET_PORT (a fixed address; a guest
 * without PCI drives it there). Offsets: common configuration 0x00 (56 bytes), ISR status 0x38 (1),
 * notify 0x3c (2 bytes: queue number), device configuration 0x40. A 64-bit register is two 32-bit
 * accesses. Features: VIRTIO_F_VERSION_1, VIRTIO_NET_F_MAC, VIRTIO_NET_F_STATUS. Interrupt: level,
 * IRQ VIRTIO_NET_IRQ, cleared by reading ISR. MSI-X: none.
 *
 * Ownership: all functions but virtio_net_rx_push() and the reader of rx_waiting run on the guest's
 * owning core. Frames for the guest wait in a bounded ring (lock: rx_lock) until virtio_net_poll()
 * copies them into receive buffers. A ring index, address or length that a guest may not use breaks
 * the device (DEVICE_NEEDS_RESET), never the host.
 */
#pragma once

#include "hv/dev/dev.h"
#include "hv/dev/virtqueue.h"
#include "hv/gmem.h"
#include "hv/spinlock.h"
#include "hv/types.h"

#define VIRTIO_NET_PORT    0xc00u
#define VIRTIO_NET_PORTS   0x50u
#define VIRTIO_NET_IRQ     11u
#define VIRTIO_NET_RX_RING 128u /* frames, power of two */
#define VIRTIO_NET_FRAME   1536u

struct virtio_net_host {
    void *ctx;
    void (*transmit)(void *ctx, const uint8_t *frame,
                     size_t len); /* a frame from the guest, copied out of its memory */
};

struct virtio_net_frame {
    uint16_t len;
    uint8_t data[VIRTIO_NET_FRAME - 2];
};

struct virtio_net {
    struct gmem mem;
    struct virtqueue rx, tx;
    struct irq_line irq;
    struct virtio_net_host host;
    uint8_t mac[6];
    uint8_t status, isr;
    uint16_t queue_select;
    uint32_t feature_select, driver_feature_select;
    uint64_t driver_features;
    uint32_t generation;
    struct spinlock rx_lock;
    struct virtio_net_frame *rx_ring; /* VIRTIO_NET_RX_RING frames, given by the caller */
    uint32_t rx_head, rx_tail;        /* written under rx_lock */
    uint64_t rx_frames, tx_frames, rx_dropped, errors;
    uint8_t tx_buf[VIRTIO_NET_FRAME];
};

extern const struct io_ops virtio_net_io_ops;

/* Power-on state; `rx_ring` stays the caller's memory. Connects no ports: platform_init claims
 * them. */
void virtio_net_init(struct virtio_net *d, const struct gmem *mem, const uint8_t mac[6],
                     struct virtio_net_frame *rx_ring, const struct virtio_net_host *host);
/* A frame for the guest. Any core. False when the ring is full (counted). The caller kicks the
 * owning core, which calls virtio_net_poll(). */
bool virtio_net_rx_push(struct virtio_net *d, const uint8_t *frame, size_t len);
/* Anything waiting? Owning core or any; one load. */
static inline bool virtio_net_rx_waiting(const struct virtio_net *d)
{
    return __atomic_load_n(&d->rx_head, __ATOMIC_RELAXED) !=
           __atomic_load_n(&d->rx_tail, __ATOMIC_RELAXED);
}
/* Moves waiting frames into the guest's receive buffers and raises the interrupt. Owning core. At
 * most VIRTIO_NET_RX_RING frames a call. */
void virtio_net_poll(struct virtio_net *d);
