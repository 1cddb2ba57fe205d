#include "net/segment.h"

#include "hv/checksum.h"
#include "hv/lib.h"
#include "net/facts.h"

#define TYPE_AT       12u
#define TAG           4u
#define TAGS_MAX      2u
#define ETHERNET      14u
#define TYPE_IPV4     0x0800u
#define TYPE_IPV6     0x86ddu
#define IPV4_HEADER   20u
#define IPV4_FRAGMENT 0x3fffu /* offset, and that more follow */
#define IPV6_HEADER   40u
#define PROTO_TCP     6u
#define PROTO_UDP     17u
#define TCP_HEADER    20u
#define TCP_SEQUENCE  4u
#define TCP_FLAGS     13u
#define TCP_LAST      0x09u /* FIN, PSH: of the last frame only */
#define TCP_CWR       0x80u /* of the first frame only (RFC 3168) */
#define TCP_CSUM      16u
#define UDP_CSUM      6u

struct headers {
    size_t ip, next;
    bool v6;
    uint8_t protocol;
};

static void put16(uint8_t *p, unsigned v)
{
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}

static void put32(uint8_t *p, uint32_t v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xffff);
}

/* ---- checksums ---- */

static void put_csum(uint8_t *p, uint64_t sum)
{
    uint16_t word;

    word = (uint16_t)~checksum_fold(sum);
    if (word == 0)
        word = UINT16_MAX; /* 0 would mean "none" in UDP; for TCP the two are equal. */
    memcpy(p, &word, sizeof(word));
}

/* A number in network order, as a word of the sum. */
static uint64_t word_of(size_t v)
{
    return __builtin_bswap16((uint16_t)v);
}

/* ---- headers ---- */

static bool take_ipv4(const uint8_t *ip, size_t left, struct headers *h)
{
    size_t header;

    if (left < IPV4_HEADER || ip[0] >> 4 != 4)
        return false;
    header = (ip[0] & 0xfu) * 4;
    if (header < IPV4_HEADER || header > left || facts_be16(ip + 2) != left ||
        (facts_be16(ip + 6) & IPV4_FRAGMENT))
        return false;
    h->v6 = false;
    h->protocol = ip[9];
    h->next = h->ip + header;
    return true;
}

static bool take_ipv6(const uint8_t *ip, size_t left, struct headers *h)
{
    if (left < IPV6_HEADER || ip[0] >> 4 != 6 || facts_be16(ip + 4) != left - IPV6_HEADER)
        return false;
    h->v6 = true;
    h->protocol = ip[6];
    h->next = h->ip + IPV6_HEADER;
    return true;
}

/* An IP packet that fills the frame, and is no fragment. */
static bool take_headers(const uint8_t *frame, size_t len, struct headers *h)
{
    size_t at = TYPE_AT;

    for (unsigned tags = 0;
         tags < TAGS_MAX && len >= at + TAG + 2 && facts_is_tag(facts_be16(frame + at)); tags++)
        at += TAG;
    h->ip = at + 2;
    if (len < h->ip)
        return false;
    if (facts_be16(frame + at) == TYPE_IPV4)
        return take_ipv4(frame + h->ip, len - h->ip, h);
    return facts_be16(frame + at) == TYPE_IPV6 && take_ipv6(frame + h->ip, len - h->ip, h);
}

bool segment_take(const uint8_t *frame, size_t len, const struct net_offload *o,
                  struct net_segment *g)
{
    unsigned type = o->gso_type & ~(unsigned)NET_GSO_ECN;
    struct headers h;
    size_t header;

    if (!take_headers(frame, len, &h) || h.protocol != PROTO_TCP ||
        type != (h.v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4) || len - h.next < TCP_HEADER)
        return false;
    header = (frame[h.next + 12] >> 4) * 4u;
    if (header < TCP_HEADER || header >= len - h.next || !(o->flags & NET_NEEDS_CSUM) ||
        o->csum_start != h.next || o->csum_offset != TCP_CSUM || o->gso_size == 0 ||
        h.next + header + o->gso_size > NET_FRAME_MAX)
        return false;
    *g = (struct net_segment){(uint16_t)h.ip, (uint16_t)h.next, (uint16_t)(h.next + header), h.v6};
    return true;
}

/* ---- frames of a segment ---- */

/* The IP header of frame number `n`, whose IP payload has `size` bytes. */
static void finish_ip(uint8_t *ip, bool v6, size_t header, size_t size, size_t n)
{
    if (v6) {
        put16(ip + 4, (unsigned)size);
        return;
    }
    put16(ip + 2, (unsigned)(header + size));
    put16(ip + 4, (facts_be16(ip + 4) + (unsigned)n) & 0xffff);
    put16(ip + 10, 0);
    put_csum(ip + 10, checksum_add_bytes(0, ip, header));
}

static void finish_tcp(uint8_t *ip, uint8_t *tcp, bool v6, size_t size)
{
    uint64_t sum = word_of(PROTO_TCP) + word_of(size);

    sum = v6 ? checksum_add_bytes(sum, ip + 8, 32) : checksum_add_bytes(sum, ip + 12, 8);
    put16(tcp + TCP_CSUM, 0);
    put_csum(tcp + TCP_CSUM, checksum_add_bytes(sum, tcp, size));
}

size_t segment_cut(const uint8_t *frame, size_t len, const struct net_segment *g, uint16_t gso_size,
                   size_t n, uint8_t *out)
{
    size_t done = n * gso_size, left = len - g->payload, size;
    uint8_t *tcp = out + g->tcp;

    if (done >= left)
        return 0;
    left -= done;
    size = min_u64(left, gso_size);
    memcpy(out, frame, g->payload);
    memcpy(out + g->payload, frame + g->payload + done, size);
    put32(tcp + TCP_SEQUENCE, facts_be32(tcp + TCP_SEQUENCE) + (uint32_t)done);
    if (size < left)
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_LAST;
    if (n)
        tcp[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
    size += g->payload;
    finish_ip(out + g->ip, g->v6, (size_t)g->tcp - g->ip, size - g->tcp, n);
    finish_tcp(out + g->ip, tcp, g->v6, size - g->tcp);
    return size;
}

/* ---- frames without a checksum ---- */

bool segment_is_partial(const uint8_t *frame, size_t len, const struct net_offload *o)
{
    struct headers h;

    return take_headers(frame, len, &h) && o->csum_start == h.next &&
           ((h.protocol == PROTO_TCP && o->csum_offset == TCP_CSUM && len - h.next >= TCP_HEADER) ||
            (h.protocol == PROTO_UDP && o->csum_offset == UDP_CSUM &&
             len - h.next >= UDP_CSUM + 2));
}

/* The field holds the sum of what is not in the frame (the pseudo header). */
bool segment_complete(uint8_t *frame, size_t len, const struct net_offload *o)
{
    size_t at = (size_t)o->csum_start + o->csum_offset;

    if (o->csum_start < ETHERNET || len < 2 || at > len - 2)
        return false;
    put_csum(frame + at, checksum_add_bytes(0, frame + o->csum_start, len - o->csum_start));
    return true;
}
