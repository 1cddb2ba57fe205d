/*
 * The last hour of each guest: a fixed ring of samples, one every 15 seconds, from the counters
 * that the root keeps anyway. Pure.
 */
#pragma once

#include "mgmt/api.h"

#define HISTORY_MS      15000u
#define HISTORY_SAMPLES 240u
#define HISTORY_NONE    UINT32_MAX /* nothing of the kind happened, or it is not known */

/* Between two looks. */
struct history_sample {
    uint32_t exits; /* per second, of all vCPUs */
    uint32_t run;   /* thousandths of a core, all vCPUs */
    /* How late timers were, and slice ends on the core of vCPU 0, in ns: the mean, and the bound of
     * the latest. */
    uint32_t timer_mean, timer_most, slice_mean, slice_most;
};

/* The counters at a look. */
struct history_look {
    uint64_t ms, entries, run_ticks;
    struct abi_histogram timer, slice;
};

struct history_guest {
    char name[ABI_NAME_MAX]; /* "": no guest of this number */
    struct history_look last;
    uint64_t count; /* samples ever; sample n is at n % HISTORY_SAMPLES */
    struct history_sample ring[HISTORY_SAMPLES];
};

/* All zero: nothing is known yet. */
struct history {
    uint64_t due_ms;
    struct history_guest guests[ABI_GUESTS_MAX];
};

/* Looks at all guests when it is time. Called from the main loop. */
void history_poll(const struct api_view *v);
