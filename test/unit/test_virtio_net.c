/* SOURCES: @virtio hv/pc/virtio_net.c */
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
static uint8_t frame[VIRTIO_NET_FRAME];
static size_t frame_len;

static void on_transmit(void *ctx, const uint8_t *bytes, size_t len)
{
    assert_ptr_equal(ctx, &sent);
    assert_in_range(len, VIRTIO_NET_FRAME_MIN, VIRTIO_NET_FRAME_MAX);
    memcpy(frame, bytes, len);
    frame_len = len;
    sent++;
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
    const struct virtio_net_host host = {&sent, on_transmit};

    (void)state;
    virtio_fixture_memory(MEMORY);
    ring = calloc(VIRTIO_NET_RX_RING, sizeof(*ring));
    virtio_net_init(&dev, &mem, mac, ring, &host);
    virtio_fixture_plug(&virtio_net_device, &dev, VIRTIO_NET_SLOT, DEV_NET);
    virtio_after_write = work_if_due;
    sent = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(mem.base);
    free(ring);
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

static void start(void)
{
    negotiate(0, 1);
    for (unsigned n = RX; n <= TX; n++)
        set_queue(n, SIZE, DESC(n), AVAIL(n), USED(n));
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_READY);
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
    assert_true(virtio_net_rx_push(&dev, bytes, len));
}

static void test_registers(void **state)
{
    (void)state;
    out(VIRTIO_DEVICE_FEATURE_SELECT, 4, 0);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4), 1u << 3 | 1u << 5 | 1u << 16 | 1u << 29);
    out(VIRTIO_DEVICE_FEATURE_SELECT, 4, 1);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4), 1);
    out(VIRTIO_DEVICE_FEATURE_SELECT, 4, 2);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4), 0);
    out(VIRTIO_DEVICE_FEATURE_SELECT, 4, UINT32_MAX);
    assert_int_equal(in(VIRTIO_DEVICE_FEATURE, 4), 0);
    assert_int_equal(in(VIRTIO_NUM_QUEUES, 2), 2);
    assert_int_equal(in(VIRTIO_CONFIG_VECTOR, 2), 0xffff);
    assert_int_equal(in(VIRTIO_QUEUE_VECTOR, 2), 0xffff);
    assert_int_equal(in(VIRTIO_QUEUE_SIZE, 2), VIRTQUEUE_MAX);
    out(VIRTIO_QUEUE_SELECT, 2, 2);
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
    negotiate(1u << 15, 1); /* not offered */
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
    assert_int_equal(dev.errors, n + 1);
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
        assert_int_equal(dev.tx_chain.chain.count + dev.rx_chain.chain.count, n * VIRTIO_NET_WORK);
    }
    step();
    assert_int_equal(used(TX), 1);
    assert_int_equal(used(RX), 1);
    assert_int_equal(dev.rx_frames, 1);
    assert_int_equal(dev.errors, 1); /* nothing at all is no frame */
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
    assert_false(virtio_net_rx_waiting(&dev));
}

static void test_receive_later(void **state)
{
    (void)state;
    start();
    push(60, 1);
    work(); /* no buffer yet: it waits */
    assert_true(virtio_net_rx_waiting(&dev));
    assert_false(pci_level(VIRTIO_NET_IRQ));
    desc(RX, 0, DATA(RX, 0), 2000, WRITE, 0);
    offer(RX, 0);
    out(VIRTIO_NOTIFY, 2, RX);
    assert_int_equal(used(RX), 1);
    assert_true(pci_level(VIRTIO_NET_IRQ));
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
    uint64_t errors = dev.errors;

    desc(RX, 0, DATA(RX, 0), length, flags, 0);
    offer(RX, 0);
    push(60, 1);
    work();
    assert_int_equal(dev.errors, errors + 1);
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
    uint8_t bytes[VIRTIO_NET_FRAME] = {0};

    (void)state;
    for (unsigned i = 0; i < VIRTIO_NET_RX_RING; i++)
        push(60, 0);
    assert_false(virtio_net_rx_push(&dev, bytes, 60));
    assert_int_equal(dev.rx_dropped, 1);
    assert_false(virtio_net_rx_push(&dev, bytes, VIRTIO_NET_FRAME - 1));
    start(); /* reset: old frames are gone */
    assert_false(virtio_net_rx_waiting(&dev));
    push(VIRTIO_NET_FRAME - 2, 0);
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

/* A driver from before virtio 1.0: its header has no num_buffers. */
static void test_legacy(void **state)
{
    static const uint8_t bytes[60] = {1, 2, 3};
    const struct virtio_net_host host = {&sent, on_transmit};

    (void)state;
    free(mem.base);
    virtio_fixture_memory(0x8000);
    virtio_net_init(&dev, &mem, mac, ring, &host);
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
    memcpy(mem.base + 0x7000 + VIRTIO_NET_OLD_HEADER, bytes, sizeof(bytes));
    put_desc(0x4000, 0x7000, VIRTIO_NET_OLD_HEADER + sizeof(bytes), 0, 0);
    put_avail(0x5000, 256, 0);
    out(LEGACY_NOTIFY, 2, VIRTIO_NET_TX);
    assert_int_equal(sent, 1);
    assert_int_equal(frame_len, sizeof(bytes));
    assert_memory_equal(frame, bytes, sizeof(bytes));
    put_desc(0x1000, 0x7800, 100, WRITE, 0);
    put_avail(0x2000, 256, 0);
    assert_true(virtio_net_rx_push(&dev, bytes, sizeof(bytes)));
    work();
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
        TEST(test_descriptors_a_call),
        TEST(test_receive),
        TEST(test_receive_later),
        TEST(test_notifications_by_flags),
        TEST(test_notifications_by_index),
        TEST(test_endless_sending),
        TEST(test_receive_bad_buffers),
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
