#include "net/e1000.h"

#include "hv/lib.h"

/* Register offsets, in 32-bit words. */
#define REG(offset)    ((offset) / 4u)
#define CTRL           REG(0x0000u)
#define STATUS         REG(0x0008u)
#define EERD           REG(0x0014u)
#define ICR            REG(0x00c0u)
#define ITR            REG(0x00c4u)
#define IMS            REG(0x00d0u)
#define IMC            REG(0x00d8u)
#define RCTL           REG(0x0100u)
#define TCTL           REG(0x0400u)
#define TIPG           REG(0x0410u)
#define RDBAL          REG(0x2800u)
#define RDBAH          REG(0x2804u)
#define RDLEN          REG(0x2808u)
#define RDH            REG(0x2810u)
#define RDT            REG(0x2818u)
#define TDBAL          REG(0x3800u)
#define TDBAH          REG(0x3804u)
#define TDLEN          REG(0x3808u)
#define TDH            REG(0x3810u)
#define TDT            REG(0x3818u)
#define MTA            REG(0x5200u)
#define RAL0           REG(0x5400u)
#define RAH0           REG(0x5404u)

#define CTRL_ASDE      (1u << 5)
#define CTRL_SLU       (1u << 6)
#define CTRL_RST       (1u << 26)
#define EERD_START     (1u << 0)
#define EERD_DONE      (1u << 4)
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
#define RAH_VALID      (1u << 31)
#define RX_DONE        1u
#define RX_EOP         2u
#define TX_DONE        1u
#define TX_EOP_IFCS_RS 0x0bu
/* At most one interrupt in 256 ns * this: 4000 a second, so that a flood cannot exit guests faster.
 */
#define ITR_INTERVAL   976u
#define WAIT_LOOPS     100000u
#define MTA_WORDS      128u

static bool wait_clear(volatile uint32_t *reg, uint32_t bit)
{
    for (unsigned i = 0; i < WAIT_LOOPS; i++)
        if (!(*reg & bit))
            return true;
    return false;
}

/* A word of the EEPROM, or -E_IO. */
static int read_eeprom(struct e1000 *e, unsigned word)
{
    e->regs[EERD] = EERD_START | word << 8;
    for (unsigned i = 0; i < WAIT_LOOPS; i++) {
        uint32_t v = e->regs[EERD];

        if (v & EERD_DONE)
            return (int)(v >> 16);
    }
    return -E_IO;
}

/* After a reset the receive address registers may read 0 (Bochs): the EEPROM knows. */
static int read_mac(struct e1000 *e)
{
    for (unsigned i = 0; i < 3; i++) {
        int word = read_eeprom(e, i);

        if (word < 0)
            return word;
        e->mac[2 * i] = (uint8_t)word;
        e->mac[2 * i + 1] = (uint8_t)(word >> 8);
    }
    return 0;
}

static void start_rx(struct e1000 *e)
{
    uint64_t base = (uintptr_t)e->rx;

    for (unsigned i = 0; i < E1000_RX_COUNT; i++)
        e->rx[i].address = (uintptr_t)(e->rx_buffers + (size_t)i * E1000_BUFFER);
    e->regs[RDBAL] = (uint32_t)base;
    e->regs[RDBAH] = (uint32_t)(base >> 32);
    e->regs[RDLEN] = E1000_RX_COUNT * sizeof(e->rx[0]);
    e->regs[RDH] = 0;
    e->regs[RDT] = E1000_RX_COUNT - 1;
    /* Promiscuous: the guests behind the switch have addresses of their own. Buffers of 2048 bytes.
     */
    e->regs[RCTL] = RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_SECRC;
}

static void start_tx(struct e1000 *e)
{
    uint64_t base = (uintptr_t)e->tx;

    for (unsigned i = 0; i < E1000_TX_COUNT; i++) {
        e->tx[i].address = (uintptr_t)(e->tx_buffers + (size_t)i * E1000_BUFFER);
        e->tx[i].status = TX_DONE;
    }
    e->regs[TDBAL] = (uint32_t)base;
    e->regs[TDBAH] = (uint32_t)(base >> 32);
    e->regs[TDLEN] = E1000_TX_COUNT * sizeof(e->tx[0]);
    e->regs[TDH] = 0;
    e->regs[TDT] = 0;
    e->regs[TIPG] = TIPG_COPPER;
    e->regs[TCTL] = TCTL_EN | TCTL_PSP | TCTL_CT | TCTL_COLD;
}

int e1000_start(struct e1000 *e, volatile uint32_t *regs, void *memory)
{
    uint8_t *at = memory;
    int rc;

    memset(e, 0, sizeof(*e));
    e->regs = regs;
    e->rx = memory;
    at += sizeof(struct e1000_rx_desc) * E1000_RX_COUNT;
    e->tx = (struct e1000_tx_desc *)(void *)at;
    at += sizeof(struct e1000_tx_desc) * E1000_TX_COUNT;
    e->rx_buffers = at;
    e->tx_buffers = at + (size_t)E1000_BUFFER * E1000_RX_COUNT;
    regs[IMC] = UINT32_MAX;
    regs[CTRL] = regs[CTRL] | CTRL_RST;
    if (!wait_clear(&regs[CTRL], CTRL_RST))
        return -E_IO;
    regs[IMC] = UINT32_MAX;
    (void)regs[ICR];
    rc = read_mac(e);
    if (rc)
        return rc;
    regs[RAL0] = (uint32_t)(e->mac[0] | e->mac[1] << 8 | e->mac[2] << 16) | (uint32_t)e->mac[3]
                                                                                << 24;
    regs[RAH0] = (uint32_t)(e->mac[4] | e->mac[5] << 8) | RAH_VALID;
    for (unsigned i = 0; i < MTA_WORDS; i++)
        regs[MTA + i] = 0;
    regs[CTRL] = regs[CTRL] | CTRL_SLU | CTRL_ASDE;
    start_rx(e);
    start_tx(e);
    regs[ITR] = ITR_INTERVAL;
    regs[IMS] = INT_RXT0 | INT_RXO | INT_RXDMT0 | INT_LSC;
    return 0;
}

bool e1000_interrupt(struct e1000 *e)
{
    if (e->regs[ICR] == 0)
        return false;
    __atomic_store_n(&e->asked, true, __ATOMIC_RELEASE);
    return true;
}

bool e1000_poll(struct e1000 *e, unsigned budget,
                void (*input)(void *ctx, const uint8_t *frame, size_t len), void *ctx)
{
    unsigned done = 0;

    /* Before looking at the ring: what arrives later asks again. */
    __atomic_store_n(&e->asked, false, __ATOMIC_SEQ_CST);
    while (done < budget) {
        struct e1000_rx_desc *d = &e->rx[e->rx_next];
        uint8_t status = __atomic_load_n(&d->status, __ATOMIC_ACQUIRE);

        if (!(status & RX_DONE))
            break;
        if ((status & RX_EOP) && !d->errors && d->length <= E1000_BUFFER) {
            e->rx_frames++;
            input(ctx, e->rx_buffers + (size_t)e->rx_next * E1000_BUFFER, d->length);
        } else {
            e->rx_dropped++;
        }
        d->status = 0;
        __atomic_thread_fence(__ATOMIC_RELEASE);
        e->regs[RDT] = e->rx_next;
        e->rx_next = (e->rx_next + 1) % E1000_RX_COUNT;
        done++;
    }
    if (done == budget)
        __atomic_store_n(&e->asked, true, __ATOMIC_RELEASE);
    return done == budget;
}

void e1000_send(struct e1000 *e, const uint8_t *frame, size_t len)
{
    struct e1000_tx_desc *d;

    spin_lock(&e->tx_lock);
    d = &e->tx[e->tx_next];
    if (len > E1000_BUFFER || !(__atomic_load_n(&d->status, __ATOMIC_ACQUIRE) & TX_DONE)) {
        e->tx_dropped++;
        spin_unlock(&e->tx_lock);
        return;
    }
    memcpy(e->tx_buffers + (size_t)e->tx_next * E1000_BUFFER, frame, len);
    d->length = (uint16_t)len;
    d->command = TX_EOP_IFCS_RS;
    d->status = 0;
    e->tx_next = (e->tx_next + 1) % E1000_TX_COUNT;
    e->tx_frames++;
    __atomic_thread_fence(__ATOMIC_RELEASE);
    e->regs[TDT] = e->tx_next;
    spin_unlock(&e->tx_lock);
}
