/*
 * virtio-net (OASIS virtio v1.2 "Network Device"), in slot VIRTIO_NET_SLOT of the PCI bus; virtio.h
 * has its registers. Pure.
 *
 * Ownership: all functions except virtio_net_rx_push() run on the guest's owning core. Frames for
 * the guest wait in a bounded ring (lock: rx_lock) until the device's work (virtio.pci.due) copies
 * them into receive buffers, in the guest's own time. Those of a sender on the same core can go
 * there at once (virtio_net_rx_put()). An invalid ring or register breaks the device
 * (DEVICE_NEEDS_RESET), never the host.
 *
 * A card has a pair of queues, one to receive and one to send, for each vCPU of its guest. The
 * driver says how many it uses. A frame is received by the pair that last sent one of the same flow
 * ("Automatic receive steering in multiqueue mode").
 *
 * The control queue sets that number, what the driver wants to receive, and what it takes
 * unfinished. The card's own address is fixed, and so is all that its configuration says: no
 * command sets the former, none announces it.
 */
#pragma once

#include "hv/pc/device.h"
#include "hv/pc/virtio.h"
#include "hv/gmem.h"
#include "hv/offload.h"
#include "hv/spinlock.h"
#include "hv/types.h"

#define VIRTIO_NET_SLOT         ((unsigned)PC_SLOT_NET)
#define VIRTIO_NET_DEVICE       (VIRTIO_PCI_DEVICE + 1)
#define VIRTIO_NET_IRQ          PCI_GSI(VIRTIO_NET_SLOT)
#define VIRTIO_NET_PAIRS        8u /* at most */
#define VIRTIO_NET_RX           0u /* queues; of the nth pair, 2n later */
#define VIRTIO_NET_TX           1u
#define VIRTIO_NET_CONTROL      2u   /* with VIRTIO_NET_F_MQ it is behind those of all pairs */
#define VIRTIO_NET_QUEUES       3u   /* with one pair */
#define VIRTIO_NET_RX_RING      128u /* frames, power of two */
#define VIRTIO_NET_RX_SHARE     64u  /* likewise, for each of several pairs */
#define VIRTIO_NET_FRAME        1536u
#define VIRTIO_NET_SEGMENTS     4u       /* that wait, at most */
#define VIRTIO_NET_SEGMENT      0x11000u /* bytes for each */

/* Features offered. */
#define VIRTIO_NET_F_CSUM       (1ull << 0)
#define VIRTIO_NET_F_GUEST_CSUM (1ull << 1)
#define VIRTIO_NET_F_MTU        (1ull << 3)
#define VIRTIO_NET_F_MAC        (1ull << 5)
#define VIRTIO_NET_F_GUEST_TSO4 (1ull << 7)
#define VIRTIO_NET_F_GUEST_TSO6 (1ull << 8)
#define VIRTIO_NET_F_GUEST_ECN  (1ull << 9)
#define VIRTIO_NET_F_HOST_TSO4  (1ull << 11)
#define VIRTIO_NET_F_HOST_TSO6  (1ull << 12)
#define VIRTIO_NET_F_HOST_ECN   (1ull << 13)
#define VIRTIO_NET_F_MRG_RXBUF  (1ull << 15)
#define VIRTIO_NET_F_STATUS     (1ull << 16)
#define VIRTIO_NET_F_CTRL_VQ    (1ull << 17)
#define VIRTIO_NET_F_CTRL_RX    (1ull << 18)
#define VIRTIO_NET_F_MQ         (1ull << 22) /* with several pairs */
/* What the receiving driver takes unfinished, and that a command may say less. */
#define VIRTIO_NET_F_GUEST_ALL                                                                     \
    (VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_GUEST_TSO6 |                 \
     VIRTIO_NET_F_GUEST_ECN)
#define VIRTIO_NET_F_CTRL_GUEST_OFFLOADS (1ull << 2)
/* With virtio_net_memory.segments. */
#define VIRTIO_NET_F_OFFLOADS                                                                      \
    (VIRTIO_NET_F_CSUM | VIRTIO_NET_F_GUEST_ALL | VIRTIO_NET_F_CTRL_GUEST_OFFLOADS |               \
     VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6 | VIRTIO_NET_F_HOST_ECN)

/* The device's configuration. */
struct virtio_net_config {
    uint8_t mac[6];
    uint16_t link; /* bit 0: up */
    uint16_t queue_pairs, mtu;
} __attribute__((packed));

/* Each buffer begins with struct virtio_net_hdr, which is struct net_offload. */
#define VIRTIO_NET_HEADER     12u
#define VIRTIO_NET_OLD_HEADER 10u /* without num_buffers: legacy, without mergeable buffers */
#define VIRTIO_NET_FRAME_MIN  14u
#define VIRTIO_NET_FRAME_MAX  NET_FRAME_MAX

struct virtio_net_host {
    void *ctx;
    /* A frame from the guest, copied out of its memory; VIRTIO_NET_FRAME_MIN..MAX bytes, or up to
     * NET_SEGMENT_MAX if o->gso_type is not 0. True: not finished, call again with the same. */
    bool (*transmit)(void *ctx, uint8_t *frame, size_t len, const struct net_offload *o);
    /* A frame that is not finished will not be. NULL: all are, at once. */
    void (*cancel)(void *ctx);
    /* The driver uses this many pairs from now on. NULL: it does not matter. */
    void (*paired)(void *ctx, unsigned pairs);
    /* There is time for another step of the work, as there was for the last. NULL: never. */
    bool (*has_time)(void *ctx);
};

struct virtio_net_frame {
    uint32_t len : 24, segment : 8; /* segment 0: `data` has the frame; n: segment n - 1 does */
    struct net_offload offload;
    uint8_t data[VIRTIO_NET_FRAME - 16]; /* right behind the header, as the driver gets it */
};
_Static_assert(sizeof(struct net_offload) == VIRTIO_NET_HEADER, "virtio's layout");
_Static_assert(VIRTIO_NET_FRAME - 16 >= NET_FRAME_MAX, "a frame has room, in either direction");

/* A chain in progress: it may have more descriptors or bytes than one call can handle. */
struct virtio_net_chain {
    bool open, bad; /* bad: useless as a frame, but still walked to its end */
    struct virtqueue_chain chain;
    struct virtqueue_piece piece;
    uint32_t at; /* bytes of the piece that are done */
    size_t done; /* of the chain, including the header */
};

/* Bytes of a command: this many addresses fit into one that sets the table of them. */
#define VIRTIO_NET_ADDRESSES 40u
#define VIRTIO_NET_COMMAND   (2u + 2 * 4 + 6 * VIRTIO_NET_ADDRESSES)

/* Commands of the driver: what it wants to receive. Frames to one address come for this card alone,
 * so the table matters for groups only. */
struct virtio_net_control {
    struct virtqueue *queue;
    struct virtio_net_chain chain;
    gpa_t answer_at;
    bool answerable; /* the command has room for the answer, at `answer_at` */
    bool too_long;
    uint8_t modes;  /* bits: commands of class RX that were turned on */
    uint64_t table; /* as virtio_net.groups */
    uint8_t command[VIRTIO_NET_COMMAND];
};

struct virtio_net_memory {
    struct virtio_net_frame *rx_ring; /* virtio_net_ring() frames */
    /* For frames that are sent, then for those that wait: 1 + VIRTIO_NET_SEGMENTS times
     * VIRTIO_NET_SEGMENT bytes. NULL: the device has frames of the wire's size alone. */
    uint8_t *segments;
    unsigned pairs; /* of queues: 1..VIRTIO_NET_PAIRS */
};

/* The frames that wait for all pairs, at most. */
static inline unsigned virtio_net_ring(unsigned pairs)
{
    return pairs > 1 ? pairs * VIRTIO_NET_RX_SHARE : VIRTIO_NET_RX_RING;
}

/* Two queues, and the frames that wait for one of them. */
struct virtio_net_pair {
    unsigned number;
    struct virtqueue *rx, *tx;
    bool sent_last;          /* receiving is next */
    unsigned sent, received; /* frames since the driver was last told */
    struct virtio_net_frame *ring;
    uint32_t size, head; /* the latter written under rx_lock */
    uint32_t tail;       /* written by the owning core. Atomic */
    uint32_t segments;   /* bits of those that wait here. Under rx_lock */
    struct virtio_net_chain rx_chain;
    /* A received frame that several chains share: chains before the present one, their bytes, and
     * where the bytes of the header are that say how many chains it takes. */
    unsigned rx_chains;
    size_t rx_done;
    gpa_t rx_count_at[2];
};

#define VIRTIO_NET_FLOWS 256u

struct virtio_net {
    struct virtio virtio; /* virtio.pci.due is 0 while frames may wait, in either direction */
    struct virtio_net_config config;
    struct virtio_net_host host;
    struct virtio_net_memory memory;
    struct spinlock rx_lock;
    uint32_t lent;      /* bits of segments. Under rx_lock */
    uint32_t takes;     /* enum net_takes. Written under rx_lock, atomic */
    uint64_t groups;    /* wanted: bits of virtio_net_group(). Atomic */
    unsigned receiving; /* pairs. Written under rx_lock, atomic */
    /* The end of those that may send: all with VIRTIO_NET_F_MQ, or one. */
    struct virtio_net_pair *served, *turn;
    /* By virtio_net_flow(): which pair sent last, and one more; 0: none did. Atomic */
    uint8_t flows[VIRTIO_NET_FLOWS];
    uint64_t known; /* the driver's choice of features, as `takes` and `header` have it */
    size_t header;  /* bytes before each frame */
    struct virtio_net_pair pairs[VIRTIO_NET_PAIRS];
    struct virtio_net_control control;
    /* One frame is sent at a time. */
    struct virtio_net_pair *sender; /* whose it is, while tx_chain is open */
    struct virtio_net_chain tx_chain;
    struct net_offload tx_header;
    uint8_t *tx;                      /* the frame that is being sent, right behind its header */
    size_t tx_size;                   /* at most, with it */
    uint8_t tx_buf[VIRTIO_NET_FRAME]; /* the last member, see virtio_net_init() */
};

/* The most descriptors that one step of the device's work handles; it stops after a frame sent, or
 * this many received. A neighbour on the core may have to wait this long. */
#define VIRTIO_NET_WORK    8u
#define VIRTIO_NET_BYTES   4096u /* and the most bytes, but for the last frame received */
#define VIRTIO_NET_RECEIVE 2u
/* Steps without a look at the guest's other devices, if there is time for them. */
#define VIRTIO_NET_STEPS   8u
/* The driver gets its interrupts once nothing is left to do, or after about this many frames. */
#define VIRTIO_NET_UNTOLD  64u

extern const struct device virtio_net_device;

/* Makes the device; what is passed stays the caller's. Once, before any other core knows it, and
 * before virtio_net_device.plug, which each life needs: it forgets the former driver's rings and
 * drops waiting frames. */
void virtio_net_init(struct virtio_net *d, const struct gmem *mem, const uint8_t mac[6],
                     const struct virtio_net_memory *memory, const struct virtio_net_host *host);

/* ---- virtio_net_rx.c ---- */

/* A frame for the guest; `o` NULL: it is finished. Any core. False: the ring is full, or the driver
 * does not take it as it is. The caller kicks the owning core, which calls pci_work_now(). */
bool virtio_net_rx_push(struct virtio_net *d, const uint8_t *frame, size_t len,
                        const struct net_offload *o);
/* The same at once, on the owning core: into the driver's next buffer, if no frame waits and the
 * buffer is one piece. False: virtio_net_rx_push() has to do it. The device's work tells the
 * driver. */
bool virtio_net_rx_put(struct virtio_net *d, const uint8_t *frame, size_t len,
                       const struct net_offload *o);
/* What the driver takes unfinished, see enum net_takes. Any core. */
static inline uint32_t virtio_net_takes(const struct virtio_net *d)
{
    return __atomic_load_n(&d->takes, __ATOMIC_RELAXED);
}
/* Room for a long segment, or NULL; give returns it: with `len` > 0 filled, and then like
 * virtio_net_rx_push(). Any core. */
uint8_t *virtio_net_rx_borrow(struct virtio_net *d);
bool virtio_net_rx_give(struct virtio_net *d, const uint8_t *segment, size_t len,
                        const struct net_offload *o);
/* True if frames wait for the pair. Any core; one load. */
static inline bool virtio_net_rx_waiting(const struct virtio_net_pair *p)
{
    return __atomic_load_n(&p->head, __ATOMIC_ACQUIRE) !=
           __atomic_load_n(&p->tail, __ATOMIC_RELAXED);
}
/* Owning core: can some of a frame be moved? Moves a bounded part. Nothing of the former driver is
 * left. */
static inline bool virtio_net_rx_can(const struct virtio_net *d, const struct virtio_net_pair *p)
{
    return virtio_net_rx_waiting(p) && (p->rx_chain.open || virtqueue_waits(p->rx, d->virtio.mem));
}
void virtio_net_rx_work(struct virtio_net *d, struct virtio_net_pair *p);
void virtio_net_rx_forget(struct virtio_net *d);
/* From now on the driver takes what these features say. What waits already stays as it is. */
void virtio_net_rx_take(struct virtio_net *d, uint64_t offloads);
/* From now on this many pairs receive. What waits for the others is dropped, and no flow is known.
 */
void virtio_net_rx_pairs(struct virtio_net *d, unsigned pairs);
/* Of a frame's two addresses and ports, the same in both directions: below VIRTIO_NET_FLOWS. */
unsigned virtio_net_flow(const uint8_t *frame, size_t len);

/* ---- virtio_net_control.c ---- */

/* The bit of an address in a set of groups, which like a card's hash filter may hold more than was
 * put in. */
static inline uint64_t virtio_net_group(const uint8_t *address)
{
    uint64_t a = 0;

    memcpy(&a, address, sizeof(((struct virtio_net_config *)0)->mac));
    return 1ull << hash_u64(a, 6);
}
/* The driver wants this frame, or may. Any core. */
static inline bool virtio_net_wants(const struct virtio_net *d, const uint8_t *frame)
{
    return !(frame[0] & 1) ||
           (__atomic_load_n(&d->groups, __ATOMIC_RELAXED) & virtio_net_group(frame));
}
/* Owning core: is there some of a command? Handles a bounded part; a command is obeyed in a step of
 * its own. Nothing of the former driver is left. */
static inline bool virtio_net_control_waits(const struct virtio_net *d)
{
    return d->control.chain.open || virtqueue_waits(d->control.queue, d->virtio.mem);
}
void virtio_net_control_work(struct virtio_net *d);
void virtio_net_control_forget(struct virtio_net *d);

/* ---- what the queues need ---- */

/* What one call may still do. */
struct virtio_net_budget {
    unsigned pieces;
    size_t bytes;
};

/* Continues a chain where it stopped, or with the next one: 1, 0 if there is none, -E_FORMAT. */
static inline int virtio_net_open(struct virtio_net *d, struct virtqueue *q,
                                  struct virtio_net_chain *w)
{
    int rc;

    if (w->open)
        return 1;
    rc = virtqueue_next(q, d->virtio.mem, &w->chain);
    if (rc == 1) {
        w->open = true;
        w->bad = false;
        w->at = w->piece.length = 0;
        w->done = 0;
    }
    return rc;
}

/* Some of w->piece is left to move: 1; 0: there is no more, or not now; -E_FORMAT. */
static inline int virtio_net_piece(struct virtio_net *d, struct virtqueue *q,
                                   struct virtio_net_chain *w, struct virtio_net_budget *b)
{
    int rc = 1;

    while (rc == 1 && w->at == w->piece.length) {
        if (!w->chain.more || b->pieces == 0)
            return 0;
        rc = virtqueue_piece(q, d->virtio.mem, &w->chain, &w->piece);
        w->at = 0;
        b->pieces--;
    }
    return rc;
}

static inline bool virtio_net_ends(const struct virtio_net_chain *w)
{
    return w->at == w->piece.length && !w->chain.more;
}
