#include "hv/pc/virtio_legacy.h"

#include "hv/lib.h"
#include "hv/pc/pci_registers.h"

#define NONE       UINT32_MAX
#define DESC_SIZE  16u
#define AVAIL_SIZE 6u /* and two bytes for each descriptor */

static unsigned config_at(const struct virtio *v)
{
    return msix_is_enabled(&v->msix) ? LEGACY_CONFIG_MSIX : LEGACY_CONFIG;
}

/* The register of virtio.h that means the same. */
static unsigned same(const struct virtio *v, unsigned at)
{
    static const uint8_t registers[LEGACY_CONFIG_MSIX] = {
        [LEGACY_QUEUE_SIZE] = VIRTIO_QUEUE_SIZE,
        [LEGACY_QUEUE_SELECT] = VIRTIO_QUEUE_SELECT,
        [LEGACY_NOTIFY] = VIRTIO_NOTIFY,
        [LEGACY_STATUS] = VIRTIO_STATUS,
        [LEGACY_ISR] = VIRTIO_ISR,
        [LEGACY_CONFIG_VECTOR] = VIRTIO_CONFIG_VECTOR,
        [LEGACY_QUEUE_VECTOR] = VIRTIO_QUEUE_VECTOR,
    };

    if (at >= config_at(v))
        return VIRTIO_CONFIG + at - config_at(v);
    return registers[at] ? registers[at] : NONE;
}

static uint32_t read_wide(struct virtio *v, unsigned at)
{
    const struct virtqueue *q = virtio_selected(v);

    switch (at) {
    case LEGACY_DEVICE_FEATURES:
        return (uint32_t)v->features;
    case LEGACY_DRIVER_FEATURES:
        return (uint32_t)v->driver_features;
    case LEGACY_QUEUE_PAGE:
        return q && q->ready ? (uint32_t)(q->desc / LEGACY_PAGE) : 0;
    default:
        return NONE;
    }
}

static uint32_t port_in(void *dev, uint16_t port, unsigned size)
{
    struct virtio *v = dev;
    unsigned at = port % VIRTIO_WINDOW;

    if (at < LEGACY_QUEUE_SIZE)
        return size == 4 ? read_wide(v, at) : io_ones(size);
    return same(v, at) == NONE ? io_ones(size) : virtio_read(v, same(v, at), size);
}

/* "Legacy Interfaces: A Note on Virtqueue Layout" */
static void set_queue(struct virtio *v, uint32_t page)
{
    struct virtqueue *q = virtio_selected(v);

    if (page == 0)
        virtio_stop_queue(v);
    if (page == 0 || !q || q->ready)
        return;
    q->desc = (uint64_t)page * LEGACY_PAGE;
    q->avail = q->desc + DESC_SIZE * (uint64_t)q->size;
    q->used = align_up(q->avail + AVAIL_SIZE + 2ull * q->size, LEGACY_PAGE);
    virtio_enable_queue(v);
    v->pci.config[PCI_COMMAND] |= PCI_COMMAND_MASTER;
    pci_work_now(&v->pci);
}

static void port_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct virtio *v = dev;
    unsigned at = port % VIRTIO_WINDOW, reg = same(v, at);

    if (at == LEGACY_STATUS && value)
        v->legacy = true;
    if (at == LEGACY_DRIVER_FEATURES && size == 4 && v->legacy)
        v->driver_features = value & v->features;
    else if (at == LEGACY_QUEUE_PAGE && size == 4 && v->legacy)
        set_queue(v, value);
    else if (reg != NONE && reg != VIRTIO_QUEUE_SIZE)
        virtio_write(v, reg, size, value);
}

const struct io_ops virtio_legacy_ports = {port_in, port_out, 4};
