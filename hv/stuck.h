/*
 * Whether a guest has come to nothing: it takes no interrupts and stays in one place. Looked at
 * where the guest is left anyway, at the ends of its slices. Pure; one for each vCPU, owned by its
 * core. It ends nobody: there may be a device that such a loop waits for.
 */
#pragma once

#include "hv/types.h"

#define STUCK_SECONDS 3u  /* it is told after so long */
#define STUCK_LOOKS   16u /* and so many looks */
#define STUCK_SPAN    64u /* bytes: a loop that is no longer counts as one place */

struct stuck {
    uint64_t rip, since;
    uint32_t looks; /* in a row that saw it there, up to STUCK_LOOKS; 0: not deaf */
    bool told;
};

enum stuck_news {
    STUCK_NO_NEWS,
    STUCK_BEGINS, /* it counts as stuck from now on */
    STUCK_ENDS,   /* it has moved on */
};

/* A look at `now`; `deaf`: it takes no interrupts now. `second` is ticks. */
enum stuck_news stuck_look(struct stuck *s, uint64_t rip, bool deaf, uint64_t now, uint64_t second);
