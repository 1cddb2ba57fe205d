#include "hv/pc/virtio.h"

#include "hv/lib.h"

#define STATUS_WRITABLE                                                                            \
    (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK | VIRTIO_FEATURES_OK | VIRTIO_FAILED)
#define ISR_QUEUE  1u
#define ISR_CONFIG 2u
#define NO_VECTOR  0xffffu
#define HIGH_HALF  4u /* of a 64-bit register, in its offset */

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
    for (unsigned i = 0; i < v->queue_count; i++) {
        virtqueue_reset(&v->queues[i]);
        v->vectors[i] = NO_VECTOR;
    }
    v->config_vector = NO_VECTOR;
    v->status = v->isr = 0;
    v->legacy = false;
    v->queue_select = 0;
    v->feature_select = v->driver_feature_select = 0;
    v->driver_features = 0;
    v->msix.pending = 0; /* what they announced is forgotten */
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

struct virtqueue *virtio_selected(struct virtio *v)
{
    return v->queue_select < v->queue_count ? &v->queues[v->queue_select] : NULL;
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

/* The address that a half of one of the three registers is of; NULL: it is another register. */
static uint64_t *address(struct virtqueue *q, unsigned reg)
{
    uint64_t *const addresses[] = {&q->desc, &q->avail, &q->used}; /* in the registers' order */

    return reg >= VIRTIO_QUEUE_DESC && reg < VIRTIO_ISR
               ? addresses[(reg - VIRTIO_QUEUE_DESC) / sizeof(uint64_t)]
               : NULL;
}

static uint32_t read_queue(struct virtio *v, unsigned reg)
{
    struct virtqueue *q = virtio_selected(v);

    if (!q)
        return 0;
    switch (reg) {
    case VIRTIO_QUEUE_SIZE:
        return q->size;
    case VIRTIO_QUEUE_VECTOR:
        return v->vectors[v->queue_select];
    case VIRTIO_QUEUE_ENABLE:
        return q->ready;
    default:
        return address(q, reg) ? half(*address(q, reg), reg) : 0;
    }
}

static uint32_t read_isr(struct virtio *v)
{
    uint8_t isr = v->isr;

    v->isr = 0;
    pci_intx(&v->pci, false);
    return isr;
}

unsigned virtio_width(unsigned reg)
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

static uint32_t selected_word(uint64_t features, uint32_t select)
{
    return select < 2 ? (uint32_t)(features >> (32 * select)) : 0;
}

static uint32_t read_register(struct virtio *v, unsigned reg)
{
    switch (reg) {
    case VIRTIO_DEVICE_FEATURE_SELECT:
        return v->feature_select;
    case VIRTIO_DEVICE_FEATURE:
        return selected_word(v->features, v->feature_select);
    case VIRTIO_DRIVER_FEATURE_SELECT:
        return v->driver_feature_select;
    case VIRTIO_DRIVER_FEATURE:
        return selected_word(v->driver_features, v->driver_feature_select);
    case VIRTIO_CONFIG_VECTOR:
        return v->config_vector;
    case VIRTIO_NUM_QUEUES:
        return v->queue_count;
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

uint32_t virtio_read(struct virtio *v, unsigned reg, unsigned size)
{
    if (reg >= VIRTIO_CONFIG)
        return read_device(v, reg - VIRTIO_CONFIG, size);
    if (virtio_width(reg) != size)
        return io_ones(size);
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
     * a driver only adds bits. The legacy interface has no such bit. */
    s |= v->status;
    if ((v->driver_features & ~v->features) || !virtio_has(v, VIRTIO_F_VERSION_1))
        s &= (uint8_t)~VIRTIO_FEATURES_OK;
    if (!(s & VIRTIO_FEATURES_OK) && !v->legacy)
        s &= (uint8_t)~VIRTIO_DRIVER_OK;
    v->status = s;
    pci_work_now(&v->pci);
}

/* A message that does not exist is refused: the driver reads back that there is none. */
static uint16_t existing_vector(const struct virtio *v, uint32_t value)
{
    return value < v->msix.count ? (uint16_t)value : NO_VECTOR;
}

void virtio_enable_queue(struct virtio *v)
{
    struct virtqueue *q = virtio_selected(v);

    if (!q || q->ready)
        return;
    q->event_index = virtio_has(v, VIRTIO_F_EVENT_IDX);
    if (virtqueue_enable(q, v->mem))
        virtio_fail(v);
}

void virtio_stop_queue(struct virtio *v)
{
    struct virtqueue *q = virtio_selected(v);

    if (!q || !q->ready)
        return;
    virtqueue_reset(q);
    v->model->reset(v);
}

static void write_queue(struct virtio *v, unsigned reg, uint32_t value)
{
    struct virtqueue *q = virtio_selected(v);

    if (q && reg == VIRTIO_QUEUE_VECTOR)
        v->vectors[v->queue_select] = existing_vector(v, value);
    if (!q || q->ready)
        return; /* an enabled queue cannot be changed until reset */
    if (reg == VIRTIO_QUEUE_SIZE)
        q->size = (uint16_t)value;
    else if (reg == VIRTIO_QUEUE_ENABLE && value == 1)
        virtio_enable_queue(v);
    else if (address(q, reg))
        set_half(address(q, reg), reg, value);
}

void virtio_write(struct virtio *v, unsigned reg, unsigned size, uint32_t value)
{
    if (reg >= VIRTIO_CONFIG && v->model->write_config)
        v->model->write_config(v, reg - VIRTIO_CONFIG, value);
    if (reg >= VIRTIO_CONFIG || virtio_width(reg) != size)
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
        if (value < v->queue_count)
            pci_work_now(&v->pci);
        break;
    default:
        write_queue(v, reg, value);
        break;
    }
}

/* ---- the device ---- */

static void work(void *dev)
{
    struct virtio *v = dev;

    v->pci.due = NEVER;
    if (virtio_is_running(v))
        v->model->work(v);
}

void virtio_init(struct virtio *v, const struct virtio_model *model, const struct gmem *mem,
                 uint64_t features, const void *config, unsigned size)
{
    v->model = model;
    v->queue_count = model->queues;
    v->mem = mem;
    v->features = features | VIRTIO_F_VERSION_1;
    v->config = config;
    v->config_size = size;
    v->pci.due = NEVER;
    v->pci.dev = v;
    v->pci.work = work;
    virtio_reset(v);
}
