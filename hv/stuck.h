/*
 * Detects a stuck guest: it takes no interrupts and repeats the same few states, all registers
 * included. A loop that computes something has different registers each time. Examined a few times
 * a second, before the guest goes on: in its own time, not its neighbours'. Pure; one for each
 * vCPU, owned by its core. This only reports and never ends a guest: the loop may be waiting for a
 * device.
 */
#pragma once

#include "hv/types.h"

#define STUCK_SECONDS 3u /* reported after this long */
#define STUCK_LOOKS   8u /* and this many looks, also the most per second */
#define STUCK_STATES  8u /* most distinct states: about the instructions of the loop */

struct stuck {
    uint64_t states[STUCK_STATES];
    uint64_t since;
    uint64_t next;  /* when to look again */
    uint64_t taken; /* interrupts, as of the last look */
    uint32_t count; /* number of states; 0: the guest took interrupts */
    uint32_t looks; /* looks that found it in one of them, up to STUCK_LOOKS */
    bool told;
};

enum stuck_news {
    STUCK_NO_NEWS,
    STUCK_BEGINS, /* stuck from now on */
    STUCK_ENDS,   /* it has moved on */
};

static inline bool stuck_is_due(const struct stuck *s, uint64_t now)
{
    return now >= s->next;
}
/* Hashes a place and registers to one number. */
uint64_t stuck_state(uint64_t rip, const uint64_t *registers, size_t count);
/* Looks at `now`; `deaf`: the vCPU takes no interrupts now; `taken`: how many it has ever taken
 * (one that takes some between two looks is working, or asleep in HLT). `second`: ticks per second.
 */
enum stuck_news stuck_look(struct stuck *s, uint64_t state, bool deaf, uint64_t taken, uint64_t now,
                           uint64_t second);
