/*
 * Limits the share of a core's time that goes to requests from others. Pure.
 *
 * A pause in proportion follows each piece of work: over any time, the work takes at most its share
 * plus the last piece. Unused time is not saved up, so there are no bursts. Nothing is dropped: it
 * only waits.
 */
#pragma once

#include "hv/types.h"

struct ration {
    uint64_t cost; /* 32.32: for each tick of a piece, ticks from its start to the next piece's */
    uint64_t next; /* absolute: no other piece before this */
};

/* `share` of `whole`, both above 0, share at most whole. Nothing has been served yet. */
void ration_init(struct ration *r, uint32_t share, uint32_t whole);
/* True if a piece may be served at `now`. */
static inline bool ration_open(const struct ration *r, uint64_t now)
{
    return now >= __atomic_load_n(&r->next, __ATOMIC_SEQ_CST);
}
/* A piece took from `start` to `now`. */
void ration_charge(struct ration *r, uint64_t start, uint64_t now);
