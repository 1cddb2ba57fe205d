/*
 * virtio-net (OASIS virtio v1.2 "Network Device"), in slot VIRTIO_NET_SLOT of the PCI bus; virtio.h
 * has its registers. Pure.
 *
 * Ownership: all functions except virtio_net_rx_push() run on the guest's owning core. Frames for
 * the guest wait in a bounded ring (lock: rx_lock) until the device's work (virtio.pci.due) copies
 * them into receive buffers, in the guest's own time. An invalid ring or register breaks the device
 * (DEVICE_NEEDS_RESET), never the host.
 */
#pragma once

#include "hv/pc/device.h"
#include "hv/pc/virtio.h"
#include "hv/gmem.h"
#include "hv/spinlock.h"
#include "hv/types.h"

#define VIRTIO_NET_SLOT     ((unsigned)PC_SLOT_NET)
#define VIRTIO_NET_DEVICE   (VIRTIO_PCI_DEVICE + 1)
#define VIRTIO_NET_IRQ      PCI_GSI(VIRTIO_NET_SLOT)
#define VIRTIO_NET_RX       0u /* queues */
#define VIRTIO_NET_TX       1u
#define VIRTIO_NET_RX_RING  128u /* frames, power of two */
#define VIRTIO_NET_FRAME    1536u

/* Features offered. */
#define VIRTIO_NET_F_MTU    (1ull << 3)
#define VIRTIO_NET_F_MAC    (1ull << 5)
#define VIRTIO_NET_F_STATUS (1ull << 16)

/* The device's configuration. */
struct virtio_net_config {
    uint8_t mac[6];
    uint16_t link; /* bit 0: up */
    uint16_t queue_pairs, mtu;
} __attribute__((packed));

/* Each buffer begins with struct virtio_net_hdr: all zero from the driver (no negotiated feature
 * needs it), and from the device zero except num_buffers = 1. */
#define VIRTIO_NET_HEADER     12u
#define VIRTIO_NET_OLD_HEADER 10u /* without num_buffers, for a legacy driver */
#define VIRTIO_NET_FRAME_MIN  14u
#define VIRTIO_NET_FRAME_MAX  1518u

struct virtio_net_host {
    void *ctx;
    /* A frame from the guest, copied out of its memory; VIRTIO_NET_FRAME_MIN..MAX bytes. */
    void (*transmit)(void *ctx, const uint8_t *frame, size_t len);
};

struct virtio_net_frame {
    uint16_t len;
    uint8_t data[VIRTIO_NET_FRAME - 2];
};

/* A chain in progress: it may have more descriptors than one call can handle. */
struct virtio_net_chain {
    bool open, bad; /* bad: useless as a frame, but still walked to its end */
    struct virtqueue_chain chain;
    size_t done; /* bytes, including the header */
};

struct virtio_net {
    struct virtio virtio; /* virtio.pci.due is 0 while frames may wait, in either direction */
    struct virtio_net_config config;
    struct virtio_net_host host;
    struct spinlock rx_lock;
    struct virtio_net_frame *rx_ring; /* VIRTIO_NET_RX_RING frames, from the caller */
    uint32_t rx_head, rx_tail;        /* written under rx_lock */
    /* Frames moved; dropped for lack of room (under rx_lock); malformed or too large. */
    uint64_t rx_frames, tx_frames, rx_dropped, errors;
    bool sent_last;          /* receiving is next */
    unsigned sent, received; /* frames since the driver was last told */
    struct virtio_net_chain tx_chain, rx_chain;
    uint8_t tx_buf[VIRTIO_NET_FRAME]; /* the last member, see virtio_net_init() */
};

/* The most descriptors that one call of the device's work handles; it stops after a frame sent, or
 * this many received. A neighbour on the core may have to wait this long. */
#define VIRTIO_NET_WORK    8u
#define VIRTIO_NET_RECEIVE 2u
/* The driver gets its interrupts once nothing is left to do, or after this many frames. */
#define VIRTIO_NET_UNTOLD  64u

extern const struct device virtio_net_device;

/* Makes the device; `mem` and `rx_ring` stay the caller's. Once, before any other core knows it,
 * and before virtio_net_device.plug, which each life needs: it forgets the former driver's rings
 * and drops waiting frames. */
void virtio_net_init(struct virtio_net *d, const struct gmem *mem, const uint8_t mac[6],
                     struct virtio_net_frame *rx_ring, const struct virtio_net_host *host);
/* A frame for the guest. Any core. False: the ring is full (counted). The caller kicks the owning
 * core, which calls pci_work_now(). */
bool virtio_net_rx_push(struct virtio_net *d, const uint8_t *frame, size_t len);
/* True if frames wait. Any core; one load. */
static inline bool virtio_net_rx_waiting(const struct virtio_net *d)
{
    return __atomic_load_n(&d->rx_head, __ATOMIC_ACQUIRE) !=
           __atomic_load_n(&d->rx_tail, __ATOMIC_RELAXED);
}
