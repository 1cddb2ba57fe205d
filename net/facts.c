#include "net/facts.h"

#include "hv/lib.h"

#define MAC                6u
#define TYPE_AT            12u
#define TAGS_MAX           2u
#define LENGTH_MAX         1500u  /* IEEE 802.3 "Length/Type": a length up to here, */
#define TYPE_MIN           0x600u /* a type from here on */
#define TYPE_IPV4          0x0800u
#define TYPE_ARP           0x0806u
#define TYPE_IPV6          0x86ddu
#define MAPPED             0xffff00000000ull
#define ARP_SIZE           28u
#define ARP_REQUEST        1u
#define ARP_REPLY          2u
#define IPV4_HEADER        20u
#define IPV4_OFFSET        0x1fffu
#define IPV4_MORE          0x2000u
#define IPV6_HEADER        40u
#define UDP_HEADER         8u
#define PROTO_HOP_BY_HOP   0u
#define PROTO_IGMP         2u
#define PROTO_UDP          17u
#define PROTO_TCP          6u
#define PROTO_ROUTING      43u
#define PROTO_FRAGMENT     44u
#define PROTO_AUTH         51u
#define PROTO_ICMPV6       58u
#define PROTO_OPTIONS      60u
#define PROTO_MOBILITY     135u
#define PROTO_HIP          139u
#define PROTO_SHIM6        140u
#define PROTO_TEST         253u
#define PROTO_TEST_2       254u
#define DHCP_SERVER        67u
#define DHCP_CLIENT        68u
#define DHCP6_CLIENT       546u
#define DHCP6_SERVER       547u
#define BOOTP_CHADDR       28u
#define BOOTP_SIZE         236u
#define ICMP_MLD_QUERY     130u
#define ICMP_MLD_DONE      132u
#define ICMP_RS            133u
#define ICMP_RA            134u
#define ICMP_NS            135u
#define ICMP_NA            136u
#define ICMP_REDIRECT      137u
#define ICMP_INVERSE_NS    141u
#define ICMP_INVERSE_NA    142u
#define ICMP_MLD2_REPORT   143u
#define OPTION_SOURCE_LINK 1u
#define OPTION_TARGET_LINK 2u
#define OPTIONS_MAX        16u
#define HOP_LIMIT          255u

/* The unparsed rest of a frame. */
struct rest {
    const uint8_t *at;
    size_t len;
    const uint8_t *sender; /* the frame's Ethernet source */
};

static uint64_t be64(const uint8_t *p)
{
    uint64_t v;

    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

struct facts_address facts_ipv4(const uint8_t ip[4])
{
    return (struct facts_address){0, MAPPED | facts_be32(ip)};
}

struct facts_address facts_ipv6(const uint8_t ip[16])
{
    return (struct facts_address){be64(ip), be64(ip + 8)};
}

static bool ipv4_is_host(uint32_t ip)
{
    uint32_t first = ip >> 24;

    return first != 0 && first != 127 && first < 224;
}

bool facts_is_host(const struct facts_address *a)
{
    if (a->high == 0)
        return a->low >> 32 == MAPPED >> 32 && ipv4_is_host((uint32_t)a->low);
    return a->high >> 56 != 0xff;
}

static bool is_unspecified(const struct facts_address *a)
{
    return a->high == 0 && a->low == 0;
}

/* An IPv6 source that a host can have, but not a mapped one, which would pass for IPv4. */
static bool ipv6_is_host(const struct facts_address *a)
{
    return a->high != 0 && facts_is_host(a);
}

/* What follows returns why the frame is to be dropped, or NET_PASSED. */

/* ---- ARP: RFC 826, RFC 5227 ---- */

static bool arp_is_ours(const struct rest *r)
{
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0}; /* Ethernet, IPv4, their address sizes */

    return memcmp(r->at, head, sizeof(head)) == 0 &&
           (r->at[7] == ARP_REQUEST || r->at[7] == ARP_REPLY);
}

static enum net_drop take_arp(const struct rest *r, struct facts *k)
{
    uint32_t sender;

    if (r->len < ARP_SIZE)
        return NET_DROP_MALFORMED;
    sender = facts_be32(r->at + 14);
    k->source = facts_ipv4(r->at + 14);
    k->target = facts_ipv4(r->at + 24);
    k->kind = sender ? FACTS_ARP : FACTS_ARP_PROBE;
    if (!arp_is_ours(r) || memcmp(r->at + 8, r->sender, MAC) != 0 ||
        (sender ? !ipv4_is_host(sender) : r->at[7] != ARP_REQUEST))
        return NET_DROP_ARP;
    return NET_PASSED;
}

/* ---- IPv4 ---- */

/* A request names the card that it is for: a guest may ask only for its own. */
static bool asks_for_sender(const struct rest *udp)
{
    const uint8_t *m = udp->at + UDP_HEADER;
    static const uint8_t head[] = {1, 1, MAC}; /* request, Ethernet, its address size */

    return udp->len >= UDP_HEADER + BOOTP_SIZE && memcmp(m, head, sizeof(head)) == 0 &&
           memcmp(m + BOOTP_CHADDR, udp->sender, MAC) == 0;
}

static enum net_drop take_udp4(const struct rest *udp, struct facts *k, bool whole)
{
    uint16_t from, to;

    if (udp->len < UDP_HEADER)
        return NET_DROP_MALFORMED;
    from = facts_be16(udp->at);
    to = facts_be16(udp->at + 2);
    if (from == DHCP_SERVER || to == DHCP_CLIENT)
        k->kind = FACTS_DHCP_SERVER;
    else if (to == DHCP_SERVER)
        k->kind = FACTS_DHCP_CLIENT;
    else
        return NET_PASSED;
    if (k->kind == FACTS_DHCP_CLIENT && (!whole || !asks_for_sender(udp)))
        return NET_DROP_DHCP;
    if (whole) {
        k->message = udp->at + UDP_HEADER;
        k->message_len = udp->len - UDP_HEADER;
    }
    return NET_PASSED;
}

static enum net_drop judge_ipv4_source(uint32_t source, uint8_t protocol, struct facts *k)
{
    if (source == 0 && protocol == PROTO_IGMP)
        k->kind = FACTS_UNSPECIFIED;
    else if (source == 0 ? k->kind != FACTS_DHCP_CLIENT : !ipv4_is_host(source))
        return NET_DROP_ADDRESS;
    return NET_PASSED;
}

static enum net_drop take_ipv4(const struct rest *r, struct facts *k)
{
    enum net_drop why = NET_PASSED;
    size_t header, total;
    uint16_t fragment;
    uint32_t source;

    k->kind = FACTS_IP;
    if (r->len < IPV4_HEADER || r->at[0] >> 4 != 4)
        return NET_DROP_MALFORMED;
    header = (r->at[0] & 0xfu) * 4;
    total = facts_be16(r->at + 2);
    if (header < IPV4_HEADER || total < header || total > r->len)
        return NET_DROP_MALFORMED;
    fragment = facts_be16(r->at + 6) & (IPV4_OFFSET | IPV4_MORE);
    source = facts_be32(r->at + 12);
    k->source = source ? facts_ipv4(r->at + 12) : (struct facts_address){0, 0};
    /* The first fragment has the ports, and no later one can overlap them. */
    if (r->at[9] == PROTO_UDP && !(fragment & IPV4_OFFSET))
        why =
            take_udp4(&(struct rest){r->at + header, total - header, r->sender}, k, fragment == 0);
    return why ? why : judge_ipv4_source(source, r->at[9], k);
}

/* ---- IPv6 ---- */

/* The options of neighbour discovery from `at` on: a link-layer address among them must be the
 * sender's. */
static enum net_drop judge_options(const struct rest *r, size_t at, uint8_t link_option)
{
    for (unsigned n = 0; at < r->len; n++) {
        size_t left = r->len - at, size;

        if (n == OPTIONS_MAX || left < 8)
            return NET_DROP_MALFORMED;
        size = r->at[at + 1] * 8u;
        if (size == 0 || size > left)
            return NET_DROP_MALFORMED;
        if (r->at[at] == link_option && memcmp(r->at + at + 2, r->sender, MAC) != 0)
            return NET_DROP_ND;
        at += size;
    }
    return NET_PASSED;
}

static enum net_drop take_solicitation(const struct rest *r, struct facts *k)
{
    k->target = facts_ipv6(r->at + 8);
    k->kind = is_unspecified(&k->source) ? FACTS_ND_CLAIM : FACTS_ND_SOLICIT;
    return ipv6_is_host(&k->target) ? judge_options(r, 24, OPTION_SOURCE_LINK) : NET_DROP_MALFORMED;
}

static enum net_drop take_advertisement(const struct rest *r, struct facts *k)
{
    k->target = facts_ipv6(r->at + 8);
    k->kind = FACTS_ND_ADVERTISE;
    return ipv6_is_host(&k->target) ? judge_options(r, 24, OPTION_TARGET_LINK) : NET_DROP_MALFORMED;
}

static enum net_drop take_router(const struct rest *r, struct facts *k)
{
    k->kind = FACTS_ROUTER;
    if (r->at[0] == ICMP_RA) {
        k->message = r->at;
        k->message_len = r->len;
    }
    return NET_PASSED;
}

static enum net_drop take_router_solicitation(const struct rest *r, struct facts *k)
{
    k->kind = is_unspecified(&k->source) ? FACTS_UNSPECIFIED : FACTS_ND_SOLICIT;
    return judge_options(r, 8, OPTION_SOURCE_LINK);
}

/* RFC 4861, section 4; 0: not neighbour discovery. */
static size_t nd_size(uint8_t type)
{
    switch (type) {
    case ICMP_RS:
        return 8;
    case ICMP_RA:
        return 16;
    case ICMP_NS:
    case ICMP_NA:
        return 24;
    case ICMP_REDIRECT:
        return 40;
    default:
        return 0;
    }
}

static bool is_nd(uint8_t type)
{
    return nd_size(type) || type == ICMP_INVERSE_NS || type == ICMP_INVERSE_NA;
}

static enum net_drop take_icmpv6(const struct rest *r, uint8_t hop_limit, struct facts *k)
{
    size_t size = r->len ? nd_size(r->at[0]) : 0;

    if (r->len < 4 || (size && (r->len < size || hop_limit != HOP_LIMIT || r->at[1] != 0)))
        return NET_DROP_MALFORMED;
    switch (r->at[0]) {
    case ICMP_RS:
        return take_router_solicitation(r, k);
    case ICMP_RA:
    case ICMP_REDIRECT:
        return take_router(r, k);
    case ICMP_NS:
        return take_solicitation(r, k);
    case ICMP_NA:
        return take_advertisement(r, k);
    case ICMP_INVERSE_NS: /* RFC 3122: for link layers other than Ethernet */
    case ICMP_INVERSE_NA:
        return NET_DROP_ND;
    default:
        return NET_PASSED;
    }
}

static enum net_drop take_udp6(const struct rest *udp, struct facts *k)
{
    if (udp->len < UDP_HEADER)
        return NET_DROP_MALFORMED;
    if (facts_be16(udp->at) == DHCP6_SERVER || facts_be16(udp->at + 2) == DHCP6_CLIENT)
        k->kind = FACTS_DHCP6_SERVER;
    return NET_PASSED;
}

/* RFC 6980: neighbour discovery is never fragmented. A first fragment shows its type; a later one
 * is useless without the first. */
static enum net_drop take_fragment(const struct rest *r, struct facts *k)
{
    struct rest inner;
    uint8_t next;

    if (r->len < 8)
        return NET_DROP_MALFORMED;
    next = r->at[0];
    if (next != PROTO_TCP && next != PROTO_UDP && next != PROTO_ICMPV6)
        return NET_DROP_HIDDEN;
    if (facts_be16(r->at + 2) & 0xfff8)
        return NET_PASSED;
    inner = (struct rest){r->at + 8, r->len - 8, r->sender};
    if (next == PROTO_UDP)
        return take_udp6(&inner, k);
    if (next == PROTO_ICMPV6 && (inner.len < 4 || is_nd(inner.at[0])))
        return NET_DROP_HIDDEN;
    return NET_PASSED;
}

/* The one extension header that hosts need: MLD's router alert (RFC 3810, section 5). */
static bool is_mld(const struct rest *r)
{
    uint8_t type;

    if (r->len < 12 || r->at[0] != PROTO_ICMPV6 || r->at[1] != 0)
        return false;
    type = r->at[8];
    return (type >= ICMP_MLD_QUERY && type <= ICMP_MLD_DONE) || type == ICMP_MLD2_REPORT;
}

static enum net_drop take_next_header(const struct rest *r, const uint8_t *header, struct facts *k)
{
    switch (header[6]) {
    case PROTO_ICMPV6:
        return take_icmpv6(r, header[7], k);
    case PROTO_UDP:
        return take_udp6(r, k);
    case PROTO_FRAGMENT:
        return take_fragment(r, k);
    case PROTO_HOP_BY_HOP:
        if (!is_mld(r))
            return NET_DROP_HIDDEN;
        if (is_unspecified(&k->source))
            k->kind = FACTS_UNSPECIFIED;
        return NET_PASSED;
    case PROTO_ROUTING:
    case PROTO_AUTH:
    case PROTO_OPTIONS:
    case PROTO_MOBILITY:
    case PROTO_HIP:
    case PROTO_SHIM6:
    case PROTO_TEST:
    case PROTO_TEST_2:
        return NET_DROP_HIDDEN;
    default:
        return NET_PASSED;
    }
}

static enum net_drop take_ipv6(const struct rest *r, struct facts *k)
{
    enum net_drop why;
    size_t payload;

    k->kind = FACTS_IP;
    if (r->len < IPV6_HEADER || r->at[0] >> 4 != 6)
        return NET_DROP_MALFORMED;
    payload = facts_be16(r->at + 4);
    if (payload > r->len - IPV6_HEADER)
        return NET_DROP_MALFORMED;
    k->group = r->at[24] == 0xff;
    k->source = facts_ipv6(r->at + 8);
    why = take_next_header(&(struct rest){r->at + IPV6_HEADER, payload, r->sender}, r->at, k);
    if (why || k->kind == FACTS_UNSPECIFIED || k->kind == FACTS_ND_CLAIM)
        return why;
    return ipv6_is_host(&k->source) ? NET_PASSED : NET_DROP_ADDRESS;
}

/* ---- Ethernet ---- */

/* IEEE 802.2 SNAP with an EtherType in it: some hosts take IP and ARP from there, too. */
static bool is_snap(const struct rest *r)
{
    return r->len >= 2 && (r->at[0] & 0xfe) == 0xaa && (r->at[1] & 0xfe) == 0xaa;
}

static enum net_drop take_payload(uint16_t type, const struct rest *r, struct facts *k)
{
    if (type == TYPE_IPV4)
        return take_ipv4(r, k);
    if (type == TYPE_IPV6)
        return take_ipv6(r, k);
    if (type == TYPE_ARP)
        return take_arp(r, k);
    if (type > LENGTH_MAX && type < TYPE_MIN)
        return NET_DROP_MALFORMED;
    return type <= LENGTH_MAX && is_snap(r) ? NET_DROP_HIDDEN : NET_PASSED;
}

static enum net_drop take_frame(const uint8_t *frame, size_t len, struct facts *k)
{
    uint16_t type = facts_be16(frame + TYPE_AT);
    size_t at = TYPE_AT + 2;

    for (unsigned tags = 1; facts_is_tag(type); tags++) {
        k->tagged = true;
        if (len < at + 4)
            return NET_DROP_MALFORMED;
        if (tags > TAGS_MAX)
            return NET_DROP_HIDDEN;
        type = facts_be16(frame + at + 2);
        at += 4;
    }
    return take_payload(type, &(struct rest){frame + at, len - at, frame + MAC}, k);
}

void facts_take(const uint8_t *frame, size_t len, struct facts *k)
{
    k->kind = FACTS_OTHER;
    k->tagged = false;
    k->group = false;
    k->message = NULL;
    k->bad = take_frame(frame, len, k);
}
