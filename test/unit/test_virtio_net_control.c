/* SOURCES: @virtio hv/pc/virtio_net.c hv/pc/virtio_net_control.c
 * hv/pc/virtio_net_rx.c */
/* A driver that sends commands through virtio-net's control queue. */
#include "hv/pc/virtio_net.h"

#include "hv/config.h"
#include "test/unit/virtio_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MEMORY   0x40000u
#define SIZE     16u
#define DESC     0x1000u
#define AVAIL    0x2000u
#define USED     0x3000u
#define DATA     0x4000u
#define ANSWER   0x5000u
#define FEATURES (VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX)

enum { OK, ERR, NONE = 0xee };      /* answers */
enum { RX, MAC, OFFLOADS = 5 };     /* classes */
enum { PROMISC, ALLMULTI, ALLUNI }; /* of RX */
enum { TABLE_SET, ADDR_SET };       /* of MAC */
#define ON  "\1"
#define OFF "\0"

static const uint8_t mac[6] = {0x52, 0x42, 0x48, 1, 2, 3}, other[6] = {0x52, 0x42, 0x48, 1, 2, 4},
                     broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                     one[6] = {1, 0, 0x5e, 0, 0, 1}, two[6] = {0x33, 0x33, 0xff, 1, 2, 3};
static struct virtio_net dev;
static struct virtio_net_frame ring[VIRTIO_NET_RX_RING];
static uint8_t segments[(1 + VIRTIO_NET_SEGMENTS) * VIRTIO_NET_SEGMENT];

static bool on_transmit(void *ctx, uint8_t *bytes, size_t len, const struct net_offload *o)
{
    (void)ctx;
    (void)bytes;
    (void)len;
    (void)o;
    return false;
}

static void step(void)
{
    pci_device.update(&pci_bus);
}

static unsigned work(void)
{
    unsigned steps = 0;

    while (pci_bus.deadline == 0) {
        step();
        assert_true(steps++ < 2 * SIZE);
    }
    return steps;
}

static void start_with(uint64_t features)
{
    negotiate((uint32_t)features, 1 | (uint32_t)(features >> 32));
    memset(mem.base + DESC, 0, DATA - DESC);
    set_queue(VIRTIO_NET_CONTROL, SIZE, DESC, AVAIL, USED);
    out(VIRTIO_STATUS, 1, VIRTIO_READY);
    assert_int_equal(in(VIRTIO_STATUS, 1), VIRTIO_READY);
    (void)work();
}

static int setup(void **state)
{
    const struct virtio_net_host host = {.transmit = on_transmit};
    const struct virtio_net_memory memory = {.rx_ring = ring, .segments = segments, .pairs = 1};

    (void)state;
    virtio_fixture_memory(MEMORY);
    virtio_net_init(&dev, &mem, mac, &memory, &host);
    virtio_fixture_plug(&virtio_net_device, &dev, VIRTIO_NET_SLOT, DEV_NET);
    start_with(FEATURES);
    return 0;
}

static void desc(unsigned i, uint64_t address, uint32_t length, unsigned flags)
{
    put_desc(DESC + 16ull * i, address, length, flags, i + 1);
}

/* Offers the chain that begins with descriptor 0; returns the answer. */
static unsigned run(void)
{
    unsigned used = get(USED + 2, 2);

    put(ANSWER, NONE, 1);
    put_avail(AVAIL, SIZE, 0);
    out(VIRTIO_NOTIFY, 2, VIRTIO_NET_CONTROL);
    (void)work();
    if (in(VIRTIO_STATUS, 1) & VIRTIO_NEEDS_RESET)
        return NONE;
    assert_int_equal(get(USED + 2, 2), used + 1);
    assert_int_equal(get(USED + 8 + 8ull * (used % SIZE), 4), get(ANSWER, 1) != NONE);
    return get(ANSWER, 1);
}

static unsigned command(uint8_t class, uint8_t number, const void *data, uint32_t len)
{
    put(DATA, class, 1);
    put(DATA + 1, number, 1);
    memcpy(mem.base + DATA + 2, data, len);
    desc(0, DATA, 2 + len, NEXT);
    desc(1, ANSWER, 1, WRITE);
    return run();
}

static unsigned set_mode(uint8_t mode, const char *on)
{
    return command(RX, mode, on, 1);
}

/* As a driver with these addresses of cards and groups. */
static unsigned set_table(uint32_t cards, uint32_t groups, const uint8_t *group)
{
    uint8_t table[8 + 6 * 4 * VIRTIO_NET_ADDRESSES] = {0};
    size_t at = 4;

    memcpy(table, &cards, 4);
    for (uint32_t i = 0; i < cards; i++, at += 6)
        memcpy(table + at, other, 6);
    memcpy(table + at, &groups, 4);
    at += 4;
    for (uint32_t i = 0; i < groups; i++, at += 6)
        memcpy(table + at, group, 6);
    return command(MAC, TABLE_SET, table, (uint32_t)at);
}

static bool wants(const uint8_t *to)
{
    return virtio_net_wants(&dev, to);
}

static void test_everything_at_first(void **state)
{
    (void)state;
    assert_true(wants(mac) && wants(broadcast) && wants(one) && wants(two));
    assert_int_equal(set_mode(PROMISC, OFF), OK);
    assert_true(wants(mac) && wants(broadcast) && !wants(one) && !wants(two));
    /* As after a reset. */
    start_with(FEATURES);
    assert_true(wants(one) && wants(two));
}

static void test_modes(void **state)
{
    (void)state;
    assert_int_equal(set_mode(PROMISC, OFF), OK);
    assert_int_equal(set_mode(ALLMULTI, ON), OK);
    assert_true(wants(one) && wants(two));
    assert_int_equal(set_mode(PROMISC, ON), OK);
    assert_int_equal(set_mode(ALLMULTI, OFF), OK);
    assert_true(wants(one)); /* either is enough */
    assert_int_equal(set_mode(PROMISC, OFF), OK);
    assert_false(wants(one));
}

static void test_table(void **state)
{
    (void)state;
    assert_int_equal(set_mode(PROMISC, OFF), OK);
    assert_int_equal(set_table(1, 1, one), OK);
    assert_true(wants(one) && wants(broadcast) && !wants(two));
    assert_int_equal(set_table(0, VIRTIO_NET_ADDRESSES, two), OK); /* instead of the former */
    assert_true(!wants(one) && wants(two));
    assert_int_equal(set_table(3, 0, NULL), OK);
    assert_true(!wants(one) && !wants(two) && wants(mac) && wants(broadcast));
    /* More than it can hold: none is kept away. */
    assert_int_equal(set_table(0, VIRTIO_NET_ADDRESSES + 1, one), OK);
    assert_true(wants(one) && wants(two));
    assert_int_equal(set_table(4 * VIRTIO_NET_ADDRESSES, 0, NULL), OK);
    assert_true(wants(one) && wants(two));
    assert_int_equal(set_table(0, 1, two), OK);
    assert_true(!wants(one) && wants(two));
}

/* What the driver takes unfinished: at first what it chose, then as much of that as it says. */
static void test_offloads(void **state)
{
    const uint64_t chosen = VIRTIO_NET_F_GUEST_CSUM | VIRTIO_NET_F_GUEST_TSO4, none = 0,
                   csum = VIRTIO_NET_F_GUEST_CSUM, more = chosen | VIRTIO_NET_F_GUEST_TSO6,
                   other_kind = VIRTIO_NET_F_CSUM;

    (void)state;
    start_with(FEATURES | VIRTIO_NET_F_CSUM | VIRTIO_NET_F_CTRL_GUEST_OFFLOADS | chosen);
    assert_int_equal(virtio_net_takes(&dev), NET_TAKES_CSUM | NET_TAKES_TSO4);
    assert_int_equal(command(OFFLOADS, 0, &none, 8), OK);
    assert_int_equal(virtio_net_takes(&dev), 0);
    assert_int_equal(set_mode(PROMISC, OFF), OK);
    assert_int_equal(virtio_net_takes(&dev), 0);
    assert_int_equal(command(OFFLOADS, 0, &chosen, 8), OK);
    assert_int_equal(virtio_net_takes(&dev), NET_TAKES_CSUM | NET_TAKES_TSO4);
    assert_int_equal(command(OFFLOADS, 0, &csum, 8), OK);
    assert_int_equal(command(OFFLOADS, 0, &more, 8), ERR);
    assert_int_equal(command(OFFLOADS, 0, &other_kind, 8), ERR);
    assert_int_equal(command(OFFLOADS, 0, &none, 7), ERR);
    assert_int_equal(command(OFFLOADS, 0, mem.base, VIRTIO_NET_COMMAND), ERR);
    assert_int_equal(command(OFFLOADS, 1, &none, 8), ERR);
    assert_int_equal(virtio_net_takes(&dev), NET_TAKES_CSUM);
    start_with(FEATURES | chosen);
    assert_int_equal(virtio_net_takes(&dev), NET_TAKES_CSUM | NET_TAKES_TSO4);
    assert_int_equal(command(OFFLOADS, 0, &none, 8), ERR); /* it has not asked for that command */
    assert_int_equal(virtio_net_takes(&dev), NET_TAKES_CSUM | NET_TAKES_TSO4);
}

/* What is wrong is refused, and changes nothing. */
static void test_wrong_commands(void **state)
{
    static const uint8_t tables[][14] = {{0},
                                         {1},
                                         {0, 0, 0, 0, 1},
                                         {0, 0, 0, 0, 0, 0, 0, 0, 1},
                                         {255, 255, 255, 255},
                                         {0, 0, 0, 0, 255, 255, 255, 255}};
    static const uint32_t lengths[] = {7, 8, 13, 9, 14, 14};

    (void)state;
    assert_int_equal(set_mode(PROMISC, OFF), OK);
    assert_int_equal(set_table(0, 1, one), OK);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
        assert_int_equal(command(MAC, TABLE_SET, tables[i], lengths[i]), ERR);
    for (uint32_t len = 0; len < 4; len++)
        if (len != 1)
            assert_int_equal(command(RX, PROMISC, "\1\1\1", len), ERR);
    assert_int_equal(command(RX, PROMISC, mem.base, 1000), ERR);
    assert_int_equal(set_mode(ALLUNI, ON), ERR); /* not offered, like all below */
    assert_int_equal(set_mode(255, ON), ERR);
    assert_int_equal(command(MAC, ADDR_SET, other, 6), ERR);
    assert_int_equal(command(2, 0, "\1", 2), ERR);
    assert_int_equal(command(255, 0, "\1", 1), ERR);
    assert_true(wants(one) && !wants(two));
    start_with(0); /* a driver that has not asked for commands */
    assert_int_equal(set_mode(PROMISC, OFF), ERR);
    assert_true(wants(two));
}

/* The parts may be cut anywhere, but the answer comes last. */
static void test_pieces(void **state)
{
    (void)state;
    put(DATA, 0, 8);
    desc(0, DATA, 1, NEXT);
    desc(1, DATA, 0, NEXT);
    desc(2, DATA + 1, 1, NEXT);
    desc(3, DATA + 2, 1, NEXT);
    desc(4, DATA, 0, NEXT | WRITE);
    desc(5, ANSWER, 1, NEXT | WRITE);
    desc(6, ANSWER + 1, 8, WRITE);
    assert_int_equal(run(), OK);
    assert_false(wants(one));
    assert_int_equal(get(ANSWER + 1, 4), 0);
    put(DATA, 0x010000, 3);
    desc(5, ANSWER, 1, NEXT | WRITE);
    desc(6, DATA, 1, 0);
    assert_int_equal(run(), ERR);
    desc(0, ANSWER, 1, WRITE);
    assert_int_equal(run(), ERR);
    desc(0, DATA, 3, 0); /* no room for the answer */
    assert_int_equal(run(), NONE);
    assert_false(wants(one));
}

/* A command as long as it may be, in a chain as long as the queue, is handled in bounded parts. */
static void test_bounded(void **state)
{
    unsigned steps;

    (void)state;
    for (unsigned i = 0; i < SIZE; i++)
        desc(i, DATA, i ? 0x8000 : 3, i + 1 < SIZE ? NEXT : 0);
    put(ANSWER, NONE, 1);
    put_avail(AVAIL, SIZE, 0);
    out(VIRTIO_NOTIFY, 2, VIRTIO_NET_CONTROL);
    steps = work();
    assert_int_equal(steps, SIZE / VIRTIO_NET_WORK + 1);
    assert_int_equal(get(USED + 2, 2), 1);
    /* A reset in between forgets the chain. */
    put_avail(AVAIL, SIZE, 0);
    out(VIRTIO_NOTIFY, 2, VIRTIO_NET_CONTROL);
    step();
    assert_true(dev.control.chain.open);
    out(VIRTIO_STATUS, 1, 0);
    assert_false(dev.control.chain.open);
}

static void test_broken_rings(void **state)
{
    (void)state;
    put_desc(DESC, DATA, 1, NEXT, 0); /* next is itself */
    assert_int_equal(run(), NONE);
    assert_true(in(VIRTIO_STATUS, 1) & VIRTIO_NEEDS_RESET);
    start_with(FEATURES);
    desc(0, MEMORY, 3, NEXT);
    desc(1, ANSWER, 1, WRITE);
    assert_int_equal(run(), NONE);
    start_with(FEATURES);
    desc(0, DATA, 3, NEXT);
    desc(1, MEMORY, 1, WRITE);
    assert_int_equal(run(), NONE);
    start_with(FEATURES);
    assert_int_equal(set_mode(PROMISC, OFF), OK);
}

/* It is told of each answer, and says when there is the next command. */
static void test_told(void **state)
{
    (void)state;
    assert_int_equal(set_mode(PROMISC, OFF), OK);
    assert_true(pci_level(VIRTIO_NET_IRQ));
    assert_int_equal(in(VIRTIO_ISR, 1), 1);
    put(AVAIL, 1, 2); /* no interrupt, please */
    assert_int_equal(set_mode(PROMISC, OFF), OK);
    assert_false(pci_level(VIRTIO_NET_IRQ));
    start_with(FEATURES | VIRTIO_F_EVENT_IDX);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(set_mode(PROMISC, OFF), OK);
        assert_int_equal(get(USED + 4 + 8 * SIZE, 2), i);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, virtio_fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_everything_at_first),
                                       TEST(test_modes),
                                       TEST(test_table),
                                       TEST(test_offloads),
                                       TEST(test_wrong_commands),
                                       TEST(test_pieces),
                                       TEST(test_bounded),
                                       TEST(test_broken_rings),
                                       TEST(test_told)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
