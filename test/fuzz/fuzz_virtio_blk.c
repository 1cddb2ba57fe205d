/* SOURCES: @virtio hv/pc/virtio_blk.c */
/* A driver that puts anything into its queue. The image never changes, and each call's work is
 * bounded. */
#include "hv/pc/virtio_blk.h"

#include "test/unit/virtio_fixture.h"

#define MEMORY 0x4000u
#define DISK   (20u * VIRTIO_BLK_SECTOR)
#define IMAGE  5000u
#define QUEUE  16u
#define DESC   0x0u
#define AVAIL  0x100u
#define USED   0x200u
#define HEADER 0x300u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct virtio_blk dev;

static void start(void)
{
    negotiate(0, 1);
    set_queue(0, QUEUE, DESC, AVAIL, USED);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
}

/* A descriptor with plausible values, from 4 bytes. */
static void describe(const uint8_t op[8])
{
    uint32_t length = op[4] & 1 ? 16 : op[4] & 2 ? op[5] * 512u : op[5];

    put_desc(DESC + 16ull * (op[1] % QUEUE), (op[2] & 3) ? HEADER : op[3] * 0x40u, length,
             op[6] & 3, (op[1] + 1u) % QUEUE);
}

static void step(const uint8_t op[8])
{
    static const uint32_t types[] = {0, 1, 4, 8, 11, 13};
    const struct virtio_blk_header h = {types[op[1] % 6], 0, op[2] % 24};
    uint32_t v;

    memcpy(&v, op + 4, 4);
    switch (op[0] % 8) {
    case 0:
        start();
        break;
    case 1:
        put((op[2] | (unsigned)op[3] << 8) % (MEMORY - 4), v, 4);
        break;
    case 2:
    case 3:
        describe(op);
        break;
    case 4:
        memcpy(mem.base + HEADER, &h, sizeof(h));
        break;
    case 5:
        out(op[1] % VIRTIO_WINDOW, op[2] & 1 ? 2 : 4, v);
        break;
    default:
        put_avail(AVAIL, QUEUE, op[1] % QUEUE);
        out(VIRTIO_NOTIFY, 2, 0);
        break;
    }
}

/* The first byte: whether it can be written. Then steps. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t image[IMAGE], blocks[3 * VIRTIO_BLK_BLOCK], written[1];
    struct virtio_blk_backing disk = {.image = image, .image_size = IMAGE, .size = DISK};

    if (size == 0)
        return 0;
    virtio_fixture_memory(MEMORY);
    memset(image, 0x5a, IMAGE);
    memset(written, 0, sizeof(written));
    if (data[0] & 1) {
        disk.blocks = blocks;
        disk.written = written;
    }
    virtio_blk_init(&dev, &mem, 0, &disk);
    virtio_fixture_plug(&virtio_blk_device, &dev, VIRTIO_BLK_SLOT, 0);
    start();
    for (data++, size--; size >= 8; data += 8, size -= 8) {
        step(data);
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
    free(mem.base);
    return 0;
}
