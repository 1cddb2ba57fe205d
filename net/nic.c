#include "net/nic.h"

#include "hv/arch.h"
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
#define POLL_BUDGET         4u

static const struct {
    uint32_t id; /* device << 16 | vendor */
    const char *name;
} known[] = {
    {0x100e8086, "82540EM"},
    {0x100f8086, "82545EM"},
    {0x10048086, "82543GC"},
};

static struct e1000 card;
static struct nic_info nic;
static struct vswitch *vswitch;
static unsigned port;
static bool present;

static void send(void *ctx, const uint8_t *frame, size_t len)
{
    (void)ctx;
    e1000_send(&card, frame, len);
}

static void input(void *ctx, const uint8_t *frame, size_t len)
{
    (void)ctx;
    switch_input(vswitch, port, frame, len, arch_tsc());
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
    (void)e1000_interrupt(&card);
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

static int start(uint16_t bdf, unsigned core, void *(*alloc)(size_t bytes))
{
    uint32_t bar = arch_pci_read(bdf, PCI_BAR0), command = arch_pci_read(bdf, PCI_COMMAND);
    struct e1000_bus bus = {.read = read_reg, .write = write_reg};
    uint64_t base = bar & PCI_BAR_MASK;
    void *memory;
    int rc;

    if (bar & PCI_BAR_IO)
        return -E_NOTSUP;
    if (bar & PCI_BAR_64)
        base |= (uint64_t)arch_pci_read(bdf, PCI_BAR0 + 4) << 32;
    if (!base)
        return -E_IO; /* firmware gave it no address */
    bus.ctx = arch_map_mmio(hpa(base), E1000_REGISTERS);
    memory = alloc(E1000_MEMORY);
    if (!bus.ctx || !memory)
        return -E_NOMEM;
    command = (command & 0xffffu & ~PCI_COMMAND_NO_INTX) | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    arch_pci_write(bdf, PCI_COMMAND, command);
    rc = e1000_start(&card, &bus, memory);
    if (rc)
        return rc;
    rc = arch_irq_route(arch_pci_read(bdf, PCI_INTERRUPT) & 0xff, core, on_interrupt, NULL);
    if (rc) {
        e1000_stop(&card);
        return rc;
    }
    /* Only now: an interrupt controller may have forgotten a line that rose while it was masked
     * (Bochs's does), and then it never falls again. */
    e1000_interrupts_on(&card);
    return 0;
}

int nic_probe(struct vswitch *s, unsigned core, void *(*alloc)(size_t bytes))
{
    uint16_t bdf = 0;
    const char *name = find_card(&bdf);
    int rc;

    if (!name)
        return -E_NOENT;
    vswitch = s;
    /* The port first: frames may come as soon as the card runs. */
    rc = switch_attach(s, send, NULL);
    if (rc < 0)
        return rc;
    port = (unsigned)rc;
    rc = start(bdf, core, alloc);
    if (rc) {
        switch_detach(s, port);
        log_warn("network card %s at %02x:%02x.%u does not start (error %d)", name, bdf >> 8,
                 bdf >> 3 & 31, bdf & 7u, -rc);
        return rc;
    }
    (void)str_copy(nic.name, sizeof(nic.name), name);
    memcpy(nic.mac, card.mac, sizeof(nic.mac));
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
