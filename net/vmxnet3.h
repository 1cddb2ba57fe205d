/*
 * VMware's paravirtual network card, version 1 of its interface, as the headers of VMware's own
 * open drivers define it. What the driver and a test's card must agree on.
 */
#pragma once

#include "net/nic.h"

/* Descriptors, buffers and completions. Powers of two, multiples of 32. */
#define VMXNET3_RX_COUNT  512u
#define VMXNET3_TX_COUNT  128u
#define VMXNET3_REGISTERS 0x1000u /* bytes of BAR 0 and of BAR 1 */

/* In BAR 0: of the first queue and interrupt. Others follow, 8 bytes further each. */
enum vmxnet3_queue_reg { VMXNET3_IMR = 0x000, VMXNET3_TXPROD = 0x600, VMXNET3_RXPROD = 0x800 };

/* In BAR 1. */
enum vmxnet3_reg {
    VMXNET3_VRRS = 0x00, /* versions of the card's interface, a bit each; takes one of them */
    VMXNET3_UVRS = 0x08, /* the same of the queues' */
    VMXNET3_DSAL = 0x10, /* address of struct vmxnet3_shared; the low half first */
    VMXNET3_DSAH = 0x18,
    VMXNET3_CMD = 0x20, /* takes a command, then reads as its result */
    VMXNET3_ICR = 0x38, /* of the interrupt line: reading clears it */
    VMXNET3_ECR = 0x40, /* clears these bits of vmxnet3_shared.events */
};

enum vmxnet3_command {
    VMXNET3_ACTIVATE_DEV = 0xcafe0000,
    VMXNET3_QUIESCE_DEV = 0xcafe0001,
    VMXNET3_RESET_DEV = 0xcafe0002,
    VMXNET3_GET_LINK = 0xf00d0002,
    VMXNET3_GET_PERM_MAC_LO = 0xf00d0003,
    VMXNET3_GET_PERM_MAC_HI = 0xf00d0004,
};

#define VMXNET3_VERSION_1      1u
#define VMXNET3_MAGIC          0xbabefee1u
#define VMXNET3_SYSTEM_64_BIT  2u
#define VMXNET3_ADAPTIVE       8u /* moderation */
#define VMXNET3_IC_DISABLE_ALL 1u
#define VMXNET3_RXM_UCAST      (1u << 0)
#define VMXNET3_RXM_BCAST      (1u << 2)
#define VMXNET3_RXM_ALL_MULTI  (1u << 3)
#define VMXNET3_RXM_PROMISC    (1u << 4)
#define VMXNET3_ECR_LINK       (1u << 2)
#define VMXNET3_LINK_UP        (1u << 0)
#define VMXNET3_LINK_SPEED     16u /* shift */
#define VMXNET3_RX_GEN         31u /* shift, in vmxnet3_desc.length */
#define VMXNET3_TX_GEN         14u
#define VMXNET3_TX_EOP         (1u << 12) /* in vmxnet3_desc.flags */
#define VMXNET3_TX_CQ          (1u << 13) /* report that it is sent */
#define VMXNET3_DONE_INDEX     0xfffu     /* in vmxnet3_done.what */
#define VMXNET3_DONE_FRAME     0x3ffc000u /* whether it begins and ends here, and its ring */
#define VMXNET3_DONE_WHOLE     0xc000u    /* it does both, in the first ring */
#define VMXNET3_DONE_LENGTH    0x3fffu
#define VMXNET3_DONE_ERROR     (1u << 14)
#define VMXNET3_DONE_GEN       31u /* shift, in vmxnet3_done.flags */

/* The generation bit says who has an entry of a ring: it is 1 in the first round of the ring, 0 in
 * the second, and so on. */
struct vmxnet3_desc {
    uint64_t address;
    uint32_t length, flags;
};
struct vmxnet3_done {
    uint32_t what, hash, length, flags;
};

struct vmxnet3_queue {
    /* Of a queue that receives: the card wants to be told by RXPROD of descriptors given. */
    uint8_t update_rxprod;
    uint8_t control[15];
    uint64_t ring, second_ring, done_ring, driver_data, reserved;
    uint32_t size, second_size, done_size, driver_data_size;
    uint8_t interrupt;
    uint8_t status[15], statistics[80], pad[88];
};
_Static_assert(sizeof(struct vmxnet3_queue) == 256, "the card's");

struct vmxnet3_shared {
    uint32_t magic, pad;
    uint32_t driver_version, system, version, upt_version;
    uint64_t features, driver_data, queues;
    uint32_t driver_data_size, queues_size, mtu;
    uint16_t rx_descs; /* the most that a frame may take */
    uint8_t tx_queues, rx_queues;
    uint32_t reserved[4];
    uint8_t auto_mask; /* an interrupt that is raised is masked, until IMR says otherwise */
    uint8_t interrupts, event_interrupt, moderation[25];
    uint32_t interrupt_control, interrupt_reserved[2];
    uint32_t rx_mode;
    uint16_t groups_size, groups_pad;
    uint64_t groups;
    uint32_t vlans[128];   /* tags that are let in, a bit each */
    uint64_t tables[3][2]; /* none */
    uint32_t events, events_reserved[5];
};
_Static_assert(offsetof(struct vmxnet3_shared, interrupt_control) == 108 &&
                   offsetof(struct vmxnet3_shared, vlans) == 136 &&
                   offsetof(struct vmxnet3_shared, events) == 696 &&
                   sizeof(struct vmxnet3_shared) == 720,
               "the card's");

/* start()'s memory. Rings are at multiples of 512 bytes, queues of 128. */
struct vmxnet3_memory {
    uint8_t rx_buffers[VMXNET3_RX_COUNT][NIC_BUFFER], tx_buffers[VMXNET3_TX_COUNT][NIC_BUFFER];
    struct vmxnet3_desc rx[VMXNET3_RX_COUNT], tx[VMXNET3_TX_COUNT];
    struct vmxnet3_done rx_done[VMXNET3_RX_COUNT], tx_done[VMXNET3_TX_COUNT];
    struct vmxnet3_queue tx_queue, rx_queue; /* in this order */
    struct vmxnet3_shared shared;
};
