#include "net/nic.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "net/e1000.h"

#define PCI_COMMAND         0x04u
#define PCI_BAR0            0x10u
#define PCI_INTERRUPT       0x3cu
#define PCI_COMMAND_MEMORY  (1u << 1)
#define PCI_COMMAND_MASTER  (1u << 2)
#define PCI_COMMAND_NO_INTX (1u << 10)
#define PCI_BAR_IO          1u
#define PCI_BAR_64          4u
#define PCI_BAR_MASK        (~0xfull)
#define PCI_NOBODY          0xffffffffu
#define E1000_REGISTERS     0x20000u
#define POLL_BUDGET         2u

static const struct {
    uint32_t id; /* device << 16 | vendor */
    const char *name;
} known[] = {
    {0x100e8086, "82540EM"},
    {0x100f8086, "82545EM"},
    {0x10048086, "82543GC"},
};

static struct e1000 card;
static struct e1000_bus card_bus;
static uint16_t card_bdf;
static struct nic_info nic;
static struct vswitch *vswitch;
static uint64_t *became; /* counters of what happened to received frames */
static unsigned port;
static bool found, present;

static void send(void *ctx, const uint8_t *frame, size_t len)
{
    (void)ctx;
    e1000_send(&card, frame, len);
}

static void input(void *ctx, const uint8_t *frame, size_t len)
{
    (void)ctx;
    became[switch_input(vswitch, port, frame, len, arch_tsc())]++;
}

static uint32_t read_reg(void *ctx, uint32_t reg)
{
    return *(volatile uint32_t *)((uintptr_t)ctx + reg);
}

static void write_reg(void *ctx, uint32_t reg, uint32_t value)
{
    *(volatile uint32_t *)((uintptr_t)ctx + reg) = value;
}

static void on_interrupt(void *ctx)
{
    (void)ctx;
    if (e1000_interrupt(&card))
        core_wake(arch_core_self());
}

static const char *identify(uint32_t id)
{
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].id == id)
            return known[i].name;
    return NULL;
}

static const char *find_card(uint16_t *bdf)
{
    uint32_t id;

    for (uint32_t at = 0; (id = arch_pci_next(&at)) != PCI_NOBODY; at++) {
        *bdf = (uint16_t)at;
        if (identify(id))
            return identify(id);
    }
    return NULL;
}

static void complain(int rc)
{
    log_warn("network card %s at %02x:%02x.%u does not start (error %d)", nic.name, card_bdf >> 8,
             card_bdf >> 3 & 31, card_bdf & 7u, -rc);
}

static void allow(uint32_t what)
{
    /* The upper half is the status register: writing ones would clear bits in it. */
    uint32_t command = arch_pci_read(card_bdf, PCI_COMMAND) & 0xffffu & ~PCI_COMMAND_NO_INTX;

    arch_pci_write(card_bdf, PCI_COMMAND, command | what);
}

/* Enables access to its registers. */
static int enable(void)
{
    uint32_t bar = arch_pci_read(card_bdf, PCI_BAR0);
    uint64_t base = bar & PCI_BAR_MASK;

    if (bar & PCI_BAR_IO)
        return -E_NOTSUP;
    if (bar & PCI_BAR_64)
        base |= (uint64_t)arch_pci_read(card_bdf, PCI_BAR0 + 4) << 32;
    if (!base)
        return -E_IO; /* firmware assigned no address */
    card_bus = (struct e1000_bus){.read = read_reg, .write = write_reg};
    card_bus.ctx = arch_map_mmio(hpa(base), E1000_REGISTERS);
    if (!card_bus.ctx)
        return -E_NOMEM;
    allow(PCI_COMMAND_MEMORY);
    return 0;
}

int nic_find(void)
{
    const char *name = find_card(&card_bdf);
    int rc;

    if (!name)
        return -E_NOENT;
    (void)str_copy(nic.name, sizeof(nic.name), name);
    rc = enable();
    if (rc == 0)
        rc = e1000_read_address(&card_bus, nic.mac);
    if (rc)
        complain(rc);
    found = rc == 0;
    return rc;
}

const uint8_t *nic_address(void)
{
    return found ? nic.mac : NULL;
}

static int start(unsigned core, void *(*alloc)(size_t bytes))
{
    void *memory = alloc(E1000_MEMORY);
    int rc;

    if (!memory)
        return -E_NOMEM;
    allow(PCI_COMMAND_MASTER);
    rc = e1000_start(&card, &card_bus, memory);
    if (rc)
        return rc;
    rc = arch_irq_route(arch_pci_read(card_bdf, PCI_INTERRUPT) & 0xff, core, on_interrupt, NULL);
    if (rc) {
        e1000_stop(&card);
        return rc;
    }
    /* Only now: an interrupt controller may forget a line that rose while it was masked (Bochs's
     * does), and the line then never falls again. */
    e1000_interrupts_on(&card);
    return 0;
}

int nic_start(struct vswitch *s, uint64_t *frames, unsigned core, void *(*alloc)(size_t bytes))
{
    int rc;

    if (!found)
        return -E_NOENT;
    vswitch = s;
    became = frames;
    /* The port first: frames may arrive as soon as the card runs. */
    rc = switch_attach(s, FILTER_UPLINK, NULL, NULL, send, NULL);
    if (rc < 0)
        return rc;
    port = (unsigned)rc;
    rc = start(core, alloc);
    if (rc) {
        switch_detach(s, port);
        complain(rc);
        return rc;
    }
    present = true;
    return 0;
}

bool nic_poll(void)
{
    bool more = present && e1000_poll(&card, POLL_BUDGET, input, NULL);

    nic.rx_frames = card.rx_frames;
    nic.tx_frames = card.tx_frames;
    nic.rx_dropped = card.rx_dropped;
    nic.tx_dropped = card.tx_dropped;
    return more;
}

bool nic_pending(void)
{
    return __atomic_load_n(&card.asked, __ATOMIC_ACQUIRE);
}

const struct nic_info *nic_info(void)
{
    return present ? &nic : NULL;
}
