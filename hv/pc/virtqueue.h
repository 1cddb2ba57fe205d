/*
 * The device's side of a split virtqueue (OASIS virtio v1.1 "Split Virtqueues"). Pure. Whatever the
 * guest wrote is copied and checked before use, each call's work is bounded regardless of it, and
 * an invalid ring breaks the queue (`broken`) and nothing else. Indirect descriptors are not
 * offered.
 *
 * Ownership: the core that owns the device. The guest may write its rings at any time: values are
 * read once. Both ring indices are loaded and stored whole, with acquire and release order.
 */
#pragma once

#include "hv/gmem.h"
#include "hv/types.h"

#define VIRTQUEUE_MAX   256u /* entries */
#define VIRTQUEUE_WRITE 2u   /* of a descriptor's flags: the device writes */
#define VIRTQUEUE_INDEX 2u   /* both rings begin with 16 bits of flags and a 16-bit index */

struct virtqueue {
    uint16_t size; /* a power of two, <= VIRTQUEUE_MAX; set by the guest while not ready */
    bool ready, broken;
    uint64_t desc, avail, used; /* guest-physical addresses */
    /* The same on the host, while ready; NULL: not all of it in one range. */
    uint8_t *desc_at, *avail_at, *used_at;
    bool event_index; /* VIRTIO_F_EVENT_IDX was taken: event fields count instead of flags */
    bool deaf;        /* the driver was told that it need not notify */
    uint16_t last_avail, used_index;
    uint16_t told; /* used_index when it was last decided whether to interrupt */
};

/* One piece of a buffer. */
struct virtqueue_piece {
    gpa_t address;
    uint8_t *at;     /* on the host; NULL: not all of it in one range (gmem_read() reaches it) */
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
/* A chain that is one piece, all of it in one place on the host: most are. */
struct virtqueue_single {
    uint16_t head;
    uint32_t length;
    uint8_t *at;
};
/* The next available chain if it is such a one, of `least` to `most` bytes, and readable or
 * writable as wanted: 1; 0 if there is none; -E_NOENT: it was not taken, and virtqueue_next() has
 * it, or says what is wrong. */
static ALWAYS_INLINE int MUST_CHECK virtqueue_next_single(struct virtqueue *q, const struct gmem *m,
                                                          bool writable, size_t least, size_t most,
                                                          struct virtqueue_single *w)
{
    const unsigned mask = q->size - 1u, flags = writable ? VIRTQUEUE_WRITE : 0;
    uint16_t waiting, *avail = (uint16_t *)q->avail_at;
    const uint64_t *desc;
    uint64_t address, rest;

    if (!avail || !q->desc_at || q->broken)
        return -E_NOENT;
    waiting = (uint16_t)(__atomic_load_n(&avail[1], __ATOMIC_ACQUIRE) - q->last_avail);
    if (waiting == 0)
        return 0;
    w->head = __atomic_load_n(&avail[2 + (q->last_avail & mask)], __ATOMIC_RELAXED);
    if (waiting > q->size || w->head > mask)
        return -E_NOENT;
    /* Read once: the guest may write meanwhile. */
    desc = (const uint64_t *)q->desc_at + 2 * (size_t)w->head;
    address = __atomic_load_n(&desc[0], __ATOMIC_RELAXED);
    rest = __atomic_load_n(&desc[1], __ATOMIC_RELAXED);
    w->length = (uint32_t)rest;
    if ((uint16_t)(rest >> 32) != flags || w->length < least || w->length > most ||
        address > m->size || w->length > m->size - address)
        return -E_NOENT;
    w->at = m->base + address;
    q->last_avail++;
    return 1;
}
/* True if another chain exists, or something that breaks the ring. */
static inline bool virtqueue_waits(const struct virtqueue *q, const struct gmem *m)
{
    const uint16_t *index;

    if (!q->ready || q->broken)
        return false;
    index = __builtin_expect(q->avail_at != NULL, 1)
                ? (const uint16_t *)(q->avail_at + VIRTQUEUE_INDEX)
                : gmem_ptr(m, gpa(q->avail + VIRTQUEUE_INDEX), sizeof(*index));
    return __atomic_load_n(index, __ATOMIC_ACQUIRE) != q->last_avail;
}
/* Returns a chain from virtqueue_next() to the driver, with the number of bytes written into it.
 * Once each. */
void virtqueue_done(struct virtqueue *q, const struct gmem *m, uint16_t head, uint32_t written);
/* The same for a buffer made of several chains: all are put (n: 0, 1, ...), and then published at
 * once, or if they turned out to be of no use, with no bytes in them. */
void virtqueue_put(struct virtqueue *q, const struct gmem *m, unsigned n, uint16_t head,
                   uint32_t written);
void virtqueue_publish(struct virtqueue *q, const struct gmem *m, unsigned count, bool useful);
/* True if the driver wants an interrupt for what was returned since the last call. Only on a ready
 * queue, like the next two. */
bool virtqueue_wants_irq(struct virtqueue *q, const struct gmem *m);
/* From now on the driver need not notify the device of new chains; a notification may still come.
 */
void virtqueue_ignore(struct virtqueue *q, const struct gmem *m);
/* The driver must notify the device of the next chain. True: it already exists. */
bool virtqueue_listen(struct virtqueue *q, const struct gmem *m);
