/* SOURCES: net/nic.c hv/lib.c */
/* nic.c with a machine, a switch and drivers made of C. */
#include "hv/core.h"
#include "hv/log.h"
#include "net/nic.h"
#include "net/uplink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CARD    0x20118u /* segment 2, bus 1, device 3 */
#define CARD_ID 0x00011234u

static struct {
    uint32_t id, command;
    enum arch_irq irq;
    void (*handler)(void *ctx);
    void *ctx;
    int probe, start, bar;
    bool link, full;
    uint32_t event;
    unsigned waiting, woken, detached, calls, listened;
    struct nic *nic;
    void (*send)(void *ctx, const uint8_t *frame, size_t len);
    void *send_ctx;
} m;
static uint64_t frames[NET_DROPS];
static struct abi_nic shown;
static uint8_t registers[64];

/* ---- the machine ---- */

uint32_t arch_pci_read(uint32_t bdf, uint16_t offset)
{
    assert_int_equal(bdf, CARD);
    return offset;
}

uint32_t arch_pci_next(uint32_t *bdf)
{
    if (*bdf <= 0x10 && m.id) {
        *bdf = 0x10;
        return 0xabcd8086; /* no driver knows it */
    }
    if (*bdf > CARD || !m.id)
        return UINT32_MAX;
    *bdf = CARD;
    return m.id;
}

void arch_pci_enable(uint32_t bdf, uint32_t bits)
{
    assert_int_equal(bdf, CARD);
    m.command |= bits;
}

int arch_pci_bar(uint32_t bdf, unsigned bar, uint64_t *base)
{
    assert_int_equal(bdf, CARD);
    assert_int_equal(bar, 2);
    *base = (uintptr_t)registers;
    return m.bar;
}

enum arch_irq arch_pci_interrupt(uint32_t bdf, unsigned core, void (*handler)(void *ctx), void *ctx)
{
    assert_int_equal(bdf, CARD);
    assert_int_equal(core, 3);
    assert_int_equal(m.command, 6); /* memory and bus mastering are on */
    m.handler = handler;
    m.ctx = ctx;
    return m.irq;
}

void *arch_map_mmio(hpa_t base, size_t length)
{
    assert_true(length <= sizeof(registers));
    return arch_ptr(base);
}

uint64_t arch_tsc_hz(void)
{
    return 1000000;
}

void core_wake(unsigned id)
{
    assert_int_equal(id, 3);
    m.woken++;
}

void log_info(const char *format, ...)
{
    (void)format;
}

void log_warn(const char *format, ...)
{
    (void)format;
}

/* ---- the switch ---- */

int switch_attach(struct vswitch *s, enum filter_role role, const uint8_t mac[SWITCH_MAC_SIZE],
                  const struct net_config *config, switch_deliver *deliver, void *ctx)
{
    (void)s, (void)mac, (void)config;
    assert_int_equal(role, FILTER_UPLINK);
    m.send = deliver;
    m.send_ctx = ctx;
    return 9;
}

void switch_detach(struct vswitch *s, unsigned port)
{
    (void)s;
    assert_int_equal(port, 9);
    m.detached++;
}

enum net_drop switch_input(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len,
                           uint64_t now)
{
    (void)s, (void)now;
    assert_int_equal(port, 9);
    assert_int_equal(frame[0], len);
    return NET_DROP_RATE;
}

/* ---- the driver ---- */

static int probe(struct nic *n)
{
    int rc = n->bus.map(n->bus.ctx, 2, sizeof(registers));

    if (rc)
        return rc;
    m.nic = n;
    memcpy(n->mac, (uint8_t[]){2, 1, 2, 3, 4, 5}, 6);
    return m.probe;
}

static int start(struct nic *n, void *memory)
{
    assert_int_equal((uintptr_t)memory % PAGE_SIZE, 0);
    assert_int_equal(n->irq, m.irq);
    assert_int_equal(n->hear_count, NIC_HEARS_MAX);
    assert_int_equal(n->hears[15][5], 15);
    return m.start;
}

static void listen(struct nic *n)
{
    (void)n;
    m.listened++;
}

static void stop(struct nic *n)
{
    (void)n;
}

static uint32_t interrupt(struct nic *n)
{
    (void)n;
    return m.event;
}

static unsigned receive(struct nic *n, unsigned budget)
{
    static uint8_t frame[60] = {60};
    unsigned done = 0;

    for (; done < budget && m.waiting; done++, m.waiting--)
        nic_deliver(n, frame, sizeof(frame));
    return done;
}

static bool send(struct nic *n, const uint8_t *frame, size_t len)
{
    (void)n;
    m.calls++;
    return frame[0] == len % 256;
}

static struct nic_link link_state(struct nic *n)
{
    (void)n;
    return (struct nic_link){m.link, m.full, 1000};
}

static const struct nic_id ids[] = {{CARD_ID - 1, "other"}, {CARD_ID, "ours"}, {0, NULL}},
                           none[] = {{0, NULL}};
#define DRIVER(list)                                                                               \
    {                                                                                              \
        .name = "driver", .ids = (list), .memory = PAGE_SIZE, .probe = probe, .start = start,      \
        .listen = listen, .stop = stop, .interrupt = interrupt, .receive = receive, .send = send,  \
        .link = link_state                                                                         \
    }
const struct nic_driver e1000_driver = DRIVER(none), e1000e_driver = DRIVER(ids),
                        igb_driver = DRIVER(none), igc_driver = DRIVER(none),
                        virtio_nic_driver = DRIVER(none);

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
    memset(frames, 0, sizeof(frames));
    memset(&shown, 0, sizeof(shown));
    m.id = CARD_ID;
    m.irq = ARCH_IRQ_MSIX;
    m.link = m.full = true;
    return 0;
}

static int bring_up(void)
{
    int rc = uplink_find();

    return rc ? rc : uplink_start(NULL, frames, &shown, 3, alloc, address);
}

static void no_card(void **state)
{
    (void)state;
    m.id = 0;
    assert_int_equal(uplink_find(), -E_NOENT);
    m.id = 0x99998086;
    assert_int_equal(uplink_find(), -E_NOENT);
    assert_null(uplink_address());
    assert_int_equal(uplink_start(NULL, frames, &shown, 3, alloc, address), -E_NOENT);
    assert_string_equal(uplink_name(), "");
    assert_false(uplink_pending());
    assert_true(uplink_poll(5) == NEVER);
}

static void failures(void **state)
{
    (void)state;
    m.bar = -E_IO;
    assert_int_equal(uplink_find(), -E_IO);
    m.bar = 0;
    m.probe = -E_NOTSUP;
    assert_int_equal(uplink_find(), -E_NOTSUP);
    assert_null(uplink_address());
    m.probe = 0;
    m.start = -E_IO;
    assert_int_equal(bring_up(), -E_IO);
    assert_int_equal(m.detached, 1);
    assert_int_equal(m.listened, 0);
    assert_string_equal(uplink_name(), "");
    assert_string_equal(shown.name, "");
}

static void shows(void **state)
{
    (void)state;
    assert_int_equal(bring_up(), 0);
    assert_int_equal(m.listened, 1);
    assert_string_equal(uplink_name(), "ours");
    assert_int_equal(uplink_address()[5], 5);
    assert_string_equal(shown.name, "ours");
    assert_string_equal(shown.driver, "driver");
    assert_int_equal(shown.place, CARD);
    assert_int_equal(shown.irq, ABI_NIC_MSIX);
    assert_true(shown.link_up && shown.full_duplex && shown.mbits == 1000);
}

/* Polled a thousand times a second until an interrupt was seen, whatever the card is said to do. */
static void polled(void **state)
{
    (void)state;
    for (unsigned irq = 0; irq < ABI_NIC_IRQS; irq++) {
        setup(state);
        m.irq = (enum arch_irq)irq;
        assert_int_equal(bring_up(), 0);
        assert_true(uplink_pending());
        assert_int_equal(uplink_poll(5000), 6000);
        m.waiting = 3;
        assert_int_equal(uplink_poll(6000), 6000); /* two, and there are more */
        assert_int_equal(uplink_poll(6000), 7000);
        assert_int_equal(frames[NET_DROP_RATE], 3);
        assert_int_equal(shown.rx_frames, 3);
        assert_true(uplink_pending());
        m.handler(m.ctx); /* another device's on the same line */
        assert_int_equal(m.woken, 0);
        assert_int_equal(uplink_poll(7000), 8000);
        m.event = NIC_EVENT_FRAMES;
        m.handler(m.ctx);
        assert_int_equal(m.woken, 1);
        assert_true(uplink_pending());
        assert_true(uplink_poll(8000) == NEVER);
        assert_int_equal(shown.interrupts, 1);
        assert_false(uplink_pending());
    }
}

static void link_changes(void **state)
{
    (void)state;
    assert_int_equal(bring_up(), 0);
    m.link = false;
    m.event = NIC_EVENT_FRAMES;
    m.handler(m.ctx);
    (void)uplink_poll(0);
    assert_true(shown.link_up); /* looked at when the card says so */
    m.event = NIC_EVENT_LINK;
    m.handler(m.ctx);
    (void)uplink_poll(0);
    assert_false(shown.link_up);
}

static void sends(void **state)
{
    uint8_t frame[NET_FRAME_MAX + 1] = {60};

    (void)state;
    assert_int_equal(bring_up(), 0);
    m.send(m.send_ctx, frame, 60);
    m.send(m.send_ctx, frame, 61); /* the driver refuses it */
    assert_int_equal(m.calls, 2);
    m.send(m.send_ctx, frame, 0);
    m.send(m.send_ctx, frame, sizeof(frame));
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
        TEST(no_card), TEST(failures),          TEST(shows), TEST(polled), TEST(link_changes),
        TEST(sends),   TEST(reaches_registers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
