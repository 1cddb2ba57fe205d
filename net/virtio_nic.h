/*
 * virtio network cards: OASIS virtio v1.2, "Virtio Over PCI Bus" and "Network Device", through the
 * modern registers (device 1041, and the transitional 1000 that most hosts offer). What the driver
 * and a test's card must agree on.
 */
#pragma once

#include "net/nic.h"

/* Buffers, and the most that a ring has. Powers of two; a card may have smaller rings. */
#define VIRTIO_NIC_RX_COUNT 512u
#define VIRTIO_NIC_TX_COUNT 128u
#define VIRTIO_NIC_HEADER   12u /* before each frame */
#define VIRTIO_NO_VECTOR    0xffffu
#define VIRTIO_NET_F_MAC    (1ull << 5)
#define VIRTIO_NET_F_STATUS (1ull << 16)

/* The windows that a card describes in its capabilities, by their number there. */
enum virtio_window {
    VIRTIO_COMMON = 1, /* enum virtio_reg, up to VIRTIO_QUEUE_DEVICE */
    VIRTIO_NOTIFY_AREA = 2,
    VIRTIO_ISR_STATUS = 3,
    VIRTIO_DEVICE_CONFIG = 4,
    VIRTIO_WINDOWS,
};
struct virtio_place {
    uint32_t offset, length; /* in the BAR; length 0: there is none */
    unsigned bar;
};
struct virtio_windows {
    struct virtio_place at[VIRTIO_WINDOWS];
    uint32_t notify_multiplier;
};

/* Finds the windows in the configuration space. -E_NOTSUP: the card has no modern registers, or not
 * all that are needed. Bounded, whatever it reads. */
int virtio_find_windows(const struct nic_bus *bus, struct virtio_windows *w) MUST_CHECK;

struct virtio_desc {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
struct virtio_used {
    uint32_t id, length;
};
/* A ring, with room for as many as we ever use: its parts need not follow each other closely. */
struct virtio_ring {
    struct virtio_desc desc[VIRTIO_NIC_RX_COUNT];
    uint16_t avail_flags, avail_index, avail[VIRTIO_NIC_RX_COUNT], used_event, pad;
    uint16_t used_flags, used_index;
    struct virtio_used used[VIRTIO_NIC_RX_COUNT];
    uint16_t avail_event;
};
#define VIRTIO_DESC_DEVICE_WRITES 2u
#define VIRTIO_AVAIL_NO_INTERRUPT 1u
#define VIRTIO_USED_NO_NOTIFY     1u

/* start()'s memory: the rings of both directions, then the buffers. */
#define VIRTIO_NIC_RING                                                                            \
    ((sizeof(struct virtio_ring) + PAGE_SIZE - 1) / PAGE_SIZE * (size_t)PAGE_SIZE)
#define VIRTIO_NIC_MEMORY                                                                          \
    (2 * VIRTIO_NIC_RING + (size_t)NIC_BUFFER * (VIRTIO_NIC_RX_COUNT + VIRTIO_NIC_TX_COUNT))
