#include "hv/pc/pci.h"

#include "hv/config.h"
#include "hv/lib.h"
#include "hv/pc/pci_registers.h"

#define ADDRESS_ENABLE   0x80000000u
#define FUNCTION_SPACE   0x1000u /* of each function in ECAM */
#define FUNCTIONS        8u      /* per slot in configuration addresses */
#define FIRST_CAP        0x40u
#define CAP_HEADER       2u
#define BAR_FLAGS        0xfu
#define PIN_A            1u
#define POWER_ON_COMMAND (PCI_COMMAND_IO | PCI_COMMAND_MEMORY)
#define COMMAND_WRITABLE                                                                           \
    (PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_NO_INTX)

static unsigned command(const struct pci_function *f)
{
    return get_le16(&f->config[PCI_COMMAND]);
}

bool pci_is_master(const struct pci_function *f)
{
    return command(f) & PCI_COMMAND_MASTER;
}

/* ---- making functions ---- */

void pci_function_init(struct pci_function *f, const struct pci_identity *id, void *dev)
{
    f->dev = dev;
    f->due = NEVER;
    f->caps_end = FIRST_CAP;
    f->last_cap = PCI_CAPABILITIES;
    put_le16(&f->config[PCI_VENDOR], id->vendor);
    put_le16(&f->config[PCI_DEVICE], id->device);
    put_le32(&f->config[PCI_REVISION], id->class << 8 | id->revision);
    put_le16(&f->config[PCI_SUBSYSTEM_VENDOR], id->subsystem_vendor);
    put_le16(&f->config[PCI_SUBSYSTEM], id->subsystem);
    put_le16(&f->writable[PCI_COMMAND], COMMAND_WRITABLE);
    f->writable[PCI_INTERRUPT_LINE] = 0xff;
}

void pci_add_bar(struct pci_function *f, unsigned number, const struct pci_bar *bar)
{
    unsigned at = PCI_BAR + 4 * number;

    f->bars[number] = *bar;
    put_le32(&f->config[at], bar->ports ? PCI_BAR_IO
                                        : (bar->narrow ? 0 : PCI_BAR_64) |
                                              (bar->prefetchable ? PCI_BAR_PREFETCH : 0));
    put_le32(&f->writable[at], ~(bar->size - 1));
    if (bar->memory && !bar->narrow)
        put_le32(&f->writable[at + 4], UINT32_MAX);
}

unsigned pci_add_capability(struct pci_function *f, uint8_t id, const void *body, size_t size)
{
    unsigned at = f->caps_end;

    f->config[PCI_STATUS] |= PCI_STATUS_CAPS;
    f->config[f->last_cap] = (uint8_t)at;
    f->last_cap = at + 1;
    f->config[at] = id;
    memcpy(&f->config[at + CAP_HEADER], body, size);
    f->caps_end = (at + CAP_HEADER + (unsigned)size + 3) & ~3u;
    return at;
}

/* ---- what the functions decode ---- */

/* Where a BAR is to be decoded; 0: nowhere. */
static uint64_t wanted(const struct pci_function *f, unsigned n)
{
    const struct pci_bar *bar = &f->bars[n];
    const uint8_t *at = &f->config[PCI_BAR + 4 * n];
    uint64_t base = get_le32(at) & ~BAR_FLAGS;

    if (bar->ports)
        return (command(f) & PCI_COMMAND_IO) && base + bar->size - 1 <= UINT16_MAX ? base : 0;
    if (!bar->narrow)
        base |= (uint64_t)get_le32(at + 4) << 32;
    return (command(f) & PCI_COMMAND_MEMORY) && base >= PCI_MEMORY &&
                   base <= PCI_MEMORY_END - bar->size
               ? base
               : 0;
}

static void release(struct pci_function *f, struct pci_bar *bar)
{
    if (bar->at && bar->ports)
        io_release(f->bus->ports, (uint16_t)bar->at);
    else if (bar->at)
        mmio_release(f->bus->ports, bar->at);
    bar->at = 0;
}

/* The bus refuses what overlaps with other devices: then the function does not decode it. */
static void claim(struct pci_function *f, struct pci_bar *bar, uint64_t base)
{
    int rc = bar->ports ? io_claim(f->bus->ports, (uint16_t)base, (uint16_t)(base + bar->size - 1),
                                   bar->ports, f->dev)
                        : mmio_claim(f->bus->ports, base, bar->size, bar->memory, f->dev);

    if (rc == 0)
        bar->at = base;
}

/* Its registers have changed. What they leave as it was costs nothing here: a guest may write them
 * without end. */
static void decode(struct pci_function *f)
{
    uint64_t base[PCI_BARS];

    for (unsigned i = 0; i < PCI_BARS; i++) {
        base[i] = f->bars[i].size ? wanted(f, i) : 0;
        if (base[i] != f->bars[i].at)
            release(f, &f->bars[i]);
    }
    for (unsigned i = 0; i < PCI_BARS; i++)
        if (base[i] && !f->bars[i].at)
            claim(f, &f->bars[i], base[i]);
    if (f->moved)
        f->moved(f->dev);
}

/* Where a BAR is at power-on. `memory`: where the slot's share of the window is still free. */
static uint64_t home_of(const struct pci_function *f, const struct pci_bar *bar, uint64_t *memory)
{
    uint64_t base;

    if (bar->ports)
        return PCI_PORTS + f->slot * PCI_SLOT_PORTS;
    if (bar->home)
        return bar->home;
    base = align_up(*memory, bar->size);
    *memory = base + bar->size;
    return base;
}

static void power_on(struct pci_function *f)
{
    uint64_t memory = PCI_SLOT_MEMORY + (uint64_t)f->slot * PCI_SLOT_SIZE;
    bool decodes = false;

    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        f->config[i] &= (uint8_t)~f->writable[i];
    for (unsigned i = 0; i < PCI_BARS; i++) {
        const struct pci_bar *bar = &f->bars[i];
        uint8_t *at = &f->config[PCI_BAR + 4 * i];
        uint64_t base;

        if (!bar->size)
            continue;
        decodes = true;
        base = home_of(f, bar, &memory);
        put_le32(at, get_le32(at) | (uint32_t)base);
        if (bar->memory && !bar->narrow)
            put_le32(at + 4, (uint32_t)(base >> 32));
    }
    put_le16(&f->config[PCI_COMMAND], decodes ? POWER_ON_COMMAND : 0);
    f->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTX;
    f->config[PCI_INTERRUPT_PIN] = decodes ? PIN_A : 0;
    f->config[PCI_INTERRUPT_LINE] = decodes ? (uint8_t)PCI_GSI(f->slot) : 0;
}

static bool add(struct pci *p, struct pci_function *f, unsigned slot)
{
    if (p->count == PCI_FUNCTIONS_MAX)
        return false;
    p->functions[p->count++] = f;
    f->bus = p;
    f->slot = slot;
    f->due = NEVER;
    f->intx = f->no_intx = false;
    for (unsigned i = 0; i < PCI_BARS; i++)
        f->bars[i].at = 0;
    return true;
}

void pci_plug(struct pci *p, struct pci_function *f, unsigned slot)
{
    if (!add(p, f, slot))
        return;
    power_on(f);
    decode(f);
}

void pci_join(struct pci *p, struct pci_function *f, unsigned slot)
{
    f->apart = true;
    f->config[PCI_COMMAND] = PCI_COMMAND_MASTER;
    (void)add(p, f, slot);
}

/* ---- interrupts ---- */

void pci_update_intx(struct pci_function *f)
{
    struct pci *p = f->bus;
    unsigned line = f->slot & 1;
    uint32_t before = p->lines[line];
    bool level = f->intx && !f->no_intx && !(command(f) & PCI_COMMAND_NO_INTX);

    p->lines[line] = (before & ~(1u << f->slot)) | (uint32_t)level << f->slot;
    if (!before != !p->lines[line] && p->irq.set)
        p->irq.set(p->irq.ctx, PCI_GSI(f->slot), !before);
}

void pci_intx(struct pci_function *f, bool level)
{
    if (f->intx == level)
        return;
    f->intx = level;
    f->config[PCI_STATUS] ^= PCI_STATUS_INTX;
    pci_update_intx(f);
}

/* ---- configuration space ---- */

/* By bus, slot and function, as both ways of access number them: 8, 5 and 3 bits. */
static struct pci_function *find(const struct pci *p, unsigned number)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->functions[i]->slot * FUNCTIONS == number && !p->functions[i]->apart)
            return p->functions[i];
    return NULL;
}

static uint32_t read_config(struct pci_function *f, unsigned at, unsigned size)
{
    uint32_t v = 0;

    if (!f || at + size > PCI_CONFIG_SIZE)
        return io_ones(size);
    if (at >= FIRST_CAP && f->before_read)
        f->before_read(f->dev, at, size);
    memcpy(&v, &f->config[at], size);
    return v;
}

static void write_config(struct pci_function *f, unsigned at, unsigned size, uint32_t value)
{
    if (!f || at + size > PCI_CONFIG_SIZE)
        return;
    for (unsigned i = 0; i < size; i++) {
        uint8_t w = f->writable[at + i], new = (uint8_t)(value >> (8 * i));

        f->config[at + i] = (uint8_t)((f->config[at + i] & ~w) | (new &w));
    }
    if (at >= FIRST_CAP) {
        if (f->after_write)
            f->after_write(f->dev, at, size);
    } else if (at < PCI_BAR + 4 * PCI_BARS && at + size > PCI_COMMAND) {
        decode(f);
        pci_update_intx(f);
        if (f->work)
            pci_work_now(f); /* it may have become a master */
    }
}

static struct pci_function *addressed(const struct pci *p)
{
    return p->address & ADDRESS_ENABLE ? find(p, p->address >> 8 & 0xffff) : NULL;
}

static unsigned addressed_register(const struct pci *p, uint16_t port)
{
    return (p->address & 0xfcu) + (port - PCI_DATA_PORT);
}

static uint32_t data_in(void *dev, uint16_t port, unsigned size)
{
    return read_config(addressed(dev), addressed_register(dev, port), size);
}

static void data_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    write_config(addressed(dev), addressed_register(dev, port), size, value);
}

static struct pci_function *at_ecam(const struct pci *p, uint64_t offset)
{
    return find(p, (unsigned)(offset / FUNCTION_SPACE));
}

/* There are no extended capabilities: the space above the first 256 bytes reads ones. */
static uint64_t ecam_read(void *dev, uint64_t offset, unsigned size)
{
    return read_config(at_ecam(dev, offset), (unsigned)offset % FUNCTION_SPACE, size);
}

static void ecam_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    write_config(at_ecam(dev, offset), (unsigned)offset % FUNCTION_SPACE, size, (uint32_t)value);
}

static const struct io_ops data_ops = {data_in, data_out, 4};
static const struct mmio_ops ecam_ops = {ecam_read, ecam_write, 4};

/* ---- the bus as a device ---- */

/* "Generic PCI host bridge": no system has a driver that expects more of it. */
static const struct pci_identity bridge_identity = {
    .vendor = 0x1b36, .device = 0x0008, .class = 0x060000};

static void reset(void *dev, const struct device_env *env)
{
    struct pci *p = dev;

    p->address = 0;
    p->count = p->turn = 0;
    p->lines[0] = p->lines[1] = 0;
    p->deadline = NEVER;
    p->clock = env->clock;
    p->ports = env->bus;
    p->irq = env->irq;
    p->msi = env->msi;
}

static void plug_bridge(void *dev, const struct device_env *env)
{
    struct pci *p = dev;

    if (!(env->devices & DEV_PCI))
        return;
    memset(&p->bridge, 0, sizeof(p->bridge));
    pci_function_init(&p->bridge, &bridge_identity, &p->bridge);
    pci_plug(p, &p->bridge, 0);
}

/* One function's work in each call, in turn: a neighbour waits for that long. */
static void update(void *dev)
{
    struct pci *p = dev;
    uint64_t first = NEVER;
    bool worked = false;

    for (unsigned i = 0; i < p->count && !worked; i++) {
        struct pci_function *f;

        p->turn = p->turn + 1 < p->count ? p->turn + 1 : 0;
        f = p->functions[p->turn];
        worked = f->due <= p->clock->now;
        if (worked)
            f->work(f->dev);
    }
    for (unsigned i = 0; i < p->count; i++)
        first = min_u64(first, p->functions[i]->due);
    p->deadline = first;
}

static void shift(void *dev, uint64_t ticks)
{
    struct pci *p = dev;

    for (unsigned i = 0; i < p->count; i++)
        device_delay(&p->functions[i]->due, ticks);
}

const struct device pci_device = {
    .bit = DEV_PCI,
    .ports = {{PCI_DATA_PORT, PCI_DATA_PORT + 3, &data_ops}},
    .memory = {PCI_ECAM, PCI_ECAM_SIZE, &ecam_ops},
    .reset = reset,
    .plug = plug_bridge,
    .deadline = offsetof(struct pci, deadline),
    .update = update,
    .shift = shift,
};
