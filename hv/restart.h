/*
 * The restart policy: whether a guest that has ended starts again, and when. Pure. A guest that
 * ends soon after its start is held back before its next start, longer each time, and is not
 * restarted after a configured number of short lives in a row.
 */
#pragma once

#include "hv/config.h"

/* A life shorter than this is a short one. */
#define RESTART_SHORT_SECONDS     10u
/* Held back after the second short life in a row; doubled by each further one. */
#define RESTART_BACKOFF_MS        100u
#define RESTART_BACKOFF_DOUBLINGS 7u /* at most: 12.8 s */

struct restart_end {
    bool failed;             /* it crashed, or said so with its exit code */
    uint64_t started, ended; /* TSC */
    uint64_t tsc_hz;
};

enum restart_verdict {
    RESTART_NO,       /* its policy says no */
    RESTART_GIVEN_UP, /* one short life in a row more than restart_limit */
    RESTART_AGAIN,    /* at *at */
};

/* `short_lives`: the number in a row so far; updated. *at: absolute TSC; `ended` itself means at
 * once. */
enum restart_verdict restart_decide(const struct guest_config *c, const struct restart_end *e,
                                    uint32_t *short_lives, uint64_t *at);
