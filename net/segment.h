/*
 * Finishes what guests leave unfinished: checksums, and TCP segments longer than a frame (see
 * hv/offload.h). Pure. Frames and descriptions are a guest's, and nothing in them is believed; the
 * frame itself is a private copy.
 */
#pragma once

#include "hv/offload.h"

/* Is it a TCP segment that can be cut as described? Then *g says where its parts are. */
bool segment_take(const uint8_t *frame, size_t len, const struct net_offload *o,
                  struct net_segment *g);
/* Frame number `n` of the segment, with all checksums, to `out` (NET_FRAME_MAX bytes). Returns its
 * length; 0: there are not this many. */
size_t segment_cut(const uint8_t *frame, size_t len, const struct net_segment *g, uint16_t gso_size,
                   size_t n, uint8_t *out);
/* Is the checksum that is missing TCP's or UDP's, where those have it? */
bool segment_is_partial(const uint8_t *frame, size_t len, const struct net_offload *o);
/* Completes the checksum. False: it lies outside of the frame, or within its Ethernet header. */
bool segment_complete(uint8_t *frame, size_t len, const struct net_offload *o);
