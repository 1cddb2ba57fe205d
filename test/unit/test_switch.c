/* SOURCES: net/switch.c hv/lib.c */
#include "net/switch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UPLINK  0u
#define A       1u
#define B       2u
#define MAX_AGE 1000u

static struct vswitch s;
static unsigned got[SWITCH_PORTS_MAX];
static unsigned slots[SWITCH_PORTS_MAX];
static uint8_t last[SWITCH_FRAME_MAX];
static size_t last_len;

static const uint8_t mac_a[6] = {0x52, 0x42, 0x48, 0, 0, 1}, mac_b[6] = {0x52, 0x42, 0x48, 0, 0, 2};
static const uint8_t gateway[6] = {2, 0, 0, 0, 0, 1}, stranger[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255};

static void deliver(void *ctx, const uint8_t *frame, size_t len)
{
    const unsigned *slot = ctx;

    /* The lock is free: a receiver may send at once. */
    assert_int_equal(s.lock.served, s.lock.next);
    got[*slot]++;
    memcpy(last, frame, len);
    last_len = len;
}

/* An uplink and two guests with their addresses. */
static int setup(void **state)
{
    (void)state;
    memset(got, 0, sizeof(got));
    switch_init(&s, MAX_AGE);
    for (unsigned i = 0; i < 3; i++) {
        slots[i] = i;
        assert_int_equal(switch_attach(&s, deliver, &slots[i]), i);
    }
    assert_int_equal(switch_set_address(&s, A, mac_a), 0);
    assert_int_equal(switch_set_address(&s, B, mac_b), 0);
    return 0;
}

static void send_len(unsigned port, const uint8_t *to, const uint8_t *from, size_t len,
                     uint64_t now)
{
    uint8_t *frame = calloc(1, len + 1);

    memcpy(frame, to, len < 6 ? len : 6);
    if (len >= 12)
        memcpy(frame + 6, from, 6);
    switch_input(&s, port, frame, len, now);
    free(frame);
}

static void send(unsigned port, const uint8_t *to, const uint8_t *from, uint64_t now)
{
    send_len(port, to, from, 60, now);
}

static void expect(unsigned uplink, unsigned a, unsigned b)
{
    assert_int_equal(got[UPLINK], uplink);
    assert_int_equal(got[A], a);
    assert_int_equal(got[B], b);
    memset(got, 0, sizeof(got));
}

static void test_known(void **state)
{
    (void)state;
    send(A, mac_b, mac_a, 1);
    expect(0, 0, 1);
    send(UPLINK, mac_a, gateway, 1);
    expect(0, 1, 0);
    send(A, gateway, mac_a, 2);
    expect(1, 0, 0);
    assert_int_equal(s.ports[A].in_frames, 2);
    assert_int_equal(s.ports[A].in_bytes, 120);
    assert_int_equal(s.ports[A].out_frames, 1);
    assert_int_equal(s.ports[A].out_bytes, 60);
    assert_int_equal(s.ports[A].dropped, 0);
}

static void test_flood(void **state)
{
    static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 251};

    (void)state;
    send(A, everybody, mac_a, 1);
    expect(1, 0, 1);
    send(B, group, mac_b, 1);
    expect(1, 1, 0);
    send(A, stranger, mac_a, 1);
    expect(1, 0, 1);
    send(UPLINK, everybody, gateway, 1);
    expect(0, 1, 1);
}

static void test_bytes(void **state)
{
    uint8_t frame[SWITCH_FRAME_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(frame); i++)
        frame[i] = (uint8_t)(i * 7);
    memcpy(frame, mac_b, 6);
    memcpy(frame + 6, mac_a, 6);
    switch_input(&s, A, frame, sizeof(frame), 1);
    assert_int_equal(last_len, sizeof(frame));
    assert_memory_equal(last, frame, sizeof(frame));
}

static void test_no_echo(void **state)
{
    (void)state;
    send(A, mac_a, mac_a, 1);
    expect(0, 0, 0);
    send(UPLINK, stranger, gateway, 1); /* the uplink's neighbours talk to each other */
    expect(0, 1, 1);
    send(UPLINK, gateway, stranger, 1);
    expect(0, 0, 0);
}

static void test_lengths(void **state)
{
    (void)state;
    for (size_t len = 0; len < SWITCH_FRAME_MIN; len++)
        send_len(A, mac_b, mac_a, len, 1);
    send_len(A, mac_b, mac_a, SWITCH_FRAME_MAX + 1, 1);
    send_len(A, mac_b, mac_a, 9000, 1);
    expect(0, 0, 0);
    assert_int_equal(s.ports[A].dropped, SWITCH_FRAME_MIN + 2);
    send_len(A, mac_b, mac_a, SWITCH_FRAME_MIN, 1);
    send_len(A, mac_b, mac_a, SWITCH_FRAME_MAX, 1);
    expect(0, 0, 2);
}

static void test_ports_that_are_not(void **state)
{
    (void)state;
    send(3, mac_a, stranger, 1);
    send(SWITCH_PORTS_MAX, mac_a, stranger, 1);
    send(UINT32_MAX, mac_a, stranger, 1);
    switch_detach(&s, UINT32_MAX);
    expect(0, 0, 0);
    assert_int_equal(switch_set_address(&s, 3, stranger), -E_RANGE);
    assert_int_equal(switch_set_address(&s, UINT32_MAX, stranger), -E_RANGE);
}

/* A guest cannot be anybody else: not a neighbour, not the gateway, not a newcomer. */
static void test_spoofing(void **state)
{
    (void)state;
    send(UPLINK, everybody, gateway, 1);
    memset(got, 0, sizeof(got));
    send(A, everybody, mac_b, 2);
    send(A, everybody, gateway, 2);
    send(A, everybody, stranger, 2);
    send(A, everybody, everybody, 2);
    expect(0, 0, 0);
    assert_int_equal(s.ports[A].dropped, 4);
    send(A, mac_b, mac_a, 3);
    send(B, gateway, mac_b, 3);
    expect(1, 0, 1);
}

/* Nobody outside can be one of our guests. */
static void test_spoofing_from_outside(void **state)
{
    (void)state;
    send(UPLINK, mac_b, mac_a, 1);
    expect(0, 0, 0);
    assert_int_equal(s.ports[UPLINK].dropped, 1);
    send(B, mac_a, mac_b, 1);
    expect(0, 1, 0);
    send(UPLINK, mac_a, everybody, 1); /* a group is no source */
    expect(0, 0, 0);
}

static void test_link_local(void **state)
{
    uint8_t pause[6] = {0x01, 0x80, 0xc2, 0, 0, 0};

    (void)state;
    for (pause[5] = 0; pause[5] < 0x10; pause[5]++)
        send(A, pause, mac_a, 1);
    expect(0, 0, 0);
    assert_int_equal(s.ports[A].dropped, 16);
    send(A, pause, mac_a, 1); /* ...10 is an ordinary group */
    expect(1, 0, 1);
}

static void test_addresses(void **state)
{
    (void)state;
    assert_int_equal(switch_set_address(&s, A, mac_b), -E_EXIST);
    assert_int_equal(switch_set_address(&s, A, everybody), -E_INVAL);
    assert_int_equal(switch_set_address(&s, A, mac_a), 0);
    /* An address that had been learned before it was given away. */
    send(UPLINK, everybody, stranger, 1);
    memset(got, 0, sizeof(got));
    assert_int_equal(switch_set_address(&s, A, stranger), 0);
    send(B, stranger, mac_b, 2);
    expect(0, 1, 0);
    switch_detach(&s, A);
    send(B, stranger, mac_b, 2);
    expect(1, 0, 0);
}

/* Without fixed addresses it is a bridge like any other. */
static void test_learning(void **state)
{
    (void)state;
    switch_init(&s, MAX_AGE);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(switch_attach(&s, deliver, &slots[i]), i);
    send(A, everybody, mac_a, 10);
    expect(1, 0, 1);
    send(B, mac_a, mac_b, 11);
    expect(0, 1, 0);
    send(UPLINK, everybody, mac_a, 12); /* it has moved */
    expect(0, 1, 1);
    send(B, mac_a, mac_b, 13);
    expect(1, 0, 0);
    switch_detach(&s, UPLINK);
    send(B, mac_a, mac_b, 14);
    expect(0, 1, 0);
}

static void test_age(void **state)
{
    (void)state;
    send(UPLINK, mac_b, gateway, 5000);
    expect(0, 0, 1);
    send(A, gateway, mac_a, 5000 + MAX_AGE);
    expect(1, 0, 0);
    send(A, gateway, mac_a, 4990); /* another core's clock */
    expect(1, 0, 0);
    send(A, gateway, mac_a, 5001 + MAX_AGE);
    expect(1, 0, 1);
    /* Fixed ones never age. */
    send(A, mac_b, mac_a, UINT64_MAX);
    expect(0, 0, 1);
}

/* A storm of addresses: those in use stay, the one silent for longest goes. */
static void test_replacement(void **state)
{
    uint8_t mac[6] = {2, 1, 0, 0, 0, 0};

    (void)state;
    send(UPLINK, everybody, gateway, 1);
    for (unsigned i = 0; i < SWITCH_MACS_MAX - 1; i++) {
        mac[4] = (uint8_t)i;
        send(UPLINK, everybody, mac, 2 + i);
    }
    send(UPLINK, everybody, gateway, 100); /* seen again: now the youngest */
    mac[4] = 200;
    send(UPLINK, everybody, mac, 101); /* takes the place of number 0 */
    memset(got, 0, sizeof(got));
    send(A, gateway, mac_a, 102);
    send(A, mac, mac_a, 102);
    expect(2, 0, 0);
    mac[4] = 1;
    send(A, mac, mac_a, 102);
    expect(1, 0, 0);
    mac[4] = 0;
    send(A, mac, mac_a, 102); /* forgotten: flooded */
    expect(1, 0, 1);
    for (unsigned i = 0; i < 1000; i++) {
        mac[3] = (uint8_t)(i >> 8);
        mac[4] = (uint8_t)i;
        mac[5] = 1;
        send(UPLINK, everybody, mac, 200 + i);
    }
    memset(got, 0, sizeof(got));
    send(UPLINK, mac_a, gateway, 2000);
    send(A, mac_b, mac_a, 2000);
    expect(0, 1, 1);
}

static void test_ports(void **state)
{
    (void)state;
    for (unsigned i = 3; i < SWITCH_PORTS_MAX; i++) {
        slots[i] = i;
        assert_int_equal(switch_attach(&s, deliver, &slots[i]), i);
    }
    assert_int_equal(switch_attach(&s, deliver, &slots[0]), -E_NOSPC);
    send(A, everybody, mac_a, 1);
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
        assert_int_equal(got[i], i != A);
    switch_detach(&s, 5);
    assert_int_equal(switch_attach(&s, deliver, &slots[5]), 5);
}

/* While its frame is being delivered, B is detached up to where that is waited for, and another
 * guest comes. */
static void detach_meanwhile(void *ctx, const uint8_t *frame, size_t len)
{
    int *port = ctx;

    (void)frame;
    (void)len;
    s.ports[B].deliver = NULL;
    *port = switch_attach(&s, deliver, &slots[3]);
}

static void test_port_that_still_delivers(void **state)
{
    int port = -1;

    (void)state;
    switch_detach(&s, B);
    assert_int_equal(switch_attach(&s, detach_meanwhile, &port), B);
    send(A, everybody, mac_a, 1);
    assert_int_equal(port, 3); /* not B: its last delivery goes on */
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
        assert_int_equal(s.ports[i].delivering, 0);
    switch_detach(&s, B); /* returns */
    assert_int_equal(switch_attach(&s, deliver, &slots[2]), B);
}

/* A guest that answers within its callback. */
static void answer(void *ctx, const uint8_t *frame, size_t len)
{
    uint8_t reply[60] = {0};

    (void)ctx;
    (void)len;
    memcpy(reply, frame + 6, 6);
    memcpy(reply + 6, mac_b, 6);
    got[B]++;
    switch_input(&s, B, reply, sizeof(reply), 1);
}

static void test_reentry(void **state)
{
    (void)state;
    switch_detach(&s, B);
    assert_int_equal(switch_attach(&s, answer, NULL), B);
    assert_int_equal(switch_set_address(&s, B, mac_b), 0);
    send(A, mac_b, mac_a, 1);
    expect(0, 1, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_known),
        TEST(test_flood),
        TEST(test_bytes),
        TEST(test_no_echo),
        TEST(test_lengths),
        TEST(test_ports_that_are_not),
        TEST(test_spoofing),
        TEST(test_spoofing_from_outside),
        TEST(test_link_local),
        TEST(test_addresses),
        TEST(test_learning),
        TEST(test_age),
        TEST(test_replacement),
        TEST(test_ports),
        TEST(test_port_that_still_delivers),
        TEST(test_reentry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
