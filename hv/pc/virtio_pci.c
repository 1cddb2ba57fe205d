#include "hv/pc/virtio_pci.h"

#include "hv/lib.h"
#include "hv/pc/pci_registers.h"
#include "hv/pc/virtio_legacy.h"

#define COMMON_SIZE     0x38u
#define NOTIFY_SIZE     2u
#define BAR_PORTS       0u
#define BAR_MEMORY      2u
#define MSIX_AT         0x1000u /* in the memory BAR */
#define MEMORY_SIZE     (MSIX_AT + MSIX_SIZE)
#define SUBSYSTEM       0x1100u
#define REVISION_MODERN 1u

_Static_assert(VIRTIO_QUEUES_MAX < MSIX_VECTORS_MAX, "each queue has a message");

/* Types of capabilities. */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_WINDOW };
/* In the capability. */
#define CAP_BAR    4u
#define CAP_OFFSET 8u
#define CAP_LENGTH 12u
#define CAP_DATA   16u

/* ---- the two BARs, and the way through configuration space ---- */

/* BARs are aligned to more than the window's size. */
static uint32_t port_in(void *dev, uint16_t port, unsigned size)
{
    return virtio_read(dev, port % VIRTIO_WINDOW, size);
}

static void port_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    virtio_write(dev, port % VIRTIO_WINDOW, size, value);
}

static uint64_t memory_read(void *dev, uint64_t offset, unsigned size)
{
    struct virtio *v = dev;

    if (offset < VIRTIO_WINDOW)
        return virtio_read(v, (unsigned)offset, size);
    return offset >= MSIX_AT ? msix_read(&v->msix, (unsigned)offset - MSIX_AT, size) : 0;
}

static void memory_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio *v = dev;

    if (offset < VIRTIO_WINDOW)
        virtio_write(v, (unsigned)offset, size, (uint32_t)value);
    else if (offset >= MSIX_AT)
        msix_write(&v->msix, (unsigned)offset - MSIX_AT, size, (uint32_t)value);
}

/* An access by the registers of CAP_WINDOW ("PCI configuration access capability"). False: what
 * they say is not one, or the guest does not touch its data register. */
static bool windowed(const struct virtio *v, unsigned at, unsigned size, uint32_t *offset,
                     uint32_t *length)
{
    const uint8_t *cap = &v->pci.config[v->window_cap];

    if (at + size <= v->window_cap + CAP_DATA || at >= v->window_cap + CAP_DATA + 4)
        return false;
    memcpy(offset, cap + CAP_OFFSET, sizeof(*offset));
    memcpy(length, cap + CAP_LENGTH, sizeof(*length));
    return (cap[CAP_BAR] == BAR_PORTS || cap[CAP_BAR] == BAR_MEMORY) &&
           (*length == 1 || *length == 2 || *length == 4) && *offset % *length == 0 &&
           *offset < VIRTIO_WINDOW;
}

static void before_read(void *dev, unsigned at, unsigned size)
{
    struct virtio *v = dev;
    uint32_t offset, length, value;

    if (!windowed(v, at, size, &offset, &length))
        return;
    value = virtio_read(v, offset, length);
    memcpy(&v->pci.config[v->window_cap + CAP_DATA], &value, length);
}

static void after_write(void *dev, unsigned at, unsigned size)
{
    struct virtio *v = dev;
    uint32_t offset, length, value = 0;

    msix_written(&v->msix);
    if (!windowed(v, at, size, &offset, &length))
        return;
    memcpy(&value, &v->pci.config[v->window_cap + CAP_DATA], length);
    virtio_write(v, offset, length, value);
}

/* ---- making it ---- */

/* The body of a capability; the notification's multiplier, 0, follows. */
struct cap {
    uint8_t length, type, bar, padding[3];
    uint32_t offset, size;
    uint32_t more; /* CAP_NOTIFY: the multiplier; CAP_WINDOW: the data */
} __attribute__((packed));
#define CAP_HEADER 2u

static unsigned add_cap(struct virtio *v, uint8_t type, unsigned bar, uint32_t offset,
                        uint32_t size)
{
    bool longer = type == CAP_NOTIFY || type == CAP_WINDOW;
    size_t length = sizeof(struct cap) - (longer ? 0 : sizeof(uint32_t));
    const struct cap c = {.length = (uint8_t)(length + CAP_HEADER),
                          .type = type,
                          .bar = (uint8_t)bar,
                          .offset = offset,
                          .size = size};

    return pci_add_capability(&v->pci, PCI_CAP_VENDOR, &c, length);
}

static void add_caps(struct virtio *v, unsigned bar)
{
    (void)add_cap(v, CAP_COMMON, bar, 0, COMMON_SIZE);
    (void)add_cap(v, CAP_NOTIFY, bar, VIRTIO_NOTIFY, NOTIFY_SIZE);
    (void)add_cap(v, CAP_ISR, bar, VIRTIO_ISR, 1);
    if (v->config_size)
        (void)add_cap(v, CAP_DEVICE, bar, VIRTIO_CONFIG, v->config_size);
}

static void add_window(struct virtio *v)
{
    uint8_t *writable;

    v->window_cap = add_cap(v, CAP_WINDOW, 0, 0, 0);
    writable = &v->pci.writable[v->window_cap];
    writable[CAP_BAR] = 0xff;
    memset(writable + CAP_OFFSET, 0xff, CAP_DATA + 4 - CAP_OFFSET);
}

/* "Transitional" ones have the legacy registers in BAR 0. */
static void make_function(struct virtio *v, bool transitional)
{
    static const struct io_ops ports = {port_in, port_out, 4};
    static const struct mmio_ops memory = {memory_read, memory_write, 4};
    const uint16_t old = v->model->legacy_device,
                   new = (uint16_t)(VIRTIO_PCI_DEVICE + v->model->type);
    const struct pci_identity id = {.vendor = VIRTIO_PCI_VENDOR,
                                    .device = transitional ? old : new,
                                    .subsystem_vendor = VIRTIO_PCI_VENDOR,
                                    .subsystem = transitional ? v->model->type : SUBSYSTEM,
                                    .class = v->model->class,
                                    .revision = transitional ? 0 : REVISION_MODERN};

    pci_function_init(&v->pci, &id, v);
    v->pci.before_read = before_read;
    v->pci.after_write = after_write;
    pci_add_bar(
        &v->pci, BAR_PORTS,
        &(struct pci_bar){VIRTIO_WINDOW, .ports = transitional ? &virtio_legacy_ports : &ports});
    pci_add_bar(&v->pci, BAR_MEMORY, &(struct pci_bar){MEMORY_SIZE, .memory = &memory});
    add_caps(v, BAR_MEMORY);
    if (transitional)
        v->features |= VIRTIO_F_ANY_LAYOUT;
    else
        add_caps(v, BAR_PORTS);
    add_window(v);
}

void virtio_pci_plug(struct virtio *v, struct pci *p, unsigned slot, bool transitional)
{
    if (!v->window_cap)
        make_function(v, transitional);
    if (p->msi && !v->msix.cap)
        msix_init(&v->msix, &v->pci, v->queue_count + 1, BAR_MEMORY, MSIX_AT);
    pci_plug(p, &v->pci, slot);
    msix_reset(&v->msix, &v->pci);
    virtio_reset(v);
}
