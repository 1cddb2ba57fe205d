/*
 * Intel 8254x Gigabit Ethernet (82540EM, 82545EM, 82543GC). "PCI/PCI-X Family of Gigabit Ethernet
 * Controllers Software Developer's Manual". Pure: the logic works on register accesses and memory
 * that the caller provides, so the unit tests drive it with a card made of C.
 */
#pragma once

#include "hv/spinlock.h"
#include "hv/types.h"

/* Twice what management's connections have in flight. With 128, parallel transfers in Bochs stalled
 * connections for good. */
#define E1000_RX_COUNT 512u
#define E1000_TX_COUNT 128u
#define E1000_BUFFER   2048u

/* Register offsets, in bytes. */
enum e1000_reg {
    E1000_CTRL = 0x0000,
    E1000_STATUS = 0x0008,
    E1000_EERD = 0x0014,
    E1000_ICR = 0x00c0,
    E1000_ITR = 0x00c4,
    E1000_IMS = 0x00d0,
    E1000_IMC = 0x00d8,
    E1000_RCTL = 0x0100,
    E1000_TCTL = 0x0400,
    E1000_TIPG = 0x0410,
    E1000_RDBAL = 0x2800,
    E1000_RDBAH = 0x2804,
    E1000_RDLEN = 0x2808,
    E1000_RDH = 0x2810,
    E1000_RDT = 0x2818,
    E1000_TDBAL = 0x3800,
    E1000_TDBAH = 0x3804,
    E1000_TDLEN = 0x3808,
    E1000_TDH = 0x3810,
    E1000_TDT = 0x3818,
    E1000_MTA = 0x5200,
    E1000_RAL0 = 0x5400,
    E1000_RAH0 = 0x5404,
};

/* Bits that the card (or a test's card) and the driver must agree on. */
#define E1000_CTRL_RST  (1u << 26)
#define E1000_EERD_GO   (1u << 0)
#define E1000_EERD_DONE (1u << 4)
#define E1000_RAH_VALID (1u << 31)
#define E1000_RX_DONE   1u /* descriptor status */
#define E1000_RX_EOP    2u
#define E1000_TX_DONE   1u

struct e1000_rx_desc {
    uint64_t address;
    uint16_t length, checksum;
    uint8_t status, errors;
    uint16_t special;
};
struct e1000_tx_desc {
    uint64_t address;
    uint16_t length;
    uint8_t cso, command, status, css;
    uint16_t special;
};
_Static_assert(sizeof(struct e1000_rx_desc) == 16 && sizeof(struct e1000_tx_desc) == 16,
               "hardware layout");

/* Register access. */
struct e1000_bus {
    uint32_t (*read)(void *ctx, uint32_t reg);
    void (*write)(void *ctx, uint32_t reg, uint32_t value);
    void *ctx;
};

struct e1000 {
    struct e1000_bus bus;
    struct e1000_rx_desc *rx;
    struct e1000_tx_desc *tx;
    uint8_t *rx_buffers, *tx_buffers; /* E1000_BUFFER each */
    uint32_t rx_next;                 /* polling core */
    bool rx_skip;                     /* in the middle of a frame that spans several buffers */
    uint32_t tx_next;                 /* tx_lock */
    struct spinlock tx_lock;
    bool asked; /* set by the interrupt handler, cleared by e1000_poll() */
    uint8_t mac[6];
    uint64_t rx_frames, rx_dropped; /* polling core */
    uint64_t tx_frames, tx_dropped; /* tx_lock */
};

/* Bytes of zeroed DMA memory (identity-mapped, page-aligned) that e1000_start() needs. */
#define E1000_MEMORY                                                                               \
    (16u * (E1000_RX_COUNT + E1000_TX_COUNT) + E1000_BUFFER * (E1000_RX_COUNT + E1000_TX_COUNT))

/* Only resets the card and reads its address. Errors as for e1000_start(). */
int e1000_read_address(const struct e1000_bus *bus, uint8_t mac[6]) MUST_CHECK;
/* Resets the card, reads its address, and starts receiving and sending, without interrupts. -E_IO
 * if it does not come out of reset or has no address; it is quiet then. */
int e1000_start(struct e1000 *e, const struct e1000_bus *bus, void *memory) MUST_CHECK;
/* Interrupts also for frames that have already arrived. */
void e1000_interrupts_on(struct e1000 *e);
/* No more interrupts, no more DMA. */
void e1000_stop(struct e1000 *e);
/* Reads and clears the interrupt cause. True if the interrupt was ours. Called from the interrupt
 * handler. */
bool e1000_interrupt(struct e1000 *e);
/* Passes at most `budget` received frames to input(ctx, frame, len). True if the budget was used
 * up. One core. */
bool e1000_poll(struct e1000 *e, unsigned budget,
                void (*input)(void *ctx, const uint8_t *frame, size_t len), void *ctx);
/* Sends a copy; never waits: if the ring is full, drops the frame and counts it. Any core. */
void e1000_send(struct e1000 *e, const uint8_t *frame, size_t len);
