/*
 * Realtek RTL8168 and RTL8169 (RTL8111 and RTL8110 in other packages), gigabit, and the RTL8139C+,
 * which had their descriptors first: "RTL8169 Gigabit Ethernet Media Access Controller with Power
 * Management", and the data sheets of the other two. What revisions need beyond those is known from
 * public drivers. Some of these also load a program into the card, for worse cables and less power;
 * this one does not. No emulator has a gigabit one; QEMU has the C+.
 */
#include "net/nic.h"

#include "hv/lib.h"

#define ID_8161         0x816110ecu
#define ID_8168         0x816810ecu
#define RX_COUNT        512u /* as Intel's (intel.h) */
#define TX_COUNT        128u
#define C_PLUS_COUNT    64u /* its rings hold no more */
#define CRC             4u
#define FRAME_MIN       60u /* without CRC: some revisions do not pad */

#define CR_STOP         0x80u
#define CR_RST          0x10u
#define CR_RE_TE        0x0cu
#define POLL_NPQ        0x40u
#define POLL_FSWINT     0x01u
#define INT_RX          0x003u
#define INT_TX          0x00cu
#define INT_LINK        0x020u
#define INT_SOFTWARE    0x100u
#define TCR_REVISION    0x7c800000u
#define TCR_EMPTY       (1u << 11)
#define TCR_AUTO_FIFO   (1u << 7)
#define TCR_VALUE       (3u << 24 | 7u << 8) /* the standard's gap, DMA without limit */
#define RCR_VALUE       (7u << 13 | 7u << 8) /* FIFO and DMA without limit */
#define RCR_EARLY_OFF   (1u << 11)
#define RCR_ALL_GOOD    0x0fu
#define RCR_ACCEPT      0x3fu
#define CR9346_MODE     0xc0u /* registers may be configured */
#define CR9346_LOAD     0x40u
#define CONFIG2_CLKREQ  0x80u
#define CONFIG5_ASPM    0x01u
#define MSR_NO_LINK     0x04u
#define MSR_10          0x08u
#define BMCR_RESET      0x8000u
#define BMCR_NEGOTIATE  0x1200u
#define ANLPAR_10_FULL  0x0040u /* the other side's offer */
#define ANLPAR_100_FULL 0x0100u
#define ANAR_ALL        0x01e1u
#define GBCR_ALL        0x0300u
#define PHYAR_FLAG      (1u << 31)
#define PHYSTATUS_FULL  0x01u
#define PHYSTATUS_LINK  0x02u
#define PHYSTATUS_100   0x08u
#define PHYSTATUS_1000  0x10u
#define PMCH_ON         0xc0u
#define OCP_WRITE       (1u << 31)
#define OCP_FIFO        (0xe8deu << 15)
#define MCU_OOB         0x80u
#define MCU_EMPTY       0x30u
#define MCU_READY       0x02u
#define MISC_GATE       (1u << 19)
/* Descriptors, for the first chips that have them; for later ones the longest unit of MITIGATE. */
#define CPCR_C_PLUS     3u
#define CPCR_NORMAL     (1u << 13)
/* An interrupt comes 2 units (320 us with a gigabit) after a frame, or with the 60th, so a flood
 * makes guests exit no faster. */
#define MITIGATE_2_60   0x2f2fu
#define MTPS_MAX        0x3fu /* no frame is longer; in the first ones: sent when all of it is there */
#define MTPS_MANAGED    0x27u
#define RMS_ANY         0x3fffu /* a frame longer than a buffer takes several */

/* Descriptors. */
#define OWN             (1u << 31) /* the card's */
#define EOR             (1u << 30)
#define WHOLE           (3u << 28) /* a frame's first segment, and its last */
#define ERROR           (1u << 21)
#define ERROR_C_PLUS    (1u << 20)
#define LENGTH          0x1fffu /* as the C+ has it */

/* Reading a register takes 200 ns or more. */
#define WAIT_LOOPS      100000u
#define WAIT_PHY        2000u
#define LINGER_20_US    100u
#define LINGER_2_MS     10000u

/* A register's place, and above that its size. */
enum reg {
    IDR = 0x100,
    MAR = 0x408,
    TNPDS = 0x420,
    CR = 0x137,
    TPPOLL = 0x138,
    IMR = 0x23c,
    ISR = 0x23e,
    TCR = 0x440,
    RCR = 0x444,
    CR9346 = 0x150,
    CONFIG2 = 0x153,
    CONFIG5 = 0x156,
    MSR_C_PLUS = 0x158,
    PHYAR = 0x460,
    ANLPAR_C_PLUS = 0x268,
    PHYSTATUS = 0x16c,
    PMCH = 0x16f,
    OCPDR = 0x4b0,
    MCU = 0x1d3,
    TPPOLL_C_PLUS = 0x1d9,
    RMS = 0x2da,
    CPCR = 0x2e0,
    MITIGATE = 0x2e2,
    RDSAR = 0x4e4,
    MTPS = 0x1ec,
    MISC = 0x4f0,
    REGISTERS_END = 0x100
};
enum phy_reg { BMCR = 0, ANAR = 4, GBCR = 9, MMD_DATA = 14, PAGE = 31 };

/* Each needs what those before it need, and more: power for its PHY; to be taken from a management
 * controller, and kept awake; a gate opened. */
enum generation { C_PLUS, BASIC, POWERED, MANAGED, GATED };

static const struct revision {
    uint32_t bits; /* of TCR */
    enum generation generation;
    const char *name;
} revisions[] = {
    {0x74800000, C_PLUS, "RTL8139C+"},    {0x00800000, BASIC, "RTL8169S"},
    {0x04000000, BASIC, "RTL8110S"},      {0x10000000, BASIC, "RTL8169SB"},
    {0x18000000, BASIC, "RTL8169SC"},     {0x38000000, BASIC, "RTL8168B"},
    {0x3c000000, BASIC, "RTL8168C"},      {0x3c800000, BASIC, "RTL8168CP"},
    {0x28000000, POWERED, "RTL8168D"},    {0x2c000000, POWERED, "RTL8168E"},
    {0x2c800000, MANAGED, "RTL8168E-VL"}, {0x48000000, MANAGED, "RTL8168F"},
    {0x48800000, MANAGED, "RTL8411"},     {0x4c000000, GATED, "RTL8168G"},
    {0x50800000, GATED, "RTL8168GU"},     {0x5c800000, GATED, "RTL8411B"},
    {0x54000000, GATED, "RTL8168H"},      {0x50000000, GATED, "RTL8168EP"},
    {0x54800000, GATED, "RTL8168FP"},
};

struct ring {
    struct descriptor {
        uint32_t status, vlan;
        uint64_t address;
    } * at;
    uint8_t *buffers; /* NIC_BUFFER each */
    uint32_t next, count;
};
_Static_assert(sizeof(struct descriptor) == 16, "hardware layout");

struct state {
    struct ring rx, tx;
    enum generation generation;
    uint32_t interrupts; /* what IMR has */
};
_Static_assert(sizeof(struct state) <= NIC_STATE_SIZE, "the driver's state");

static struct state *state(struct nic *n)
{
    return (struct state *)(void *)n->state;
}

static unsigned bar(const struct nic *n)
{
    return n->id == ID_8168 || n->id == ID_8161 ? 2 : 1;
}

/* Not inlined: there are many calls, few of them for each frame. */
static __attribute__((noinline)) uint32_t get(const struct nic *n, enum reg reg)
{
    return nic_read(n, bar(n), reg & 0xff, reg >> 8);
}

static __attribute__((noinline)) void put(const struct nic *n, enum reg reg, uint32_t value)
{
    nic_write(n, bar(n), reg & 0xff, reg >> 8, value);
}

static void change(const struct nic *n, enum reg reg, uint32_t cleared, uint32_t set)
{
    put(n, reg, (get(n, reg) & ~cleared) | set);
}

static void linger(const struct nic *n, unsigned loops)
{
    while (loops--)
        (void)get(n, CR);
}

/* Waits until all of `bits` read as `wanted` has them. */
static int await(const struct nic *n, enum reg reg, uint32_t bits, uint32_t wanted)
{
    for (unsigned i = 0; i < WAIT_LOOPS; i++)
        if ((get(n, reg) & bits) == wanted)
            return 0;
    return -E_IO;
}

/* Ends what firmware or a boot program left running, DMA too. */
static void quieten(struct nic *n)
{
    enum generation g = state(n)->generation;

    state(n)->interrupts = 0;
    put(n, IMR, 0);
    change(n, RCR, RCR_ACCEPT, 0);
    if (g == GATED)
        change(n, MISC, 0, MISC_GATE);
    else
        change(n, CR, 0, CR_STOP);
    linger(n, LINGER_2_MS);
    if (g >= MANAGED)
        (void)await(n, TCR, TCR_EMPTY, TCR_EMPTY);
    if (g == GATED)
        (void)await(n, MCU, MCU_EMPTY, MCU_EMPTY);
}

static int reset(struct nic *n)
{
    quieten(n);
    put(n, CR, CR_RST);
    if (await(n, CR, CR_RST, 0))
        return -E_IO;
    put(n, ISR, UINT16_MAX);
    return 0;
}

static int identify(struct nic *n)
{
    uint32_t tcr = get(n, TCR);

    if (tcr == UINT32_MAX)
        return -E_IO;
    for (size_t i = 0; i < ARRAY_LEN(revisions); i++)
        if (revisions[i].bits == (tcr & TCR_REVISION)) {
            n->name = revisions[i].name;
            state(n)->generation = revisions[i].generation;
            return 0;
        }
    return -E_NOENT;
}

/* What firmware wrote, else what the EEPROM has. */
static int read_mac(struct nic *n)
{
    for (unsigned tries = 2; tries; tries--) {
        for (unsigned i = 0; i < sizeof(n->mac); i++)
            n->mac[i] = (uint8_t)get(n, IDR + i);
        if (nic_mac_is_good(n->mac))
            return 0;
        put(n, CR9346, CR9346_LOAD);
        (void)await(n, CR9346, CR9346_MODE, 0);
    }
    return -E_IO;
}

static int probe(struct nic *n)
{
    int rc = n->bus.map(n->bus.ctx, bar(n), REGISTERS_END);

    if (rc == 0)
        rc = identify(n);
    if (rc == 0)
        rc = reset(n);
    return rc ? rc : read_mac(n);
}

static uint8_t *buffer(const struct ring *r)
{
    return nic_buffer(r->buffers, r->next);
}

/* Gives the card the next descriptor, and goes on to the one after it. */
static void give(struct ring *r, uint32_t what)
{
    bool last = r->next + 1 == r->count;

    r->at[r->next].vlan = 0;
    __atomic_store_n(&r->at[r->next].status, OWN | (last ? EOR : 0) | what, __ATOMIC_RELEASE);
    r->next = last ? 0 : r->next + 1;
}

static void lay_out(struct ring *r, void *descriptors, uint8_t *buffers, uint32_t count)
{
    *r = (struct ring){.at = descriptors, .buffers = buffers, .count = count};
    for (uint32_t i = 0; i < count; i++)
        r->at[i].address = (uintptr_t)nic_buffer(buffers, i);
}

static void change_fifo(const struct nic *n, uint32_t cleared, uint32_t set)
{
    put(n, OCPDR, OCP_FIFO);
    put(n, OCPDR, OCP_WRITE | OCP_FIFO | (get(n, OCPDR) & UINT16_MAX & ~cleared) | set);
    (void)await(n, MCU, MCU_READY, MCU_READY);
}

/* From a management controller, or from waiting for a frame that wakes the machine. */
static void take_over(const struct nic *n, enum generation g)
{
    change(n, MCU, MCU_OOB, 0);
    if (g == GATED) {
        change_fifo(n, 1u << 14, 0);
        change_fifo(n, 0, 1u << 15);
    }
    change(n, CONFIG2, CONFIG2_CLKREQ, 0);
    change(n, CONFIG5, CONFIG5_ASPM, 0);
}

/* What PHYAR has when its flag has become `flag`, or -E_IO. */
static int access_phy(const struct nic *n, uint32_t command, uint32_t flag)
{
    uint32_t v = ~flag;

    put(n, PHYAR, command);
    for (unsigned i = 0; i < WAIT_PHY && (v & PHYAR_FLAG) != flag; i++)
        v = get(n, PHYAR);
    linger(n, LINGER_20_US);
    return (v & PHYAR_FLAG) == flag ? (int)(v & UINT16_MAX) : -E_IO;
}

static int write_phy(const struct nic *n, enum phy_reg reg, uint32_t value)
{
    return access_phy(n, PHYAR_FLAG | (uint32_t)reg << 16 | value, 0);
}

/* Has the PHY negotiate, unless it has done so with the best result: firmware may have left it slow
 * to save power, off, or on a page that is not its first. */
static void negotiate(const struct nic *n)
{
    const uint32_t best = PHYSTATUS_LINK | PHYSTATUS_1000;
    int v = BMCR_RESET;

    if (write_phy(n, PAGE, 0) < 0 || (get(n, PHYSTATUS) & best) == best ||
        write_phy(n, BMCR, BMCR_RESET) < 0)
        return;
    for (unsigned i = 0; i < WAIT_PHY && v >= 0 && v & (int)BMCR_RESET; i++)
        v = access_phy(n, BMCR << 16, PHYAR_FLAG);
    (void)write_phy(n, MMD_DATA, 0); /* without this some find no link */
    (void)write_phy(n, ANAR, ANAR_ALL);
    (void)write_phy(n, GBCR, GBCR_ALL);
    (void)write_phy(n, BMCR, BMCR_NEGOTIATE);
}

/* Some chips take it when its lower half is written. */
static void put_address(const struct nic *n, enum reg reg, const void *p)
{
    put(n, reg + 4, (uint32_t)((uintptr_t)p >> 32));
    put(n, reg, (uint32_t)(uintptr_t)p);
}

/* The only unicast filter has the card's own address, which firmware and we read there after a
 * restart; so all unicast frames come in. */
static void switch_on(const struct nic *n, const struct state *s)
{
    put_address(n, TNPDS, s->tx.at);
    put_address(n, RDSAR, s->rx.at);
    put(n, MAR, UINT32_MAX);
    put(n, MAR + 4, UINT32_MAX);
    if (s->generation == GATED)
        change(n, MISC, MISC_GATE, 0);
    put(n, CR9346, 0);
    put(n, CR, CR_RE_TE); /* before the other two: only then these can be written */
    put(n, TCR, TCR_VALUE | (s->generation >= MANAGED ? TCR_AUTO_FIFO : 0));
    put(n, RCR, RCR_VALUE | (s->generation == GATED ? RCR_EARLY_OFF : 0) | RCR_ALL_GOOD);
}

static int start(struct nic *n, void *memory)
{
    struct state *s = state(n);
    enum generation g = s->generation;
    struct descriptor *tx = (struct descriptor *)memory + RX_COUNT;
    uint8_t *buffers = (uint8_t *)(tx + TX_COUNT);

    if (reset(n))
        return -E_IO;
    lay_out(&s->rx, memory, buffers, g == C_PLUS ? C_PLUS_COUNT : RX_COUNT);
    lay_out(&s->tx, tx, nic_buffer(buffers, RX_COUNT), g == C_PLUS ? C_PLUS_COUNT : TX_COUNT);
    for (uint32_t i = 0; i < s->rx.count; i++)
        give(&s->rx, NIC_BUFFER);
    put(n, CR9346, CR9346_MODE);
    if (g >= POWERED)
        change(n, PMCH, 0, PMCH_ON);
    if (g >= MANAGED)
        take_over(n, g);
    change(n, CPCR, ~CPCR_NORMAL, CPCR_C_PLUS);
    put(n, MTPS, g >= MANAGED ? MTPS_MANAGED : MTPS_MAX);
    put(n, RMS, RMS_ANY);
    put(n, MITIGATE, MITIGATE_2_60);
    switch_on(n, s);
    if (g != C_PLUS) /* whose PHY needs no telling */
        negotiate(n);
    return 0;
}

/* Has the card look for frames to send, or interrupt. */
static void poll(struct nic *n, uint32_t what)
{
    put(n, state(n)->generation == C_PLUS ? TPPOLL_C_PLUS : TPPOLL, what);
}

static void listen(struct nic *n)
{
    state(n)->interrupts = INT_RX | INT_TX | INT_LINK | INT_SOFTWARE;
    put(n, IMR, state(n)->interrupts);
    poll(n, POLL_FSWINT);
}

static uint32_t interrupt(struct nic *n)
{
    uint32_t mask = state(n)->interrupts, cause = get(n, ISR);

    if (cause == UINT16_MAX || !(cause & mask)) /* the card has gone, or it is another's */
        return 0;
    /* Causes that come meanwhile send a message when the mask opens. */
    put(n, IMR, 0);
    put(n, ISR, cause);
    put(n, IMR, mask);
    if (cause & INT_TX) /* PCI Express chips miss what they are told while they send */
        poll(n, POLL_NPQ);
    return (cause & INT_RX ? NIC_EVENT_FRAMES : 0) |
           (cause & (INT_LINK | INT_SOFTWARE) ? NIC_EVENT_LINK : 0);
}

static unsigned receive(struct nic *n, unsigned budget)
{
    struct ring *r = &state(n)->rx;
    uint32_t error = state(n)->generation == C_PLUS ? ERROR_C_PLUS : ERROR;
    unsigned done = 0;

    for (; done < budget; done++) {
        /* Once: the card can still write to it. */
        uint32_t status = __atomic_load_n(&r->at[r->next].status, __ATOMIC_ACQUIRE);
        uint32_t length = status & LENGTH;

        if (status & OWN)
            break;
        nic_take(n, (status & (WHOLE | error)) == WHOLE && length > CRC && length <= NIC_BUFFER,
                 buffer(r), 0, length - CRC);
        give(r, NIC_BUFFER);
    }
    if (!done) /* it may be polled: no interrupt() */
        poll(n, POLL_NPQ);
    return done;
}

static bool send(struct nic *n, const uint8_t *frame, size_t len)
{
    struct ring *r = &state(n)->tx;
    size_t padded = len < FRAME_MIN ? FRAME_MIN : len;

    if (__atomic_load_n(&r->at[r->next].status, __ATOMIC_ACQUIRE) & OWN)
        return false;
    memcpy(buffer(r), frame, len);
    memset(buffer(r) + len, 0, padded - len);
    give(r, WHOLE | (uint32_t)padded);
    poll(n, POLL_NPQ);
    return true;
}

static struct nic_link link(struct nic *n)
{
    bool c_plus = state(n)->generation == C_PLUS;
    uint32_t v = get(n, c_plus ? MSR_C_PLUS : PHYSTATUS);
    bool up = c_plus ? !(v & MSR_NO_LINK) : v & PHYSTATUS_LINK;

    if (!up || v == UINT8_MAX) /* the latter: the card has gone */
        return (struct nic_link){.up = false};
    if (c_plus && (v & MSR_10))
        return (struct nic_link){true, get(n, ANLPAR_C_PLUS) & ANLPAR_10_FULL, 10};
    if (c_plus)
        return (struct nic_link){true, get(n, ANLPAR_C_PLUS) & ANLPAR_100_FULL, 100};
    return (struct nic_link){true, v & PHYSTATUS_FULL,
                             v & PHYSTATUS_1000  ? 1000
                             : v & PHYSTATUS_100 ? 100
                                                 : 10};
}

static const struct nic_id ids[] = {
    {ID_8168, "RTL8168"},    {ID_8161, "RTL8168"},    {0x816910ec, "RTL8169"},
    {0x816710ec, "RTL8169"}, {0x813910ec, "RTL8139"}, {0, NULL},
};

const struct nic_driver r8169_driver = {
    .name = "r8169",
    .ids = ids,
    .memory = (sizeof(struct descriptor) + NIC_BUFFER) * (RX_COUNT + TX_COUNT),
    .probe = probe,
    .start = start,
    .listen = listen,
    .interrupt = interrupt,
    .receive = receive,
    .send = send,
    .link = link,
};
