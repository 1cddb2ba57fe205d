/*
 * What Intel's gigabit cards share, from the 8254x on: the registers of the first pair of rings,
 * descriptors, the order in which things are switched on, addresses. "PCI/PCI-X Family of Gigabit
 * Ethernet Controllers Software Developer's Manual", and the data sheets of the later ones. Pure.
 */
#pragma once

#include "net/nic.h"

/* Twice what management's connections have in flight. With 128, parallel transfers in Bochs stalled
 * connections for good. */
#define INTEL_RX_COUNT  512u
#define INTEL_TX_COUNT  128u
#define INTEL_REGISTERS 0x20000u /* bytes of BAR 0 */

/* Register offsets, in bytes. */
enum intel_reg {
    INTEL_CTRL = 0x0000,
    INTEL_STATUS = 0x0008,
    INTEL_EERD = 0x0014,
    INTEL_CTRL_EXT = 0x0018,
    INTEL_MDIC = 0x0020,
    INTEL_VET = 0x0038,
    INTEL_ICR = 0x00c0,
    INTEL_ITR = 0x00c4,
    INTEL_ICS = 0x00c8,
    INTEL_IMS = 0x00d0,
    INTEL_IMC = 0x00d8,
    INTEL_RCTL = 0x0100,
    INTEL_TCTL = 0x0400,
    INTEL_TIPG = 0x0410,
    INTEL_RDBAL = 0x2800,
    INTEL_RDBAH = 0x2804,
    INTEL_RDLEN = 0x2808,
    INTEL_RDH = 0x2810,
    INTEL_RDT = 0x2818,
    INTEL_TDBAL = 0x3800,
    INTEL_TDBAH = 0x3804,
    INTEL_TDLEN = 0x3808,
    INTEL_TDH = 0x3810,
    INTEL_TDT = 0x3818,
    INTEL_MTA = 0x5200,
    INTEL_RAL0 = 0x5400, /* and RAH0, then the next pair */
    INTEL_RAH0 = 0x5404,
};

#define INTEL_CTRL_SLU     (1u << 6)
#define INTEL_CTRL_RST     (1u << 26)
#define INTEL_STATUS_FD    (1u << 0)
#define INTEL_STATUS_LU    (1u << 1)
#define INTEL_STATUS_SPEED 6u /* shift, two bits: 10, 100, 1000, 1000 */
#define INTEL_INT_LSC      (1u << 2)
#define INTEL_INT_RXDMT0   (1u << 4)
#define INTEL_INT_RXO      (1u << 6)
#define INTEL_INT_RXT0     (1u << 7)
#define INTEL_RCTL_EN      (1u << 1)
#define INTEL_RCTL_UPE     (1u << 3)
#define INTEL_RCTL_MPE     (1u << 4)
#define INTEL_RCTL_BAM     (1u << 15)
#define INTEL_RCTL_SECRC   (1u << 26)
#define INTEL_TCTL_EN      (1u << 1)
#define INTEL_TCTL_PSP     (1u << 3)
#define INTEL_RAH_VALID    (1u << 31)
#define INTEL_RX_DONE      1u /* legacy descriptor's status */
#define INTEL_RX_EOP       2u
#define INTEL_TX_DONE      1u
/* At most one interrupt per this many 256 ns: 4000 a second, so a flood cannot make guests exit
 * faster. */
#define INTEL_ITR_INTERVAL 976u
#define INTEL_WAIT_LOOPS   100000u

/* Legacy descriptors. */
struct intel_rx_desc {
    uint64_t address;
    uint16_t length, checksum;
    uint8_t status, errors;
    uint16_t special;
};
struct intel_tx_desc {
    uint64_t address;
    uint16_t length;
    uint8_t cso, command, status, css;
    uint16_t special;
};
_Static_assert(sizeof(struct intel_rx_desc) == 16 && sizeof(struct intel_tx_desc) == 16,
               "hardware layout");

/* What nic.state begins with: a card's rings. A driver with other descriptors of 16 bytes takes the
 * memory and the counts. */
struct intel {
    struct intel_rx_desc *rx;
    struct intel_tx_desc *tx;
    uint8_t *rx_buffers, *tx_buffers; /* NIC_BUFFER each */
    uint32_t rx_next;
    uint32_t tx_next;
    bool rx_skip; /* in the middle of a frame that spans several buffers */
};
_Static_assert(sizeof(struct intel) <= NIC_STATE_SIZE, "the driver's state");

/* nic_driver.memory: rings, then buffers. */
#define INTEL_MEMORY ((16u + NIC_BUFFER) * (INTEL_RX_COUNT + INTEL_TX_COUNT))

/* How the EERD register is laid out. */
struct intel_eerd {
    uint32_t done;
    unsigned address; /* shift */
};

static inline struct intel *intel_rings(struct nic *n)
{
    return (struct intel *)(void *)n->state;
}

static inline uint32_t intel_get(const struct nic *n, uint32_t reg)
{
    return nic_read(n, 0, reg, 4);
}

static inline void intel_put(const struct nic *n, uint32_t reg, uint32_t value)
{
    nic_write(n, 0, reg, 4, value);
}

/* Waits until all of `bits` read as `wanted` has them. -E_IO: they do not. */
int intel_await(const struct nic *n, uint32_t reg, uint32_t bits, uint32_t wanted);
/* Masks all interrupts, ends sending and receiving. */
void intel_quieten(const struct nic *n);
/* The same, and resets the card. -E_IO if it does not come out of the reset. */
int intel_reset(struct nic *n) MUST_CHECK;
/* The card's address by RAL0 and RAH0; if that is none, by the EEPROM, if `eerd` is not NULL.
 * -E_IO if there is none. */
int intel_read_mac(struct nic *n, const struct intel_eerd *eerd) MUST_CHECK;
/* Clears the multicast table and writes n->hears to the receive address registers, `filters` many,
 * the rest invalid. Returns the bits of RCTL that let in what must come in. */
uint32_t intel_write_filters(const struct nic *n, unsigned filters);
/* Lays out rings and buffers in `memory`; legacy descriptors get their addresses by intel_fill().
 */
void intel_lay_out(struct intel *i, void *memory);
void intel_fill(struct intel *i);
/* Tells the card where its rings are, at `rx` and `tx`, the offsets of RDBAL and TDBAL; heads and
 * tails are 0. */
void intel_write_rings(const struct nic *n, const struct intel *i, uint32_t rx, uint32_t tx);
/* nic_driver.link(), by the STATUS register. */
struct nic_link intel_link(struct nic *n);

/* Takes what the card has put into the next buffer, `length` bytes, and goes on to the one after
 * it. A frame that spans several is dropped to its end. */
void intel_take(struct nic *n, bool last, bool wrong, uint16_t length);
/* Parts of struct nic_driver, for legacy descriptors. */
unsigned intel_receive(struct nic *n, unsigned budget);
bool intel_send(struct nic *n, const uint8_t *frame, size_t len);
