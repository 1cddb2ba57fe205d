/* SOURCES: net/r8169.c hv/lib.c */
/* Realtek's cards, over one made of C: most tests run for a chip of each generation. */
#include "test/unit/nic_model.h"

#define RX_COUNT 512u
#define TX_COUNT 128u
#define OWN      (1u << 31)
#define EOR      (1u << 30)
#define WHOLE    (3u << 28)
#define REVISION 0x7c800000u
#define ROK      0x01u
#define TOK      0x04u
#define LINKCHG  0x20u
#define SWINT    0x100u
#define ALL      (0x03u | 0x0cu | LINKCHG | SWINT) /* what the driver asks for */

/* Registers. */
enum {
    TNPDS = 0x20,
    CR = 0x37,
    IMR = 0x3c,
    ISR = 0x3e,
    TCR = 0x40,
    RCR = 0x44,
    CR9346 = 0x50,
    CONFIG2 = 0x53,
    CONFIG5 = 0x56,
    MSR = 0x58,
    PHYAR = 0x60,
    ANLPAR = 0x68,
    PHYSTATUS = 0x6c,
    PMCH = 0x6f,
    OCPDR = 0xb0,
    MCU = 0xd3,
    CPCR = 0xe0,
    RDSAR = 0xe4,
    MISC = 0xf0,
    END = 0x100
};
#define GATE (1u << 19)

static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

static const struct chip {
    uint32_t id, tcr;
    unsigned bar, poll, generation;
    uint32_t error;
    const char *name;
} c_plus = {0x813910ec, 0x74800000, 1, 0xd9, 0, 1u << 20, "RTL8139C+"},
  basic = {0x816710ec, 0x98000000, 1, 0x38, 1, 1u << 21, "RTL8169SC"},
  powered = {0x816810ec, 0x28100000, 2, 0x38, 2, 1u << 21, "RTL8168D"},
  managed = {0x816810ec, 0x2c900000, 2, 0x38, 3, 1u << 21, "RTL8168E-VL"},
  gated = {0x816810ec, 0x54100000, 2, 0x38, 4, 1u << 21, "RTL8168H"};

struct descriptor {
    uint32_t status, vlan;
    uint64_t address;
};

static struct {
    const struct chip *chip;
    bool stuck, dead, no_eeprom, phy_stuck, phy_resets, busy;
    bool sends;
    uint32_t isr, imr, arrives; /* the last: causes that come right after ISR is read */
    bool line;
    unsigned under_way; /* reads of TCR until all is sent and received */
    unsigned messages, polls, resets, loads;
    uint16_t phy[32], ocp;
    unsigned phy_writes, phy_reads, ocp_writes;
    uint32_t rx_at, tx_at;
    unsigned sent;
    uint8_t last[NIC_BUFFER];
    size_t last_len;
} card;

static unsigned reg(uint32_t at, unsigned size)
{
    unsigned v = 0;

    memcpy(&v, &model.bars[card.chip->bar][at], size);
    return v;
}

static void set_reg(uint32_t at, unsigned size, uint32_t v)
{
    memcpy(&model.bars[card.chip->bar][at], &v, size);
}

static struct descriptor *ring(uint32_t at)
{
    return (struct descriptor *)(uintptr_t)(reg(at, 4) | (uint64_t)reg(at + 4, 4) << 32);
}

/* An MSI is sent when a cause begins to show. */
static void update(void)
{
    bool line = card.isr & card.imr;

    card.messages += line && !card.line;
    card.line = line;
    set_reg(ISR, 2, card.isr);
    set_reg(IMR, 2, card.imr);
}

static void cause(uint32_t bits)
{
    card.isr |= bits;
    update();
}

static void send_all(void)
{
    for (struct descriptor *d; (d = ring(TNPDS) + card.tx_at)->status & OWN;) {
        uint32_t len = d->status & 0xffff;

        assert_int_equal(d->status & ~(EOR | 0xffff), OWN | WHOLE);
        assert_int_equal(d->vlan, 0);
        model_dma(d->address, len);
        card.sent++;
        card.last_len = len;
        memcpy(card.last, (void *)(uintptr_t)d->address, len);
        card.tx_at = d->status & EOR ? 0 : card.tx_at + 1;
        d->status &= ~OWN;
    }
    cause(TOK);
}

static void reset(void)
{
    /* Nothing comes in any more, and nothing that came is under way. */
    assert_int_equal(reg(RCR, 4) & 0x3f, 0);
    assert_int_equal(reg(IMR, 2), 0);
    assert_true(card.chip != &gated || (reg(MISC, 4) & GATE));
    if (card.chip == &managed || card.chip == &gated)
        assert_int_equal(reg(TCR, 4) & 1u << 11, 1u << 11);
    if (card.chip == &gated)
        assert_int_equal(reg(MCU, 1) & 0x30, 0x30);
    card.resets++;
    card.imr = 0;
    card.rx_at = card.tx_at = 0;
    set_reg(CR, 1, card.stuck ? 0x10 : 0);
    update();
}

static void write_phy(uint32_t v)
{
    unsigned at = v >> 16 & 31;

    if (v & OWN) {
        card.phy_writes++;
        card.phy[at] = (uint16_t)v;
        if (at == 0 && card.phy_resets)
            card.phy[0] &= 0x7fff;
        v &= ~OWN;
    } else {
        card.phy_reads++;
        v = OWN | at << 16 | card.phy[at];
    }
    if (!card.phy_stuck)
        set_reg(PHYAR, 4, v);
    else
        set_reg(PHYAR, 4, v ^ OWN);
}

static void write_ocp(uint32_t v)
{
    assert_int_equal(v >> 16 & 0x7fff, 0xe8de >> 1);
    assert_true(card.chip == &gated);
    if (v & OWN) {
        card.ocp_writes++;
        card.ocp = (uint16_t)v;
    } else {
        set_reg(OCPDR, 4, card.ocp);
    }
}

static void poll_register(uint32_t v)
{
    card.polls++;
    if (v & 1)
        cause(SWINT);
    if ((v & 0x40) && card.sends && !card.busy)
        send_all();
}

static void write_9346(uint32_t v)
{
    if (v != 0x40)
        return;
    card.loads++;
    memcpy(&model.bars[card.chip->bar][0], card.no_eeprom ? (const uint8_t[6]){0} : mac, 6);
    set_reg(CR9346, 1, card.no_eeprom ? 0x40 : 0);
}

static void on_read(unsigned bar, uint32_t at, unsigned size)
{
    (void)size;
    assert_int_equal(bar, card.chip->bar);
    if (at == TCR && card.under_way && --card.under_way == 0) {
        set_reg(TCR, 4, reg(TCR, 4) | 1u << 11);
        set_reg(MCU, 1, reg(MCU, 1) | 0x10);
    }
    if (at == MCU)
        set_reg(MCU, 1, reg(MCU, 1) | (reg(MCU, 1) & 0x10) << 1);
    if (at != ISR)
        return;
    cause(card.arrives);
    card.arrives = 0;
}

static void on_write(unsigned bar, uint32_t at, unsigned size, uint32_t v)
{
    assert_int_equal(bar, card.chip->bar);
    if (card.dead)
        memset(model.bars[bar], 0xff, END);
    else if (at == CR && (v & 0x10))
        reset();
    else if (at == IMR || at == ISR) {
        assert_int_equal(size, 2);
        if (at == IMR)
            card.imr = v;
        else
            card.isr &= ~v;
        update();
    } else if (at == TCR) {
        assert_int_equal(reg(CR, 1), 0x0c); /* otherwise some do not take it */
        set_reg(TCR, 4, (v & ~REVISION) | card.chip->tcr);
        card.under_way = 3;
    } else if (at == RCR && (v & 0x3f))
        assert_int_equal(reg(CR, 1), 0x0c);
    else if (at == PHYAR)
        write_phy(v);
    else if (at == OCPDR)
        write_ocp(v);
    else if (at == card.chip->poll)
        poll_register(v);
    else if (at == CR9346)
        write_9346(v);
    else if (at == CONFIG2 || at == CONFIG5)
        assert_int_equal(reg(CR9346, 1), 0xc0);
}

static void power_up(void)
{
    memset(model.bars[card.chip->bar], 0, END);
    memcpy(model.bars[card.chip->bar], mac, 6);
    set_reg(TCR, 4, card.chip->tcr);
    set_reg(MCU, 1, 0x82); /* ready, out of band */
    card.under_way = 3;
    set_reg(CONFIG2, 1, 0xff);
    set_reg(CONFIG5, 1, 0xff);
    set_reg(MSR, 1, 0x04);
    set_reg(CPCR, 2, 0x20e0);
}

static int setup(void **state)
{
    memset(&card, 0, sizeof(card));
    card.chip = *state;
    model_setup(&r8169_driver);
    model_nic.id = card.chip->id;
    card.sends = card.phy_resets = true;
    power_up();
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

static uint32_t rx_count(void)
{
    return card.chip == &c_plus ? 64 : RX_COUNT;
}

static uint32_t tx_count(void)
{
    return card.chip == &c_plus ? 64 : TX_COUNT;
}

static void start(void)
{
    assert_int_equal(r8169_driver.probe(&model_nic), 0);
    assert_int_equal(r8169_driver.start(&model_nic, model_memory), 0);
}

static unsigned poll(unsigned budget)
{
    return r8169_driver.receive(&model_nic, budget);
}

/* The card fills a buffer, `tag` first; `len` is without CRC. False: it has none. */
static bool arrive_as(unsigned tag, unsigned len, uint32_t status)
{
    struct descriptor *d = ring(RDSAR) + card.rx_at;
    uint32_t eor = d->status & EOR;

    if (!(d->status & OWN))
        return false;
    assert_int_equal(d->status & ~EOR, OWN | NIC_BUFFER);
    assert_int_equal(!eor, card.rx_at + 1 != rx_count());
    assert_int_equal(d->vlan, 0);
    model_dma(d->address, NIC_BUFFER);
    memcpy((void *)(uintptr_t)d->address, &tag, sizeof(tag));
    d->vlan = 0x1ffff;
    d->status = eor | status | (len + 4);
    card.rx_at = eor ? 0 : card.rx_at + 1;
    cause(ROK);
    return true;
}

static bool arrive(unsigned tag, unsigned len)
{
    return arrive_as(tag, len, WHOLE);
}

static void test_start(void **state)
{
    const struct descriptor *rx, *tx;

    (void)state;
    start();
    rx = ring(RDSAR);
    tx = ring(TNPDS);
    assert_memory_equal(model_nic.mac, mac, 6);
    assert_string_equal(model_nic.name, card.chip->name);
    assert_int_equal((uintptr_t)rx % 256 | (uintptr_t)tx % 256, 0);
    for (unsigned i = 0; i < rx_count(); i++) {
        assert_int_equal(rx[i].status, OWN | (i + 1 == rx_count() ? EOR : 0) | NIC_BUFFER);
        assert_in_range(model_dma(rx[i].address, NIC_BUFFER), 16 * (RX_COUNT + TX_COUNT),
                        r8169_driver.memory - NIC_BUFFER);
    }
    for (unsigned i = 0; i < tx_count(); i++)
        assert_int_equal(tx[i].status, 0);
    assert_int_equal(reg(RCR, 4) & 0x3f, 0x0f); /* all addresses, no damaged frames */
    assert_true(reg(0x08, 4) == UINT32_MAX && reg(0x0c, 4) == UINT32_MAX);
    assert_int_equal(reg(CPCR, 2), 0x2003); /* no tags taken off, no checksums looked at */
    assert_int_equal(reg(CR9346, 1), 0);
    assert_int_equal(reg(IMR, 2), 0); /* no core takes its interrupts yet */
    assert_int_equal(reg(MISC, 4) & GATE, 0);
    assert_int_equal(card.resets, 2);
    assert_int_equal(reg(PMCH, 1), card.chip->generation >= 2 ? 0xc0 : 0);
    assert_int_equal(reg(MCU, 1) & 0x80, card.chip->generation >= 3 ? 0 : 0x80);
    assert_int_equal(reg(0xec, 1), card.chip->generation >= 3 ? 0x27 : 0x3f);
    assert_int_equal(reg(0xda, 2), 0x3fff); /* a long frame is for us to drop */
    assert_int_equal(reg(0xe2, 2), 0x2f2f);
    assert_int_equal(reg(CONFIG2, 1), card.chip->generation >= 3 ? 0x7f : 0xff);
    assert_int_equal(reg(CONFIG5, 1), card.chip->generation >= 3 ? 0xfe : 0xff);
    assert_int_equal(reg(TCR, 4) >> 7 & 1, card.chip->generation >= 3);
    assert_int_equal(card.ocp_writes, card.chip->generation == 4 ? 2 : 0);
    assert_int_equal(card.ocp, card.chip->generation == 4 ? 0x8000 : 0);
}

/* A boot program left it running. reset() looks at the rest. */
static void test_take_over(void **state)
{
    (void)state;
    set_reg(CR, 1, 0x0c);
    set_reg(RCR, 4, 0xe70f);
    card.imr = 0xffff;
    cause(ROK);
    card.messages = 0;
    assert_int_equal(r8169_driver.probe(&model_nic), 0);
    assert_int_equal(card.messages, 0);
    assert_int_equal(reg(IMR, 2), 0);
    assert_int_equal(reg(CR, 1), 0);
    assert_int_equal(card.isr, 0);
}

static void test_start_fails(void **state)
{
    (void)state;
    model.no_bar = 1u << card.chip->bar;
    assert_int_equal(r8169_driver.probe(&model_nic), -E_IO);
    model.no_bar = 0;
    card.stuck = true;
    assert_int_equal(r8169_driver.probe(&model_nic), -E_IO);
    card.stuck = false;
    assert_int_equal(r8169_driver.probe(&model_nic), 0);
    card.stuck = true;
    assert_int_equal(r8169_driver.start(&model_nic, model_memory), -E_IO);
    assert_int_equal(reg(RCR, 4) & 0x3f, 0);
    card.dead = true;
    assert_int_equal(r8169_driver.start(&model_nic, model_memory), -E_IO);
    assert_int_equal(r8169_driver.probe(&model_nic), -E_IO);
}

static void test_unknown(void **state)
{
    static const uint32_t unknown[] = {0, 0x28800000, 0x30000000, 0x60800000, 0x7c800000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
        set_reg(TCR, 4, unknown[i]);
        assert_int_equal(r8169_driver.probe(&model_nic), -E_NOENT);
    }
    assert_int_equal(card.resets, 0); /* it is left alone */
    assert_string_equal(model_nic.name, "RTL8168");
}

static void test_mac(void **state)
{
    (void)state;
    memset(model.bars[card.chip->bar], 0xff, 6);
    assert_int_equal(r8169_driver.probe(&model_nic), 0);
    assert_memory_equal(model_nic.mac, mac, 6);
    assert_int_equal(card.loads, 1);
    assert_int_equal(r8169_driver.probe(&model_nic), 0);
    assert_int_equal(card.loads, 1); /* what firmware wrote is right */
    card.no_eeprom = true;
    memset(model.bars[card.chip->bar], 0, 6);
    assert_int_equal(r8169_driver.probe(&model_nic), -E_IO);
}

static void test_interrupt(void **state)
{
    (void)state;
    start();
    assert_true(arrive('x', 60));
    assert_int_equal(r8169_driver.interrupt(&model_nic), 0); /* not before listen() */
    assert_int_equal(card.messages, 0);
    r8169_driver.listen(&model_nic);
    assert_int_equal(card.messages, 1); /* for the frame that was there */
    assert_int_equal(reg(IMR, 2), ALL);
    assert_int_equal(r8169_driver.interrupt(&model_nic), NIC_EVENT_FRAMES | NIC_EVENT_LINK);
    assert_int_equal(card.isr, 0);
    assert_int_equal(r8169_driver.interrupt(&model_nic), 0); /* another's on a shared line */
    cause(LINKCHG);
    assert_int_equal(r8169_driver.interrupt(&model_nic), NIC_EVENT_LINK);
    cause(0x80); /* nothing that was asked for */
    assert_int_equal(r8169_driver.interrupt(&model_nic), 0);
    set_reg(ISR, 2, 0xffff); /* the card has gone */
    assert_int_equal(r8169_driver.interrupt(&model_nic), 0);
}

/* Without a listen()'s own interrupt it is the driver that has to see the first one. */
static void test_listen(void **state)
{
    (void)state;
    start();
    r8169_driver.listen(&model_nic);
    assert_int_equal(card.messages, 1);
    assert_int_equal(r8169_driver.interrupt(&model_nic), NIC_EVENT_LINK);
}

/* What comes while the handler runs sends a message of its own. */
static void test_message_lost(void **state)
{
    (void)state;
    start();
    r8169_driver.listen(&model_nic);
    for (unsigned i = 0; i < 10; i++) {
        card.arrives = i & 1 ? ROK : LINKCHG;
        (void)r8169_driver.interrupt(&model_nic);
        assert_int_equal(card.messages, i + 2);
        assert_int_equal(card.imr, ALL);
    }
}

static void test_budget(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 50; i++)
        assert_true(arrive('x', 60));
    assert_int_equal(poll(32), 32);
    assert_int_equal(poll(32), 18);
    assert_int_equal(poll(32), 0);
    assert_int_equal(model.frames, 50);
    assert_int_equal(model.last_len, 60); /* without CRC */
}

/* Many times around the ring, even when it is full. */
static void test_ring(void **state)
{
    unsigned n = 0;

    (void)state;
    start();
    for (unsigned round = 1; round < 6; round++) {
        while (arrive(n, 60))
            n++;
        assert_int_equal(n, round * rx_count());
        while (poll(33))
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
    assert_true(arrive_as(0, 60, WHOLE | card.chip->error));
    assert_true(arrive_as(0, 60, 0));
    assert_true(arrive_as('a', NIC_BUFFER - 4, 1u << 29)); /* two buffers */
    assert_true(arrive_as('b', 1000, 1u << 28));
    assert_true(arrive(0, 0)); /* a CRC and nothing else */
    assert_true(arrive(0, (unsigned)-4));
    assert_true(arrive(0, (unsigned)-3));
    assert_true(arrive(0, NIC_BUFFER - 3));
    assert_true(arrive(0, 0x1fff - 4));
    assert_int_equal(poll(64), 9);
    assert_int_equal(model.frames, 0);
    assert_int_equal(model_nic.rx_dropped, 9);
    assert_true(arrive('c', NIC_BUFFER - 4));
    assert_true(arrive_as('d', 1, WHOLE | 0x0701c000)); /* what it thinks of addresses, checksums */
    assert_int_equal(poll(1), 1);
    assert_int_equal(model.last[0], 'c');
    assert_int_equal(model.last_len, NIC_BUFFER - 4);
    assert_int_equal(poll(64), 1);
    assert_int_equal(model.last[0], 'd');
    assert_int_equal(model.last_len, 1);
}

/* A card that writes anything into its descriptors: the model checks what is delivered. */
static void test_hostile(void **state)
{
    uint32_t random = 1, at = 0;

    (void)state;
    start();
    for (unsigned i = 0; i < 20000; i++) {
        struct descriptor *d = ring(RDSAR);
        unsigned done;

        random = random * 1664525 + 1013904223;
        d[(at + i % 3) % rx_count()].status = random;
        d[random >> 8 & (rx_count() - 1)].address = random;
        done = poll(3);
        assert_true(done <= 3);
        at = (at + done) % rx_count();
    }
    assert_true(model.frames > 100 && model_nic.rx_dropped > 1000);
}

static void test_send(void **state)
{
    uint8_t bytes[NET_FRAME_MAX];

    (void)state;
    start();
    for (unsigned n = 0; n < 3 * TX_COUNT; n++) {
        memset(bytes, (int)n | 1, sizeof(bytes));
        assert_true(r8169_driver.send(&model_nic, bytes, 60 + n));
        assert_int_equal(card.sent, n + 1);
        assert_int_equal(card.last_len, 60 + n);
        assert_memory_equal(card.last, bytes, card.last_len);
    }
    /* A short one is padded, not with what was sent before. */
    for (unsigned n = 0; n < tx_count(); n++) {
        assert_true(r8169_driver.send(&model_nic, bytes, 14));
        assert_int_equal(card.last_len, 60);
        assert_memory_equal(card.last, bytes, 14);
        for (unsigned i = 14; i < 60; i++)
            assert_int_equal(card.last[i], 0);
    }
    assert_true(r8169_driver.send(&model_nic, bytes, NET_FRAME_MAX));
    assert_int_equal(card.last_len, NET_FRAME_MAX);
}

/* A slow card: senders do not wait. */
static void test_send_full(void **state)
{
    uint8_t bytes[60] = {0};
    unsigned taken = 0;

    (void)state;
    start();
    for (unsigned round = 1; round < 4; round++) {
        card.sends = false;
        for (unsigned i = 0; i < 2 * TX_COUNT; i++)
            taken += r8169_driver.send(&model_nic, bytes, sizeof(bytes));
        assert_int_equal(taken, round * tx_count());
        send_all();
        assert_int_equal(card.sent, taken);
    }
}

/* It misses that there is a frame, since it is sending. When it says that it has sent, it is told
 * again; and when it is polled. */
static void test_poll_lost(void **state)
{
    uint8_t bytes[60] = {0};

    (void)state;
    start();
    r8169_driver.listen(&model_nic);
    (void)r8169_driver.interrupt(&model_nic);
    card.busy = true;
    assert_true(r8169_driver.send(&model_nic, bytes, sizeof(bytes)));
    card.busy = false;
    assert_int_equal(card.sent, 0);
    cause(TOK);
    assert_int_equal(r8169_driver.interrupt(&model_nic), 0);
    assert_int_equal(card.sent, 1);
    card.busy = true;
    assert_true(r8169_driver.send(&model_nic, bytes, sizeof(bytes)));
    card.busy = false;
    assert_int_equal(poll(2), 0);
    assert_int_equal(card.sent, 2);
}

/* An interrupt of another device on its line, as long as it has none. */
static void test_not_listening(void **state)
{
    (void)state;
    start();
    assert_int_equal(reg(IMR, 2), 0);
    cause(ROK);
    assert_int_equal(r8169_driver.interrupt(&model_nic), 0);
}

static void assert_link(bool up, unsigned mbits, bool full)
{
    struct nic_link l = r8169_driver.link(&model_nic);

    assert_int_equal(l.up, up);
    assert_int_equal(l.mbits, mbits);
    assert_int_equal(l.full_duplex, full);
}

static void test_link(void **state)
{
    (void)state;
    start();
    assert_link(false, 0, false);
    set_reg(PHYSTATUS, 1, 0x13);
    assert_link(true, 1000, true);
    set_reg(PHYSTATUS, 1, 0x0a);
    assert_link(true, 100, false);
    set_reg(PHYSTATUS, 1, 0x07);
    assert_link(true, 10, true);
    set_reg(PHYSTATUS, 1, 0x11);
    assert_link(false, 0, false);
    set_reg(PHYSTATUS, 1, 0xff); /* the card has gone */
    assert_link(false, 0, false);
}

static void test_c_plus_link(void **state)
{
    (void)state;
    start();
    assert_int_equal(card.phy_writes + card.phy_reads, 0); /* it has no such register */
    assert_link(false, 0, false);
    set_reg(MSR, 1, 0xd0);
    set_reg(ANLPAR, 2, 0x05e1);
    assert_link(true, 100, true);
    set_reg(ANLPAR, 2, 0x00a1);
    assert_link(true, 100, false);
    set_reg(MSR, 1, 0x08);
    assert_link(true, 10, false);
    set_reg(ANLPAR, 2, 0x0061);
    assert_link(true, 10, true);
    set_reg(MSR, 1, 0xff);
    assert_link(false, 0, false);
}

static void test_phy(void **state)
{
    (void)state;
    card.phy[0] = 0x0800;  /* off */
    card.phy[31] = 0x0a43; /* on another page */
    start();
    assert_int_equal(card.phy[31], 0);
    assert_int_equal(card.phy[0], 0x1200);
    assert_int_equal(card.phy[4], 0x01e1);
    assert_int_equal(card.phy[9], 0x0300);
    /* A link that cannot be better stays up. */
    card.phy_writes = 0;
    set_reg(PHYSTATUS, 1, 0x13);
    start();
    assert_int_equal(card.phy_writes, 1);
    /* Slow, as for waking the machine. */
    set_reg(PHYSTATUS, 1, 0x07);
    start();
    assert_int_equal(card.phy_writes, 7);
    /* Its reset does not end, or it never answers: bounded, and the card starts. */
    card.phy_resets = false;
    card.phy[0] = 0;
    start();
    assert_in_range(card.phy_reads, 1000, 10000);
    card.phy_stuck = true;
    card.phy_writes = 0;
    start();
    assert_int_equal(card.phy_writes, 1);
    assert_true(arrive('x', 60));
    assert_int_equal(poll(1), 1);
}

int main(void)
{
#define ONE(f, c) cmocka_unit_test_prestate_setup_teardown(f, setup, teardown, (void *)&(c))
#define ALL_OF(f) ONE(f, c_plus), ONE(f, basic), ONE(f, powered), ONE(f, managed), ONE(f, gated)
    const struct CMUnitTest tests[] = {
        ALL_OF(test_start),
        ALL_OF(test_take_over),
        ALL_OF(test_start_fails),
        ONE(test_unknown, gated),
        ONE(test_mac, gated),
        ALL_OF(test_interrupt),
        ALL_OF(test_listen),
        ALL_OF(test_message_lost),
        ALL_OF(test_budget),
        ALL_OF(test_ring),
        ALL_OF(test_bad_frames),
        ALL_OF(test_hostile),
        ALL_OF(test_send),
        ALL_OF(test_send_full),
        ALL_OF(test_poll_lost),
        ALL_OF(test_not_listening),
        ONE(test_link, basic),
        ONE(test_link, gated),
        ONE(test_c_plus_link, c_plus),
        ONE(test_phy, basic),
        ONE(test_phy, gated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
