/*
 * virtio-net, split virtqueues (OASIS virtio v1.1 "Network Device"). Pure. The structures of
 * "Virtio Over PCI Bus" lie in one I/O window at VIRTIO_NET_PORT:
 *
 *   common configuration, offsets as in struct virtio_pci_common_cfg:
 *     0x00 device_feature_select 32, 0x04 device_feature 32 RO, 0x08 driver_feature_select 32, 0x0c
 * driver_feature 32, 0x10 msix_config 16 (0xffff), 0x12 num_queues 16 RO, 0x14 device_status 8,
 * 0x15 config_generation 8 RO, 0x16 queue_select 16, 0x18 queue_size 16, 0x1a queue_msix_vector 16
 * (0xffff), 0x1c queue_enable 16, 0x1e queue_notify_off 16 RO (0), 0x20 queue_desc 64, 0x28
 * queue_driver 64, 0x30 queue_device 64 (each as two 32-bit accesses, low at +0, high at +4) 0x38
 * ISR status 8 (reading clears it and lowers the interrupt) 0x3c notify 16: the queue's number 0x40
 * device configuration: mac 6 bytes, 0x46 status 16 (bit 0: link up)
 *
 * Registers are accessed with their own width, the device configuration with 1, 2 or 4 bytes. Queue
 * 0 receives, queue 1 transmits; each buffer begins with the 12-byte struct virtio_net_hdr
 * (num_buffers = 1). Features: VIRTIO_F_VERSION_1 (required), VIRTIO_NET_F_MAC,
 * VIRTIO_NET_F_STATUS. Interrupt: level, IRQ VIRTIO_NET_IRQ.
 *
 * Ownership: all functions but virtio_net_rx_push() run on the guest's owning core. Frames for the
 * guest wait in a bounded ring (lock: rx_lock) until virtio_net_poll() copies them into receive
 * buffers. A ring or register that makes no sense breaks the device (DEVICE_NEEDS_RESET), never the
 * host.
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
