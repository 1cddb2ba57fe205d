/* SOURCES: net/switch.c net/filter.c net/filter_learn.c net/facts.c hv/lib.c */
/* Which identities a guest may claim on the wire. Each case is a frame from the guest or from
 * outside, through the whole switch. */
#include "net/switch.h"
#include "test/unit/frames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define UPLINK      0u
#define A           1u
#define B           2u
#define MANAGEMENT  3u
#define MANAGEMENTS 4u /* its own uplink */
#define HZ          1000000u
#define SECOND      ((uint64_t)HZ)

#define IP(a, b, c, d)                                                                             \
    ((uint32_t)(a) << 24 | (uint32_t)(b) << 16 | (uint32_t)(c) << 8 | (uint32_t)(d))
#define GATEWAY IP(10, 0, 2, 2)
#define DNS     IP(10, 0, 2, 3)
#define MGMT_IP IP(10, 0, 2, 15)
#define A_IP    IP(10, 0, 2, 16)
#define B_IP    IP(10, 0, 2, 17)
#define OTHER   IP(10, 0, 2, 99)

static struct vswitch s;
static unsigned got[SWITCH_PORTS_MAX];
static uint64_t now;

static const uint8_t mac_a[6] = {0x52, 0x42, 0x48, 0, 0, 1}, mac_b[6] = {0x52, 0x42, 0x48, 0, 0, 2};
static const uint8_t mac_mgmt[6] = {0x52, 0x42, 0x48, 0, 0, 0};
static const uint8_t mac_gateway[6] = {2, 0, 0, 0, 0, 1};
static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255};
static const uint8_t group6[6] = {0x33, 0x33, 0, 0, 0, 1};
static struct in6 none6, all_nodes, a_link, b_link, mgmt_link, gateway_link, private_a;
static const uint64_t link_local = 0xfe80ull << 48, prefix = 0x20010db800010002ull;
static const uint64_t a_eui = 0x504248fffe000001ull;

static void deliver(void *ctx, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    (void)o;
    (void)frame;
    (void)len;
    got[(uintptr_t)ctx]++;
}

static struct net_config make(uint32_t allow, unsigned count, const uint32_t *addresses)
{
    struct net_config c = {.uplink = 1, .broadcasts_per_second = 100000, .allow = allow};

    strcpy(c.network, "default");
    for (unsigned i = 0; i < count; i++) {
        memset(c.addresses[i].bytes + 10, 0xff, 2);
        for (unsigned k = 0; k < 4; k++)
            c.addresses[i].bytes[12 + k] = (uint8_t)(addresses[i] >> (24 - 8 * k));
    }
    c.address_count = (uint16_t)count;
    return c;
}

static void build(const struct net_config *a)
{
    const struct net_config b = make(0, 0, NULL);
    const struct facts_address fixed = {0, 0xffff00000000ull | IP(10, 0, 2, 200)};

    memset(got, 0, sizeof(got));
    now = SECOND;
    switch_init(&s, HZ, true);
    switch_guard(&s, &fixed);
    assert_int_equal(switch_attach(&s, FILTER_UPLINK, NULL, NULL, deliver, (void *)UPLINK), UPLINK);
    assert_int_equal(switch_attach(&s, FILTER_GUEST, mac_a, a, deliver, (void *)A), A);
    assert_int_equal(switch_attach(&s, FILTER_GUEST, mac_b, &b, deliver, (void *)B), B);
    assert_int_equal(
        switch_attach(&s, FILTER_MANAGEMENT, mac_mgmt, NULL, deliver, (void *)MANAGEMENT),
        MANAGEMENT);
    none6 = in6(0, 0);
    all_nodes = in6(0xff02ull << 48, 1);
    a_link = in6(link_local, a_eui);
    b_link = in6(link_local, 0x504248fffe000002ull);
    mgmt_link = in6(link_local, 0x504248fffe000000ull);
    gateway_link = in6(link_local, 0x99);
    private_a = in6(link_local, 0x1122334455667788ull);
}

static int setup(void **state)
{
    const struct net_config a = make(0, 0, NULL);

    (void)state;
    build(&a);
    return 0;
}

static enum net_drop send(unsigned port, struct frame f)
{
    uint8_t *copy = malloc(f.len); /* so that ASan sees where it ends */
    enum net_drop why;

    memcpy(copy, f.b, f.len);
    why = switch_input(&s, port, copy, f.len, now);
    free(copy);
    return why;
}

#define SENDS(why, frame) assert_int_equal(send(A, frame), why)
#define PASSES(frame)     SENDS(NET_PASSED, frame)
#define OUTSIDE(frame)    assert_int_equal(send(UPLINK, frame), NET_PASSED)

/* The server outside gives an address. */
static void lease(const uint8_t *client, uint32_t ip, uint32_t seconds)
{
    OUTSIDE(dhcp(everybody, mac_gateway, 2, client, GATEWAY, ip, 5, seconds));
    memset(got, 0, sizeof(got));
}

static struct frame plain4(uint32_t source)
{
    return udp4(mac_gateway, mac_a, source, GATEWAY, 4000, 53, 10);
}

static struct frame plain6(struct in6 source)
{
    struct frame f = ipv6(mac_gateway, mac_a, 6, 64, source, gateway_link, 20);

    f.len += 20;
    return f;
}

static struct frame of_b(struct in6 source)
{
    return ipv6(mac_a, mac_b, 59, 64, source, a_link, 0); /* no next header */
}

/* ---- IPv4 ---- */

/* Without the filter, one reply would take the gateway away from management. */
static void test_arp_of_the_gateway(void **state)
{
    (void)state;
    lease(mac_a, A_IP, 3600);
    SENDS(NET_DROP_ARP, arp(mac_mgmt, mac_a, 2, GATEWAY, MGMT_IP));
    SENDS(NET_DROP_ARP, arp(everybody, mac_a, 2, GATEWAY, GATEWAY));
    SENDS(NET_DROP_ARP, arp(everybody, mac_a, 1, GATEWAY, GATEWAY)); /* gratuitous */
    SENDS(NET_DROP_ARP, arp(mac_mgmt, mac_a, 2, OTHER, MGMT_IP));
    SENDS(NET_DROP_ARP, arp(everybody, mac_a, 1, 0, GATEWAY)); /* a probe, before taking it */
    assert_int_equal(got[MANAGEMENT], 0);
    PASSES(arp(mac_mgmt, mac_a, 2, A_IP, MGMT_IP));
    PASSES(arp(everybody, mac_a, 1, A_IP, GATEWAY));
    PASSES(arp(everybody, mac_a, 1, 0, A_IP));
    PASSES(arp(everybody, mac_a, 1, A_IP, A_IP));
}

/* A guest without an address may only send what gets it one. */
static void test_before_dhcp(void **state)
{
    (void)state;
    SENDS(NET_DROP_ARP, arp(everybody, mac_a, 1, A_IP, GATEWAY));
    SENDS(NET_DROP_ARP, arp(everybody, mac_a, 1, 0, A_IP));
    SENDS(NET_DROP_ADDRESS, plain4(A_IP));
    SENDS(NET_DROP_ADDRESS, plain4(0));
    PASSES(dhcp(everybody, mac_a, 1, mac_a, 0, 0, 1, 0));
    PASSES(ipv4(everybody, mac_a, 2, 0, IP(224, 0, 0, 22), 0)); /* IGMP */
}

static void test_lease(void **state)
{
    (void)state;
    lease(mac_a, A_IP, 3600);
    PASSES(plain4(A_IP));
    SENDS(NET_DROP_ADDRESS, plain4(B_IP));
    SENDS(NET_DROP_ADDRESS, plain4(IP(127, 0, 0, 1)));
    SENDS(NET_DROP_ADDRESS, plain4(IP(224, 0, 0, 1)));
    SENDS(NET_DROP_ADDRESS, plain4(0xffffffff));
    /* The next answer gives another address. */
    lease(mac_a, OTHER, 3600);
    PASSES(plain4(OTHER));
    SENDS(NET_DROP_ADDRESS, plain4(A_IP));
}

static void test_end_of_a_lease(void **state)
{
    (void)state;
    lease(mac_a, A_IP, 1600);
    now += 1600 * SECOND; /* the guest's clock and the server's may differ by a sixteenth */
    PASSES(plain4(A_IP));
    now += 100 * SECOND;
    SENDS(NET_DROP_ADDRESS, plain4(A_IP));
    /* The guest may still ask for it. */
    PASSES(dhcp(mac_gateway, mac_a, 1, mac_a, A_IP, 0, 3, 0));
    lease(mac_a, A_IP, UINT32_MAX);
    now = UINT64_MAX - 1;
    PASSES(plain4(A_IP));
}

static void test_lease_given_back(void **state)
{
    static const uint8_t types[] = {7, 4}; /* DHCPRELEASE, DHCPDECLINE */

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        lease(mac_a, A_IP, 3600);
        PASSES(dhcp(mac_gateway, mac_a, 1, mac_a, A_IP, 0, types[i], 0));
        SENDS(NET_DROP_ADDRESS, plain4(A_IP));
    }
    lease(mac_a, A_IP, 3600);
    OUTSIDE(dhcp(mac_a, mac_gateway, 2, mac_a, GATEWAY, 0, 6, 0)); /* DHCPNAK */
    SENDS(NET_DROP_ADDRESS, plain4(A_IP));
}

/* Anything but a DHCPACK for this guest grants nothing. */
static void test_what_gives_no_lease(void **state)
{
    struct frame f;

    (void)state;
    OUTSIDE(dhcp(everybody, mac_gateway, 2, mac_a, GATEWAY, A_IP, 2, 3600)); /* DHCPOFFER */
    OUTSIDE(dhcp(everybody, mac_gateway, 2, mac_gateway, GATEWAY, A_IP, 5, 3600));
    OUTSIDE(dhcp(everybody, mac_gateway, 2, mac_a, GATEWAY, 0, 5, 3600)); /* of a DHCPINFORM */
    OUTSIDE(dhcp(everybody, mac_gateway, 1, mac_a, GATEWAY, A_IP, 5, 3600));
    f = dhcp(everybody, mac_gateway, 2, mac_a, GATEWAY, A_IP, 5, 3600);
    f.b[14 + 28 + 236] ^= 1; /* the magic cookie */
    OUTSIDE(f);
    f = dhcp(everybody, mac_gateway, 2, mac_a, GATEWAY, A_IP, 5, 3600);
    f.b[20] = 0x20; /* a fragment */
    OUTSIDE(f);
    SENDS(NET_DROP_ADDRESS, plain4(A_IP));
    /* An answer that ends in the middle of an option. */
    for (unsigned cut = 0; cut < 60; cut++) {
        f = dhcp(everybody, mac_gateway, 2, mac_b, GATEWAY, B_IP, 5, 3600);
        f.len -= 60 - cut;
        f.b[16] = (uint8_t)((f.len - 14) >> 8);
        f.b[17] = (uint8_t)(f.len - 14);
        OUTSIDE(f);
    }
}

/* Two guests never have the same address: the server's latest answer counts. */
static void test_lease_that_moves(void **state)
{
    (void)state;
    lease(mac_a, A_IP, 3600);
    lease(mac_b, A_IP, 3600);
    SENDS(NET_DROP_ADDRESS, plain4(A_IP));
    assert_int_equal(send(B, udp4(mac_gateway, mac_b, A_IP, GATEWAY, 1, 2, 8)), NET_PASSED);
}

/* Not even a server's answer gives a guest the address of the gateway, the name server or
 * management, or one that the configuration names. */
static void test_guarded(void **state)
{
    static const uint32_t guarded[] = {GATEWAY, DNS, MGMT_IP, IP(10, 0, 2, 200)};

    (void)state;
    OUTSIDE(dhcp(everybody, mac_gateway, 2, mac_mgmt, GATEWAY, MGMT_IP, 5, 3600));
    for (unsigned i = 0; i < 4; i++) {
        lease(mac_a, guarded[i], 3600);
        SENDS(NET_DROP_ADDRESS, plain4(guarded[i]));
    }
}

/* What is outside on management's own uplink is out of the guests' reach, unless they reach
 * management: on their own, machines may have the same addresses. */
static void test_guarded_elsewhere(void **state)
{
    const struct net_config a = make(0, 0, NULL);

    (void)state;
    for (unsigned reachable = 0; reachable < 2; reachable++) {
        build(&a);
        s.guests_reach_management = reachable;
        switch_detach(&s, UPLINK);
        assert_int_equal(
            switch_attach(&s, FILTER_UPLINK_GUESTS, NULL, NULL, deliver, (void *)UPLINK), UPLINK);
        assert_int_equal(
            switch_attach(&s, FILTER_UPLINK_MANAGEMENT, NULL, NULL, deliver, (void *)MANAGEMENTS),
            MANAGEMENTS);
        assert_int_equal(
            send(MANAGEMENTS, dhcp(everybody, mac_gateway, 2, mac_mgmt, GATEWAY, MGMT_IP, 5, 3600)),
            NET_PASSED);
        lease(mac_a, MGMT_IP, 3600);
        SENDS(reachable ? NET_DROP_ADDRESS : NET_PASSED, plain4(MGMT_IP));
        lease(mac_a, GATEWAY, 3600); /* this one is theirs as well */
        SENDS(NET_DROP_ADDRESS, plain4(GATEWAY));
    }
}

/* A guest that had the address before its owner was known loses it. */
static void test_guarded_later(void **state)
{
    const uint32_t list[] = {OTHER, MGMT_IP};
    const struct net_config c = make(0, 2, list);

    (void)state;
    build(&c);
    PASSES(plain4(MGMT_IP));
    OUTSIDE(dhcp(everybody, mac_gateway, 2, mac_mgmt, GATEWAY, MGMT_IP, 5, 3600));
    SENDS(NET_DROP_ADDRESS, plain4(MGMT_IP));
    SENDS(NET_DROP_ARP, arp(everybody, mac_a, 1, MGMT_IP, GATEWAY));
    PASSES(plain4(OTHER));
}

static void test_configured(void **state)
{
    const uint32_t list[] = {A_IP, OTHER, IP(10, 0, 2, 200)};
    const struct net_config c = make(0, 3, list);

    (void)state;
    build(&c);
    PASSES(plain4(A_IP));
    PASSES(plain4(OTHER));
    SENDS(NET_DROP_ADDRESS, plain4(IP(10, 0, 2, 200))); /* guarded */
    lease(mac_a, B_IP, 3600);                           /* the configuration says otherwise */
    SENDS(NET_DROP_ADDRESS, plain4(B_IP));
    lease(mac_b, A_IP, 3600); /* nor can another guest be given this one's address */
    assert_int_equal(send(B, udp4(mac_gateway, mac_b, A_IP, GATEWAY, 1, 2, 8)), NET_DROP_ADDRESS);
}

static void test_any_address(void **state)
{
    const struct net_config c = make(NET_ALLOW_ANY_ADDRESS, 0, NULL);

    (void)state;
    build(&c);
    PASSES(plain4(OTHER));
    PASSES(plain4(IP(192, 168, 7, 7)));
    PASSES(arp(everybody, mac_a, 2, OTHER, B_IP));
    PASSES(plain6(in6(prefix, 77)));
    SENDS(NET_DROP_ADDRESS, plain4(IP(127, 0, 0, 1)));
    lease(mac_b, B_IP, 3600); /* from which the gateway is known */
    SENDS(NET_DROP_ARP, arp(everybody, mac_a, 2, GATEWAY, B_IP));
    SENDS(NET_DROP_ADDRESS, plain4(DNS));
    SENDS(NET_DROP_DHCP, dhcp(everybody, mac_a, 2, mac_b, OTHER, B_IP, 5, 60));
}

/* An ARP packet that does not follow RFC 826 for IPv4 over Ethernet, or names another card. */
static void test_arp_that_is_odd(void **state)
{
    struct frame f;

    (void)state;
    lease(mac_a, A_IP, 3600);
    for (size_t at = 14; at < 22; at++) { /* hardware, protocol, sizes, operation */
        f = arp(everybody, mac_a, 1, A_IP, GATEWAY);
        f.b[at] ^= 0x40;
        SENDS(NET_DROP_ARP, f);
    }
    f = arp(everybody, mac_a, 2, A_IP, GATEWAY);
    memcpy(f.b + 22, mac_b, 6); /* the sender's card */
    SENDS(NET_DROP_ARP, f);
    SENDS(NET_DROP_ARP, arp(everybody, mac_a, 2, 0, GATEWAY));
    for (size_t len = 14; len < 14 + 28; len++) {
        f = arp(everybody, mac_a, 1, A_IP, GATEWAY);
        f.len = len;
        SENDS(NET_DROP_MALFORMED, f);
    }
}

static void test_dhcp_server(void **state)
{
    const uint32_t list[] = {A_IP};
    struct net_config c = make(0, 1, list);

    (void)state;
    build(&c);
    SENDS(NET_DROP_DHCP, dhcp(everybody, mac_a, 2, mac_b, A_IP, B_IP, 5, 60));
    SENDS(NET_DROP_DHCP, udp4(mac_b, mac_a, A_IP, B_IP, 67, 67, 300)); /* to a relay */
    SENDS(NET_DROP_DHCP, udp4(mac_b, mac_a, A_IP, B_IP, 4000, 68, 300));
    assert_int_equal(got[B], 0);
    c.allow = NET_ALLOW_DHCP_SERVER;
    build(&c);
    PASSES(dhcp(everybody, mac_a, 2, mac_b, A_IP, B_IP, 5, 60));
    assert_int_equal(got[B], 1);
    assert_int_equal(send(B, udp4(mac_gateway, mac_b, B_IP, GATEWAY, 1, 2, 8)), NET_PASSED);
    /* But what it says about gateways affects no one else. */
    PASSES(plain4(A_IP));
    assert_int_equal(s.filter.guarded_next, 1);
    SENDS(NET_DROP_DHCP, dhcp(everybody, mac_a, 2, mac_b, OTHER, B_IP, 5, 60));
}

/* In a closed network the same guest may be the gateway: there is no other to impersonate. */
static void test_closed_network(void **state)
{
    const uint32_t list[] = {GATEWAY, IP(10, 0, 2, 200)};
    struct net_config c = make(0, 2, list);

    (void)state;
    c.uplink = 0;
    build(&c);
    lease(mac_b, B_IP, 3600);
    PASSES(arp(mac_b, mac_a, 2, GATEWAY, B_IP));
    PASSES(udp4(mac_b, mac_a, IP(10, 0, 2, 200), B_IP, 1, 2, 8));
    SENDS(NET_DROP_DESTINATION, arp(mac_mgmt, mac_a, 2, GATEWAY, B_IP));
    /* A server outside cannot give it an address. */
    lease(mac_a, A_IP, 3600);
    SENDS(NET_DROP_ADDRESS, udp4(mac_b, mac_a, A_IP, B_IP, 1, 2, 8));
}

/* By using other cards' addresses, a guest could exhaust a server's pool. */
static void test_dhcp_request_of_another(void **state)
{
    struct frame f = dhcp(everybody, mac_a, 1, mac_b, 0, 0, 1, 0);

    (void)state;
    SENDS(NET_DROP_DHCP, f);
    f = dhcp(everybody, mac_a, 1, mac_a, 0, 0, 1, 0);
    f.b[20] = 0x20; /* the rest of it comes in another fragment */
    SENDS(NET_DROP_DHCP, f);
    f = udp4(everybody, mac_a, 0, 0xffffffff, 68, 67, 235);
    SENDS(NET_DROP_DHCP, f);
    SENDS(NET_DROP_ADDRESS, dhcp(everybody, mac_a, 1, mac_a, OTHER, 0, 3, 0));
}

static void test_ipv4_that_is_cut(void **state)
{
    struct frame f;

    (void)state;
    lease(mac_a, A_IP, 3600);
    for (size_t len = 14; len < 14 + 28; len++) {
        f = plain4(A_IP);
        f.len = len;
        SENDS(NET_DROP_MALFORMED, f);
    }
    f = plain4(A_IP);
    f.len--;
    SENDS(NET_DROP_MALFORMED, f); /* a byte less than its header says */
    f = plain4(A_IP);
    f.b[14] = 0x44; /* a header of 16 bytes */
    SENDS(NET_DROP_MALFORMED, f);
    f = plain4(A_IP);
    f.b[14] = 0x65;
    SENDS(NET_DROP_MALFORMED, f);
    /* With options, ports are at a later offset. */
    f = ipv4(everybody, mac_a, 17, A_IP, B_IP, 4 + 8);
    f.b[14] = 0x46;
    put32(&f, 0x01010101);
    put16(&f, 67);
    put16(&f, 68);
    put32(&f, 0);
    SENDS(NET_DROP_DHCP, f);
}

/* ---- IPv6 ---- */

static struct frame claim(struct in6 target)
{
    return neighbour(group6, mac_a, 135, none6, all_nodes, target, NULL);
}

/* Without the filter, one advertisement would give management a global address. */
static void test_router(void **state)
{
    struct net_config c = make(NET_ALLOW_ROUTER, 0, NULL);
    struct frame redirect = ipv6(mac_b, mac_a, 58, 255, a_link, b_link, 40);

    (void)state;
    put16(&redirect, 137 << 8);
    redirect.len += 38;
    SENDS(NET_DROP_ROUTER, router(group6, mac_a, a_link, prefix, 3600));
    SENDS(NET_DROP_ROUTER, redirect);
    assert_int_equal(got[MANAGEMENT] + got[B], 0);
    build(&c);
    PASSES(router(group6, mac_a, a_link, prefix, 3600));
    PASSES(redirect);
    SENDS(NET_DROP_ROUTER, router(group6, mac_a, gateway_link, prefix, 3600));
    /* Its neighbours may have addresses in the prefix. */
    assert_int_equal(send(B, of_b(in6(prefix, 0x504248fffe000002ull))), NET_PASSED);
}

static void test_link_local(void **state)
{
    (void)state;
    PASSES(plain6(a_link)); /* its own from the start */
    PASSES(neighbour(group6, mac_a, 135, a_link, all_nodes, gateway_link, mac_a));
    PASSES(neighbour(mac_b, mac_a, 136, a_link, b_link, a_link, mac_a));
    PASSES(claim(a_link));
    SENDS(NET_DROP_ADDRESS, plain6(b_link));
    SENDS(NET_DROP_ADDRESS, plain6(private_a));
    SENDS(NET_DROP_ND, neighbour(mac_b, mac_a, 136, a_link, b_link, gateway_link, mac_a));
    SENDS(NET_DROP_ND, neighbour(mac_b, mac_a, 136, gateway_link, b_link, gateway_link, mac_a));
    SENDS(NET_DROP_ND, neighbour(group6, mac_a, 135, gateway_link, all_nodes, b_link, mac_a));
    /* For its own address, but with another's card. */
    SENDS(NET_DROP_ND, neighbour(mac_b, mac_a, 136, a_link, b_link, a_link, mac_gateway));
    SENDS(NET_DROP_ND, neighbour(group6, mac_a, 135, a_link, all_nodes, b_link, mac_gateway));
}

/* An address by duplicate address detection: the guest's own once half a second passes without an
 * answer. */
static void test_claim(void **state)
{
    (void)state;
    PASSES(claim(private_a));
    SENDS(NET_DROP_ADDRESS, plain6(private_a));
    SENDS(NET_DROP_ND, neighbour(group6, mac_a, 136, private_a, all_nodes, private_a, mac_a));
    now += SECOND / 2;
    PASSES(plain6(private_a));
    PASSES(neighbour(group6, mac_a, 136, private_a, all_nodes, private_a, mac_a));
    /* The next boot asks again, and the guest keeps the address. */
    PASSES(claim(private_a));
    PASSES(plain6(private_a));
    /* Another guest cannot take it: its frames do not even arrive. */
    got[A] = 0;
    assert_int_equal(send(B, neighbour(group6, mac_b, 135, none6, all_nodes, private_a, NULL)),
                     NET_DROP_ND);
    assert_int_equal(got[A], 0);
    now += SECOND;
    assert_int_equal(send(B, of_b(private_a)), NET_DROP_ADDRESS);
    /* Nor can a guest take an address that follows from another's card, or from management's. */
    SENDS(NET_DROP_ND, claim(b_link));
    SENDS(NET_DROP_ND, claim(mgmt_link));
}

/* A machine outside has it, or asks for it at the same time. */
static void test_claim_of_what_is_taken(void **state)
{
    (void)state;
    PASSES(claim(private_a));
    OUTSIDE(neighbour(group6, mac_gateway, 136, private_a, all_nodes, private_a, mac_gateway));
    now += SECOND;
    SENDS(NET_DROP_ADDRESS, plain6(private_a));
    PASSES(claim(private_a));
    OUTSIDE(neighbour(group6, mac_gateway, 135, none6, all_nodes, private_a, NULL));
    now += SECOND;
    SENDS(NET_DROP_ADDRESS, plain6(private_a));
    /* A guest cannot disturb a machine that is asking: its own question does not get out. */
    SENDS(NET_DROP_ND, claim(private_a));
    now += 2 * SECOND;
    PASSES(claim(private_a));
    now += SECOND;
    PASSES(plain6(private_a));
    /* Once the guest has the address, no machine outside can take it away. */
    OUTSIDE(neighbour(group6, mac_gateway, 136, private_a, all_nodes, private_a, mac_gateway));
    PASSES(plain6(private_a));
}

static void test_claims_are_few(void **state)
{
    struct in6 first = in6(link_local, 0x1000);

    (void)state;
    for (unsigned i = 0; i <= FILTER_CLAIMS; i++) {
        PASSES(claim(in6(link_local, 0x1000 + i)));
        now += SECOND;
    }
    SENDS(NET_DROP_ADDRESS, plain6(first)); /* the oldest went */
    PASSES(plain6(in6(link_local, 0x1001)));
    PASSES(plain6(in6(link_local, 0x1000 + FILTER_CLAIMS)));
    PASSES(plain6(a_link));
}

/* RFC 4862: global addresses, of a router outside. */
static void test_slaac(void **state)
{
    struct in6 eui = in6(prefix, a_eui), temporary = in6(prefix, 0xabcdef0123456789ull);

    (void)state;
    SENDS(NET_DROP_ADDRESS, plain6(eui));
    SENDS(NET_DROP_ND, claim(eui));
    OUTSIDE(router(group6, mac_gateway, gateway_link, prefix, 3600));
    PASSES(claim(eui));
    PASSES(plain6(eui));
    PASSES(claim(temporary));
    now += SECOND;
    PASSES(plain6(temporary));
    SENDS(NET_DROP_ND, claim(in6(prefix + 1, 5)));
    SENDS(NET_DROP_ADDRESS, plain6(in6(prefix + 1, a_eui)));
    /* No guest can take the router's address or the name server's. */
    SENDS(NET_DROP_ND, claim(gateway_link));
    SENDS(NET_DROP_ND, claim(in6(prefix, 0x53)));
    /* Nor management's, which follows from its card. */
    SENDS(NET_DROP_ND, claim(in6(prefix, 0x504248fffe000000ull)));
    now += 3600 * SECOND;
    SENDS(NET_DROP_ADDRESS, plain6(in6(prefix, a_eui)));
    OUTSIDE(router(group6, mac_gateway, gateway_link, prefix, 3600));
    PASSES(plain6(eui));
    OUTSIDE(router(group6, mac_gateway, gateway_link, prefix, 0)); /* no more */
    SENDS(NET_DROP_ADDRESS, plain6(in6(prefix, a_eui)));
}

/* A guest has the router's address before the router's advertisement is seen. */
static void test_router_guarded_later(void **state)
{
    (void)state;
    PASSES(claim(gateway_link));
    now += SECOND;
    PASSES(plain6(gateway_link));
    OUTSIDE(router(group6, mac_gateway, gateway_link, prefix, 3600));
    SENDS(NET_DROP_ADDRESS, plain6(gateway_link));
}

static void test_configured_ipv6(void **state)
{
    struct net_config c = make(0, 0, NULL);
    struct in6 mine = in6(0xfd00ull << 48, 0x20);

    (void)state;
    memcpy(c.addresses[0].bytes, mine.b, 16);
    c.address_count = 1;
    build(&c);
    OUTSIDE(router(group6, mac_gateway, gateway_link, prefix, 3600));
    PASSES(plain6(mine));
    PASSES(neighbour(group6, mac_a, 136, mine, all_nodes, mine, mac_a));
    PASSES(plain6(a_link));
    SENDS(NET_DROP_ADDRESS, plain6(in6(prefix, a_eui))); /* the list says all */
    SENDS(NET_DROP_ND, claim(in6(prefix, a_eui)));
    assert_int_equal(send(B, neighbour(group6, mac_b, 135, none6, all_nodes, mine, NULL)),
                     NET_DROP_ND);
}

static void test_dhcp6_server(void **state)
{
    static const unsigned ports[][2] = {{547, 546}, {547, 9}, {9, 546}};
    struct net_config c = make(NET_ALLOW_DHCP_SERVER, 0, NULL);

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3; i++) {
            struct frame f = ipv6(mac_b, mac_a, 17, 64, a_link, b_link, 8);

            put16(&f, ports[i][0]);
            put16(&f, ports[i][1]);
            put32(&f, 8u << 16);
            SENDS(round ? NET_PASSED : NET_DROP_DHCP, f);
        }
        build(&c);
    }
}

/* Headers in front of neighbour discovery, to hide it. */
static void test_hidden(void **state)
{
    static const unsigned headers[] = {0, 43, 51, 60, 135, 139, 140, 253, 254};
    struct frame f;

    (void)state;
    for (unsigned i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        f = ipv6(mac_b, mac_a, headers[i], 255, a_link, b_link, 8 + 24);
        put32(&f, 58u << 24);
        put32(&f, 0);
        put32(&f, 136u << 24);
        f.len += 20;
        SENDS(NET_DROP_HIDDEN, f);
    }
    /* In a fragment: the first, alone, of an advertisement (RFC 6980); with more headers. */
    for (unsigned next = 0; next < 256; next++) {
        f = ipv6(mac_b, mac_a, 44, 255, a_link, b_link, 8 + 24);
        put32(&f, next << 24);
        put32(&f, 1);
        put32(&f, 136u << 24);
        f.len += 20;
        SENDS(next == 6 || next == 17 ? NET_PASSED : NET_DROP_HIDDEN, f);
    }
    /* SNAP: IP and ARP in a frame with a length (IEEE 802.2). */
    f = ether(everybody, mac_a, 40);
    put(&f, "\xaa\xaa\3\0\0\0\x8\x6", 8);
    f.len += 32;
    SENDS(NET_DROP_HIDDEN, f);
    f = ether(everybody, mac_a, 1501); /* neither a length nor a type */
    f.len = 60;
    SENDS(NET_DROP_MALFORMED, f);
}

/* Ordinary packets that hosts need. */
static void test_ordinary_ipv6(void **state)
{
    struct frame f = ipv6(group6, mac_a, 0, 1, none6, all_nodes, 8 + 8);

    (void)state;
    put32(&f, 58u << 24 | 0x0502); /* router alert */
    put32(&f, 0x00000100);
    put32(&f, 143u << 24);
    put32(&f, 0);
    PASSES(f); /* MLD: before the host has an address */
    f.b[14 + 48] = 136;
    SENDS(NET_DROP_HIDDEN, f);
    f = ipv6(group6, mac_a, 58, 255, none6, all_nodes, 8);
    put32(&f, 133u << 24);
    put32(&f, 0);
    PASSES(f); /* a router solicitation */
    f = ipv6(mac_b, mac_a, 58, 64, a_link, b_link, 8);
    put32(&f, 128u << 24);
    put32(&f, 0);
    PASSES(f); /* echo */
    f = ipv6(mac_b, mac_a, 44, 64, a_link, b_link, 8 + 16);
    put32(&f, 58u << 24 | 1);
    put32(&f, 1);
    put32(&f, 128u << 24);
    f.len += 12;
    PASSES(f); /* a long one, in fragments */
    f = ipv6(mac_b, mac_a, 44, 64, a_link, b_link, 8 + 16);
    put32(&f, 58u << 24 | 0x100);
    put32(&f, 1);
    f.len += 16;
    PASSES(f);
    SENDS(NET_DROP_ADDRESS, plain6(none6));
    SENDS(NET_DROP_ADDRESS, plain6(all_nodes));
    SENDS(NET_DROP_ADDRESS, plain6(in6(0, 1)));
    /* The guest's IPv4 address, mapped into IPv6, is not its own. */
    lease(mac_a, A_IP, 3600);
    SENDS(NET_DROP_ADDRESS, plain6(in6(0, 0xffff00000000ull | A_IP)));
}

static void test_nd_that_is_odd(void **state)
{
    struct frame f;

    (void)state;
    for (size_t len = 14; len < 14 + 40 + 32; len++) {
        f = neighbour(group6, mac_a, 135, a_link, all_nodes, b_link, mac_a);
        f.len = len;
        SENDS(NET_DROP_MALFORMED, f);
        if (len < 14 + 40)
            continue;
        f.b[19] = (uint8_t)(len - 14 - 40); /* as its header says, but cut */
        SENDS(len == 14 + 40 + 24 ? NET_PASSED : NET_DROP_MALFORMED, f);
    }
    f = neighbour(group6, mac_a, 135, a_link, all_nodes, b_link, mac_a);
    f.b[21] = 254; /* hop limit */
    SENDS(NET_DROP_MALFORMED, f);
    f = neighbour(group6, mac_a, 135, a_link, all_nodes, b_link, mac_a);
    f.b[14 + 41] = 1; /* code */
    SENDS(NET_DROP_MALFORMED, f);
    f = neighbour(group6, mac_a, 135, a_link, all_nodes, b_link, mac_a);
    f.b[14 + 40 + 25] = 0; /* an option of no length */
    SENDS(NET_DROP_MALFORMED, f);
    f = neighbour(group6, mac_a, 135, a_link, all_nodes, all_nodes, mac_a);
    SENDS(NET_DROP_MALFORMED, f);
    f = neighbour(group6, mac_a, 141, a_link, all_nodes, b_link, NULL);
    SENDS(NET_DROP_ND, f);
}

/* ---- tags ---- */

static struct frame tagged(struct frame f, unsigned type, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        memmove(f.b + 16, f.b + 12, f.len - 12);
        f.b[12] = (uint8_t)(type >> 8);
        f.b[13] = (uint8_t)type;
        f.b[14] = f.b[15] = 0; /* VLAN 0: the priority alone */
        f.len += 4;
    }
    return f;
}

static void test_tags(void **state)
{
    static const unsigned types[] = {0x8100, 0x88a8, 0x9100, 0x9200};
    struct net_config c = make(NET_ALLOW_VLAN_TAGS, 0, NULL);
    struct frame f;

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        for (unsigned count = 1; count < 4; count++) {
            setup(NULL);
            lease(mac_a, A_IP, 3600);
            SENDS(NET_DROP_TAG, tagged(plain4(A_IP), types[i], count));
            SENDS(NET_DROP_TAG, tagged(ether(everybody, mac_a, 0x8899), types[i], count));
            build(&c);
            lease(mac_a, A_IP, 3600);
            SENDS(count < 3 ? NET_PASSED : NET_DROP_HIDDEN, tagged(plain4(A_IP), types[i], count));
            /* A tag hides nothing. */
            SENDS(count < 3 ? NET_DROP_ARP : NET_DROP_HIDDEN,
                  tagged(arp(everybody, mac_a, 2, GATEWAY, B_IP), types[i], count));
            SENDS(count < 3 ? NET_DROP_ROUTER : NET_DROP_HIDDEN,
                  tagged(router(group6, mac_a, a_link, prefix, 1), types[i], count));
        }
    f = ether(everybody, mac_a, 0x8100);
    f.len += 3;
    SENDS(NET_DROP_MALFORMED, f);
}

/* Frames of other protocols are not looked at. */
static void test_others(void **state)
{
    struct frame f = ether(mac_b, mac_a, 0x8892); /* PROFINET */

    (void)state;
    f.len = 60;
    PASSES(f);
    f = ether(mac_b, mac_a, 3); /* LLC */
    put(&f, "\xfe\xfe\3", 3);
    f.len = 60;
    PASSES(f);
}

/* Management is not filtered: it gets its address from the network as before. */
static void test_management(void **state)
{
    (void)state;
    assert_int_equal(send(MANAGEMENT, arp(everybody, mac_mgmt, 1, MGMT_IP, GATEWAY)), NET_PASSED);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(test_arp_of_the_gateway),
        TEST(test_before_dhcp),
        TEST(test_lease),
        TEST(test_end_of_a_lease),
        TEST(test_lease_given_back),
        TEST(test_what_gives_no_lease),
        TEST(test_lease_that_moves),
        TEST(test_guarded),
        TEST(test_guarded_elsewhere),
        TEST(test_guarded_later),
        TEST(test_configured),
        TEST(test_any_address),
        TEST(test_arp_that_is_odd),
        TEST(test_dhcp_server),
        TEST(test_closed_network),
        TEST(test_dhcp_request_of_another),
        TEST(test_ipv4_that_is_cut),
        TEST(test_router),
        TEST(test_link_local),
        TEST(test_claim),
        TEST(test_claim_of_what_is_taken),
        TEST(test_claims_are_few),
        TEST(test_slaac),
        TEST(test_router_guarded_later),
        TEST(test_configured_ipv6),
        TEST(test_dhcp6_server),
        TEST(test_hidden),
        TEST(test_ordinary_ipv6),
        TEST(test_nd_that_is_odd),
        TEST(test_tags),
        TEST(test_others),
        TEST(test_management),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
