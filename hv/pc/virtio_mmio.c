#include "hv/pc/virtio_mmio.h"

#include "hv/lib.h"

#define VENDOR        0x4b4c4842u /* "BHLK" */

/* By offset / 4: one more than the register of virtio.h that means the same. */
#define SAME(at, reg) [(at) / 4] = (reg) + 1
static const uint8_t same[MMIO_CONFIG / 4] = {
    SAME(0x010, VIRTIO_DEVICE_FEATURE),
    SAME(0x014, VIRTIO_DEVICE_FEATURE_SELECT),
    SAME(0x020, VIRTIO_DRIVER_FEATURE),
    SAME(0x024, VIRTIO_DRIVER_FEATURE_SELECT),
    SAME(0x030, VIRTIO_QUEUE_SELECT),
    SAME(0x038, VIRTIO_QUEUE_SIZE),
    SAME(MMIO_QUEUE_READY, VIRTIO_QUEUE_ENABLE),
    SAME(0x050, VIRTIO_NOTIFY),
    SAME(0x070, VIRTIO_STATUS),
    SAME(0x080, VIRTIO_QUEUE_DESC),
    SAME(0x084, VIRTIO_QUEUE_DESC + 4),
    SAME(0x090, VIRTIO_QUEUE_DRIVER),
    SAME(0x094, VIRTIO_QUEUE_DRIVER + 4),
    SAME(0x0a0, VIRTIO_QUEUE_DEVICE),
    SAME(0x0a4, VIRTIO_QUEUE_DEVICE + 4),
    SAME(0x0fc, VIRTIO_GENERATION),
};

static uint32_t read_own(struct virtio *v, unsigned at)
{
    switch (at) {
    case MMIO_MAGIC:
        return MMIO_IS_MAGIC;
    case MMIO_VERSION:
        return MMIO_IS_VERSION;
    case MMIO_DEVICE:
        return v->model->type;
    case MMIO_VENDOR:
        return VENDOR;
    case MMIO_QUEUE_SIZE_MAX:
        return virtio_selected(v) ? VIRTQUEUE_MAX : 0;
    case MMIO_ISR:
        return v->isr;
    default:
        return at >= MMIO_SHARED && at < MMIO_SHARED_END ? UINT32_MAX : 0;
    }
}

static uint64_t read(void *dev, uint64_t offset, unsigned size)
{
    struct virtio *v = dev;
    unsigned at = (unsigned)offset, reg;

    if (at >= MMIO_CONFIG)
        return virtio_read(v, VIRTIO_CONFIG + at - MMIO_CONFIG, size);
    if (size != 4 || at % 4)
        return UINT32_MAX;
    reg = same[at / 4];
    return reg ? virtio_read(v, reg - 1, virtio_width(reg - 1)) : read_own(v, at);
}

static void acknowledge(struct virtio *v, uint32_t bits)
{
    v->isr &= (uint8_t)~bits;
    pci_intx(&v->pci, v->isr);
}

static void write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct virtio *v = dev;
    unsigned at = (unsigned)offset, reg;

    if (at >= MMIO_CONFIG) {
        virtio_write(v, VIRTIO_CONFIG + at - MMIO_CONFIG, size, (uint32_t)value);
        return;
    }
    if (size != 4 || at % 4)
        return;
    reg = same[at / 4];
    if (at == MMIO_ACKNOWLEDGE)
        acknowledge(v, (uint32_t)value);
    else if (at == MMIO_QUEUE_READY && value == 0)
        virtio_stop_queue(v);
    else if (reg)
        virtio_write(v, reg - 1, virtio_width(reg - 1), (uint32_t)value);
}

void virtio_mmio_plug(struct virtio *v, struct pci *p, unsigned slot)
{
    static const struct mmio_ops registers = {read, write, 4};

    pci_join(p, &v->pci, slot);
    (void)!mmio_claim(p->ports, VIRTIO_MMIO_AT(slot), PC_VIRTIO_MMIO_SIZE, &registers, v);
    virtio_reset(v);
}
