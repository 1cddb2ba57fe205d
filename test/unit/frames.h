/* Frames for the tests of the switch, built byte by byte from the RFCs' figures. */
#pragma once

#include <stdint.h>
#include <string.h>

struct frame {
    uint8_t b[1600];
    size_t len;
};

static inline void put(struct frame *f, const void *bytes, size_t n)
{
    memcpy(f->b + f->len, bytes, n);
    f->len += n;
}

static inline void put8(struct frame *f, uint8_t v)
{
    put(f, &v, 1);
}

static inline void put16(struct frame *f, unsigned v)
{
    put8(f, (uint8_t)(v >> 8));
    put8(f, (uint8_t)v);
}

static inline void put32(struct frame *f, uint32_t v)
{
    put16(f, v >> 16);
    put16(f, v & 0xffff);
}

static inline struct frame ether(const uint8_t *to, const uint8_t *from, unsigned type)
{
    struct frame f = {.len = 0};

    put(&f, to, 6);
    put(&f, from, 6);
    put16(&f, type);
    return f;
}

/* RFC 826. `op` 1: request, 2: reply. */
static inline struct frame arp(const uint8_t *to, const uint8_t *from, unsigned op, uint32_t sender,
                               uint32_t target)
{
    struct frame f = ether(to, from, 0x0806);

    put(&f, "\0\1\10\0\6\4", 6);
    put16(&f, op);
    put(&f, from, 6);
    put32(&f, sender);
    put(&f, "\0\0\0\0\0\0", 6);
    put32(&f, target);
    f.len = 60;
    return f;
}

/* `size` bytes follow the header. */
static inline struct frame ipv4(const uint8_t *to, const uint8_t *from, unsigned protocol,
                                uint32_t source, uint32_t target, size_t size)
{
    struct frame f = ether(to, from, 0x0800);

    put16(&f, 0x4500);
    put16(&f, (unsigned)(20 + size));
    put32(&f, 0);
    put16(&f, 0x4000 | protocol); /* TTL 64 */
    put16(&f, 0);
    put32(&f, source);
    put32(&f, target);
    return f;
}

/* With `size` bytes of zero. */
static inline struct frame udp4(const uint8_t *to, const uint8_t *from, uint32_t source,
                                uint32_t target, unsigned sport, unsigned dport, size_t size)
{
    struct frame f = ipv4(to, from, 17, source, target, 8 + size);

    put16(&f, sport);
    put16(&f, dport);
    put16(&f, (unsigned)(8 + size));
    put16(&f, 0);
    f.len += size;
    return f;
}

#define DHCP_SIZE 300u

/* RFC 2131, figure 1, with options of ours. `op` 1: request, 2: reply. */
static inline struct frame dhcp(const uint8_t *to, const uint8_t *from, unsigned op,
                                const uint8_t *client, uint32_t source, uint32_t yours,
                                unsigned type, uint32_t lease)
{
    static const uint32_t everybody = 0xffffffff;
    struct frame f =
        udp4(to, from, source, everybody, op == 1 ? 68 : 67, op == 1 ? 67 : 68, DHCP_SIZE);
    size_t start = f.len - DHCP_SIZE;

    f.len = start;

    put8(&f, (uint8_t)op);
    put(&f, "\1\6\0", 3);
    f.len = start + 16;
    put32(&f, yours);
    f.len = start + 28;
    put(&f, client, 6);
    f.len = start + 236;
    put32(&f, 0x63825363);
    put16(&f, 53 << 8 | 1);
    put8(&f, (uint8_t)type);
    put16(&f, 51 << 8 | 4);
    put32(&f, lease);
    put16(&f, 3 << 8 | 4);
    put32(&f, 0x0a000202); /* the router: 10.0.2.2 */
    put16(&f, 6 << 8 | 8);
    put32(&f, 0x0a000203); /* name servers: 10.0.2.3 and 10.0.2.4 */
    put32(&f, 0x0a000204);
    put8(&f, 255);
    f.len = start + DHCP_SIZE;
    return f;
}

struct in6 {
    uint8_t b[16];
};

static inline struct in6 in6(uint64_t high, uint64_t low)
{
    struct in6 a;

    for (unsigned i = 0; i < 8; i++) {
        a.b[i] = (uint8_t)(high >> (56 - 8 * i));
        a.b[8 + i] = (uint8_t)(low >> (56 - 8 * i));
    }
    return a;
}

static inline struct frame ipv6(const uint8_t *to, const uint8_t *from, unsigned next,
                                unsigned hops, struct in6 source, struct in6 target, size_t size)
{
    struct frame f = ether(to, from, 0x86dd);

    put32(&f, 6u << 28);
    put16(&f, (unsigned)size);
    put8(&f, (uint8_t)next);
    put8(&f, (uint8_t)hops);
    put(&f, source.b, 16);
    put(&f, target.b, 16);
    return f;
}

/* RFC 4861, sections 4.3 and 4.4: `type` 135 or 136, with an option that says `link`, or none. */
static inline struct frame neighbour(const uint8_t *to, const uint8_t *from, unsigned type,
                                     struct in6 source, struct in6 destination, struct in6 target,
                                     const uint8_t *link)
{
    struct frame f = ipv6(to, from, 58, 255, source, destination, link ? 32 : 24);

    put16(&f, type << 8);
    put16(&f, 0);
    put32(&f, type == 136 ? 0x60000000 : 0);
    put(&f, target.b, 16);
    if (link) {
        put8(&f, type == 135 ? 1 : 2);
        put8(&f, 1);
        put(&f, link, 6);
    }
    return f;
}

/* RFC 4861, section 4.2, with a prefix of 64 bits (section 4.6.2) and a name server (RFC 8106). */
static inline struct frame router(const uint8_t *to, const uint8_t *from, struct in6 source,
                                  uint64_t prefix, uint32_t lifetime)
{
    struct in6 p = in6(prefix, 0), dns = in6(prefix, 0x53), all = in6(0xff02ull << 48, 1);
    struct frame f = ipv6(to, from, 58, 255, source, all, 16 + 32 + 24);

    put16(&f, 134 << 8);
    put16(&f, 0);
    put32(&f, 64u << 24 | 1800);
    put32(&f, 0);
    put32(&f, 0);
    put32(&f, 3u << 24 | 4u << 16 | 64u << 8 | 0xc0);
    put32(&f, lifetime);
    put32(&f, lifetime);
    put32(&f, 0);
    put(&f, p.b, 16);
    put32(&f, 25u << 24 | 3u << 16);
    put32(&f, 600);
    put(&f, dns.b, 16);
    return f;
}
