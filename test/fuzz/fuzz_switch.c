/* SOURCES: net/switch.c net/filter.c net/filter_learn.c net/facts.c hv/lib.c */
/*
 * Any frames from guests and from outside, at any times, through the switch. No frame may reach
 * another network, and frames of a guest without permissions may claim only its own addresses. This
 * is checked differently from the switch: by how a receiver would interpret the frame.
 */
#include "net/switch.h"

#include <stdlib.h>
#include <string.h>

#define HZ     1000000u
#define UPLINK 0u
#define PLAIN  1u /* two guests of one network, without permissions */
#define OTHER  2u
#define ROUTER 3u /* of another network, without the uplink, and may do everything */
#define MGMT   4u
#define SECOND 5u /* in half of the runs management has this uplink of its own */
#define PORTS  6u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct vswitch s;
static uint32_t delivered;
static const uint32_t may_get[2][PORTS] = {
    {
        [UPLINK] = 1u << PLAIN | 1u << OTHER | 1u << MGMT,
        [PLAIN] = 1u << OTHER | 1u << UPLINK,
        [OTHER] = 1u << PLAIN | 1u << UPLINK,
        [ROUTER] = 0,
        [MGMT] = 1u << UPLINK,
    },
    {
        [UPLINK] = 1u << PLAIN | 1u << OTHER,
        [PLAIN] = 1u << OTHER | 1u << UPLINK,
        [OTHER] = 1u << PLAIN | 1u << UPLINK,
        [ROUTER] = 0,
        [MGMT] = 1u << SECOND,
        [SECOND] = 1u << MGMT,
    },
};

static void deliver(void *ctx, const uint8_t *frame, size_t len, const struct net_offload *o)
{
    uint8_t copy[SWITCH_FRAME_MAX];

    if (o || s.lock.next != s.lock.served || len < SWITCH_FRAME_MIN || len > sizeof(copy))
        abort();
    memcpy(copy, frame, len);
    delivered |= 1u << (uintptr_t)ctx;
}

static void attach(unsigned port, enum filter_role role, const char *network, uint32_t allow)
{
    struct net_config c = {.uplink = port != ROUTER, .broadcasts_per_second = 1000, .allow = allow};
    const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)port};

    strcpy(c.network, network);
    if (switch_attach(&s, role, mac, &c, deliver, (void *)(uintptr_t)port) != (int)port)
        abort();
}

static void build(bool apart)
{
    switch_init(&s, HZ, false);
    attach(UPLINK, apart ? FILTER_UPLINK_GUESTS : FILTER_UPLINK, "", 0);
    attach(PLAIN, FILTER_GUEST, "a", 0);
    attach(OTHER, FILTER_GUEST, "a", 0);
    attach(ROUTER, FILTER_GUEST, "b", NET_ALLOW_ALL);
    attach(MGMT, FILTER_MANAGEMENT, "", 0);
    if (apart)
        attach(SECOND, FILTER_UPLINK_MANAGEMENT, "", 0);
}

static uint16_t be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static bool has_lease(unsigned port, const uint8_t *ip)
{
    return (uint32_t)s.filter.ports[port].lease.low == facts_be32(ip) && facts_be32(ip) != 0;
}

/* Derived from its card's address, or claimed by duplicate address detection. */
static bool is_own(unsigned port, const uint8_t *ip)
{
    const uint8_t identifier[8] = {0, 0, 0, 0xff, 0xfe, 0, 0, (uint8_t)port};
    struct facts_address a = facts_ipv6(ip);

    for (unsigned i = 0; i < FILTER_CLAIMS; i++)
        if (facts_same(&s.filter.ports[port].claims[i].address, &a))
            return true;
    return memcmp(ip + 8, identifier, sizeof(identifier)) == 0;
}

/* How a host interprets an IPv6 packet. */
static void look_at_ipv6(unsigned port, const uint8_t *ip, size_t len)
{
    static const uint8_t none[16];

    if (len < 40)
        abort();
    if (memcmp(ip + 8, none, sizeof(none)) != 0 && !is_own(port, ip + 8))
        abort();
    if (ip[6] == 43 || ip[6] == 60 || ip[6] == 51)
        abort();
    if (ip[6] == 44 && len >= 49 && ip[40] == 58 && !(be16(ip + 42) & 0xfff8) && ip[48] >= 133 &&
        ip[48] <= 137)
        abort();
    if (ip[6] != 58 || len < 64)
        return;
    if (ip[40] == 134 || ip[40] == 137 || (ip[40] == 136 && !is_own(port, ip + 48)))
        abort();
}

static void look_at_ipv4(unsigned port, const uint8_t *ip, size_t len)
{
    size_t header = (ip[0] & 0xfu) * 4;

    if (len < 20)
        abort();
    if (facts_be32(ip + 12) != 0 && !has_lease(port, ip + 12))
        abort();
    if (ip[9] == 17 && !(be16(ip + 6) & 0x1fff) && len >= header + 4 &&
        (be16(ip + header) == 67 || be16(ip + header + 2) == 68))
        abort();
}

/* A frame that passed, from a guest without permissions. */
static void look_at(unsigned port, const uint8_t *frame, size_t len)
{
    uint16_t type;
    const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)port};

    if (len < 14)
        abort();
    type = be16(frame + 12);
    if (memcmp(frame + 6, mac, 6) != 0 || type == 0x8100 || type == 0x88a8)
        abort();
    if (type == 0x0806) {
        if (len < 14 + 28 || memcmp(frame + 22, mac, 6) != 0)
            abort();
        if (facts_be32(frame + 28) ? !has_lease(port, frame + 28) : !has_lease(port, frame + 38))
            abort();
    }
    if (type == 0x0800)
        look_at_ipv4(port, frame + 14, len - 14);
    if (type == 0x86dd)
        look_at_ipv6(port, frame + 14, len - 14);
}

/* Fills in card addresses, which the fuzzer would rarely find. */
static void fix(uint8_t *frame, size_t len, unsigned port, unsigned how)
{
    if (len < 14)
        return;
    if (how & 1)
        memcpy(frame + 6, (uint8_t[]){2, 0, 0, 0, 0, port ? (uint8_t)port : 9}, 6);
    if (how & 2)
        memset(frame, 0xff, 6);
    if (how & 4)
        memcpy(frame + 12,
               (const uint8_t *[]){(const uint8_t *)"\x08\x00", (const uint8_t *)"\x08\x06",
                                   (const uint8_t *)"\x86\xdd",
                                   (const uint8_t *)"\x81\x00"}[how >> 3 & 3],
               2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool apart = size & 1;
    uint64_t now = HZ;

    build(apart);
    while (size >= 4) {
        unsigned port = data[0] % PORTS, how = data[1];
        size_t len = (size_t)(be16(data + 2) % 1600);
        enum net_drop why;
        uint8_t *frame;

        now += (uint64_t)(data[0] >> 4) * HZ / 8;
        data += 4;
        size -= 4;
        len = len < size ? len : size;
        frame = malloc(len ? len : 1);
        memcpy(frame, data, len);
        data += len;
        size -= len;
        fix(frame, len, port, how);
        delivered = 0;
        why = switch_input(&s, port, frame, len, now);
        if (why >= NET_DROPS || (why && delivered) || (delivered & ~may_get[apart][port]))
            abort();
        if (why == NET_PASSED && (port == PLAIN || port == OTHER))
            look_at(port, frame, len);
        free(frame);
    }
    return 0;
}
