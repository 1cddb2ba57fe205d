/* The driver of virtio network cards. One queue in each direction, no offloads, and no control
 * queue: such a card lets all frames in. */
#include "net/virtio_nic.h"

#include "hv/lib.h"
#include "hv/pc/virtio_registers.h"

#define RX                0u /* the queues' numbers */
#define TX                1u
#define CONFIG_MAC        0u
#define CONFIG_STATUS     6u
#define STATUS_LINK       1u
#define ISR_QUEUE         1u
#define ISR_CONFIGURATION 2u
/* The host has an IOMMU for the card, or its own order of memory: our addresses and barriers are
 * right for both. */
#define F_ACCESS_PLATFORM (1ull << 33)
#define F_ORDER_PLATFORM  (1ull << 36)
#define NEEDED            (VIRTIO_F_VERSION_1 | VIRTIO_NET_F_MAC)
#define WANTED            (NEEDED | VIRTIO_NET_F_STATUS | F_ACCESS_PLATFORM | F_ORDER_PLATFORM)
#define WAIT_LOOPS        100000u

struct queue {
    struct virtio_ring *ring;
    uint8_t *buffers; /* of descriptor 0, of descriptor 1, ... */
    /* Descriptors that the card has, a bit each. */
    uint64_t lent[VIRTIO_NIC_RX_COUNT / 64];
    uint32_t notify; /* offset in its window */
    uint16_t size, index;
    uint16_t seen;  /* used entries taken */
    uint16_t given; /* available entries made */
};
struct state {
    struct virtio_windows windows;
    struct queue rx, tx;
    bool link_known;
    /* The card was told not to interrupt, since receive() is to come: one interrupt for all frames
     * that arrive until then, so a flood cannot make guests exit faster. */
    bool quiet;
};
_Static_assert(sizeof(struct state) <= NIC_STATE_SIZE, "fits");

static struct state *state(struct nic *n)
{
    return (struct state *)(void *)n->state;
}

static uint32_t read_at(struct nic *n, enum virtio_window w, uint32_t at, unsigned size)
{
    const struct virtio_place *p = &state(n)->windows.at[w];

    return nic_read(n, p->bar, p->offset + at, size);
}

static void write_at(struct nic *n, enum virtio_window w, uint32_t at, unsigned size, uint32_t v)
{
    const struct virtio_place *p = &state(n)->windows.at[w];

    nic_write(n, p->bar, p->offset + at, size, v);
}

static uint32_t get(struct nic *n, uint32_t reg, unsigned size)
{
    return read_at(n, VIRTIO_COMMON, reg, size);
}

static void put(struct nic *n, uint32_t reg, unsigned size, uint32_t v)
{
    write_at(n, VIRTIO_COMMON, reg, size, v);
}

static void put_address(struct nic *n, uint32_t reg, const void *p)
{
    put(n, reg, 4, (uint32_t)(uintptr_t)p);
    put(n, reg + 4, 4, (uint32_t)((uintptr_t)p >> 32));
}

/* A card may need time: the status reads 0 once it is done. */
static int reset(struct nic *n)
{
    put(n, VIRTIO_STATUS, 1, 0);
    for (unsigned i = 0; i < WAIT_LOOPS; i++)
        if (get(n, VIRTIO_STATUS, 1) == 0)
            return 0;
    return -E_IO;
}

static int fail(struct nic *n)
{
    put(n, VIRTIO_STATUS, 1, VIRTIO_FAILED);
    return -E_IO;
}

static uint64_t offered(struct nic *n)
{
    uint64_t features;

    put(n, VIRTIO_DEVICE_FEATURE_SELECT, 4, 1);
    features = (uint64_t)get(n, VIRTIO_DEVICE_FEATURE, 4) << 32;
    put(n, VIRTIO_DEVICE_FEATURE_SELECT, 4, 0);
    return features | get(n, VIRTIO_DEVICE_FEATURE, 4);
}

/* Resets the card and agrees on features. */
static int negotiate(struct nic *n)
{
    uint32_t status = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;
    uint64_t features;

    if (reset(n))
        return -E_IO;
    put(n, VIRTIO_STATUS, 1, VIRTIO_ACKNOWLEDGE);
    put(n, VIRTIO_STATUS, 1, status);
    features = offered(n) & WANTED;
    if ((features & NEEDED) != NEEDED)
        return fail(n);
    for (unsigned half = 0; half < 2; half++) {
        put(n, VIRTIO_DRIVER_FEATURE_SELECT, 4, half);
        put(n, VIRTIO_DRIVER_FEATURE, 4, (uint32_t)(features >> 32 * half));
    }
    status |= VIRTIO_FEATURES_OK;
    put(n, VIRTIO_STATUS, 1, status);
    if (get(n, VIRTIO_STATUS, 1) != status)
        return fail(n);
    state(n)->link_known = features & VIRTIO_NET_F_STATUS;
    return 0;
}

static int map_windows(struct nic *n)
{
    const struct virtio_windows *w = &state(n)->windows;

    for (unsigned i = VIRTIO_COMMON; i < VIRTIO_WINDOWS; i++) {
        uint32_t end = 0;
        int rc;

        /* As far as the BAR's furthest window. */
        for (unsigned j = VIRTIO_COMMON; j < VIRTIO_WINDOWS; j++)
            if (w->at[j].bar == w->at[i].bar && w->at[j].offset + w->at[j].length > end)
                end = w->at[j].offset + w->at[j].length;
        rc = n->bus.map(n->bus.ctx, w->at[i].bar, end);
        if (rc)
            return rc;
    }
    return 0;
}

static int probe(struct nic *n)
{
    int rc = virtio_find_windows(&n->bus, &state(n)->windows);

    if (rc == 0)
        rc = map_windows(n);
    if (rc == 0)
        rc = negotiate(n);
    if (rc)
        return rc;
    for (uint32_t i = 0; i < sizeof(n->mac); i++)
        n->mac[i] = (uint8_t)read_at(n, VIRTIO_DEVICE_CONFIG, CONFIG_MAC + i, 1);
    return nic_mac_is_good(n->mac) ? reset(n) : fail(n);
}

/* The largest power of two that is neither above `most` nor above what the card says. */
static uint16_t ring_size(uint32_t card, uint32_t most)
{
    while (most > card)
        most /= 2;
    return (uint16_t)most;
}

static int start_queue(struct nic *n, struct queue *q, uint16_t index, uint32_t most,
                       uint32_t vector)
{
    const struct virtio_windows *w = &state(n)->windows;
    uint64_t notify;

    put(n, VIRTIO_QUEUE_SELECT, 2, index);
    q->index = index;
    q->size = ring_size(get(n, VIRTIO_QUEUE_SIZE, 2), most);
    if (q->size < 2)
        return -E_IO;
    put(n, VIRTIO_QUEUE_SIZE, 2, q->size);
    put(n, VIRTIO_QUEUE_VECTOR, 2, vector);
    /* Reads back as none if the card cannot. */
    if (get(n, VIRTIO_QUEUE_VECTOR, 2) != vector)
        return -E_IO;
    notify = (uint64_t)get(n, VIRTIO_QUEUE_NOTIFY_OFF, 2) * w->notify_multiplier;
    if (notify + 2 > w->at[VIRTIO_NOTIFY_AREA].length)
        return -E_IO;
    q->notify = (uint32_t)notify;
    put_address(n, VIRTIO_QUEUE_DESC, q->ring->desc);
    put_address(n, VIRTIO_QUEUE_DRIVER, &q->ring->avail_flags);
    put_address(n, VIRTIO_QUEUE_DEVICE, &q->ring->used_flags);
    put(n, VIRTIO_QUEUE_ENABLE, 2, 1);
    return 0;
}

/* The card sees it once it is published. */
static void lend(struct queue *q, unsigned id)
{
    q->lent[id / 64] |= 1ull << id % 64;
    q->ring->avail[q->given & (q->size - 1)] = (uint16_t)id;
    q->given++;
}

/* Shows what was lent, and tells the card if it wants to know. */
static void publish(struct nic *n, struct queue *q)
{
    __atomic_store_n(&q->ring->avail_index, q->given, __ATOMIC_RELEASE);
    /* The card writes the flag and then looks at the index; here it is the other way round. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!(__atomic_load_n(&q->ring->used_flags, __ATOMIC_RELAXED) & VIRTIO_USED_NO_NOTIFY))
        write_at(n, VIRTIO_NOTIFY_AREA, q->notify, 2, q->index);
}

/* How many entries the card has made that were not taken yet. More than the ring has is nonsense,
 * and counts as none. */
static unsigned used(const struct queue *q)
{
    uint16_t n = (uint16_t)(__atomic_load_n(&q->ring->used_index, __ATOMIC_ACQUIRE) - q->seen);

    return n > q->size ? 0 : n;
}

/* The next of them: a descriptor's number, or -1 if that is none that the card has. */
static int take_used(struct queue *q, uint32_t *length)
{
    const struct virtio_used *u = &q->ring->used[q->seen & (q->size - 1)];
    uint32_t id = __atomic_load_n(&u->id, __ATOMIC_RELAXED);

    *length = __atomic_load_n(&u->length, __ATOMIC_RELAXED);
    q->seen++;
    if (id >= q->size || !(q->lent[id / 64] >> id % 64 & 1))
        return -1;
    q->lent[id / 64] &= ~(1ull << id % 64);
    return (int)id;
}

static void set_quiet(struct state *s, bool quiet)
{
    s->quiet = quiet;
    __atomic_store_n(&s->rx.ring->avail_flags, quiet ? VIRTIO_AVAIL_NO_INTERRUPT : 0,
                     __ATOMIC_RELAXED);
}

static void fill_rings(struct state *s)
{
    for (unsigned i = 0; i < s->rx.size; i++) {
        s->rx.ring->desc[i] = (struct virtio_desc){(uintptr_t)nic_buffer(s->rx.buffers, i),
                                                   NIC_BUFFER, VIRTIO_DESC_DEVICE_WRITES, 0};
        lend(&s->rx, i);
    }
    for (unsigned i = 0; i < s->tx.size; i++)
        s->tx.ring->desc[i].address = (uintptr_t)nic_buffer(s->tx.buffers, i);
    /* What was sent is taken back when more is sent. */
    s->tx.ring->avail_flags = VIRTIO_AVAIL_NO_INTERRUPT;
    set_quiet(s, true);
}

static bool has_vector(const struct nic *n)
{
    return n->irq == ARCH_IRQ_MSIX;
}

static int start(struct nic *n, void *memory)
{
    struct state *s = state(n);
    uint32_t vector = has_vector(n) ? 0 : VIRTIO_NO_VECTOR;

    s->rx.ring = memory;
    s->tx.ring = (struct virtio_ring *)(void *)((uint8_t *)memory + VIRTIO_NIC_RING);
    s->rx.buffers = (uint8_t *)memory + 2 * VIRTIO_NIC_RING;
    s->tx.buffers = nic_buffer(s->rx.buffers, VIRTIO_NIC_RX_COUNT);
    if (negotiate(n))
        return -E_IO;
    put(n, VIRTIO_CONFIG_VECTOR, 2, vector);
    if (start_queue(n, &s->rx, RX, VIRTIO_NIC_RX_COUNT, vector) ||
        start_queue(n, &s->tx, TX, VIRTIO_NIC_TX_COUNT, VIRTIO_NO_VECTOR)) {
        (void)reset(n);
        return -E_IO;
    }
    fill_rings(s);
    /* Last: the card clears DRIVER_OK, for good, if it is no bus master. */
    put(n, VIRTIO_STATUS, 1, get(n, VIRTIO_STATUS, 1) | VIRTIO_DRIVER_OK);
    publish(n, &s->rx);
    return 0;
}

static void listen(struct nic *n)
{
    set_quiet(state(n), false);
}

/* One MSI-X entry is for both: if no frame waits, it may have been for the link. */
static uint32_t interrupt(struct nic *n)
{
    struct state *s = state(n);
    uint32_t events;

    if (has_vector(n)) {
        events = used(&s->rx) ? NIC_EVENT_FRAMES : NIC_EVENT_FRAMES | NIC_EVENT_LINK;
    } else {
        uint32_t isr = read_at(n, VIRTIO_ISR_STATUS, 0, 1);

        events = (isr & ISR_QUEUE ? NIC_EVENT_FRAMES : 0) |
                 (isr & ISR_CONFIGURATION ? NIC_EVENT_LINK : 0);
    }
    if (events & NIC_EVENT_FRAMES)
        set_quiet(s, true);
    return events;
}

static void take_frame(struct nic *n, struct queue *q)
{
    uint32_t length;
    int id = take_used(q, &length);

    if (id < 0) {
        n->rx_dropped++;
        return;
    }
    nic_take(n, true, nic_buffer(q->buffers, (unsigned)id), VIRTIO_NIC_HEADER, length);
    lend(q, (unsigned)id);
}

/* Wants an interrupt for the next frame. True if there is one already. */
static bool listen_again(struct state *s)
{
    set_quiet(s, false);
    /* The card writes the index and then looks at the flag; here it is the other way round. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!used(&s->rx))
        return false;
    set_quiet(s, true);
    return true;
}

static unsigned receive(struct nic *n, unsigned budget)
{
    struct state *s = state(n);
    unsigned done = 0;

    do
        for (; done < budget && used(&s->rx); done++)
            take_frame(n, &s->rx);
    while (done < budget && s->quiet && listen_again(s));
    if (done)
        publish(n, &s->rx);
    return done;
}

/* Takes back what was sent. */
static void reclaim(struct queue *q)
{
    uint32_t length;

    for (unsigned n = used(q); n; n--)
        (void)take_used(q, &length);
}

/* A descriptor that the card does not have, or -1. */
static int find_free(const struct queue *q)
{
    for (unsigned i = 0; i < q->size; i += 64) {
        uint64_t free = ~q->lent[i / 64];

        if (q->size - i < 64)
            free &= (1ull << (q->size - i)) - 1;
        if (free)
            return (int)i + __builtin_ctzll(free);
    }
    return -1;
}

static bool send(struct nic *n, const uint8_t *frame, size_t len)
{
    struct queue *q = &state(n)->tx;
    int id;

    reclaim(q);
    id = find_free(q);
    if (id < 0)
        return false;
    /* The header stays zero: nothing is left to the card. */
    memcpy(nic_buffer(q->buffers, (unsigned)id) + VIRTIO_NIC_HEADER, frame, len);
    q->ring->desc[id].length = (uint32_t)len + VIRTIO_NIC_HEADER;
    lend(q, (unsigned)id);
    publish(n, q);
    return true;
}

static struct nic_link link(struct nic *n)
{
    bool up =
        !state(n)->link_known || (read_at(n, VIRTIO_DEVICE_CONFIG, CONFIG_STATUS, 2) & STATUS_LINK);

    return (struct nic_link){.up = up, .full_duplex = true};
}

static const struct nic_id ids[] = {
    {0x10411af4, "virtio-net"},
    {0x10001af4, "virtio-net (transitional)"},
    {0, NULL},
};

const struct nic_driver virtio_nic_driver = {
    .name = "virtio-net",
    .ids = ids,
    .memory = VIRTIO_NIC_MEMORY,
    .probe = probe,
    .start = start,
    .listen = listen,
    .interrupt = interrupt,
    .receive = receive,
    .send = send,
    .link = link,
};
