#include "hv/dev/virtio_net.h"

#include "hv/lib.h"

enum {
    REG_DEVICE_FEATURE_SELECT = 0x00,
    REG_DEVICE_FEATURE = 0x04,
    REG_DRIVER_FEATURE_SELECT = 0x08,
    REG_DRIVER_FEATURE = 0x0c,
    REG_MSIX_CONFIG = 0x10,
    REG_NUM_QUEUES = 0x12,
    REG_STATUS = 0x14,
    REG_GENERATION = 0x15,
    REG_QUEUE_SELECT = 0x16,
    REG_QUEUE_SIZE = 0x18,
    REG_QUEUE_MSIX = 0x1a,
    REG_QUEUE_ENABLE = 0x1c,
    REG_QUEUE_NOTIFY_OFF = 0x1e,
    REG_QUEUE_DESC = 0x20,
    REG_QUEUE_DRIVER = 0x28,
    REG_QUEUE_DEVICE = 0x30,
    REG_ISR = 0x38,
    REG_NOTIFY = 0x3c,
    REG_MAC = 0x40,
    REG_NET_STATUS = 0x46,
};

#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u
#define STATUS_NEEDS_RESET 64u
#define STATUS_WRITABLE    0x8fu
#define ISR_QUEUE          1u
#define ISR_CONFIG         2u
#define FEATURE_MAC        (1ull << 5)
#define FEATURE_STATUS     (1ull << 16)
#define FEATURE_VERSION_1  (1ull << 32)
#define FEATURES           (FEATURE_MAC | FEATURE_STATUS | FEATURE_VERSION_1)
#define NO_VECTOR          0xffffu
#define LINK_UP            1u
#define HEADER_SIZE        12u
#define HEADER_NUM_BUFFERS 10u
#define FRAME_MIN          14u
#define FRAME_MAX          1518u

static void interrupt(struct virtio_net *d, uint8_t why)
{
    d->isr |= why;
    irq_set(&d->irq, true);
}

static void fail(struct virtio_net *d)
{
    d->errors++;
    d->status |= STATUS_NEEDS_RESET;
    interrupt(d, ISR_CONFIG);
}

static bool running(const struct virtio_net *d)
{
    return (d->status & STATUS_DRIVER_OK) && !(d->status & STATUS_NEEDS_RESET);
}

/* Power-on and "write 0 to device_status". What identifies the device stays. */
static void reset(struct virtio_net *d)
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
    reset(d);
}

/* ---- frames ---- */

/* Gathers a transmit chain, header cut off, into tx_buf. The frame's length, or 0 if it is not a
 * frame. */
static size_t gather(struct virtio_net *d, const struct virtqueue_chain *c)
{
    size_t skip = HEADER_SIZE, len = 0;

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
    return len >= FRAME_MIN && len <= FRAME_MAX ? len : 0;
}

static void transmit(struct virtio_net *d)
{
    struct virtqueue_chain c;
    unsigned done = 0;
    int rc = 0;

    while (done < VIRTQUEUE_MAX && (rc = virtqueue_next(&d->tx, &d->mem, &c)) == 1) {
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

void virtio_net_poll(struct virtio_net *d)
{
    uint8_t header[HEADER_SIZE] = {[HEADER_NUM_BUFFERS] = 1};
    struct virtqueue_chain c;
    unsigned done = 0;
    int rc = 0;

    if (!running(d))
        return;
    while (done < VIRTIO_NET_RX_RING && virtio_net_rx_waiting(d) &&
           (rc = virtqueue_next(&d->rx, &d->mem, &c)) == 1) {
        /* Only this core takes frames out; the lock orders us with those who put them in. */
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
}

/* ---- registers ---- */

static struct virtqueue *selected(struct virtio_net *d)
{
    return d->queue_select == 0 ? &d->rx : d->queue_select == 1 ? &d->tx : NULL;
}

static uint32_t half(uint64_t v, unsigned reg)
{
    return (uint32_t)(reg & 4 ? v >> 32 : v);
}

static void set_half(uint64_t *v, unsigned reg, uint32_t value)
{
    if (reg & 4)
        *v = (*v & 0xffffffffull) | (uint64_t)value << 32;
    else
        *v = (*v & ~0xffffffffull) | value;
}

static uint32_t read_config(const struct virtio_net *d, unsigned offset, unsigned size)
{
    uint8_t config[16] = {0};
    uint32_t v = 0;

    memcpy(config, d->mac, sizeof(d->mac));
    config[REG_NET_STATUS - REG_MAC] = LINK_UP;
    if (offset + size <= sizeof(config))
        memcpy(&v, config + offset, size);
    return v;
}

static uint32_t read_queue(struct virtio_net *d, unsigned reg)
{
    const struct virtqueue *q = selected(d);

    if (!q)
        return 0;
    switch (reg) {
    case REG_QUEUE_SIZE:
        return q->size;
    case REG_QUEUE_ENABLE:
        return q->ready;
    case REG_QUEUE_DESC:
    case REG_QUEUE_DESC + 4:
        return half(q->desc, reg);
    case REG_QUEUE_DRIVER:
    case REG_QUEUE_DRIVER + 4:
        return half(q->avail, reg);
    case REG_QUEUE_DEVICE:
    case REG_QUEUE_DEVICE + 4:
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

static uint32_t virtio_net_in(void *dev, uint16_t port, unsigned size)
{
    struct virtio_net *d = dev;
    unsigned reg = port - VIRTIO_NET_PORT;

    if (reg >= REG_MAC)
        return read_config(d, reg - REG_MAC, size);
    switch (reg) {
    case REG_DEVICE_FEATURE_SELECT:
        return d->feature_select;
    case REG_DEVICE_FEATURE:
        return d->feature_select < 2 ? (uint32_t)(FEATURES >> (32 * d->feature_select)) : 0;
    case REG_DRIVER_FEATURE_SELECT:
        return d->driver_feature_select;
    case REG_DRIVER_FEATURE:
        return d->driver_feature_select < 2
                   ? (uint32_t)(d->driver_features >> (32 * d->driver_feature_select))
                   : 0;
    case REG_MSIX_CONFIG:
    case REG_QUEUE_MSIX:
        return NO_VECTOR;
    case REG_NUM_QUEUES:
        return 2;
    case REG_STATUS:
        return d->status;
    case REG_GENERATION:
        return 0; /* the configuration never changes */
    case REG_QUEUE_SELECT:
        return d->queue_select;
    case REG_ISR:
        return read_isr(d);
    default:
        return read_queue(d, reg);
    }
}

static void write_status(struct virtio_net *d, uint32_t value)
{
    uint8_t s = value & STATUS_WRITABLE;

    if (s == 0) {
        reset(d);
        return;
    }
    /* FEATURES_OK stays clear when we cannot work with what was chosen; the driver reads it back.
     */
    if ((s & STATUS_FEATURES_OK) && !(d->status & STATUS_FEATURES_OK) &&
        ((d->driver_features & ~FEATURES) || !(d->driver_features & FEATURE_VERSION_1)))
        s &= (uint8_t)~STATUS_FEATURES_OK;
    if (!(s & STATUS_FEATURES_OK))
        s &= (uint8_t)~STATUS_DRIVER_OK;
    d->status = (uint8_t)(s | (d->status & STATUS_NEEDS_RESET));
    virtio_net_poll(d);
}

static void write_queue(struct virtio_net *d, unsigned reg, uint32_t value)
{
    struct virtqueue *q = selected(d);

    if (!q || q->ready)
        return; /* an enabled queue cannot be changed until reset */
    switch (reg) {
    case REG_QUEUE_SIZE:
        q->size = (uint16_t)value;
        break;
    case REG_QUEUE_ENABLE:
        if ((value & 0xffff) == 1 && virtqueue_enable(q, &d->mem))
            fail(d);
        break;
    case REG_QUEUE_DESC:
    case REG_QUEUE_DESC + 4:
        set_half(&q->desc, reg, value);
        break;
    case REG_QUEUE_DRIVER:
    case REG_QUEUE_DRIVER + 4:
        set_half(&q->avail, reg, value);
        break;
    case REG_QUEUE_DEVICE:
    case REG_QUEUE_DEVICE + 4:
        set_half(&q->used, reg, value);
        break;
    default:
        break;
    }
}

static void notify(struct virtio_net *d, uint32_t queue)
{
    if (!running(d))
        return;
    if ((queue & 0xffff) == 0)
        virtio_net_poll(d);
    else if ((queue & 0xffff) == 1)
        transmit(d);
}

static void virtio_net_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct virtio_net *d = dev;
    unsigned reg = port - VIRTIO_NET_PORT;

    (void)size;
    switch (reg) {
    case REG_DEVICE_FEATURE_SELECT:
        d->feature_select = value;
        break;
    case REG_DRIVER_FEATURE_SELECT:
        d->driver_feature_select = value;
        break;
    case REG_DRIVER_FEATURE:
        if (d->driver_feature_select < 2 && !(d->status & STATUS_FEATURES_OK))
            set_half(&d->driver_features, d->driver_feature_select ? 4 : 0, value);
        break;
    case REG_STATUS:
        write_status(d, value);
        break;
    case REG_QUEUE_SELECT:
        d->queue_select = (uint16_t)value;
        break;
    case REG_NOTIFY:
        notify(d, value);
        break;
    default:
        write_queue(d, reg, value);
        break;
    }
}

const struct io_ops virtio_net_io_ops = {virtio_net_in, virtio_net_out};
