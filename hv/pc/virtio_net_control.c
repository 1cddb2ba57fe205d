/* virtio-net's control queue: a command is copied out whole, then obeyed. */
#include "hv/lib.h"
#include "hv/pc/virtio_net.h"

/* Virtio 1.2, "Control Virtqueue": class, command, what belongs to it; then the answer. */
#define HEADER 2u

enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_PAIRS = 4, CLASS_OFFLOADS = 5 };

enum { ANSWER_OK, ANSWER_ERR };
enum { RX_PROMISC, RX_ALLMULTI, RX_COMMANDS }; /* each has a byte: on or off */
enum { MAC_TABLE_SET };                        /* two tables: a 32-bit count, and addresses */
enum { PAIRS_SET };                            /* 16 bits: how many receive */
enum { OFFLOADS_SET };                         /* 64 bits: of the features that were taken */

#define ADDRESS   6u
#define UNLIMITED (1u << RX_PROMISC | 1u << RX_ALLMULTI)
#define ALL       UINT64_MAX

_Static_assert(VIRTIO_NET_COMMAND == HEADER + 2 * sizeof(uint32_t) + ADDRESS * VIRTIO_NET_ADDRESSES,
               "a full table fits");

/* ---- commands ---- */

static void apply(struct virtio_net *d)
{
    static const uint8_t broadcast[ADDRESS] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const struct virtio_net_control *c = &d->control;
    uint64_t groups = c->modes & UNLIMITED ? ALL : c->table | virtio_net_group(broadcast);

    __atomic_store_n(&d->groups, groups, __ATOMIC_RELAXED);
}

static bool set_mode(struct virtio_net *d, uint8_t mode, size_t len)
{
    struct virtio_net_control *c = &d->control;
    uint8_t bit;

    if (mode >= RX_COMMANDS || len != HEADER + 1)
        return false;
    bit = (uint8_t)(1u << mode);
    c->modes = c->command[HEADER] ? c->modes | bit : c->modes & (uint8_t)~bit;
    apply(d);
    return true;
}

/* Adds the table of addresses at `at` to `groups`; returns its end, NULL: it has none. */
static const uint8_t *take_table(const uint8_t *at, const uint8_t *end, uint64_t *groups)
{
    uint32_t count;

    if ((size_t)(end - at) < sizeof(count))
        return NULL;
    memcpy(&count, at, sizeof(count));
    at += sizeof(count);
    if (count > (size_t)(end - at) / ADDRESS)
        return NULL;
    for (; count; count--, at += ADDRESS)
        *groups |= virtio_net_group(at);
    return at;
}

/* A table with more addresses than fit lets all through. */
static bool set_table(struct virtio_net *d, size_t len)
{
    struct virtio_net_control *c = &d->control;
    const uint8_t *at = c->command + HEADER, *end = c->command + len;
    uint64_t cards = 0, groups = 0;

    if (!c->too_long) {
        at = take_table(at, end, &cards);
        at = at ? take_table(at, end, &groups) : NULL;
        if (at != end)
            return false;
    }
    c->table = c->too_long ? ALL : groups;
    apply(d);
    return true;
}

static bool set_offloads(struct virtio_net *d, size_t len)
{
    uint64_t taken = d->virtio.driver_features & VIRTIO_NET_F_GUEST_ALL, offloads;

    if (len != HEADER + sizeof(offloads))
        return false;
    memcpy(&offloads, d->control.command + HEADER, sizeof(offloads));
    if (offloads & ~taken)
        return false;
    virtio_net_rx_take(d, offloads);
    return true;
}

static bool set_pairs(struct virtio_net *d, size_t len)
{
    uint16_t pairs;

    if (len != HEADER + sizeof(pairs))
        return false;
    memcpy(&pairs, d->control.command + HEADER, sizeof(pairs));
    if (pairs == 0 || pairs > d->config.queue_pairs)
        return false;
    virtio_net_rx_pairs(d, pairs);
    return true;
}

static bool obey(struct virtio_net *d)
{
    struct virtio_net_control *c = &d->control;
    uint8_t number = c->command[1];
    size_t len = c->chain.done;
    bool receives = virtio_has(&d->virtio, VIRTIO_NET_F_CTRL_RX);

    if (c->chain.bad || len < HEADER)
        return false;
    switch (c->command[0]) {
    case CLASS_RX:
        return receives && !c->too_long && set_mode(d, number, len);
    case CLASS_MAC:
        return receives && number == MAC_TABLE_SET && set_table(d, len);
    case CLASS_PAIRS:
        return virtio_has(&d->virtio, VIRTIO_NET_F_MQ) && !c->too_long && number == PAIRS_SET &&
               set_pairs(d, len);
    case CLASS_OFFLOADS:
        return virtio_has(&d->virtio, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) && !c->too_long &&
               number == OFFLOADS_SET && set_offloads(d, len);
    default:
        return false;
    }
}

/* ---- chains ---- */

/* All of a piece. */
static void take_piece(struct virtio_net *d, struct virtio_net_control *c)
{
    struct virtio_net_chain *w = &c->chain;
    size_t n = min_u64(w->piece.length, sizeof(c->command) - w->done);

    w->at = w->piece.length;
    if (w->piece.writable) {
        c->answer_at = c->answerable ? c->answer_at : w->piece.address;
        c->answerable = true;
        return;
    }
    c->too_long |= n < w->piece.length;
    w->bad |= c->answerable || gmem_read(d->virtio.mem, w->piece.address, c->command + w->done, n);
    w->done += n;
}

/* A command without room for its answer is none. */
static void finish(struct virtio_net *d, struct virtio_net_control *c)
{
    uint8_t answer = ANSWER_ERR;
    uint32_t written = 0;

    if (c->answerable && obey(d))
        answer = ANSWER_OK;
    if (c->answerable)
        written = gmem_write(d->virtio.mem, c->answer_at, &answer, 1) == 0;
    c->chain.open = false;
    virtqueue_done(c->queue, d->virtio.mem, c->chain.chain.head, written);
    (void)virtqueue_listen(c->queue, d->virtio.mem);
    virtio_used(&d->virtio, (unsigned)(c->queue - d->virtio.queues));
}

void virtio_net_control_work(struct virtio_net *d)
{
    struct virtio_net_control *c = &d->control;
    struct virtio_net_budget b = {VIRTIO_NET_WORK, VIRTIO_NET_BYTES};
    int rc;

    if (c->chain.open && virtio_net_ends(&c->chain)) {
        finish(d, c);
        return;
    }
    if (!c->chain.open)
        c->answerable = c->too_long = false;
    rc = virtio_net_open(d, c->queue, &c->chain);
    while (rc == 1) {
        rc = virtio_net_piece(d, c->queue, &c->chain, &b);
        if (rc == 1)
            take_piece(d, c);
    }
    if (rc < 0)
        virtio_fail(&d->virtio);
}

/* Until the driver says otherwise it gets everything, as from other devices: drivers that never say
 * anything rely on it. */
void virtio_net_control_forget(struct virtio_net *d)
{
    struct virtio_net_control *c = &d->control;

    c->queue = &d->virtio.queues[VIRTIO_NET_CONTROL];
    c->chain.open = false;
    c->table = 0;
    c->modes = 1u << RX_PROMISC;
    apply(d);
}
