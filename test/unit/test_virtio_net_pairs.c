/* SOURCES: @virtio hv/pc/virtio_net.c hv/pc/virtio_net_control.c
 * hv/pc/virtio_net_rx.c */
/* virtio-net with several pairs of queues. */
#include "hv/pc/virtio_net.h"

#include "hv/config.h"
#include "test/unit/virtio_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define PAIRS    4u
#define QUEUES   (2 * PAIRS + 1)
#define CONTROL  (2 * PAIRS)
#define SIZE     16u
#define QUEUE(n) (0x10000ull * (n))
#define DESC(n)  (QUEUE(n) + 0x1000)
#define AVAIL(n) (QUEUE(n) + 0x2000)
#define USED(n)  (QUEUE(n) + 0x3000)
#define DATA(n)  (QUEUE(n) + 0x4000)
#define ANSWER   (QUEUE(CONTROL) + 0x5000)
#define RX(pair) (2 * (pair))
#define TX(pair) (2 * (pair) + 1)
#define FEATURES (VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_MQ | VIRTIO_NET_F_MRG_RXBUF)
#define BUFFER   0x400u
#define TABLE    (PCI_SLOT_MEMORY + VIRTIO_NET_SLOT * PCI_SLOT_SIZE + 0x1000) /* of MSI-X */

enum { OK, ERR, NONE = 0xee };

static const uint8_t mac[6] = {0x52, 0x42, 0x48, 1, 2, 3};
static struct virtio_net dev;
static struct virtio_net_frame *ring;
static uint8_t segments[(1 + VIRTIO_NET_SEGMENTS) * VIRTIO_NET_SEGMENT];
static unsigned order[64], sent, paired, again;
static unsigned messages[QUEUES + 1];

/* The first byte of a frame's payload says where it comes from. */
static bool on_transmit(void *ctx, uint8_t *bytes, size_t len, const struct net_offload *o)
{
    (void)ctx;
    (void)o;
    assert_true(len > 60);
    if (again) {
        again--;
        return true;
    }
    order[sent++ % ARRAY_LEN(order)] = bytes[60];
    return false;
}

static void on_paired(void *ctx, unsigned pairs)
{
    (void)ctx;
    paired = pairs;
}

static int on_message(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx;
    assert_true(address == 0xfee00000 && data < ARRAY_LEN(messages));
    messages[data]++;
    return 0;
}

static void work(void)
{
    unsigned steps = 0;

    while (pci_bus.deadline == 0) {
        pci_device.update(&pci_bus);
        assert_true(steps++ < 1000);
    }
}

static void notify(unsigned queue)
{
    out(VIRTIO_NOTIFY, 2, queue);
    work();
}

static void set_up(unsigned queue)
{
    memset(mem.base + QUEUE(queue), 0, 0x10000);
    set_queue(queue, SIZE, DESC(queue), AVAIL(queue), USED(queue));
}

static void start_with(uint64_t features, unsigned queues)
{
    negotiate((uint32_t)features, 1 | (uint32_t)(features >> 32));
    for (unsigned n = 0; n < queues; n++)
        set_up(n);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_READY);
    work();
}

static int setup(void **state)
{
    const struct virtio_net_host host = {.transmit = on_transmit, .paired = on_paired};
    struct virtio_net_memory memory = {.segments = segments, .pairs = PAIRS};

    (void)state;
    virtio_fixture_memory(QUEUE(QUEUES));
    memory.rx_ring = ring = calloc(virtio_net_ring(PAIRS), sizeof(*ring));
    virtio_net_init(&dev, &mem, mac, &memory, &host);
    pci_fixture_start(DEV_NET, on_message);
    virtio_net_device.plug(&dev, &pci_env);
    pci_fixture_master(VIRTIO_NET_SLOT);
    virtio_window = (uint16_t)(PCI_PORTS + VIRTIO_NET_SLOT * PCI_SLOT_PORTS);
    sent = again = 0;
    start_with(FEATURES, QUEUES);
    return 0;
}

static int teardown(void **state)
{
    free(ring);
    return virtio_fixture_end(state);
}

/* A command with `len` bytes behind class and number, by the control queue in slot `queue`. */
static unsigned command_by(unsigned queue, unsigned number, uint64_t data, uint32_t len)
{
    unsigned used = get(USED(queue) + 2, 2);

    put(ANSWER, NONE, 1);
    put(DATA(queue), 4, 1); /* class MQ */
    put(DATA(queue) + 1, number, 1);
    put(DATA(queue) + 2, data, 8);
    put_desc(DESC(queue), DATA(queue), 2 + len, NEXT, 1);
    put_desc(DESC(queue) + 16, ANSWER, 1, WRITE, 0);
    put_avail(AVAIL(queue), SIZE, 0);
    notify(queue);
    assert_true(get(ANSWER, 1) == NONE || get(USED(queue) + 2, 2) == used + 1);
    return get(ANSWER, 1);
}

static unsigned set_pairs(unsigned pairs)
{
    return command_by(CONTROL, 0, pairs, 2);
}

/* TCP over IPv4 from our port `ours` to `theirs`, or back; `tag` is where a frame came from. */
static const uint8_t *segment(unsigned ours, unsigned theirs, bool back, unsigned tag)
{
    static uint8_t f[64];
    static const uint8_t here[4] = {10, 9, 0, 1}, there[4] = {10, 9, 0, 2};

    memset(f, 0, sizeof(f));
    f[12] = 8;
    f[14] = 0x45;
    f[23] = 6;
    memcpy(f + 26, back ? there : here, 4);
    memcpy(f + 30, back ? here : there, 4);
    f[34] = (uint8_t)((back ? theirs : ours) >> 8);
    f[35] = (uint8_t)(back ? theirs : ours);
    f[36] = (uint8_t)((back ? ours : theirs) >> 8);
    f[37] = (uint8_t)(back ? ours : theirs);
    f[60] = (uint8_t)tag;
    return f;
}

static void offer_frame(unsigned pair, unsigned port)
{
    memcpy(mem.base + DATA(TX(pair)) + VIRTIO_NET_HEADER, segment(port, 80, false, pair), 64);
    put_desc(DESC(TX(pair)), DATA(TX(pair)), VIRTIO_NET_HEADER + 64, 0, 0);
    put_avail(AVAIL(TX(pair)), SIZE, 0);
}

static void send_by(unsigned pair, unsigned port)
{
    offer_frame(pair, port);
    notify(TX(pair));
}

static void give_buffers(unsigned pair, unsigned count, uint32_t bytes)
{
    for (unsigned i = 0; i < count; i++) {
        put_desc(DESC(RX(pair)) + 16 * i, DATA(RX(pair)) + BUFFER * i, bytes, WRITE, 0);
        put_avail(AVAIL(RX(pair)), SIZE, i);
    }
    notify(RX(pair));
}

static bool answer(unsigned port)
{
    bool taken = virtio_net_rx_push(&dev, segment(port, 80, true, 0), 64, NULL);

    pci_work_now(&dev.virtio.pci);
    work();
    return taken;
}

static unsigned received(unsigned pair)
{
    return get(USED(RX(pair)) + 2, 2);
}

/* The pair that an answer to this port comes to. All have buffers. */
static unsigned where(unsigned port)
{
    unsigned before[PAIRS], found = PAIRS;

    for (unsigned i = 0; i < PAIRS; i++)
        before[i] = received(i);
    assert_true(answer(port));
    for (unsigned i = 0; i < PAIRS; i++) {
        if (received(i) == before[i])
            continue;
        assert_int_equal(found, PAIRS);
        assert_int_equal(received(i), before[i] + 1);
        found = i;
        put_avail(AVAIL(RX(i)), SIZE, get(USED(RX(i)) + 4 + 8ull * (before[i] % SIZE), 2));
    }
    assert_true(found < PAIRS);
    return found;
}

static void all_buffers(void)
{
    for (unsigned i = 0; i < PAIRS; i++)
        give_buffers(i, 4, BUFFER);
}

/* ---- the tests ---- */

static void test_offered(void **state)
{
    (void)state;
    out(VIRTIO_DEVICE_FEATURE_SELECT, 4, 0);
    assert_true(in(VIRTIO_DEVICE_FEATURE, 4) & VIRTIO_NET_F_MQ);
    assert_int_equal(in(VIRTIO_NUM_QUEUES, 2), QUEUES);
    assert_int_equal(in(VIRTIO_CONFIG + 8, 2), PAIRS);
    out(VIRTIO_QUEUE_SELECT, 2, CONTROL);
    assert_int_equal(in(VIRTIO_QUEUE_SIZE, 2), SIZE);
    out(VIRTIO_QUEUE_SELECT, 2, QUEUES);
    assert_int_equal(in(VIRTIO_QUEUE_SIZE, 2), 0);
    assert_int_equal(dev.virtio.msix.count, QUEUES + 1);
    assert_int_equal(paired, 1);
}

/* A driver that does not take the feature sees what it sees of a card with one pair. */
static void test_not_taken(void **state)
{
    (void)state;
    start_with(VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX, QUEUES);
    assert_int_equal(command_by(VIRTIO_NET_CONTROL, 0, 2, 2), ERR);
    assert_int_equal(command_by(CONTROL, 0, 2, 2), NONE);
    send_by(0, 1000);
    send_by(3, 1001);
    assert_int_equal(sent, 1);
    all_buffers();
    for (unsigned port = 0; port < 64; port++)
        assert_int_equal(where(port), 0);
}

static void test_command(void **state)
{
    static const unsigned wrong[] = {0, PAIRS + 1, 9, 0x8000, 65535};

    (void)state;
    for (unsigned i = 1; i <= PAIRS; i++) {
        assert_int_equal(set_pairs(i), OK);
        assert_int_equal(dev.receiving, i);
        assert_int_equal(paired, i);
    }
    for (unsigned i = 0; i < ARRAY_LEN(wrong); i++)
        assert_int_equal(set_pairs(wrong[i]), ERR);
    for (uint32_t len = 0; len < 8; len++)
        assert_int_equal(command_by(CONTROL, 0, 2, len), len == 2 ? OK : ERR);
    assert_int_equal(command_by(CONTROL, 1, 3, 2), ERR);
    assert_int_equal(dev.receiving, 2);
    /* With the feature, queue 2 is for frames. */
    assert_int_equal(command_by(VIRTIO_NET_CONTROL, 0, 3, 2), NONE);
    assert_int_equal(dev.receiving, 2);
    start_with(FEATURES, QUEUES);
    assert_int_equal(dev.receiving, 1);
}

/* "After the driver transmitted a packet of a flow on transmitqX, the device SHOULD cause incoming
 * packets for that flow to be steered to receiveqX." */
static void test_steering(void **state)
{
    unsigned count[PAIRS] = {0};

    (void)state;
    all_buffers();
    send_by(3, 999);
    assert_int_equal(where(999), 0); /* one pair, until the driver says otherwise */
    assert_int_equal(set_pairs(PAIRS), OK);
    for (unsigned port = 1000; port < 1256; port++)
        count[where(port)]++;
    for (unsigned i = 0; i < PAIRS; i++) /* none is left out */
        assert_in_range(count[i], 16, 128);
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        send_by(i % PAIRS, 1000);
        assert_int_equal(where(1000), i % PAIRS);
    }
    assert_int_equal(set_pairs(2), OK); /* what was learned is forgotten, and others send too */
    assert_in_range(where(1000), 0, 1);
    send_by(1, 1000);
    assert_int_equal(where(1000), 1);
    send_by(3, 1000);
    assert_in_range(where(1000), 0, 1);
}

/* What is neither IP nor long enough has no flow, and goes to the first pair. */
static void test_flows(void **state)
{
    uint8_t f[128];

    (void)state;
    for (size_t len = 0; len < 34; len++)
        assert_int_equal(virtio_net_flow(segment(1, 2, false, 0), len), 0);
    assert_int_not_equal(virtio_net_flow(segment(1, 2, false, 0), 38),
                         virtio_net_flow(segment(1, 2, false, 0), 37)); /* no ports */
    for (unsigned i = 0; i < 1000; i++) {
        unsigned flow = virtio_net_flow(segment(i, 80, false, 0), 64);

        assert_int_equal(flow, virtio_net_flow(segment(i, 80, true, 0), 64));
        assert_in_range(flow, 0, VIRTIO_NET_FLOWS - 1);
    }
    /* All fragments of a packet are one flow: only the first has ports. */
    memcpy(f, segment(7, 80, false, 0), 64);
    f[20] = 0x20;
    assert_int_equal(virtio_net_flow(f, 64), virtio_net_flow(f, 37));
    f[20] = 0;
    f[21] = 1;
    assert_int_equal(virtio_net_flow(f, 64), virtio_net_flow(f, 37));
    /* A header that is longer than the frame; and IPv6, in both directions. */
    f[21] = 0;
    f[14] = 0x4f;
    assert_int_equal(virtio_net_flow(f, 64), virtio_net_flow(f, 37));
    for (unsigned i = 0; i < sizeof(f); i++)
        f[i] = (uint8_t)(i * i);
    f[12] = 0x86;
    f[13] = 0xdd;
    f[20] = 17;
    for (size_t len = 34; len < 54; len++)
        assert_int_equal(virtio_net_flow(f, len), 0);
    assert_int_not_equal(virtio_net_flow(f, 58), virtio_net_flow(f, 57));
    for (unsigned i = 0; i < 58; i++)
        f[64 + i] = f[i];
    memcpy(f + 64 + 22, f + 38, 16);
    memcpy(f + 64 + 38, f + 22, 16);
    memcpy(f + 64 + 54, f + 56, 2);
    memcpy(f + 64 + 56, f + 54, 2);
    assert_int_equal(virtio_net_flow(f, 58), virtio_net_flow(f + 64, 58));
}

/* Pairs that no longer receive: what waited there is dropped, what was begun is returned empty. */
static void test_fewer(void **state)
{
    uint8_t *lent;

    (void)state;
    assert_int_equal(set_pairs(PAIRS), OK);
    send_by(3, 1000);
    send_by(2, 1001);
    send_by(0, 1002);
    lent = virtio_net_rx_borrow(&dev);
    memcpy(lent, segment(1001, 80, true, 0), 64);
    assert_true(virtio_net_rx_give(&dev, lent, 64, NULL));
    give_buffers(3, 1, 40); /* too small for the whole frame */
    assert_true(answer(1000));
    assert_true(answer(1002));
    assert_int_equal(received(3), 0);
    assert_int_equal(dev.lent, 1);
    assert_int_equal(set_pairs(1), OK);
    assert_int_equal(dev.lent, 0);
    assert_int_equal(received(3), 1);
    assert_int_equal(get(USED(RX(3)) + 8, 4), 0);
    assert_int_equal(received(2), 0);
    give_buffers(2, 1, BUFFER);
    assert_int_equal(received(2), 0);
    assert_int_equal(received(0), 0);
    give_buffers(0, 1, BUFFER);
    assert_int_equal(received(0), 1);
    assert_int_equal(set_pairs(PAIRS), OK);
    send_by(3, 1000);
    give_buffers(3, 2, BUFFER);
    assert_int_equal(where(1000), 3);
    assert_int_equal(get(USED(RX(3)) + 16, 4), VIRTIO_NET_HEADER + 64);
}

/* A pair without buffers, or without queues, holds up no other; its share of the ring is its own.
 */
static void test_half_set_up(void **state)
{
    (void)state;
    negotiate((uint32_t)FEATURES, 1);
    for (unsigned n = 0; n < QUEUES; n++)
        if (n < 3 || n == CONTROL)
            set_up(n);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
    work();
    assert_int_equal(set_pairs(PAIRS), OK);
    give_buffers(0, 1, BUFFER);
    send_by(0, 1000);
    notify(TX(1));
    notify(TX(3));
    for (unsigned port = 1001; port < 1001 + 8 * VIRTIO_NET_RX_SHARE; port++)
        if (virtio_net_flow(segment(port, 80, true, 0), 64) >= VIRTIO_NET_FLOWS / PAIRS)
            (void)answer(port);
    for (unsigned i = 1; i < PAIRS; i++)
        assert_int_equal(dev.pairs[i].head - dev.pairs[i].tail, VIRTIO_NET_RX_SHARE);
    assert_true(answer(1000));
    assert_int_equal(received(0), 1);
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_READY);
    start_with(FEATURES, QUEUES); /* nothing is left for the next driver */
    assert_int_equal(set_pairs(PAIRS), OK);
    all_buffers();
    for (unsigned i = 0; i < PAIRS; i++)
        assert_int_equal(received(i), 0);
}

/* Those that have something to send take turns, and a frame that takes several steps is finished
 * first. */
static void test_turns(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PAIRS; i++)
        for (unsigned n = 0; n < 3; n++)
            offer_frame(i, 1000 + i);
    again = 5;
    notify(TX(0));
    assert_int_equal(sent, 3 * PAIRS);
    for (unsigned i = PAIRS; i < sent; i++) {
        assert_int_equal(order[i], order[i - PAIRS]);
        assert_int_not_equal(order[i], order[i - 1]);
    }
    for (unsigned i = 0; i < PAIRS; i++)
        assert_int_equal(get(USED(TX(i)) + 2, 2), 3);
    /* The driver goes in the middle of one. */
    offer_frame(2, 1000);
    again = 1;
    out(VIRTIO_NOTIFY, 2, TX(2));
    pci_device.update(&pci_bus);
    assert_ptr_equal(dev.sender, &dev.pairs[2]);
    start_with(FEATURES, QUEUES);
    send_by(0, 1000);
    assert_int_equal(sent, 3 * PAIRS + 1);
}

/* Each queue has a message of its own. */
static void test_messages(void **state)
{
    (void)state;
    pci_put(VIRTIO_NET_SLOT, dev.virtio.msix.cap + 2, 2, 0x8000);
    for (unsigned i = 0; i <= QUEUES; i++) {
        assert_true(mmio_write(&pci_io, TABLE + 16 * i, 4, 0xfee00000));
        assert_true(mmio_write(&pci_io, TABLE + 16 * i + 8, 4, i));
        assert_true(mmio_write(&pci_io, TABLE + 16 * i + 12, 4, 0));
    }
    for (unsigned n = 0; n < QUEUES; n++) {
        out(VIRTIO_QUEUE_SELECT, 2, n);
        out(VIRTIO_QUEUE_VECTOR, 2, n + 1);
        assert_int_equal(in(VIRTIO_QUEUE_VECTOR, 2), n + 1);
    }
    out(VIRTIO_QUEUE_VECTOR, 2, QUEUES + 1);
    assert_int_equal(in(VIRTIO_QUEUE_VECTOR, 2), 0xffff);
    out(VIRTIO_QUEUE_VECTOR, 2, QUEUES);
    memset(messages, 0, sizeof(messages));
    assert_int_equal(set_pairs(PAIRS), OK);
    all_buffers();
    memset(messages, 0, sizeof(messages));
    for (unsigned i = 0; i < PAIRS; i++) {
        send_by(i, 1000);
        assert_int_equal(messages[1 + TX(i)], 1);
        assert_true(answer(1000));
        assert_int_equal(messages[1 + RX(i)], 1);
    }
    assert_int_equal(messages[0], 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_offered),     TEST(test_not_taken), TEST(test_command),
        TEST(test_steering),    TEST(test_flows),     TEST(test_fewer),
        TEST(test_half_set_up), TEST(test_turns),     TEST(test_messages)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
