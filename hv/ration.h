/*
 * How much of a core's time goes to what others ask of it. Pure.
 *
 * Each piece of work is followed by a pause, in proportion: over any time, what was served is at
 * most the share of it, and the last piece. Nothing is saved up, so that there are no bursts, and
 * what waits is never dropped: it only waits.
 */
#pragma once

#include "hv/types.h"

struct ration {
    uint64_t cost; /* 32.32: ticks from the start of one piece to that of the next, a tick of it */
    uint64_t next; /* absolute: no other piece before */
};

/* `share` of `whole`, both above 0, share at most whole. Nothing has been served yet. */
void ration_init(struct ration *r, uint32_t share, uint32_t whole);
/* May a piece be served at `now`? */
static inline bool ration_open(const struct ration *r, uint64_t now)
{
    return now >= __atomic_load_n(&r->next, __ATOMIC_SEQ_CST);
}
/* A piece took from `start` to `now`. */
void ration_charge(struct ration *r, uint64_t start, uint64_t now);
