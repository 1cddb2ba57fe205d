/* virtio-net's receiving side. */
#include "hv/lib.h"
#include "hv/pc/virtio_net.h"

#define NUM_BUFFERS offsetof(struct net_offload, num_buffers)
_Static_assert(offsetof(struct virtio_net_frame, data) ==
                   offsetof(struct virtio_net_frame, offload) + VIRTIO_NET_HEADER,
               "bytes_at()");

static struct virtqueue *queue_of(struct virtio_net *d)
{
    return &d->virtio.queues[VIRTIO_NET_RX];
}

static uint8_t *segment_at(const struct virtio_net *d, unsigned n)
{
    return d->memory.segments + (size_t)(n + 1) * VIRTIO_NET_SEGMENT;
}

/* ---- frames come ---- */

/* The next free place of the ring; NULL: it is full, or the driver does not take such frames. Under
 * rx_lock. */
static struct virtio_net_frame *place_for(struct virtio_net *d, const struct net_offload *o)
{
    static const struct net_offload finished = {.num_buffers = 1};
    struct virtio_net_frame *f = &d->memory.rx_ring[d->rx_head % VIRTIO_NET_RX_RING];

    if (d->rx_head - d->rx_tail >= VIRTIO_NET_RX_RING || (o && net_needed(o) & ~d->takes)) {
        d->rx_dropped++;
        return NULL;
    }
    f->segment = 0;
    f->offload = o ? *o : finished;
    return f;
}

static void enter(struct virtio_net *d, struct virtio_net_frame *f, size_t len)
{
    f->len = len & 0xffffff;
    __atomic_store_n(&d->rx_head, d->rx_head + 1, __ATOMIC_RELEASE);
}

bool virtio_net_rx_push(struct virtio_net *d, const uint8_t *frame, size_t len,
                        const struct net_offload *o)
{
    struct virtio_net_frame *f;

    if (len > sizeof(f->data))
        return false;
    spin_lock(&d->rx_lock);
    f = place_for(d, o);
    if (f) {
        memcpy(f->data, frame, len);
        enter(d, f, len);
    }
    spin_unlock(&d->rx_lock);
    return f;
}

uint8_t *virtio_net_rx_borrow(struct virtio_net *d)
{
    uint8_t *segment = NULL;

    spin_lock(&d->rx_lock);
    for (unsigned i = 0; d->memory.segments && i < VIRTIO_NET_SEGMENTS && !segment; i++) {
        if (d->lent >> i & 1)
            continue;
        d->lent |= 1u << i;
        segment = segment_at(d, i);
    }
    spin_unlock(&d->rx_lock);
    return segment;
}

bool virtio_net_rx_give(struct virtio_net *d, const uint8_t *segment, size_t len,
                        const struct net_offload *o)
{
    unsigned n = 0;
    struct virtio_net_frame *f;

    while (n < VIRTIO_NET_SEGMENTS - 1 && segment_at(d, n) != segment)
        n++;
    spin_lock(&d->rx_lock);
    f = len ? place_for(d, o) : NULL;
    if (f) {
        f->segment = (uint8_t)(n + 1);
        enter(d, f, len);
    } else {
        d->lent &= ~(1u << n);
    }
    spin_unlock(&d->rx_lock);
    return f;
}

/* ---- into the driver's buffers ---- */

/* What the driver gets of a frame, the header and then its bytes: from `at` on, and in *n at most
 * how many bytes there are in one place. */
static const uint8_t *bytes_at(const struct virtio_net *d, const struct virtio_net_frame *f,
                               size_t at, size_t *n)
{
    size_t header = virtio_net_header(d), in_place = header + f->len - at;
    const uint8_t *p = (const uint8_t *)&f->offload + at;
    bool together = !f->segment && header == VIRTIO_NET_HEADER;

    if (!together && at < header)
        in_place = header - at;
    else if (!together)
        p = (f->segment ? segment_at(d, f->segment - 1u) : f->data) + (at - header);
    *n = min_u64(*n, in_place);
    return p;
}

static void note_count(struct virtio_net *d, gpa_t to, size_t at, size_t n)
{
    for (size_t i = NUM_BUFFERS; i < VIRTIO_NET_HEADER; i++)
        if (i >= at && i < at + n)
            d->rx_count_at[i - NUM_BUFFERS] = gpa(to.v + (i - at));
}

/* Some of a piece. */
static void scatter(struct virtio_net *d, struct virtio_net_chain *w,
                    const struct virtio_net_frame *f, struct virtio_net_budget *b)
{
    size_t at = d->rx_done + w->done, n = min_u64(w->piece.length - w->at, b->bytes);
    gpa_t to = gpa(w->piece.address.v + w->at);
    const uint8_t *from = bytes_at(d, f, at, &n);

    w->bad |= !w->piece.writable;
    if (w->bad)
        return;
    if (at < VIRTIO_NET_HEADER)
        note_count(d, to, at, n); /* matters with mergeable buffers alone */
    if (w->piece.at)
        memcpy(w->piece.at + w->at, from, n);
    else
        w->bad = gmem_write(d->virtio.mem, to, from, n) != 0;
    b->bytes -= n;
    w->at += (uint32_t)n;
    w->done += n;
}

static void put_count(struct virtio_net *d)
{
    for (unsigned i = 0; i < 2; i++) {
        uint8_t byte = (uint8_t)(d->rx_chains >> (8 * i));

        (void)!gmem_write(d->virtio.mem, d->rx_count_at[i], &byte, 1);
    }
}

/* The chain takes no more; the frame may need others. */
static void put_chain(struct virtio_net *d, struct virtio_net_chain *w)
{
    virtqueue_put(queue_of(d), d->virtio.mem, d->rx_chains++, w->chain.head, (uint32_t)w->done);
    w->open = false;
    d->rx_done += w->done;
    w->done = 0;
}

/* Under rx_lock: the oldest frame goes. */
static void drop_first(struct virtio_net *d)
{
    const struct virtio_net_frame *f = &d->memory.rx_ring[d->rx_tail % VIRTIO_NET_RX_RING];

    if (f->segment)
        d->lent &= ~(1u << (f->segment - 1));
    __atomic_store_n(&d->rx_tail, d->rx_tail + 1, __ATOMIC_RELEASE);
}

/* The driver has all of the frame, or it turned out not to fit. */
static void finish(struct virtio_net *d, struct virtio_net_chain *w, bool fits)
{
    put_chain(d, w);
    if (fits && d->rx_chains > 1)
        put_count(d);
    virtqueue_publish(queue_of(d), d->virtio.mem, d->rx_chains, fits);
    d->rx_chains = 0;
    d->rx_done = 0;
    if (fits)
        d->rx_frames++;
    else
        d->errors++;
    spin_lock(&d->rx_lock);
    drop_first(d);
    spin_unlock(&d->rx_lock);
    d->received++;
}

/* May the frame go on in another chain? A frame that has all of them never ends. */
static bool may_go_on(struct virtio_net *d)
{
    return virtio_has(&d->virtio, VIRTIO_NET_F_MRG_RXBUF) && d->rx_chains + 1u < queue_of(d)->size;
}

/* Moves some of the next frame. False: the call must end. */
static bool receive(struct virtio_net *d, struct virtio_net_budget *b)
{
    /* Only this core takes frames out, and this one stays ours until rx_tail has passed it. */
    const struct virtio_net_frame *f = &d->memory.rx_ring[d->rx_tail % VIRTIO_NET_RX_RING];
    struct virtio_net_chain *w = &d->rx_chain;
    int rc = virtio_net_open(d, queue_of(d), w);

    if (rc == 0)
        return false;
    if (rc == 1)
        rc = virtio_net_piece(d, queue_of(d), w, b);
    if (rc < 0) {
        virtio_net_fail(d);
        return false;
    }
    if (rc == 1)
        scatter(d, w, f, b);
    else if (w->chain.more)
        return false;
    else if (may_go_on(d))
        put_chain(d, w);
    else
        w->bad = true;
    if (w->bad || d->rx_done + w->done == virtio_net_header(d) + f->len)
        finish(d, w, !w->bad);
    return true;
}

bool virtio_net_rx_can(struct virtio_net *d)
{
    return virtio_net_rx_waiting(d) &&
           (d->rx_chain.open || virtqueue_waits(queue_of(d), d->virtio.mem));
}

void virtio_net_rx_work(struct virtio_net *d)
{
    struct virtio_net_budget b = {VIRTIO_NET_WORK, VIRTIO_NET_BYTES};
    unsigned before = d->received;

    while (d->received - before < VIRTIO_NET_RECEIVE && b.bytes && virtio_net_rx_can(d))
        if (!receive(d, &b))
            break;
}

/* ---- drivers come and go ---- */

void virtio_net_rx_forget(struct virtio_net *d)
{
    uint32_t end;

    d->rx_chain.open = false;
    d->rx_chains = 0;
    d->rx_done = 0;
    spin_lock(&d->rx_lock);
    __atomic_store_n(&d->takes, 0, __ATOMIC_RELAXED);
    end = d->rx_head;
    spin_unlock(&d->rx_lock);
    /* Frames for the former driver; the lock is not held for all of them. */
    while (d->rx_tail != end) {
        spin_lock(&d->rx_lock);
        drop_first(d);
        spin_unlock(&d->rx_lock);
    }
}

void virtio_net_rx_take(struct virtio_net *d, uint64_t offloads)
{
    static const struct {
        uint64_t feature;
        uint32_t takes;
    } rows[] = {{VIRTIO_NET_F_GUEST_TSO4, NET_TAKES_TSO4},
                {VIRTIO_NET_F_GUEST_TSO6, NET_TAKES_TSO6},
                {VIRTIO_NET_F_GUEST_ECN, NET_TAKES_ECN}};
    bool csum = offloads & VIRTIO_NET_F_GUEST_CSUM;
    uint32_t takes = csum ? NET_TAKES_CSUM : 0;

    for (size_t i = 0; csum && i < ARRAY_LEN(rows); i++)
        if (offloads & rows[i].feature)
            takes |= rows[i].takes;
    spin_lock(&d->rx_lock);
    __atomic_store_n(&d->takes, takes, __ATOMIC_RELAXED);
    spin_unlock(&d->rx_lock);
}

void virtio_net_rx_learn(struct virtio_net *d)
{
    d->known = d->virtio.driver_features;
    virtio_net_rx_take(d, d->known);
}
