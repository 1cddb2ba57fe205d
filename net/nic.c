#include "net/nic.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/spinlock.h"
#include "net/uplink.h"

#define PLACE              "%04x:%02x:%02x.%u"
#define PLACE_OF(bdf)      (bdf) >> 16, (bdf) >> 8 & 0xff, (bdf) >> 3 & 31, (bdf)&7u
#define PCI_COMMAND_MEMORY (1u << 1)
#define PCI_COMMAND_MASTER (1u << 2)
#define PCI_NOBODY         0xffffffffu
#define POLL_BUDGET        2u
#define POLLS_PER_SECOND   1000u /* until an interrupt was seen */
#define BARS               6u

_Static_assert(ARCH_IRQ_NONE == (int)ABI_NIC_POLLED && ARCH_IRQ_LINE == (int)ABI_NIC_LINE &&
                   ARCH_IRQ_MSI == (int)ABI_NIC_MSI && ARCH_IRQ_MSIX == (int)ABI_NIC_MSIX,
               "shown as they are");

static const struct nic_driver *const drivers[] = {&e1000_driver, &e1000e_driver, &igb_driver,
                                                   &igc_driver, &virtio_nic_driver};

static struct card {
    struct nic nic;
    struct spinlock tx_lock;
    uint32_t bdf;
    unsigned core; /* that takes its frames */
    uint8_t *bars[BARS];
    bool found, present;
    /* Set by the interrupt handler, cleared by uplink_poll(). */
    bool asked, link_changed;
    uint64_t interrupts;
    struct abi_nic *shown;
} card;
static struct vswitch *vswitch;
static uint64_t *became; /* counters of what happened to received frames */
static unsigned port;

static int map(void *ctx, unsigned bar, size_t length)
{
    struct card *c = ctx;
    uint64_t base;
    int rc = arch_pci_bar(c->bdf, bar, &base);

    if (rc)
        return rc;
    c->bars[bar] = arch_map_mmio(hpa(base), length);
    if (!c->bars[bar])
        return -E_NOMEM;
    arch_pci_enable(c->bdf, PCI_COMMAND_MEMORY);
    return 0;
}

static uint32_t read(void *ctx, unsigned bar, uint32_t at, unsigned size)
{
    volatile void *p = ((struct card *)ctx)->bars[bar] + at;

    return size == 4   ? *(volatile uint32_t *)p
           : size == 2 ? *(volatile uint16_t *)p
                       : *(volatile uint8_t *)p;
}

static void write(void *ctx, unsigned bar, uint32_t at, unsigned size, uint32_t value)
{
    volatile void *p = ((struct card *)ctx)->bars[bar] + at;

    if (size == 4)
        *(volatile uint32_t *)p = value;
    else if (size == 2)
        *(volatile uint16_t *)p = (uint16_t)value;
    else
        *(volatile uint8_t *)p = (uint8_t)value;
}

static uint32_t config(void *ctx, uint16_t at)
{
    return arch_pci_read(((struct card *)ctx)->bdf, at);
}

/* Never waits: if the ring is full, the frame is dropped and counted. */
static void send(void *ctx, const uint8_t *frame, size_t len)
{
    struct card *c = ctx;

    spin_lock(&c->tx_lock);
    if (len > 0 && len <= NET_FRAME_MAX && c->nic.driver->send(&c->nic, frame, len))
        c->shown->tx_frames = ++c->nic.tx_frames;
    else
        c->shown->tx_dropped = ++c->nic.tx_dropped;
    spin_unlock(&c->tx_lock);
}

static void input(void *ctx, const uint8_t *frame, size_t len)
{
    (void)ctx;
    became[switch_input(vswitch, port, frame, len, arch_tsc())]++;
}

static void on_interrupt(void *ctx)
{
    struct card *c = ctx;
    uint32_t events = c->nic.driver->interrupt(&c->nic);

    if (!events)
        return;
    __atomic_store_n(&c->interrupts, c->interrupts + 1, __ATOMIC_RELAXED);
    if (events & NIC_EVENT_LINK)
        __atomic_store_n(&c->link_changed, true, __ATOMIC_RELAXED);
    __atomic_store_n(&c->asked, true, __ATOMIC_RELEASE);
    core_wake(c->core); /* mostly this one */
}

static bool identify(struct nic *n, uint32_t id)
{
    for (size_t d = 0; d < ARRAY_LEN(drivers); d++)
        for (const struct nic_id *known = drivers[d]->ids; known->id; known++)
            if (known->id == id) {
                *n = (struct nic){.driver = drivers[d], .name = known->name, .id = id};
                return true;
            }
    return false;
}

static bool find_card(struct card *c)
{
    uint32_t id;

    for (uint32_t at = 0; (id = arch_pci_next(&at)) != PCI_NOBODY; at++) {
        if (!identify(&c->nic, id))
            continue;
        c->bdf = at;
        c->nic.bus =
            (struct nic_bus){.map = map, .read = read, .write = write, .config = config, .ctx = c};
        return true;
    }
    return false;
}

static void complain(const struct card *c, int rc)
{
    log_warn("network card %s at " PLACE " does not start (error %d)", c->nic.name,
             PLACE_OF(c->bdf), -rc);
}

int uplink_find(void)
{
    int rc;

    card = (struct card){.found = false};
    if (!find_card(&card))
        return -E_NOENT;
    rc = card.nic.driver->probe(&card.nic);
    if (rc)
        complain(&card, rc);
    card.found = rc == 0;
    return rc;
}

const uint8_t *uplink_address(void)
{
    return card.found ? card.nic.mac : NULL;
}

static int start(struct card *c, unsigned core, void *(*alloc)(size_t bytes))
{
    const struct nic_driver *d = c->nic.driver;
    void *memory = alloc(d->memory);
    int rc;

    if (!memory)
        return -E_NOMEM;
    c->nic.input = input;
    c->core = core;
    arch_pci_enable(c->bdf, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    c->nic.irq = arch_pci_interrupt(c->bdf, core, on_interrupt, c);
    rc = d->start(&c->nic, memory);
    if (rc)
        return rc;
    /* Only now: an interrupt controller may forget a line that rose while it was masked (Bochs's
     * does), and the line then never falls again. */
    d->listen(&c->nic);
    return 0;
}

/* The state of the link, and whether it has changed. */
static bool look_at_link(struct card *c)
{
    struct nic_link l = c->nic.driver->link(&c->nic);
    bool changed = l.up != c->shown->link_up || (l.up && l.mbits != c->shown->mbits);

    c->shown->link_up = l.up;
    c->shown->full_duplex = l.full_duplex;
    c->shown->mbits = l.mbits;
    return changed;
}

static void say_link(const struct card *c)
{
    const struct abi_nic *s = c->shown;

    if (s->link_up)
        log_info("network card %s: link up, %u Mbit/s, %s duplex", c->nic.name, s->mbits,
                 s->full_duplex ? "full" : "half");
    else
        log_info("network card %s: link down", c->nic.name);
}

static void show(struct card *c)
{
    static const char *const irqs[] = {[ARCH_IRQ_NONE] = "polled",
                                       [ARCH_IRQ_LINE] = "interrupt line",
                                       [ARCH_IRQ_MSI] = "MSI",
                                       [ARCH_IRQ_MSIX] = "MSI-X"};
    struct abi_nic *s = c->shown;

    (void)str_copy(s->name, sizeof(s->name), c->nic.name);
    (void)str_copy(s->driver, sizeof(s->driver), c->nic.driver->name);
    s->place = c->bdf;
    memcpy(s->mac, c->nic.mac, sizeof(s->mac));
    s->irq = (uint8_t)c->nic.irq;
    log_info("network card %s at " PLACE ", driver %s, %s", s->name, PLACE_OF(c->bdf), s->driver,
             irqs[c->nic.irq]);
    (void)look_at_link(c);
    say_link(c);
}

int uplink_start(struct vswitch *s, uint64_t *frames, struct abi_nic *shown, unsigned core,
                 void *(*alloc)(size_t bytes), void (*address)(unsigned number, uint8_t mac[6]))
{
    int rc;

    if (!card.found)
        return -E_NOENT;
    vswitch = s;
    became = frames;
    card.shown = shown;
    for (unsigned i = 0; i < NIC_HEARS_MAX; i++)
        address(i, card.nic.hears[i]);
    card.nic.hear_count = NIC_HEARS_MAX;
    /* The port first: frames may arrive as soon as the card runs. */
    rc = switch_attach(s, FILTER_UPLINK, NULL, NULL, send, &card);
    if (rc < 0)
        return rc;
    port = (unsigned)rc;
    rc = start(&card, core, alloc);
    if (rc) {
        switch_detach(s, port);
        complain(&card, rc);
        return rc;
    }
    card.present = true;
    show(&card);
    return 0;
}

uint64_t uplink_poll(uint64_t now)
{
    struct card *c = &card;
    unsigned done;

    if (!c->present)
        return NEVER;
    /* Before looking at the ring: later arrivals set it again. */
    __atomic_store_n(&c->asked, false, __ATOMIC_SEQ_CST);
    if (__atomic_exchange_n(&c->link_changed, false, __ATOMIC_ACQUIRE) && look_at_link(c))
        say_link(c);
    done = c->nic.driver->receive(&c->nic, POLL_BUDGET);
    c->shown->rx_frames = c->nic.rx_frames;
    c->shown->rx_dropped = c->nic.rx_dropped;
    c->shown->interrupts = c->interrupts;
    if (done == POLL_BUDGET) {
        __atomic_store_n(&c->asked, true, __ATOMIC_RELEASE);
        return now;
    }
    return __atomic_load_n(&c->interrupts, __ATOMIC_RELAXED)
               ? NEVER
               : now + arch_tsc_hz() / POLLS_PER_SECOND;
}

bool uplink_pending(void)
{
    return __atomic_load_n(&card.asked, __ATOMIC_ACQUIRE) ||
           (card.present && !__atomic_load_n(&card.interrupts, __ATOMIC_RELAXED));
}

const char *uplink_name(void)
{
    return card.present ? card.nic.name : "";
}
