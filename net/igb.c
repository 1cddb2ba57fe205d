/* Intel 82576, I350, I210, I211: "Intel 82576EB Gigabit Ethernet Controller Datasheet", and those
 * of the others. */
#include "net/intel_adv.h"

#define CTRL_EXT_LINK_MODE (3u << 22) /* 0: copper, by the card's own PHY */
#define MDIC_PHY_1         (1u << 21)
#define MDIC_WRITE         (1u << 26)
#define MDIC_READY         (1u << 28)
#define MDIC_ERROR         (1u << 30)
#define PHY_CONTROL        0u /* register; shifted by 16 */
#define PHY_NEGOTIATE      0x1200u
#define SWSM               0x5b50u
#define SWSM_SMBI          (1u << 0) /* reading sets it: 0 was free */
#define SWSM_SWESMBI       (1u << 1) /* reads as set if firmware has not got it */
#define SW_FW_SYNC         0x5b5cu
#define SYNC_FIRMWARE      16u /* shift: its bits above ours */
#define STATUS_PORT        2u  /* shift, two bits */

/* Our bit in SW_FW_SYNC for this port's PHY. */
static uint32_t phy_bit(const struct nic *n)
{
    static const uint8_t bits[] = {1, 2, 5, 6};

    return 1u << bits[intel_get(n, INTEL_STATUS) >> STATUS_PORT & 3];
}

static int take_semaphore(const struct nic *n)
{
    unsigned i;

    for (i = 0; i < INTEL_WAIT_LOOPS && (intel_get(n, SWSM) & SWSM_SMBI); i++)
        ;
    for (; i < INTEL_WAIT_LOOPS; i++) {
        intel_put(n, SWSM, intel_get(n, SWSM) | SWSM_SWESMBI);
        if (intel_get(n, SWSM) & SWSM_SWESMBI)
            return 0;
    }
    return -E_IO;
}

static void release_semaphore(const struct nic *n)
{
    intel_put(n, SWSM, intel_get(n, SWSM) & ~(SWSM_SMBI | SWSM_SWESMBI));
}

/* Firmware and the other ports' drivers use the PHYs too: takes ours from them, or gives it back.
 */
static int lock_phy(const struct nic *n, bool lock)
{
    uint32_t bit = phy_bit(n), sync;
    int rc = take_semaphore(n);

    if (rc == 0) {
        sync = intel_get(n, SW_FW_SYNC);
        if (!lock)
            intel_put(n, SW_FW_SYNC, sync & ~bit);
        else if (sync & (bit | bit << SYNC_FIRMWARE))
            rc = -E_BUSY;
        else
            intel_put(n, SW_FW_SYNC, sync | bit);
    }
    release_semaphore(n);
    return rc;
}

/* A real PHY has negotiated by now, without being asked. QEMU's card reports no link, and delivers
 * no frame, until it was asked. */
static void negotiate(const struct nic *n)
{
    if ((intel_get(n, INTEL_STATUS) & INTEL_STATUS_LU) ||
        (intel_get(n, INTEL_CTRL_EXT) & CTRL_EXT_LINK_MODE) || lock_phy(n, true))
        return;
    intel_put(n, INTEL_MDIC, MDIC_WRITE | MDIC_PHY_1 | PHY_CONTROL << 16 | PHY_NEGOTIATE);
    for (unsigned i = 0; i < INTEL_WAIT_LOOPS; i++)
        if (intel_get(n, INTEL_MDIC) & (MDIC_READY | MDIC_ERROR))
            break;
    (void)lock_phy(n, false);
}

static int probe(struct nic *n)
{
    /* The data sheets' aliases of 0x1500 and so on, which QEMU's card does not have. */
    static const struct intel_adv_causes causes = {INTEL_ICR, INTEL_ICS, INTEL_IMS, INTEL_IMC};

    return intel_adv_probe(n, &causes);
}

static int start(struct nic *n, void *memory)
{
    int rc = intel_adv_start(n, memory);

    if (rc == 0)
        negotiate(n);
    return rc;
}

static const struct nic_id ids[] = {
    {0x10c98086, "82576"}, {0x10e88086, "82576"}, {0x15268086, "82576"},
    {0x150a8086, "82576"}, {0x15218086, "I350"},  {0x15338086, "I210"},
    {0x157b8086, "I210"},  {0x15398086, "I211"},  {0, NULL},
};

const struct nic_driver igb_driver = {
    .name = "igb",
    .ids = ids,
    .memory = INTEL_MEMORY,
    .probe = probe,
    .start = start,
    .listen = intel_adv_listen,
    .interrupt = intel_adv_interrupt,
    .receive = intel_adv_receive,
    .send = intel_adv_send,
    .link = intel_link,
};
