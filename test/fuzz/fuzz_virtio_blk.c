/* SOURCES: hv/gmem.c hv/pc/virtio_blk.c hv/pc/virtio.c hv/pc/virtqueue.c hv/pc/msix.c hv/pc/pci.c
 * hv/pc/bus.c hv/lib.c */
/* A driver that puts anything into its queue. The image never changes, and each call's work is
 * bounded. */
#include "hv/pc/virtio_blk.h"

#include "test/unit/pci_fixture.h"

#include <stdlib.h>

#define MEMORY 0x4000u
#define DISK   (20u * VIRTIO_BLK_SECTOR)
#define IMAGE  5000u
#define WINDOW (PCI_PORTS + VIRTIO_BLK_SLOT * PCI_SLOT_PORTS)
#define READY  (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK)
#define QUEUE  16u
#define DESC   0x0u
#define AVAIL  0x100u
#define USED   0x200u
#define HEADER 0x300u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_blk dev;

static void out(unsigned reg, unsigned size, uint32_t v)
{
    io_out(&pci_io, (uint16_t)(WINDOW + reg), size, v);
}

static void start(void)
{
    out(VIRTIO_STATUS, 1, 0);
    out(VIRTIO_DRIVER_FEATURE_SELECT, 4, 1);
    out(VIRTIO_DRIVER_FEATURE, 4, 1);
    out(VIRTIO_STATUS, 1, READY & ~VIRTIO_DRIVER_OK);
    out(VIRTIO_QUEUE_SIZE, 2, QUEUE);
    out(VIRTIO_QUEUE_DESC, 4, DESC);
    out(VIRTIO_QUEUE_DRIVER, 4, AVAIL);
    out(VIRTIO_QUEUE_DEVICE, 4, USED);
    out(VIRTIO_QUEUE_ENABLE, 2, 1);
    out(VIRTIO_STATUS, 1, READY);
}

/* A descriptor with plausible values, from 4 bytes. */
static void describe(const struct gmem *m, const uint8_t op[8])
{
    const struct {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
    } d = {(op[2] & 3) ? HEADER : op[3] * 0x40u,
           op[4] & 1   ? 16
           : op[4] & 2 ? op[5] * 512u
                       : op[5],
           op[6] & 3, (op[1] + 1u) % QUEUE};

    memcpy(m->base + DESC + 16 * (op[1] % QUEUE), &d, sizeof(d));
}

static void step(struct gmem *m, const uint8_t op[8])
{
    static const uint32_t types[] = {0, 1, 4, 8, 11, 13};
    const struct virtio_blk_header h = {types[op[1] % 6], 0, op[2] % 24};
    uint16_t index;
    uint32_t v;

    memcpy(&v, op + 4, 4);
    switch (op[0] % 8) {
    case 0:
        start();
        break;
    case 1:
        memcpy(m->base + (op[2] | (unsigned)op[3] << 8) % (MEMORY - 4), &v, 4);
        break;
    case 2:
    case 3:
        describe(m, op);
        break;
    case 4:
        memcpy(m->base + HEADER, &h, sizeof(h));
        break;
    case 5:
        out(op[1] % VIRTIO_WINDOW, op[2] & 1 ? 2 : 4, v);
        break;
    default:
        memcpy(&index, m->base + AVAIL + 2, 2);
        index++;
        memcpy(m->base + AVAIL + 4 + 2 * ((index - 1u) % QUEUE), &(uint16_t){op[1] % QUEUE}, 2);
        memcpy(m->base + AVAIL + 2, &index, 2);
        out(VIRTIO_NOTIFY, 2, 0);
        break;
    }
}

/* The first byte: whether it can be written. Then steps. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t image[IMAGE], blocks[3 * VIRTIO_BLK_BLOCK], written[1];
    struct gmem m = {.base = aligned_alloc(4096, MEMORY), .size = MEMORY};
    struct virtio_blk_backing disk = {.image = image, .image_size = IMAGE, .size = DISK};

    if (size == 0 || !m.base) {
        free(m.base);
        return 0;
    }
    memset(m.base, 0, MEMORY);
    memset(image, 0x5a, IMAGE);
    memset(written, 0, sizeof(written));
    if (data[0] & 1) {
        disk.blocks = blocks;
        disk.written = written;
    }
    virtio_blk_init(&dev, &m, 0, &disk);
    pci_fixture_start(0, NULL);
    virtio_blk_device.plug(&dev, &pci_env);
    pci_fixture_master(VIRTIO_BLK_SLOT);
    start();
    for (data++, size--; size >= 8; data += 8, size -= 8) {
        step(&m, data);
        for (unsigned i = 0; pci_bus.deadline == 0; i++) {
            pci_device.update(&pci_bus);
            if (i > (1u << 20) / VIRTIO_BLK_WORK * VIRTQUEUE_MAX)
                abort();
        }
    }
    for (unsigned i = 0; i < IMAGE; i++)
        if (image[i] != 0x5a)
            abort();
    if (written[0] >> 3)
        abort();
    free(m.base);
    return 0;
}
