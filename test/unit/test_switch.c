/* SOURCES: net/switch.c net/filter.c net/filter_learn.c net/facts.c hv/lib.c */
#include "net/switch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UPLINK     0u
#define A          1u /* of the network "default" */
#define B          2u
#define PLANT      3u /* of another one, with the uplink too */
#define CLOSED     4u /* of the same, without */
#define MANAGEMENT 5u
#define PORTS      6u
#define SECOND     6u /* management's uplink, if it has one of its own */
#define HZ         1000000u

static struct vswitch s;
static unsigned got[SWITCH_PORTS_MAX];
static unsigned slots[SWITCH_PORTS_MAX];
static uint8_t last[SWITCH_FRAME_MAX];
static size_t last_len;
static struct net_config config;

static const uint8_t mac_a[6] = {0x52, 0x42, 0x48, 0, 0, 1}, mac_b[6] = {0x52, 0x42, 0x48, 0, 0, 2};
static const uint8_t mac_plant[6] = {0x52, 0x42, 0x48, 0, 0, 3};
static const uint8_t mac_closed[6] = {0x52, 0x42, 0x48, 0, 0, 4};
static const uint8_t mac_mgmt[6] = {0x52, 0x42, 0x48, 0, 0, 0};
static const uint8_t gateway[6] = {2, 0, 0, 0, 0, 1}, stranger[6] = {2, 0, 0, 0, 0, 9};
static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255};
static const uint8_t group[6] = {1, 0, 0x5e, 0, 0, 251};
static const uint8_t *const macs[PORTS + 1] = {NULL,       mac_a,    mac_b, mac_plant,
                                               mac_closed, mac_mgmt, NULL};

static void deliver(void *ctx, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    const unsigned *slot = ctx;

    assert_null(o);
    /* The lock is free: a receiver may send at once. */
    assert_int_equal(s.lock.next, s.lock.served);
    got[*slot]++;
    memcpy(last, frame, len);
    last_len = len;
}

static const struct net_config *network(const char *name, bool uplink)
{
    memset(&config, 0, sizeof(config));
    strcpy(config.network, name);
    config.uplink = uplink;
    config.broadcasts_per_second = 1000;
    return &config;
}

static int attach(unsigned slot, enum filter_role role, const struct net_config *c)
{
    slots[slot] = slot;
    return switch_attach(&s, role, macs[slot], c, deliver, &slots[slot]);
}

static void build(bool reachable)
{
    memset(got, 0, sizeof(got));
    switch_init(&s, HZ, reachable);
    assert_int_equal(attach(UPLINK, FILTER_UPLINK, NULL), UPLINK);
    assert_int_equal(attach(A, FILTER_GUEST, network("default", true)), A);
    assert_int_equal(attach(B, FILTER_GUEST, network("default", true)), B);
    assert_int_equal(attach(PLANT, FILTER_GUEST, network("plant", true)), PLANT);
    assert_int_equal(attach(CLOSED, FILTER_GUEST, network("plant", false)), CLOSED);
    assert_int_equal(attach(MANAGEMENT, FILTER_MANAGEMENT, NULL), MANAGEMENT);
}

static int setup(void **state)
{
    (void)state;
    build(false);
    return 0;
}

static enum net_drop send_len(unsigned port, const uint8_t *to, const uint8_t *from, size_t len,
                              uint64_t now)
{
    uint8_t *frame = calloc(1, len + 1);
    enum net_drop why;

    memcpy(frame, to, len < 6 ? len : 6);
    if (len >= 12)
        memcpy(frame + 6, from, 6);
    if (len >= 14)
        frame[12] = 0x88; /* a type of its own: 0x8800 */
    why = switch_input(&s, port, frame, len, now);
    free(frame);
    return why;
}

static enum net_drop send(unsigned port, const uint8_t *to, const uint8_t *from, uint64_t now)
{
    return send_len(port, to, from, 60, now);
}

/* The ports that got the frame, as bits. */
static unsigned who(void)
{
    unsigned bits = 0;

    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
        assert_true(got[i] <= 1);
        bits |= got[i] << i;
    }
    memset(got, 0, sizeof(got));
    return bits;
}

#define BIT(port) (1u << (port))

static void test_known(void **state)
{
    (void)state;
    assert_int_equal(send(A, mac_b, mac_a, 1), NET_PASSED);
    assert_int_equal(who(), BIT(B));
    send(UPLINK, mac_a, gateway, 1);
    assert_int_equal(who(), BIT(A));
    send(A, gateway, mac_a, 2);
    assert_int_equal(who(), BIT(UPLINK));
}

/* Which ports get whose broadcasts. */
static void test_networks(void **state)
{
    static const uint8_t *const to[] = {everybody, group};

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        send(A, to[i], mac_a, 1);
        assert_int_equal(who(), BIT(UPLINK) | BIT(B));
        send(PLANT, to[i], mac_plant, 1);
        assert_int_equal(who(), BIT(UPLINK) | BIT(CLOSED));
        send(CLOSED, to[i], mac_closed, 1);
        assert_int_equal(who(), BIT(PLANT));
        send(MANAGEMENT, to[i], mac_mgmt, 1);
        assert_int_equal(who(), BIT(UPLINK));
        send(UPLINK, to[i], gateway, 1);
        assert_int_equal(who(), BIT(A) | BIT(B) | BIT(PLANT) | BIT(MANAGEMENT));
    }
}

/* Unicast frames from every port to every port. */
static void test_who_reaches_whom(void **state)
{
    static const unsigned reached[PORTS] = {
        [UPLINK] = BIT(A) | BIT(B) | BIT(PLANT) | BIT(MANAGEMENT),
        [A] = BIT(B) | BIT(UPLINK),
        [B] = BIT(A) | BIT(UPLINK),
        [PLANT] = BIT(CLOSED) | BIT(UPLINK),
        [CLOSED] = BIT(PLANT),
        [MANAGEMENT] = BIT(UPLINK),
    };

    (void)state;
    for (unsigned from = 0; from < PORTS; from++)
        for (unsigned to = 0; to < PORTS; to++) {
            enum net_drop why = send(from, to == UPLINK ? stranger : macs[to],
                                     from == UPLINK ? gateway : macs[from], 1);
            bool reaches = reached[from] >> to & 1;

            assert_int_equal(who(), reaches ? BIT(to) : 0);
            assert_int_equal(why, reaches ? NET_PASSED : NET_DROP_DESTINATION);
        }
}

static void test_management_reachable(void **state)
{
    (void)state;
    build(true);
    send(A, everybody, mac_a, 1);
    assert_int_equal(who(), BIT(UPLINK) | BIT(B) | BIT(MANAGEMENT));
    send(PLANT, mac_mgmt, mac_plant, 1);
    assert_int_equal(who(), BIT(MANAGEMENT));
    send(MANAGEMENT, mac_plant, mac_mgmt, 1);
    assert_int_equal(who(), BIT(PLANT));
    send(CLOSED, mac_mgmt, mac_closed, 1);
    assert_int_equal(who(), 0);
    send(MANAGEMENT, everybody, mac_mgmt, 1);
    assert_int_equal(who(), BIT(UPLINK) | BIT(A) | BIT(B) | BIT(PLANT));
}

/* The guests' machines outside are not management's. */
static void build_apart(bool reachable)
{
    build(reachable);
    switch_detach(&s, UPLINK);
    assert_int_equal(attach(UPLINK, FILTER_UPLINK_GUESTS, NULL), UPLINK);
    assert_int_equal(attach(SECOND, FILTER_UPLINK_MANAGEMENT, NULL), SECOND);
}

static void test_two_uplinks(void **state)
{
    static const unsigned reached[PORTS + 1] = {
        [UPLINK] = BIT(A) | BIT(B) | BIT(PLANT),
        [A] = BIT(B) | BIT(UPLINK),
        [B] = BIT(A) | BIT(UPLINK),
        [PLANT] = BIT(CLOSED) | BIT(UPLINK),
        [CLOSED] = BIT(PLANT),
        [MANAGEMENT] = BIT(SECOND),
        [SECOND] = BIT(MANAGEMENT),
    };

    (void)state;
    build_apart(false);
    for (unsigned from = 0; from <= PORTS; from++) {
        const uint8_t *source = from == UPLINK || from == SECOND ? gateway : macs[from];

        send(from, everybody, source, 1);
        assert_int_equal(who(), reached[from]);
        send(from, stranger, source, 1);
        assert_int_equal(who(), reached[from] & (BIT(UPLINK) | BIT(SECOND)));
        for (unsigned to = 0; to < PORTS; to++) {
            if (to == UPLINK)
                continue;
            send(from, macs[to], source, 1);
            assert_int_equal(who(), reached[from] & BIT(to));
        }
    }
    /* Neither side takes the other's addresses. */
    assert_int_equal(send(UPLINK, mac_a, mac_mgmt, 1), NET_DROP_SOURCE);
    assert_int_equal(send(SECOND, mac_mgmt, mac_a, 1), NET_DROP_SOURCE);
    /* There are no more uplinks, of any kind. */
    assert_int_equal(switch_attach(&s, FILTER_UPLINK, NULL, NULL, deliver, slots), -E_EXIST);
    assert_int_equal(switch_attach(&s, FILTER_UPLINK_GUESTS, NULL, NULL, deliver, slots), -E_EXIST);
    switch_detach(&s, SECOND);
    assert_int_equal(switch_attach(&s, FILTER_UPLINK, NULL, NULL, deliver, slots), -E_EXIST);
    assert_int_equal(send(MANAGEMENT, stranger, mac_mgmt, 1), NET_DROP_DESTINATION);
    assert_int_equal(attach(SECOND, FILTER_UPLINK_MANAGEMENT, NULL), SECOND);
}

static void test_two_uplinks_reachable(void **state)
{
    (void)state;
    build_apart(true);
    send(A, everybody, mac_a, 1);
    assert_int_equal(who(), BIT(UPLINK) | BIT(B) | BIT(MANAGEMENT));
    send(MANAGEMENT, everybody, mac_mgmt, 1);
    assert_int_equal(who(), BIT(SECOND) | BIT(A) | BIT(B) | BIT(PLANT));
    send(MANAGEMENT, stranger, mac_mgmt, 1);
    assert_int_equal(who(), BIT(SECOND));
    send(SECOND, mac_a, gateway, 1);
    assert_int_equal(who(), 0);
}

/* A frame to an unknown address goes outside; from outside it goes nowhere. */
static void test_unknown(void **state)
{
    (void)state;
    assert_int_equal(send(A, stranger, mac_a, 1), NET_PASSED);
    assert_int_equal(who(), BIT(UPLINK));
    assert_int_equal(send(UPLINK, stranger, gateway, 1), NET_DROP_DESTINATION);
    assert_int_equal(send(CLOSED, stranger, mac_closed, 1), NET_DROP_DESTINATION);
    assert_int_equal(who(), 0);
    /* Without an uplink too. */
    switch_detach(&s, UPLINK);
    assert_int_equal(send(A, stranger, mac_a, 1), NET_DROP_DESTINATION);
    assert_int_equal(who(), 0);
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
    assert_int_equal(send(A, mac_a, mac_a, 1), NET_DROP_DESTINATION);
    assert_int_equal(who(), 0);
}

static void test_lengths(void **state)
{
    (void)state;
    for (size_t len = 0; len < SWITCH_FRAME_MIN; len++)
        assert_int_equal(send_len(A, mac_b, mac_a, len, 1), NET_DROP_MALFORMED);
    assert_int_equal(send_len(A, mac_b, mac_a, SWITCH_FRAME_MAX + 1, 1), NET_DROP_MALFORMED);
    assert_int_equal(send_len(A, mac_b, mac_a, 9000, 1), NET_DROP_MALFORMED);
    assert_int_equal(who(), 0);
    send_len(A, mac_b, mac_a, SWITCH_FRAME_MIN, 1);
    assert_int_equal(who(), BIT(B));
    send_len(A, mac_b, mac_a, SWITCH_FRAME_MAX, 1);
    assert_int_equal(who(), BIT(B));
}

static void test_ports_that_are_not(void **state)
{
    (void)state;
    send(PORTS, mac_a, stranger, 1);
    send(SWITCH_PORTS_MAX, mac_a, stranger, 1);
    send(UINT32_MAX, mac_a, stranger, 1);
    switch_detach(&s, UINT32_MAX);
    assert_int_equal(who(), 0);
}

/* A guest can use no other source address: not a neighbour's, the gateway's or a new one. */
static void test_spoofing(void **state)
{
    static const uint8_t *const of[] = {mac_b, mac_mgmt, gateway, stranger, everybody};

    (void)state;
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(send(A, everybody, of[i], 2), NET_DROP_SOURCE);
    assert_int_equal(who(), 0);
    send(A, mac_b, mac_a, 3);
    assert_int_equal(who(), BIT(B));
}

/* A machine outside cannot use a guest's source address: a guest's frame that comes back from
 * outside goes to no guest. */
static void test_reflected(void **state)
{
    static const uint8_t none[6];

    (void)state;
    for (unsigned i = A; i < PORTS; i++) {
        assert_int_equal(send(UPLINK, everybody, macs[i], 1), NET_DROP_SOURCE);
        assert_int_equal(send(UPLINK, mac_plant, macs[i], 1), NET_DROP_SOURCE);
    }
    assert_int_equal(send(UPLINK, mac_a, everybody, 1), NET_DROP_SOURCE); /* a group is no source */
    assert_int_equal(send(UPLINK, mac_a, none, 1), NET_DROP_SOURCE);
    assert_int_equal(who(), 0);
}

static void test_reserved(void **state)
{
    uint8_t pause[6] = {0x01, 0x80, 0xc2, 0, 0, 0};

    (void)state;
    for (pause[5] = 0; pause[5] < 0x10; pause[5]++)
        assert_int_equal(send(A, pause, mac_a, 1), NET_DROP_RESERVED);
    assert_int_equal(who(), 0);
    send(A, pause, mac_a, 1); /* ...10 is an ordinary group */
    assert_int_equal(who(), BIT(UPLINK) | BIT(B));
}

static void test_attach(void **state)
{
    static const uint8_t none[6];

    (void)state;
    assert_int_equal(switch_attach(&s, FILTER_GUEST, mac_a, network("x", true), deliver, slots),
                     -E_EXIST);
    assert_int_equal(switch_attach(&s, FILTER_GUEST, everybody, network("x", true), deliver, slots),
                     -E_INVAL);
    assert_int_equal(switch_attach(&s, FILTER_GUEST, none, network("x", true), deliver, slots),
                     -E_INVAL);
    assert_int_equal(switch_attach(&s, FILTER_UPLINK, NULL, NULL, deliver, slots), -E_EXIST);
    /* A reused number belongs only to its new network. */
    switch_detach(&s, A);
    assert_int_equal(attach(A, FILTER_GUEST, network("plant", false)), A);
    send(A, everybody, mac_a, 1);
    assert_int_equal(who(), BIT(PLANT) | BIT(CLOSED));
    send(B, everybody, mac_b, 1);
    assert_int_equal(who(), BIT(UPLINK));
}

static void test_many(void **state)
{
    uint8_t mac[6] = {2, 2, 0, 0, 0, 0};

    (void)state;
    for (unsigned i = PORTS; i < SWITCH_PORTS_MAX; i++) {
        slots[i] = i;
        mac[5] = (uint8_t)i;
        assert_int_equal(
            switch_attach(&s, FILTER_GUEST, mac, network("default", true), deliver, &slots[i]), i);
    }
    mac[5] = 0;
    assert_int_equal(switch_attach(&s, FILTER_GUEST, mac, network("default", true), deliver, slots),
                     -E_NOSPC);
    send(A, everybody, mac_a, 1);
    assert_int_equal(who(), 0x3ffff & ~(BIT(A) | BIT(PLANT) | BIT(CLOSED) | BIT(MANAGEMENT)));
}

/* Broadcasts: a burst, then a number per second. Other senders' broadcasts and unicast frames do
 * not count. */
static void test_rate(void **state)
{
    unsigned passed = 0;

    (void)state;
    for (unsigned i = 0; i < 10 * SWITCH_BURST; i++)
        passed += send(A, everybody, mac_a, 5) == NET_PASSED;
    assert_int_equal(passed, SWITCH_BURST);
    memset(got, 0, sizeof(got));
    assert_int_equal(send(A, group, mac_a, 5), NET_DROP_RATE);
    assert_int_equal(send(A, mac_b, mac_a, 5), NET_PASSED);
    assert_int_equal(send(B, everybody, mac_b, 5), NET_PASSED);
    assert_int_equal(send(A, everybody, mac_a, 4), NET_DROP_RATE); /* another core's clock */
    /* A thousand more, spread over the next second. */
    passed = 0;
    for (uint64_t now = 5; now < 5 + HZ; now += HZ / 5000)
        passed += send(A, everybody, mac_a, now) == NET_PASSED;
    assert_in_range(passed, 990, 1000);
    /* What was not used is not saved up beyond the burst. */
    passed = 0;
    for (unsigned i = 0; i < 10 * SWITCH_BURST; i++)
        passed += send(A, everybody, mac_a, 1000 * HZ) == NET_PASSED;
    assert_int_equal(passed, SWITCH_BURST);
}

/* While its frame is being delivered, B is detached up to the point of waiting for that, and
 * another guest attaches. */
static void detach_meanwhile(void *ctx, const uint8_t *frame, size_t len,
                             const struct net_offload *o)
{
    int *port = ctx;

    (void)o;
    (void)frame;
    (void)len;
    s.ports[B].used = false;
    *port = switch_attach(&s, FILTER_GUEST, stranger, network("default", true), deliver, &slots[9]);
}

static void test_port_that_still_delivers(void **state)
{
    int port = -1;

    (void)state;
    switch_detach(&s, B);
    assert_int_equal(
        switch_attach(&s, FILTER_GUEST, mac_b, network("default", true), detach_meanwhile, &port),
        B);
    send(A, everybody, mac_a, 1);
    assert_int_equal(port, PORTS); /* not B's number: its last delivery is under way */
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
        assert_int_equal(s.ports[i].delivering, 0);
    switch_detach(&s, B); /* returns */
    assert_int_equal(attach(B, FILTER_GUEST, network("default", true)), B);
}

/* A guest that answers within its callback. */
static void answer(void *ctx, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    uint8_t reply[60] = {0};

    (void)ctx;
    (void)o;
    (void)len;
    memcpy(reply, frame + 6, 6);
    memcpy(reply + 6, mac_b, 6);
    reply[12] = 0x88;
    got[B]++;
    switch_input(&s, B, reply, sizeof(reply), 1);
}

static void test_reentry(void **state)
{
    (void)state;
    switch_detach(&s, B);
    assert_int_equal(switch_attach(&s, FILTER_GUEST, mac_b, network("default", true), answer, NULL),
                     B);
    send(A, mac_b, mac_a, 1);
    assert_int_equal(who(), BIT(A) | BIT(B));
}

/* A port is found after free places and as the last one, and not once it is detached. */
static void test_gaps(void **state)
{
    (void)state;
    switch_detach(&s, A);
    switch_detach(&s, B);
    assert_int_equal(send(UPLINK, mac_mgmt, gateway, 1), NET_PASSED);
    assert_int_equal(who(), BIT(MANAGEMENT));
    assert_int_equal(send(UPLINK, mac_b, gateway, 1), NET_DROP_DESTINATION);
    switch_detach(&s, MANAGEMENT);
    assert_int_equal(send(UPLINK, mac_mgmt, gateway, 1), NET_DROP_DESTINATION);
    assert_int_equal(send(UPLINK, mac_plant, gateway, 1), NET_PASSED);
    assert_int_equal(who(), BIT(PLANT));
    for (unsigned port = A; port < SWITCH_PORTS_MAX; port++) {
        uint8_t mac[6] = {2, 0, 0, 0, 1, (uint8_t)port};

        if (s.ports[port].used)
            continue;
        assert_int_equal(
            switch_attach(&s, FILTER_GUEST, mac, network("far", true), deliver, &slots[A]), port);
        assert_int_equal(send(UPLINK, mac, gateway, 1), NET_PASSED);
        assert_int_equal(who(), BIT(A));
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_known),
        TEST(test_networks),
        TEST(test_who_reaches_whom),
        TEST(test_management_reachable),
        TEST(test_two_uplinks),
        TEST(test_two_uplinks_reachable),
        TEST(test_unknown),
        TEST(test_bytes),
        TEST(test_no_echo),
        TEST(test_lengths),
        TEST(test_ports_that_are_not),
        TEST(test_spoofing),
        TEST(test_reflected),
        TEST(test_reserved),
        TEST(test_attach),
        TEST(test_many),
        TEST(test_rate),
        TEST(test_port_that_still_delivers),
        TEST(test_reentry),
        TEST(test_gaps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
