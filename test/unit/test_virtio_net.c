/* SOURCES: @virtio hv/pc/virtio_net.c hv/pc/virtio_net_control.c
 * hv/pc/virtio_net_rx.c */
#include "hv/pc/virtio_net.h"

#include "hv/pc/virtio_legacy.h"

#include "hv/config.h"
#include "test/unit/virtio_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MEMORY     0x40000u
#define SIZE       16u
#define RX         0u
#define TX         1u
#define QUEUE(n)   (0x10000ull * (n))
#define DESC(n)    (QUEUE(n) + 0x1000)
#define AVAIL(n)   (QUEUE(n) + 0x2000)
#define USED(n)    (QUEUE(n) + 0x3000)
#define DATA(n, i) (QUEUE(n) + 0x4000 + 0x800ull * (i))

static const uint8_t mac[6] = {0x52, 0x42, 0x48, 1, 2, 3};
static struct virtio_net dev;
static struct virtio_net_frame *ring;
static unsigned sent;
static uint8_t frame[NET_SEGMENT_MAX];
static size_t frame_len;
static uint8_t *segments;
static struct net_offload offload;
static unsigned again, cancelled, more_steps;

static bool on_transmit(void *ctx, uint8_t *bytes, size_t len, const struct net_offload *o)
{
    assert_ptr_equal(ctx, &sent);
    assert_in_range(len, VIRTIO_NET_FRAME_MIN,
                    o->gso_type ? NET_SEGMENT_MAX : VIRTIO_NET_FRAME_MAX);
    memcpy(frame, bytes, len);
    frame_len = len;
    offload = *o;
    if (again) {
        again--;
        return true;
    }
    sent++;
    return false;
}

static void on_cancel(void *ctx)
{
    assert_ptr_equal(ctx, &sent);
    cancelled++;
}

static bool has_time(void *ctx)
{
    assert_ptr_equal(ctx, &sent);
    return more_steps && more_steps--;
}

/* As after a notification, or when a sender has left frames. */
static void step(void)
{
    pci_work_now(&dev.virtio.pci);
    pci_device.update(&pci_bus);
}

/* Works like the run loop until nothing is left to do. Every test checks that this ends. */
static void work(void)
{
    unsigned n = 0;

    do {
        step();
        assert_true(n++ < 2 * VIRTIO_NET_RX_RING);
    } while (pci_bus.deadline == 0);
}

static void work_if_due(void)
{
    if (pci_bus.deadline == 0)
        work();
}

static int setup(void **state)
{
    const struct virtio_net_host host = {
        .ctx = &sent, .transmit = on_transmit, .cancel = on_cancel, .has_time = has_time};
    struct virtio_net_memory memory;

    (void)state;
    virtio_fixture_memory(MEMORY);
    ring = calloc(VIRTIO_NET_RX_RING, sizeof(*ring));
    segments = calloc(1 + VIRTIO_NET_SEGMENTS, VIRTIO_NET_SEGMENT);
    memory = (struct virtio_net_memory){.rx_ring = ring, .segments = segments, .pairs = 1};
    virtio_net_init(&dev, &mem, mac, &memory, &host);
    virtio_fixture_plug(&virtio_net_device, &dev, VIRTIO_NET_SLOT, DEV_NET);
    virtio_after_write = work_if_due;
    sent = again = cancelled = more_steps = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(mem.base);
    free(ring);
    free(segments);
    return 0;
}

/* A write after which the device has not worked yet. */
static void write_only(unsigned reg, unsigned size, uint32_t v)
{
    io_out(&pci_io, (uint16_t)(virtio_window + reg), size, v);
}

static void desc(unsigned n, unsigned i, uint64_t address, uint32_t length, unsigned flags,
                 unsigned next)
{
    put_desc(DESC(n) + 16ull * i, address, length, flags, next);
}

static void offer(unsigned n, unsigned head)
{
    put_avail(AVAIL(n), SIZE, head);
}

static unsigned used(unsigned n)
{
    return get(USED(n) + 2, 2);
}

static void start_with(uint64_t features)
{
    negotiate((uint32_t)features, 1);
    for (unsigned n = RX; n <= TX; n++) {
        put(AVAIL(n), 0, 4);
        put(USED(n), 0, 4);
        set_queue(n, SIZE, DESC(n), AVAIL(n), USED(n));
    }
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_READY);
}

static void start(void)
{
    start_with(0);
}

static void send_one(uint32_t total)
{
    desc(TX, 0, DATA(TX, 0), total, 0, 0);
    offer(TX, 0);
    out(VIRTIO_NOTIFY, 2, TX);
}

static void push(size_t len, uint8_t fill)
{
    uint8_t bytes[VIRTIO_NET_FRAME];

    memset(bytes, fill, sizeof(bytes));
    assert_true(virtio_net_rx_push(&dev, bytes, len, NULL));
}

static void test_registers(void **state)
{
    (void)state;
    out(VIRTIO_DEVICE_FEATURE_SELECT, 4, 0);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4), 0x2007bbaf); /* see VIRTIO_NET_F_* */
    out(VIRTIO_DEVICE_FEATURE_SELECT, 4, 1);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4), 1);
    out(VIRTIO_DEVICE_FEATURE_SELECT, 4, 2);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4), 0);
    out(VIRTIO_DEVICE_FEATURE_SELECT, 4, UINT32_MAX);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4), 0);
    assert_int_equal(in(VIRTIO_NUM_QUEUES, 2), VIRTIO_NET_QUEUES);
    assert_int_equal(in(VIRTIO_CONFIG_VECTOR, 2), 0xffff);
    assert_int_equal(in(VIRTIO_QUEUE_VECTOR, 2), 0xffff);
    assert_int_equal(in(VIRTIO_QUEUE_SIZE, 2), VIRTQUEUE_MAX);
    out(VIRTIO_QUEUE_SELECT, 2, VIRTIO_NET_QUEUES);
    assert_int_equal(in(VIRTIO_QUEUE_SIZE, 2), 0);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(in(VIRTIO_CONFIG + i, 1), mac[i]);
    assert_int_equal(in(VIRTIO_CONFIG, 4), 0x01484252);
    assert_int_equal(in(VIRTIO_CONFIG + 6, 2), 1);
    assert_int_equal(in(VIRTIO_CONFIG + 8, 4), 1500u << 16 | 1); /* MTU, pairs of queues */
    assert_true(in(VIRTIO_CONFIG + 61, 4) == 0xff000000); /* the last byte is past the window */
    out(VIRTIO_CONFIG, 1, 0xff);
    assert_int_equal(in(VIRTIO_CONFIG, 1), mac[0]);
}

static void test_widths(void **state)
{
    (void)state;
    assert_int_equal(in(VIRTIO_STATUS, 4), 0xffffffff);
    assert_int_equal(in(VIRTIO_NUM_QUEUES, 1), 0xff);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 2), 0xffff);
    assert_int_equal(in(VIRTIO_ISR + 1, 1), 0xff);
    out(VIRTIO_STATUS, 2, VIRTIO_ACKNOWLEDGE);
    assert_int_equal(in(VIRTIO_STATUS, 1), 0);
    out(VIRTIO_QUEUE_SELECT, 4, 1);
    assert_int_equal(in(VIRTIO_QUEUE_SELECT, 2), 0);
}

static void test_features(void **state)
{
    (void)state;
    negotiate(0, 0); /* VERSION_1 is required */
    assert_false(in(VIRTIO_STATUS, 1) & VIRTIO_FEATURES_OK);
    negotiate(1u << 23, 1); /* not offered: another address */
    assert_false(in(VIRTIO_STATUS, 1) & VIRTIO_FEATURES_OK);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
    assert_false(in(VIRTIO_STATUS, 1) & VIRTIO_DRIVER_OK);
    negotiate(1u << 5 | 1u << 16, 1);
    assert_true(in(VIRTIO_STATUS, 1) & VIRTIO_FEATURES_OK);
    out(VIRTIO_DRIVER_FEATURE, 4, 0xffffffff); /* too late */
    assert_int_equal(in(VIRTIO_DRIVER_FEATURE, 4), 1);
}

static void test_status(void **state)
{
    (void)state;
    start();
    out(VIRTIO_STATUS, 1, VIRTIO_ACKNOWLEDGE);
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_READY);
    out(VIRTIO_STATUS, 1, VIRTIO_NEEDS_RESET); /* not the driver's to set, and no reset */
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_READY);
    out(VIRTIO_STATUS, 1, 0);
    assert_int_equal(in(VIRTIO_STATUS, 1), 0);
    assert_int_equal(in(VIRTIO_QUEUE_ENABLE, 2), 0);
}

static void test_transmit(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 100; i++)
        put(DATA(TX, 0) + VIRTIO_NET_HEADER + i, i, 1);
    send_one(VIRTIO_NET_HEADER + 100);
    assert_int_equal(sent, 1);
    assert_int_equal(frame_len, 100);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(frame[i], i);
    assert_int_equal(used(TX), 1);
    assert_int_equal(get(USED(TX) + 8, 4), 0);
    assert_true(pci_level(VIRTIO_NET_IRQ));
    assert_int_equal(in(VIRTIO_ISR, 1), 1);
    assert_false(pci_level(VIRTIO_NET_IRQ));
    assert_int_equal(in(VIRTIO_ISR, 1), 0);
    put(AVAIL(TX), 1, 2); /* no interrupt, please */
    send_one(VIRTIO_NET_HEADER + 100);
    assert_int_equal(sent, 2);
    assert_false(pci_level(VIRTIO_NET_IRQ));
}

/* The header ends in the middle of a descriptor, or has a descriptor of its own. */
static void test_pieces(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 200; i++)
        put(DATA(TX, 0) + i, i, 1);
    desc(TX, 0, DATA(TX, 0), 5, NEXT, 1);
    desc(TX, 1, DATA(TX, 0) + 5, 0, NEXT, 2);
    desc(TX, 2, DATA(TX, 0) + 5, 27, NEXT, 3);
    desc(TX, 3, DATA(TX, 0) + 32, 40, 0, 0);
    offer(TX, 0);
    out(VIRTIO_NOTIFY, 2, TX);
    assert_int_equal(sent, 1);
    assert_int_equal(frame_len, 60);
    for (unsigned i = 0; i < 60; i++)
        assert_int_equal(frame[i], i + VIRTIO_NET_HEADER);
}

/* Invalid frames are swallowed; the device goes on. */
static void test_bad_frames(void **state)
{
    static const uint32_t lengths[] = {0, 1, 11, 12, 12 + 13, 12 + 1519, 1 << 17};
    unsigned n = 0;

    (void)state;
    start();
    for (; n < ARRAY_LEN(lengths); n++)
        send_one(lengths[n]);
    desc(TX, 0, DATA(TX, 0), 100, WRITE, 0);
    offer(TX, 0);
    out(VIRTIO_NOTIFY, 2, TX);
    assert_int_equal(sent, 0);
    assert_int_equal(used(TX), n + 1);
    send_one(12 + 14);
    send_one(12 + 1518);
    assert_int_equal(sent, 2);
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_READY);
}

static void test_whole_queue(void **state)
{
    (void)state;
    start();
    desc(TX, 0, DATA(TX, 0), 72, 0, 0);
    for (unsigned i = 0; i < SIZE; i++)
        offer(TX, 0);
    out(VIRTIO_NOTIFY, 2, TX);
    assert_int_equal(sent, SIZE);
    out(VIRTIO_NOTIFY, 2, 7);
    out(VIRTIO_NOTIFY, 2, 0xffff);
    assert_int_equal(sent, SIZE);
}

/* A neighbour waits for a frame or two at most, however many are offered at once. */
static void test_frames_a_call(void **state)
{
    unsigned frames = SIZE - 1;

    (void)state;
    start();
    for (unsigned i = 0; i < frames; i++) {
        desc(TX, i, DATA(TX, 0), VIRTIO_NET_HEADER + 60, 0, 0);
        offer(TX, i);
    }
    write_only(VIRTIO_NOTIFY, 2, TX);
    assert_int_equal(sent, 0);
    for (unsigned n = 1; n <= frames; n++) {
        assert_int_equal(dev.virtio.pci.due, 0);
        step();
        assert_int_equal(sent, n);
        /* It is told when nothing is left to do. */
        assert_int_equal(pci_level(VIRTIO_NET_IRQ), n == frames);
    }
    assert_true(dev.virtio.pci.due == NEVER);
    for (unsigned i = 0; i < frames; i++) {
        desc(RX, i, DATA(RX, 0), 2000, WRITE, 0);
        offer(RX, i);
        push(60, (uint8_t)i);
    }
    step();
    assert_int_equal(used(RX), VIRTIO_NET_RECEIVE);
    assert_int_equal(dev.virtio.pci.due, 0);
    work();
    assert_int_equal(used(RX), frames);
}

/* With time for more it goes on, but other devices get their turn; not once a ring is broken. */
static void test_steps_a_call(void **state)
{
    (void)state;
    start();
    desc(TX, 0, DATA(TX, 0), VIRTIO_NET_HEADER + 60, 0, 0);
    for (unsigned i = 0; i < SIZE; i++)
        offer(TX, 0);
    write_only(VIRTIO_NOTIFY, 2, TX);
    more_steps = 2;
    step();
    assert_int_equal(sent, 3);
    more_steps = 100;
    step();
    assert_int_equal(sent, 3 + VIRTIO_NET_STEPS);
    assert_int_equal(dev.virtio.pci.due, 0);
    assert_false(pci_level(VIRTIO_NET_IRQ));
    step();
    assert_int_equal(sent, SIZE);
    assert_true(dev.virtio.pci.due == NEVER);
    assert_true(pci_level(VIRTIO_NET_IRQ));
    for (unsigned i = 0; i < 2 * VIRTIO_NET_RECEIVE; i++) {
        desc(RX, i, DATA(RX, 0), 2000, WRITE, 0);
        offer(RX, i);
        push(60, (uint8_t)i);
    }
    desc(TX, 1, 1ull << 40, 100, 0, 0);
    offer(TX, 0);
    offer(TX, 1);
    offer(TX, 0);
    more_steps = 100;
    step();
    assert_int_equal(sent, SIZE + 1);
    assert_int_equal(used(RX), VIRTIO_NET_RECEIVE);
    assert_int_equal(more_steps, 98);
    assert_true(in(VIRTIO_STATUS, 1) & VIRTIO_NEEDS_RESET);
}

/* A long frame to a group is gathered, and delivered in another step. */
static void test_groups(void **state)
{
    (void)state;
    start();
    put(DATA(TX, 0) + VIRTIO_NET_HEADER, 1, 1);
    desc(TX, 0, DATA(TX, 0), VIRTIO_NET_HEADER + 1000, 0, 0);
    offer(TX, 0);
    write_only(VIRTIO_NOTIFY, 2, TX);
    step();
    assert_int_equal(sent, 0);
    assert_int_equal(dev.virtio.pci.due, 0);
    step();
    assert_int_equal(sent, 1);
    desc(TX, 0, DATA(TX, 0), VIRTIO_NET_HEADER + 60, 0, 0);
    offer(TX, 0);
    write_only(VIRTIO_NOTIFY, 2, TX);
    step();
    assert_int_equal(sent, 2);
}

/* Nor does the length of chains matter: a call handles a limited number of descriptors of endless
 * chains, and the directions take turns. */
static void test_descriptors_a_call(void **state)
{
    const unsigned calls = 2 * ((SIZE + VIRTIO_NET_WORK - 1) / VIRTIO_NET_WORK);

    (void)state;
    start();
    for (unsigned i = 0; i < SIZE; i++) {
        desc(TX, i, DATA(TX, 0), 0, i + 1 < SIZE ? NEXT : 0, i + 1);
        desc(RX, i, DATA(RX, 0), i + 1 < SIZE ? 1 : VIRTIO_NET_HEADER + 60,
             WRITE | (i + 1 < SIZE ? NEXT : 0), i + 1);
    }
    offer(TX, 0);
    offer(RX, 0);
    push(60, 1);
    dev.virtio.pci.due = 0;
    for (unsigned n = 1; n < calls; n++) {
        step();
        assert_int_equal(dev.virtio.pci.due, 0);
        assert_int_equal(used(RX), 0);
        assert_int_equal(used(TX), n == calls - 1);
        assert_int_equal(dev.tx_chain.chain.count + dev.pairs[0].rx_chain.chain.count,
                         n * VIRTIO_NET_WORK);
    }
    step();
    assert_int_equal(used(TX), 1);
    assert_int_equal(used(RX), 1);
    assert_true(dev.virtio.pci.due == NEVER);
    /* A reset between two calls forgets the chain. */
    offer(TX, 0);
    write_only(VIRTIO_NOTIFY, 2, TX);
    step();
    assert_true(dev.tx_chain.open);
    write_only(VIRTIO_STATUS, 1, 0);
    assert_false(dev.tx_chain.open);
}

static void test_receive(void **state)
{
    (void)state;
    start();
    desc(RX, 0, DATA(RX, 0), 10, NEXT | WRITE, 1);
    desc(RX, 1, DATA(RX, 1), 2000, WRITE, 0);
    offer(RX, 0);
    push(60, 0xab);
    assert_int_equal(used(RX), 0);
    work();
    assert_int_equal(used(RX), 1);
    assert_int_equal(get(USED(RX) + 8, 4), 72);
    assert_int_equal(get(DATA(RX, 0), 4), 0);
    assert_int_equal(get(DATA(RX, 1), 4), 0xabab0001); /* num_buffers, then the frame */
    assert_int_equal(get(DATA(RX, 1) + 58, 4), 0xabababab);
    assert_int_equal(get(DATA(RX, 1) + 62, 4), 0);
    assert_true(pci_level(VIRTIO_NET_IRQ));
    assert_false(virtio_net_rx_waiting(dev.pairs));
}

static void test_receive_longest(void **state)
{
    (void)state;
    start();
    desc(RX, 0, DATA(RX, 0), 2000, WRITE, 0);
    offer(RX, 0);
    push(VIRTIO_NET_FRAME_MAX, 0x5a);
    work();
    assert_int_equal(get(USED(RX) + 8, 4), VIRTIO_NET_HEADER + VIRTIO_NET_FRAME_MAX);
    assert_int_equal(get(DATA(RX, 0) + VIRTIO_NET_HEADER + VIRTIO_NET_FRAME_MAX - 2, 4), 0x5a5a);
}

static void test_receive_later(void **state)
{
    (void)state;
    start();
    push(60, 1);
    work(); /* no buffer yet: it waits */
    assert_true(virtio_net_rx_waiting(dev.pairs));
    assert_false(pci_level(VIRTIO_NET_IRQ));
    desc(RX, 0, DATA(RX, 0), 2000, WRITE, 0);
    offer(RX, 0);
    out(VIRTIO_NOTIFY, 2, RX);
    assert_int_equal(used(RX), 1);
    assert_true(pci_level(VIRTIO_NET_IRQ));
}

/* A frame into the next buffer at once; false: it was not. */
static bool put_now(size_t len, uint8_t fill, const struct net_offload *o)
{
    uint8_t bytes[VIRTIO_NET_FRAME];

    memset(bytes, fill, sizeof(bytes));
    return virtio_net_rx_put(&dev, bytes, len, o);
}

/* Offers a buffer of this many bytes in one piece. */
static void offer_buffer(unsigned i, uint32_t bytes)
{
    desc(RX, i, DATA(RX, i), bytes, WRITE, 0);
    offer(RX, i);
}

static void test_receive_at_once(void **state)
{
    (void)state;
    assert_false(put_now(60, 1, NULL)); /* no driver */
    start();
    work();
    assert_false(put_now(60, 1, NULL)); /* no buffer */
    offer_buffer(0, VIRTIO_NET_HEADER + VIRTIO_NET_FRAME_MAX);
    offer_buffer(1, VIRTIO_NET_HEADER + 60);
    put(DATA(RX, 0), UINT64_MAX, 8);
    assert_true(put_now(VIRTIO_NET_FRAME_MAX, 0x5a, NULL));
    assert_int_equal(used(RX), 1);
    assert_int_equal(get(USED(RX) + 8, 4), VIRTIO_NET_HEADER + VIRTIO_NET_FRAME_MAX);
    assert_int_equal(get(DATA(RX, 0), 4), 0);
    assert_int_equal(get(DATA(RX, 0) + 10, 4), 0x5a5a0001); /* num_buffers, then the frame */
    assert_int_equal(get(DATA(RX, 0) + VIRTIO_NET_HEADER + VIRTIO_NET_FRAME_MAX - 2, 4), 0x5a5a);
    assert_true(put_now(60, 0xab, NULL));
    assert_int_equal(used(RX), 2);
    assert_int_equal(get(USED(RX) + 4 + 8 + 4, 4), VIRTIO_NET_HEADER + 60);
    assert_false(put_now(60, 0xcd, NULL));
    /* The driver is told by the device's work, once. */
    assert_false(pci_level(VIRTIO_NET_IRQ));
    work();
    assert_true(pci_level(VIRTIO_NET_IRQ));
    assert_int_equal(in(VIRTIO_ISR, 1), 1);
    work();
    assert_false(pci_level(VIRTIO_NET_IRQ));
    assert_int_equal(used(RX), 2);
}

/* What waits goes first; and what needs more than one copy is left to the device's work, which does
 * it as ever. */
static void test_not_at_once(void **state)
{
    static const struct net_offload partial = {.flags = NET_NEEDS_CSUM, .num_buffers = 1};

    (void)state;
    start();
    push(60, 1);
    work();
    offer_buffer(0, 2000);
    assert_false(put_now(60, 2, NULL));
    work();
    assert_int_equal(used(RX), 1);
    desc(RX, 1, DATA(RX, 1), 12, WRITE | NEXT, 2);
    desc(RX, 2, DATA(RX, 2), 2000, WRITE, 0);
    offer(RX, 1);
    assert_false(put_now(60, 3, NULL));
    push(60, 3);
    work();
    assert_int_equal(used(RX), 2);
    assert_int_equal(get(DATA(RX, 2), 4), 0x03030303);
    offer_buffer(3, VIRTIO_NET_HEADER + 59);
    assert_false(put_now(60, 4, NULL));
    push(60, 4);
    work();
    assert_int_equal(get(USED(RX) + 4 + 8 * 2 + 4, 4), 0); /* it does not fit */
    offer_buffer(4, 2000);
    assert_false(put_now(60, 5, &partial)); /* the driver does not take it */
    assert_true(put_now(60, 5, NULL));
    offer_buffer(5, 2000);
    write_only(VIRTIO_STATUS, 1, 0);
    assert_false(put_now(60, 6, NULL));
    /* With several buffers to a frame, one that has been begun is finished first. */
    start_with(VIRTIO_NET_F_MRG_RXBUF);
    offer_buffer(6, 40);
    push(60, 7);
    work();
    offer_buffer(7, 2000);
    assert_false(put_now(60, 8, NULL));
    work();
    assert_int_equal(used(RX), 2);
    offer_buffer(8, 2000);
    pci_put(VIRTIO_NET_SLOT, PCI_COMMAND, 2, PCI_COMMAND_IO); /* no master */
    assert_false(put_now(60, 9, NULL));
    pci_put(VIRTIO_NET_SLOT, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
    assert_true(put_now(60, 9, NULL));
    /* A broken ring is the device's work, too. */
    offer(RX, SIZE);
    assert_false(put_now(60, 10, NULL));
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_READY);
    push(60, 10);
    work();
    assert_true(in(VIRTIO_STATUS, 1) & VIRTIO_NEEDS_RESET);
    assert_false(put_now(60, 11, NULL));
}

/* VIRTIO_F_EVENT_IDX is not taken: flags say who wants to hear what. */
static void test_notifications_by_flags(void **state)
{
    (void)state;
    start();
    work();
    assert_int_equal(get(USED(RX), 2), 1); /* no frame waits for a buffer */
    push(60, 1);
    work();
    assert_int_equal(get(USED(RX), 2), 0);
    desc(RX, 0, DATA(RX, 0), 2000, WRITE, 0);
    offer(RX, 0);
    out(VIRTIO_NOTIFY, 2, RX);
    assert_int_equal(used(RX), 1);
    assert_int_equal(get(USED(RX), 2), 1);
    assert_int_equal(get(USED(TX), 2), 0);
}

/* With it, indices do. */
static void test_notifications_by_index(void **state)
{
    (void)state;
    negotiate(1u << 29, 1);
    for (unsigned n = RX; n <= TX; n++)
        set_queue(n, SIZE, DESC(n), AVAIL(n), USED(n));
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
    put(AVAIL(TX), 1, 2); /* the flag does not count */
    put(AVAIL(TX) + 4 + 2 * SIZE, 1, 2);
    send_one(72);
    assert_false(pci_level(VIRTIO_NET_IRQ)); /* entry 1 is awaited, this was entry 0 */
    assert_int_equal(get(USED(TX) + 4 + 8 * SIZE, 2), 1);
    send_one(72);
    assert_true(pci_level(VIRTIO_NET_IRQ));
    assert_int_equal(get(USED(TX) + 4 + 8 * SIZE, 2), 2);
    assert_int_equal(in(VIRTIO_ISR, 1), 1);
    send_one(72);
    assert_false(pci_level(VIRTIO_NET_IRQ));
    for (unsigned i = 0; i < 3; i++) {
        desc(RX, i, DATA(RX, i), 2000, WRITE, 0);
        offer(RX, i);
    }
    put(AVAIL(RX) + 4 + 2 * SIZE, 2, 2);
    push(60, 1);
    push(60, 1);
    work();
    assert_false(pci_level(VIRTIO_NET_IRQ));
    assert_int_equal(get(USED(RX) + 4 + 8 * SIZE, 2), 0); /* buffers are left */
    push(60, 1);
    push(60, 1);
    work();
    assert_true(pci_level(VIRTIO_NET_IRQ));
    assert_int_equal(get(USED(RX) + 4 + 8 * SIZE, 2), 3); /* one more is wanted */
}

/* A driver that never stops sending gets its interrupts all the same. */
static void test_endless_sending(void **state)
{
    unsigned n = 0;

    (void)state;
    start();
    desc(TX, 0, DATA(TX, 0), 72, 0, 0);
    offer(TX, 0);
    offer(TX, 0);
    write_only(VIRTIO_NOTIFY, 2, TX);
    for (; !pci_level(VIRTIO_NET_IRQ) && n < 1000; n++) {
        offer(TX, 0);
        step();
    }
    assert_int_equal(n, VIRTIO_NET_UNTOLD);
}

static void receive_bad(uint32_t length, unsigned flags)
{
    desc(RX, 0, DATA(RX, 0), length, flags, 0);
    offer(RX, 0);
    push(60, 1);
    work();
    assert_int_equal(get(USED(RX) + 8 + 8ull * ((used(RX) - 1) % SIZE), 4), 0);
}

static void test_receive_bad_buffers(void **state)
{
    (void)state;
    start();
    receive_bad(0, WRITE);
    receive_bad(11, WRITE);
    receive_bad(71, WRITE);
    receive_bad(2000, 0);
    assert_int_equal(get(DATA(RX, 0) + 71, 4), 0); /* nothing past the buffer's end */
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_READY);
}

static void test_ring_full(void **state)
{
    static uint8_t bytes[VIRTIO_NET_FRAME];

    (void)state;
    for (unsigned i = 0; i < VIRTIO_NET_RX_RING; i++)
        push(60, 0);
    assert_false(virtio_net_rx_push(&dev, bytes, 60, NULL));
    assert_false(virtio_net_rx_push(&dev, bytes, VIRTIO_NET_FRAME - 15, NULL));
    start(); /* reset: old frames are gone */
    assert_false(virtio_net_rx_waiting(dev.pairs));
    push(VIRTIO_NET_FRAME - 16, 0);
}

/* ---- unfinished frames ---- */

#define BIG      0x20000u /* 64 KB of the guest's memory */
#define BIG_SIZE 0xfff0u

static const struct net_offload of_segment = {NET_NEEDS_CSUM, NET_GSO_TCPV4, 54, 1460, 34, 16, 0};

static void put_header(uint64_t at, const struct net_offload *o)
{
    memcpy(mem.base + at, o, sizeof(*o));
}

static void send_with(const struct net_offload *o, uint32_t total)
{
    put_header(DATA(TX, 0), o);
    send_one(total);
}

/* What a driver has not taken, it cannot ask for; and what its header says is not believed. */
static void test_offloads_taken(void **state)
{
    struct net_offload o = of_segment;

    (void)state;
    start();
    send_with(&of_segment, 12 + 100);
    assert_int_equal(sent, 1);
    assert_int_equal(offload.flags | offload.gso_type | offload.csum_start, 0);
    start_with(VIRTIO_NET_F_CSUM);
    send_with(&of_segment, 12 + 100);
    assert_int_equal(sent, 1);
    o.gso_type = NET_GSO_NONE;
    send_with(&o, 12 + 100);
    assert_int_equal(sent, 2);
    assert_int_equal(offload.flags, NET_NEEDS_CSUM);
    assert_int_equal(offload.csum_start, 34);
    start_with(VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4);
    send_with(&of_segment, 12 + 100);
    assert_int_equal(sent, 3);
    assert_int_equal(offload.gso_type, NET_GSO_TCPV4);
    for (unsigned type = 0; type < 256; type++) {
        unsigned before = sent;

        o.gso_type = (uint8_t)type;
        send_with(&o, 12 + 100);
        assert_int_equal(sent - before, (type & 0x7f) == NET_GSO_TCPV4 || type == 0);
    }
    assert_int_equal(used(TX), 1 + 256);
}

/* A long segment is gathered in steps, and kept while the switch is at work on it. */
static void test_send_segment(void **state)
{
    unsigned steps = 0;

    (void)state;
    start_with(VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4);
    for (unsigned i = 0; i < BIG_SIZE; i++)
        put(BIG + i, i * 7, 1);
    put_header(DATA(TX, 0), &of_segment);
    desc(TX, 0, DATA(TX, 0), 12, NEXT, 1);
    desc(TX, 1, BIG, BIG_SIZE, 0, 0);
    offer(TX, 0);
    again = 3;
    write_only(VIRTIO_NOTIFY, 2, TX);
    for (; !sent; steps++) {
        assert_int_equal(used(TX), 0);
        step();
    }
    assert_in_range(steps, BIG_SIZE / VIRTIO_NET_BYTES + 3, BIG_SIZE / VIRTIO_NET_BYTES + 5);
    assert_int_equal(used(TX), 1);
    assert_int_equal(frame_len, BIG_SIZE);
    assert_memory_equal(frame, mem.base + BIG, BIG_SIZE);
    /* Without that description it is too long for a frame. */
    desc(TX, 0, DATA(TX, 0), 12, NEXT, 1);
    desc(TX, 1, BIG, 1519, 0, 0);
    put_header(DATA(TX, 0), &(struct net_offload){0});
    offer(TX, 0);
    out(VIRTIO_NOTIFY, 2, TX);
    assert_int_equal(sent, 1);
    /* Nor can a segment be longer than any. */
    put_header(DATA(TX, 0), &of_segment);
    desc(TX, 1, BIG, BIG_SIZE, NEXT, 2);
    desc(TX, 2, BIG, NET_SEGMENT_MAX + 1 - BIG_SIZE, 0, 0);
    offer(TX, 0);
    out(VIRTIO_NOTIFY, 2, TX);
    assert_int_equal(sent, 1);
    assert_int_equal(used(TX), 3);
    /* A reset in between: the switch is told. */
    desc(TX, 1, BIG, BIG_SIZE, 0, 0);
    offer(TX, 0);
    again = 100;
    write_only(VIRTIO_NOTIFY, 2, TX);
    for (unsigned i = 0; i < 20; i++)
        step();
    assert_in_range(again, 1, 99);
    cancelled = 0;
    write_only(VIRTIO_STATUS, 1, 0);
    assert_int_equal(cancelled, 1);
}

static const uint64_t takes_segments =
    VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4 | VIRTIO_NET_F_MRG_RXBUF;

static uint8_t *borrow_filled(void)
{
    uint8_t *s = virtio_net_rx_borrow(&dev);

    for (unsigned i = 0; s && i < BIG_SIZE; i++)
        s[i] = (uint8_t)(i * 3 + (i >> 8));
    return s;
}

static void expect_filled(uint64_t at, unsigned from, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(get(at + i, 1), (uint8_t)((from + i) * 3 + ((from + i) >> 8)));
}

/* Into several buffers, which the driver gets all at once. */
static void test_mergeable_buffers(void **state)
{
    const unsigned size = 5000, buffers = (12 + BIG_SIZE + size - 1) / size;

    (void)state;
    start_with(takes_segments);
    assert_int_equal(virtio_net_takes(&dev), NET_TAKES_CSUM | NET_TAKES_TSO4);
    assert_true(virtio_net_rx_give(&dev, borrow_filled(), BIG_SIZE, &of_segment));
    work();
    for (unsigned i = 0; i < buffers; i++) {
        desc(RX, i, BIG + size * i, size, WRITE, 0);
        assert_int_equal(used(RX), 0);
        offer(RX, i);
        out(VIRTIO_NOTIFY, 2, RX);
    }
    assert_int_equal(used(RX), buffers);
    assert_int_equal(get(BIG, 2), NET_NEEDS_CSUM | NET_GSO_TCPV4 << 8);
    assert_int_equal(get(BIG + 4, 2), 1460);
    assert_int_equal(get(BIG + 10, 2), buffers);
    for (unsigned i = 0, done = 0; i < buffers; i++) {
        unsigned n = get(USED(RX) + 8 + 8ull * i, 4), head = i ? 0 : 12;

        assert_int_equal(get(USED(RX) + 4 + 8ull * i, 4), i);
        expect_filled(BIG + size * i + head, done, n - head);
        done += n - head;
        assert_true(i + 1 < buffers || done == BIG_SIZE);
    }
    assert_int_equal(dev.lent, 0);
}

/* A ring that can never hold the frame gets its buffers back empty. */
static void test_too_few_buffers(void **state)
{
    (void)state;
    start_with(takes_segments);
    assert_true(virtio_net_rx_give(&dev, borrow_filled(), BIG_SIZE, &of_segment));
    for (unsigned i = 0; i < SIZE; i++) {
        desc(RX, i, BIG + 100 * i, 100, WRITE, 0);
        offer(RX, i);
    }
    out(VIRTIO_NOTIFY, 2, RX);
    assert_int_equal(used(RX), SIZE);
    for (unsigned i = 0; i < SIZE; i++)
        assert_int_equal(get(USED(RX) + 8 + 8ull * i, 4), 0);
    assert_int_equal(dev.lent, 0);
    push(60, 1);
    desc(RX, 0, DATA(RX, 0), 2000, WRITE, 0);
    offer(RX, 0);
    out(VIRTIO_NOTIFY, 2, RX);
    assert_int_equal(get(DATA(RX, 0) + 10, 4), 0x01010001);
}

/* Without mergeable buffers one chain has room for all, or none has. */
static void test_segment_into_chain(void **state)
{
    (void)state;
    start_with(takes_segments & ~VIRTIO_NET_F_MRG_RXBUF);
    assert_true(virtio_net_rx_give(&dev, borrow_filled(), 0x8000, &of_segment));
    desc(RX, 0, BIG, 7, WRITE | NEXT, 1);
    desc(RX, 1, BIG + 7, 0x9000, WRITE, 0);
    offer(RX, 0);
    out(VIRTIO_NOTIFY, 2, RX);
    assert_int_equal(used(RX), 1);
    assert_int_equal(get(USED(RX) + 8, 4), 12 + 0x8000);
    assert_int_equal(get(BIG + 10, 2), 0); /* as it was given */
    expect_filled(BIG + 12, 0, 0x8000);
    assert_true(virtio_net_rx_give(&dev, borrow_filled(), BIG_SIZE, &of_segment));
    desc(RX, 0, BIG, 2000, WRITE, 0);
    offer(RX, 0);
    out(VIRTIO_NOTIFY, 2, RX);
    assert_int_equal(get(USED(RX) + 8 + 8, 4), 0);
}

/* Frames that the driver does not take as they are, and room for segments. */
static void test_lending(void **state)
{
    uint8_t bytes[60] = {0}, *all[VIRTIO_NET_SEGMENTS];
    struct net_offload partial = {.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};

    (void)state;
    start();
    assert_int_equal(virtio_net_takes(&dev), 0);
    assert_false(virtio_net_rx_push(&dev, bytes, 60, &partial));
    start_with(VIRTIO_NET_F_GUEST_TSO4); /* useless alone */
    assert_int_equal(virtio_net_takes(&dev), 0);
    start_with(VIRTIO_NET_F_GUEST_CSUM);
    assert_true(virtio_net_rx_push(&dev, bytes, 60, &partial));
    assert_false(virtio_net_rx_give(&dev, virtio_net_rx_borrow(&dev), 100, &of_segment));
    for (unsigned i = 0; i < VIRTIO_NET_SEGMENTS; i++) {
        all[i] = virtio_net_rx_borrow(&dev);
        assert_ptr_equal(all[i], segments + (i + 1) * VIRTIO_NET_SEGMENT);
    }
    assert_null(virtio_net_rx_borrow(&dev));
    assert_false(virtio_net_rx_give(&dev, all[2], 0, NULL));
    assert_ptr_equal(virtio_net_rx_borrow(&dev), all[2]);
    /* What waits is dropped with its driver, what is lent is not. */
    start_with(takes_segments);
    assert_true(virtio_net_rx_give(&dev, all[1], 100, &of_segment));
    start_with(takes_segments);
    assert_int_equal(dev.lent, 0xf & ~(1u << 1));
    assert_true(virtio_net_rx_give(&dev, all[3], 100, &of_segment));
    assert_int_equal(dev.pairs[0].head - dev.pairs[0].tail, 1);
}

static void expect_broken(void)
{
    assert_true(in(VIRTIO_STATUS, 1) & VIRTIO_NEEDS_RESET);
    assert_true(pci_level(VIRTIO_NET_IRQ));
    assert_int_equal(in(VIRTIO_ISR, 1) & 2, 2);
    sent = 0;
    send_one(72);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
    send_one(72);
    assert_int_equal(sent, 0);
    memset(mem.base, 0, MEMORY);
    start();
    send_one(72);
    assert_int_equal(sent, 1);
}

static void test_broken_tx(void **state)
{
    (void)state;
    start();
    offer(TX, SIZE);
    out(VIRTIO_NOTIFY, 2, TX);
    expect_broken();
}

static void test_broken_rx(void **state)
{
    (void)state;
    start();
    put(AVAIL(RX) + 2, 0x8000, 2);
    push(60, 1);
    work();
    expect_broken();
}

static void test_bad_queue(void **state)
{
    (void)state;
    negotiate(0, 1);
    set_queue(RX, SIZE, MEMORY, AVAIL(RX), USED(RX));
    assert_int_equal(in(VIRTIO_QUEUE_ENABLE, 2), 0);
    assert_true(in(VIRTIO_STATUS, 1) & VIRTIO_NEEDS_RESET);
    assert_false(pci_level(VIRTIO_NET_IRQ)); /* no interrupt before DRIVER_OK */
    negotiate(0, 1);
    set_queue(RX, SIZE, 1ull << 40 | DESC(RX), AVAIL(RX), USED(RX));
    assert_true(in(VIRTIO_STATUS, 1) & VIRTIO_NEEDS_RESET);
}

/* An enabled queue cannot be moved under the device's feet. */
static void test_fixed_queue(void **state)
{
    (void)state;
    start();
    set_queue(TX, SIZE, MEMORY - 16, MEMORY, MEMORY);
    assert_int_equal(in(VIRTIO_QUEUE_DESC, 4), DESC(TX));
    out(VIRTIO_QUEUE_SIZE, 2, 256);
    assert_int_equal(in(VIRTIO_QUEUE_SIZE, 2), SIZE);
    send_one(72);
    assert_int_equal(sent, 1);
}

/* A restarted guest finds nothing of its former life, and nothing of that life writes to its
 * memory. */
static void test_restart(void **state)
{
    uint8_t zero[64] = {0};

    (void)state;
    start();
    desc(RX, 0, DATA(RX, 0), 2000, WRITE, 0);
    offer(RX, 0);
    push(60, 0xab);
    pci_fixture_reset();
    virtio_net_device.plug(&dev, &pci_env);
    pci_fixture_master(VIRTIO_NET_SLOT);
    push(60, 0xcd);
    work();
    out(VIRTIO_NOTIFY, 2, RX);
    assert_int_equal(used(RX), 0);
    assert_memory_equal(mem.base + DATA(RX, 0), zero, sizeof(zero));
    assert_int_equal(in(VIRTIO_STATUS, 1), 0);
    assert_false(pci_level(VIRTIO_NET_IRQ));
}

/* A legacy driver chooses features, again if it likes, and sends a frame behind a header of as many
 * bytes as it has with these. */
static void choose_and_send(uint64_t features, size_t header, const uint8_t bytes[60])
{
    uint64_t before = sent;

    out(LEGACY_DRIVER_FEATURES, 4, (uint32_t)features);
    memcpy(mem.base + 0x7000 + header, bytes, 60);
    put_desc(0x4000, 0x7000, (uint32_t)header + 60, 0, 0);
    put_avail(0x5000, 256, 0);
    out(LEGACY_NOTIFY, 2, VIRTIO_NET_TX);
    assert_int_equal(sent, before + 1);
    assert_int_equal(frame_len, 60);
    assert_memory_equal(frame, bytes, 60);
}

/* A driver from before virtio 1.0: its header has no num_buffers, unless buffers are mergeable. */
static void test_legacy(void **state)
{
    static const uint8_t bytes[60] = {1, 2, 3};
    const struct virtio_net_host host = {
        .ctx = &sent, .transmit = on_transmit, .cancel = on_cancel};
    const struct virtio_net_memory memory = {.rx_ring = ring, .segments = segments, .pairs = 1};

    (void)state;
    free(mem.base);
    virtio_fixture_memory(0x8000);
    virtio_net_init(&dev, &mem, mac, &memory, &host);
    pci_fixture_start(DEV_NET, NULL);
    pci_env.virtio = VIRTIO_TRANSITIONAL;
    virtio_net_device.plug(&dev, &pci_env);
    assert_true(pci_get(VIRTIO_NET_SLOT, PCI_VENDOR, 4) == 0x10001af4);
    out(LEGACY_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    out(LEGACY_DRIVER_FEATURES, 4, (uint32_t)VIRTIO_NET_F_MAC);
    for (unsigned q = 0; q < 2; q++) { /* pages 1 to 3 and 4 to 6 */
        out(LEGACY_QUEUE_SELECT, 2, q);
        out(LEGACY_QUEUE_PAGE, 4, 1 + 3 * q);
    }
    out(LEGACY_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_DRIVER_OK);
    assert_int_equal(in(LEGACY_CONFIG, 4), 0x01484252); /* of its address */
    choose_and_send(VIRTIO_NET_F_MAC, VIRTIO_NET_OLD_HEADER, bytes);
    choose_and_send(VIRTIO_NET_F_MAC | VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_HEADER, bytes);
    choose_and_send(VIRTIO_NET_F_MAC, VIRTIO_NET_OLD_HEADER, bytes);
    put_desc(0x1000, 0x7800, 100, WRITE, 0);
    put_avail(0x2000, 256, 0);
    assert_true(virtio_net_rx_push(&dev, bytes, sizeof(bytes), NULL));
    put_avail(0x2000, 256, 0);
    assert_false(virtio_net_rx_put(&dev, bytes, sizeof(bytes), NULL));
    work();
    assert_false(virtio_net_rx_put(&dev, bytes, sizeof(bytes), NULL)); /* another header */
    assert_int_equal(get(0x3000 + 8, 4), VIRTIO_NET_OLD_HEADER + sizeof(bytes));
    assert_memory_equal(mem.base + 0x7800 + VIRTIO_NET_OLD_HEADER, bytes, sizeof(bytes));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_registers),
        TEST(test_widths),
        TEST(test_features),
        TEST(test_status),
        TEST(test_transmit),
        TEST(test_pieces),
        TEST(test_bad_frames),
        TEST(test_whole_queue),
        TEST(test_frames_a_call),
        TEST(test_steps_a_call),
        TEST(test_groups),
        TEST(test_descriptors_a_call),
        TEST(test_receive),
        TEST(test_receive_longest),
        TEST(test_receive_later),
        TEST(test_receive_at_once),
        TEST(test_not_at_once),
        TEST(test_notifications_by_flags),
        TEST(test_notifications_by_index),
        TEST(test_endless_sending),
        TEST(test_receive_bad_buffers),
        TEST(test_offloads_taken),
        TEST(test_send_segment),
        TEST(test_mergeable_buffers),
        TEST(test_too_few_buffers),
        TEST(test_segment_into_chain),
        TEST(test_lending),
        TEST(test_ring_full),
        TEST(test_broken_tx),
        TEST(test_broken_rx),
        TEST(test_bad_queue),
        TEST(test_fixed_queue),
        TEST(test_restart),
        TEST(test_legacy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
