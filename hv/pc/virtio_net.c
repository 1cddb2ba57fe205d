#include "hv/pc/virtio_net.h"

#include "hv/config.h"
#include "hv/lib.h"
#include "hv/pc/virtio_plug.h"

#define FEATURES                                                                                   \
    (VIRTIO_NET_F_MAC | VIRTIO_NET_F_MTU | VIRTIO_NET_F_STATUS | VIRTIO_NET_F_MRG_RXBUF |          \
     VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX | VIRTIO_F_EVENT_IDX)
#define LINK_UP        1u
#define CLASS_ETHERNET 0x020000u
#define TYPE_NET       1u
#define LEGACY_DEVICE  0x1000u
#define SHORT          256u
#define HEADER_ROOM    16u /* VIRTIO_NET_HEADER, aligned */

static struct virtio_net *net_of(struct virtio *v)
{
    return (struct virtio_net *)v; /* its first member */
}
_Static_assert(offsetof(struct virtio_net, virtio) == 0, "net_of() and the rows of platform.c");

/* ---- sending ---- */

static void copy_out(struct virtio_net *d, struct virtio_net_chain *w, void *to, size_t n)
{
    if (w->piece.at)
        memcpy(to, w->piece.at + w->at, n);
    else
        w->bad |= gmem_read(d->virtio.mem, gpa(w->piece.address.v + w->at), to, n) != 0;
    w->at += (uint32_t)n;
    w->done += n;
}

/* Some of a piece. */
static void gather(struct virtio_net *d, struct virtio_net_chain *w, struct virtio_net_budget *b)
{
    size_t n = w->piece.length - w->at;

    w->bad |= w->piece.writable || n > d->tx_size - w->done;
    if (w->bad) {
        w->at = w->piece.length;
        return;
    }
    n = min_u64(n, b->bytes);
    b->bytes -= n;
    copy_out(d, w, d->tx - d->header + w->done, n);
}

/* What the driver may leave to us. False: it has not said that it would. */
static bool judge_header(const struct virtio_net *d, struct net_offload *o)
{
    const struct virtio *v = &d->virtio;

    if (!virtio_has(v, VIRTIO_NET_F_CSUM))
        *o = (struct net_offload){0};
    o->num_buffers = 1;
    switch (o->gso_type & ~(unsigned)NET_GSO_ECN) {
    case NET_GSO_NONE:
        return o->gso_type == NET_GSO_NONE;
    case NET_GSO_TCPV4:
        return virtio_has(v, VIRTIO_NET_F_HOST_TSO4);
    case NET_GSO_TCPV6:
        return virtio_has(v, VIRTIO_NET_F_HOST_TSO6);
    default:
        return false;
    }
}

static bool is_frame(struct virtio_net *d, const struct virtio_net_chain *w)
{
    size_t header = d->header, most = VIRTIO_NET_FRAME_MAX;

    if (w->bad || w->done < header + VIRTIO_NET_FRAME_MIN)
        return false;
    memcpy(&d->tx_header, d->tx - header, VIRTIO_NET_OLD_HEADER); /* the rest is for receivers */
    if (!judge_header(d, &d->tx_header))
        return false;
    if (d->tx_header.gso_type != NET_GSO_NONE)
        most = NET_SEGMENT_MAX;
    return w->done <= header + most;
}

/* The frames of this flow are received where they are sent. */
static void learn_flow(struct virtio_net *d, const struct virtio_net_pair *p, size_t len)
{
    uint8_t *flow = &d->flows[virtio_net_flow(d->tx, len)], pair = (uint8_t)(p->number + 1);

    if (__atomic_load_n(flow, __ATOMIC_RELAXED) != pair)
        __atomic_store_n(flow, pair, __ATOMIC_RELAXED);
}

static void finish_sending(struct virtio_net *d, struct virtio_net_pair *p)
{
    struct virtio_net_chain *w = &d->tx_chain;

    if (is_frame(d, w)) {
        size_t len = w->done - d->header;

        if (d->host.transmit(d->host.ctx, d->tx, len, &d->tx_header))
            return; /* again, in the next step */
        if (d->receiving > 1)
            learn_flow(d, p, len);
    }
    w->open = false;
    virtqueue_done(p->tx, d->virtio.mem, w->chain.head, 0);
    p->sent++;
}

static bool tx_waits(const struct virtio_net *d, const struct virtio_net_pair *p)
{
    return d->tx_chain.open ? d->sender == p : virtqueue_waits(p->tx, d->virtio.mem);
}

/* A frame to a group takes long to deliver: that is a step of its own, unless it is short. */
static bool takes_long(const struct virtio_net *d, const struct virtio_net_chain *w)
{
    return (d->tx[0] & 1) && w->done > SHORT;
}

/* Takes the next frame if it can be copied at once, as most can: 1; 0: no chain waits; -E_NOENT: it
 * is to be gathered. */
static int gather_single(struct virtio_net *d, struct virtio_net_pair *p,
                         struct virtio_net_chain *w, struct virtio_net_budget *b)
{
    size_t header = d->header;
    struct virtqueue_single c;
    int rc = virtqueue_next_single(p->tx, d->virtio.mem, false, header + VIRTIO_NET_FRAME_MIN,
                                   header + VIRTIO_NET_FRAME_MAX, &c);

    if (rc != 1)
        return rc;
    memcpy(d->tx - header, c.at, c.length);
    b->bytes -= c.length;
    w->open = true;
    w->bad = w->chain.more = false;
    w->chain.head = c.head;
    w->at = w->piece.length = 0;
    w->done = c.length;
    return 1;
}

/* False: the pair has nothing to send, or not yet. */
static bool transmit(struct virtio_net *d, struct virtio_net_pair *p)
{
    struct virtio_net_chain *w = &d->tx_chain;
    struct virtio_net_budget b = {VIRTIO_NET_WORK, VIRTIO_NET_BYTES};
    int rc = -E_NOENT, more = 0;

    if (w->open && d->sender != p)
        return false;
    if (!w->open)
        rc = gather_single(d, p, w, &b);
    if (rc == -E_NOENT)
        rc = more = virtio_net_open(d, p->tx, w);
    d->sender = p;
    while (more == 1 && b.bytes) {
        more = virtio_net_piece(d, p->tx, w, &b);
        if (more == 1)
            gather(d, w, &b);
    }
    if (rc < 0 || more < 0)
        virtio_fail(&d->virtio);
    else if (rc == 1 && virtio_net_ends(w) && (b.bytes == VIRTIO_NET_BYTES || !takes_long(d, w)))
        finish_sending(d, p);
    return rc != 0;
}

/* ---- all queues ---- */

/* The driver learns what was done, and is to say when there is more to send, or to receive into.
 * True: there already is. */
static bool tell_driver(struct virtio_net *d, struct virtio_net_pair *p)
{
    bool more = false;

    if (p->sent) {
        more = virtqueue_listen(p->tx, d->virtio.mem);
        virtio_used(&d->virtio, 2 * p->number + VIRTIO_NET_TX);
    }
    if (p->rx->ready && virtio_net_rx_waiting(p))
        more |= virtqueue_listen(p->rx, d->virtio.mem);
    else if (p->rx->ready)
        virtqueue_ignore(p->rx, d->virtio.mem);
    if (p->received)
        virtio_used(&d->virtio, 2 * p->number + VIRTIO_NET_RX);
    p->sent = p->received = 0;
    return more;
}

/* Moves a frame or two of a pair, or as much of one as VIRTIO_NET_WORK allows. If both directions
 * have work, the one that did not run last time. False: there was nothing to move. */
static bool move(struct virtio_net *d, struct virtio_net_pair *p)
{
    bool receives = virtio_net_rx_can(d, p);

    p->sent_last = !(receives && p->sent_last) && transmit(d, p);
    if (!p->sent_last && receives)
        virtio_net_rx_work(d, p);
    return p->sent_last || receives;
}

/* One pair, in turn. False: none had anything to move. */
static bool move_next(struct virtio_net *d)
{
    const struct virtio_net_pair *last = d->turn;
    bool moved;

    do {
        d->turn = d->turn + 1 < d->served ? d->turn + 1 : d->pairs;
        moved = move(d, d->turn);
    } while (!moved && d->turn != last);
    return moved;
}

/* Most of what a frame costs beside its bytes is the way to here. The driver has no access to the
 * registers meanwhile: only a broken ring ends it. */
static void move_some(struct virtio_net *d)
{
    unsigned steps = VIRTIO_NET_STEPS;

    while (move_next(d) && --steps && !(d->virtio.status & VIRTIO_NEEDS_RESET) &&
           d->host.has_time && d->host.has_time(d->host.ctx))
        ;
}

/* Tells the driver about pairs that have no more to do, or have done much. True: some have. */
static bool look_around(struct virtio_net *d)
{
    bool more = false;

    for (struct virtio_net_pair *p = d->pairs; p < d->served; p++) {
        bool waits = tx_waits(d, p) || virtio_net_rx_can(d, p);

        if (!waits || p->sent + p->received >= VIRTIO_NET_UNTOLD)
            waits |= tell_driver(d, p);
        more |= waits;
    }
    return more;
}

static void forget(struct virtio *v);

/* A legacy driver may choose again, whatever it has begun. */
static void learn_features(struct virtio_net *d)
{
    uint64_t chosen = d->virtio.driver_features;

    if (d->known)
        forget(&d->virtio);
    d->known = chosen;
    if (chosen & (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MRG_RXBUF))
        d->header = VIRTIO_NET_HEADER;
    virtio_net_rx_take(d, chosen);
    if (!(chosen & VIRTIO_NET_F_MQ))
        return;
    d->served = &d->pairs[d->config.queue_pairs];
    d->control.queue = &d->virtio.queues[2 * d->config.queue_pairs];
}

/* Commands go first: drivers wait for the answer and do nothing else. */
static void work(struct virtio *v)
{
    struct virtio_net *d = net_of(v);

    if (d->known != v->driver_features)
        learn_features(d);
    if (virtio_net_control_waits(d))
        virtio_net_control_work(d);
    else
        move_some(d);
    if (!virtio_is_running(v))
        v->pci.due = NEVER;
    else /* a frame that has been begun is finished first */
        v->pci.due = d->tx_chain.open || look_around(d) || virtio_net_control_waits(d) ? 0 : NEVER;
}

/* The device's identity stays. */
static void forget(struct virtio *v)
{
    struct virtio_net *d = net_of(v);

    if (d->host.cancel)
        d->host.cancel(d->host.ctx);
    d->tx_chain.open = false;
    d->known = 0;
    d->header = VIRTIO_NET_OLD_HEADER;
    d->turn = d->pairs;
    d->served = d->pairs + 1;
    virtio_net_rx_forget(d);
    virtio_net_control_forget(d);
}

static const struct virtio_model model = {.type = TYPE_NET,
                                          .legacy_device = LEGACY_DEVICE,
                                          .class = CLASS_ETHERNET,
                                          .queues = 2 * VIRTIO_NET_PAIRS + 1,
                                          .reset = forget,
                                          .work = work};

static void make_pair(struct virtio_net *d, unsigned n, uint32_t frames)
{
    struct virtqueue *queues = &d->virtio.queues[2 * n];

    d->pairs[n] = (struct virtio_net_pair){.number = n,
                                           .rx = &queues[VIRTIO_NET_RX],
                                           .tx = &queues[VIRTIO_NET_TX],
                                           .ring = d->memory.rx_ring + (size_t)n * frames,
                                           .size = frames};
}

void virtio_net_init(struct virtio_net *d, const struct gmem *mem, const uint8_t mac[6],
                     const struct virtio_net_memory *memory, const struct virtio_net_host *host)
{
    unsigned pairs = memory->pairs;
    uint64_t features = FEATURES | (memory->segments ? VIRTIO_NET_F_OFFLOADS : 0) |
                        (pairs > 1 ? VIRTIO_NET_F_MQ : 0);

    memset(d, 0, offsetof(struct virtio_net, tx_buf));
    d->host = *host;
    d->memory = *memory;
    d->tx = (memory->segments ? memory->segments : d->tx_buf) + HEADER_ROOM;
    d->tx_size = memory->segments ? VIRTIO_NET_HEADER + NET_SEGMENT_MAX
                                  : VIRTIO_NET_HEADER + sizeof(d->tx_buf) - HEADER_ROOM;
    d->config =
        (struct virtio_net_config){.link = LINK_UP, .queue_pairs = (uint16_t)pairs, .mtu = 1500};
    memcpy(d->config.mac, mac, sizeof(d->config.mac));
    for (unsigned i = 0; i < pairs; i++)
        make_pair(d, i, virtio_net_ring(pairs) / pairs);
    virtio_init(&d->virtio, &model, mem, features, &d->config, sizeof(d->config));
    d->virtio.queue_count = 2 * pairs + 1;
}

static void plug(void *dev, const struct device_env *env)
{
    struct virtio_net *d = dev;

    if (env->devices & DEV_NET)
        virtio_plug(&d->virtio, env, VIRTIO_NET_SLOT);
}

const struct device virtio_net_device = {
    .bit = DEV_NET,
    .plug = plug,
};
