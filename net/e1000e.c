/*
 * Intel's gigabit cards on PCI Express: 82574 and 82583 ("82574 GbE Controller Family Datasheet"),
 * and the controllers of chipsets with the PHYs I217, I218 and I219, which firmware sets up and
 * which are not reset here: a reset would need the PHY's set-up again.
 */
#include "net/intel.h"

#define CTRL_EXT_PBA    (1u << 31) /* MSI-X: the card clears its pending bits */
#define REG_IVAR        0x00e4u
#define REG_EIAC        0x00dcu
#define REG_EITR0       0x00e8u
#define REG_RFCTL       0x5008u
#define REG_MRQC        0x5818u
#define REG_GCR         0x5b00u
#define REG_GCR2        0x5b64u
#define RFCTL_EXTENDED  (1u << 15)
/* Against errata of the 82574: completions that get lost. */
#define GCR_ERRATUM     (1u << 22)
#define GCR2_ERRATUM    (1u << 0)
#define CTRL_FORCED     (3u << 11) /* speed and duplex */
#define CTRL_VME        (1u << 30)
#define TCTL_CT         (15u << 4)
#define TCTL_COLD       (63u << 12)
#define TCTL_RTLC       (1u << 24)
/* Causes of MSI-X, beside those of the line. */
#define INT_RXQ0        (1u << 20)
#define INT_OTHER       (1u << 24)
#define IVAR_RXQ0       (8u << 0) /* valid, vector 0 */
#define IVAR_TXQ0       (8u << 8)
#define IVAR_OTHER      (8u << 16)
#define RX_BY_LINE      (INTEL_INT_RXT0 | INTEL_INT_RXO | INTEL_INT_RXDMT0)
#define BY_LINE         (RX_BY_LINE | INTEL_INT_LSC)
#define BY_MSIX         (INT_RXQ0 | INT_OTHER | INTEL_INT_LSC)
/* The chipsets' controllers have seven, and some that firmware may own. */
#define FILTERS         16u
#define FILTERS_CHIPSET 7u

#define ID_82574L       0x10d38086u
#define ID_82574LA      0x10f68086u
#define ID_82583V       0x150c8086u

static bool in_chipset(const struct nic *n)
{
    return n->id != ID_82574L && n->id != ID_82574LA && n->id != ID_82583V;
}

static int make_quiet(struct nic *n)
{
    if (!in_chipset(n))
        return intel_reset(n);
    intel_quieten(n);
    (void)intel_get(n, INTEL_ICR);
    return 0;
}

static int probe(struct nic *n)
{
    static const struct intel_eerd eerd = {.done = 1u << 1, .address = 2};
    int rc = n->bus.map(n->bus.ctx, 0, INTEL_REGISTERS);

    if (rc == 0)
        rc = make_quiet(n);
    return rc ? rc : intel_read_mac(n, in_chipset(n) ? NULL : &eerd);
}

/* Causes are not cleared by the card (EIAC): interrupt() does that, as without MSI-X. */
static void prepare_interrupts(const struct nic *n)
{
    if (n->irq == ARCH_IRQ_MSIX) {
        intel_put(n, INTEL_CTRL_EXT, intel_get(n, INTEL_CTRL_EXT) | CTRL_EXT_PBA);
        intel_put(n, REG_EIAC, 0);
        intel_put(n, REG_IVAR, IVAR_RXQ0 | IVAR_TXQ0 | IVAR_OTHER);
        intel_put(n, REG_EITR0, INTEL_ITR_INTERVAL);
    } else {
        intel_put(n, INTEL_ITR, INTEL_ITR_INTERVAL);
    }
}

static int start(struct nic *n, void *memory)
{
    struct intel *i = intel_rings(n);
    int rc = make_quiet(n);
    uint32_t receive;

    if (rc)
        return rc;
    intel_lay_out(i, memory);
    intel_fill(i);
    if (!in_chipset(n)) {
        intel_put(n, REG_GCR, intel_get(n, REG_GCR) | GCR_ERRATUM);
        intel_put(n, REG_GCR2, intel_get(n, REG_GCR2) | GCR2_ERRATUM);
    }
    intel_put(n, INTEL_CTRL,
              (intel_get(n, INTEL_CTRL) & ~(CTRL_FORCED | CTRL_VME)) | INTEL_CTRL_SLU);
    receive = intel_write_filters(n, in_chipset(n) ? FILTERS_CHIPSET : FILTERS);
    /* One queue, legacy descriptors, whatever firmware's driver had. */
    intel_put(n, REG_MRQC, 0);
    intel_put(n, REG_RFCTL, intel_get(n, REG_RFCTL) & ~RFCTL_EXTENDED);
    intel_write_rings(n, i, INTEL_RDBAL, INTEL_TDBAL);
    intel_put(n, INTEL_RDT, INTEL_RX_COUNT - 1);
    prepare_interrupts(n);
    intel_put(n, INTEL_TCTL, INTEL_TCTL_EN | INTEL_TCTL_PSP | TCTL_CT | TCTL_COLD | TCTL_RTLC);
    /* Last, and once. Buffers of 2048 bytes. */
    intel_put(n, INTEL_RCTL, INTEL_RCTL_EN | INTEL_RCTL_SECRC | receive);
    return 0;
}

static void listen(struct nic *n)
{
    bool msix = n->irq == ARCH_IRQ_MSIX;

    intel_put(n, INTEL_IMS, msix ? BY_MSIX : BY_LINE);
    intel_put(n, INTEL_ICS, msix ? INT_OTHER | INTEL_INT_LSC : INTEL_INT_LSC);
}

static uint32_t interrupt(struct nic *n)
{
    uint32_t cause = intel_get(n, INTEL_ICR);

    if (cause == UINT32_MAX)
        return 0; /* the card has gone */
    /* With MSI-X a read does not always clear it, and what is not cleared causes no other message.
     */
    if (n->irq == ARCH_IRQ_MSIX && cause)
        intel_put(n, INTEL_ICR, cause);
    return (cause & (RX_BY_LINE | INT_RXQ0) ? NIC_EVENT_FRAMES : 0) |
           (cause & (INTEL_INT_LSC | INT_OTHER) ? NIC_EVENT_LINK : 0);
}

static const struct nic_id ids[] = {
    {ID_82574L, "82574L"},   {ID_82574LA, "82574LA"}, {ID_82583V, "82583V"},
    {0x153a8086, "I217-LM"}, {0x153b8086, "I217-V"},  {0x155a8086, "I218-LM"},
    {0x15598086, "I218-V"},  {0x15a08086, "I218-LM"}, {0x15a18086, "I218-V"},
    {0x15a28086, "I218-LM"}, {0x15a38086, "I218-V"},  {0x156f8086, "I219-LM"},
    {0x15708086, "I219-V"},  {0x15b78086, "I219-LM"}, {0x15b88086, "I219-V"},
    {0x15b98086, "I219-LM"}, {0x15d78086, "I219-LM"}, {0x15d88086, "I219-V"},
    {0x15e38086, "I219-LM"}, {0x15d68086, "I219-V"},  {0x15bd8086, "I219-LM"},
    {0x15be8086, "I219-V"},  {0x15bb8086, "I219-LM"}, {0x15bc8086, "I219-V"},
    {0x15df8086, "I219-LM"}, {0x15e08086, "I219-V"},  {0x15e18086, "I219-LM"},
    {0x15e28086, "I219-V"},  {0x0d4e8086, "I219-LM"}, {0x0d4f8086, "I219-V"},
    {0x0d4c8086, "I219-LM"}, {0x0d4d8086, "I219-V"},  {0x0d538086, "I219-LM"},
    {0x0d558086, "I219-V"},  {0x15fb8086, "I219-LM"}, {0x15fc8086, "I219-V"},
    {0x15f98086, "I219-LM"}, {0x15fa8086, "I219-V"},  {0x15f48086, "I219-LM"},
    {0x15f58086, "I219-V"},  {0x1a1e8086, "I219-LM"}, {0x1a1f8086, "I219-V"},
    {0x1a1c8086, "I219-LM"}, {0x1a1d8086, "I219-V"},  {0, NULL},
};

const struct nic_driver e1000e_driver = {
    .name = "e1000e",
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
