/*
 * The device's side of a split virtqueue (OASIS virtio v1.1 "Split Virtqueues"). Pure. Whatever the
 * guest wrote is copied and checked before use, each call's work is bounded regardless of it, and
 * an invalid ring breaks the queue (`broken`) and nothing else. Indirect descriptors and event
 * index are not offered.
 *
 * Ownership: the core that owns the device. The guest may write its rings at any time: values are
 * read once. Both ring indices are loaded and stored whole, with acquire and release order.
 */
#pragma once

#include "hv/gmem.h"
#include "hv/types.h"

#define VIRTQUEUE_MAX 256u /* entries */

struct virtqueue {
    uint16_t size; /* a power of two, <= VIRTQUEUE_MAX; set by the guest while not ready */
    bool ready, broken;
    uint64_t desc, avail, used; /* guest-physical addresses */
    uint16_t last_avail, used_index;
};

/* One piece of a buffer. */
struct virtqueue_piece {
    gpa_t address;
    uint32_t length; /* 0 is possible */
    bool writable;   /* by the device */
};

/* A chain that the caller walks piece by piece; it may pause anywhere. */
struct virtqueue_chain {
    uint16_t head, next;
    unsigned count; /* pieces taken so far */
    bool more;      /* `next` is valid */
};

/* As after a device reset: not ready, full size. */
void virtqueue_reset(struct virtqueue *q);
/* Makes the queue ready if its three parts are aligned and lie in guest memory. -E_INVAL. */
int virtqueue_enable(struct virtqueue *q, const struct gmem *m) MUST_CHECK;
/* The next available chain: 1, 0 if there is none, -E_FORMAT if the ring is broken (q->broken is
 * set). */
int virtqueue_next(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c) MUST_CHECK;
/* The next piece of a chain: 1, 0 after the last, -E_FORMAT as above. A piece lies in guest memory;
 * a chain has 1 to q->size pieces. */
int virtqueue_piece(struct virtqueue *q, const struct gmem *m, struct virtqueue_chain *c,
                    struct virtqueue_piece *p) MUST_CHECK;
/* True if another chain exists, or something that breaks the ring. */
bool virtqueue_waits(const struct virtqueue *q, const struct gmem *m);
/* Returns a chain from virtqueue_next() to the driver, with the number of bytes written into it.
 * Once each. */
void virtqueue_done(struct virtqueue *q, const struct gmem *m, uint16_t head, uint32_t written);
/* True if the driver wants an interrupt. Only on a ready queue. */
bool virtqueue_wants_irq(const struct virtqueue *q, const struct gmem *m);
