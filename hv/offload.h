/*
 * What a frame leaves to others: its checksum, and being cut into frames of the wire's size. As
 * virtio 1.2 "Network Device" has it (struct virtio_net_hdr), and so read from and written to
 * guests as it stands. Whatever a guest says here is checked by net/segment.h before it is used.
 */
#pragma once

#include "hv/types.h"

#define NET_FRAME_MAX   1518u  /* of the wire */
#define NET_SEGMENT_MAX 65600u /* two tags, an IPv6 header, and 65,535 bytes */

/* `flags` */
#define NET_NEEDS_CSUM  1u
/* `gso_type` */
enum { NET_GSO_NONE = 0, NET_GSO_TCPV4 = 1, NET_GSO_TCPV6 = 4, NET_GSO_ECN = 0x80 };

struct net_offload {
    uint8_t flags, gso_type;
    uint16_t header_len;              /* a hint */
    uint16_t gso_size;                /* bytes of payload in each frame */
    uint16_t csum_start, csum_offset; /* of what is summed, and from there, where the sum goes */
    uint16_t num_buffers;             /* for receivers */
};

/* What a receiver takes unfinished: bits. */
enum net_takes { NET_TAKES_CSUM = 1, NET_TAKES_TSO4 = 2, NET_TAKES_TSO6 = 4, NET_TAKES_ECN = 8 };

/* What a receiver must take to get such a frame as it is. */
static inline uint32_t net_needed(const struct net_offload *o)
{
    unsigned type = o->gso_type & ~(unsigned)NET_GSO_ECN;

    return (o->flags & NET_NEEDS_CSUM ? NET_TAKES_CSUM : 0u) |
           (type == NET_GSO_TCPV4 ? NET_TAKES_TSO4 : 0u) |
           (type == NET_GSO_TCPV6 ? NET_TAKES_TSO6 : 0u) |
           (o->gso_type & NET_GSO_ECN ? NET_TAKES_ECN : 0u);
}

/* A receiver gets a frame, on any core, and copies it. `o`: what is left to do, if it takes that;
 * NULL: nothing. */
typedef void net_deliver(void *ctx, const uint8_t *frame, size_t len, const struct net_offload *o);

/* For receivers that take frames unfinished. Any core. */
struct net_offloads {
    uint32_t (*takes)(void *ctx); /* enum net_takes; at present */
    /* Room for a segment of NET_SEGMENT_MAX bytes, or NULL; give() returns it, filled with `len`
     * bytes, or unused (0). */
    uint8_t *(*borrow)(void *ctx);
    void (*give)(void *ctx, uint8_t *segment, size_t len, const struct net_offload *o);
};

/* The parts of a TCP segment: offsets in the frame. */
struct net_segment {
    uint16_t ip, tcp, payload;
    bool v6;
};

/* A frame on its way into the switch, which takes several steps. All zero: none is. */
struct net_transfer {
    uint8_t state;
    unsigned port;  /* where it goes */
    uint32_t life;  /* of that port */
    uint8_t *whole; /* the receiver's, while it is filled */
    size_t done;    /* bytes; or frames cut off */
    struct net_segment segment;
    uint8_t *scratch; /* set by the caller: room for a frame */
};
