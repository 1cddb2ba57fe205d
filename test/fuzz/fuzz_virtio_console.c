/* SOURCES: @virtio hv/pc/virtio_console.c */
/* A driver that puts anything into the queues, while bytes are typed. Each call's work is bounded.
 */
#include "hv/pc/virtio_console.h"

#include "hv/lib.h"
#include "test/unit/virtio_console_fixture.h"

#define MEMORY 0x4000u
#define QUEUE  8u
#define AT(q)  (0x400u * (q))
#define AVAIL  0x100u
#define USED   0x200u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void start(uint32_t features)
{
    negotiate(features, 1);
    for (unsigned q = 0; q < VIRTIO_CONSOLE_QUEUES; q++)
        set_queue(q, QUEUE, AT(q), AT(q) + AVAIL, AT(q) + USED);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
}

static void step(const uint8_t op[8])
{
    unsigned q = op[1] % VIRTIO_CONSOLE_QUEUES;
    uint32_t v;

    memcpy(&v, op + 4, 4);
    switch (op[0] % 8) {
    case 0:
        start(op[1] & 6);
        break;
    case 1:
        put((op[2] | (unsigned)op[3] << 8) % (MEMORY - 4), v, 4);
        break;
    case 2:
    case 3:
        put_desc(AT(q) + 16 * (op[2] % QUEUE), 0x1000u + op[3] * 0x20u,
                 op[4] & 1 ? op[5] : op[5] % 12u, op[6] & 3, (op[2] + 1u) % QUEUE);
        break;
    case 4:
        out(op[1] % VIRTIO_WINDOW, op[2] & 1 ? 2 : 4, v);
        break;
    case 5:
        for (unsigned i = 0; i < op[1]; i++)
            if (!virtio_console_type(&dev, op[2]))
                break;
        break;
    default:
        put_avail(AT(q) + AVAIL, QUEUE, op[2] % QUEUE);
        out(VIRTIO_NOTIFY, 2, q);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    console_fixture_start(MEMORY, 0, NULL);
    pci_fixture_master(VIRTIO_CONSOLE_SLOT);
    start(VIRTIO_CONSOLE_F_MULTIPORT);
    for (; size >= 8; data += 8, size -= 8) {
        step(data);
        for (unsigned i = 0; pci_bus.deadline == 0; i++) {
            printed_size = 0;
            pci_device.update(&pci_bus);
            if (printed_size > VIRTIO_CONSOLE_WORK || i > 1u << 16)
                abort();
        }
        if (dev.typed_head - dev.typed_tail > VIRTIO_CONSOLE_TYPED || dev.pending >> 8)
            abort();
    }
    free(mem.base);
    return 0;
}
