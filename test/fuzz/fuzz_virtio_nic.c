/* SOURCES: net/virtio_nic.c net/virtio_windows.c hv/lib.c */
/* A virtio card that writes anything into its rings and says anything about itself: frames that the
 * driver passes on lie in one of its buffers, the card never gets a descriptor twice, and the
 * driver goes on once the card behaves. */
#include "net/virtio_nic.h"

#include "hv/pc/virtio_registers.h"

#include <stdlib.h>
#include <string.h>

#define RING 64u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct nic nic;
static uint8_t *memory;
static unsigned frames;
static uint32_t config_space[64];
static uint32_t status, selected, vector;
static struct virtio_ring *rings[2]; /* received, sent */

static int map(void *ctx, unsigned bar, size_t length)
{
    (void)ctx;
    if (bar > 5 || length > UINT32_MAX)
        abort();
    return 0;
}

static uint32_t config(void *ctx, uint16_t at)
{
    (void)ctx;
    if (at % 4 || at >= sizeof(config_space))
        abort();
    return config_space[at / 4];
}

static uint32_t reg_read(void *ctx, unsigned bar, uint32_t at, unsigned size)
{
    (void)ctx, (void)bar;
    switch (at) {
    case VIRTIO_DEVICE_FEATURE:
        return selected ? 1 : VIRTIO_NET_F_MAC;
    case VIRTIO_STATUS:
        return status;
    case VIRTIO_QUEUE_SIZE:
        return RING;
    case VIRTIO_QUEUE_VECTOR:
        return vector;
    case 0x2000: /* its address */
        return 2;
    default:
        return size == 1 ? 3 : 0;
    }
}

static void reg_write(void *ctx, unsigned bar, uint32_t at, unsigned size, uint32_t v)
{
    (void)ctx, (void)bar, (void)size;
    if (at == VIRTIO_STATUS)
        status = v;
    else if (at == VIRTIO_DEVICE_FEATURE_SELECT)
        selected = v;
    else if (at == VIRTIO_QUEUE_VECTOR)
        vector = v;
}

static void on_frame(void *ctx, const uint8_t *frame, size_t len)
{
    static uint8_t copy[NIC_BUFFER];

    (void)ctx;
    if (len == 0 || frame < memory + 2 * VIRTIO_NIC_RING ||
        frame + len > memory + 2 * VIRTIO_NIC_RING + (size_t)NIC_BUFFER * VIRTIO_NIC_RX_COUNT)
        abort();
    memcpy(copy, frame, len);
    frames++;
}

static void put_window(unsigned at, unsigned next, unsigned type, uint32_t offset, uint32_t length)
{
    config_space[at / 4] = 9 | next << 8 | 16u << 16 | type << 24;
    config_space[at / 4 + 1] = 4;
    config_space[at / 4 + 2] = offset;
    config_space[at / 4 + 3] = length;
}

static void describe(void)
{
    config_space[1] = 0x10u << 16;
    config_space[0x34 / 4] = 0x40;
    put_window(0x40, 0x50, VIRTIO_COMMON, 0, 0x1000);
    put_window(0x50, 0x60, VIRTIO_ISR_STATUS, 0x1000, 0x1000);
    put_window(0x60, 0x70, VIRTIO_DEVICE_CONFIG, 0x2000, 0x1000);
    put_window(0x70, 0, VIRTIO_NOTIFY_AREA, 0x3000, 0x1000);
}

static void start(void)
{
    if (!memory)
        memory = aligned_alloc(PAGE_SIZE, VIRTIO_NIC_MEMORY);
    if (!memory)
        abort();
    describe();
    memset(memory, 0, 2 * VIRTIO_NIC_RING);
    nic = (struct nic){
        .bus = {map, reg_read, reg_write, config, NULL}, .irq = ARCH_IRQ_MSIX, .input = on_frame};
    if (virtio_nic_driver.probe(&nic) || virtio_nic_driver.start(&nic, memory))
        abort();
    virtio_nic_driver.listen(&nic);
    rings[0] = (struct virtio_ring *)(void *)memory;
    rings[1] = (struct virtio_ring *)(void *)(memory + VIRTIO_NIC_RING);
}

/* A descriptor is lent again only after it was taken. */
static void check(void)
{
    uint64_t taken = nic.rx_frames + nic.rx_dropped;

    for (unsigned q = 0; q < 2; q++)
        for (unsigned i = 0; i < RING; i++)
            if (rings[q]->avail[i] >= RING)
                abort();
    if ((uint16_t)(rings[0]->avail_index - RING) > taken)
        abort();
}

/* Then the card behaves: a frame arrives. */
static void behave(void)
{
    struct virtio_ring *r = rings[0];
    uint16_t seen = (uint16_t)(nic.rx_frames + nic.rx_dropped);

    r->used[seen % RING] = (struct virtio_used){r->avail[(uint16_t)(r->avail_index - 1) % RING],
                                                VIRTIO_NIC_HEADER + 60};
    r->used_index = (uint16_t)(seen + 1);
    frames = 0;
    if (virtio_nic_driver.receive(&nic, 1) != 1 || frames != 1)
        abort();
}

static void step(const uint8_t *d)
{
    static const uint8_t frame[60];
    struct virtio_ring *r = rings[d[0] & 1];

    switch (d[0] >> 1 & 3) {
    case 0: /* an entry, honest or not */
        r->used[r->used_index % RING] = (struct virtio_used){d[1] & 0x80 ? d[1] * 0x1010101u : d[1],
                                                             d[2] | (uint32_t)d[3] << 8};
        r->used_index++;
        break;
    case 1:
        r->used_index = (uint16_t)(r->used_index + d[1]);
        break;
    case 2:
        (void)virtio_nic_driver.interrupt(&nic);
        if (virtio_nic_driver.receive(&nic, d[1] & 7) > (d[1] & 7))
            abort();
        break;
    default:
        (void)virtio_nic_driver.send(&nic, frame, sizeof(frame));
    }
    check();
}

/* The capabilities are what the input says. */
static void find(const uint8_t *data, size_t size)
{
    struct virtio_windows w;

    memcpy(config_space, data, size < sizeof(config_space) ? size : sizeof(config_space));
    if (virtio_find_windows(&nic.bus, &w))
        return;
    for (unsigned i = VIRTIO_COMMON; i < VIRTIO_WINDOWS; i++)
        if (w.at[i].bar > 5 || w.at[i].length == 0 ||
            w.at[i].offset + w.at[i].length < w.at[i].offset)
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start();
    for (size_t i = 0; i + 4 <= size; i += 4)
        step(data + i);
    behave();
    find(data, size);
    return 0;
}
