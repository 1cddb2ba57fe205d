/*
 * A frame whose sender left some of it to others enters the switch: a receiver that takes it as it
 * is gets it whole, all others finished frames. Pure. The work is done in short steps.
 */
#pragma once

#include "hv/offload.h"
#include "net/switch.h"

/* Bytes of a segment that one step copies. */
#define TRANSFER_STEP 4096u

/* Like switch_input(), for a frame of at most NET_SEGMENT_MAX bytes described by `o`. If
 * t->state is not 0 afterwards, the same call must be made again, with the frame as it is now. The
 * core that owns *t and the frame. */
enum net_drop transfer_step(struct vswitch *s, unsigned port, uint8_t *frame, size_t len,
                            const struct net_offload *o, uint64_t now, struct net_transfer *t);
/* Forgets a frame that is on its way. */
void transfer_cancel(struct vswitch *s, struct net_transfer *t);
