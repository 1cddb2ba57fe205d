/* SOURCES: net/nic.c hv/lib.c */
/* nic.c with a machine of up to two cards, a switch and drivers made of C. */
#include "hv/core.h"
#include "hv/log.h"
#include "hv/net.h"
#include "net/nic.h"
#include "net/uplink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CARD     0x20118u /* segment 2, bus 1, device 3 */
#define OTHER    0x20121u /* segment 2, bus 1, device 4, function 1 */
#define CARD_ID  0x00011234u
#define OTHER_ID 0x00021234u
#define PORT     9u /* of the first card that is attached; the second has the next */

static struct model {
    uint32_t id, command;
    enum arch_irq irq;
    void (*handler)(void *ctx);
    void *ctx;
    int probe, start, bar;
    bool link, full;
    uint32_t event;
    unsigned waiting, detached, calls, listened, hears, first_heard;
    struct nic *nic;
    enum filter_role role;
    unsigned port;
    net_deliver *send;
    void *send_ctx;
    uint8_t registers[64];
} m, other;
static unsigned woken, ports, warned;
static const struct net_card_name first[ABI_NIC_ROLES];
static struct abi_nic all[ABI_NICS_MAX];
#define shown (all[0])

static struct model *at(uint32_t bdf)
{
    assert_true(bdf == CARD || bdf == OTHER);
    return bdf == CARD ? &m : &other;
}

static struct model *of(const struct nic *n)
{
    return n->id == OTHER_ID ? &other : &m;
}

/* ---- the machine ---- */

uint32_t arch_pci_read(uint32_t bdf, uint16_t offset)
{
    (void)at(bdf);
    return offset;
}

uint32_t arch_pci_next(uint32_t *bdf)
{
    if (*bdf <= 0x10 && m.id) {
        *bdf = 0x10;
        return 0xabcd8086; /* no driver knows it */
    }
    if (*bdf <= CARD && m.id) {
        *bdf = CARD;
        return m.id;
    }
    if (*bdf <= OTHER && other.id) {
        *bdf = OTHER;
        return other.id;
    }
    return UINT32_MAX;
}

void arch_pci_enable(uint32_t bdf, uint32_t bits)
{
    at(bdf)->command |= bits;
}

int arch_pci_bar(uint32_t bdf, unsigned bar, uint64_t *base)
{
    assert_int_equal(bar, 2);
    *base = (uintptr_t)at(bdf)->registers;
    return at(bdf)->bar;
}

enum arch_irq arch_pci_interrupt(uint32_t bdf, unsigned core, void (*handler)(void *ctx), void *ctx)
{
    struct model *k = at(bdf);

    assert_int_equal(core, 3);
    assert_int_equal(k->command, 6); /* memory and bus mastering are on */
    k->handler = handler;
    k->ctx = ctx;
    return k->irq;
}

void *arch_map_mmio(hpa_t base, size_t length)
{
    assert_true(length <= sizeof(m.registers));
    return arch_ptr(base);
}

uint64_t arch_tsc_hz(void)
{
    return 1000000;
}

void core_wake(unsigned id)
{
    assert_int_equal(id, 3);
    woken++;
}

void log_info(const char *format, ...)
{
    (void)format;
}

void log_warn(const char *format, ...)
{
    (void)format;
    warned++;
}

/* ---- the switch ---- */

int switch_attach(struct vswitch *s, enum filter_role role, const uint8_t mac[SWITCH_MAC_SIZE],
                  const struct net_config *config, net_deliver *deliver, void *ctx)
{
    /* Its card has been probed: it is the one with this context. */
    struct model *k = m.nic && m.nic->bus.ctx == ctx ? &m : &other;

    (void)s, (void)mac, (void)config;
    assert_true(role & FILTER_UPLINK && k->nic->bus.ctx == ctx);
    k->role = role;
    k->send = deliver;
    k->send_ctx = ctx;
    k->port = PORT + ports;
    return (int)(PORT + ports++);
}

void switch_detach(struct vswitch *s, unsigned port)
{
    (void)s;
    (port == m.port ? &m : &other)->detached++;
}

enum net_drop switch_input(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len,
                           uint64_t now)
{
    (void)s, (void)now;
    assert_int_equal(port, frame[1] ? other.port : m.port);
    assert_int_equal(frame[0], len);
    return NET_DROP_RATE;
}

/* ---- the driver ---- */

static int probe(struct nic *n)
{
    int rc = n->bus.map(n->bus.ctx, 2, sizeof(m.registers));
    struct model *k = of(n);

    if (rc)
        return rc;
    if (!k->probe)
        k->nic = n;
    memcpy(n->mac, (uint8_t[]){2, 1, 2, 3, 4, k == &m ? 5 : 6}, 6);
    return k->probe;
}

static int start(struct nic *n, void *memory)
{
    struct model *k = of(n);

    assert_int_equal((uintptr_t)memory % PAGE_SIZE, 0);
    assert_int_equal(n->irq, k->irq);
    k->hears = n->hear_count;
    k->first_heard = n->hears[0][5];
    assert_int_equal(n->hears[n->hear_count - 1][5], k->first_heard + k->hears - 1);
    return k->start;
}

static void listen(struct nic *n)
{
    of(n)->listened++;
}

static uint32_t interrupt(struct nic *n)
{
    return of(n)->event;
}

static unsigned receive(struct nic *n, unsigned budget)
{
    uint8_t frame[60] = {60, of(n) == &other};
    unsigned done = 0;

    for (; done < budget && of(n)->waiting; done++, of(n)->waiting--)
        nic_take(n, true, frame, 0, sizeof(frame));
    return done;
}

static bool send(struct nic *n, const uint8_t *frame, size_t len)
{
    of(n)->calls++;
    return frame[0] == len % 256;
}

static struct nic_link link_state(struct nic *n)
{
    return (struct nic_link){of(n)->link, of(n)->full, 1000};
}

static const struct nic_id ids[] = {{CARD_ID - 1, "other"}, {CARD_ID, "ours"}, {0, NULL}},
                           others[] = {{OTHER_ID, "theirs"}, {0, NULL}}, none[] = {{0, NULL}};
#define DRIVER(list)                                                                               \
    {                                                                                              \
        .name = "driver", .ids = (list), .memory = PAGE_SIZE, .probe = probe, .start = start,      \
        .listen = listen, .interrupt = interrupt, .receive = receive, .send = send,                \
        .link = link_state                                                                         \
    }
const struct nic_driver e1000_driver = DRIVER(none), e1000e_driver = DRIVER(ids),
                        igb_driver = DRIVER(others), igc_driver = DRIVER(none),
                        r8169_driver = DRIVER(none), virtio_nic_driver = DRIVER(none),
                        vmxnet3_driver = DRIVER(none);

/* ---- the tests ---- */

static void *alloc(size_t bytes)
{
    static _Alignas(PAGE_SIZE) uint8_t memory[PAGE_SIZE];

    return bytes <= sizeof(memory) ? memory : NULL;
}

static void address(unsigned number, uint8_t mac[6])
{
    memcpy(mac, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)number}, 6);
}

static int setup(void **state)
{
    (void)state;
    memset(&m, 0, sizeof(m));
    memset(&other, 0, sizeof(other));
    memset(all, 0, sizeof(all));
    ports = woken = warned = 0;
    m.id = CARD_ID;
    m.irq = other.irq = ARCH_IRQ_MSIX;
    m.link = m.full = other.link = true;
    return 0;
}

static int bring_up_as(const struct net_card_name *names)
{
    int rc = uplink_find(names);

    if (rc == 0)
        rc = uplink_start(NULL, all, 3, alloc, address);
    assert_int_equal(woken, m.listened + other.listened); /* the core learns of each */
    woken = 0;
    return rc;
}

static int bring_up(void)
{
    return bring_up_as(first);
}

static void no_card(void **state)
{
    (void)state;
    m.id = 0;
    assert_int_equal(uplink_find(first), -E_NOENT);
    m.id = 0x99998086;
    assert_int_equal(uplink_find(first), -E_NOENT);
    assert_null(uplink_address());
    assert_int_equal(uplink_start(NULL, all, 3, alloc, address), -E_NOENT);
    assert_string_equal(net_uplink_name(), "");
    assert_false(net_pending());
    assert_true(net_poll(5) == NEVER);
}

static void failures(void **state)
{
    (void)state;
    m.bar = -E_IO;
    assert_int_equal(uplink_find(first), -E_IO);
    m.bar = 0;
    m.probe = -E_NOTSUP;
    assert_int_equal(uplink_find(first), -E_NOTSUP);
    assert_null(uplink_address());
    m.probe = -E_NOENT; /* of an unknown revision */
    assert_int_equal(uplink_find(first), -E_NOENT);
    assert_null(uplink_address());
    m.probe = 0;
    m.start = -E_IO;
    assert_int_equal(bring_up(), -E_IO);
    assert_int_equal(m.detached, 1);
    assert_int_equal(m.listened, 0);
    assert_string_equal(net_uplink_name(), "");
    assert_string_equal(shown.name, "ours"); /* it exists, and nobody uses it */
    assert_int_equal(shown.roles, 0);
}

static void shows(void **state)
{
    (void)state;
    assert_int_equal(bring_up(), 0);
    assert_int_equal(m.listened, 1);
    assert_string_equal(net_uplink_name(), "ours");
    assert_int_equal(uplink_address()[5], 5);
    assert_string_equal(shown.name, "ours");
    assert_string_equal(shown.driver, "driver");
    assert_int_equal(shown.place, CARD);
    assert_int_equal(shown.irq, ABI_NIC_MSIX);
    assert_true(shown.link_up && shown.full_duplex && shown.mbits == 1000);
    assert_int_equal(shown.roles, ABI_NIC_MANAGEMENT | ABI_NIC_GUESTS);
    assert_int_equal(m.role, FILTER_UPLINK);
    assert_int_equal(m.hears, NIC_HEARS_MAX);
}

/* ---- two cards ---- */

static void first_of_two(void **state)
{
    (void)state;
    other.id = OTHER_ID;
    assert_int_equal(bring_up(), 0);
    assert_int_equal(m.role, FILTER_UPLINK);
    assert_int_equal(ports, 1);
    assert_int_equal(other.listened, 0);
    assert_int_equal(other.command, 2); /* no bus mastering */
    assert_string_equal(all[1].name, "theirs");
    assert_int_equal(all[1].place, OTHER);
    assert_int_equal(all[1].mac[5], 6);
    assert_int_equal(all[1].roles, 0);
    assert_string_equal(all[2].name, "");
    assert_int_equal(warned, 0);
    /* One that does not answer is passed over. */
    (void)setup(state);
    other.id = OTHER_ID;
    m.probe = -E_IO;
    assert_int_equal(bring_up(), 0);
    assert_int_equal(other.role, FILTER_UPLINK);
    assert_string_equal(shown.name, "theirs");
    assert_string_equal(all[1].name, "");
}

/* Named in each way: management has the second card, the guests the first. */
static void apart(void **state)
{
    static const struct net_card_name ways[][ABI_NIC_ROLES] = {
        {{1, {1}}, {1, {0}}},
        {{4, {2, 1, 4, 1}}, {4, {2, 1, 3, 0}}},
        {{6, {2, 1, 2, 3, 4, 6}}, {6, {2, 1, 2, 3, 4, 5}}},
        {{4, {2, 1, 4, 1}}, {0, {0}}},
    };

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        (void)setup(state);
        other.id = OTHER_ID;
        assert_int_equal(bring_up_as(ways[i]), 0);
        assert_int_equal(other.role, FILTER_UPLINK_MANAGEMENT);
        assert_int_equal(m.role, FILTER_UPLINK_GUESTS);
        assert_int_equal(all[0].roles, ABI_NIC_GUESTS);
        assert_int_equal(all[1].roles, ABI_NIC_MANAGEMENT);
        assert_string_equal(net_uplink_name(), "theirs");
        assert_int_equal(uplink_address()[5], 5); /* all addresses derive from the first one's */
        /* Each lets in what is for those that it serves. */
        assert_int_equal(other.hears, 1);
        assert_int_equal(other.first_heard, 0);
        assert_int_equal(m.hears, NIC_HEARS_MAX - 1);
        assert_int_equal(m.first_heard, 1);
        assert_int_equal(m.listened + other.listened, 2);
        assert_int_equal(warned, 0);
    }
}

/* A name that fits no card: those who should have it get none, in particular not the other's. */
static void misnamed(void **state)
{
    static const struct net_card_name ways[] = {
        {1, {2}}, {4, {2, 1, 4, 2}}, {4, {1, 1, 4, 1}}, {6, {2, 1, 2, 3, 4, 7}}};

    for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
        const struct net_card_name guests[] = {{0, {0}}, ways[i]},
                                   managements[] = {ways[i], {0, {0}}};

        (void)setup(state);
        other.id = OTHER_ID;
        assert_int_equal(bring_up_as(guests), 0);
        assert_int_equal(m.role, FILTER_UPLINK_MANAGEMENT);
        assert_int_equal(ports, 1);
        assert_int_equal(warned, 1);
        (void)setup(state);
        other.id = OTHER_ID;
        assert_int_equal(bring_up_as(managements), -E_NOENT);
        assert_int_equal(m.role, FILTER_UPLINK_GUESTS);
        assert_int_equal(ports, 1);
        assert_string_equal(net_uplink_name(), "");
        assert_int_equal(warned, 1);
    }
}

static const struct net_card_name crossed[ABI_NIC_ROLES] = {{0, {0}}, {1, {1}}};

/* Frames and counters of each stay its own; two frames in a call, of one card. */
static void take_turns(void **state)
{
    uint8_t frame[60] = {60};

    (void)state;
    other.id = OTHER_ID;
    assert_int_equal(bring_up_as(crossed), 0);
    m.event = other.event = NIC_EVENT_FRAMES;
    m.handler(m.ctx);
    other.handler(other.ctx);
    (void)net_poll(0);
    assert_true(net_poll(0) == NEVER); /* both have interrupted */
    assert_false(net_pending());
    m.waiting = 5;
    other.waiting = 3;
    m.handler(m.ctx);
    other.handler(other.ctx);
    for (unsigned left = 8; left; left = m.waiting + other.waiting) {
        uint64_t next = net_poll(7);

        assert_true(next == (m.waiting + other.waiting ? 7 : NEVER));
        assert_in_range(left - m.waiting - other.waiting, 1, 2);
        assert_true(m.waiting <= other.waiting + 4); /* neither waits for the other */
    }
    assert_false(net_pending());
    assert_int_equal(all[0].rx_frames, 5);
    assert_int_equal(all[1].rx_frames, 3);
    assert_int_equal(all[0].became[NET_DROP_RATE], 5);
    assert_int_equal(all[1].became[NET_DROP_RATE], 3);
    assert_int_equal(all[0].interrupts, 2);
    m.send(m.send_ctx, frame, 60, NULL);
    assert_int_equal(m.calls, 1);
    other.send(other.send_ctx, frame, 60, NULL);
    other.send(other.send_ctx, frame, 60, NULL);
    assert_int_equal(other.calls, 2);
    assert_int_equal(all[1].tx_frames, 2);
}

/* One is polled for good, beside one that interrupts. */
static void one_polled(void **state)
{
    (void)state;
    other.id = OTHER_ID;
    assert_int_equal(bring_up_as(crossed), 0);
    m.event = NIC_EVENT_FRAMES;
    m.handler(m.ctx);
    (void)net_poll(5000);
    assert_int_equal(net_poll(5000), 6000);
    assert_int_equal(net_poll(5500), 6000); /* nothing is due */
    other.waiting = 1;
    assert_true(net_pending());
    assert_int_equal(net_poll(6000), 7000);
    assert_int_equal(other.waiting, 0);
    assert_int_equal(all[1].interrupts, 0);
}

/* The guests' card does not start: management has its own. */
static void one_fails(void **state)
{
    (void)state;
    other.id = OTHER_ID;
    other.start = -E_IO;
    assert_int_equal(bring_up_as(crossed), 0);
    assert_int_equal(other.detached, 1);
    assert_int_equal(all[1].roles, 0);
    assert_int_equal(all[0].roles, ABI_NIC_MANAGEMENT);
    assert_string_equal(net_uplink_name(), "ours");
}

/* Polled a thousand times a second until an interrupt was seen, whatever the card is said to do. */
static void polled(void **state)
{
    (void)state;
    for (unsigned irq = 0; irq < ABI_NIC_IRQS; irq++) {
        (void)setup(state);
        m.irq = (enum arch_irq)irq;
        assert_int_equal(bring_up(), 0);
        assert_true(net_pending());
        assert_int_equal(net_poll(5000), 6000);
        m.waiting = 3;
        assert_int_equal(net_poll(6000), 6000); /* two, and there are more */
        assert_int_equal(net_poll(6000), 7000);
        assert_int_equal(shown.became[NET_DROP_RATE], 3);
        assert_int_equal(shown.rx_frames, 3);
        assert_true(net_pending());
        m.handler(m.ctx); /* another device's on the same line */
        assert_int_equal(woken, 0);
        assert_int_equal(net_poll(7000), 8000);
        m.event = NIC_EVENT_FRAMES;
        m.handler(m.ctx);
        assert_int_equal(woken, 1);
        assert_true(net_pending());
        assert_true(net_poll(8000) == NEVER);
        assert_int_equal(shown.interrupts, 1);
        assert_false(net_pending());
    }
}

static void link_changes(void **state)
{
    (void)state;
    assert_int_equal(bring_up(), 0);
    m.link = false;
    m.event = NIC_EVENT_FRAMES;
    m.handler(m.ctx);
    (void)net_poll(0);
    assert_true(shown.link_up); /* looked at when the card says so */
    m.event = NIC_EVENT_LINK;
    m.handler(m.ctx);
    (void)net_poll(0);
    assert_false(shown.link_up);
}

static void sends(void **state)
{
    uint8_t frame[NET_FRAME_MAX + 1] = {60};

    (void)state;
    assert_int_equal(bring_up(), 0);
    m.send(m.send_ctx, frame, 60, NULL);
    m.send(m.send_ctx, frame, 61, NULL); /* the driver refuses it */
    assert_int_equal(m.calls, 2);
    m.send(m.send_ctx, frame, 0, NULL);
    m.send(m.send_ctx, frame, sizeof(frame), NULL);
    assert_int_equal(m.calls, 2); /* it does not get these */
    assert_int_equal(shown.tx_frames, 1);
    assert_int_equal(shown.tx_dropped, 3);
}

static void reaches_registers(void **state)
{
    (void)state;
    assert_int_equal(bring_up(), 0);
    nic_write(m.nic, 2, 4, 4, 0x11223344);
    nic_write(m.nic, 2, 4, 1, 0x55);
    nic_write(m.nic, 2, 6, 2, 0x6677);
    assert_int_equal(nic_read(m.nic, 2, 4, 4), 0x66773355);
    assert_int_equal(nic_read(m.nic, 2, 5, 1), 0x33);
    assert_int_equal(nic_read(m.nic, 2, 6, 2), 0x6677);
    assert_int_equal(m.nic->bus.config(m.nic->bus.ctx, 0x34), 0x34);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(no_card),
        TEST(failures),
        TEST(shows),
        TEST(polled),
        TEST(link_changes),
        TEST(sends),
        TEST(reaches_registers),
        TEST(first_of_two),
        TEST(apart),
        TEST(misnamed),
        TEST(take_turns),
        TEST(one_polled),
        TEST(one_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
