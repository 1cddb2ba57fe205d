#include "hv/dev/virtio_net.h"

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

/* Also "write 0 to device_status". What identifies the device stays. */
void virtio_net_reset(struct virtio_net *d)
{
    virtqueue_reset(&d->rx);
    virtqueue_reset(&d->tx);
    d->status = d->isr = 0;
    d->queue_select = 0;
    d->feature_select = d->driver_feature_select = 0;
    d->driver_features = 0;
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

/* Gathers a transmit chain, header cut off, into tx_buf. The frame's length, or 0 if it is not a
 * frame. */
static size_t gather(struct virtio_net *d, const struct virtqueue_chain *c)
{
    size_t skip = VIRTIO_NET_HEADER, len = 0;

    for (unsigned i = 0; i < c->count; i++) {
        const struct virtqueue_piece *p = &c->pieces[i];
        size_t cut = min_u64(skip, p->length), n = p->length - cut;

        if (p->writable)
            return 0;
        skip -= cut;
        if (n > sizeof(d->tx_buf) - len)
            return 0;
        if (gmem_read(&d->mem, gpa(p->address.v + cut), d->tx_buf + len, n))
            return 0;
        len += n;
    }
    return len >= VIRTIO_NET_FRAME_MIN && len <= VIRTIO_NET_FRAME_MAX ? len : 0;
}

/* True when more may wait. */
static bool transmit(struct virtio_net *d)
{
    struct virtqueue_chain c;
    unsigned done = 0;
    int rc = 0;

    while (done < VIRTIO_NET_BATCH && (rc = virtqueue_next(&d->tx, &d->mem, &c)) == 1) {
        size_t len = gather(d, &c);

        if (len) {
            d->tx_frames++;
            d->host.transmit(d->host.ctx, d->tx_buf, len);
        } else {
            d->errors++;
        }
        virtqueue_done(&d->tx, &d->mem, c.head, 0);
        done++;
    }
    if (rc < 0)
        fail(d);
    if (done && virtqueue_wants_irq(&d->tx, &d->mem))
        interrupt(d, ISR_QUEUE);
    return rc == 1;
}

/* Scatters bytes over a receive chain from offset *at on. False when it is too small or not
 * writable. */
static bool scatter(struct virtio_net *d, const struct virtqueue_chain *c, size_t at,
                    const uint8_t *bytes, size_t n)
{
    for (unsigned i = 0; i < c->count && n > 0; i++) {
        const struct virtqueue_piece *p = &c->pieces[i];
        size_t part;

        if (!p->writable)
            return false;
        if (at >= p->length) {
            at -= p->length;
            continue;
        }
        part = min_u64(n, p->length - at);
        if (gmem_write(&d->mem, gpa(p->address.v + at), bytes, part))
            return false;
        at = 0;
        bytes += part;
        n -= part;
    }
    return n == 0;
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

/* True when more may wait. */
static bool receive(struct virtio_net *d)
{
    uint8_t header[VIRTIO_NET_HEADER] = {[HEADER_NUM_BUFFERS] = 1};
    struct virtqueue_chain c;
    unsigned done = 0;
    int rc = 0;

    while (done < VIRTIO_NET_BATCH && virtio_net_rx_waiting(d) &&
           (rc = virtqueue_next(&d->rx, &d->mem, &c)) == 1) {
        /* Only this core takes frames out, and this one stays ours until rx_tail has passed it. */
        const struct virtio_net_frame *f = &d->rx_ring[d->rx_tail % VIRTIO_NET_RX_RING];
        bool fits = scatter(d, &c, 0, header, sizeof(header)) &&
                    scatter(d, &c, sizeof(header), f->data, f->len);

        virtqueue_done(&d->rx, &d->mem, c.head, fits ? (uint32_t)(sizeof(header) + f->len) : 0);
        if (fits)
            d->rx_frames++;
        else
            d->errors++;
        spin_lock(&d->rx_lock);
        __atomic_store_n(&d->rx_tail, d->rx_tail + 1, __ATOMIC_RELEASE);
        spin_unlock(&d->rx_lock);
        done++;
    }
    if (rc < 0)
        fail(d);
    if (done && virtqueue_wants_irq(&d->rx, &d->mem))
        interrupt(d, ISR_QUEUE);
    return rc == 1 && virtio_net_rx_waiting(d);
}

void virtio_net_work(struct virtio_net *d)
{
    bool more = false;

    if (running(d))
        more = receive(d);
    if (running(d))
        more |= transmit(d);
    d->busy = more;
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
    /* FEATURES_OK stays clear when we cannot work with what was chosen; the driver reads it back.
     * Apart from that a driver only ever adds bits. */
    s |= d->status;
    if ((d->driver_features & ~FEATURES) || !(d->driver_features & VIRTIO_F_VERSION_1))
        s &= (uint8_t)~VIRTIO_FEATURES_OK;
    if (!(s & VIRTIO_FEATURES_OK))
        s &= (uint8_t)~VIRTIO_DRIVER_OK;
    d->status = s;
    d->busy = true;
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
        d->busy = true;
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

const struct io_ops virtio_net_io_ops = {virtio_net_in, virtio_net_out};
