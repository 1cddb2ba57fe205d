/* Tests of what all drivers with legacy descriptors do. Before: intel_setup(), and
 * intel_test_start(), which starts the driver. */
#pragma once

#include "test/unit/intel_model.h"

static void intel_test_start(void);

static inline unsigned intel_poll(unsigned budget)
{
    return model_nic.driver->receive(&model_nic, budget);
}

static inline bool intel_put_frame(const uint8_t *frame, size_t len)
{
    return model_nic.driver->send(&model_nic, frame, len);
}

/* Frames for management and guests come in, and others only if the card has too few filters. */
static void test_filters(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++)
        memcpy(model_nic.hears[i], (uint8_t[]){2, 0x42, 0, 0, 0, (uint8_t)i}, 6);
    model_nic.hear_count = 3;
    intel_test_start();
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(model_get(0, INTEL_RAL0 + 8 * i), 0x4202);
        assert_int_equal(model_get(0, INTEL_RAH0 + 8 * i), INTEL_RAH_VALID | i << 8);
    }
    assert_int_equal(model_get(0, INTEL_RAH0 + 8 * 3), 0);
    assert_false(model_get(0, INTEL_RCTL) & INTEL_RCTL_UPE);
    /* Frames to groups (multicast DNS, neighbour discovery) and broadcasts come in too. */
    assert_true(model_get(0, INTEL_RCTL) & INTEL_RCTL_MPE);
    assert_true(model_get(0, INTEL_RCTL) & INTEL_RCTL_BAM);
    assert_int_equal(intel.rctl_writes, 1);
}

static void test_budget(void **state)
{
    (void)state;
    intel_test_start();
    for (unsigned i = 0; i < 100; i++)
        assert_true(intel_arrive('x', 60, INTEL_RX_EOP, 0));
    assert_int_equal(intel_poll(64), 64);
    assert_int_equal(model.frames, 64);
    assert_int_equal(intel.rdt_writes, 1);
    assert_int_equal(model_get(0, INTEL_RDT), 63);
    assert_int_equal(intel_poll(64), 36);
    assert_int_equal(model.frames, 100);
    assert_int_equal(intel_poll(64), 0);
    assert_int_equal(intel.rdt_writes, 2); /* no frame arrived, so nothing is written */
}

/* Many times around the ring, even when it is full. */
static void test_ring(void **state)
{
    unsigned n = 0;

    (void)state;
    intel_test_start();
    for (unsigned round = 0; round < 5; round++) {
        while (intel_arrive(n, 60, INTEL_RX_EOP, 0))
            n++;
        assert_int_equal(n, (round + 1) * (INTEL_RX_COUNT - 1));
        while (intel_poll(64))
            ;
        assert_int_equal(model.frames, n);
        assert_memory_equal(model.last, &(unsigned){n - 1}, sizeof(unsigned));
    }
    assert_int_equal(model_nic.rx_frames, n);
    assert_int_equal(model_nic.rx_dropped, 0);
}

static void test_bad_frames(void **state)
{
    (void)state;
    intel_test_start();
    assert_true(intel_arrive(0, 60, INTEL_RX_EOP, 1));
    assert_true(intel_arrive(0, 0, INTEL_RX_EOP, 0));
    assert_true(intel_arrive(0, NIC_BUFFER + 1, INTEL_RX_EOP, 0));
    assert_true(intel_arrive(0, 0xffff, INTEL_RX_EOP, 0));
    assert_int_equal(intel_poll(64), 4);
    assert_int_equal(model.frames, 0);
    assert_int_equal(model_nic.rx_dropped, 4);
    assert_true(intel_arrive(0, NIC_BUFFER, INTEL_RX_EOP, 0));
    intel_poll(64);
    assert_int_equal(model.frames, 1);
    assert_int_equal(model.last_len, NIC_BUFFER);
}

/* The rest of a frame that took several buffers is not delivered as a frame. */
static void test_long_frame(void **state)
{
    (void)state;
    intel_test_start();
    assert_true(intel_arrive('a', NIC_BUFFER, 0, 0));
    assert_true(intel_arrive('b', NIC_BUFFER, 0, 0));
    intel_poll(64);
    assert_true(intel_arrive('c', 100, INTEL_RX_EOP, 0));
    assert_true(intel_arrive('d', 60, INTEL_RX_EOP, 0));
    intel_poll(64);
    assert_int_equal(model.frames, 1);
    assert_int_equal(model.last[0], 'd');
    assert_int_equal(model_nic.rx_dropped, 3);
}

/* All descriptors of a frame are handed over with one write of the tail. */
static void test_send(void **state)
{
    uint8_t bytes[NET_FRAME_MAX];

    (void)state;
    intel_test_start();
    for (unsigned n = 0; n < 3 * INTEL_TX_COUNT; n++) {
        memset(bytes, (int)n, sizeof(bytes));
        assert_true(intel_put_frame(bytes, 60 + n));
        assert_int_equal(intel.sent, n + 1);
        assert_int_equal(intel.tdt_writes, n + 1);
        assert_int_equal(intel.last_len, 60 + n);
        assert_memory_equal(intel.last, bytes, intel.last_len);
    }
}

/* A slow card: senders do not wait, and sending resumes when the card can take more. A full ring
 * must not look empty. */
static void test_send_full(void **state)
{
    uint8_t bytes[60] = {0};
    unsigned taken = 0;

    (void)state;
    intel_test_start();
    for (unsigned round = 1; round < 4; round++) {
        intel.sends = false;
        for (unsigned i = 0; i < 2 * INTEL_TX_COUNT; i++)
            taken += intel_put_frame(bytes, sizeof(bytes));
        assert_int_not_equal(model_get(0, INTEL_TDT), model_get(0, INTEL_TDH));
        assert_int_equal(taken, round * (INTEL_TX_COUNT - 1));
        intel_send_all();
        assert_int_equal(intel.sent, taken);
    }
}

static void test_link(void **state)
{
    struct nic_link l;

    (void)state;
    intel_test_start();
    model_set(0, INTEL_STATUS, 0x81); /* full duplex, 1000, no link */
    assert_false(model_nic.driver->link(&model_nic).up);
    model_set(0, INTEL_STATUS, 0x83);
    l = model_nic.driver->link(&model_nic);
    assert_true(l.up && l.full_duplex && l.mbits == 1000);
    model_set(0, INTEL_STATUS, 0x42);
    l = model_nic.driver->link(&model_nic);
    assert_true(l.up && !l.full_duplex && l.mbits == 100);
    model_set(0, INTEL_STATUS, UINT32_MAX); /* the card has gone */
    assert_false(model_nic.driver->link(&model_nic).up);
}

#define INTEL_TESTS(TEST)                                                                          \
    TEST(test_filters), TEST(test_budget), TEST(test_ring), TEST(test_bad_frames),                 \
        TEST(test_long_frame), TEST(test_send), TEST(test_send_full), TEST(test_link)
