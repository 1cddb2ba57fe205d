/* Intel 8254x. "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual". */
#include "net/intel.h"

#define CTRL_LRST    (1u << 3)
#define CTRL_ASDE    (1u << 5)
#define CTRL_ILOS    (1u << 7)
#define CTRL_VME     (1u << 30)
#define CTRL_PHY_RST (1u << 31)
#define TCTL_CT      (15u << 4)
#define TCTL_COLD    (64u << 12)
#define TIPG_COPPER  (10u | 8u << 10 | 6u << 20)
#define INTERRUPTS   (INTEL_INT_RXT0 | INTEL_INT_RXO | INTEL_INT_RXDMT0 | INTEL_INT_LSC)
#define FILTERS      16u

static int probe(struct nic *n)
{
    /* The 82543 has no EERD register, and its receive address is right. */
    static const struct intel_eerd eerd = {.done = 1u << 4, .address = 8};
    int rc = n->bus.map(n->bus.ctx, 0, INTEL_REGISTERS);

    if (rc == 0)
        rc = intel_reset(n);
    return rc ? rc : intel_read_mac(n, &eerd);
}

static int start(struct nic *n, void *memory)
{
    struct intel *i = intel_rings(n);
    int rc = intel_reset(n);
    uint32_t receive;

    if (rc)
        return rc;
    intel_lay_out(i, memory);
    intel_fill(i);
    intel_put(n, INTEL_CTRL,
              (intel_get(n, INTEL_CTRL) & ~(CTRL_LRST | CTRL_ILOS | CTRL_VME | CTRL_PHY_RST)) |
                  INTEL_CTRL_SLU | CTRL_ASDE);
    receive = intel_write_filters(n, FILTERS);
    intel_write_rings(n, i, INTEL_RDBAL, INTEL_TDBAL);
    intel_put(n, INTEL_RDT, INTEL_RX_COUNT - 1);
    intel_put(n, INTEL_ITR, INTEL_ITR_INTERVAL);
    intel_put(n, INTEL_TIPG, TIPG_COPPER);
    intel_put(n, INTEL_TCTL, INTEL_TCTL_EN | INTEL_TCTL_PSP | TCTL_CT | TCTL_COLD);
    /* Last, and once: QEMU's card holds received frames for a second after each write. Buffers of
     * 2048 bytes. */
    intel_put(n, INTEL_RCTL, INTEL_RCTL_EN | INTEL_RCTL_SECRC | receive);
    return 0;
}

static void listen(struct nic *n)
{
    intel_put(n, INTEL_IMS, INTERRUPTS);
    intel_put(n, INTEL_ICS, INTEL_INT_LSC);
}

static uint32_t interrupt(struct nic *n)
{
    uint32_t cause = intel_get(n, INTEL_ICR); /* which clears it */

    return (cause & ~INTEL_INT_LSC ? NIC_EVENT_FRAMES : 0) |
           (cause & INTEL_INT_LSC ? NIC_EVENT_LINK : 0);
}

static const struct nic_id ids[] = {
    {0x100e8086, "82540EM"},
    {0x100f8086, "82545EM"},
    {0x10048086, "82543GC"},
    {0, NULL},
};

const struct nic_driver e1000_driver = {
    .name = "e1000",
    .ids = ids,
    .memory = INTEL_MEMORY,
    .probe = probe,
    .start = start,
    .listen = listen,
    .interrupt = interrupt,
    .receive = intel_receive,
    .send = intel_send,
    .link = intel_link,
};
