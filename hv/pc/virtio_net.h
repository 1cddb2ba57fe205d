/*
 * virtio-net, split virtqueues (OASIS virtio v1.1 "Network Device"). Pure. The structures of
 * "Virtio Over PCI Bus" lie in one window of I/O ports at VIRTIO_NET_PORT: see enum virtio_net_reg.
 * There is no PCI bus.
 *
 * Interrupt: level, IRQ VIRTIO_NET_IRQ, high from an event until the ISR register is read.
 *
 * Ownership: all functions except virtio_net_rx_push() run on the guest's owning core. Frames for
 * the guest wait in a bounded ring (lock: rx_lock) until virtio_net_work() copies them into receive
 * buffers. An invalid ring or register breaks the device (DEVICE_NEEDS_RESET), never the host.
 */
#pragma once

#include "hv/pc/device.h"
#include "hv/pc/virtqueue.h"
#include "hv/gmem.h"
#include "hv/spinlock.h"
#include "hv/types.h"

#define VIRTIO_NET_PORT    0xc00u
#define VIRTIO_NET_PORTS   0x50u
#define VIRTIO_NET_IRQ     11u
#define VIRTIO_NET_RX_RING 128u /* frames, power of two */
#define VIRTIO_NET_FRAME   1536u

/*
 * The registers, by offset in the window. Each is accessed with its own width (bits in brackets):
 * any other width or offset reads all ones and swallows writes. RO: writes are swallowed. The three
 * addresses are 64 bits in two registers of 32, the low half first.
 *
 * To start: write 0 to STATUS, then ACKNOWLEDGE | DRIVER; read the features offered, write those
 * wanted; add FEATURES_OK and read STATUS back: if the bit is clear, the choice was refused. For
 * queues 0 (receive) and 1 (transmit): select, set the size and the three addresses, enable. Add
 * DRIVER_OK. From then on: fill the available ring, then write the queue's number to NOTIFY.
 */
enum virtio_net_reg {
    VIRTIO_NET_DEVICE_FEATURE_SELECT = 0x00, /* [32] 0: features 0-31, 1: 32-63, else none */
    VIRTIO_NET_DEVICE_FEATURE = 0x04,        /* [32] RO, the features offered */
    VIRTIO_NET_DRIVER_FEATURE_SELECT = 0x08, /* [32] likewise for the next one */
    VIRTIO_NET_DRIVER_FEATURE = 0x0c,        /* [32] the features wanted, until FEATURES_OK */
    VIRTIO_NET_MSIX_CONFIG = 0x10,           /* [16] RO, 0xffff: no MSI-X */
    VIRTIO_NET_NUM_QUEUES = 0x12,            /* [16] RO, 2 */
    VIRTIO_NET_STATUS = 0x14,                /* [8] enum virtio_status; writing 0 resets */
    VIRTIO_NET_GENERATION = 0x15,            /* [8] RO, 0: the configuration never changes */
    VIRTIO_NET_QUEUE_SELECT = 0x16,     /* [16] selects the queue for the following registers */
    VIRTIO_NET_QUEUE_SIZE = 0x18,       /* [16] 256, may be made smaller; 0: no such queue */
    VIRTIO_NET_QUEUE_MSIX = 0x1a,       /* [16] RO, 0xffff */
    VIRTIO_NET_QUEUE_ENABLE = 0x1c,     /* [16] write 1; then only a reset changes the queue */
    VIRTIO_NET_QUEUE_NOTIFY_OFF = 0x1e, /* [16] RO, 0 */
    VIRTIO_NET_QUEUE_DESC = 0x20,       /* [2 * 32] descriptor table, 16-byte aligned */
    VIRTIO_NET_QUEUE_DRIVER = 0x28,     /* [2 * 32] available ring, 2-byte aligned */
    VIRTIO_NET_QUEUE_DEVICE = 0x30,     /* [2 * 32] used ring, 4-byte aligned */
    VIRTIO_NET_ISR = 0x38,              /* [8] RO, 1: used buffers, 2: NEEDS_RESET was set;
                                           reading clears it and lowers the interrupt */
    VIRTIO_NET_NOTIFY = 0x3c,           /* [16] write a queue's number: look at it now */
    VIRTIO_NET_MAC = 0x40,              /* RO, 6 bytes, any width */
    VIRTIO_NET_LINK = 0x46,             /* RO, 16 bits, any width; bit 0: link up */
};

enum virtio_status {
    VIRTIO_ACKNOWLEDGE = 1,
    VIRTIO_DRIVER = 2,
    VIRTIO_DRIVER_OK = 4,
    VIRTIO_FEATURES_OK = 8,
    VIRTIO_NEEDS_RESET = 64, /* set by the device: it has stopped, start again */
    VIRTIO_FAILED = 128,
};

/* Features offered. VERSION_1 is required. */
#define VIRTIO_NET_F_MAC     (1ull << 5)
#define VIRTIO_NET_F_STATUS  (1ull << 16)
#define VIRTIO_F_VERSION_1   (1ull << 32)

/* Each buffer begins with struct virtio_net_hdr: all zero from the driver (no negotiated feature
 * needs it), and from the device zero except num_buffers = 1. */
#define VIRTIO_NET_HEADER    12u
#define VIRTIO_NET_FRAME_MIN 14u
#define VIRTIO_NET_FRAME_MAX 1518u

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
    struct gmem mem;
    struct virtqueue rx, tx;
    struct irq_line irq;
    struct virtio_net_host host;
    uint8_t mac[6];
    uint8_t status, isr;
    uint16_t queue_select;
    uint32_t feature_select, driver_feature_select;
    uint64_t driver_features;
    struct spinlock rx_lock;
    struct virtio_net_frame *rx_ring; /* VIRTIO_NET_RX_RING frames, from the caller */
    uint32_t rx_head, rx_tail;        /* written under rx_lock */
    /* Frames moved; dropped for lack of room (under rx_lock); malformed or too large. */
    uint64_t rx_frames, tx_frames, rx_dropped, errors;
    uint64_t deadline; /* 0: frames may wait, in either direction, for virtio_net_work() */
    bool sent_last;    /* receiving is next */
    struct virtio_net_chain tx_chain, rx_chain;
    uint8_t tx_buf[VIRTIO_NET_FRAME];
};

/* The most descriptors that one virtio_net_work() handles; it stops after a frame. A neighbour on
 * the core may have to wait this long. */
#define VIRTIO_NET_WORK 8u

extern const struct io_ops virtio_net_io_ops;
extern const struct device virtio_net_device;

/* Power-on state; `rx_ring` stays the caller's memory. Connects no ports: platform_init claims
 * them. Once, before any other core knows the device. */
void virtio_net_init(struct virtio_net *d, const struct gmem *mem, const uint8_t mac[6],
                     struct virtio_net_frame *rx_ring, const struct virtio_net_host *host);
/* Power-on state again: the rings of the guest's former life are forgotten and waiting frames
 * dropped. Required before the first instruction of each life: otherwise frames would be written to
 * wherever the former driver's rings were. */
void virtio_net_reset(struct virtio_net *d);
/* A frame for the guest. Any core. False: the ring is full (counted). The caller kicks the owning
 * core, which sets d->deadline to 0. */
bool virtio_net_rx_push(struct virtio_net *d, const uint8_t *frame, size_t len);
/* True if frames wait. Any core; one load. */
static inline bool virtio_net_rx_waiting(const struct virtio_net *d)
{
    return __atomic_load_n(&d->rx_head, __ATOMIC_ACQUIRE) !=
           __atomic_load_n(&d->rx_tail, __ATOMIC_RELAXED);
}
/* Moves a frame, or as much of one as VIRTIO_NET_WORK allows, and raises the interrupt: the two
 * directions take turns. d->deadline says whether there is more to do. Owning core, in the guest's
 * own time: platform_timers() calls it while d->deadline is 0. A sender with frames for the guest,
 * and the guest's notification, set it to 0. */
void virtio_net_work(struct virtio_net *d);
