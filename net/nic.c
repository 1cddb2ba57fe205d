#include "net/nic.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"
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

static const struct nic_driver *const drivers[] = {
    &e1000_driver, &e1000e_driver,     &igb_driver,    &igc_driver,
    &r8169_driver, &virtio_nic_driver, &vmxnet3_driver};

static struct card {
    struct nic nic;
    struct spinlock tx_lock;
    uint32_t bdf;
    unsigned roles; /* bits of enum abi_nic_role */
    unsigned port;
    unsigned core; /* that takes its frames */
    uint8_t *bars[BARS];
    /* Set by the interrupt handler, cleared by net_poll(). */
    bool asked, link_changed;
    uint64_t interrupts;
    uint64_t look_at; /* when it must be polled, asked or not */
    struct abi_nic *shown;
} cards[ABI_NICS_MAX];
static unsigned card_count;
/* The numbers of those that run. */
static uint8_t uplinks[ABI_NIC_ROLES];
static unsigned uplink_count, turn;
static struct vswitch *vswitch;
static const char *const users[] = {[ABI_NIC_MANAGEMENT] = "management",
                                    [ABI_NIC_GUESTS] = "guests",
                                    [ABI_NIC_MANAGEMENT | ABI_NIC_GUESTS] =
                                        "management and guests"};

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

/* Never waits: if the ring is full, the frame is dropped and counted. The switch leaves nothing to
 * a card. */
static void send(void *ctx, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    struct card *c = ctx;

    (void)o;
    spin_lock(&c->tx_lock);
    if (len > 0 && len <= NET_FRAME_MAX && c->nic.driver->send(&c->nic, frame, len))
        c->shown->tx_frames = ++c->nic.tx_frames;
    else
        c->shown->tx_dropped = ++c->nic.tx_dropped;
    spin_unlock(&c->tx_lock);
}

static void input(void *ctx, const uint8_t *frame, size_t len)
{
    struct card *c = ctx;

    c->shown->became[switch_input(vswitch, c->port, frame, len, arch_tsc())]++;
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

static void complain(const struct card *c, int rc)
{
    if (rc == -E_NOTSUP)
        log_warn("network card %s at " PLACE
                 " is not used: it lacks the memory-mapped registers that its driver needs "
                 "(virtio: those of version 1)",
                 c->nic.name, PLACE_OF(c->bdf));
    else if (rc == -E_NOENT)
        log_warn("network card %s at " PLACE
                 " is not used: its driver does not know this revision of the chip",
                 c->nic.name, PLACE_OF(c->bdf));
    else
        log_warn("network card %s at " PLACE " does not start (error %d)", c->nic.name,
                 PLACE_OF(c->bdf), -rc);
}

static unsigned index_of(const struct card *c)
{
    return (unsigned)(c - cards);
}

static int probe(struct card *c, uint32_t bdf)
{
    const uint8_t *m = c->nic.mac;
    int rc;

    c->bdf = bdf;
    c->nic.bus =
        (struct nic_bus){.map = map, .read = read, .write = write, .config = config, .ctx = c};
    rc = c->nic.driver->probe(&c->nic);
    if (rc)
        complain(c, rc);
    else
        log_info("network card %u: %s at " PLACE
                 ", address %02x:%02x:%02x:%02x:%02x:%02x, driver %s",
                 index_of(c), c->nic.name, PLACE_OF(bdf), m[0], m[1], m[2], m[3], m[4], m[5],
                 c->nic.driver->name);
    return rc;
}

static struct card *named(const struct net_card_name *n)
{
    const uint8_t *b = n->bytes;

    for (unsigned i = 0; i < card_count; i++)
        if (n->count == NET_CARD_MAC ? memcmp(cards[i].nic.mac, b, NET_CARD_MAC) == 0
            : n->count == NET_CARD_PLACE
                ? cards[i].bdf == (uint32_t)(b[0] << 16 | b[1] << 8 | b[2] << 3 | b[3])
                : i == b[0])
            return &cards[i];
    return NULL;
}

int uplink_find(const struct net_card_name names[ABI_NIC_ROLES])
{
    int rc = -E_NOENT;
    uint32_t id;

    card_count = uplink_count = 0;
    for (uint32_t at = 0; card_count < ABI_NICS_MAX && (id = arch_pci_next(&at)) != PCI_NOBODY;
         at++) {
        struct card *c = &cards[card_count];
        int failed;

        *c = (struct card){.roles = 0};
        if (!identify(&c->nic, id))
            continue;
        failed = probe(c, at);
        card_count += !failed;
        rc = card_count ? 0 : failed;
    }
    for (unsigned role = 0; role < ABI_NIC_ROLES; role++) {
        struct card *c = named(&names[role]);

        if (c)
            c->roles |= 1u << role;
        else if (card_count)
            log_warn(
                "\"uplinks\": the network card for %s is none of those above: none serves them",
                users[1u << role]);
    }
    return rc;
}

const uint8_t *uplink_address(void)
{
    return card_count ? cards[0].nic.mac : NULL;
}

static int start(struct card *c, unsigned core, void *(*alloc)(size_t bytes))
{
    const struct nic_driver *d = c->nic.driver;
    void *memory = alloc(d->memory);
    int rc;

    if (!memory)
        return -E_NOMEM;
    c->nic.input = input;
    c->nic.input_ctx = c;
    c->core = core;
    arch_pci_enable(c->bdf, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    c->nic.irq = arch_pci_interrupt(c->bdf, core, on_interrupt, c);
    rc = d->start(&c->nic, memory);
    if (rc)
        return rc;
    /* Only now: an I/O APIC may forget a line that rose while its entry was masked (Bochs's does)
     * or edge-triggered (QEMU's), and the line then never falls again. */
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
        log_info("network card %u: link up, %u Mbit/s, %s duplex", index_of(c), s->mbits,
                 s->full_duplex ? "full" : "half");
    else
        log_info("network card %u: link down", index_of(c));
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
    s->roles = (uint8_t)c->roles;
    if (!c->roles) {
        log_info("network card %u: not used", index_of(c));
        return;
    }
    s->irq = (uint8_t)c->nic.irq;
    log_info("network card %u: for %s, %s", index_of(c), users[c->roles], irqs[c->nic.irq]);
    (void)look_at_link(c);
    say_link(c);
}

/* Attaches a card to the switch and starts it. */
static int bring_up(struct card *c, unsigned core, void *(*alloc)(size_t bytes),
                    void (*address)(unsigned number, uint8_t mac[6]))
{
    static const enum filter_role roles[] = {[ABI_NIC_MANAGEMENT] = FILTER_UPLINK_MANAGEMENT,
                                             [ABI_NIC_GUESTS] = FILTER_UPLINK_GUESTS,
                                             [ABI_NIC_MANAGEMENT | ABI_NIC_GUESTS] = FILTER_UPLINK};
    unsigned first = c->roles & ABI_NIC_MANAGEMENT ? 0 : 1; /* management's number is 0 */
    unsigned end = c->roles & ABI_NIC_GUESTS ? NIC_HEARS_MAX : 1;
    int rc;

    for (unsigned i = first; i < end; i++)
        address(i, c->nic.hears[i - first]);
    c->nic.hear_count = end - first;
    /* The port first: frames may arrive as soon as the card runs. */
    rc = switch_attach(vswitch, roles[c->roles], NULL, NULL, send, c);
    if (rc < 0)
        return rc;
    c->port = (unsigned)rc;
    rc = start(c, core, alloc);
    if (rc)
        switch_detach(vswitch, c->port);
    return rc;
}

/* From now on its core takes its frames. */
static void hand_over(struct card *c)
{
    uplinks[uplink_count] = (uint8_t)index_of(c);
    __atomic_store_n(&uplink_count, uplink_count + 1, __ATOMIC_RELEASE);
    core_wake(c->core);
}

int uplink_start(struct vswitch *s, struct abi_nic shown[ABI_NICS_MAX], unsigned core,
                 void *(*alloc)(size_t bytes), void (*address)(unsigned number, uint8_t mac[6]))
{
    int rc = -E_NOENT;

    vswitch = s;
    for (unsigned i = 0; i < card_count; i++) {
        struct card *c = &cards[i];
        int failed = 0;

        c->shown = &shown[i];
        if (c->roles)
            failed = bring_up(c, core, alloc, address);
        if (c->roles & ABI_NIC_MANAGEMENT)
            rc = failed;
        if (failed) {
            complain(c, failed);
            c->roles = 0;
        }
        show(c);
        if (c->roles)
            hand_over(c);
    }
    return rc;
}

/* ---- frames ---- */

static struct card *uplink(unsigned i)
{
    return &cards[uplinks[i]];
}

static bool is_asked(const struct card *c)
{
    return __atomic_load_n(&c->asked, __ATOMIC_ACQUIRE);
}

/* The next that has work, in turn. */
static struct card *choose(unsigned count, uint64_t now)
{
    for (unsigned i = 0; i < count; i++) {
        turn = turn + 1 < count ? turn + 1 : 0;
        if (is_asked(uplink(turn)) || now >= uplink(turn)->look_at)
            return uplink(turn);
    }
    return NULL;
}

static void serve(struct card *c, uint64_t now)
{
    /* Before looking at the ring: later arrivals set it again. */
    __atomic_store_n(&c->asked, false, __ATOMIC_SEQ_CST);
    if (__atomic_exchange_n(&c->link_changed, false, __ATOMIC_ACQUIRE) && look_at_link(c))
        say_link(c);
    if (c->nic.driver->receive(&c->nic, POLL_BUDGET) == POLL_BUDGET)
        __atomic_store_n(&c->asked, true, __ATOMIC_RELEASE);
    c->shown->rx_frames = c->nic.rx_frames;
    c->shown->rx_dropped = c->nic.rx_dropped;
    c->shown->interrupts = c->interrupts;
    c->look_at = __atomic_load_n(&c->interrupts, __ATOMIC_RELAXED)
                     ? NEVER
                     : now + arch_tsc_hz() / POLLS_PER_SECOND;
}

uint64_t net_poll(uint64_t now)
{
    unsigned count = __atomic_load_n(&uplink_count, __ATOMIC_ACQUIRE);
    struct card *c = choose(count, now);
    uint64_t next = NEVER;

    if (c)
        serve(c, now);
    for (unsigned i = 0; i < count; i++)
        next = min_u64(next, is_asked(uplink(i)) ? now : uplink(i)->look_at);
    return next;
}

bool net_pending(void)
{
    unsigned count = __atomic_load_n(&uplink_count, __ATOMIC_ACQUIRE);

    for (unsigned i = 0; i < count; i++)
        if (is_asked(uplink(i)) || uplink(i)->look_at != NEVER)
            return true;
    return false;
}

const char *net_uplink_name(void)
{
    for (unsigned i = 0; i < uplink_count; i++)
        if (uplink(i)->roles & ABI_NIC_MANAGEMENT)
            return uplink(i)->nic.name;
    return "";
}
