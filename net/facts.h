/*
 * What a frame claims: addresses, and whether it is one of the frames that tell hosts who is who
 * (ARP, neighbour discovery, DHCP). Pure, stateless, bounded: a frame is foreign bytes. Parsing
 * stops at the first thing that is not understood: see NET_DROP_HIDDEN.
 */
#pragma once

#include "hv/abi/net.h"

/* In the byte order of the processor: `high` begins with the first byte. IPv4: mapped. */
struct facts_address {
    uint64_t high, low;
};

enum facts_kind {
    FACTS_OTHER,        /* neither ARP nor IP */
    FACTS_IP,           /* from `source` */
    FACTS_UNSPECIFIED,  /* IP that may have no source address: IGMP, MLD, router solicitations */
    FACTS_ARP,          /* says that `source` is the sender's */
    FACTS_ARP_PROBE,    /* asks whether `target` is in use, to take it (RFC 5227) */
    FACTS_ND_SOLICIT,   /* NS or RS from `source` */
    FACTS_ND_CLAIM,     /* NS: asks whether `target` is in use, to take it (RFC 4862) */
    FACTS_ND_ADVERTISE, /* NA: from `source`, says that `target` is the sender's */
    FACTS_ROUTER,       /* RA or redirect from `source`; RA: `message` begins at its ICMP header */
    FACTS_DHCP_SERVER,  /* from a server or to a client, from `source`; `message`: the payload */
    FACTS_DHCP_CLIENT,  /* to a server, from `source`, zero if none; `message`: the payload */
    FACTS_DHCP6_SERVER, /* from a server or to a client, from `source` */
};

struct facts {
    enum facts_kind kind;
    enum net_drop bad; /* drop it whatever the sender may do; NET_PASSED: do not */
    bool tagged;
    bool group; /* ND: sent to a group */
    struct facts_address source, target;
    const uint8_t *message; /* within the frame; NULL: none, or incomplete */
    size_t message_len;
};

/* `len` >= 14. */
void facts_take(const uint8_t *frame, size_t len, struct facts *k);

static inline bool facts_same(const struct facts_address *a, const struct facts_address *b)
{
    return a->high == b->high && a->low == b->low;
}

static inline uint16_t facts_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t facts_be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* An EtherType of a VLAN's tag: IEEE 802.1Q, 802.1ad, and those before the latter. */
static inline bool facts_is_tag(uint16_t type)
{
    return type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200;
}

struct facts_address facts_ipv4(const uint8_t ip[4]);
struct facts_address facts_ipv6(const uint8_t ip[16]);
/* An address that a host can have: not unspecified, loopback, group or reserved (RFC 6890). */
bool facts_is_host(const struct facts_address *a);
