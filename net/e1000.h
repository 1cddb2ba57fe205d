/*
 * Intel 8254x Gigabit Ethernet (82540EM, 82545EM, 82543GC). "PCI/PCI-X Family of Gigabit Ethernet
 * Controllers Software Developer's Manual". The logic works on a register window and memory that
 * the caller gives, so the unit tests drive it with an array.
 */
#pragma once

#include "hv/spinlock.h"
#include "hv/types.h"

/* With 128, parallel transfers in Bochs stranded connections for good. */
#define E1000_RX_COUNT 1024u
#define E1000_TX_COUNT 256u
#define E1000_BUFFER   2048u

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

struct e1000 {
    volatile uint32_t *regs;
    struct e1000_rx_desc *rx;
    struct e1000_tx_desc *tx;
    uint8_t *rx_buffers, *tx_buffers; /* E1000_BUFFER each */
    uint32_t rx_next, tx_next;
    struct spinlock tx_lock;
    bool asked; /* set by the interrupt handler, taken by e1000_poll's caller */
    uint8_t mac[6];
    uint64_t rx_frames, tx_frames, rx_dropped, tx_dropped;
};

/* Bytes of zeroed DMA memory (identity-mapped, page-aligned) that e1000_start() needs. */
#define E1000_MEMORY                                                                               \
    (16u * (E1000_RX_COUNT + E1000_TX_COUNT) + E1000_BUFFER * (E1000_RX_COUNT + E1000_TX_COUNT))

/* Resets the card, reads its address, starts receiving and sending, interrupts on. -E_IO when it
 * does not come out of reset. */
int e1000_start(struct e1000 *e, volatile uint32_t *regs, void *memory) MUST_CHECK;
/* Reads and clears the interrupt cause. True if it was ours. From the interrupt handler. */
bool e1000_interrupt(struct e1000 *e);
/* Hands at most `budget` received frames to input(ctx, frame, len). True when the budget was used
 * up. One core. */
bool e1000_poll(struct e1000 *e, unsigned budget,
                void (*input)(void *ctx, const uint8_t *frame, size_t len), void *ctx);
/* Sends a copy; drops and counts when the ring is full. Any core. */
void e1000_send(struct e1000 *e, const uint8_t *frame, size_t len);
