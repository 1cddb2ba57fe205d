#include "net/intel_adv.h"

#include "hv/lib.h"

#define CTRL_FRCSPD   (1u << 11)
#define CTRL_FRCDPX   (1u << 12)
#define CTRL_VME      (1u << 30)
#define TCTL_CT_MASK  (0xffu << 4)
#define TCTL_CT       (15u << 4)
#define RX_INTERRUPTS (INTEL_INT_RXT0 | INTEL_INT_RXO)
#define BUFFER_KB     (NIC_BUFFER / 1024u)
#define FILTERS       16u
#define OTHER_CAUSES  8u /* shift, in IVAR_MISC */
#define ENTRY_0       1u /* in the extended interrupt registers */
/* No register may be touched for a millisecond after a reset. A PAUSE takes at least a cycle. */
#define SETTLE_LOOPS  1000000u

struct state {
    struct intel rings; /* the first member */
    const struct intel_adv_causes *causes;
};
_Static_assert(sizeof(struct state) <= NIC_STATE_SIZE, "the driver's state");

static const struct intel_adv_causes *causes(const struct nic *n)
{
    return ((const struct state *)(const void *)n->state)->causes;
}

static struct intel_adv_rx_desc *rx_ring(const struct intel *i)
{
    return (struct intel_adv_rx_desc *)(void *)i->rx;
}

static struct intel_adv_tx_desc *tx_ring(const struct intel *i)
{
    return (struct intel_adv_tx_desc *)(void *)i->tx;
}

static void quieten(const struct nic *n)
{
    intel_put(n, ADV_EIMC, UINT32_MAX);
    intel_put(n, causes(n)->imc, UINT32_MAX);
    intel_put(n, INTEL_RCTL, 0);
    intel_put(n, INTEL_TCTL, INTEL_TCTL_PSP);
}

static int reset(const struct nic *n)
{
    quieten(n);
    intel_put(n, INTEL_CTRL, intel_get(n, INTEL_CTRL) | INTEL_CTRL_RST);
    for (unsigned i = 0; i < SETTLE_LOOPS; i++)
        __builtin_ia32_pause();
    if (intel_await(n, INTEL_CTRL, INTEL_CTRL_RST, 0))
        return -E_IO;
    /* It reads its address from the EEPROM now. One without EEPROM never says that it has, and may
     * have an address all the same. */
    (void)intel_await(n, ADV_EECD, ADV_EECD_AUTO_RD, ADV_EECD_AUTO_RD);
    quieten(n); /* some cards keep their registers */
    (void)intel_get(n, causes(n)->icr);
    return 0;
}

int intel_adv_probe(struct nic *n, const struct intel_adv_causes *c)
{
    int rc = n->bus.map(n->bus.ctx, 0, INTEL_REGISTERS);

    ((struct state *)(void *)n->state)->causes = c;
    if (rc == 0)
        rc = reset(n);
    return rc ? rc : intel_read_mac(n, NULL);
}

static void give(const struct intel *i, uint32_t at)
{
    struct intel_adv_rx_desc *d = &rx_ring(i)[at];

    d->address = (uintptr_t)nic_buffer(i->rx_buffers, at);
    d->status = 0;
    d->length = d->vlan = 0;
}

static int enable_queue(const struct nic *n, uint32_t reg)
{
    intel_put(n, reg, intel_get(n, reg) | ADV_QUEUE_ENABLE);
    return intel_await(n, reg, ADV_QUEUE_ENABLE, ADV_QUEUE_ENABLE);
}

/* Which interrupt queue 0 and all other causes have. */
static void route_interrupts(const struct nic *n)
{
    bool msix = n->irq == ARCH_IRQ_MSIX;

    intel_put(n, ADV_GPIE, ADV_GPIE_NSICR | (msix ? ADV_GPIE_MSIX | ADV_GPIE_PBA : 0));
    intel_put(n, ADV_IVAR0, ADV_IVAR_VALID); /* received frames */
    intel_put(n, ADV_IVAR_MISC, ADV_IVAR_VALID << OTHER_CAUSES);
    intel_put(n, ADV_EIAC, msix ? ENTRY_0 : 0);
    intel_put(n, ADV_EITR0, INTEL_ITR_INTERVAL); /* in its units, too */
}

static void lay_out(struct intel *i, void *memory)
{
    intel_lay_out(i, memory);
    for (uint32_t k = 0; k < INTEL_RX_COUNT; k++)
        give(i, k);
    for (uint32_t k = 0; k < INTEL_TX_COUNT; k++)
        tx_ring(i)[k].status = ADV_TX_DONE;
}

int intel_adv_start(struct nic *n, void *memory)
{
    struct intel *i = intel_rings(n);
    uint32_t receive;

    if (reset(n))
        return -E_IO;
    lay_out(i, memory);
    intel_put(n, INTEL_CTRL_EXT, intel_get(n, INTEL_CTRL_EXT) | ADV_CTRL_EXT_LOADED);
    intel_put(n, INTEL_CTRL,
              (intel_get(n, INTEL_CTRL) & ~(CTRL_FRCSPD | CTRL_FRCDPX | CTRL_VME)) |
                  INTEL_CTRL_SLU);
    receive = intel_write_filters(n, FILTERS);
    route_interrupts(n);
    intel_put(n, ADV_MRQC, 0);
    intel_put(n, ADV_RXCSUM, 0);
    intel_put(n, ADV_SRRCTL, BUFFER_KB | ADV_SRRCTL_ADVANCED);
    intel_write_rings(n, i, ADV_RDBAL, ADV_TDBAL);
    intel_put(n, INTEL_TCTL,
              (intel_get(n, INTEL_TCTL) & ~TCTL_CT_MASK) | INTEL_TCTL_EN | INTEL_TCTL_PSP |
                  TCTL_CT);
    if (enable_queue(n, ADV_TXDCTL) || enable_queue(n, ADV_RXDCTL)) {
        (void)reset(n);
        return -E_IO;
    }
    intel_put(n, ADV_RDT, INTEL_RX_COUNT - 1); /* of an enabled queue only */
    intel_put(n, INTEL_RCTL, INTEL_RCTL_EN | INTEL_RCTL_SECRC | receive);
    return 0;
}

void intel_adv_listen(struct nic *n)
{
    if (n->irq == ARCH_IRQ_MSIX) {
        intel_put(n, causes(n)->ims, INTEL_INT_LSC);
        intel_put(n, ADV_EIMS, ENTRY_0);
        intel_put(n, ADV_EICS, ENTRY_0);
    } else {
        intel_put(n, causes(n)->ims, RX_INTERRUPTS | INTEL_INT_LSC);
        intel_put(n, causes(n)->ics, INTEL_INT_LSC);
    }
}

/* An MSI-X entry is nobody else's, and clears what it was for; ICR still tells about the link. */
uint32_t intel_adv_interrupt(struct nic *n)
{
    uint32_t cause = intel_get(n, causes(n)->icr), events = 0;

    if (cause == UINT32_MAX) /* the card has gone */
        return 0;
    if (n->irq == ARCH_IRQ_MSIX || (cause & ~INTEL_INT_LSC))
        events = NIC_EVENT_FRAMES;
    return events | (cause & INTEL_INT_LSC ? NIC_EVENT_LINK : 0);
}

unsigned intel_adv_receive(struct nic *n, unsigned budget)
{
    struct intel *i = intel_rings(n);
    unsigned done = 0;

    for (; done < budget; done++) {
        uint32_t at = i->rx_next;
        struct intel_adv_rx_desc *d = &rx_ring(i)[at];
        uint32_t status = __atomic_load_n(&d->status, __ATOMIC_ACQUIRE);
        /* Once: the card can still write to it. */
        uint16_t length = *(volatile uint16_t *)&d->length;

        if (!(status & ADV_RX_DONE))
            break;
        intel_take(n, status & ADV_RX_EOP, status & ADV_RX_ERROR, length);
        give(i, at);
    }
    /* The tail is the last descriptor given, one before the next to be read. */
    if (done)
        intel_put(n, ADV_RDT, (i->rx_next + INTEL_RX_COUNT - 1) % INTEL_RX_COUNT);
    return done;
}

static bool sent(const struct intel_adv_tx_desc *d)
{
    return __atomic_load_n(&d->status, __ATOMIC_ACQUIRE) & ADV_TX_DONE;
}

bool intel_adv_send(struct nic *n, const uint8_t *frame, size_t len)
{
    struct intel *i = intel_rings(n);
    struct intel_adv_tx_desc *d = &tx_ring(i)[i->tx_next];
    uint32_t next = (i->tx_next + 1) % INTEL_TX_COUNT;
    uint8_t *buffer = nic_buffer(i->tx_buffers, i->tx_next);

    /* One descriptor stays free, as in intel_send(). */
    if (!sent(d) || !sent(&tx_ring(i)[next]))
        return false;
    memcpy(buffer, frame, len);
    d->address = (uintptr_t)buffer;
    d->command = (uint32_t)len | ADV_TX_DATA | ADV_TX_EOP | ADV_TX_IFCS | ADV_TX_RS | ADV_TX_DEXT;
    d->status = (uint32_t)len << ADV_TX_LENGTH;
    i->tx_next = next;
    intel_put(n, ADV_TDT, next);
    return true;
}
