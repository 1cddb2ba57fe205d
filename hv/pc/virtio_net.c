#include "hv/pc/virtio_net.h"

#include "hv/config.h"
#include "hv/lib.h"

#define STATUS_WRITABLE                                                                            \
    (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED)
#define ISR_QUEUE          1u
#define ISR_CONFIG         2u
#define FEATURES           (VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_F_VERSION_1)
#define NO_VECTOR          0xffffu
#define LINK_UP            1u
#define HEADER_NUM_BUFFERS 10u
#define QUEUE_RX           0u
#define QUEUE_TX           1u
#define HIGH_HALF          4u /* of a 64-bit register, in its offset */

static void interrupt(struct virtio_net *d, uint8_t why)
{
    d->isr |= why;
    irq_set(&d->irq, true);
}

static void fail(struct virtio_net *d)
{
    d->errors++;
    d->status |= VIRTIO_NEEDS_RESET;
    if (d->status & VIRTIO_DRIVER_OK)
        interrupt(d, ISR_CONFIG);
}

static bool running(const struct virtio_net *d)
{
    return (d->status & VIRTIO_DRIVER_OK) && !(d->status & VIRTIO_NEEDS_RESET);
}

/* Also for "write 0 to device_status". The device's identity stays. */
void virtio_net_reset(struct virtio_net *d)
{
    virtqueue_reset(&d->rx);
    virtqueue_reset(&d->tx);
    d->rx_chain.open = d->tx_chain.open = false;
    d->status = d->isr = 0;
    d->queue_select = 0;
    d->feature_select = d->driver_feature_select = 0;
    d->driver_features = 0;
    d->deadline = NEVER;
    irq_set(&d->irq, false);
    spin_lock(&d->rx_lock);
    d->rx_tail = d->rx_head; /* frames for the former driver are dropped */
    spin_unlock(&d->rx_lock);
}

void virtio_net_init(struct virtio_net *d, const struct gmem *mem, const uint8_t mac[6],
                     struct virtio_net_frame *rx_ring, const struct virtio_net_host *host)
{
    memset(d, 0, sizeof(*d));
    d->mem = *mem;
    d->host = *host;
    d->rx_ring = rx_ring;
    memcpy(d->mac, mac, sizeof(d->mac));
    virtio_net_reset(d);
}

/* ---- frames ---- */

/* A piece of a transmit chain: header cut off, the rest to tx_buf. */
static void gather(struct virtio_net *d, struct virtio_net_chain *w,
                   const struct virtqueue_piece *p)
{
    size_t header = w->done < VIRTIO_NET_HEADER ? VIRTIO_NET_HEADER - w->done : 0;
    size_t cut = min_u64(header, p->length), n = p->length - cut;
    size_t len = w->done + cut - VIRTIO_NET_HEADER; /* meaningless before the header's end */

    if (p->writable)
        w->bad = true;
    if (w->bad)
        return;
    w->done += cut;
    if (n == 0)
        return;
    if (n > sizeof(d->tx_buf) - len ||
        gmem_read(&d->mem, gpa(p->address.v + cut), d->tx_buf + len, n)) {
        w->bad = true;
        return;
    }
    w->done += n;
}

static bool is_frame(const struct virtio_net_chain *w)
{
    return !w->bad && w->done >= VIRTIO_NET_HEADER + VIRTIO_NET_FRAME_MIN &&
           w->done <= VIRTIO_NET_HEADER + VIRTIO_NET_FRAME_MAX;
}

/* Continues where it stopped, or with the next chain: 1, 0 if there is none, or -E_FORMAT. */
static int open_chain(struct virtio_net *d, struct virtqueue *q, struct virtio_net_chain *w)
{
    int rc;

    if (w->open)
        return 1;
    rc = virtqueue_next(q, &d->mem, &w->chain);
    if (rc == 1)
        *w = (struct virtio_net_chain){.open = true, .chain = w->chain};
    return rc;
}

static void close_chain(struct virtio_net *d, struct virtqueue *q, struct virtio_net_chain *w,
                        uint32_t written)
{
    w->open = false;
    virtqueue_done(q, &d->mem, w->chain.head, written);
}

static void finish_sending(struct virtio_net *d, struct virtio_net_chain *w)
{
    if (is_frame(w)) {
        d->tx_frames++;
        d->host.transmit(d->host.ctx, d->tx_buf, w->done - VIRTIO_NET_HEADER);
    } else {
        d->errors++;
    }
    close_chain(d, &d->tx, w, 0);
    if (virtqueue_wants_irq(&d->tx, &d->mem))
        interrupt(d, ISR_QUEUE);
}

static bool can_transmit(const struct virtio_net *d)
{
    return running(d) && (d->tx_chain.open || virtqueue_waits(&d->tx, &d->mem));
}

/* Gathering a frame and sending it are two calls. */
static void transmit(struct virtio_net *d)
{
    struct virtio_net_chain *w = &d->tx_chain;
    struct virtqueue_piece p;
    int rc;

    if (w->open && !w->chain.more) {
        finish_sending(d, w);
        return;
    }
    rc = open_chain(d, &d->tx, w);
    for (unsigned i = 0; rc == 1 && i < VIRTIO_NET_WORK; i++) {
        rc = virtqueue_piece(&d->tx, &d->mem, &w->chain, &p);
        if (rc == 1)
            gather(d, w, &p);
    }
    if (rc < 0)
        fail(d);
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

/* A piece of a receive chain takes what it has room for of header and frame. */
static void scatter(struct virtio_net *d, struct virtio_net_chain *w,
                    const struct virtio_net_frame *f, const struct virtqueue_piece *p)
{
    static const uint8_t header[VIRTIO_NET_HEADER] = {[HEADER_NUM_BUFFERS] = 1};
    size_t room = p->length, at = 0;

    if (!p->writable)
        w->bad = true;
    while (!w->bad && at < room && w->done < sizeof(header) + f->len) {
        bool in_header = w->done < sizeof(header);
        size_t left = in_header ? sizeof(header) - w->done : sizeof(header) + f->len - w->done;
        size_t n = min_u64(left, room - at);
        const uint8_t *from = in_header ? header + w->done : f->data + (w->done - sizeof(header));

        w->bad = gmem_write(&d->mem, gpa(p->address.v + at), from, n);
        at += n;
        w->done += n;
    }
}

/* The chain has taken its frame, or turned out not to fit. */
static void finish_receiving(struct virtio_net *d, struct virtio_net_chain *w, bool fits)
{
    close_chain(d, &d->rx, w, fits ? (uint32_t)w->done : 0);
    if (fits)
        d->rx_frames++;
    else
        d->errors++;
    spin_lock(&d->rx_lock);
    __atomic_store_n(&d->rx_tail, d->rx_tail + 1, __ATOMIC_RELEASE);
    spin_unlock(&d->rx_lock);
    if (virtqueue_wants_irq(&d->rx, &d->mem))
        interrupt(d, ISR_QUEUE);
}

static bool can_receive(const struct virtio_net *d)
{
    return running(d) && virtio_net_rx_waiting(d) &&
           (d->rx_chain.open || virtqueue_waits(&d->rx, &d->mem));
}

static void receive(struct virtio_net *d)
{
    /* Only this core takes frames out, and this one stays ours until rx_tail has passed it. */
    const struct virtio_net_frame *f = &d->rx_ring[d->rx_tail % VIRTIO_NET_RX_RING];
    struct virtio_net_chain *w = &d->rx_chain;
    struct virtqueue_piece p;
    bool full = false;
    int rc;

    rc = open_chain(d, &d->rx, w);
    for (unsigned i = 0; rc == 1 && i < VIRTIO_NET_WORK && !full && !w->bad; i++) {
        rc = virtqueue_piece(&d->rx, &d->mem, &w->chain, &p);
        if (rc == 1)
            scatter(d, w, f, &p);
        full = w->done == VIRTIO_NET_HEADER + f->len;
    }
    if (rc < 0)
        fail(d);
    else if (w->open && (full || w->bad || !w->chain.more))
        finish_receiving(d, w, full && !w->bad);
}

/* If both directions have work, the one that did not run last time. */
void virtio_net_work(struct virtio_net *d)
{
    bool receives = can_receive(d), sends = can_transmit(d) && !(receives && d->sent_last);

    d->sent_last = sends;
    if (sends)
        transmit(d);
    else if (receives)
        receive(d);
    d->deadline = can_transmit(d) || can_receive(d) ? 0 : NEVER;
}

/* ---- registers ---- */

static struct virtqueue *selected(struct virtio_net *d)
{
    return d->queue_select == QUEUE_RX ? &d->rx : d->queue_select == QUEUE_TX ? &d->tx : NULL;
}

static uint32_t half(uint64_t v, unsigned reg)
{
    return (uint32_t)(reg & HIGH_HALF ? v >> 32 : v);
}

static void set_half(uint64_t *v, unsigned reg, uint32_t value)
{
    if (reg & HIGH_HALF)
        *v = (*v & 0xffffffffull) | (uint64_t)value << 32;
    else
        *v = (*v & ~0xffffffffull) | value;
}

static uint32_t read_config(const struct virtio_net *d, unsigned offset, unsigned size)
{
    uint8_t config[16] = {0};
    uint32_t v = 0;

    memcpy(config, d->mac, sizeof(d->mac));
    config[VIRTIO_NET_LINK - VIRTIO_NET_MAC] = LINK_UP;
    if (offset + size <= sizeof(config)) /* not across the window's end */
        memcpy(&v, config + offset, size);
    return v;
}

static uint32_t read_queue(struct virtio_net *d, unsigned reg)
{
    const struct virtqueue *q = selected(d);

    if (!q)
        return 0;
    switch (reg) {
    case VIRTIO_NET_QUEUE_SIZE:
        return q->size;
    case VIRTIO_NET_QUEUE_ENABLE:
        return q->ready;
    case VIRTIO_NET_QUEUE_DESC:
    case VIRTIO_NET_QUEUE_DESC + HIGH_HALF:
        return half(q->desc, reg);
    case VIRTIO_NET_QUEUE_DRIVER:
    case VIRTIO_NET_QUEUE_DRIVER + HIGH_HALF:
        return half(q->avail, reg);
    case VIRTIO_NET_QUEUE_DEVICE:
    case VIRTIO_NET_QUEUE_DEVICE + HIGH_HALF:
        return half(q->used, reg);
    default:
        return 0;
    }
}

static uint32_t read_isr(struct virtio_net *d)
{
    uint8_t v = d->isr;

    d->isr = 0;
    irq_set(&d->irq, false);
    return v;
}

/* In bytes; 0: no register begins there. */
static unsigned width(unsigned reg)
{
    switch (reg) {
    case VIRTIO_NET_STATUS:
    case VIRTIO_NET_GENERATION:
    case VIRTIO_NET_ISR:
        return 1;
    case VIRTIO_NET_MSIX_CONFIG:
    case VIRTIO_NET_NUM_QUEUES:
    case VIRTIO_NET_QUEUE_SELECT:
    case VIRTIO_NET_QUEUE_SIZE:
    case VIRTIO_NET_QUEUE_MSIX:
    case VIRTIO_NET_QUEUE_ENABLE:
    case VIRTIO_NET_QUEUE_NOTIFY_OFF:
    case VIRTIO_NET_NOTIFY:
        return 2;
    default:
        return reg < VIRTIO_NET_ISR && reg % 4 == 0 ? 4 : 0;
    }
}

static uint32_t read_register(struct virtio_net *d, unsigned reg)
{
    switch (reg) {
    case VIRTIO_NET_DEVICE_FEATURE_SELECT:
        return d->feature_select;
    case VIRTIO_NET_DEVICE_FEATURE:
        return d->feature_select < 2 ? (uint32_t)(FEATURES >> (32 * d->feature_select)) : 0;
    case VIRTIO_NET_DRIVER_FEATURE_SELECT:
        return d->driver_feature_select;
    case VIRTIO_NET_DRIVER_FEATURE:
        return d->driver_feature_select < 2
                   ? (uint32_t)(d->driver_features >> (32 * d->driver_feature_select))
                   : 0;
    case VIRTIO_NET_MSIX_CONFIG:
    case VIRTIO_NET_QUEUE_MSIX:
        return NO_VECTOR;
    case VIRTIO_NET_NUM_QUEUES:
        return 2;
    case VIRTIO_NET_STATUS:
        return d->status;
    case VIRTIO_NET_GENERATION:
        return 0; /* the configuration never changes */
    case VIRTIO_NET_QUEUE_SELECT:
        return d->queue_select;
    case VIRTIO_NET_ISR:
        return read_isr(d);
    default:
        return read_queue(d, reg);
    }
}

static uint32_t virtio_net_in(void *dev, uint16_t port, unsigned size)
{
    unsigned reg = port - VIRTIO_NET_PORT;

    if (reg >= VIRTIO_NET_MAC)
        return read_config(dev, reg - VIRTIO_NET_MAC, size);
    if (width(reg) != size)
        return UINT32_MAX >> (32 - 8 * size);
    return read_register(dev, reg);
}

static void write_status(struct virtio_net *d, uint32_t value)
{
    uint8_t s = value & STATUS_WRITABLE;

    if (value == 0) {
        virtio_net_reset(d);
        return;
    }
    /* FEATURES_OK stays clear if we do not support the choice; the driver reads it back. Otherwise
     * a driver only adds bits. */
    s |= d->status;
    if ((d->driver_features & ~FEATURES) || !(d->driver_features & VIRTIO_F_VERSION_1))
        s &= (uint8_t)~VIRTIO_FEATURES_OK;
    if (!(s & VIRTIO_FEATURES_OK))
        s &= (uint8_t)~VIRTIO_DRIVER_OK;
    d->status = s;
    d->deadline = 0;
}

static void write_queue(struct virtio_net *d, unsigned reg, uint32_t value)
{
    struct virtqueue *q = selected(d);

    if (!q || q->ready)
        return; /* an enabled queue cannot be changed until reset */
    switch (reg) {
    case VIRTIO_NET_QUEUE_SIZE:
        q->size = (uint16_t)value;
        break;
    case VIRTIO_NET_QUEUE_ENABLE:
        if (value == 1 && virtqueue_enable(q, &d->mem))
            fail(d);
        break;
    case VIRTIO_NET_QUEUE_DESC:
    case VIRTIO_NET_QUEUE_DESC + HIGH_HALF:
        set_half(&q->desc, reg, value);
        break;
    case VIRTIO_NET_QUEUE_DRIVER:
    case VIRTIO_NET_QUEUE_DRIVER + HIGH_HALF:
        set_half(&q->avail, reg, value);
        break;
    case VIRTIO_NET_QUEUE_DEVICE:
    case VIRTIO_NET_QUEUE_DEVICE + HIGH_HALF:
        set_half(&q->used, reg, value);
        break;
    default:
        break;
    }
}

static void notify(struct virtio_net *d, uint32_t queue)
{
    if (queue == QUEUE_RX || queue == QUEUE_TX)
        d->deadline = 0;
}

static void virtio_net_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct virtio_net *d = dev;
    unsigned reg = port - VIRTIO_NET_PORT;

    if (reg >= VIRTIO_NET_MAC || width(reg) != size)
        return;
    switch (reg) {
    case VIRTIO_NET_DEVICE_FEATURE_SELECT:
        d->feature_select = value;
        break;
    case VIRTIO_NET_DRIVER_FEATURE_SELECT:
        d->driver_feature_select = value;
        break;
    case VIRTIO_NET_DRIVER_FEATURE:
        if (d->driver_feature_select < 2 && !(d->status & VIRTIO_FEATURES_OK))
            set_half(&d->driver_features, d->driver_feature_select ? HIGH_HALF : 0, value);
        break;
    case VIRTIO_NET_STATUS:
        write_status(d, value);
        break;
    case VIRTIO_NET_QUEUE_SELECT:
        d->queue_select = (uint16_t)value;
        break;
    case VIRTIO_NET_NOTIFY:
        notify(d, value);
        break;
    default:
        write_queue(d, reg, value);
        break;
    }
}

const struct io_ops virtio_net_io_ops = {virtio_net_in, virtio_net_out, 4};

/* Registers and rings: virtio_net_reset(). */
static void reset(void *dev, const struct device_env *env)
{
    struct virtio_net *d = dev;

    d->irq = env->irq;
    d->deadline = NEVER;
}

static uint64_t *deadline(void *dev)
{
    return &((struct virtio_net *)dev)->deadline;
}

static void update(void *dev)
{
    virtio_net_work(dev);
}

const struct device virtio_net_device = {
    .name = "virtio-net",
    .bit = DEV_NET,
    .irq = VIRTIO_NET_IRQ,
    .ports = {{VIRTIO_NET_PORT, VIRTIO_NET_PORT + VIRTIO_NET_PORTS - 1, &virtio_net_io_ops}},
    .reset = reset,
    .deadline = deadline,
    .update = update,
};
