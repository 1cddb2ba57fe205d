#include "net/e1000.h"

#include "hv/lib.h"

#define CTRL_LRST      (1u << 3)
#define CTRL_ASDE      (1u << 5)
#define CTRL_SLU       (1u << 6)
#define CTRL_ILOS      (1u << 7)
#define CTRL_VME       (1u << 30)
#define CTRL_PHY_RST   (1u << 31)
#define EERD_ADDRESS   8u  /* shift */
#define EERD_DATA      16u /* shift */
#define INT_LSC        (1u << 2)
#define INT_RXDMT0     (1u << 4)
#define INT_RXO        (1u << 6)
#define INT_RXT0       (1u << 7)
#define RCTL_EN        (1u << 1)
#define RCTL_UPE       (1u << 3)
#define RCTL_MPE       (1u << 4)
#define RCTL_BAM       (1u << 15)
#define RCTL_SECRC     (1u << 26)
#define TCTL_EN        (1u << 1)
#define TCTL_PSP       (1u << 3)
#define TCTL_CT        (15u << 4)
#define TCTL_COLD      (64u << 12)
#define TIPG_COPPER    (10u | 8u << 10 | 6u << 20)
#define TX_EOP_IFCS_RS 0x0bu
/* At most one interrupt per this many 256 ns: 4000 a second, so a flood cannot make guests exit
 * faster. */
#define ITR_INTERVAL   976u
#define WAIT_LOOPS     100000u
/* No register may be touched for a microsecond after a reset. A PAUSE takes at least a cycle. */
#define SETTLE_LOOPS   10000u
#define MTA_WORDS      128u

static uint32_t get(const struct e1000 *e, uint32_t reg)
{
    return e->bus.read(e->bus.ctx, reg);
}

/* Earlier memory writes become visible to the card before the register write: x86 keeps the order,
 * and the compiler must too. */
static void put(const struct e1000 *e, uint32_t reg, uint32_t value)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
    e->bus.write(e->bus.ctx, reg, value);
}

static int reset(struct e1000 *e)
{
    put(e, E1000_IMC, UINT32_MAX);
    put(e, E1000_RCTL, 0);
    put(e, E1000_TCTL, 0);
    put(e, E1000_CTRL, get(e, E1000_CTRL) | E1000_CTRL_RST);
    for (unsigned i = 0; i < SETTLE_LOOPS; i++)
        __builtin_ia32_pause();
    for (unsigned i = 0; i < WAIT_LOOPS; i++) {
        if (get(e, E1000_CTRL) & E1000_CTRL_RST)
            continue;
        put(e, E1000_IMC, UINT32_MAX);
        (void)get(e, E1000_ICR);
        return 0;
    }
    return -E_IO;
}

/* A word of the EEPROM, or -E_IO. */
static int read_eeprom(struct e1000 *e, unsigned word)
{
    put(e, E1000_EERD, E1000_EERD_GO | word << EERD_ADDRESS);
    for (unsigned i = 0; i < WAIT_LOOPS; i++) {
        uint32_t v = get(e, E1000_EERD);

        if (v == UINT32_MAX)
            break; /* no device */
        if (v & E1000_EERD_DONE)
            return (int)(v >> EERD_DATA);
    }
    return -E_IO;
}

static bool mac_from_eeprom(struct e1000 *e)
{
    for (unsigned i = 0; i < 3; i++) {
        int word = read_eeprom(e, i);

        if (word < 0)
            return false;
        e->mac[2 * i] = (uint8_t)word;
        e->mac[2 * i + 1] = (uint8_t)(word >> 8);
    }
    return true;
}

static void mac_from_registers(struct e1000 *e)
{
    uint64_t v = get(e, E1000_RAL0) | (uint64_t)get(e, E1000_RAH0) << 32;

    for (unsigned i = 0; i < sizeof(e->mac); i++)
        e->mac[i] = (uint8_t)(v >> 8 * i);
}

/* After a reset the receive address registers may read 0 (Bochs); the EEPROM has the address. The
 * 82543 has no EERD register, and its receive address is right. */
static int read_mac(struct e1000 *e)
{
    static const uint8_t none[sizeof(e->mac)] = {0};

    if (!mac_from_eeprom(e))
        mac_from_registers(e);
    return memcmp(e->mac, none, sizeof(none)) == 0 || (e->mac[0] & 1) ? -E_IO : 0;
}

int e1000_read_address(const struct e1000_bus *bus, uint8_t mac[6])
{
    struct e1000 e = {.bus = *bus};
    int rc = reset(&e);

    if (rc == 0)
        rc = read_mac(&e);
    memcpy(mac, e.mac, sizeof(e.mac));
    return rc;
}

static void write_mac(struct e1000 *e)
{
    const uint8_t *m = e->mac;

    put(e, E1000_RAL0, m[0] | (uint32_t)m[1] << 8 | (uint32_t)m[2] << 16 | (uint32_t)m[3] << 24);
    put(e, E1000_RAH0, m[4] | (uint32_t)m[5] << 8 | E1000_RAH_VALID);
    for (uint32_t i = 0; i < MTA_WORDS; i++)
        put(e, E1000_MTA + 4 * i, 0);
}

static void start_rx(struct e1000 *e)
{
    uint64_t base = (uintptr_t)e->rx;

    for (unsigned i = 0; i < E1000_RX_COUNT; i++)
        e->rx[i].address = (uintptr_t)(e->rx_buffers + (size_t)i * E1000_BUFFER);
    put(e, E1000_RDBAL, (uint32_t)base);
    put(e, E1000_RDBAH, (uint32_t)(base >> 32));
    put(e, E1000_RDLEN, E1000_RX_COUNT * sizeof(e->rx[0]));
    put(e, E1000_RDH, 0);
    put(e, E1000_RDT, E1000_RX_COUNT - 1);
    /* Promiscuous: the guests behind the switch have their own addresses. 2048-byte buffers. */
    put(e, E1000_RCTL, RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_SECRC);
}

static void start_tx(struct e1000 *e)
{
    uint64_t base = (uintptr_t)e->tx;

    for (unsigned i = 0; i < E1000_TX_COUNT; i++) {
        e->tx[i].address = (uintptr_t)(e->tx_buffers + (size_t)i * E1000_BUFFER);
        e->tx[i].status = E1000_TX_DONE;
    }
    put(e, E1000_TDBAL, (uint32_t)base);
    put(e, E1000_TDBAH, (uint32_t)(base >> 32));
    put(e, E1000_TDLEN, E1000_TX_COUNT * sizeof(e->tx[0]));
    put(e, E1000_TDH, 0);
    put(e, E1000_TDT, 0);
    put(e, E1000_TIPG, TIPG_COPPER);
    put(e, E1000_TCTL, TCTL_EN | TCTL_PSP | TCTL_CT | TCTL_COLD);
}

int e1000_start(struct e1000 *e, const struct e1000_bus *bus, void *memory)
{
    uint8_t *at = memory;
    int rc;

    memset(e, 0, sizeof(*e));
    e->bus = *bus;
    e->rx = memory;
    at += sizeof(struct e1000_rx_desc) * E1000_RX_COUNT;
    e->tx = (struct e1000_tx_desc *)(void *)at;
    at += sizeof(struct e1000_tx_desc) * E1000_TX_COUNT;
    e->rx_buffers = at;
    e->tx_buffers = at + (size_t)E1000_BUFFER * E1000_RX_COUNT;
    rc = reset(e);
    if (rc == 0)
        rc = read_mac(e);
    if (rc)
        return rc;
    write_mac(e);
    put(e, E1000_CTRL,
        (get(e, E1000_CTRL) & ~(CTRL_LRST | CTRL_ILOS | CTRL_VME | CTRL_PHY_RST)) | CTRL_SLU |
            CTRL_ASDE);
    start_rx(e);
    start_tx(e);
    put(e, E1000_ITR, ITR_INTERVAL);
    return 0;
}

void e1000_interrupts_on(struct e1000 *e)
{
    put(e, E1000_IMS, INT_RXT0 | INT_RXO | INT_RXDMT0 | INT_LSC);
}

void e1000_stop(struct e1000 *e)
{
    put(e, E1000_IMC, UINT32_MAX);
    put(e, E1000_RCTL, 0);
    put(e, E1000_TCTL, 0);
    /* Ends DMA that is under way. No read back: the caller does not use a stopped card. */
    put(e, E1000_CTRL, E1000_CTRL_RST);
}

bool e1000_interrupt(struct e1000 *e)
{
    if (get(e, E1000_ICR) == 0)
        return false;
    __atomic_store_n(&e->asked, true, __ATOMIC_RELEASE);
    return true;
}

/* Is the descriptor a whole good frame? A frame that spans several buffers is dropped to its end.
 */
static bool good_frame(struct e1000 *e, const struct e1000_rx_desc *d, uint8_t status)
{
    bool last = status & E1000_RX_EOP, skip = e->rx_skip;

    e->rx_skip = !last;
    return last && !skip && !d->errors && d->length > 0 && d->length <= E1000_BUFFER;
}

bool e1000_poll(struct e1000 *e, unsigned budget,
                void (*input)(void *ctx, const uint8_t *frame, size_t len), void *ctx)
{
    unsigned done = 0;

    /* Before looking at the ring: later arrivals set it again. */
    __atomic_store_n(&e->asked, false, __ATOMIC_SEQ_CST);
    while (done < budget) {
        struct e1000_rx_desc *d = &e->rx[e->rx_next];
        uint8_t status = __atomic_load_n(&d->status, __ATOMIC_ACQUIRE);

        if (!(status & E1000_RX_DONE))
            break;
        if (good_frame(e, d, status)) {
            e->rx_frames++;
            input(ctx, e->rx_buffers + (size_t)e->rx_next * E1000_BUFFER, d->length);
        } else {
            e->rx_dropped++;
        }
        d->status = 0;
        e->rx_next = (e->rx_next + 1) % E1000_RX_COUNT;
        done++;
    }
    /* Gives all back with one access: each access is an exit if we are a guest ourselves. The tail
     * is the last descriptor given, one before the next to be read. */
    if (done)
        put(e, E1000_RDT, (e->rx_next + E1000_RX_COUNT - 1) % E1000_RX_COUNT);
    if (done == budget)
        __atomic_store_n(&e->asked, true, __ATOMIC_RELEASE);
    return done == budget;
}

static bool sent(const struct e1000_tx_desc *d)
{
    return __atomic_load_n(&d->status, __ATOMIC_ACQUIRE) & E1000_TX_DONE;
}

void e1000_send(struct e1000 *e, const uint8_t *frame, size_t len)
{
    struct e1000_tx_desc *d;
    uint32_t next;

    spin_lock(&e->tx_lock);
    d = &e->tx[e->tx_next];
    next = (e->tx_next + 1) % E1000_TX_COUNT;
    /* One descriptor stays free: the card takes a tail equal to the head for an empty ring, and
     * would stop for good. */
    if (len == 0 || len > E1000_BUFFER || !sent(d) || !sent(&e->tx[next])) {
        e->tx_dropped++;
        spin_unlock(&e->tx_lock);
        return;
    }
    memcpy(e->tx_buffers + (size_t)e->tx_next * E1000_BUFFER, frame, len);
    d->length = (uint16_t)len;
    d->command = TX_EOP_IFCS_RS;
    d->status = 0;
    e->tx_next = next;
    e->tx_frames++;
    put(e, E1000_TDT, next);
    spin_unlock(&e->tx_lock);
}
