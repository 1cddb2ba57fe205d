/* SOURCES: net/igb.c net/igc.c net/intel_adv.c net/intel.c hv/lib.c */
/* igb and igc, over a card made of C: each test of what they share runs for both. */
#include "net/intel_adv.h"
#include "test/unit/nic_model.h"

#define MDIC_READY (1u << 28)
#define SWSM       0x5b50u
#define SW_FW_SYNC 0x5b5cu
#define STATUS_UP  0x83u /* 1000, full duplex, link */
#define MAC_LOW    0x12005452u
#define MAC_HIGH   (INTEL_RAH_VALID | 0x5634u)

static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

static struct {
    bool stuck, keeps, no_eeprom, dead; /* a reset without end; registers survive it */
    bool no_queue;                      /* enable bits do not stay */
    bool sends, firmware_has_phy, smbi_stuck, mdic_stuck;
    unsigned tdt_writes, rdt_writes, rctl_writes, phy_writes, mdic_value;
    uint32_t rx_at;
    unsigned sent;
    uint8_t last[NIC_BUFFER];
    size_t last_len;
} card;

/* The registers of causes, by driver. */
#define BY_DRIVER(igb, igc) (model_nic.driver == &igb_driver ? (igb) : (igc))
#define ICR                 BY_DRIVER(0xc0u, 0x1500u)
#define ICS                 BY_DRIVER(0xc8u, 0x1504u)
#define IMS                 BY_DRIVER(0xd0u, 0x1508u)
#define IMC                 BY_DRIVER(0xd8u, 0x150cu)

static void *ring(uint32_t low)
{
    return (void *)(uintptr_t)(model_get(0, low) | (uint64_t)model_get(0, low + 4) << 32);
}

static void send_all(void)
{
    struct intel_adv_tx_desc *d = ring(ADV_TDBAL);
    uint32_t head = model_get(0, ADV_TDH);

    for (; head != model_get(0, ADV_TDT); head = (head + 1) % INTEL_TX_COUNT) {
        uint32_t len = d[head].command & 0xffff;

        /* EOP, IFCS, RS, an advanced data descriptor; the same length twice. */
        assert_int_equal(d[head].command & 0xffff0000, 0x2b300000);
        assert_int_equal(d[head].status, len << 14);
        model_dma(d[head].address, len);
        card.sent++;
        card.last_len = len;
        memcpy(card.last, (void *)(uintptr_t)d[head].address, len);
        d[head].status = ADV_TX_DONE;
    }
    model_set(0, ADV_TDH, head);
}

static void on_read(unsigned bar, uint32_t at, unsigned size)
{
    assert_true(bar == 0 && size == 4);
    if (at == ICR && (model_get(0, ADV_GPIE) & ADV_GPIE_NSICR))
        model_set(0, at, 0);
    if (at == SWSM)
        model_set(0, at, model_get(0, at) | 1);
}

static void reset(uint32_t ctrl)
{
    if (!card.keeps)
        memset(model.bars[0], 0, sizeof(model.bars[0]));
    model_set(0, INTEL_RAL0, MAC_LOW);
    model_set(0, INTEL_RAH0, MAC_HIGH);
    model_set(0, ADV_EECD, card.no_eeprom ? 0 : ADV_EECD_AUTO_RD);
    model_set(0, SWSM, card.smbi_stuck ? 1 : 0);
    model_set(0, SW_FW_SYNC, card.firmware_has_phy ? 2u << 16 : 0);
    model_set(0, INTEL_CTRL, card.stuck ? ctrl : ctrl & ~INTEL_CTRL_RST);
}

static void write_mdic(uint32_t v)
{
    /* Only by who has the semaphore. */
    assert_int_equal(model_get(0, SW_FW_SYNC) & 2, 2);
    card.phy_writes++;
    card.mdic_value = v;
    if (!card.mdic_stuck)
        model_set(0, INTEL_MDIC, v | MDIC_READY);
}

static void on_tail(uint32_t at, uint32_t v)
{
    if (at == ADV_RDT) {
        card.rdt_writes++;
        /* Of an enabled queue only; 0 when the rings are written. */
        assert_true(v == 0 || (model_get(0, ADV_RXDCTL) & ADV_QUEUE_ENABLE));
    } else {
        card.tdt_writes++;
        if (card.sends && v != model_get(0, ADV_TDH))
            send_all();
    }
}

static void on_write(unsigned bar, uint32_t at, unsigned size, uint32_t v)
{
    assert_true(bar == 0 && size == 4);
    if (card.dead) /* nobody answers */
        memset(model.bars[0], 0xff, sizeof(model.bars[0]));
    else if (at == INTEL_CTRL && (v & INTEL_CTRL_RST))
        reset(v);
    else if (at == INTEL_MDIC)
        write_mdic(v);
    else if (at == IMC)
        model_set(0, IMS, model_get(0, IMS) & ~v);
    else if (at == ADV_EIMC)
        model_set(0, ADV_EIMS, model_get(0, ADV_EIMS) & ~v);
    else if (at == ICS)
        model_set(0, ICR, model_get(0, ICR) | v);
    else if (at == INTEL_RCTL && (v & INTEL_RCTL_EN))
        card.rctl_writes++;
    else if (at == ADV_RDT || at == ADV_TDT)
        on_tail(at, v);
    else if ((at == ADV_RXDCTL || at == ADV_TXDCTL) && card.no_queue)
        model_set(0, at, 0);
}

static int setup(void **state)
{
    model_setup(*state);
    memset(&card, 0, sizeof(card));
    card.sends = true;
    model.on_read = on_read;
    model.on_write = on_write;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_teardown();
    return 0;
}

static const struct nic_driver *driver(void)
{
    return model_nic.driver;
}

static void start(void)
{
    assert_int_equal(driver()->probe(&model_nic), 0);
    assert_int_equal(driver()->start(&model_nic, model_memory), 0);
    card.rdt_writes = card.tdt_writes = 0;
}

static unsigned poll(unsigned budget)
{
    return driver()->receive(&model_nic, budget);
}

/* The card fills one buffer, `tag` first, and writes over the descriptor. False: it has none. */
static bool arrive(unsigned tag, unsigned len, uint32_t status)
{
    struct intel_adv_rx_desc *d = (struct intel_adv_rx_desc *)ring(ADV_RDBAL) + card.rx_at;

    if (card.rx_at == model_get(0, ADV_RDT))
        return false;
    assert_int_equal(d->status, 0);
    model_dma(d->address, NIC_BUFFER);
    memset((void *)(uintptr_t)d->address, 0, NIC_BUFFER);
    memcpy((void *)(uintptr_t)d->address, &tag, sizeof(tag));
    d->what = 0x1234567800000001; /* a hash, and what it was made of */
    d->length = (uint16_t)len;
    d->vlan = 0xffff;
    d->status = status | ADV_RX_DONE;
    card.rx_at = (card.rx_at + 1) % INTEL_RX_COUNT;
    model_set(0, ICR, model_get(0, ICR) | INTEL_INT_RXT0);
    return true;
}

static void test_start(void **state)
{
    const struct intel_adv_rx_desc *rx;

    (void)state;
    start();
    rx = ring(ADV_RDBAL);
    assert_memory_equal(model_nic.mac, mac, 6);
    assert_int_equal(model_get(0, ADV_RDBAL + 8), 16 * INTEL_RX_COUNT);
    assert_int_equal(model_get(0, ADV_RDT), INTEL_RX_COUNT - 1);
    assert_int_equal(model_get(0, ADV_TDBAL + 8), 16 * INTEL_TX_COUNT);
    assert_int_equal(model_get(0, ADV_SRRCTL), 2 | 1u << 25); /* 2 KB, advanced */
    assert_true(model_get(0, ADV_RXDCTL) & ADV_QUEUE_ENABLE);
    assert_true(model_get(0, ADV_TXDCTL) & ADV_QUEUE_ENABLE);
    assert_int_equal(model_get(0, INTEL_RCTL) & INTEL_RCTL_EN, INTEL_RCTL_EN);
    assert_int_equal(card.rctl_writes, 1);
    assert_true(model_get(0, INTEL_CTRL) & INTEL_CTRL_SLU);
    assert_true(model_get(0, INTEL_CTRL_EXT) & ADV_CTRL_EXT_LOADED);
    assert_int_equal(model_get(0, IMS), 0); /* whose interrupts no core takes yet */
    assert_int_equal(model_get(0, ADV_EIMS), 0);
    for (unsigned i = 0; i < INTEL_RX_COUNT; i++)
        assert_in_range(model_dma(rx[i].address, NIC_BUFFER),
                        16 * (INTEL_RX_COUNT + INTEL_TX_COUNT), INTEL_MEMORY - NIC_BUFFER);
}

static void test_filters(void **state)
{
    (void)state;
    for (unsigned i = 0; i < NIC_HEARS_MAX; i++)
        memcpy(model_nic.hears[i], (uint8_t[]){2, 0x42, 0, 0, 0, (uint8_t)i}, 6);
    model_nic.hear_count = NIC_HEARS_MAX;
    start();
    assert_int_equal(model_get(0, INTEL_RAL0 + 8 * 15), 0x4202);
    assert_int_equal(model_get(0, INTEL_RAH0 + 8 * 15), INTEL_RAH_VALID | 15u << 8);
    assert_false(model_get(0, INTEL_RCTL) & INTEL_RCTL_UPE);
    assert_true(model_get(0, INTEL_RCTL) & INTEL_RCTL_MPE);
    assert_true(model_get(0, INTEL_RCTL) & INTEL_RCTL_BAM);
}

static void test_start_fails(void **state)
{
    (void)state;
    model.no_bar = 1;
    assert_int_equal(driver()->probe(&model_nic), -E_IO);
    model.no_bar = 0;
    card.stuck = true;
    assert_int_equal(driver()->probe(&model_nic), -E_IO);
    card.stuck = false;
    card.dead = true;
    assert_int_equal(driver()->probe(&model_nic), -E_IO);
    card.dead = false;
    memset(model.bars[0], 0, sizeof(model.bars[0]));
    card.no_eeprom = true; /* which is none */
    assert_int_equal(driver()->probe(&model_nic), 0);
    card.no_queue = true;
    assert_int_equal(driver()->start(&model_nic, model_memory), -E_IO);
    assert_int_equal(model_get(0, INTEL_RCTL), 0);
    card.no_queue = false;
    card.dead = true;
    assert_int_equal(driver()->start(&model_nic, model_memory), -E_IO);
}

/* QEMU's: a reset leaves most registers. */
static void test_reset_keeps(void **state)
{
    (void)state;
    card.keeps = true;
    model_set(0, IMS, 0x9d);
    model_set(0, ADV_EIMS, 1);
    model_set(0, INTEL_RCTL, INTEL_RCTL_EN);
    assert_int_equal(driver()->probe(&model_nic), 0);
    assert_int_equal(model_get(0, IMS), 0);
    assert_int_equal(model_get(0, ADV_EIMS), 0);
    assert_int_equal(model_get(0, INTEL_RCTL), 0);
    start();
}

static void test_interrupt_line(void **state)
{
    (void)state;
    start();
    assert_int_equal(driver()->interrupt(&model_nic), 0); /* another device's on a shared line */
    driver()->listen(&model_nic);
    assert_int_equal(model_get(0, ADV_EIMS), 0);
    assert_true(model_get(0, IMS) & INTEL_INT_RXT0);
    assert_int_equal(driver()->interrupt(&model_nic), NIC_EVENT_LINK); /* it raised one */
    assert_true(arrive('x', 60, ADV_RX_EOP));
    assert_int_equal(driver()->interrupt(&model_nic), NIC_EVENT_FRAMES);
    assert_int_equal(driver()->interrupt(&model_nic), 0);
    model_set(0, ICR, UINT32_MAX); /* the card has gone */
    assert_int_equal(driver()->interrupt(&model_nic), 0);
}

static void test_interrupt_msix(void **state)
{
    (void)state;
    model_nic.irq = ARCH_IRQ_MSIX;
    start();
    assert_true(model_get(0, ADV_GPIE) & ADV_GPIE_MSIX);
    assert_int_equal(model_get(0, ADV_IVAR0), 0x80);       /* queue 0 received: entry 0 */
    assert_int_equal(model_get(0, ADV_IVAR_MISC), 0x8000); /* the link too */
    assert_int_equal(model_get(0, ADV_EIAC), 1);
    driver()->listen(&model_nic);
    assert_int_equal(model_get(0, ADV_EIMS), 1);
    assert_int_equal(model_get(0, ADV_EICS), 1); /* raises one */
    assert_int_equal(model_get(0, IMS), INTEL_INT_LSC);
    assert_int_equal(driver()->interrupt(&model_nic), NIC_EVENT_FRAMES);
    model_set(0, ICR, INTEL_INT_LSC);
    assert_int_equal(driver()->interrupt(&model_nic), NIC_EVENT_FRAMES | NIC_EVENT_LINK);
}

static void test_budget(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 100; i++)
        assert_true(arrive('x', 60, ADV_RX_EOP));
    assert_int_equal(poll(64), 64);
    assert_int_equal(card.rdt_writes, 1);
    assert_int_equal(model_get(0, ADV_RDT), 63);
    assert_int_equal(poll(64), 36);
    assert_int_equal(poll(64), 0);
    assert_int_equal(model.frames, 100);
    assert_int_equal(card.rdt_writes, 2); /* no frame arrived, so nothing is written */
}

/* Many times around the ring, even when it is full. */
static void test_ring(void **state)
{
    unsigned n = 0;

    (void)state;
    start();
    for (unsigned round = 0; round < 5; round++) {
        while (arrive(n, 60, ADV_RX_EOP))
            n++;
        assert_int_equal(n, (round + 1) * (INTEL_RX_COUNT - 1));
        while (poll(64))
            ;
        assert_int_equal(model.frames, n);
        assert_memory_equal(model.last, &(unsigned){n - 1}, sizeof(unsigned));
    }
    assert_int_equal(model_nic.rx_dropped, 0);
}

static void test_bad_frames(void **state)
{
    (void)state;
    start();
    assert_true(arrive(0, 60, ADV_RX_EOP | ADV_RX_ERROR));
    assert_true(arrive(0, 0, ADV_RX_EOP));
    assert_true(arrive(0, NIC_BUFFER + 1, ADV_RX_EOP));
    assert_true(arrive(0, 0xffff, ADV_RX_EOP));
    assert_int_equal(poll(64), 4);
    assert_int_equal(model.frames, 0);
    assert_int_equal(model_nic.rx_dropped, 4);
    /* The rest of a frame that took several buffers is no frame. */
    assert_true(arrive('a', NIC_BUFFER, 0));
    assert_true(arrive('b', 100, ADV_RX_EOP));
    assert_true(arrive('c', NIC_BUFFER, ADV_RX_EOP | 3u << 29)); /* wrong checksums: the guest's */
    assert_int_equal(poll(64), 3);
    assert_int_equal(model.frames, 1);
    assert_int_equal(model.last[0], 'c');
    assert_int_equal(model.last_len, NIC_BUFFER);
}

static void test_send(void **state)
{
    uint8_t bytes[NET_FRAME_MAX];

    (void)state;
    start();
    for (unsigned n = 0; n < 3 * INTEL_TX_COUNT; n++) {
        memset(bytes, (int)n, sizeof(bytes));
        assert_true(driver()->send(&model_nic, bytes, 60 + n));
        assert_int_equal(card.sent, n + 1);
        assert_int_equal(card.tdt_writes, n + 1);
        assert_int_equal(card.last_len, 60 + n);
        assert_memory_equal(card.last, bytes, card.last_len);
    }
}

/* A slow card: senders do not wait, and a full ring does not look empty. */
static void test_send_full(void **state)
{
    uint8_t bytes[60] = {0};
    unsigned taken = 0;

    (void)state;
    start();
    for (unsigned round = 1; round < 4; round++) {
        card.sends = false;
        for (unsigned i = 0; i < 2 * INTEL_TX_COUNT; i++)
            taken += driver()->send(&model_nic, bytes, sizeof(bytes));
        assert_int_not_equal(model_get(0, ADV_TDT), model_get(0, ADV_TDH));
        assert_int_equal(taken, round * (INTEL_TX_COUNT - 1));
        send_all();
        assert_int_equal(card.sent, taken);
    }
}

/* Without a link igb asks its PHY to negotiate, if firmware does not have that. */
static void test_igb_link(void **state)
{
    (void)state;
    start();
    assert_int_equal(card.phy_writes, 1);
    assert_int_equal(card.mdic_value, 0x04201200);     /* write, PHY 1, register 0, 0x1200 */
    assert_int_equal(model_get(0, SW_FW_SYNC) & 2, 0); /* given back */
    assert_int_equal(model_get(0, SWSM) & 3, 0);
    card.firmware_has_phy = true;
    start();
    assert_int_equal(card.phy_writes, 1);
    card.firmware_has_phy = false;
    card.smbi_stuck = true;
    start();
    assert_int_equal(card.phy_writes, 1);
    card.smbi_stuck = false;
    card.mdic_stuck = true; /* never ready: bounded */
    start();
    assert_int_equal(card.phy_writes, 2);
    assert_int_equal(model_get(0, SW_FW_SYNC) & 2, 0);
    assert_false(driver()->link(&model_nic).up);
}

static void test_igc_link(void **state)
{
    (void)state;
    start();
    assert_int_equal(card.phy_writes, 0);
    model_set(0, INTEL_STATUS, STATUS_UP);
    assert_int_equal(driver()->link(&model_nic).mbits, 1000);
    model_set(0, INTEL_STATUS, STATUS_UP | 1u << 22);
    assert_int_equal(driver()->link(&model_nic).mbits, 2500);
    model_set(0, INTEL_STATUS, 0x43 | 1u << 22);
    assert_int_equal(driver()->link(&model_nic).mbits, 100);
    model_set(0, INTEL_STATUS, UINT32_MAX); /* the card has gone */
    assert_false(driver()->link(&model_nic).up);
}

int main(void)
{
#define ONE(f, d) cmocka_unit_test_prestate_setup_teardown(f, setup, teardown, (void *)&(d))
#define BOTH(f)   ONE(f, igb_driver), ONE(f, igc_driver)
    const struct CMUnitTest tests[] = {
        BOTH(test_start),
        BOTH(test_filters),
        BOTH(test_start_fails),
        BOTH(test_reset_keeps),
        BOTH(test_interrupt_line),
        BOTH(test_interrupt_msix),
        BOTH(test_budget),
        BOTH(test_ring),
        BOTH(test_bad_frames),
        BOTH(test_send),
        BOTH(test_send_full),
        ONE(test_igb_link, igb_driver),
        ONE(test_igc_link, igc_driver),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
