#include "net/intel.h"

#include "hv/lib.h"

#define EERD_GO        (1u << 0)
#define EERD_DATA      16u /* shift */
#define TX_EOP_IFCS_RS 0x0bu
/* No register may be touched for a microsecond after a reset. A PAUSE takes at least a cycle. */
#define SETTLE_LOOPS   10000u
#define MTA_WORDS      128u
#define VLAN_ETHERTYPE 0x8100u

int intel_await(const struct nic *n, uint32_t reg, uint32_t bits, uint32_t wanted)
{
    for (unsigned i = 0; i < INTEL_WAIT_LOOPS; i++)
        if ((intel_get(n, reg) & bits) == wanted)
            return 0;
    return -E_IO;
}

void intel_quieten(const struct nic *n)
{
    intel_put(n, INTEL_IMC, UINT32_MAX);
    intel_put(n, INTEL_RCTL, 0);
    intel_put(n, INTEL_TCTL, 0);
}

int intel_reset(struct nic *n)
{
    intel_quieten(n);
    intel_put(n, INTEL_CTRL, intel_get(n, INTEL_CTRL) | INTEL_CTRL_RST);
    for (unsigned i = 0; i < SETTLE_LOOPS; i++)
        __builtin_ia32_pause();
    if (intel_await(n, INTEL_CTRL, INTEL_CTRL_RST, 0))
        return -E_IO;
    intel_quieten(n); /* some cards keep their registers */
    (void)intel_get(n, INTEL_ICR);
    return 0;
}

/* A word of the EEPROM, or -E_IO. */
static int read_eeprom(const struct nic *n, const struct intel_eerd *e, unsigned word)
{
    intel_put(n, INTEL_EERD, EERD_GO | word << e->address);
    for (unsigned i = 0; i < INTEL_WAIT_LOOPS; i++) {
        uint32_t v = intel_get(n, INTEL_EERD);

        if (v == UINT32_MAX)
            break; /* no device */
        if (v & e->done)
            return (int)(v >> EERD_DATA);
    }
    return -E_IO;
}

int intel_read_mac(struct nic *n, const struct intel_eerd *eerd)
{
    uint64_t v = intel_get(n, INTEL_RAL0) | (uint64_t)intel_get(n, INTEL_RAH0) << 32;

    for (unsigned i = 0; i < sizeof(n->mac); i++)
        n->mac[i] = (uint8_t)(v >> 8 * i);
    if (nic_mac_is_good(n->mac))
        return 0;
    for (unsigned i = 0; eerd && i < sizeof(n->mac) / 2; i++) {
        int word = read_eeprom(n, eerd, i);

        if (word < 0)
            return word;
        n->mac[2 * i] = (uint8_t)word;
        n->mac[2 * i + 1] = (uint8_t)(word >> 8);
    }
    return nic_mac_is_good(n->mac) ? 0 : -E_IO;
}

/* NULL: it hears none. */
static void write_filter(const struct nic *n, uint32_t i, const uint8_t *m)
{
    /* Invalid while it is changed. */
    intel_put(n, INTEL_RAH0 + 8 * i, 0);
    if (!m)
        return;
    intel_put(n, INTEL_RAL0 + 8 * i, get_le32(m));
    intel_put(n, INTEL_RAH0 + 8 * i, get_le16(m + 4) | INTEL_RAH_VALID);
}

uint32_t intel_write_filters(const struct nic *n, unsigned filters)
{
    for (uint32_t i = 0; i < filters; i++)
        write_filter(n, i, i < n->hear_count ? n->hears[i] : NULL);
    for (uint32_t i = 0; i < MTA_WORDS; i++)
        intel_put(n, INTEL_MTA + 4 * i, 0);
    return INTEL_RCTL_BAM | INTEL_RCTL_MPE | (n->hear_count > filters ? INTEL_RCTL_UPE : 0);
}

void intel_lay_out(struct intel *i, void *memory)
{
    uint8_t *at = memory;

    *i = (struct intel){.rx = memory};
    at += sizeof(i->rx[0]) * INTEL_RX_COUNT;
    i->tx = (struct intel_tx_desc *)(void *)at;
    at += sizeof(i->tx[0]) * INTEL_TX_COUNT;
    i->rx_buffers = at;
    i->tx_buffers = nic_buffer(at, INTEL_RX_COUNT);
}

/* Offsets from RDBAL and TDBAL are the same. */
static void write_ring(const struct nic *n, uint32_t reg, const void *ring, uint32_t bytes)
{
    uint64_t base = (uintptr_t)ring;

    intel_put(n, reg, (uint32_t)base);
    intel_put(n, reg + INTEL_RDBAH - INTEL_RDBAL, (uint32_t)(base >> 32));
    intel_put(n, reg + INTEL_RDLEN - INTEL_RDBAL, bytes);
    intel_put(n, reg + INTEL_RDH - INTEL_RDBAL, 0);
    intel_put(n, reg + INTEL_RDT - INTEL_RDBAL, 0);
}

void intel_write_rings(const struct nic *n, const struct intel *i, uint32_t rx, uint32_t tx)
{
    write_ring(n, rx, i->rx, INTEL_RX_COUNT * sizeof(i->rx[0]));
    write_ring(n, tx, i->tx, INTEL_TX_COUNT * sizeof(i->tx[0]));
    intel_put(n, INTEL_VET, VLAN_ETHERTYPE);
}

struct nic_link intel_link(struct nic *n)
{
    static const uint16_t mbits[] = {10, 100, 1000, 1000};
    uint32_t status = intel_get(n, INTEL_STATUS);

    if (!(status & INTEL_STATUS_LU) || status == UINT32_MAX)
        return (struct nic_link){.up = false};
    return (struct nic_link){true, status & INTEL_STATUS_FD,
                             mbits[status >> INTEL_STATUS_SPEED & 3]};
}

void intel_fill(struct intel *i)
{
    for (unsigned k = 0; k < INTEL_RX_COUNT; k++)
        i->rx[k].address = (uintptr_t)nic_buffer(i->rx_buffers, k);
    for (unsigned k = 0; k < INTEL_TX_COUNT; k++) {
        i->tx[k].address = (uintptr_t)nic_buffer(i->tx_buffers, k);
        i->tx[k].status = INTEL_TX_DONE;
    }
}

void intel_take(struct nic *n, bool last, bool wrong, uint16_t length)
{
    struct intel *i = intel_rings(n);

    nic_take(n, last && !i->rx_skip && !wrong, nic_buffer(i->rx_buffers, i->rx_next), 0, length);
    i->rx_skip = !last;
    i->rx_next = (i->rx_next + 1) % INTEL_RX_COUNT;
}

unsigned intel_receive(struct nic *n, unsigned budget)
{
    struct intel *i = intel_rings(n);
    unsigned done = 0;

    for (; done < budget; done++) {
        struct intel_rx_desc *d = &i->rx[i->rx_next];
        uint8_t status = __atomic_load_n(&d->status, __ATOMIC_ACQUIRE);
        /* Once: the card can still write to it. */
        uint16_t length = *(volatile uint16_t *)&d->length;

        if (!(status & INTEL_RX_DONE))
            break;
        intel_take(n, status & INTEL_RX_EOP, d->errors, length);
        d->status = 0;
    }
    /* The tail is the last descriptor given, one before the next to be read. */
    if (done)
        intel_put(n, INTEL_RDT, (i->rx_next + INTEL_RX_COUNT - 1) % INTEL_RX_COUNT);
    return done;
}

static bool sent(const struct intel_tx_desc *d)
{
    return __atomic_load_n(&d->status, __ATOMIC_ACQUIRE) & INTEL_TX_DONE;
}

bool intel_send(struct nic *n, const uint8_t *frame, size_t len)
{
    struct intel *i = intel_rings(n);
    struct intel_tx_desc *d = &i->tx[i->tx_next];
    uint32_t next = (i->tx_next + 1) % INTEL_TX_COUNT;

    /* One descriptor stays free: the card takes a tail equal to the head for an empty ring, and
     * would stop for good. */
    if (!sent(d) || !sent(&i->tx[next]))
        return false;
    memcpy(nic_buffer(i->tx_buffers, i->tx_next), frame, len);
    d->length = (uint16_t)len;
    d->command = TX_EOP_IFCS_RS;
    d->status = 0;
    i->tx_next = next;
    intel_put(n, INTEL_TDT, next);
    return true;
}
