#include "hv/pc/ivshmem.h"

#include "hv/config.h"
#include "hv/lib.h"

#define CLASS_RAM     0x050000u
#define SUBSYSTEM     0x1100u
#define BAR_REGISTERS 0u
#define BAR_MSIX      1u
#define BAR_MEMORY    2u

/* ---- registers ---- */

static bool has_doorbells(const struct ivshmem *d)
{
    return d->msix.cap;
}

static uint64_t register_read(void *dev, uint64_t offset, unsigned size)
{
    const struct ivshmem *d = dev;

    if (size != 4)
        return UINT64_MAX;
    switch (offset) {
    case IVSHMEM_INTR_MASK:
        return d->mask;
    case IVSHMEM_POSITION:
        return has_doorbells(d) ? d->setup.id : 0;
    default:
        return 0;
    }
}

static void register_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct ivshmem *d = dev;
    unsigned peer = (unsigned)(value >> 16), vector = value & 0xffff;

    if (size != 4)
        return;
    if (offset == IVSHMEM_INTR_MASK)
        d->mask = (uint32_t)value;
    else if (offset == IVSHMEM_DOORBELL && has_doorbells(d) && vector < IVSHMEM_VECTORS)
        d->setup.ring(d->setup.ctx, d->setup.number, peer, vector);
}

static uint64_t table_read(void *dev, uint64_t offset, unsigned size)
{
    const struct ivshmem *d = dev;

    return msix_read(&d->msix, (unsigned)offset, size);
}

static void table_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct ivshmem *d = dev;

    msix_write(&d->msix, (unsigned)offset, size, (uint32_t)value);
}

/* Only accesses that the root makes for the guest come here: its own go to the memory. */
static uint64_t memory_read(void *dev, uint64_t offset, unsigned size)
{
    const struct ivshmem *d = dev;
    uint64_t value = 0;

    memcpy(&value, d->setup.memory + offset, size);
    return value;
}

static void memory_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    const struct ivshmem *d = dev;

    memcpy(d->setup.memory + offset, &value, size);
}

/* ---- doorbells ---- */

/* Whoever rings while the guest has not enabled its messages, rings in vain. */
static void work(void *dev)
{
    struct ivshmem *d = dev;
    uint32_t *rung = d->setup.rung;
    uint32_t waits = __atomic_load_n(rung, __ATOMIC_ACQUIRE);

    for (unsigned i = 0; waits && i < IVSHMEM_WORK; i++, waits &= waits - 1) {
        __atomic_fetch_and(rung, ~(waits & -waits), __ATOMIC_ACQ_REL);
        if (msix_is_enabled(&d->msix))
            msix_send(&d->msix, (unsigned)__builtin_ctz(waits));
    }
    d->pci.due = waits ? 0 : NEVER;
}

static void after_write(void *dev, unsigned at, unsigned size)
{
    struct ivshmem *d = dev;

    (void)at;
    (void)size;
    msix_written(&d->msix);
}

/* ---- where the memory is ---- */

static void move(struct ivshmem *d, uint64_t to)
{
    uint64_t from = d->at;

    d->at = to;
    if (from != to)
        d->setup.place(d->setup.ctx, d->setup.number, from, to);
}

static void moved(void *dev)
{
    struct ivshmem *d = dev;

    move(d, d->pci.bars[BAR_MEMORY].at);
}

/* ---- making it ---- */

void ivshmem_init(struct ivshmem *d, const struct ivshmem_setup *s)
{
    static const struct mmio_ops registers = {register_read, register_write, 4};
    static const struct mmio_ops table = {table_read, table_write, 4};
    static const struct mmio_ops memory = {memory_read, memory_write, 8};
    const struct pci_identity id = {.vendor = IVSHMEM_VENDOR,
                                    .device = IVSHMEM_DEVICE,
                                    .subsystem_vendor = IVSHMEM_VENDOR,
                                    .subsystem = SUBSYSTEM,
                                    .class = CLASS_RAM,
                                    .revision = IVSHMEM_REVISION};

    memset(d, 0, sizeof(*d));
    d->setup = *s;
    d->at = s->home;
    pci_function_init(&d->pci, &id, d);
    d->pci.after_write = after_write;
    d->pci.moved = moved;
    d->pci.work = work;
    pci_add_bar(&d->pci, BAR_REGISTERS,
                &(struct pci_bar){IVSHMEM_REGISTERS, .memory = &registers, .narrow = true});
    pci_add_bar(&d->pci, BAR_MSIX, &(struct pci_bar){MSIX_SIZE, .memory = &table, .narrow = true});
    pci_add_bar(
        &d->pci, BAR_MEMORY,
        &(struct pci_bar){s->size, .memory = &memory, .prefetchable = true, .home = s->home});
}

/* Before anything is plugged: in an earlier life the guest may have put the memory where another
 * device begins. */
static void reset(void *dev, const struct device_env *env)
{
    struct ivshmem *d = dev;

    (void)env;
    if (ivshmem_is_there(d) && d->at != d->setup.home)
        move(d, 0);
}

static void plug(void *dev, const struct device_env *env)
{
    struct ivshmem *d = dev;

    if (!(env->devices & DEV_PCI) || !ivshmem_is_there(d))
        return;
    if (env->pci->msi && !d->msix.cap)
        msix_init(&d->msix, &d->pci, IVSHMEM_VECTORS, BAR_MSIX, 0);
    pci_plug(env->pci, &d->pci, IVSHMEM_SLOT + d->setup.number);
    msix_reset(&d->msix, &d->pci);
    d->mask = 0;
    __atomic_store_n(d->setup.rung, 0, __ATOMIC_RELEASE);
}

const struct device ivshmem_device = {.reset = reset, .plug = plug};
