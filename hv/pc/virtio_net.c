#include "hv/pc/virtio_net.h"

#include "hv/config.h"
#include "hv/lib.h"
#include "hv/pc/virtio_plug.h"

#define FEATURES           (VIRTIO_NET_F_MAC | VIRTIO_NET_F_MTU | VIRTIO_NET_F_STATUS | VIRTIO_F_EVENT_IDX)
#define LINK_UP            1u
#define HEADER_NUM_BUFFERS 10u
#define CLASS_ETHERNET     0x020000u
#define TYPE_NET           1u
#define LEGACY_DEVICE      0x1000u

static struct virtio_net *net_of(struct virtio *v)
{
    return (struct virtio_net *)v; /* its first member */
}
_Static_assert(offsetof(struct virtio_net, virtio) == 0, "net_of() and the rows of platform.c");

static struct virtqueue *rx_of(struct virtio_net *d)
{
    return &d->virtio.queues[VIRTIO_NET_RX];
}

static struct virtqueue *tx_of(struct virtio_net *d)
{
    return &d->virtio.queues[VIRTIO_NET_TX];
}

static void fail(struct virtio_net *d)
{
    d->errors++;
    virtio_fail(&d->virtio);
}

/* ---- frames ---- */

static size_t header_size(const struct virtio_net *d)
{
    return virtio_has(&d->virtio, VIRTIO_F_VERSION_1) ? VIRTIO_NET_HEADER : VIRTIO_NET_OLD_HEADER;
}

/* A piece of a transmit chain: header cut off, the rest to tx_buf. */
static void gather(struct virtio_net *d, struct virtio_net_chain *w,
                   const struct virtqueue_piece *p)
{
    size_t all = header_size(d), header = w->done < all ? all - w->done : 0;
    size_t cut = min_u64(header, p->length), n = p->length - cut;
    size_t len = w->done + cut - all; /* meaningless before the header's end */

    if (p->writable)
        w->bad = true;
    if (w->bad)
        return;
    w->done += cut;
    if (n == 0)
        return;
    if (n > sizeof(d->tx_buf) - len) {
        w->bad = true;
        return;
    }
    if (p->at)
        memcpy(d->tx_buf + len, p->at + cut, n);
    else
        w->bad = gmem_read(d->virtio.mem, gpa(p->address.v + cut), d->tx_buf + len, n) != 0;
    w->done += n;
}

static bool is_frame(const struct virtio_net *d, const struct virtio_net_chain *w)
{
    size_t header = header_size(d);

    return !w->bad && w->done >= header + VIRTIO_NET_FRAME_MIN &&
           w->done <= header + VIRTIO_NET_FRAME_MAX;
}

/* Continues where it stopped, or with the next chain: 1, 0 if there is none, or -E_FORMAT. */
static int open_chain(struct virtio_net *d, struct virtqueue *q, struct virtio_net_chain *w)
{
    int rc;

    if (w->open)
        return 1;
    rc = virtqueue_next(q, d->virtio.mem, &w->chain);
    if (rc == 1)
        *w = (struct virtio_net_chain){.open = true, .chain = w->chain};
    return rc;
}

static void close_chain(struct virtio_net *d, struct virtqueue *q, struct virtio_net_chain *w,
                        uint32_t written)
{
    w->open = false;
    virtqueue_done(q, d->virtio.mem, w->chain.head, written);
}

static void finish_sending(struct virtio_net *d, struct virtio_net_chain *w)
{
    if (is_frame(d, w)) {
        d->tx_frames++;
        d->host.transmit(d->host.ctx, d->tx_buf, w->done - header_size(d));
    } else {
        d->errors++;
    }
    close_chain(d, tx_of(d), w, 0);
    d->sent++;
}

static bool tx_waits(struct virtio_net *d)
{
    return d->tx_chain.open || virtqueue_waits(tx_of(d), d->virtio.mem);
}

static void transmit(struct virtio_net *d)
{
    struct virtio_net_chain *w = &d->tx_chain;
    struct virtqueue_piece p;
    int rc = open_chain(d, tx_of(d), w);

    for (unsigned i = 0; rc == 1 && w->chain.more && i < VIRTIO_NET_WORK; i++) {
        rc = virtqueue_piece(tx_of(d), d->virtio.mem, &w->chain, &p);
        if (rc == 1)
            gather(d, w, &p);
    }
    if (rc < 0)
        fail(d);
    else if (rc == 1 && !w->chain.more)
        finish_sending(d, w);
}

bool virtio_net_rx_push(struct virtio_net *d, const uint8_t *frame, size_t len)
{
    bool room;

    if (len > sizeof(d->rx_ring[0].data))
        return false;
    spin_lock(&d->rx_lock);
    room = d->rx_head - d->rx_tail < VIRTIO_NET_RX_RING;
    if (room) {
        struct virtio_net_frame *f = &d->rx_ring[d->rx_head % VIRTIO_NET_RX_RING];

        memcpy(f->data, frame, len);
        f->len = (uint16_t)len;
        __atomic_store_n(&d->rx_head, d->rx_head + 1, __ATOMIC_RELEASE);
    } else {
        d->rx_dropped++;
    }
    spin_unlock(&d->rx_lock);
    return room;
}

/* Into a piece, from `at` on. */
static void put(struct virtio_net *d, struct virtio_net_chain *w, const struct virtqueue_piece *p,
                size_t at, const uint8_t *from, size_t n)
{
    if (p->at)
        memcpy(p->at + at, from, n);
    else
        w->bad |= gmem_write(d->virtio.mem, gpa(p->address.v + at), from, n) != 0;
}

/* A piece of a receive chain takes what it has room for of header and frame. */
static void scatter(struct virtio_net *d, struct virtio_net_chain *w,
                    const struct virtio_net_frame *f, const struct virtqueue_piece *p)
{
    static const uint8_t header[VIRTIO_NET_HEADER] = {[HEADER_NUM_BUFFERS] = 1};
    size_t at = 0, all = header_size(d), n;

    w->bad |= !p->writable;
    if (w->bad)
        return;
    if (w->done < all) {
        at = min_u64(all - w->done, p->length);
        put(d, w, p, 0, header + w->done, at);
        w->done += at;
    }
    n = min_u64(all + f->len - w->done, p->length - at);
    if (n)
        put(d, w, p, at, f->data + (w->done - all), n);
    w->done += n;
}

/* The chain has taken its frame, or turned out not to fit. */
static void finish_receiving(struct virtio_net *d, struct virtio_net_chain *w, bool fits)
{
    close_chain(d, rx_of(d), w, fits ? (uint32_t)w->done : 0);
    if (fits)
        d->rx_frames++;
    else
        d->errors++;
    spin_lock(&d->rx_lock);
    __atomic_store_n(&d->rx_tail, d->rx_tail + 1, __ATOMIC_RELEASE);
    spin_unlock(&d->rx_lock);
    d->received++;
}

static bool rx_waits(struct virtio_net *d)
{
    return virtio_net_rx_waiting(d) &&
           (d->rx_chain.open || virtqueue_waits(rx_of(d), d->virtio.mem));
}

/* Moves the next frame, or a part; `pieces` is how many descriptors may still be handled. */
static void receive(struct virtio_net *d, unsigned *pieces)
{
    /* Only this core takes frames out, and this one stays ours until rx_tail has passed it. */
    const struct virtio_net_frame *f = &d->rx_ring[d->rx_tail % VIRTIO_NET_RX_RING];
    struct virtio_net_chain *w = &d->rx_chain;
    struct virtqueue_piece p;
    bool full = false;
    int rc;

    rc = open_chain(d, rx_of(d), w);
    for (; rc == 1 && *pieces && !full && !w->bad; --*pieces) {
        rc = virtqueue_piece(rx_of(d), d->virtio.mem, &w->chain, &p);
        if (rc == 1)
            scatter(d, w, f, &p);
        full = w->done == header_size(d) + f->len;
    }
    if (rc < 0)
        fail(d);
    else if (w->open && (full || w->bad || !w->chain.more))
        finish_receiving(d, w, full && !w->bad);
}

static void receive_some(struct virtio_net *d)
{
    unsigned pieces = VIRTIO_NET_WORK;

    for (unsigned i = 0; i < VIRTIO_NET_RECEIVE && pieces && rx_waits(d); i++)
        receive(d, &pieces);
}

/* The driver learns what was done, and is to say when there is more to send, or to receive into.
 * True: there already is. */
static bool tell_driver(struct virtio_net *d)
{
    bool more = false;

    if (d->sent) {
        more = virtqueue_listen(tx_of(d), d->virtio.mem);
        virtio_used(&d->virtio, VIRTIO_NET_TX);
    }
    if (rx_of(d)->ready && virtio_net_rx_waiting(d))
        more |= virtqueue_listen(rx_of(d), d->virtio.mem);
    else if (rx_of(d)->ready)
        virtqueue_ignore(rx_of(d), d->virtio.mem);
    if (d->received)
        virtio_used(&d->virtio, VIRTIO_NET_RX);
    d->sent = d->received = 0;
    return more;
}

/* Moves a frame or two, or as much of one as VIRTIO_NET_WORK allows. If both directions have work,
 * the one that did not run last time. */
static void work(struct virtio *v)
{
    struct virtio_net *d = net_of(v);
    bool receives = rx_waits(d), sends = tx_waits(d) && !(receives && d->sent_last), more;

    d->sent_last = sends;
    if (sends)
        transmit(d);
    else if (receives)
        receive_some(d);
    more = tx_waits(d) || rx_waits(d);
    if (!virtio_is_running(v))
        more = false;
    else if (!more || d->sent + d->received >= VIRTIO_NET_UNTOLD)
        more |= tell_driver(d);
    v->pci.due = more ? 0 : NEVER;
}

/* The device's identity stays. */
static void forget(struct virtio *v)
{
    struct virtio_net *d = net_of(v);

    d->rx_chain.open = d->tx_chain.open = false;
    d->sent = d->received = 0;
    spin_lock(&d->rx_lock);
    d->rx_tail = d->rx_head; /* frames for the former driver are dropped */
    spin_unlock(&d->rx_lock);
}

static const struct virtio_model model = {.type = TYPE_NET,
                                          .legacy_device = LEGACY_DEVICE,
                                          .class = CLASS_ETHERNET,
                                          .queues = 2,
                                          .reset = forget,
                                          .work = work};

void virtio_net_init(struct virtio_net *d, const struct gmem *mem, const uint8_t mac[6],
                     struct virtio_net_frame *rx_ring, const struct virtio_net_host *host)
{
    memset(d, 0, offsetof(struct virtio_net, tx_buf));
    d->host = *host;
    d->rx_ring = rx_ring;
    d->config = (struct virtio_net_config){.link = LINK_UP, .queue_pairs = 1, .mtu = 1500};
    memcpy(d->config.mac, mac, sizeof(d->config.mac));
    virtio_init(&d->virtio, &model, mem, FEATURES, &d->config, sizeof(d->config));
}

static void plug(void *dev, const struct device_env *env)
{
    struct virtio_net *d = dev;

    if (env->devices & DEV_NET)
        virtio_plug(&d->virtio, env, VIRTIO_NET_SLOT);
}

const struct device virtio_net_device = {
    .name = "virtio-net",
    .bit = DEV_NET,
    .plug = plug,
};
