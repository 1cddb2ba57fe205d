#include "hv/pc/virtio.h"

#include "hv/lib.h"
#include "hv/pc/pci_registers.h"

#define STATUS_WRITABLE                                                                            \
    (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED)
#define ISR_QUEUE       1u
#define ISR_CONFIG      2u
#define NO_VECTOR       0xffffu
#define HIGH_HALF       4u /* of a 64-bit register, in its offset */
#define COMMON_SIZE     0x38u
#define NOTIFY_SIZE     2u
#define BAR_PORTS       0u
#define BAR_MEMORY      2u
#define MSIX_AT         0x1000u /* in the memory BAR */
#define MEMORY_SIZE     (MSIX_AT + MSIX_SIZE)
#define SUBSYSTEM       0x1100u
#define REVISION_MODERN 1u

/* Types of capabilities. */
enum { CAP_COMMON = 1, CAP_NOTIFY, CAP_ISR, CAP_DEVICE, CAP_WINDOW };
/* In the capability. */
#define CAP_BAR    4u
#define CAP_OFFSET 8u
#define CAP_LENGTH 12u
#define CAP_DATA   16u

static void interrupt(struct virtio *v, uint8_t why, uint16_t vector)
{
    if (!msix_is_enabled(&v->msix)) {
        v->isr |= why;
        pci_intx(&v->pci, true);
    } else if (vector != NO_VECTOR) {
        msix_send(&v->msix, vector);
    }
}

void virtio_used(struct virtio *v, unsigned queue)
{
    if (virtqueue_wants_irq(&v->queues[queue], v->mem))
        interrupt(v, ISR_QUEUE, v->vectors[queue]);
}

void virtio_fail(struct virtio *v)
{
    v->status |= VIRTIO_NEEDS_RESET;
    if (v->status & VIRTIO_DRIVER_OK)
        interrupt(v, ISR_CONFIG, v->config_vector);
}

void virtio_reset(struct virtio *v)
{
    for (unsigned i = 0; i < v->model->queues; i++) {
        virtqueue_reset(&v->queues[i]);
        v->vectors[i] = NO_VECTOR;
    }
    v->config_vector = NO_VECTOR;
    v->status = v->isr = 0;
    v->queue_select = 0;
    v->feature_select = v->driver_feature_select = 0;
    v->driver_features = 0;
    v->pci.due = NEVER;
    if (v->pci.bus)
        pci_intx(&v->pci, false);
    v->model->reset(v);
}

/* ---- registers ---- */

static uint32_t half(uint64_t v, unsigned reg)
{
    return (uint32_t)(reg & HIGH_HALF ? v >> 32 : v);
}

static void set_half(uint64_t *v, unsigned reg, uint32_t value)
{
    if (reg & HIGH_HALF)
        *v = (*v & 0xffffffffull) | (uint64_t)value << 32;
    else
        *v = (*v & ~0xffffffffull) | value;
}

static struct virtqueue *selected(struct virtio *v)
{
    return v->queue_select < v->model->queues ? &v->queues[v->queue_select] : NULL;
}

static uint32_t read_device(const struct virtio *v, unsigned offset, unsigned size)
{
    uint8_t config[VIRTIO_CONFIG_MAX] = {0};
    uint32_t value = 0;

    memcpy(config, v->config, v->config_size);
    if (offset + size <= sizeof(config)) /* not across the window's end */
        memcpy(&value, config + offset, size);
    return value;
}

static uint32_t read_queue(struct virtio *v, unsigned reg)
{
    const struct virtqueue *q = selected(v);

    if (!q)
        return 0;
    switch (reg) {
    case VIRTIO_QUEUE_SIZE:
        return q->size;
    case VIRTIO_QUEUE_VECTOR:
        return v->vectors[v->queue_select];
    case VIRTIO_QUEUE_ENABLE:
        return q->ready;
    case VIRTIO_QUEUE_DESC:
    case VIRTIO_QUEUE_DESC + HIGH_HALF:
        return half(q->desc, reg);
    case VIRTIO_QUEUE_DRIVER:
    case VIRTIO_QUEUE_DRIVER + HIGH_HALF:
        return half(q->avail, reg);
    case VIRTIO_QUEUE_DEVICE:
    case VIRTIO_QUEUE_DEVICE + HIGH_HALF:
        return half(q->used, reg);
    default:
        return 0;
    }
}

static uint32_t read_isr(struct virtio *v)
{
    uint8_t isr = v->isr;

    v->isr = 0;
    pci_intx(&v->pci, false);
    return isr;
}

/* In bytes; 0: no register begins there. */
static unsigned width(unsigned reg)
{
    switch (reg) {
    case VIRTIO_STATUS:
    case VIRTIO_GENERATION:
    case VIRTIO_ISR:
        return 1;
    case VIRTIO_CONFIG_VECTOR:
    case VIRTIO_NUM_QUEUES:
    case VIRTIO_QUEUE_SELECT:
    case VIRTIO_QUEUE_SIZE:
    case VIRTIO_QUEUE_VECTOR:
    case VIRTIO_QUEUE_ENABLE:
    case VIRTIO_QUEUE_NOTIFY_OFF:
    case VIRTIO_NOTIFY:
        return 2;
    default:
        return reg < VIRTIO_ISR && reg % 4 == 0 ? 4 : 0;
    }
}

static uint32_t read_register(struct virtio *v, unsigned reg)
{
    switch (reg) {
    case VIRTIO_DEVICE_FEATURE_SELECT:
        return v->feature_select;
    case VIRTIO_DEVICE_FEATURE:
        return v->feature_select < 2 ? (uint32_t)(v->features >> (32 * v->feature_select)) : 0;
    case VIRTIO_DRIVER_FEATURE_SELECT:
        return v->driver_feature_select;
    case VIRTIO_DRIVER_FEATURE:
        return v->driver_feature_select < 2
                   ? (uint32_t)(v->driver_features >> (32 * v->driver_feature_select))
                   : 0;
    case VIRTIO_CONFIG_VECTOR:
        return v->config_vector;
    case VIRTIO_NUM_QUEUES:
        return v->model->queues;
    case VIRTIO_STATUS:
        return v->status;
    case VIRTIO_GENERATION:
        return 0; /* the configuration never changes */
    case VIRTIO_QUEUE_SELECT:
        return v->queue_select;
    case VIRTIO_ISR:
        return read_isr(v);
    default:
        return read_queue(v, reg);
    }
}

static uint32_t read_window(struct virtio *v, unsigned reg, unsigned size)
{
    if (reg >= VIRTIO_CONFIG)
        return read_device(v, reg - VIRTIO_CONFIG, size);
    if (width(reg) != size)
        return UINT32_MAX >> (32 - 8 * size);
    return read_register(v, reg);
}

static void write_status(struct virtio *v, uint32_t value)
{
    uint8_t s = value & STATUS_WRITABLE;

    if (value == 0) {
        virtio_reset(v);
        return;
    }
    /* FEATURES_OK stays clear if we do not support the choice; the driver reads it back. Otherwise
     * a driver only adds bits. */
    s |= v->status;
    if ((v->driver_features & ~v->features) || !virtio_has(v, VIRTIO_F_VERSION_1))
        s &= (uint8_t)~VIRTIO_FEATURES_OK;
    if (!(s & VIRTIO_FEATURES_OK))
        s &= (uint8_t)~VIRTIO_DRIVER_OK;
    v->status = s;
    pci_work_now(&v->pci);
}

/* A message that does not exist is refused: the driver reads back that there is none. */
static uint16_t existing_vector(const struct virtio *v, uint32_t value)
{
    return v->msix.cap && value < v->msix.count ? (uint16_t)value : NO_VECTOR;
}

static void write_queue(struct virtio *v, unsigned reg, uint32_t value)
{
    struct virtqueue *q = selected(v);

    if (q && reg == VIRTIO_QUEUE_VECTOR)
        v->vectors[v->queue_select] = existing_vector(v, value);
    if (!q || q->ready)
        return; /* an enabled queue cannot be changed until reset */
    switch (reg) {
    case VIRTIO_QUEUE_SIZE:
        q->size = (uint16_t)value;
        break;
    case VIRTIO_QUEUE_ENABLE:
        q->event_index = virtio_has(v, VIRTIO_F_EVENT_IDX);
        if (value == 1 && virtqueue_enable(q, v->mem))
            virtio_fail(v);
        break;
    case VIRTIO_QUEUE_DESC:
    case VIRTIO_QUEUE_DESC + HIGH_HALF:
        set_half(&q->desc, reg, value);
        break;
    case VIRTIO_QUEUE_DRIVER:
    case VIRTIO_QUEUE_DRIVER + HIGH_HALF:
        set_half(&q->avail, reg, value);
        break;
    case VIRTIO_QUEUE_DEVICE:
    case VIRTIO_QUEUE_DEVICE + HIGH_HALF:
        set_half(&q->used, reg, value);
        break;
    default:
        break;
    }
}

static void write_window(struct virtio *v, unsigned reg, unsigned size, uint32_t value)
{
    if (reg >= VIRTIO_CONFIG && v->model->write_config)
        v->model->write_config(v, reg - VIRTIO_CONFIG, value);
    if (reg >= VIRTIO_CONFIG || width(reg) != size)
        return;
    switch (reg) {
    case VIRTIO_DEVICE_FEATURE_SELECT:
        v->feature_select = value;
        break;
    case VIRTIO_DRIVER_FEATURE_SELECT:
        v->driver_feature_select = value;
        break;
    case VIRTIO_DRIVER_FEATURE:
        if (v->driver_feature_select < 2 && !(v->status & VIRTIO_FEATURES_OK))
            set_half(&v->driver_features, v->driver_feature_select ? HIGH_HALF : 0, value);
        break;
    case VIRTIO_CONFIG_VECTOR:
        v->config_vector = existing_vector(v, value);
        break;
    case VIRTIO_STATUS:
        write_status(v, value);
        break;
    case VIRTIO_QUEUE_SELECT:
        v->queue_select = (uint16_t)value;
        break;
    case VIRTIO_NOTIFY:
        if (value < v->model->queues)
            pci_work_now(&v->pci);
        break;
    default:
        write_queue(v, reg, value);
        break;
    }
}

/* ---- the two BARs, and the way through configuration space ---- */

/* BARs are aligned to more than the window's size. */
static uint32_t port_in(void *dev, uint16_t port, unsigned size)
{
    return read_window(dev, port % VIRTIO_WINDOW, size);
}

static void port_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    write_window(dev, port % VIRTIO_WINDOW, size, value);
}

static uint64_t memory_read(void *dev, uint64_t offset, unsigned size)
{
    struct virtio *v = dev;

    if (offset < VIRTIO_WINDOW)
        return read_window(v, (unsigned)offset, size);
    return offset >= MSIX_AT ? msix_read(&v->msix, (unsigned)offset - MSIX_AT, size) : 0;
}

static void memory_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio *v = dev;

    if (offset < VIRTIO_WINDOW)
        write_window(v, (unsigned)offset, size, (uint32_t)value);
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
    value = read_window(v, offset, length);
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
    write_window(v, offset, length, value);
}

static void work(void *dev)
{
    struct virtio *v = dev;

    v->pci.due = NEVER;
    if (virtio_is_running(v))
        v->model->work(v);
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

void virtio_init(struct virtio *v, const struct virtio_model *model, const struct gmem *mem,
                 uint64_t features, const void *config, unsigned size)
{
    static const struct io_ops ports = {port_in, port_out, 4};
    static const struct mmio_ops memory = {memory_read, memory_write, 4};
    const struct pci_identity id = {.vendor = VIRTIO_PCI_VENDOR,
                                    .device = (uint16_t)(VIRTIO_PCI_DEVICE + model->type),
                                    .subsystem_vendor = VIRTIO_PCI_VENDOR,
                                    .subsystem = SUBSYSTEM,
                                    .class = model->class,
                                    .revision = REVISION_MODERN};

    v->model = model;
    v->mem = mem;
    v->features = features | VIRTIO_F_VERSION_1;
    v->config = config;
    v->config_size = size;
    pci_function_init(&v->pci, &id, v);
    v->pci.before_read = before_read;
    v->pci.after_write = after_write;
    v->pci.work = work;
    pci_add_bar(&v->pci, BAR_PORTS, &(struct pci_bar){VIRTIO_WINDOW, .ports = &ports});
    pci_add_bar(&v->pci, BAR_MEMORY, &(struct pci_bar){MEMORY_SIZE, .memory = &memory});
    add_caps(v, BAR_MEMORY);
    add_caps(v, BAR_PORTS);
    add_window(v);
    virtio_reset(v);
}

void virtio_plug(struct virtio *v, struct pci *p, unsigned slot)
{
    if (p->messages && !v->msix.cap)
        msix_init(&v->msix, &v->pci, v->model->queues + 1, BAR_MEMORY, MSIX_AT);
    pci_plug(p, &v->pci, slot);
    v->msix.function = &v->pci;
    msix_reset(&v->msix);
    virtio_reset(v);
}
