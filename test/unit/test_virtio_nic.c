/* SOURCES: net/virtio_nic.c net/virtio_windows.c hv/lib.c */
#include "net/virtio_nic.h"

#include "hv/lib.h"
#include "hv/pc/virtio_registers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define COMMON      0x0000u
#define ISR         0x1000u
#define CONFIG      0x2000u
#define NOTIFY      0x3000u
#define MULTIPLIER  4u
#define BAR_SIZE    0x4000u
#define ADDRESSES   3u /* of a queue */
#define OFFERED_LOW 0x30bf8024u

static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

struct card_queue {
    uint32_t size, vector, enabled;
    uint64_t address[ADDRESSES];
    uint16_t seen, used; /* available entries taken, used entries made */
};

/* A simulated card: QEMU's layout, and a device that does what its rings say when it is told to. */
static struct {
    uint32_t config[64]; /* of the PCI function */
    size_t mapped;
    int map_result;
    uint32_t features[2], chosen[2], feature_select, driver_select;
    uint32_t status, config_vector, queue_select, isr, device_status;
    struct card_queue queues[2];
    uint32_t queue_size_offered[2], notify_offset[2];
    bool dead, refuses_features, no_vectors, stuck, sends;
    unsigned notified[2];
    uint8_t mac[6];
} card;
static struct nic n;
static uint8_t *memory;
static unsigned frames;
static uint8_t last[NIC_BUFFER];
static size_t last_len;

static int map(void *ctx, unsigned bar, size_t length)
{
    assert_ptr_equal(ctx, &card);
    if (card.map_result)
        return card.map_result;
    assert_int_equal(bar, 4);
    assert_true(length <= BAR_SIZE);
    if (length > card.mapped)
        card.mapped = length;
    return 0;
}

static uint32_t config(void *ctx, uint16_t at)
{
    assert_ptr_equal(ctx, &card);
    assert_true(at % 4 == 0 && at < 256);
    return card.config[at / 4];
}

static uint32_t read_queue(const struct card_queue *q, uint32_t at)
{
    switch (at) {
    case VIRTIO_QUEUE_SIZE:
        return q->size;
    case VIRTIO_QUEUE_VECTOR:
        return q->vector;
    case VIRTIO_QUEUE_NOTIFY_OFF:
        return card.notify_offset[card.queue_select];
    default:
        fail_msg("read of common register %#x", at);
        return 0;
    }
}

static uint32_t read_common(uint32_t at, unsigned size)
{
    switch (at) {
    case VIRTIO_DEVICE_FEATURE:
        assert_int_equal(size, 4);
        return card.feature_select < 2 ? card.features[card.feature_select] : 0;
    case VIRTIO_STATUS:
        assert_int_equal(size, 1);
        return card.status;
    default:
        assert_int_equal(size, 2);
        return read_queue(&card.queues[card.queue_select], at);
    }
}

static uint32_t reg_read(void *ctx, unsigned bar, uint32_t at, unsigned size)
{
    assert_ptr_equal(ctx, &card);
    assert_int_equal(bar, 4);
    assert_true(at + size <= card.mapped && at % size == 0);
    if (card.dead)
        return size == 4 ? UINT32_MAX : (1u << 8 * size) - 1;
    if (at < ISR)
        return read_common(at, size);
    if (at == ISR) {
        uint32_t v = card.isr;

        assert_int_equal(size, 1);
        card.isr = 0;
        return v;
    }
    if (at == CONFIG + 6) {
        assert_int_equal(size, 2);
        return card.device_status;
    }
    assert_true(at >= CONFIG && at < CONFIG + 6 && size == 1);
    return card.mac[at - CONFIG];
}

static void reset_card(void)
{
    card.status = card.stuck ? 1 : 0;
    card.chosen[0] = card.chosen[1] = card.isr = 0;
    card.config_vector = VIRTIO_NO_VECTOR;
    for (unsigned i = 0; i < 2; i++)
        card.queues[i] =
            (struct card_queue){.size = card.queue_size_offered[i], .vector = VIRTIO_NO_VECTOR};
}

static void write_status(uint32_t v)
{
    if (!v) {
        reset_card();
        return;
    }
    if ((v & VIRTIO_FEATURES_OK) && card.refuses_features)
        v &= ~(uint32_t)VIRTIO_FEATURES_OK;
    /* Only what is complete starts. */
    if ((v & VIRTIO_DRIVER_OK) && !(card.status & VIRTIO_DRIVER_OK))
        assert_true(card.queues[0].enabled && card.queues[1].enabled);
    card.status = v;
}

static void write_queue(struct card_queue *q, uint32_t at, uint32_t v)
{
    assert_false(q->enabled);
    if (at >= VIRTIO_QUEUE_DESC) {
        uint64_t *address = &q->address[(at - VIRTIO_QUEUE_DESC) / 8];
        unsigned shift = at % 8 * 8;

        *address = (*address & ~(0xffffffffull << shift)) | (uint64_t)v << shift;
    } else if (at == VIRTIO_QUEUE_SIZE) {
        assert_true(v && v <= card.queue_size_offered[card.queue_select] && !(v & (v - 1)));
        q->size = v;
    } else if (at == VIRTIO_QUEUE_VECTOR) {
        q->vector = card.no_vectors ? VIRTIO_NO_VECTOR : v;
    } else {
        assert_int_equal(at, VIRTIO_QUEUE_ENABLE);
        assert_int_equal(v, 1);
        assert_true(q->address[0] % 16 == 0 && q->address[1] % 2 == 0 && q->address[2] % 4 == 0);
        q->enabled = 1;
    }
}

static void write_common(uint32_t at, uint32_t v)
{
    if (at == VIRTIO_DEVICE_FEATURE_SELECT)
        card.feature_select = v;
    else if (at == VIRTIO_DRIVER_FEATURE_SELECT)
        card.driver_select = v;
    else if (at == VIRTIO_DRIVER_FEATURE)
        card.chosen[card.driver_select] = v;
    else if (at == VIRTIO_CONFIG_VECTOR)
        card.config_vector = v;
    else if (at == VIRTIO_STATUS)
        write_status(v);
    else if (at == VIRTIO_QUEUE_SELECT)
        card.queue_select = v;
    else
        write_queue(&card.queues[card.queue_select], at, v);
}

static struct virtio_desc *descs(unsigned q)
{
    return (void *)(uintptr_t)card.queues[q].address[0];
}

static uint16_t *avail(unsigned q) /* flags, index, ring */
{
    return (void *)(uintptr_t)card.queues[q].address[1];
}

static uint16_t *used(unsigned q) /* flags, index */
{
    return (void *)(uintptr_t)card.queues[q].address[2];
}

static void make_used(unsigned q, uint32_t id, uint32_t length)
{
    struct virtio_used *ring = (void *)(used(q) + 2);
    struct card_queue *c = &card.queues[q];

    ring[c->used % c->size] = (struct virtio_used){id, length};
    c->used++;
    used(q)[1] = c->used;
}

/* The next descriptor that the card has, or -1. */
static int next_available(unsigned q)
{
    struct card_queue *c = &card.queues[q];

    if (c->seen == avail(q)[1])
        return -1;
    return avail(q)[2 + c->seen++ % c->size];
}

static void send_all(void)
{
    for (int id; (id = next_available(1)) >= 0;) {
        const struct virtio_desc *d = &descs(1)[id];
        const uint8_t *bytes = (void *)(uintptr_t)d->address;

        assert_int_equal(d->flags, 0);
        assert_true(bytes_are_zero(bytes, VIRTIO_NIC_HEADER));
        last_len = d->length - VIRTIO_NIC_HEADER;
        memcpy(last, bytes + VIRTIO_NIC_HEADER, last_len);
        frames++;
        make_used(1, (uint32_t)id, 0);
    }
}

static void reg_write(void *ctx, unsigned bar, uint32_t at, unsigned size, uint32_t v)
{
    assert_ptr_equal(ctx, &card);
    assert_int_equal(bar, 4);
    assert_true(at + size <= card.mapped && at % size == 0);
    if (at < ISR) {
        write_common(at, v);
        return;
    }
    assert_int_equal(size, 2);
    assert_true(v < 2 && at == NOTIFY + card.notify_offset[v] * MULTIPLIER);
    assert_true(card.status & VIRTIO_DRIVER_OK);
    card.notified[v]++;
    if (v == 1 && card.sends)
        send_all();
}

static const struct nic_bus bus = {map, reg_read, reg_write, config, &card};

/* A capability of the vendor's at `at`. */
static void add_window(unsigned at, unsigned next, unsigned type, uint32_t offset, uint32_t length)
{
    card.config[at / 4] = 9 | next << 8 | 16u << 16 | type << 24;
    card.config[at / 4 + 1] = 4; /* BAR */
    card.config[at / 4 + 2] = offset;
    card.config[at / 4 + 3] = length;
}

static void describe(void)
{
    card.config[1] = 0x10u << 16;
    card.config[0x34 / 4] = 0x98;
    card.config[0x98 / 4] = 0x11 | 0x84 << 8; /* MSI-X */
    add_window(0x84, 0x70, 5, 0, 0);          /* access through the configuration space */
    add_window(0x70, 0x60, VIRTIO_NOTIFY_AREA, NOTIFY, 0x1000);
    card.config[0x80 / 4] = MULTIPLIER;
    add_window(0x60, 0x50, VIRTIO_DEVICE_CONFIG, CONFIG, 0x1000);
    add_window(0x50, 0x40, VIRTIO_ISR_STATUS, ISR, 0x1000);
    add_window(0x40, 0, VIRTIO_COMMON, COMMON, 0x1000);
}

static void on_frame(void *ctx, const uint8_t *frame, size_t len)
{
    assert_ptr_equal(ctx, &frames);
    memcpy(last, frame, len);
    last_len = len;
    frames++;
}

static int setup(void **state)
{
    (void)state;
    memset(&card, 0, sizeof(card));
    memset(&n, 0, sizeof(n));
    describe();
    card.features[0] = OFFERED_LOW;
    card.features[1] = 0x101;
    memcpy(card.mac, mac, 6);
    card.queue_size_offered[0] = card.queue_size_offered[1] = 256;
    card.notify_offset[1] = 1;
    card.device_status = 1;
    card.sends = true;
    n.bus = bus;
    n.irq = ARCH_IRQ_MSIX;
    n.input = on_frame;
    n.input_ctx = &frames;
    memory = aligned_alloc(4096, VIRTIO_NIC_MEMORY);
    memset(memory, 0, VIRTIO_NIC_MEMORY);
    frames = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

static const struct nic_driver *const driver = &virtio_nic_driver;

static void start(void)
{
    assert_int_equal(driver->probe(&n), 0);
    assert_int_equal(driver->start(&n, memory), 0);
    driver->listen(&n);
    card.notified[0] = card.notified[1] = 0;
}

/* A frame arrives: `tag`, then zeros. False: the card has no buffer. */
static bool arrive(unsigned tag, size_t len)
{
    int id = next_available(0);
    struct virtio_desc *d;

    if (id < 0)
        return false;
    d = &descs(0)[id];
    assert_int_equal(d->flags, VIRTIO_DESC_DEVICE_WRITES);
    assert_int_equal(d->length, NIC_BUFFER);
    memset((void *)(uintptr_t)d->address, 0, d->length);
    memcpy((uint8_t *)(uintptr_t)d->address + VIRTIO_NIC_HEADER, &tag, sizeof(tag));
    make_used(0, (uint32_t)id, (uint32_t)len + VIRTIO_NIC_HEADER);
    card.isr |= 1;
    return true;
}

static bool wants_interrupt(void)
{
    return !(avail(0)[0] & VIRTIO_AVAIL_NO_INTERRUPT);
}

static void test_probe(void **state)
{
    (void)state;
    assert_int_equal(driver->probe(&n), 0);
    assert_memory_equal(n.mac, mac, 6);
    assert_int_equal(card.status, 0); /* quiet */
    assert_int_equal(card.mapped, BAR_SIZE);
}

static void test_start(void **state)
{
    (void)state;
    start();
    assert_int_equal(card.status, 15);
    /* The address and the link; no offload, no control queue. */
    assert_int_equal(card.chosen[0], VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS);
    assert_int_equal(card.chosen[1], 1);
    assert_int_equal(card.queues[0].size, 256);
    assert_int_equal(card.queues[1].size, 128);
    assert_int_equal(card.queues[0].vector, 0);
    assert_int_equal(card.queues[1].vector, VIRTIO_NO_VECTOR);
    assert_int_equal(avail(0)[1], 256);
    for (unsigned i = 0; i < 256; i++) {
        uint64_t at = descs(0)[i].address - (uintptr_t)memory;

        assert_in_range(at, 2 * VIRTIO_NIC_RING, VIRTIO_NIC_MEMORY - NIC_BUFFER);
    }
    assert_int_equal(descs(1)[127].address - (uintptr_t)memory, VIRTIO_NIC_MEMORY - NIC_BUFFER);
}

/* What the two QEMUs say, and sizes that no ring of ours has. */
static void test_queue_sizes(void **state)
{
    static const uint32_t sizes[][2] = {{64, 64},     {256, 256}, {512, 512}, {1024, 512},
                                        {32768, 512}, {300, 256}, {2, 2}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        card.queue_size_offered[0] = sizes[i][0];
        memset(n.state, 0, sizeof(n.state));
        memset(memory, 0, VIRTIO_NIC_MEMORY);
        start();
        assert_int_equal(card.queues[0].size, sizes[i][1]);
        assert_int_equal(avail(0)[1], sizes[i][1]);
    }
    card.queue_size_offered[0] = 0; /* there is no such queue */
    assert_int_equal(driver->start(&n, memory), -E_IO);
    assert_int_equal(card.status, 0);
}

static void test_start_fails(void **state)
{
    bool *const wrong[] = {&card.dead, &card.refuses_features, &card.stuck};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        *wrong[i] = true;
        assert_int_equal(driver->probe(&n), -E_IO);
        *wrong[i] = false;
    }
    card.features[1] = 0; /* legacy only */
    assert_int_equal(driver->probe(&n), -E_IO);
    assert_int_equal(card.status, VIRTIO_FAILED);
    card.features[1] = 1;
    card.mac[0] |= 1; /* a group's */
    assert_int_equal(driver->probe(&n), -E_IO);
    card.mac[0] &= 0xfe;
    card.map_result = -E_NOTSUP;
    assert_int_equal(driver->probe(&n), -E_NOTSUP);
    card.map_result = 0;
    assert_int_equal(driver->probe(&n), 0);
    card.no_vectors = true;
    assert_int_equal(driver->start(&n, memory), -E_IO);
    assert_int_equal(card.status, 0);
    card.no_vectors = false;
    card.notify_offset[0] = 0x400; /* beyond its window */
    assert_int_equal(driver->start(&n, memory), -E_IO);
    card.notify_offset[0] = 0xffff;
    assert_int_equal(driver->start(&n, memory), -E_IO);
    card.notify_offset[0] = 0;
    card.dead = true;
    assert_int_equal(driver->start(&n, memory), -E_IO);
}

static void test_windows(void **state)
{
    struct virtio_windows w;

    (void)state;
    assert_int_equal(virtio_find_windows(&bus, &w), 0);
    assert_int_equal(w.at[VIRTIO_COMMON].bar, 4);
    assert_int_equal(w.at[VIRTIO_NOTIFY_AREA].offset, NOTIFY);
    assert_int_equal(w.notify_multiplier, MULTIPLIER);
    card.config[0x40 / 4] |= 0x40 << 8; /* a circle */
    assert_int_equal(virtio_find_windows(&bus, &w), 0);
    card.config[0x40 / 4 + 3] = 0x37; /* too short */
    assert_int_equal(virtio_find_windows(&bus, &w), -E_NOTSUP);
    card.config[0x40 / 4 + 3] = 0xffffffff;
    assert_int_equal(virtio_find_windows(&bus, &w), 0);
    assert_int_equal(w.at[VIRTIO_COMMON].length, 0x10000);
    card.config[0x40 / 4 + 2] = 0xffffff00; /* wraps */
    assert_int_equal(virtio_find_windows(&bus, &w), -E_NOTSUP);
    card.config[0x40 / 4 + 2] = 0;
    card.config[0x40 / 4 + 1] = 6; /* no such BAR */
    assert_int_equal(virtio_find_windows(&bus, &w), -E_NOTSUP);
    describe();
    card.config[0x34 / 4] = 0xfc; /* would go past the end of the space */
    card.config[0xfc / 4] = 9 | 1u << 24;
    assert_int_equal(virtio_find_windows(&bus, &w), -E_NOTSUP);
    describe();
    card.config[1] = 0; /* no capabilities */
    assert_int_equal(virtio_find_windows(&bus, &w), -E_NOTSUP);
    memset(card.config, 0xff, sizeof(card.config)); /* no card */
    assert_int_equal(virtio_find_windows(&bus, &w), -E_NOTSUP);
}

static void test_receive(void **state)
{
    (void)state;
    start();
    assert_true(arrive('x', 60));
    assert_int_equal(driver->interrupt(&n), NIC_EVENT_FRAMES);
    assert_false(wants_interrupt()); /* until the frames were taken */
    assert_int_equal(driver->receive(&n, 64), 1);
    assert_true(wants_interrupt());
    assert_int_equal(frames, 1);
    assert_int_equal(last_len, 60);
    assert_int_equal(last[0], 'x');
    assert_int_equal(card.notified[0], 1);
    assert_int_equal(driver->receive(&n, 64), 0);
    assert_int_equal(card.notified[0], 1);
    card.isr = 0;
    /* Its one MSI-X entry came without a frame: perhaps the link. */
    assert_int_equal(driver->interrupt(&n), NIC_EVENT_FRAMES | NIC_EVENT_LINK);
}

static void test_interrupt_line(void **state)
{
    (void)state;
    n.irq = ARCH_IRQ_LINE;
    start();
    assert_int_equal(card.queues[0].vector, VIRTIO_NO_VECTOR);
    assert_int_equal(driver->interrupt(&n), 0); /* another device's on a shared line */
    assert_true(wants_interrupt());
    assert_true(arrive('x', 60));
    assert_int_equal(driver->interrupt(&n), NIC_EVENT_FRAMES);
    assert_int_equal(card.isr, 0);
    card.isr = 2;
    assert_int_equal(driver->interrupt(&n), NIC_EVENT_LINK);
    assert_int_equal(driver->receive(&n, 64), 1);
}

static void test_budget(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 100; i++)
        assert_true(arrive(i, 60));
    assert_int_equal(driver->interrupt(&n), NIC_EVENT_FRAMES);
    assert_int_equal(driver->receive(&n, 64), 64);
    assert_false(wants_interrupt());
    assert_int_equal(card.notified[0], 1);
    assert_int_equal(driver->receive(&n, 64), 36);
    assert_true(wants_interrupt());
    assert_int_equal(frames, 100);
}

/* Many times around the ring, and 16-bit indices wrap, even when it is full. */
static void test_ring(void **state)
{
    unsigned count = 0;

    (void)state;
    start();
    while (count < 3 * 65536) {
        unsigned first = count;

        while (arrive(count, 60))
            count++;
        assert_int_equal(count - first, 256);
        while (driver->receive(&n, 60))
            ;
        assert_int_equal(frames, count);
        assert_memory_equal(last, &(unsigned){count - 1}, sizeof(unsigned));
    }
    assert_int_equal(n.rx_frames, count);
    assert_int_equal(n.rx_dropped, 0);
}

/* A frame that arrives just as interrupts are wanted again is not left waiting. */
static void on_frame_and_one_more(void *ctx, const uint8_t *frame, size_t len)
{
    on_frame(ctx, frame, len);
    if (frames < 3)
        assert_true(arrive(frames, 60));
}

static void test_arrival_while_receiving(void **state)
{
    (void)state;
    start();
    n.input = on_frame_and_one_more;
    assert_true(arrive(0, 60));
    driver->interrupt(&n);
    assert_int_equal(driver->receive(&n, 64), 3);
    assert_true(wants_interrupt());
}

static void test_bad_frames(void **state)
{
    (void)state;
    start();
    assert_true(arrive(0, 0));
    assert_true(arrive(0, NIC_BUFFER - VIRTIO_NIC_HEADER + 1));
    assert_true(arrive(0, (size_t)-VIRTIO_NIC_HEADER)); /* 0 bytes, header included */
    assert_true(arrive(0, UINT32_MAX - VIRTIO_NIC_HEADER));
    assert_int_equal(driver->receive(&n, 64), 4);
    assert_int_equal(n.rx_dropped, 4);
    assert_true(arrive(0, NIC_BUFFER - VIRTIO_NIC_HEADER));
    assert_int_equal(driver->receive(&n, 64), 1);
    assert_int_equal(frames, 1);
    assert_int_equal(last_len, NIC_BUFFER - VIRTIO_NIC_HEADER);
}

/* Descriptors that do not exist, that are used twice, more entries than there are: bounded, and
 * nothing outside of the buffers is read or lent. */
static void test_hostile_ring(void **state)
{
    (void)state;
    start();
    make_used(0, 256, 100);
    make_used(0, UINT32_MAX, 100);
    make_used(0, 7, 100);
    make_used(0, 7, 100);
    assert_int_equal(driver->receive(&n, 64), 4);
    /* The card had 7 again before the second entry was read. */
    assert_int_equal(frames, 2);
    assert_int_equal(n.rx_dropped, 2);
    assert_int_equal(avail(0)[1], 258); /* nothing but 7 was lent again */
    used(0)[1] = (uint16_t)(card.queues[0].used + 257);
    assert_int_equal(driver->receive(&n, 64), 0);
    used(0)[1] = card.queues[0].used;
    /* It goes on. */
    assert_true(arrive('x', 60));
    assert_int_equal(driver->receive(&n, 64), 1);
    assert_int_equal(frames, 3);
}

static void test_send(void **state)
{
    uint8_t bytes[1518];

    (void)state;
    start();
    for (unsigned i = 0; i < 3 * VIRTIO_NIC_TX_COUNT; i++) {
        memset(bytes, (int)i, sizeof(bytes));
        assert_true(driver->send(&n, bytes, 60 + i));
        assert_int_equal(frames, i + 1);
        assert_int_equal(last_len, 60 + i);
        assert_memory_equal(last, bytes, last_len);
    }
    assert_int_equal(avail(1)[0], VIRTIO_AVAIL_NO_INTERRUPT);
    assert_int_equal(card.notified[1], frames);
    used(1)[0] = VIRTIO_USED_NO_NOTIFY; /* it looks by itself */
    assert_true(driver->send(&n, bytes, 60));
    assert_int_equal(card.notified[1], frames);
}

/* A slow card: the ring fills, and sending goes on when it has sent, in any order. */
static void test_send_full(void **state)
{
    static const uint32_t sizes[] = {64, 256, 32}; /* 64, 128, 32 in use */
    uint8_t bytes[60] = {0};

    (void)state;
    card.sends = false;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        unsigned size = sizes[i] > VIRTIO_NIC_TX_COUNT ? VIRTIO_NIC_TX_COUNT : sizes[i];
        int first;

        card.queue_size_offered[1] = sizes[i];
        memset(n.state, 0, sizeof(n.state));
        memset(memory, 0, VIRTIO_NIC_MEMORY);
        start();
        for (unsigned j = 0; j < size; j++)
            assert_true(driver->send(&n, bytes, sizeof(bytes)));
        assert_false(driver->send(&n, bytes, sizeof(bytes)));
        /* The second is sent before the first. */
        first = next_available(1);
        make_used(1, (uint32_t)next_available(1), 0);
        assert_true(driver->send(&n, bytes, sizeof(bytes)));
        assert_false(driver->send(&n, bytes, sizeof(bytes)));
        make_used(1, (uint32_t)first, 0);
        /* Nonsense gives nothing back. */
        make_used(1, (uint32_t)first, 0);
        make_used(1, size, 0);
        assert_true(driver->send(&n, bytes, sizeof(bytes)));
        assert_false(driver->send(&n, bytes, sizeof(bytes)));
    }
}

static void test_link(void **state)
{
    (void)state;
    start();
    assert_true(driver->link(&n).up);
    card.device_status = 0;
    assert_false(driver->link(&n).up);
    card.features[0] &= ~(uint32_t)VIRTIO_NET_F_STATUS; /* it cannot tell */
    start();
    assert_true(driver->link(&n).up);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_probe),          TEST(test_start),
        TEST(test_queue_sizes),    TEST(test_start_fails),
        TEST(test_windows),        TEST(test_receive),
        TEST(test_interrupt_line), TEST(test_budget),
        TEST(test_ring),           TEST(test_arrival_while_receiving),
        TEST(test_bad_frames),     TEST(test_hostile_ring),
        TEST(test_send),           TEST(test_send_full),
        TEST(test_link),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
