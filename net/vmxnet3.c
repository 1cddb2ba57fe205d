/* The driver of VMware's paravirtual card: one queue in each direction, no offloads. */
#include "net/vmxnet3.h"

#include "hv/lib.h"

#define QUEUES 0u /* BARs */
#define CARD   1u
#define MTU    1500u

struct state {
    struct vmxnet3_memory *memory;
    /* Descriptors given to the card, and completions taken, since the start. */
    uint32_t rx_given, rx_taken, tx_given, tx_taken;
    /* The interrupt is masked, since receive() is to come: one for all frames that arrive until
     * then, so a flood cannot make guests exit faster. */
    bool quiet;
};
_Static_assert(sizeof(struct state) <= NIC_STATE_SIZE, "fits");

static struct state *state(struct nic *n)
{
    return (struct state *)(void *)n->state;
}

static void put(const struct nic *n, uint32_t reg, uint32_t value)
{
    nic_write(n, CARD, reg, 4, value);
}

static uint32_t command(const struct nic *n, uint32_t c)
{
    put(n, VMXNET3_CMD, c);
    return nic_read(n, CARD, VMXNET3_CMD, 4);
}

static void mask(const struct nic *n, bool masked)
{
    nic_write(n, QUEUES, VMXNET3_IMR, 4, masked);
}

static int reset(const struct nic *n)
{
    mask(n, true);
    (void)command(n, VMXNET3_QUIESCE_DEV);
    return command(n, VMXNET3_RESET_DEV) ? -E_IO : 0;
}

static int probe(struct nic *n)
{
    int rc = n->bus.map(n->bus.ctx, QUEUES, VMXNET3_REGISTERS);
    uint64_t mac;

    if (rc == 0)
        rc = n->bus.map(n->bus.ctx, CARD, VMXNET3_REGISTERS);
    if (rc)
        return rc;
    if (!(nic_read(n, CARD, VMXNET3_VRRS, 4) & nic_read(n, CARD, VMXNET3_UVRS, 4) &
          VMXNET3_VERSION_1))
        return -E_IO;
    put(n, VMXNET3_VRRS, VMXNET3_VERSION_1);
    put(n, VMXNET3_UVRS, VMXNET3_VERSION_1);
    if (reset(n))
        return -E_IO;
    mac = command(n, VMXNET3_GET_PERM_MAC_LO);
    mac |= (uint64_t)command(n, VMXNET3_GET_PERM_MAC_HI) << 32;
    memcpy(n->mac, &mac, sizeof(n->mac));
    return nic_mac_is_good(n->mac) ? 0 : -E_IO;
}

/* It has one filter, for its own address. */
static uint32_t rx_mode(const struct nic *n)
{
    uint32_t mode = VMXNET3_RXM_UCAST | VMXNET3_RXM_BCAST | VMXNET3_RXM_ALL_MULTI;

    for (unsigned i = 0; i < n->hear_count; i++)
        if (memcmp(n->hears[i], n->mac, sizeof(n->mac)) != 0)
            mode |= VMXNET3_RXM_PROMISC;
    return mode;
}

/* What was sent is taken back when more is sent. The card raises an interrupt for it all the same:
 * with MSI-X one of its own, which stays masked. */
static void describe(const struct nic *n, struct vmxnet3_memory *m)
{
    bool msix = n->irq == ARCH_IRQ_MSIX;

    m->tx_queue.ring = (uintptr_t)m->tx;
    m->tx_queue.size = m->tx_queue.done_size = VMXNET3_TX_COUNT;
    m->tx_queue.done_ring = (uintptr_t)m->tx_done;
    m->tx_queue.interrupt = msix;
    m->rx_queue.ring = (uintptr_t)m->rx;
    m->rx_queue.size = m->rx_queue.done_size = VMXNET3_RX_COUNT;
    m->rx_queue.done_ring = (uintptr_t)m->rx_done;
    m->shared = (struct vmxnet3_shared){
        .magic = VMXNET3_MAGIC,
        .driver_version = 1,
        .system = VMXNET3_SYSTEM_64_BIT,
        .version = VMXNET3_VERSION_1,
        .upt_version = VMXNET3_VERSION_1,
        .queues = (uintptr_t)&m->tx_queue,
        .queues_size = sizeof(m->tx_queue) + sizeof(m->rx_queue),
        .mtu = MTU,
        .rx_descs = 1,
        .tx_queues = 1,
        .rx_queues = 1,
        .auto_mask = true,
        .interrupts = (uint8_t)(1 + msix),
        .moderation = {VMXNET3_ADAPTIVE, VMXNET3_ADAPTIVE},
        .interrupt_control = VMXNET3_IC_DISABLE_ALL,
        .rx_mode = rx_mode(n),
    };
    memset(m->shared.vlans, 0xff, sizeof(m->shared.vlans));
}

/* The generation bit of a ring's entry, by how many were before it. */
static uint32_t generation(uint32_t count, uint32_t size)
{
    return ~(count / size) & 1;
}

/* The card sees the whole entry once it sees the bit. */
static void give(struct vmxnet3_desc *ring, uint32_t size, uint32_t *given, uint32_t length,
                 unsigned bit)
{
    __atomic_store_n(&ring[*given % size].length, length | generation(*given, size) << bit,
                     __ATOMIC_RELEASE);
    ++*given;
}

static void give_rx(struct state *s)
{
    give(s->memory->rx, VMXNET3_RX_COUNT, &s->rx_given, NIC_BUFFER, VMXNET3_RX_GEN);
}

static bool is_done(const struct vmxnet3_done *ring, uint32_t size, uint32_t taken)
{
    return __atomic_load_n(&ring[taken % size].flags, __ATOMIC_ACQUIRE) >> VMXNET3_DONE_GEN ==
           generation(taken, size);
}

/* One descriptor stays free, between those given last and first. */
static void fill_rings(struct state *s, struct vmxnet3_memory *m)
{
    *s = (struct state){.memory = m, .quiet = true};
    for (unsigned i = 0; i < VMXNET3_RX_COUNT; i++)
        m->rx[i].address = (uintptr_t)m->rx_buffers[i];
    while (s->rx_given < VMXNET3_RX_COUNT - 1)
        give_rx(s);
    for (unsigned i = 0; i < VMXNET3_TX_COUNT; i++)
        m->tx[i] = (struct vmxnet3_desc){.address = (uintptr_t)m->tx_buffers[i],
                                         .flags = VMXNET3_TX_EOP | VMXNET3_TX_CQ};
}

static int start(struct nic *n, void *memory)
{
    struct state *s = state(n);

    describe(n, memory);
    fill_rings(s, memory);
    put(n, VMXNET3_DSAL, (uint32_t)(uintptr_t)&s->memory->shared);
    put(n, VMXNET3_DSAH, (uint32_t)((uintptr_t)&s->memory->shared >> 32));
    if (command(n, VMXNET3_ACTIVATE_DEV)) {
        (void)reset(n);
        return -E_IO;
    }
    nic_write(n, QUEUES, VMXNET3_RXPROD, 4, s->rx_given);
    return 0;
}

static void listen(struct nic *n)
{
    struct state *s = state(n);

    s->memory->shared.interrupt_control = 0;
    s->quiet = false;
    mask(n, false);
}

static uint32_t interrupt(struct nic *n)
{
    struct state *s = state(n);
    uint32_t events, cause;

    if (n->irq == ARCH_IRQ_LINE) {
        cause = nic_read(n, CARD, VMXNET3_ICR, 4);
        if (cause == 0 || cause == UINT32_MAX) /* the card has gone */
            return 0;
        mask(n, true); /* not every card masks a line itself */
    }
    s->quiet = true;
    events = __atomic_load_n(&s->memory->shared.events, __ATOMIC_RELAXED);
    if (events)
        put(n, VMXNET3_ECR, events);
    return NIC_EVENT_FRAMES | (events & VMXNET3_ECR_LINK ? NIC_EVENT_LINK : 0);
}

/* False: no frame has come. */
static bool take_frame(struct nic *n, struct state *s)
{
    struct vmxnet3_memory *m = s->memory;
    const volatile struct vmxnet3_done *d = &m->rx_done[s->rx_taken % VMXNET3_RX_COUNT];
    uint32_t what, length, index;

    if (!is_done(m->rx_done, VMXNET3_RX_COUNT, s->rx_taken))
        return false;
    s->rx_taken++;
    what = d->what; /* once: the card can still write to it */
    length = d->length;
    index = what & VMXNET3_DONE_INDEX;
    if (index >= VMXNET3_RX_COUNT || index == s->rx_given % VMXNET3_RX_COUNT) {
        n->rx_dropped++; /* a descriptor that it does not have */
        return true;
    }
    nic_take(n, (what & VMXNET3_DONE_FRAME) == VMXNET3_DONE_WHOLE && !(length & VMXNET3_DONE_ERROR),
             m->rx_buffers[index], 0, length & VMXNET3_DONE_LENGTH);
    do /* with those before it, if the card has passed over them */
        give_rx(s);
    while (s->rx_given % VMXNET3_RX_COUNT != index);
    return true;
}

static unsigned receive(struct nic *n, unsigned budget)
{
    struct state *s = state(n);
    unsigned done = 0;

    while (done < budget && take_frame(n, s))
        done++;
    if (done && __atomic_load_n(&s->memory->rx_queue.update_rxprod, __ATOMIC_RELAXED))
        nic_write(n, QUEUES, VMXNET3_RXPROD, 4, s->rx_given % VMXNET3_RX_COUNT);
    if (done < budget && s->quiet) {
        /* For what has come meanwhile, it raises one at once. */
        s->quiet = false;
        mask(n, false);
    }
    return done;
}

static bool send(struct nic *n, const uint8_t *frame, size_t len)
{
    struct state *s = state(n);
    struct vmxnet3_memory *m = s->memory;

    while (s->tx_taken != s->tx_given && is_done(m->tx_done, VMXNET3_TX_COUNT, s->tx_taken))
        s->tx_taken++;
    if (s->tx_given - s->tx_taken == VMXNET3_TX_COUNT - 1)
        return false;
    memcpy(m->tx_buffers[s->tx_given % VMXNET3_TX_COUNT], frame, len);
    give(m->tx, VMXNET3_TX_COUNT, &s->tx_given, (uint32_t)len, VMXNET3_TX_GEN);
    nic_write(n, QUEUES, VMXNET3_TXPROD, 4, s->tx_given % VMXNET3_TX_COUNT);
    return true;
}

static struct nic_link link(struct nic *n)
{
    uint32_t v = command(n, VMXNET3_GET_LINK);
    bool up = (v & VMXNET3_LINK_UP) && v != UINT32_MAX;

    return (struct nic_link){up, up, up ? v >> VMXNET3_LINK_SPEED : 0};
}

static const struct nic_id ids[] = {{0x07b015ad, "vmxnet3"}, {0, NULL}};

const struct nic_driver vmxnet3_driver = {
    .name = "vmxnet3",
    .ids = ids,
    .memory = sizeof(struct vmxnet3_memory),
    .probe = probe,
    .start = start,
    .listen = listen,
    .interrupt = interrupt,
    .receive = receive,
    .send = send,
    .link = link,
};
