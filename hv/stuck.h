/*
 * Whether a guest has come to nothing: it takes no interrupts and is in the same few states again
 * and again, with all its registers. Looked at a few times a second, before it goes on: in its own
 * time, not in that of whom it makes way for. A loop that computes something has other registers
 * each time. Pure; one for each vCPU, owned by its core. It ends nobody: there may be a device that
 * such a loop waits for.
 */
#pragma once

#include "hv/types.h"

#define STUCK_SECONDS 3u /* it is told after so long */
#define STUCK_LOOKS   8u /* and so many looks, at most as many a second */
#define STUCK_STATES  8u /* so many different ones at most: about the instructions of the loop */

struct stuck {
    uint64_t states[STUCK_STATES];
    uint64_t since;
    uint64_t next;  /* when to look again */
    uint64_t taken; /* interrupts, until the last look */
    uint32_t count; /* of states; 0: it was not deaf */
    uint32_t looks; /* that found it in one of them, up to STUCK_LOOKS */
    bool told;
};

enum stuck_news {
    STUCK_NO_NEWS,
    STUCK_BEGINS, /* it counts as stuck from now on */
    STUCK_ENDS,   /* it has moved on */
};

static inline bool stuck_is_due(const struct stuck *s, uint64_t now)
{
    return now >= s->next;
}
/* One number for a place and registers. */
uint64_t stuck_state(uint64_t rip, const uint64_t *registers, size_t count);
/* A look at `now`; `deaf`: it takes no interrupts now; `taken`: how many it has taken ever (one
 * that takes some between two looks is at work, or asleep in HLT). `second` is ticks. */
enum stuck_news stuck_look(struct stuck *s, uint64_t state, bool deaf, uint64_t taken, uint64_t now,
                           uint64_t second);
