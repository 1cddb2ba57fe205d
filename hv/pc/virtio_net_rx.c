/* virtio-net's receiving side. */
#include "hv/lib.h"
#include "hv/pc/virtio_net.h"

#define NUM_BUFFERS offsetof(struct net_offload, num_buffers)
_Static_assert(offsetof(struct virtio_net_frame, data) ==
                   offsetof(struct virtio_net_frame, offload) + VIRTIO_NET_HEADER,
               "bytes_at()");

#define ETHERNET       14u /* bytes of its header */
#define TYPE_AT        12u
#define TYPE_IPV4      0x0800u
#define TYPE_IPV6      0x86ddu
#define IPV4_SIZE      20u
#define IPV4_FRAGMENTS 0xff3fu /* more of them, or not the first; in the packet's byte order */
#define IPV6_SIZE      40u
#define TCP            6u
#define UDP            17u

static uint8_t *segment_at(const struct virtio_net *d, unsigned n)
{
    return d->memory.segments + (size_t)(n + 1) * VIRTIO_NET_SEGMENT;
}

static struct virtio_net_frame *frame_at(const struct virtio_net_pair *p, uint32_t n)
{
    return &p->ring[n & (p->size - 1)];
}

/* ---- flows ---- */

static uint64_t load(const uint8_t *at, size_t size)
{
    uint64_t v = 0;

    memcpy(&v, at, size);
    return v;
}

unsigned virtio_net_flow(const uint8_t *frame, size_t len)
{
    const uint8_t *ip = frame + ETHERNET, *ports;
    unsigned type, protocol = 0;
    uint64_t both;

    if (len < ETHERNET + IPV4_SIZE)
        return 0;
    type = (unsigned)frame[TYPE_AT] << 8 | frame[TYPE_AT + 1];
    if (type == TYPE_IPV4) {
        both = load(ip + 12, 4) ^ load(ip + 16, 4);
        ports = ip + 4 * (ip[0] & 0xfu);
        if (!(load(ip + 6, 2) & IPV4_FRAGMENTS))
            protocol = ip[9];
    } else if (type == TYPE_IPV6 && len >= ETHERNET + IPV6_SIZE) {
        both = load(ip + 8, 8) ^ load(ip + 16, 8) ^ load(ip + 24, 8) ^ load(ip + 32, 8);
        ports = ip + IPV6_SIZE;
        protocol = ip[6];
    } else {
        return 0;
    }
    if ((protocol == TCP || protocol == UDP) && (size_t)(ports - frame) + 4 <= len)
        both ^= (load(ports, 2) ^ load(ports + 2, 2)) << 32;
    return hash_u64(both, 8);
}

/* Which pair receives a frame of this flow. Under rx_lock. */
static struct virtio_net_pair *pair_for(struct virtio_net *d, unsigned flow)
{
    unsigned n = __atomic_load_n(&d->flows[flow], __ATOMIC_RELAXED);

    if (n == 0 || n > d->receiving)
        n = 1 + (flow * d->receiving) / VIRTIO_NET_FLOWS;
    return &d->pairs[n - 1];
}

static struct virtio_net_pair *steer(struct virtio_net *d, const uint8_t *frame, size_t len)
{
    return d->receiving == 1 ? d->pairs : pair_for(d, virtio_net_flow(frame, len));
}

/* ---- frames come ---- */

static const struct net_offload finished = {.num_buffers = 1};

static bool takes(const struct virtio_net *d, const struct net_offload *o)
{
    return !o || !(net_needed(o) & ~d->takes);
}

/* A frame into the driver's next buffer, if it is one piece and has room for all of it: 1; 0: there
 * is no buffer; -E_NOENT: another kind is next, or a frame has been begun. Owning core. */
static int put_single(struct virtio_net *d, struct virtio_net_pair *p, const struct net_offload *o,
                      const uint8_t *frame, size_t len)
{
    size_t n = VIRTIO_NET_HEADER + len;
    struct virtqueue_single s;
    int rc;

    if (p->rx_chain.open || p->rx_chains || d->header != VIRTIO_NET_HEADER)
        return -E_NOENT;
    rc = virtqueue_next_single(p->rx, d->virtio.mem, true, n, UINT32_MAX, &s);
    if (rc != 1)
        return rc;
    memcpy(s.at, o, VIRTIO_NET_HEADER);
    memcpy(s.at + VIRTIO_NET_HEADER, frame, len);
    virtqueue_done(p->rx, d->virtio.mem, s.head, (uint32_t)n);
    p->received++;
    return 1;
}

bool virtio_net_rx_put(struct virtio_net *d, const uint8_t *frame, size_t len,
                       const struct net_offload *o)
{
    struct virtio_net_pair *p = d->pairs;

    return d->receiving == 1 && !virtio_net_rx_waiting(p) && virtio_is_running(&d->virtio) &&
           d->known == d->virtio.driver_features && takes(d, o) &&
           put_single(d, p, o ? o : &finished, frame, len) == 1;
}

/* The next free place of the ring; NULL: it is full, or the driver does not take such frames. Under
 * rx_lock. */
static struct virtio_net_frame *place_for(struct virtio_net *d, struct virtio_net_pair *p,
                                          const struct net_offload *o)
{
    struct virtio_net_frame *f = frame_at(p, p->head);

    if (p->head - __atomic_load_n(&p->tail, __ATOMIC_ACQUIRE) >= p->size || !takes(d, o))
        return NULL;
    f->segment = 0;
    f->offload = o ? *o : finished;
    return f;
}

static void enter(struct virtio_net_pair *p, struct virtio_net_frame *f, size_t len)
{
    f->len = len & 0xffffff;
    __atomic_store_n(&p->head, p->head + 1, __ATOMIC_RELEASE);
}

bool virtio_net_rx_push(struct virtio_net *d, const uint8_t *frame, size_t len,
                        const struct net_offload *o)
{
    struct virtio_net_pair *p;
    struct virtio_net_frame *f;

    if (len > sizeof(f->data))
        return false;
    spin_lock(&d->rx_lock);
    p = steer(d, frame, len);
    f = place_for(d, p, o);
    if (f) {
        memcpy(f->data, frame, len);
        enter(p, f, len);
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
    struct virtio_net_pair *p;
    struct virtio_net_frame *f;

    while (n < VIRTIO_NET_SEGMENTS - 1 && segment_at(d, n) != segment)
        n++;
    spin_lock(&d->rx_lock);
    p = steer(d, segment, len);
    f = len ? place_for(d, p, o) : NULL;
    if (f) {
        f->segment = (uint8_t)(n + 1);
        p->segments |= 1u << n;
        enter(p, f, len);
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
    size_t header = d->header, in_place = header + f->len - at;
    const uint8_t *p = (const uint8_t *)&f->offload + at;
    bool together = !f->segment && header == VIRTIO_NET_HEADER;

    if (!together && at < header)
        in_place = header - at;
    else if (!together)
        p = (f->segment ? segment_at(d, f->segment - 1u) : f->data) + (at - header);
    *n = min_u64(*n, in_place);
    return p;
}

static void note_count(struct virtio_net_pair *p, gpa_t to, size_t at, size_t n)
{
    for (size_t i = NUM_BUFFERS; i < VIRTIO_NET_HEADER; i++)
        if (i >= at && i < at + n)
            p->rx_count_at[i - NUM_BUFFERS] = gpa(to.v + (i - at));
}

/* Some of a piece. */
static void scatter(struct virtio_net *d, struct virtio_net_pair *p,
                    const struct virtio_net_frame *f, struct virtio_net_budget *b)
{
    struct virtio_net_chain *w = &p->rx_chain;
    size_t at = p->rx_done + w->done, n = min_u64(w->piece.length - w->at, b->bytes);
    gpa_t to = gpa(w->piece.address.v + w->at);
    const uint8_t *from = bytes_at(d, f, at, &n);

    w->bad |= !w->piece.writable;
    if (w->bad)
        return;
    if (at < VIRTIO_NET_HEADER && virtio_has(&d->virtio, VIRTIO_NET_F_MRG_RXBUF))
        note_count(p, to, at, n);
    if (w->piece.at)
        memcpy(w->piece.at + w->at, from, n);
    else
        w->bad = gmem_write(d->virtio.mem, to, from, n) != 0;
    b->bytes -= n;
    w->at += (uint32_t)n;
    w->done += n;
}

static void put_count(struct virtio_net *d, const struct virtio_net_pair *p)
{
    for (unsigned i = 0; i < 2; i++) {
        uint8_t byte = (uint8_t)(p->rx_chains >> (8 * i));

        (void)!gmem_write(d->virtio.mem, p->rx_count_at[i], &byte, 1);
    }
}

/* The chain takes no more; the frame may need others. */
static void put_chain(struct virtio_net *d, struct virtio_net_pair *p)
{
    struct virtio_net_chain *w = &p->rx_chain;

    virtqueue_put(p->rx, d->virtio.mem, p->rx_chains++, w->chain.head, (uint32_t)w->done);
    w->open = false;
    p->rx_done += w->done;
    w->done = 0;
}

/* The oldest frame goes: others may use its place from then on. */
static void drop_first(struct virtio_net *d, struct virtio_net_pair *p,
                       const struct virtio_net_frame *f)
{
    if (f->segment) {
        spin_lock(&d->rx_lock);
        d->lent &= ~(1u << (f->segment - 1));
        p->segments &= ~(1u << (f->segment - 1));
        spin_unlock(&d->rx_lock);
    }
    __atomic_store_n(&p->tail, p->tail + 1, __ATOMIC_RELEASE);
}

/* The driver gets what was put. */
static void publish(struct virtio_net *d, struct virtio_net_pair *p, bool fits)
{
    virtqueue_publish(p->rx, d->virtio.mem, p->rx_chains, fits);
    p->rx_chains = 0;
    p->rx_done = 0;
    p->received++;
}

/* The driver has all of the frame, or it turned out not to fit. */
static void finish(struct virtio_net *d, struct virtio_net_pair *p,
                   const struct virtio_net_frame *f, bool fits)
{
    put_chain(d, p);
    if (fits && p->rx_chains > 1)
        put_count(d, p);
    publish(d, p, fits);
    drop_first(d, p, f);
}

/* May the frame go on in another chain? A frame that has all of them never ends. */
static bool may_go_on(const struct virtio_net *d, const struct virtio_net_pair *p)
{
    return virtio_has(&d->virtio, VIRTIO_NET_F_MRG_RXBUF) && p->rx_chains + 1u < p->rx->size;
}

/* Moves some of the next frame. False: the call must end. */
static bool receive(struct virtio_net *d, struct virtio_net_pair *p, struct virtio_net_budget *b)
{
    /* Only this core takes frames out, and this one stays ours until `tail` has passed it. */
    const struct virtio_net_frame *f = frame_at(p, p->tail);
    struct virtio_net_chain *w = &p->rx_chain;
    int rc = virtio_net_open(d, p->rx, w);

    if (rc == 0)
        return false;
    if (rc == 1)
        rc = virtio_net_piece(d, p->rx, w, b);
    if (rc < 0) {
        virtio_fail(&d->virtio);
        return false;
    }
    if (rc == 1)
        scatter(d, p, f, b);
    else if (w->chain.more)
        return false;
    else if (may_go_on(d, p))
        put_chain(d, p);
    else
        w->bad = true;
    if (w->bad || p->rx_done + w->done == d->header + f->len)
        finish(d, p, f, !w->bad);
    return true;
}

/* Moves all of the next frame if it can be copied at once, as most can: 1; 0: no chain waits;
 * -E_NOENT: receive() does it. */
static int receive_single(struct virtio_net *d, struct virtio_net_pair *p,
                          struct virtio_net_budget *b)
{
    const struct virtio_net_frame *f = frame_at(p, p->tail);
    int rc = f->segment ? -E_NOENT : put_single(d, p, &f->offload, f->data, f->len);

    if (rc == 1) {
        b->bytes -= min_u64(b->bytes, f->len);
        drop_first(d, p, f);
    }
    return rc;
}

void virtio_net_rx_work(struct virtio_net *d, struct virtio_net_pair *p)
{
    struct virtio_net_budget b = {VIRTIO_NET_WORK, VIRTIO_NET_BYTES};
    unsigned before = p->received;

    while (p->received - before < VIRTIO_NET_RECEIVE && b.bytes && virtio_net_rx_waiting(p)) {
        int rc = receive_single(d, p, &b);

        if (rc == 0 || (rc < 0 && !receive(d, p, &b)))
            break;
    }
}

/* ---- drivers come and go ---- */

/* Under rx_lock: all that waits there. */
static void drop_all(struct virtio_net *d, struct virtio_net_pair *p)
{
    d->lent &= ~p->segments;
    p->segments = 0;
    __atomic_store_n(&p->tail, p->head, __ATOMIC_RELEASE);
}

void virtio_net_rx_pairs(struct virtio_net *d, unsigned pairs)
{
    spin_lock(&d->rx_lock);
    __atomic_store_n(&d->receiving, pairs, __ATOMIC_RELAXED);
    for (unsigned i = pairs; i < d->config.queue_pairs; i++)
        drop_all(d, &d->pairs[i]);
    spin_unlock(&d->rx_lock);
    memset(d->flows, 0, sizeof(d->flows));
    /* What the driver already has of a frame that will not end. */
    for (unsigned i = pairs; i < d->config.queue_pairs; i++) {
        struct virtio_net_pair *p = &d->pairs[i];

        if (p->rx_chain.open)
            put_chain(d, p);
        if (p->rx_chains)
            publish(d, p, false);
    }
    if (d->host.paired)
        d->host.paired(d->host.ctx, pairs);
}

/* Frames for the former driver, too. */
void virtio_net_rx_forget(struct virtio_net *d)
{
    spin_lock(&d->rx_lock);
    __atomic_store_n(&d->takes, 0, __ATOMIC_RELAXED);
    drop_all(d, d->pairs);
    spin_unlock(&d->rx_lock);
    for (unsigned i = 0; i < d->config.queue_pairs; i++) {
        d->pairs[i].rx_chain.open = false;
        d->pairs[i].rx_chains = d->pairs[i].sent = d->pairs[i].received = 0;
        d->pairs[i].rx_done = 0;
    }
    virtio_net_rx_pairs(d, 1);
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
